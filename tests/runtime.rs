//! What applications do with a model beyond generating: keep and restore a text, go on from an interrupted load,
//! embed, and set an adapter's strength.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;

use nibblama::ErrorCode;
use nibblama::checkpoint::{Dtype, TensorInfo, TensorView};
use nibblama::kernels::{Arithmetic, PANEL_TOKENS};
use nibblama::model::{Adapter, Config, KvCache, Llama, LoadOptions, LogitsFor, WeightsLoader};
use nibblama::quant::BitsAndBytesConfig;

const TOKENS: [u32; 9] = [1, 17, 250, 3, 99, 411, 8, 8, 30];

fn folder(name: &str) -> std::path::PathBuf {
    golden::dir().join("models").join(name)
}

fn llama(name: &str, options: &LoadOptions) -> Llama {
    Llama::load(&folder(name), options).unwrap()
}

fn nf4(double_quant: bool) -> LoadOptions {
    let quantization = BitsAndBytesConfig::four_bit(nibblama::quant::QuantType::Nf4, double_quant);
    LoadOptions { quantization: Some(quantization), ..LoadOptions::default() }
}

fn read(llama: &mut Llama, cache: &mut KvCache, tokens: &[u32]) -> Vec<f32> {
    llama.forward(tokens, cache, LogitsFor::Last).unwrap().to_vec()
}

#[test]
fn a_kv_cache_that_was_put_away_and_back_goes_on_with_the_same_bits() {
    let mut model = llama("llama_a/nf4", &LoadOptions::default());
    let mut cache = model.new_cache(20).unwrap();
    read(&mut model, &mut cache, &TOKENS[..5]);
    let layers: Vec<Vec<f32>> = (0..model.config().num_hidden_layers).map(|i| cache.layer(i)).collect();
    let expected = read(&mut model, &mut cache, &TOKENS[5..]);

    // Another capacity has another layout in memory.
    let mut other = model.new_cache(9).unwrap();
    for (i, layer) in layers.iter().enumerate() {
        other.restore_layer(i, 5, layer).unwrap();
    }
    other.restored(5).unwrap();
    assert_eq!(read(&mut model, &mut other, &TOKENS[5..]), expected);
}

#[test]
fn a_prompt_read_in_pieces_of_several_tokens_has_the_same_bits_however_it_is_divided() {
    let prompt: Vec<u32> = (0..141).map(|i| i * 37 % 500).collect();
    let mut model = llama("llama_a/bf16", &nf4(true));
    for arithmetic in [Arithmetic::NearExact, Arithmetic::Fast, Arithmetic::Exact] {
        model.set_arithmetic(arithmetic);
        let mut in_pieces = |sizes: &[usize]| {
            let mut cache = model.new_cache(prompt.len()).unwrap();
            let mut done = 0;
            for &size in sizes {
                read(&mut model, &mut cache, &prompt[done..done + size]);
                done += size;
            }
            read(&mut model, &mut cache, &prompt[done..])
        };
        let whole = in_pieces(&[]);
        // The last piece takes the rest. 129 is one more than is computed at a time.
        let others: [&[usize]; 5] = [&[4, 64, 9], &[12; 11], &[129], &[137], &[PANEL_TOKENS; 34]];
        for sizes in others {
            assert_eq!(in_pieces(sizes), whole, "{arithmetic:?} {sizes:?}");
        }
        // A piece that is too small is what this is about; only exact arithmetic does not mind.
        assert_eq!(in_pieces(&[1; 140]) == whole, arithmetic == Arithmetic::Exact, "{arithmetic:?}");
    }
}

