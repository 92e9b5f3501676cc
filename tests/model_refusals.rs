//! Configurations and adapters that are refused, each with its exact code and the key it names.

use std::path::{Path, PathBuf};

use nibblama::ErrorCode::{self, *};
use nibblama::checkpoint::{Checkpoint, Dtype, TensorView};
use nibblama::model::{Adapter, Config, GenerationConfig, Llama, LoadOptions, RopeScaling};
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
        ("rank_pattern", json!({ "q_proj": 1.5 }), InvalidAdapter),
        ("rank_pattern", json!({ "(": 4 }), UnsupportedAdapter),
        ("alpha_pattern", json!(["q_proj"]), InvalidAdapter),
        ("target_modules", json!(null), InvalidAdapter),
        ("target_modules", json!([]), InvalidAdapter),
        ("target_modules", json!([1]), InvalidAdapter),
        ("target_modules", json!("((((a{999}){999}){999}){999})"), UnsupportedAdapter),
        ("exclude_modules", json!(7), InvalidAdapter),
        ("layers_to_transform", json!([-1]), InvalidAdapter),
        ("layers_pattern", json!({}), InvalidAdapter),
        ("r", json!(0), InvalidAdapter),
        ("r", json!(-8), InvalidAdapter),
        ("r", json!(2.5), InvalidAdapter),
        ("r", json!("8"), InvalidAdapter),
        ("r", json!(65537), InvalidAdapter),
        ("lora_alpha", json!("16"), InvalidAdapter),
        ("lora_alpha", json!([16]), InvalidAdapter),
        ("use_rslora", json!("yes"), InvalidAdapter),
        ("bias", json!(true), InvalidAdapter),
        ("bias", json!("lora_only"), UnsupportedAdapter),
        ("peft_type", json!(null), UnsupportedAdapter),
        ("peft_type", json!("ADALORA"), UnsupportedAdapter),
        ("trainable_token_indices", json!([1]), UnsupportedAdapter),
    ];
    for (key, value, code) in cases {
        let error = read(key, value.clone()).expect_err(key);
        assert_eq!(error.code(), *code, "{key}: {value}: {error}");
    }
}

