//! `quantize`: equality with bitsandbytes' checkpoints, interrupted runs, memory.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nibblama::checkpoint::{Checkpoint, CheckpointWriter, Dtype, TensorSpec};
use nibblama::model::Config;
use serde_json::Value;

use crate::{command, fails, golden, json, logits, succeeds};

fn names(checkpoint: &Checkpoint) -> BTreeSet<String> {
    checkpoint.infos().map(|info| info.name.clone()).collect()
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn entries(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every tensor that bitsandbytes wrote from the same weights, byte for byte. Free are what its CPU path leaves
/// to chance or defect: the last bit of the offset of double quantization with the scales that follow from it,
/// and the two FP4 codes of zero.
#[test]
fn written_checkpoints_equal_the_references() {
    let folder = tempfile::tempdir().unwrap();
    for (source, reference, flags) in [
        ("llama_a/f32", "llama_a/nf4", &["--quant-type", "nf4"][..]),
        ("llama_a/f32", "llama_a/nf4_dq", &["--quant-type", "nf4", "--double-quant"]),
        ("llama_a/bf16", "llama_a/fp4", &["--quant-type", "fp4"]),
        ("llama_a/bf16", "llama_a/int8", &["--quant-type", "int8"]),
        ("llama_tied/bf16", "llama_tied/nf4_dq", &["--double-quant"]),
        ("llama_rope3/bf16", "llama_rope3/nf4", &[]),
        (
            "llama_a/bf16",
            "llama_a/nf4_dq_bf16_sharded",
            &["--double-quant", "--compute-dtype", "bfloat16", "--max-shard-size", "100K"],
        ),
    ] {
        let out = folder.path().join(reference.replace('/', "-"));
        let mut list = args!["quantize", golden(&format!("models/{source}")), &out].to_vec();
        list.extend(flags.iter().map(Into::into));
        succeeds(list);
        let ours = Checkpoint::open(&out).unwrap();
        let theirs = Checkpoint::open(&golden(&format!("models/{reference}"))).unwrap();
        assert_eq!(names(&ours), names(&theirs), "{reference}");
        for name in names(&ours) {
            let (a, b) = (ours.view(&name).unwrap(), theirs.view(&name).unwrap());
            if flags.contains(&"--double-quant") && name.ends_with(".absmax") {
                let far = a.bytes.iter().zip(b.bytes).filter(|(a, b)| a.abs_diff(**b) > 1).count();
                assert_eq!((a.bytes.len(), far), (b.bytes.len(), 0), "{reference} {name}");
                continue;
            }
            if name.ends_with("nested_absmax") {
                let off = crate::distance(&a.to_f32_vec().unwrap(), &b.to_f32_vec().unwrap());
                assert!(off < 1e-6, "{reference} {name}: {off}");
                continue;
            }
            if name.contains("quant_state") {
                let state = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                let (mut a, mut b) = (state(a.bytes), state(b.bytes));
                if let (Some(x), Some(y)) = (a["nested_offset"].as_f64(), b["nested_offset"].as_f64()) {
                    // Two ulp of f32.
                    assert!((x - y).abs() <= 2.4e-7 * x.abs(), "{reference} {name}");
                    (a["nested_offset"], b["nested_offset"]) = (Value::Null, Value::Null);
                }
                assert_eq!(a, b, "{reference} {name}");
                continue;
            }
            assert_eq!((a.dtype, a.shape), (b.dtype, b.shape), "{reference} {name}");
            if reference.ends_with("fp4") && *a.dtype == Dtype::U8 {
                let positive_zero = |byte: &u8| {
                    let nibble = |code: u8| if code == 8 { 0 } else { code };
                    nibble(byte >> 4) << 4 | nibble(byte & 15)
                };
                let same = a.bytes.iter().map(positive_zero).eq(b.bytes.iter().map(positive_zero));
                assert!(same, "{reference} {name}");
                continue;
            }
            assert!(a.bytes == b.bytes, "{reference} {name}");
        }
        let (ours, theirs) = (
            read_json(&out.join("config.json")),
            read_json(&golden(&format!("models/{reference}/config.json"))),
        );
        assert_eq!(ours["quantization_config"], theirs["quantization_config"], "{reference}");
        assert_eq!(ours["rope_parameters"], theirs["rope_parameters"], "{reference}");
        assert!(out.join("generation_config.json").exists());
        let sharded = out.join("model.safetensors.index.json").exists();
        assert_eq!(sharded, reference.ends_with("sharded"), "{reference}");
    }
}

#[test]
fn quantize_then_inspect_then_run_equals_quantizing_on_load() {
    let folder = tempfile::tempdir().unwrap();
    let source = golden("models/llama_a/bf16");
    for (i, flags) in [
        &["--quant-type", "nf4", "--double-quant"][..],
        &["--quant-type", "fp4", "--blocksize", "128"],
        &["--quant-type", "int8", "--int8-threshold", "3"],
        &["--quant-type", "nf4", "--skip", "k_proj", "--skip", "model.layers.1.mlp.down_proj"],
    ]
    .into_iter()
    .enumerate()
    {
        let out = folder.path().join(i.to_string());
        let mut list = args!["quantize", &source, &out].to_vec();
        list.extend(flags.iter().map(Into::into));
        let written = json(list);
        assert_eq!(logits(&out, "0,9,77,130", &[]), logits(&source, "0,9,77,130", flags), "{flags:?}");
        let mut list = args!["inspect", &source].to_vec();
        list.extend(flags.iter().map(Into::into));
        let (stored, planned) = (json(args!["inspect", &out]), json(list));
        for key in ["tree", "true_bytes", "get_memory_footprint", "breakdown", "modules", "quant_type"] {
            assert_eq!(stored[key], planned[key], "{flags:?} {key}");
        }
        assert_eq!(stored["tensor_bytes"], written["bytes"]);
        assert_eq!(stored["quantization_config"], written["quantization_config"]);
    }
    let skipped = read_json(&folder.path().join("3/config.json"));
    let expected = serde_json::json!(["lm_head", "k_proj", "model.layers.1.mlp.down_proj"]);
    assert_eq!(skipped["quantization_config"]["llm_int8_skip_modules"], expected);
    let weights = Checkpoint::open(&folder.path().join("3")).unwrap();
    for dense in ["lm_head", "model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"] {
        assert_eq!(weights.view(&format!("{dense}.weight")).unwrap().dtype, &Dtype::BF16, "{dense}");
    }
    assert_eq!(weights.view("model.layers.0.mlp.down_proj.weight").unwrap().dtype, &Dtype::U8);
}

#[test]
fn tokenizer_files_are_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    fs::create_dir(&source).unwrap();
    for file in ["config.json", "generation_config.json", "model.safetensors"] {
        fs::copy(golden("models/llama_tied/bf16").join(file), source.join(file)).unwrap();
    }
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        fs::copy(golden("models/llama_tied").join(file), source.join(file)).unwrap();
    }
    fs::write(source.join("notes.txt"), "not a part of the model").unwrap();
    // An empty folder may be there already, and shards may be the source.
    fs::create_dir(&out).unwrap();
    succeeds(args!["quantize", &source, &out, "--quant-type", "nf4"]);
    let expected = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(entries(&out), expected.map(String::from).into());
    assert_eq!(entries(folder.path()), ["out", "source"].map(String::from).into());
    let text = succeeds(args!["generate", &out, "--prompt", "Hello", "--max-new-tokens", "4"]);
    assert!(text.starts_with("Hello"));
}

