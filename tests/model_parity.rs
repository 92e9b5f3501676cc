//! Logits and hidden states against transformers, for every checkpoint and adapter of the golden data.

#[path = "support/golden.rs"]
mod golden;

use std::path::{Path, PathBuf};

use golden::Tensors;
use nibblama::ErrorCode;
use nibblama::checkpoint::TensorInfo;
use nibblama::kernels::{self, Arithmetic, Isa};
use nibblama::model::{
    Adapter, Config, KvCache, KvCacheDtype, Llama, LoadOptions, LogitsFor, Matrix, Weights, WeightsLoader,
};
use nibblama::quant::{BitsAndBytesConfig, ComputeDtype, QuantFormat, QuantType};
use serde_json::Value;

const F32_TOLERANCE: f32 = 1e-3;
const HIDDEN_TOLERANCE: f32 = 1e-3;
const BF16_TOLERANCE: f32 = 0.25;
/// Logits of these models reach 15 or so; bf16 compute is off by more than near-exact arithmetic is.
const NEAR_EXACT_TOLERANCE: f32 = 0.03;
const FAST_TOLERANCE: f32 = 1.5;
const INT8_TOLERANCE: f32 = 0.1;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The shards of a folder, by file name.
fn files(dir: &Path) -> Vec<(String, Tensors)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    paths.sort();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    paths.iter().map(|path| (name(path), golden::tensors(path).unwrap())).collect()
}

fn infos(files: &[(String, Tensors)]) -> Vec<(&str, TensorInfo)> {
    files
        .iter()
        .flat_map(|(file, tensors)| {
            tensors.iter().map(|(name, t)| {
                let (dtype, shape) = (t.dtype.clone(), t.shape.clone());
                (
                    file.as_str(),
                    TensorInfo { name: name.clone(), dtype, shape, range: 0..t.bytes.len() as u64 },
                )
            })
        })
        .collect()
}

fn weights(config: &Config, files: &[(String, Tensors)], options: &LoadOptions) -> nibblama::Result<Weights> {
    let infos = infos(files);
    let mut loader = WeightsLoader::new(config, infos.iter().map(|(file, info)| (*file, info)), options)?;
    for (file, tensors) in files {
        for (name, tensor) in tensors {
            if loader.wants(name) {
                loader.push(tensor.view(name, file))?;
            }
        }
    }
    loader.finish()
}

fn config(dir: &Path, file: &str) -> Config {
    Config::from_json(file, &std::fs::read(dir.join(file)).unwrap()).unwrap()
}

fn load(dir: &Path, options: &LoadOptions) -> Llama {
    let config = config(dir, "config.json");
    let weights = weights(&config, &files(dir), options).unwrap();
    Llama::new(config, weights).unwrap()
}

fn adapter(dir: &Path) -> nibblama::Result<Adapter> {
    let files = files(dir);
    let config = std::fs::read(dir.join("adapter_config.json")).unwrap();
    let tensors = files.iter().flat_map(|(file, t)| t.iter().map(move |(name, t)| t.view(name, file)));
    Adapter::from_tensors("adapter_config.json", &config, tensors)
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn logits(model: &mut Llama, prompt: &[u32]) -> Vec<f32> {
    let mut cache = model.new_cache(prompt.len()).unwrap();
    model.forward(prompt, &mut cache, LogitsFor::All).unwrap().to_vec()
}

fn argmax(logits: &[f32]) -> u32 {
    nibblama::generate::sampler::argmax(logits)
}

/// Greedy continuation with a kv cache; int8 models recompute everything, as the reference did.
fn greedy(model: &mut Llama, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut cache = model.new_cache(prompt.len() + n).unwrap();
    let mut tokens = prompt.to_vec();
    let mut fed = 0;
    for _ in 0..n {
        if model.has_int8() {
            cache.clear();
            fed = 0;
        }
        let last = model.forward(&tokens[fed..], &mut cache, LogitsFor::Last).unwrap();
        fed = tokens.len();
        tokens.push(argmax(last));
    }
    tokens.split_off(prompt.len())
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    let worst = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |w: f32, d| if d.is_nan() { f32::INFINITY } else { w.max(d) });
    println!("{what}: {worst:e}");
    assert!(worst <= tolerance, "{what}: differs by {worst} of at most {tolerance}");
}