/// Python writes these numbers; JSON has no such values, and 1e999 is not one either.
#[test]
fn adapter_numbers_that_are_none() {
    for alpha in ["NaN", "Infinity", "-Infinity", "1e999"] {
        let json = format!(r#"{{"peft_type": "LORA", "lora_alpha": {alpha}, "target_modules": ["q_proj"]}}"#);
        let error = Adapter::from_tensors("adapter_config.json", json.as_bytes(), []).unwrap_err();
        assert_eq!((error.code(), error.file()), (InvalidJson, Some("adapter_config.json")), "{alpha}");
    }
    for json in [&b"{"[..], b"", b"\xff\xfe", br#"{"r": 8, "r": 4, "peft_type": "LORA"}"#] {
        let error = Adapter::from_tensors("adapter_config.json", json, []).unwrap_err();
        assert_eq!(error.code(), InvalidJson, "{error}");
    }
    let error = Adapter::from_tensors("adapter_config.json", b"[]", []).unwrap_err();
    assert_eq!(error.code(), InvalidAdapter);
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden").join(path)
}

#[derive(Clone)]
struct Stored {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// A real adapter (rank 8 on q and v), each time with one thing wrong, on the model it was made for.
#[test]
fn adapter_weights() {
    let dir = fixture("lora/lora_qv");
    let config: Value =
        serde_json::from_slice(&std::fs::read(dir.join("adapter_config.json")).unwrap()).unwrap();
    let checkpoint = Checkpoint::open(&dir).unwrap();
    let good: Vec<Stored> = checkpoint
        .views()
        .map(|v| Stored {
            name: v.name.to_owned(),
            dtype: v.dtype.clone(),
            shape: v.shape.to_vec(),
            bytes: v.bytes.to_vec(),
        })
        .collect();
    let mut model = Llama::load(&fixture("models/llama_a/nf4"), &LoadOptions::default()).unwrap();
    let mut attack = |edit: &dyn Fn(&mut Value, &mut Vec<Stored>)| {
        let (mut config, mut stored) = (config.clone(), good.clone());
        edit(&mut config, &mut stored);
        let views = stored.iter().map(|t| TensorView {
            name: &t.name,
            dtype: &t.dtype,
            shape: &t.shape,
            bytes: &t.bytes,
            file: "adapter_model.safetensors",
        });
        let json = serde_json::to_vec(&config).unwrap();
        let result = Adapter::from_tensors("adapter_config.json", &json, views)
            .and_then(|adapter| model.load_adapter("a", adapter));
        if result.is_err() {
            assert_eq!(model.adapters().count(), 0, "a refused adapter must not stay");
        } else {
            model.delete_adapter("a").unwrap();
        }
        result
    };
    attack(&|_, _| {}).unwrap();

    let a = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let b = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";
    fn at<'t>(tensors: &'t mut [Stored], name: &str) -> &'t mut Stored {
        tensors.iter_mut().find(|t| t.name == name).unwrap()
    }
    let reshape = |name: &'static str, shape: &'static [usize]| {
        move |_: &mut Value, t: &mut Vec<Stored>| {
            let tensor = at(t, name);
            tensor.shape = shape.to_vec();
            tensor.bytes = vec![0; shape.iter().product::<usize>() * 4];
        }
    };
    let rename = |from: &'static str, to: &'static str| {
        move |_: &mut Value, t: &mut Vec<Stored>| at(t, from).name = to.into()
    };
    let set = |key: &'static str, value: Value| {
        move |config: &mut Value, _: &mut Vec<Stored>| config[key] = value.clone()
    };
    type Edit = Box<dyn Fn(&mut Value, &mut Vec<Stored>)>;
    let cases: Vec<(&str, Edit, ErrorCode, &str)> = vec![
        (
            "rank of the config is not the tensors'",
            Box::new(set("r", json!(4))),
            AdapterMismatch,
            "q_proj.lora_A",
        ),
        (
            "a pattern changes one rank",
            Box::new(set("rank_pattern", json!({ "v_proj": 2 }))),
            AdapterMismatch,
            "v_proj.lora_A",
        ),
        ("A of another rank than B", Box::new(reshape(a, &[4, 128])), AdapterMismatch, a),
        ("B of another rank than A", Box::new(reshape(b, &[128, 4])), AdapterMismatch, b),
        ("A transposed", Box::new(reshape(a, &[128, 8])), AdapterMismatch, a),
        ("B for another width", Box::new(reshape(b, &[64, 8])), AdapterMismatch, b),
        ("one axis", Box::new(reshape(a, &[1024])), ShapeMismatch, a),
        ("three axes", Box::new(reshape(a, &[8, 16, 8])), ShapeMismatch, a),
        ("no elements", Box::new(reshape(a, &[0, 128])), ShapeMismatch, a),
        (
            "a shape that overflows",
            Box::new(move |_, t| at(t, a).shape = vec![usize::MAX, 2]),
            ByteCountMismatch,
            a,
        ),
        (
            "fewer bytes than the shape says",
            Box::new(move |_, t| at(t, a).bytes.truncate(4092)),
            ByteCountMismatch,
            a,
        ),
        ("integers", Box::new(move |_, t| at(t, a).dtype = Dtype::I32), UnsupportedDtype, a),
        ("no lora_B", Box::new(move |_, t| t.retain(|t| t.name != b)), MissingTensor, b),
        ("no lora_A", Box::new(move |_, t| t.retain(|t| t.name != a)), MissingTensor, a),
        (
            "a targeted layer without weights",
            Box::new(|_, t| t.retain(|t| !t.name.contains("layers.1.self_attn.v_proj"))),
            MissingTensor,
            "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight",
        ),
        ("no weights at all", Box::new(|_, t| t.clear()), MissingTensor, "lora_A"),
        (
            "A twice",
            Box::new(move |_, t| {
                let again = at(t, a).clone();
                t.push(again);
            }),
            DuplicateTensor,
            a,
        ),
        (
            "weights for a layer the model lacks",
            Box::new(|_, t| {
                let mut more: Vec<Stored> =
                    t.iter().filter(|t| t.name.contains("layers.0.")).cloned().collect();
                more.iter_mut().for_each(|t| t.name = t.name.replace("layers.0.", "layers.7."));
                t.extend(more);
            }),
            UnexpectedTensor,
            "model.layers.7.self_attn",
        ),
        (
            "weights for a layer that is not targeted",
            Box::new(set("target_modules", json!(["q_proj"]))),
            UnexpectedTensor,
            "v_proj",
        ),
        ("an unknown module", Box::new(set("target_modules", json!(["wqkv"]))), UnexpectedTensor, "q_proj"),
        (
            "an unknown module and nothing else",
            Box::new(|config, t| {
                config["target_modules"] = json!(["wqkv"]);
                t.clear();
            }),
            AdapterMismatch,
            "target_modules",
        ),
        (
            "the embedding",
            Box::new(set("target_modules", json!(["q_proj", "v_proj", "embed_tokens"]))),
            UnsupportedAdapter,
            "model.embed_tokens",
        ),
        (
            "a norm",
            Box::new(set("target_modules", json!(".*norm|.*[qv]_proj"))),
            UnsupportedAdapter,
            "model.norm",
        ),
        (
            "DoRA's magnitudes",
            Box::new(rename(b, "base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector")),
            UnsupportedAdapter,
            "lora_magnitude_vector",
        ),
        (
            "LoRA of an embedding",
            Box::new(rename(a, "base_model.model.model.embed_tokens.lora_embedding_A")),
            UnsupportedAdapter,
            "lora_embedding_A",
        ),
        (
            "no prefix",
            Box::new(rename(a, "layers.0.self_attn.q_proj.lora_A.weight")),
            UnexpectedTensor,
            "lora_A",
        ),
        (
            "a bias",
            Box::new(rename(a, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.bias")),
            UnexpectedTensor,
            "lora_A.bias",
        ),
        ("a scaling beyond f32", Box::new(set("lora_alpha", json!(1e300))), InvalidAdapter, "lora_alpha"),
    ];
    for (what, edit, code, place) in cases {
        let error = attack(&*edit).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
        let tensor = error.tensor_name().unwrap_or_default();
        assert!(tensor.contains(place), "{what}: {error}");
        assert!(error.file().is_some_and(|file| file.starts_with("adapter_")), "{what}: {error}");
    }
    // Made for another model.
    let mut other = Llama::load(&fixture("models/llama_tied/bf16"), &LoadOptions::default()).unwrap();
    let error = other.load_adapter("a", Adapter::load(&dir).unwrap()).unwrap_err();
    assert_eq!(error.code(), AdapterMismatch, "{error}");
}

#[test]
fn generation_configs() {
    let read = |json: &str| GenerationConfig::from_json("generation_config.json", json.as_bytes());
    assert_eq!(read("{}").unwrap(), GenerationConfig::default());
    assert_eq!(read(r#"{"top_k": 0, "eos_token_id": [1, 2]}"#).unwrap().top_k, 0);
    for (json, code) in [
        ("", InvalidJson),
        ("{", InvalidJson),
        (r#"{"top_k": 1, "top_k": 2}"#, InvalidJson),
        (r#"{"temperature": NaN}"#, InvalidJson),
        (r#"{"temperature": 1e999}"#, InvalidJson),
        ("[]", InvalidConfig),
        (r#"{"temperature": "hot"}"#, InvalidConfig),
        (r#"{"top_k": -1}"#, InvalidConfig),
        (r#"{"top_k": 1.5}"#, InvalidConfig),
        (r#"{"top_k": 18446744073709551615}"#, InvalidConfig),
        (r#"{"top_p": [0.5]}"#, InvalidConfig),
        (r#"{"do_sample": 1}"#, InvalidConfig),
        (r#"{"max_new_tokens": 0}"#, InvalidConfig),
        (r#"{"max_new_tokens": 4294967296}"#, InvalidConfig),
        (r#"{"eos_token_id": -1}"#, InvalidConfig),
        (r#"{"eos_token_id": [1, null]}"#, InvalidConfig),
        (r#"{"eos_token_id": 4294967296}"#, InvalidConfig),
    ] {
        let error = read(json).expect_err(json);
        assert_eq!((error.code(), error.file()), (code, Some("generation_config.json")), "{json}: {error}");
    }
    // In range for JSON but not for a sampler.
    for json in [
        r#"{"temperature": 0}"#,
        r#"{"temperature": 1e300}"#,
        r#"{"top_p": 1.5}"#,
        r#"{"min_p": -0.1}"#,
        r#"{"repetition_penalty": 0}"#,
    ] {
        let sampling = nibblama::generate::SamplingConfig::from_generation_config(&read(json).unwrap(), 0);
        assert_eq!(sampling.validate().unwrap_err().code(), InvalidArgument, "{json}");
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