#[test]
fn what_cannot_be_quantized_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let source = golden("models/llama_a/f32");
    for quantized in ["nf4", "fp4", "int8", "nf4_dq_bf16_sharded"] {
        let line = fails(args!["quantize", golden(&format!("models/llama_a/{quantized}")), &out]);
        assert!(line.contains("quantization_config: the model is already quantized"), "{line}");
    }
    assert!(fails(args!["quantize", &source, &out, "--quant-type", "none"]).contains("--quant-type"));
    assert!(fails(args!["quantize", &source, &out, "--blocksize", "16"]).contains("--blocksize"));
    assert!(fails(args!["quantize", &source, &out, "--max-shard-size", "0"]).contains("--max-shard-size"));
    assert!(entries(folder.path()).is_empty(), "{:?}", entries(folder.path()));

    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious.txt"), "mine").unwrap();
    assert!(fails(args!["quantize", &source, &out]).contains("the output folder is not empty"));
    assert_eq!(entries(&out), ["precious.txt".to_owned()].into());
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(fails(args!["quantize", &source, &file]).contains("the output folder is a file"));

    // A weight that is no number is found while quantizing, after the output was begun.
    let bad = folder.path().join("bad");
    fs::create_dir(&bad).unwrap();
    fs::copy(source.join("config.json"), bad.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&source).unwrap();
    let specs =
        checkpoint.infos().map(|i| TensorSpec::new(&i.name, i.dtype.clone(), i.shape.clone())).collect();
    let mut writer = CheckpointWriter::create(&bad, specs, None).unwrap();
    for view in checkpoint.views() {
        let mut bytes = view.bytes.to_vec();
        if view.name == "model.layers.1.mlp.up_proj.weight" {
            bytes[400..404].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        writer.write(view.name, &bytes).unwrap();
    }
    writer.finish().unwrap();
    for flags in [&[][..], &["--double-quant"]] {
        let mut list = args!["quantize", &bad, folder.path().join("never")].to_vec();
        list.extend(flags.iter().map(Into::into));
        let line = fails(list);
        assert!(line.contains("model.layers.1.mlp.up_proj.weight") && line.contains("NaN"), "{line}");
    }
    assert_eq!(entries(folder.path()), ["bad", "file", "out"].map(String::from).into());
}

