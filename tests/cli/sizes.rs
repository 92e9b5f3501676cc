//! `footprint` and `inspect`.

use serde_json::{Value, json};

use crate::{any_golden, golden, json, read_json, succeeds};

#[test]
fn footprint_equals_the_reference_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let reference = read_json(&any_golden("memory_footprint.json"));
    for (name, model) in reference.as_object().unwrap() {
        let file = folder.path().join("config.json");
        let mut config = model["config"].clone();
        std::fs::write(&file, config.to_string()).unwrap();
        let printed = &model["get_memory_footprint"];
        let (four_bit, int8) = (&model["true_bytes_blocksize64"], &model["true_bytes_int8"]);
        let dq = &four_bit["nf4_double_quant"];
        for (flags, expected_printed, expected_true) in [
            (&["--quant-type", "nf4"][..], &printed["nf4_other_weights_16bit"], &four_bit["nf4"]["total"]),
            (&["--quant-type", "fp4"], &printed["nf4_other_weights_16bit"], &four_bit["nf4"]["total"]),
            (&["--quant-type", "nf4", "--double-quant"], &printed["nf4_other_weights_16bit"], &dq["total"]),
            (&["--quant-type", "fp4", "--double-quant"], &printed["nf4_other_weights_16bit"], &dq["total"]),
            (&["--quant-type", "int8"], &printed["int8_other_weights_16bit"], &int8["total"]),
        ] {
            let mut list = args!["footprint", &file].to_vec();
            list.extend(flags.iter().map(Into::into));
            let said = json(list);
            assert_eq!(&said["get_memory_footprint"], expected_printed, "{name} {flags:?}");
            assert_eq!(&said["true_bytes"], expected_true, "{name} {flags:?}");
            assert_eq!(said["parameters"], model["parameters"], "{name}");
            let modules = said["modules"].as_array().unwrap();
            let sum: u64 = modules.iter().map(|m| m["bytes"].as_u64().unwrap()).sum();
            assert_eq!(Value::from(sum), said["true_bytes"], "{name} {flags:?}");
            let kinds = modules.iter().filter(|m| m["kind"] == flags[1]).count();
            assert_eq!(Value::from(kinds), four_bit["linear_layers"], "{name} {flags:?}");
        }
        for (dtype, key) in [("float32", "f32"), ("bfloat16", "bf16")] {
            let said = json(args!["footprint", &file, "--quant-type", "none", "--dtype", dtype]);
            assert_eq!(said["get_memory_footprint"], printed[key], "{name} {dtype}");
            // The dtype of the config, in the keys of transformers 4 and 5.
            for config_key in ["dtype", "torch_dtype"] {
                config[config_key] = dtype.into();
                std::fs::write(&file, config.to_string()).unwrap();
                let said = json(args!["footprint", &file]);
                assert_eq!(said["get_memory_footprint"], printed[key], "{name} {dtype}");
                config.as_object_mut().unwrap().remove(config_key);
            }
            std::fs::write(&file, config.to_string()).unwrap();
        }
    }
}

#[test]
fn footprint_of_a_kv_cache_is_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    std::fs::write(&file, read_json(&golden("memory_footprint.json"))["Llama-3.1-8B"]["config"].to_string())
        .unwrap();
    let without = json(args!["footprint", &file, "--quant-type", "nf4"]);
    let with = json(args!["footprint", &file, "--quant-type", "nf4", "--context", "8192"]);
    assert_eq!(without["kv_cache_bytes"], 0);
    // Keys and values, 32 layers, 8 heads of 128, f32.
    assert_eq!(with["kv_cache_bytes"], 2u64 * 32 * 8 * 128 * 8192 * 4);
    assert_eq!(with["true_bytes"], without["true_bytes"]);
    let text = succeeds(args!["footprint", &file, "--quant-type", "nf4", "--context", "8192"]);
    for figure in ["6,027,761,664", "5,591,540,224", "kv cache, 8,192 tokens", "436,207,616", "8,030,261,248"]
    {
        assert!(text.contains(figure), "{figure}\n{text}");
    }
    // A folder stands for its config.json.
    assert_eq!(json(args!["footprint", folder.path(), "--quant-type", "nf4"]), without);
}

