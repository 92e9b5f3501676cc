//! Sampling filters, generation, sizes and the layer tree against the golden data.

#[path = "support/golden.rs"]
mod golden;

use nibblama::ErrorCode;
use nibblama::generate::{FinishReason, Generation, Generator, Sampler, SamplingConfig};
use nibblama::model::footprint::footprint;
use nibblama::model::tree::tree;
use nibblama::model::{Config, Llama, LoadOptions};
use nibblama::quant::{BitsAndBytesConfig, QuantType};
use serde_json::{Value, json};

#[test]
fn distributions_equal_those_of_transformers() {
    let root = golden::dir();
    let spec = golden::json(&root.join("sampling.json"));
    let tensors = golden::tensors(&root.join("sampling.safetensors")).unwrap();
    let history: Vec<u32> =
        spec["history"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    for (i, settings) in spec["configs"].as_array().unwrap().iter().enumerate() {
        let number = |key: &str, or: f32| settings[key].as_f64().map_or(or, |x| x as f32);
        let config = SamplingConfig {
            do_sample: true,
            temperature: number("temperature", 1.0),
            top_k: settings["top_k"].as_u64().unwrap_or(0) as usize,
            top_p: number("top_p", 1.0),
            min_p: number("min_p", 0.0),
            repetition_penalty: number("repetition_penalty", 1.0),
            seed: 7,
        };
        let expected = tensors[&format!("probs.{i}")].floats();
        let mut found = vec![0.0; expected.len()];
        let mut sampler = Sampler::new(config).unwrap();
        for (token, p) in sampler.distribution(&mut tensors["logits"].floats(), &history).unwrap() {
            assert!(expected[token as usize] > 0.0, "{settings}: token {token} should be removed");
            found[token as usize] = p;
        }
        for (token, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(*found > 0.0, *expected > 0.0, "{settings}: token {token}");
            assert!((found - f64::from(*expected)).abs() < 1e-6, "{settings}: token {token}");
        }
        // Draws have the frequencies of the distribution.
        let draws = 20_000;
        let mut counts = vec![0u32; expected.len()];
        for _ in 0..draws {
            let token = sampler.sample(&mut tensors["logits"].floats(), &history).unwrap();
            counts[token as usize] += 1;
        }
        for (count, p) in counts.iter().zip(&found) {
            let bound = 6.0 * (p * f64::from(draws)).sqrt() + 6.0;
            assert!((f64::from(*count) - p * f64::from(draws)).abs() < bound, "{settings}");
        }
    }
}

#[test]
fn bad_logits_and_settings_are_errors() {
    let mut sampler = Sampler::new(SamplingConfig::default()).unwrap();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = sampler.sample(&mut [0.0, bad], &[]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::NonFiniteLogits);
    }
    assert_eq!(sampler.sample(&mut [], &[]).unwrap_err().code(), ErrorCode::InvalidArgument);
    let base = SamplingConfig::default();
    for config in [
        SamplingConfig { temperature: 0.0, ..base },
        SamplingConfig { temperature: f32::NAN, ..base },
        SamplingConfig { top_p: 1.5, ..base },
        SamplingConfig { min_p: -0.1, ..base },
        SamplingConfig { repetition_penalty: 0.0, ..base },
    ] {
        assert_eq!(Sampler::new(config).unwrap_err().code(), ErrorCode::InvalidArgument);
    }
}

#[test]
fn generation_is_greedy_seeded_and_stops() {
    let root = golden::dir();
    let refs = golden::json(&root.join("model_refs.json"));
    let info = refs.as_object().unwrap().iter().find(|(name, _)| *name != "lora").unwrap().1;
    let reference = &info["refs"][0];
    let ids = |v: &Value| -> Vec<u32> {
        v.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
    };
    let (prompt, expected) = (ids(&info["prompt_ids"]), ids(&reference["greedy"]));
    let n = (reference["safe_steps"].as_u64().unwrap() as usize).min(8);
    let dir = root.join(reference["checkpoint"].as_str().unwrap());
    let mut model = Llama::load(&dir, &LoadOptions::default()).unwrap();
    let mut cache = model.new_cache(prompt.len() + 20).unwrap();
    let mut run = |sampling, eos: &[u32], max: usize| {
        cache.clear();
        let generation = Generation::new(&prompt, sampling, eos, max).unwrap();
        Generator::new(&mut model, &mut cache, generation).collect::<Result<Vec<_>, _>>().unwrap()
    };
    let greedy = run(SamplingConfig::default(), &[], n);
    assert_eq!(greedy.iter().map(|step| step.token).collect::<Vec<_>>(), expected[..n]);
    assert_eq!(greedy[n - 1].finish, Some(FinishReason::MaxNewTokens));
    let stopped = run(SamplingConfig::default(), &[expected[2]], n);
    assert_eq!(stopped.last().unwrap().finish, Some(FinishReason::Eos));
    assert!(stopped.len() <= 3);
    let sampling = SamplingConfig { do_sample: true, seed: 3, ..Default::default() };
    let first = run(sampling, &[], 20);
    assert_eq!(first, run(sampling, &[], 20));
    assert_ne!(first, run(SamplingConfig { seed: 4, ..sampling }, &[], 20));

    let mut small = model.new_cache(prompt.len()).unwrap();
    let generation = Generation::new(&prompt, sampling, &[], 5).unwrap();
    let steps: Vec<_> = Generator::new(&mut model, &mut small, generation).collect();
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[1].as_ref().unwrap_err().code(), ErrorCode::ContextFull);
}

