//! Configurations and adapters that are refused, each with its exact code and the key it names.

use nibblama::ErrorCode::{self, *};
use nibblama::checkpoint::Dtype;
use nibblama::model::{Adapter, Config, RopeScaling};
use serde_json::{Value, json};

fn base() -> Value {
    json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2
    })
}

fn with(mut object: Value, key: &str, value: Value) -> Vec<u8> {
    object[key] = value;
    serde_json::to_vec(&object).unwrap()
}

fn config(key: &str, value: Value) -> nibblama::Result<Config> {
    Config::from_json("config.json", &with(base(), key, value))
}

#[test]
fn configurations() {
    let rope = |kind: &str| json!({ "rope_type": kind, "factor": 2.0 });
    let cases: &[(&str, Value, ErrorCode)] = &[
        ("architectures", json!(["MistralForCausalLM"]), UnsupportedArchitecture),
        ("model_type", json!("gemma2"), UnsupportedArchitecture),
        ("hidden_act", json!("gelu"), UnsupportedOption),
        ("pretraining_tp", json!(2), UnsupportedOption),
        ("partial_rotary_factor", json!(0.5), UnsupportedOption),
        ("sliding_window", json!(4096), UnsupportedOption),
        ("rope_scaling", rope("yarn"), UnsupportedOption),
        ("rope_scaling", rope("dynamic"), UnsupportedOption),
        ("rope_parameters", rope("longrope"), UnsupportedOption),
        ("rope_parameters", rope("llama3"), InvalidConfig),
        ("torch_dtype", json!("int8"), UnsupportedOption),
        ("quantization_config", json!({ "quant_method": "gptq" }), UnsupportedQuantization),
        ("quantization_config", json!({ "quant_method": "awq" }), UnsupportedQuantization),
        ("quantization_config", json!({ "quant_method": "fp8" }), UnsupportedQuantization),
        ("num_key_value_heads", json!(3), InvalidConfig),
        ("num_attention_heads", json!(6), InvalidConfig),
        ("head_dim", json!(7), InvalidConfig),
        ("hidden_size", json!(0), InvalidConfig),
        ("hidden_size", json!(-4), InvalidConfig),
        ("vocab_size", json!(null), InvalidConfig),
        ("num_hidden_layers", json!(1_000_000_000_000_u64), InvalidConfig),
        ("rms_norm_eps", json!("small"), InvalidConfig),
        ("eos_token_id", json!([1, -1]), InvalidConfig),
    ];
    for (key, value, code) in cases {
        let error = config(key, value.clone()).expect_err(key);
        assert_eq!(error.code(), *code, "{key}: {value}: {error}");
        assert_eq!(error.file(), Some("config.json"), "{key}: {error}");
    }
    assert_eq!(Config::from_json("config.json", b"{").unwrap_err().code(), InvalidJson);
}

#[test]
fn both_key_styles() {
    let four = config("rope_scaling", json!({ "type": "linear", "factor": 4.0 })).unwrap();
    assert_eq!(four.rope.scaling, RopeScaling::Linear { factor: 4.0 });
    assert_eq!(four.head_dim, 8);
    let five = config("rope_parameters", json!({ "rope_type": "default", "rope_theta": 5e5 })).unwrap();
    assert_eq!((five.rope.theta, five.rope.scaling), (5e5, RopeScaling::Default));
    assert_eq!(config("torch_dtype", json!("bfloat16")).unwrap().dtype, Some(Dtype::BF16));
    assert_eq!(config("dtype", json!("float16")).unwrap().dtype, Some(Dtype::F16));
    assert_eq!(config("eos_token_id", json!([1, 2])).unwrap().eos_token_ids, [1, 2]);
    assert!(config("eos_token_id", json!(null)).unwrap().eos_token_ids.is_empty());
}

#[test]
fn adapters() {
    let plain =
        json!({ "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj"] });
    let read = |key: &str, value: Value| {
        Adapter::from_tensors("adapter_config.json", &with(plain.clone(), key, value), [])
    };
    let cases: &[(&str, Value, ErrorCode)] = &[
        ("peft_type", json!("IA3"), UnsupportedAdapter),
        ("task_type", json!("SEQ_CLS"), UnsupportedAdapter),
        ("bias", json!("all"), UnsupportedAdapter),
        ("use_dora", json!(true), UnsupportedAdapter),
        ("use_qalora", json!(true), UnsupportedAdapter),
        ("use_something_new", json!(true), UnsupportedAdapter),
        ("lora_bias", json!(true), UnsupportedAdapter),
        ("fan_in_fan_out", json!(true), UnsupportedAdapter),
        ("modules_to_save", json!(["lm_head"]), UnsupportedAdapter),
        ("init_lora_weights", json!("pissa_niter_16"), UnsupportedAdapter),
        ("init_lora_weights", json!("loftq"), UnsupportedAdapter),
        ("layer_replication", json!([[0, 1]]), UnsupportedAdapter),
        ("target_modules", json!("(?=q)q_proj"), UnsupportedAdapter),
        ("target_modules", json!("(q)\\1"), UnsupportedAdapter),
        ("rank_pattern", json!({ "q_proj": 0 }), InvalidAdapter),
        ("alpha_pattern", json!({ "q_proj": "big" }), InvalidAdapter),
        ("target_modules", json!(null), InvalidAdapter),
        ("r", json!(0), InvalidAdapter),
    ];
    for (key, value, code) in cases {
        let error = read(key, value.clone()).expect_err(key);
        assert_eq!(error.code(), *code, "{key}: {value}: {error}");
    }
}

#[test]
fn ranks_and_scalings_follow_the_first_pattern_that_matches() {
    let json = br#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": false,
        "target_modules": ".*_proj", "rank_pattern": {"layers.0.self_attn.q_proj": 2, "q_proj": 16},
        "alpha_pattern": {".*v_proj": 6}}"#;
    let adapter = Adapter::from_tensors("adapter_config.json", json, []).unwrap();
    assert_eq!(adapter.rank("model.layers.0.self_attn.q_proj"), 2);
    assert_eq!(adapter.rank("model.layers.1.self_attn.q_proj"), 16);
    assert_eq!(adapter.rank("model.layers.1.self_attn.k_proj"), 4);
    assert_eq!(adapter.scaling("model.layers.1.self_attn.v_proj"), 1.5);
    assert_eq!(adapter.scaling("model.layers.1.self_attn.k_proj"), 2.0);
}
