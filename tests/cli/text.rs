//! `tokenize`, and what every command says about itself.

use serde_json::json;

use crate::{any_golden, fails, golden, json, read_json, succeeds};

#[test]
fn tokenize_equals_the_reference() {
    for style in ["llama3_style", "llama2_style", "gpt2_style"] {
        let dir = any_golden(&format!("tokenizers/{style}"));
        let reference = read_json(&dir.join("cases.json"));
        for case in reference["cases"].as_array().unwrap().iter().step_by(7) {
            let text = case["text"].as_str().unwrap();
            if text.contains('\0') {
                continue;
            }
            let said = json(args!["tokenize", &dir, "--text", text]);
            assert_eq!(said["ids"], case["ids_with_special"], "{style} {text:?}");
            let said = json(args!["tokenize", &dir, "--no-special", "--text", text]);
            assert_eq!((&said["ids"], &said["tokens"]), (&case["ids"], &case["tokens"]), "{style} {text:?}");
        }
    }
}

#[test]
fn tokenize_both_ways() {
    let dir = golden("models/llama_a");
    let ids = succeeds(args!["tokenize", &dir, "--text", "Hello there!"]);
    assert_eq!(ids, "0,43,281,282,263,287,4\n");
    assert_eq!(succeeds(args!["tokenize", &dir, "--ids", "43,281,282,263,287,4"]), "Hello there!\n");
    assert_eq!(json(args!["tokenize", &dir, "--ids", "43 281"])["ids"], json!([43, 281]));
    assert!(fails(args!["tokenize", &dir, "--ids", "99999"]).contains("no such id in the tokenizer"));
}

#[test]
fn help_has_an_example_for_every_command() {
    let commands = ["inspect", "footprint", "quantize", "generate", "logits", "eval", "tokenize"];
    let help = succeeds(["--help"]);
    for command in commands {
        assert!(help.contains(command), "{command}");
        let help = succeeds([command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("nibblama {command}")), "{help}");
        assert!(help.contains("--json"), "{help}");
    }
    assert!(succeeds(["--version"]).starts_with("nibblama "));
}