struct References {
    root: PathBuf,
    json: Value,
    tensors: Tensors,
}

fn references() -> References {
    let root = golden::dir();
    References {
        json: json(&root.join("model_refs.json")),
        tensors: golden::tensors(&root.join("model_refs.safetensors")).unwrap(),
        root,
    }
}

impl References {
    fn models(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.json.as_object().unwrap().iter().filter(|(name, _)| *name != "lora")
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.tensors[name].floats()
    }
}

/// The instruction sets of this build, of which AVX-VNNI may be missing; on x86-64 the tests ask for a machine with AVX2.
/// WebAssembly builds are tested through the engine, in `www/test/engine/parity.spec.ts`.
const ISAS: &[Isa] = if cfg!(target_arch = "x86_64") {
    &[Isa::Scalar, Isa::Avx2, Isa::AvxVnni]
} else if cfg!(target_arch = "aarch64") {
    &[Isa::Scalar, Isa::Neon]
} else {
    &[Isa::Scalar]
};

#[test]
fn every_checkpoint() {
    let mut ran = Vec::new();
    for &isa in kernels::available() {
        kernels::with_isa(isa, || {
            assert_eq!(kernels::isa(), isa);
            check_every_checkpoint();
        });
        ran.push(isa);
    }
    let missing = usize::from(ISAS.contains(&Isa::AvxVnni) && !kernels::available().contains(&Isa::AvxVnni));
    assert_eq!(ran, ISAS[..ISAS.len() - missing]);
}

fn check_every_checkpoint() {
    let refs = references();
    let mut checked = 0;
    for (_, info) in refs.models() {
        let prompt = ids(&info["prompt_ids"]);
        for reference in info["refs"].as_array().unwrap() {
            let key = reference["key"].as_str().unwrap();
            let dir = refs.root.join(reference["checkpoint"].as_str().unwrap());
            let mut model = load(&dir, &LoadOptions::default());
            let int8 = model.has_int8();
            let tolerance_exact = if int8 { INT8_TOLERANCE } else { F32_TOLERANCE };
            let expected = refs.floats(&format!("{key}.logits"));
            assert_close(key, &logits(&mut model, &prompt), &expected, tolerance_exact);
            if !int8 {
                let safe = reference["safe_steps"].as_u64().unwrap() as usize;
                let expected = &ids(&reference["greedy"])[..safe];
                assert_eq!(greedy(&mut model, &prompt, safe), expected, "{key}: greedy continuation");
            }
            for (arithmetic, tolerance) in
                [(Arithmetic::NearExact, NEAR_EXACT_TOLERANCE), (Arithmetic::Fast, FAST_TOLERANCE)]
            {
                // Kernels for 4-bit weights; with any other weights they must change nothing but the kv cache.
                let four_bit = model.weights().linears().any(|l| matches!(l.matrix, Matrix::FourBit(_)));
                let tolerance = match four_bit {
                    // How far a model spreads the errors of its layers is known for the committed data alone.
                    true if !golden::is_committed() => f32::MAX,
                    true => tolerance,
                    false => tolerance_exact,
                };
                model.set_arithmetic(arithmetic);
                model.set_kv_cache_dtype((!four_bit).then_some(KvCacheDtype::Float32));
                let found = logits(&mut model, &prompt);
                assert_close(&format!("{key} {arithmetic:?}"), &found, &expected, tolerance);
                model.set_arithmetic(Arithmetic::Exact);
                model.set_kv_cache_dtype(None);
            }
            if let Some(bf16) = refs.tensors.get(&format!("{key}.logits_bf16_compute")) {
                model.set_compute_dtype(ComputeDtype::Bfloat16);
                let found = logits(&mut model, &prompt);
                assert_close(&format!("{key} bf16"), &found, &bf16.floats(), BF16_TOLERANCE);
                model.set_compute_dtype(ComputeDtype::Float32);
            }
            if refs.tensors.contains_key(&format!("{key}.hidden.0")) {
                for (i, state) in model.hidden_states(&prompt).unwrap().iter().enumerate() {
                    let name = format!("{key}.hidden.{i}");
                    assert_close(&name, state, &refs.floats(&name), HIDDEN_TOLERANCE);
                }
            }
            assert_eq!(model.config(), &config(&dir, "config.legacy.json"), "{key}: legacy config");
            checked += 1;
        }
    }
    assert!(checked > 0);
    assert!(!golden::is_committed() || checked == 11, "{checked} checkpoints");
}