#[test]
fn layer_by_layer_is_all_at_once_and_what_is_left_off_leaves_nothing() {
    let mut model = llama("llama_a/nf4", &LoadOptions::default());
    let layers = model.config().num_hidden_layers;
    model.set_arithmetic(Arithmetic::NearExact);
    let mut cache = model.new_cache(20).unwrap();
    let expected = read(&mut model, &mut cache, &TOKENS);
    let after = read(&mut model, &mut cache, &[5]);

    let mut cache = model.new_cache(20).unwrap();
    model.begin(&[7, 7, 7, 7, 7], &cache).unwrap();
    assert!(!model.step(1, &mut cache).unwrap());
    assert_eq!(model.last_logits().unwrap_err().code(), ErrorCode::InvalidArgument);
    model.begin(&TOKENS, &cache).unwrap();
    for _ in 1..layers {
        assert!(!model.step(1, &mut cache).unwrap());
        assert!(cache.is_empty());
    }
    assert!(model.step(1, &mut cache).unwrap());
    assert_eq!(cache.len(), TOKENS.len());
    assert_eq!(model.last_logits().unwrap(), expected);
    assert_eq!(model.step(1, &mut cache).unwrap_err().code(), ErrorCode::InvalidArgument);
    model.begin(&[5], &cache).unwrap();
    assert!(model.step(usize::MAX, &mut cache).unwrap());
    assert_eq!(model.last_logits().unwrap(), after);

    // What else is computed takes the buffers, and another state of the cache is another text.
    model.begin(&[5], &cache).unwrap();
    read(&mut model, &mut cache, &[6]);
    assert_eq!(model.step(1, &mut cache).unwrap_err().code(), ErrorCode::InvalidArgument);
    model.begin(&[5], &cache).unwrap();
    cache.truncate(3);
    assert_eq!(model.step(1, &mut cache).unwrap_err().code(), ErrorCode::InvalidArgument);
    let code = |result: nibblama::Result<()>| result.unwrap_err().code();
    assert_eq!(code(model.begin(&[], &cache)), ErrorCode::InvalidArgument);
    assert_eq!(code(model.begin(&[1; 18], &cache)), ErrorCode::ContextFull);
}

#[test]
fn what_does_not_fit_a_kv_cache_is_refused() {
    let model = llama("llama_a/nf4", &LoadOptions::default());
    let mut cache = model.new_cache(4).unwrap();
    let code = |result: nibblama::Result<()>| result.unwrap_err().code();
    assert_eq!(code(cache.restore_layer(0, 5, &[])), ErrorCode::ContextFull);
    assert_eq!(code(cache.restored(5)), ErrorCode::ContextFull);
    assert_eq!(code(cache.restore_layer(0, 3, &[0.0; 7])), ErrorCode::ByteCountMismatch);
    assert_eq!(code(cache.restore_layer(99, 3, &[])), ErrorCode::InvalidArgument);
}

#[test]
fn the_hidden_sum_is_the_sum_of_the_last_hidden_states() {
    let mut model = llama("llama_a/f32", &LoadOptions::default());
    let states = model.hidden_states(&TOKENS).unwrap();
    let hidden = model.config().hidden_size;
    let mut cache = model.new_cache(TOKENS.len()).unwrap();
    let first = model.hidden_sum(&TOKENS[..4], &mut cache).unwrap();
    let second = model.hidden_sum(&TOKENS[4..], &mut cache).unwrap();
    for i in 0..hidden {
        let rows = states.last().unwrap().chunks_exact(hidden);
        let expected: f64 = rows.map(|row| f64::from(row[i])).sum();
        let found = f64::from(first[i]) + f64::from(second[i]);
        assert!((expected - found).abs() < 1e-4, "{i}: {expected} {found}");
    }
    assert_eq!(cache.len(), TOKENS.len());
}