#[test]
fn footprints_equal_those_of_transformers_to_the_byte() {
    let Ok(bytes) = std::fs::read(golden::dir().join("memory_footprint.json")) else {
        assert!(!golden::is_committed());
        return;
    };
    let golden: Value = serde_json::from_slice(&bytes).unwrap();
    for (name, row) in golden.as_object().unwrap() {
        let json = serde_json::to_vec(&row["config"]).unwrap();
        let config = Config::from_json(name, &json).unwrap();
        let of = |q: Option<&BitsAndBytesConfig>| footprint(&config, q, None, 0);
        let (nf4, int8) = (BitsAndBytesConfig::nf4(), BitsAndBytesConfig::int8());
        let double = BitsAndBytesConfig::four_bit(QuantType::Nf4, true);
        let expected = &row["get_memory_footprint"];
        assert_eq!(json!(of(None).parameters), row["parameters"], "{name}");
        assert_eq!(json!(of(None).get_memory_footprint), expected["f32"], "{name}");
        assert_eq!(json!(of(Some(&nf4)).get_memory_footprint), expected["nf4_other_weights_16bit"], "{name}");
        assert_eq!(
            json!(of(Some(&int8)).get_memory_footprint),
            expected["int8_other_weights_16bit"],
            "{name}"
        );
        let bf16 = footprint(&config, None, Some(&nibblama::checkpoint::Dtype::BF16), 0);
        assert_eq!(json!(bf16.get_memory_footprint), expected["bf16"], "{name}");
        let expected = &row["true_bytes_blocksize64"];
        assert_eq!(json!(of(Some(&nf4)).true_bytes.total), expected["nf4"]["total"], "{name}");
        let held = of(Some(&double)).true_bytes;
        assert_eq!(json!(held.nested_absmax), expected["nf4_double_quant"]["nested_absmax_f32"], "{name}");
        assert_eq!(json!(held.total), expected["nf4_double_quant"]["total"], "{name}");
        assert_eq!(json!(of(Some(&int8)).true_bytes.total), row["true_bytes_int8"]["total"], "{name}");
    }
}

#[test]
fn footprint_of_a_config_equals_what_the_loaded_model_holds() {
    let root = golden::dir();
    let refs = golden::json(&root.join("model_refs.json"));
    for (_, info) in refs.as_object().unwrap().iter().filter(|(name, _)| *name != "lora") {
        for reference in info["refs"].as_array().unwrap() {
            let dir = root.join(reference["checkpoint"].as_str().unwrap());
            let model = Llama::load(&dir, &LoadOptions::default()).unwrap();
            let config = model.config();
            let predicted = footprint(config, config.quantization.as_ref(), None, 40);
            assert_eq!(predicted.true_bytes.total, model.memory().weights(), "{}", dir.display());
            assert_eq!(predicted.kv_cache, model.new_cache(40).unwrap().bytes() as u64);
        }
    }
}

/// Printed by transformers 5.23.0 with bitsandbytes 0.50.2 for `llama_a/nf4_dq`.
const TREE: &str = "\
LlamaForCausalLM(
  (model): LlamaModel(
    (embed_tokens): Embedding(512, 128)
    (layers): ModuleList(
      (0-1): 2 x LlamaDecoderLayer(
        (self_attn): LlamaAttention(
          (q_proj): Linear4bit(in_features=128, out_features=128, bias=False)
          (k_proj): Linear4bit(in_features=128, out_features=32, bias=False)
          (v_proj): Linear4bit(in_features=128, out_features=32, bias=False)
          (o_proj): Linear4bit(in_features=128, out_features=128, bias=False)
        )
        (mlp): LlamaMLP(
          (gate_proj): Linear4bit(in_features=128, out_features=384, bias=False)
          (up_proj): Linear4bit(in_features=128, out_features=384, bias=False)
          (down_proj): Linear4bit(in_features=384, out_features=128, bias=False)
          (act_fn): SiLUActivation()
        )
        (input_layernorm): LlamaRMSNorm((128,), eps=1e-05)
        (post_attention_layernorm): LlamaRMSNorm((128,), eps=1e-05)
      )
    )
    (norm): LlamaRMSNorm((128,), eps=1e-05)
    (rotary_emb): LlamaRotaryEmbedding()
  )
  (lm_head): Linear(in_features=128, out_features=512, bias=False)
)";

#[test]
fn layer_tree_is_what_python_prints() {
    let json = json!({
        "model_type": "llama", "vocab_size": 512, "hidden_size": 128, "intermediate_size": 384,
        "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2, "rms_norm_eps": 1e-5
    });
    let config = Config::from_json("config.json", json.to_string().as_bytes()).unwrap();
    assert_eq!(tree(&config, Some(&BitsAndBytesConfig::nf4())), TREE);
    let int8 = tree(&config, Some(&BitsAndBytesConfig::int8()));
    assert_eq!(int8, TREE.replace("Linear4bit", "Linear8bitLt"));
    assert_eq!(tree(&config, None), TREE.replace("Linear4bit", "Linear"));
    let skip = Some(vec!["layers.1.mlp".to_owned(), "model.layers.1.self_attn".to_owned()]);
    let mixed = tree(&config, Some(&BitsAndBytesConfig { skip_modules: skip, ..BitsAndBytesConfig::nf4() }));
    assert!(mixed.contains("(0): LlamaDecoderLayer(") && mixed.contains("(1): LlamaDecoderLayer("));
}