#[test]
fn every_adapter() {
    let refs = references();
    let lora = &refs.json["lora"];
    let prompt = ids(&lora["prompt_ids"]);
    let adapters = lora["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty());
    for entry in adapters {
        let path = |key: &str| refs.root.join(entry[key].as_str().unwrap());
        let mut base = load(&path("base"), &LoadOptions::default());
        let plain = logits(&mut base, &prompt);
        let packed = base.memory();
        base.load_adapter("a", adapter(&path("adapter")).unwrap()).unwrap();
        assert_eq!(logits(&mut base, &prompt), plain, "a loaded adapter is not active");
        base.set_adapter(Some("a")).unwrap();
        let mut full = load(&path("full_precision"), &LoadOptions::default());
        full.load_adapter("a", adapter(&path("adapter")).unwrap()).unwrap();
        full.merge_adapter("a").unwrap();

        let check = |how: &str, model: &mut Llama| {
            let reference = &entry[how];
            let key = reference["key"].as_str().unwrap();
            let expected = refs.floats(&format!("{key}.logits"));
            assert_close(key, &logits(model, &prompt), &expected, F32_TOLERANCE);
            let safe = reference["safe_steps"].as_u64().unwrap() as usize;
            assert_eq!(
                greedy(model, &prompt, safe),
                ids(&reference["greedy"])[..safe],
                "{key}: greedy continuation"
            );
        };
        check("unmerged", &mut base);
        base.set_adapter(None).unwrap();
        assert_eq!(logits(&mut base, &prompt), plain);
        base.merge_adapter("a").unwrap();
        check("merged_requant", &mut base);
        check("merged_full_precision", &mut full);
        assert_eq!(base.adapters().count(), 0);
        let merged = base.memory();
        assert_eq!(merged.lora, 0);
        assert_eq!((merged.packed_codes, merged.weights()), (packed.packed_codes, packed.weights()));
    }
}

#[test]
fn several_adapters_switch() {
    let refs = references();
    let lora = &refs.json["lora"];
    let prompt = ids(&lora["prompt_ids"]);
    let adapters = lora["adapters"].as_array().unwrap();
    let mut model = load(&refs.root.join(adapters[0]["base"].as_str().unwrap()), &LoadOptions::default());
    for entry in adapters {
        let name = entry["adapter"].as_str().unwrap();
        model.load_adapter(name, adapter(&refs.root.join(name)).unwrap()).unwrap();
    }
    assert_eq!(model.adapters().count(), adapters.len());
    for entry in adapters.iter().chain(adapters) {
        model.set_adapter(entry["adapter"].as_str()).unwrap();
        let key = entry["unmerged"]["key"].as_str().unwrap();
        let expected = refs.floats(&format!("{key}.logits"));
        assert_close(key, &logits(&mut model, &prompt), &expected, F32_TOLERANCE);
    }
    let first = adapters[0]["adapter"].as_str().unwrap();
    let code = model.load_adapter(first, adapter(&refs.root.join(first)).unwrap()).unwrap_err().code();
    assert_eq!(code, ErrorCode::InvalidArgument);
    model.delete_adapter(first).unwrap();
    assert_eq!(model.set_adapter(Some(first)).unwrap_err().code(), ErrorCode::UnknownAdapter);
    assert_eq!(model.delete_adapter(first).unwrap_err().code(), ErrorCode::UnknownAdapter);
    assert_eq!(model.merge_adapter(first).unwrap_err().code(), ErrorCode::UnknownAdapter);
}

#[test]
fn batches_equal_single_tokens() {
    let refs = references();
    for (_, info) in refs.models() {
        let prompt = ids(&info["prompt_ids"]);
        for reference in info["refs"].as_array().unwrap() {
            let dir = refs.root.join(reference["checkpoint"].as_str().unwrap());
            let mut model = load(&dir, &LoadOptions::default());
            if model.has_int8() {
                continue; // outlier columns are chosen over all tokens of a call
            }
            let whole = logits(&mut model, &prompt);
            let mut cache = model.new_cache(prompt.len()).unwrap();
            let mut steps = Vec::new();
            for token in &prompt {
                steps.extend_from_slice(model.forward(&[*token], &mut cache, LogitsFor::Last).unwrap());
            }
            assert_close("single tokens", &steps, &whole, 1e-5);
            cache.truncate(7);
            let rest = model.forward(&prompt[7..], &mut cache, LogitsFor::All).unwrap();
            let vocab = rest.len() / (prompt.len() - 7);
            assert_close("after a prefix", rest, &whole[7 * vocab..], 1e-5);
        }
    }
}

/// A prompt longer than one batch of `forward`.
#[test]
fn long_prompts_equal_single_tokens() {
    let refs = references();
    let (_, info) = refs.models().next().unwrap();
    let dir = refs.root.join(info["refs"][0]["checkpoint"].as_str().unwrap());
    let mut model = load(&dir, &LoadOptions::default());
    let prompt: Vec<u32> = ids(&info["prompt_ids"]).into_iter().cycle().take(201).collect();
    let whole = logits(&mut model, &prompt);
    let vocab = model.config().vocab_size;
    let mut cache = model.new_cache(201).unwrap();
    let last = model.forward(&prompt, &mut cache, LogitsFor::Last).unwrap().to_vec();
    assert_eq!(last, whole[200 * vocab..]);
    cache.clear();
    for (i, token) in prompt.iter().enumerate() {
        let step = model.forward(&[*token], &mut cache, LogitsFor::Last).unwrap();
        assert_close("step", step, &whole[i * vocab..(i + 1) * vocab], 1e-5);
    }
}

#[test]
fn quantizing_on_load_equals_the_stored_checkpoint() {
    let refs = references();
    let mut checked = 0;
    for (name, info) in refs.models() {
        for reference in info["refs"].as_array().unwrap() {
            let dir = refs.root.join(reference["checkpoint"].as_str().unwrap());
            let stored = config(&dir, "config.json");
            let Some(quantization) = stored.quantization.clone() else { continue };
            let dtype = stored.dtype.as_ref().unwrap().torch_name();
            let source = dir.with_file_name(match dtype {
                "float32" => "f32",
                "float16" => "f16",
                _ => "bf16",
            });
            if !source.is_dir() {
                continue;
            }
            let options = LoadOptions { quantization: Some(quantization), ..Default::default() };
            let (quantized, stored) = (load(&source, &options), load(&dir, &LoadOptions::default()));
            let (mut codes, mut differing) = (0, 0);
            for (a, b) in quantized.weights().linears().zip(stored.weights().linears()) {
                match (&a.matrix, &b.matrix) {
                    (Matrix::FourBit(a), Matrix::FourBit(b)) => {
                        codes += a.packed.len();
                        // FP4 code 8 is -0: CPU and CUDA choose differently between it and 0.
                        let fp4 = a.quant_state.quant_type == nibblama::quant::QuantType::Fp4;
                        let code = |code: u8| if fp4 && code == 8 { 0 } else { code };
                        let nibbles = |byte: u8| (code(byte >> 4), code(byte & 15));
                        let pairs = a.packed.iter().zip(&b.packed);
                        differing += pairs.filter(|(a, b)| nibbles(**a) != nibbles(**b)).count();
                    }
                    (Matrix::Int8 { params: a, .. }, Matrix::Int8 { params: b, .. }) => assert_eq!(a, b),
                    (a, b) => assert_eq!(a, b),
                }
            }
            println!("{name}: {differing} of {codes} bytes differ");
            assert_eq!(differing, 0, "{name}: of {codes} bytes");
            assert_eq!(quantized.memory().weights(), stored.memory().weights());
            checked += 1;
        }
    }
    assert!(checked > 0);
}

/// What 16-bit keys and values do to the logits, everything else being exact; and that they survive being moved.
#[test]
fn kv_cache_of_16_bits() {
    let refs = references();
    for (name, info) in refs.models() {
        let prompt = ids(&info["prompt_ids"]);
        let reference = &info["refs"][0];
        let mut model =
            load(&refs.root.join(reference["checkpoint"].as_str().unwrap()), &LoadOptions::default());
        let expected = logits(&mut model, &prompt);
        model.set_kv_cache_dtype(Some(KvCacheDtype::Int16));
        let found = logits(&mut model, &prompt);
        let tolerance = if golden::is_committed() { 0.02 } else { f32::MAX };
        assert_close(&format!("{name}, int16 kv cache"), &found, &expected, tolerance);
        assert_ne!(found, expected, "{name}");

        let room = prompt.len() + 40;
        let mut cache = model.new_cache(room).unwrap();
        assert_eq!(cache.dtype(), KvCacheDtype::Int16);
        assert_eq!(cache.bytes() as u64, KvCacheDtype::Int16.bytes(model.config(), room));
        model.forward(&prompt, &mut cache, LogitsFor::Last).unwrap();
        let next = |model: &mut Llama, cache: &mut KvCache| {
            let logits = model.forward(&prompt[..1], cache, LogitsFor::Last).unwrap().to_vec();
            cache.truncate(prompt.len());
            logits
        };
        let before = next(&mut model, &mut cache);
        let layers = model.config().num_hidden_layers;
        let saved: Vec<Vec<f32>> = (0..layers).map(|layer| cache.layer(layer)).collect();
        let mut restored = model.new_cache(room + 7).unwrap();
        for (layer, values) in saved.iter().enumerate() {
            restored.restore_layer(layer, prompt.len(), values).unwrap();
        }
        restored.restored(prompt.len()).unwrap();
        assert_eq!(next(&mut model, &mut restored), before, "{name}: restored");
        // To f32, where the values are the same, and back.
        cache.set_dtype(KvCacheDtype::Float32).unwrap();
        assert_eq!(cache.bytes() as u64, KvCacheDtype::Float32.bytes(model.config(), room));
        assert!((0..layers).all(|layer| cache.layer(layer) == saved[layer]), "{name}: as f32");
        cache.set_dtype(KvCacheDtype::Int16).unwrap();
        assert_eq!(next(&mut model, &mut cache), before, "{name}: back");
    }
}

/// A quantized `lm_head`, tied or not: the logits are those of its dequantized weights, and nothing else changes.
#[test]
fn lm_head_in_8_and_4_bits() {
    let refs = references();
    for (name, info) in refs.models() {
        let prompt = ids(&info["prompt_ids"]);
        let dir = refs.root.join(info["refs"][0]["checkpoint"].as_str().unwrap());
        let mut plain = load(&dir, &LoadOptions::default());
        let expected = logits(&mut plain, &prompt);
        let hidden = plain.hidden_states(&prompt).unwrap().pop().unwrap();
        for format in [
            QuantFormat::Int8 { threshold: 6.0 },
            BitsAndBytesConfig::four_bit(QuantType::Nf4, false).format,
            BitsAndBytesConfig::four_bit(QuantType::Fp4, true).format,
        ] {
            let options = LoadOptions { lm_head: Some(format.clone()), ..Default::default() };
            let mut model = load(&dir, &options);
            let head = model.weights().lm_head.clone().unwrap();
            assert_eq!(model.has_int8(), plain.has_int8(), "{name}");
            assert_eq!(model.hidden_states(&prompt).unwrap().pop().unwrap(), hidden, "{name}: hidden states");
            let found = logits(&mut model, &prompt);
            assert_ne!(found, expected, "{name}: {format:?}");
            let weights = head.matrix.dequantize();
            let product = |t: usize, r: usize| -> f64 {
                let (x, w) = (&hidden[t * head.cols..][..head.cols], &weights[r * head.cols..][..head.cols]);
                x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum()
            };
            let of_weights: Vec<f32> =
                (0..found.len()).map(|i| product(i / head.rows, i % head.rows) as f32).collect();
            // LLM.int8 rounds the activations too.
            let tolerance = if matches!(format, QuantFormat::Int8 { .. }) { 0.3 } else { 1e-4 };
            assert_close(&format!("{name}: {format:?}"), &found, &of_weights, tolerance);
            let (before, after) = (plain.memory(), model.memory());
            assert!(after.int8_codes + after.packed_codes > before.int8_codes + before.packed_codes);
            assert_eq!(
                after.floats_16bit + after.floats_32bit < before.floats_16bit + before.floats_32bit,
                !model.config().tie_word_embeddings,
                "{name}"
            );
        }
    }
}

/// The arithmetic chooses what a new cache holds, unless the caller does.
#[test]
fn the_dtype_of_the_kv_cache_goes_with_the_arithmetic() {
    let refs = references();
    let (_, info) = refs.models().next().unwrap();
    let mut model =
        load(&refs.root.join(info["refs"][0]["checkpoint"].as_str().unwrap()), &LoadOptions::default());
    for (arithmetic, dtype) in [
        (Arithmetic::Exact, KvCacheDtype::Float32),
        (Arithmetic::NearExact, KvCacheDtype::Int16),
        (Arithmetic::Fast, KvCacheDtype::Int16),
        (Arithmetic::Emulated(ComputeDtype::Bfloat16), KvCacheDtype::Float32),
    ] {
        model.set_arithmetic(arithmetic);
        assert_eq!(model.new_cache(1).unwrap().dtype(), dtype, "{arithmetic:?}");
    }
    model.set_kv_cache_dtype(Some(KvCacheDtype::Int16));
    assert_eq!(model.new_cache(1).unwrap().dtype(), KvCacheDtype::Int16);
    assert_eq!(KvCacheDtype::from_name("int16"), Some(KvCacheDtype::Int16));
    assert_eq!(KvCacheDtype::from_name("int4"), None);
}

#[test]
fn running_past_the_capacity_is_an_error() {
    let refs = references();
    let (_, info) = refs.models().next().unwrap();
    let prompt = ids(&info["prompt_ids"]);
    let mut model =
        load(&refs.root.join(info["refs"][0]["checkpoint"].as_str().unwrap()), &LoadOptions::default());
    let mut cache = model.new_cache(prompt.len()).unwrap();
    let before = cache.bytes();
    model.forward(&prompt[1..], &mut cache, LogitsFor::Last).unwrap();
    let error = model.forward(&prompt[..2], &mut cache, LogitsFor::Last).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ContextFull);
    let said = format!(
        "the kv cache is full (expected at most {0} positions, found {1})",
        prompt.len(),
        prompt.len() + 1
    );
    assert_eq!(error.to_string(), said);
    assert_eq!((cache.len(), cache.bytes()), (prompt.len() - 1, before));
    model.forward(&prompt[..1], &mut cache, LogitsFor::Last).unwrap();
    let code = |error: nibblama::Error| error.code();
    let full = model.forward(&prompt[..1], &mut cache, LogitsFor::Last).map(|_| ()).unwrap_err();
    assert_eq!(code(full), ErrorCode::ContextFull);
    assert_eq!(code(KvCache::new(model.config(), 0).unwrap_err()), ErrorCode::InvalidArgument);
    assert_eq!(code(KvCache::new(model.config(), usize::MAX).unwrap_err()), ErrorCode::OutOfMemory);
    cache.clear();
    let vocab = model.config().vocab_size as u32;
    let outside = model.forward(&[0, vocab], &mut cache, LogitsFor::Last).map(|_| ()).unwrap_err();
    assert_eq!(code(outside), ErrorCode::InvalidToken);
    let none = model.forward(&[], &mut cache, LogitsFor::Last).map(|_| ()).unwrap_err();
    assert_eq!(code(none), ErrorCode::InvalidArgument);
}

#[test]
fn a_quantized_checkpoint_is_not_quantized_otherwise() {
    let refs = references();
    let dir =
        refs.root.join("lora").join("..").join(refs.json["lora"]["adapters"][0]["base"].as_str().unwrap());
    let options = LoadOptions { quantization: Some(BitsAndBytesConfig::int8()), ..Default::default() };
    let error = weights(&config(&dir, "config.json"), &files(&dir), &options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnsupportedQuantization);
}
