//! `inspect --tensor`.

use nibblama::checkpoint::Checkpoint;
use nibblama::quant::QuantType;
use serde_json::{Value, json};

use crate::{f32s, fails, golden, json, succeeds};

const WEIGHT: &str = "model.layers.1.mlp.down_proj.weight";

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// The values as they were before JSON, whose reader here may be off by an ulp of f64.
fn floats(value: &Value) -> Vec<f32> {
    numbers(value).into_iter().map(|x| x as f32).collect()
}

/// Codes, bytes and scales are those that bitsandbytes stored for the same tensor.
#[test]
fn a_block_is_what_bitsandbytes_stored() {
    let original = Checkpoint::open(&golden("models/llama_a/f32")).unwrap();
    let stored = Checkpoint::open(&golden("models/llama_a/nf4")).unwrap();
    let values = f32s(&original, WEIGHT);
    let packed = stored.view(WEIGHT).unwrap().bytes.to_vec();
    let absmax = f32s(&stored, &format!("{WEIGHT}.absmax"));
    for index in [0, 7, values.len() / 64 - 1] {
        let block = index.to_string();
        let said =
            json(args!["inspect", golden("models/llama_a/f32"), "--tensor", WEIGHT, "--block", &block]);
        assert_eq!(said["settings"], json!({ "quant_type": "nf4", "blocksize": 64, "double_quant": false }));
        let block = &said["block"];
        let range = index * 64..index * 64 + 64;
        assert_eq!(floats(&block["values"]), values[range]);
        assert_eq!(block["packed"], json!(packed[index * 32..index * 32 + 32]));
        assert_eq!(block["absmax"].as_f64().unwrap() as f32, absmax[index]);
        let codes = numbers(&block["codes"]);
        let restored: Vec<f32> =
            codes.iter().map(|&code| QuantType::Nf4.codebook()[code as usize] * absmax[index]).collect();
        assert_eq!(floats(&block["restored"]), restored);
    }
    // The stored one is shown as it is: it has no values before quantization.
    let said = json(args!["inspect", golden("models/llama_a/nf4"), "--tensor", WEIGHT]);
    assert_eq!(said["block"]["packed"], json!(packed[..32]));
    assert_eq!(said["format"], "nf4");
    for unknown in [&said["block"]["values"], &said["formats"], &said["blocksizes"], &said["rows"]["rmse"]] {
        assert!(unknown.is_null(), "{unknown}");
    }
}

#[test]
fn one_tensor_says_the_same_in_every_part() {
    let model = golden("models/llama_a/bf16");
    let flags = ["--quant-type", "fp4", "--blocksize", "128", "--double-quant", "--block", "3"];
    // With and without the last part of the name.
    let mut list = args!["inspect", &model, "--tensor", "model.layers.1.mlp.down_proj"].to_vec();
    list.extend(flags.iter().map(Into::into));
    let said = json(list);
    assert_eq!(said["tensor"], WEIGHT);
    assert_eq!(said["settings"], json!({ "quant_type": "fp4", "blocksize": 128, "double_quant": true }));
    let (rows, cols) = (said["shape"][0].as_u64().unwrap(), said["shape"][1].as_u64().unwrap());
    assert_eq!(said["block"]["blocks"], rows * cols / 128);
    let format = |name: &str| {
        let formats = said["formats"].as_array().unwrap();
        formats.iter().find(|format| format["name"] == name).unwrap().clone()
    };
    let fp4 = format("fp4");
    let single = &said["blocksizes"]["single"][2];
    assert_eq!((single["blocksize"].as_u64(), &single["rmse"]), (Some(128), &fp4["rmse"]));
    assert_eq!(said["double_quant"]["weight_errors"]["single"]["rmse"], fp4["rmse"]);
    assert_eq!(
        said["blocksizes"]["double"][2]["mae"],
        said["double_quant"]["weight_errors"]["double"]["mae"]
    );
    for name in ["nf4", "nf4-dq", "int4-symmetric", "int4-asymmetric", "int8", "llm-int8"] {
        let counts = numbers(&format(name)["counts"]);
        assert_eq!(counts.iter().sum::<f64>(), (rows * cols) as f64, "{name}");
    }
    // The tensor's RMSE from that of its rows.
    let squares: f64 = numbers(&said["rows"]["rmse"]).iter().map(|x| x * x).sum();
    let whole = said["blocksizes"]["double"][2]["rmse"].as_f64().unwrap();
    assert!(((squares / rows as f64).sqrt() / whole - 1.0).abs() < 1e-9);

    let mut list = args!["inspect", &model, "--tensor", WEIGHT].to_vec();
    list.extend(flags.iter().map(Into::into));
    let text = succeeds(list);
    let bits = format!("{:.4}", fp4["bits_per_weight"].as_f64().unwrap());
    let line = text.lines().find(|line| line.starts_with("  fp4 ")).unwrap_or_else(|| panic!("{text}"));
    assert!(
        line.contains(&bits) && line.contains(&format!("{:.4e}", fp4["rmse"].as_f64().unwrap())),
        "{line}"
    );
    assert!(
        text.contains("block 3 of ") && text.contains("fp4, blocksize 128, double quantization"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_shown_is_refused_in_words() {
    let dense = golden("models/llama_a/bf16");
    let nf4 = golden("models/llama_a/nf4");
    for (list, expected) in [
        (args!["inspect", &dense, "--tensor", "model.layers.9.mlp.down_proj"].to_vec(), "no such weight"),
        (args!["inspect", &dense, "--tensor", WEIGHT, "--block", "99999"].to_vec(), "no such block"),
        (args!["inspect", &dense, "--tensor", WEIGHT, "--quant-type", "int8"].to_vec(), "in 4 bits"),
        (args!["inspect", &dense, "--tensor", WEIGHT, "--skip", "q_proj"].to_vec(), "--skip"),
        (args!["inspect", &dense, "--tensor", WEIGHT, "--context", "64"].to_vec(), "--context"),
        (args!["inspect", &dense, "--block", "1"].to_vec(), "--tensor"),
        (args!["inspect", &nf4, "--tensor", WEIGHT, "--double-quant"].to_vec(), "already quantized"),
        (args!["inspect", golden("models/llama_a/int8"), "--tensor", WEIGHT].to_vec(), "8 bits"),
    ] {
        let line = fails(&list);
        assert!(line.contains(expected), "{line}");
    }
}