/// What inspect reports, from headers alone, is what the loaded model holds.
#[test]
fn inspect_equals_the_loaded_model() {
    for (dir, flags) in [
        ("llama_a/f32", &[][..]),
        ("llama_a/bf16", &[]),
        ("llama_a/nf4", &[]),
        ("llama_a/nf4_dq", &[]),
        ("llama_a/fp4", &[]),
        ("llama_a/int8", &[]),
        ("llama_a/nf4_dq_bf16_sharded", &[]),
        ("llama_tied/nf4_dq", &[]),
        ("llama_rope3/nf4", &[]),
        ("llama_a/bf16", &["--quant-type", "nf4", "--double-quant"]),
        ("llama_a/f32", &["--quant-type", "fp4", "--blocksize", "256", "--skip", "o_proj"]),
        ("llama_tied/bf16", &["--quant-type", "int8"]),
    ] {
        let model = golden(&format!("models/{dir}"));
        let mut list = args!["inspect", &model].to_vec();
        list.extend(flags.iter().map(Into::into));
        let said = json(list);
        let mut list = args!["generate", &model, "--ids", "0,1,2", "--max-new-tokens", "1"].to_vec();
        list.extend(flags.iter().map(Into::into));
        let held = json(list)["memory"]["model"].clone();
        let sum = |keys: &[&str]| keys.iter().map(|k| held[k].as_u64().unwrap()).sum::<u64>();
        let floats = sum(&["floats_16bit", "floats_32bit"]);
        let total =
            floats + sum(&["packed_codes", "absmax", "nested_absmax", "quant_maps", "int8_codes", "scb"]);
        assert_eq!(said["true_bytes"], total, "{dir} {flags:?}");
        assert_eq!(said["breakdown"]["other_weights"], floats, "{dir} {flags:?}");
        assert_eq!(said["breakdown"]["packed_codes"], held["packed_codes"], "{dir} {flags:?}");
        let printed = floats + sum(&["packed_codes", "int8_codes"]);
        let buffers = said["get_memory_footprint"].as_u64().unwrap() - printed;
        assert!(buffers > 0 && buffers <= 512, "{dir}");
        let tensors = said["tensors"].as_array().unwrap();
        let sum: u64 = tensors.iter().map(|t| t["bytes"].as_u64().unwrap()).sum();
        assert_eq!(said["tensor_bytes"], sum, "{dir}");
        let modules = said["modules"].as_array().unwrap();
        let sum: u64 = modules.iter().map(|m| m["bytes"].as_u64().unwrap()).sum();
        assert_eq!(said["true_bytes"], sum, "{dir}");
    }
}

#[test]
fn inspect_shows_the_tree_as_python_prints_it() {
    let text = succeeds(args!["inspect", golden("models/llama_a/nf4_dq")]);
    for line in [
        "LlamaForCausalLM(",
        "    (embed_tokens): Embedding(512, 128)",
        "      (0-1): 2 x LlamaDecoderLayer(",
        "          (q_proj): Linear4bit(in_features=128, out_features=128, bias=False)",
        "          (down_proj): Linear4bit(in_features=384, out_features=128, bias=False)",
        "  (lm_head): Linear(in_features=128, out_features=512, bias=False)",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("model.layers.1.mlp.up_proj.weight.nested_absmax"), "{text}");
    let text = succeeds(args!["inspect", golden("models/llama_a/int8")]);
    assert!(text.contains("(k_proj): Linear8bitLt(in_features=128, out_features=32, bias=False)"), "{text}");
    let text =
        succeeds(args!["inspect", golden("models/llama_a/f32"), "--quant-type", "nf4", "--skip", "v_proj"]);
    assert!(text.contains("(q_proj): Linear4bit("), "{text}");
    assert!(text.contains("(v_proj): Linear(in"), "{text}");
}

#[test]
fn inspect_names_files_and_shapes() {
    let said = json(args!["inspect", golden("models/llama_a/nf4_dq_bf16_sharded"), "--context", "100"]);
    assert_eq!(said["quant_type"], "nf4");
    assert_eq!(said["quantization_config"]["bnb_4bit_use_double_quant"], true);
    assert_eq!(said["kv_cache_bytes"], 2 * 2 * 32 * 100 * 4);
    let tensors = said["tensors"].as_array().unwrap();
    let norm = tensors.iter().find(|t| t["name"] == "model.norm.weight").unwrap();
    assert_eq!((&norm["dtype"], &norm["shape"]), (&json!("BF16"), &json!([128])));
    let files: std::collections::BTreeSet<_> = tensors.iter().map(|t| t["file"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 5);
}