#[test]
fn an_adapter_at_strength_zero_is_the_base_and_at_one_is_itself() {
    let mut model = llama("llama_a/nf4", &LoadOptions::default());
    let base = {
        let mut cache = model.new_cache(9).unwrap();
        read(&mut model, &mut cache, &TOKENS)
    };
    let adapter = Adapter::load(&golden::dir().join("lora/lora_all")).unwrap();
    model.load_adapter("a", adapter).unwrap();
    let mut at = |scale: Option<f32>| {
        match scale {
            Some(scale) => model.set_adapter_scaled("a", scale).unwrap(),
            None => model.set_adapter(Some("a")).unwrap(),
        }
        let mut cache = model.new_cache(9).unwrap();
        read(&mut model, &mut cache, &TOKENS)
    };
    let plain = at(None);
    assert_ne!(plain, base);
    assert_eq!(at(Some(0.0)), base);
    assert_eq!(at(Some(1.0)), plain);
    let half = at(Some(0.5));
    assert!(half != base && half != plain);
    assert_eq!(model.set_adapter_scaled("a", f32::NAN).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(model.set_adapter_scaled("b", 1.0).unwrap_err().code(), ErrorCode::UnknownAdapter);
}

#[test]
fn a_merged_layer_is_what_merging_the_adapter_leaves() {
    let mut model = llama("llama_a/nf4", &LoadOptions::default());
    let adapter = Adapter::load(&golden::dir().join("lora/lora_qv")).unwrap();
    model.load_adapter("a", adapter).unwrap();
    let modules = model.config().linear_modules();
    let merged: Vec<_> = (0..modules.len()).map(|i| model.merged_matrix("a", i).unwrap()).collect();
    assert!(merged.iter().any(Option::is_some) && merged.iter().any(Option::is_none));
    let before: Vec<_> = model.weights().linears().cloned().collect();
    model.merge_adapter("a").unwrap();
    for ((merged, before), after) in merged.iter().zip(&before).zip(model.weights().linears()) {
        assert_eq!(merged.as_ref().unwrap_or(&before.matrix), &after.matrix);
    }
}

/// The first half of a load's quantized layers kept, the rest from the checkpoint: the same weights.
#[test]
fn a_load_goes_on_from_layers_that_were_quantized_before() {
    for (source, options) in
        [("llama_a/bf16", nf4(false)), ("llama_a/bf16", nf4(true)), ("llama_tied/bf16", nf4(true))]
    {
        let config = std::fs::read(folder(source).join("config.json")).unwrap();
        let config = Config::from_json("config.json", &config).unwrap();
        let tensors = golden::tensors(&folder(source).join("model.safetensors")).unwrap();
        let info = |name: &str, dtype: &Dtype, shape: &[usize], bytes: usize| TensorInfo {
            name: name.to_owned(),
            dtype: dtype.clone(),
            shape: shape.to_vec(),
            range: 0..bytes as u64,
        };
        let from: Vec<_> = tensors.iter().map(|(n, t)| info(n, &t.dtype, &t.shape, t.bytes.len())).collect();
        let mut loader = WeightsLoader::new(&config, from.iter().map(|i| ("m", i)), &options).unwrap();
        let mut kept = BTreeMap::new();
        for (i, (name, tensor)) in tensors.iter().enumerate() {
            loader.push(tensor.view(name, "m")).unwrap();
            if i % 2 == 0 && loader.quantizes(name) {
                for (name, dtype, shape, bytes) in loader.stored_form(name).unwrap().unwrap() {
                    kept.insert(name, (dtype, shape, bytes.into_owned()));
                }
            }
        }
        let whole = loader.finish().unwrap();
        assert!(!kept.is_empty());

        let mut mixed: Vec<_> = from.iter().filter(|i| !kept.contains_key(&i.name)).cloned().collect();
        mixed.extend(kept.iter().map(|(n, (dtype, shape, bytes))| info(n, dtype, shape, bytes.len())));
        let mut loader = WeightsLoader::new(&config, mixed.iter().map(|i| ("m", i)), &options).unwrap();
        for info in &mixed {
            let (dtype, shape, bytes) = match kept.get(&info.name) {
                Some((dtype, shape, bytes)) => (dtype, shape, bytes),
                None => {
                    let tensor = &tensors[&info.name];
                    (&tensor.dtype, &tensor.shape, &tensor.bytes)
                }
            };
            loader.push(TensorView { name: &info.name, dtype, shape, bytes, file: "m" }).unwrap();
        }
        assert_eq!(loader.finish().unwrap(), whole, "{source}");

        // The same layers are refused when another format is asked for.
        let int8 = LoadOptions { quantization: Some(BitsAndBytesConfig::int8()), ..LoadOptions::default() };
        let refused = WeightsLoader::new(&config, mixed.iter().map(|i| ("m", i)), &int8).err().unwrap();
        assert_eq!(refused.code(), ErrorCode::InvalidQuantState);
    }
}
