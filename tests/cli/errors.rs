//! Bad input: one clear line, exit code 1, and never a panic.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::{command, fails, golden, run};

fn copy_model(from: &str, to: &Path) {
    for entry in fs::read_dir(golden(from)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[track_caller]
fn says(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn missing_files_are_named() {
    let empty = tempfile::tempdir().unwrap();
    for command in [
        args!["inspect", "nosuch"].to_vec(),
        args!["generate", "nosuch"].to_vec(),
        args!["logits", "nosuch", "--ids", "1", "--out", "x.safetensors"].to_vec(),
        args!["quantize", "nosuch", empty.path()].to_vec(),
    ] {
        says(&fails(command), &["nosuch", "no such model folder"]);
    }
    says(&fails(args!["footprint", "nosuch.json"]), &["nosuch.json: no such file"]);
    says(&fails(args!["tokenize", empty.path(), "--text", "a"]), &["tokenizer.json: no such file"]);
    says(&fails(args!["inspect", empty.path()]), &["config.json: no such file"]);
    fs::copy(golden("models/llama_a/f32/config.json"), empty.path().join("config.json")).unwrap();
    says(&fails(args!["inspect", empty.path()]), &["model.safetensors"]);
    let model = golden("models/llama_a/f32");
    says(&fails(args!["generate", &model, "--prompt", "a"]), &["tokenizer.json: no such file"]);
    says(
        &fails(args!["generate", &model, "--ids", "1", "--adapter", empty.path()]),
        &["adapter_config.json"],
    );
    says(&fails(args!["eval", &model, "--text", "nosuch.txt"]), &["nosuch.txt: no such file"]);
    says(
        &fails(args!["logits", &model, "--ids", "1", "--out", "nosuch/x.safetensors"]),
        &["nosuch", "x.safetensors"],
    );
}

#[test]
fn damaged_models_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    copy_model("models/llama_a/nf4", dir);
    let config = fs::read_to_string(dir.join("config.json")).unwrap();
    fs::write(dir.join("config.json"), "{ not json").unwrap();
    says(&fails(args!["inspect", dir]), &["config.json", "JSON"]);
    fs::write(dir.join("config.json"), config.replace("LlamaForCausalLM", "GPT2LMHeadModel")).unwrap();
    says(
        &fails(args!["inspect", dir]),
        &["config.json: architectures: unsupported architecture", "GPT2LMHeadModel"],
    );
    fs::write(dir.join("config.json"), config.replace("\"vocab_size\": 512", "\"vocab_size\": 513")).unwrap();
    says(&fails(args!["inspect", dir]), &["model.safetensors", "[513, 128]", "[512, 128]"]);
    fs::write(dir.join("config.json"), config.replace("\"bitsandbytes\"", "\"gptq\"")).unwrap();
    says(&fails(args!["generate", dir, "--ids", "1"]), &["quant_method", "gptq"]);
    fs::write(dir.join("config.json"), &config).unwrap();
    let weights = fs::read(dir.join("model.safetensors")).unwrap();
    fs::write(dir.join("model.safetensors"), &weights[..weights.len() - 1]).unwrap();
    for list in [args!["inspect", dir].to_vec(), args!["generate", dir, "--ids", "1"].to_vec()] {
        says(&fails(list), &["model.safetensors"]);
    }
}

#[test]
fn arguments_out_of_range_are_refused() {
    let model = golden("models/llama_a/f32");
    let generate = |more: &[&str]| {
        let mut list = args!["generate", &model].to_vec();
        list.extend(more.iter().map(Into::into));
        fails(list)
    };
    says(&generate(&["--ids", "1,512"]), &["outside the vocabulary", "below 512", "found 512"]);
    says(&generate(&["--ids", "1,x"]), &["--ids", "\"x\" is not a token id"]);
    says(&generate(&["--ids", "1", "--quant-type", "nf5"]), &["--quant-type", "nf5", "nf4, fp4, int8, none"]);
    says(&generate(&["--ids", "1", "--temperature", "warm"]), &["--temperature", "warm"]);
    says(&generate(&["--ids", "1", "--temperature", "-1"]), &["temperature"]);
    says(&generate(&["--ids", "1", "--max-new-tokens", "0"]), &["--max-new-tokens", "at least 1"]);
    says(
        &generate(&["--ids", "1", "--max-new-tokens", "257"]),
        &["exceed the context", "at most 256", "found 257"],
    );
    let long = vec!["1"; 257].join(",");
    says(&generate(&["--ids", &long]), &["longer than the model's context", "found 257"]);
    says(&generate(&["--ids", "1", "--double-quant"]), &["--double-quant", "without --quant-type"]);
    says(
        &generate(&["--ids", "1", "--quant-type", "int8", "--blocksize", "64"]),
        &["--blocksize", "only 4-bit"],
    );
    says(
        &generate(&["--ids", "1", "--quant-type", "nf4", "--blocksize", "48"]),
        &["--blocksize", "power of two", "found 48"],
    );
    says(
        &generate(&["--ids", "1", "--quant-type", "nf4", "--skip", "zzz"]),
        &["--skip", "no linear layer", "zzz"],
    );
    says(
        &generate(&["--ids", "1", "--arithmetic", "fast", "--compute-dtype", "bfloat16"]),
        &["--arithmetic"],
    );
    let quantized = golden("models/llama_a/nf4");
    says(&fails(args!["generate", &quantized, "--ids", "1", "--quant-type", "fp4"]), &["nf4", "fp4"]);
    says(&fails(args!["inspect", &quantized, "--quant-type", "int8"]), &["nf4", "int8"]);
    let folder = tempfile::tempdir().unwrap();
    let config = golden("models/llama_a/f32/config.json");
    says(&fails(args!["footprint", &config, "--context", "0"]), &["--context", "found 0"]);
    let file = folder.path().join("text.txt");
    let tokenizer = golden("models/llama_a");
    fs::write(&file, [0x41, 0xff]).unwrap();
    says(
        &fails(args!["eval", &model, "--tokenizer", &tokenizer, "--text", &file]),
        &["text.txt", "not UTF-8"],
    );
    fs::write(&file, "<|endoftext|>\n").unwrap();
    says(
        &fails(args!["eval", &model, "--tokenizer", &tokenizer, "--text", &file]),
        &["text.txt", "no text to score"],
    );
    fs::write(&file, "a").unwrap();
    says(
        &fails(args![
            "eval",
            &model,
            "--tokenizer",
            &tokenizer,
            "--text",
            &file,
            "--against",
            golden("models/nosuch")
        ]),
        &["nosuch", "no such model folder"],
    );
}

#[test]
fn json_errors_are_one_object() {
    let output =
        command(args!["generate", golden("models/llama_a/f32"), "--ids", "600", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = serde_json::from_slice::<Value>(&output.stdout).unwrap()["error"].clone();
    assert_eq!(error["code"], "invalid-token");
    assert_eq!((&error["expected"], &error["found"]), (&"below 512".into(), &"600".into()));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, format!("error: {}\n", error["message"].as_str().unwrap()));
    // Also where clap refuses the value.
    let output = run(args!["footprint", "config.json", "--json", "--quant-type", "q4"]);
    assert_eq!(output.status.code(), Some(1));
    let error = serde_json::from_slice::<Value>(&output.stdout).unwrap()["error"].clone();
    assert_eq!(error["code"], "invalid-argument");
}

/// `nibblama .. | head -c 0`: no panic, nothing on stderr.
#[test]
fn a_reader_that_leaves_is_no_error() {
    for list in [
        args!["inspect", golden("models/llama_a/nf4")].to_vec(),
        args!["inspect", golden("models/llama_a/nf4"), "--json"].to_vec(),
        args!["generate", golden("models/llama_a/nf4"), "--ids", "1,2", "--max-new-tokens", "50"].to_vec(),
        args!["--help"].to_vec(),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let child = command(&list).stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""), "{list:?}");
    }
}

#[test]
fn arguments_that_do_not_fit_are_one_line() {
    says(&fails::<&str>([]), &["no command given"]);
    says(&fails(args!["frobnicate"]), &["frobnicate"]);
    says(&fails(args!["logits", "dir", "--out", "x"]), &["required arguments were not provided", "--ids"]);
    says(&fails(args!["generate", "dir", "--frobnicate"]), &["unexpected argument", "--frobnicate"]);
    says(&fails(args!["generate", "dir", "--prompt", "a", "--chat", "b"]), &["--prompt", "--chat"]);
    says(&fails(args!["generate", "dir", "--greedy", "--temperature", "1"]), &["--greedy", "--temperature"]);
    says(&fails(args!["tokenize", "dir"]), &["--text"]);
}