/// A model of 84 MB in bf16 whose largest linear weight has a million elements.
fn large_model(dir: &Path) -> u64 {
    let config = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 8192, "hidden_size": 512,
        "intermediate_size": 2048, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 8,
        "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": false, "torch_dtype": "bfloat16"}"#;
    fs::create_dir(dir).unwrap();
    fs::write(dir.join("config.json"), config).unwrap();
    let config = Config::from_json("config.json", config.as_bytes()).unwrap();
    let shapes = config.tensor_shapes();
    let specs =
        shapes.iter().map(|(name, shape)| TensorSpec::new(name, Dtype::BF16, shape.clone())).collect();
    let mut writer = CheckpointWriter::create(dir, specs, Some(20_000_000)).unwrap();
    let mut state = 1u32;
    let mut total = 0;
    for (name, shape) in shapes {
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>())
            .flat_map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // A bf16 between 2^-8 and 2^-4 of either sign.
                let bits = (0x3b80 + (state >> 23) as u16 % 0x200) | ((state >> 16) as u16 & 0x8000);
                bits.to_le_bytes()
            })
            .collect();
        total += bytes.len() as u64;
        writer.write(&name, &bytes).unwrap();
    }
    writer.finish().unwrap();
    total
}

/// Killed at any time, a run leaves no folder OUT and no file under a finished name; a later run is not hindered.
#[test]
fn a_killed_run_leaves_nothing_that_looks_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    large_model(&source);
    let mut interrupted = 0;
    for wait in [0, 5, 20, 60] {
        let mut child = command(args!["quantize", &source, &out, "--double-quant"]).spawn().unwrap();
        let start = Instant::now();
        // From the moment the output is begun.
        while child.try_wait().unwrap().is_none() && entries(folder.path()).len() < 2 + interrupted {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        if out.exists() {
            fs::remove_dir_all(&out).unwrap();
            continue;
        }
        interrupted += 1;
        for name in entries(folder.path()).iter().filter(|name| *name != "source") {
            assert!(name.starts_with(".out.unfinished-"), "{name}");
        }
    }
    assert!(interrupted > 0, "no run was interrupted");
    succeeds(args!["quantize", &source, &out, "--double-quant"]);
    assert!(json(args!["inspect", &out])["true_bytes"].as_u64().unwrap() > 0);
}

/// Held in memory: about one tensor, whatever the size of the model; the mapped source and the written result
/// count as well, as far as they stay in it.
#[cfg(target_os = "linux")]
#[test]
fn quantizing_needs_the_memory_of_a_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (folder.path().join("source"), folder.path().join("out"));
    let total = large_model(&source);
    let mut child = command(args!["quantize", &source, &out, "--double-quant"]).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let (mut anonymous, mut resident, mut samples) = (0, 0, 0);
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let kib = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        if let (Some(now), Some(peak)) = (kib("RssAnon:"), kib("VmHWM:")) {
            anonymous = anonymous.max(now * 1024);
            resident = resident.max(peak * 1024);
            samples += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(child.wait().unwrap().success());
    assert!(samples > 5, "too quick to be measured: {samples} samples");
    // The largest weight: 4 MiB as f32, 2 MiB of work on top; the program itself maps 10 MB.
    assert!(anonymous < 24_000_000, "{anonymous} bytes for a model of {total}");
    assert!(resident < total / 2, "{resident} bytes resident for a model of {total}");
}
