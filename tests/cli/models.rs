//! `logits`, `generate` and `eval`.

use nibblama::checkpoint::Checkpoint;
use nibblama::generate::score_tokens;
use nibblama::model::{Llama, LoadOptions};
use serde_json::Value;

use crate::{any_golden, comma_separated, distance, f32s, golden, json, logits, read_json, succeeds};

#[test]
fn logits_equal_the_references() {
    let refs = read_json(&any_golden("model_refs.json"));
    let tensors = Checkpoint::open_files(&[any_golden("model_refs.safetensors")]).unwrap();
    let mut seen = 0;
    for (model, entry) in refs.as_object().unwrap().iter().filter(|(_, entry)| entry["refs"].is_array()) {
        let ids = comma_separated(&entry["prompt_ids"]);
        for reference in entry["refs"].as_array().unwrap() {
            let (key, checkpoint) =
                (reference["key"].as_str().unwrap(), reference["checkpoint"].as_str().unwrap());
            let dir = any_golden(checkpoint);
            let bound = if reference["greedy_cached"].is_array() { 0.1 } else { 1e-3 };
            let ours = logits(&dir, &ids, &[]);
            let off = distance(&ours, &f32s(&tensors, &format!("{key}.logits")));
            assert!(off <= bound, "{model} {key}: {off}");
            seen += 1;
            let bf16 = format!("{key}.logits_bf16_compute");
            if tensors.contains(&bf16) {
                let off =
                    distance(&logits(&dir, &ids, &["--compute-dtype", "bfloat16"]), &f32s(&tensors, &bf16));
                assert!(off <= 0.25, "{bf16}: {off}");
                assert_ne!(off, distance(&ours, &f32s(&tensors, &bf16)), "the flag must change something");
            }
        }
    }
    assert!(seen >= 3);
}

#[test]
fn adapters_equal_the_references() {
    let lora = read_json(&any_golden("model_refs.json"))["lora"].clone();
    let ids = comma_separated(&lora["prompt_ids"]);
    let tensors = Checkpoint::open_files(&[any_golden("model_refs.safetensors")]).unwrap();
    let adapters = lora["adapters"].as_array().unwrap();
    assert!(!adapters.is_empty());
    for entry in adapters {
        let path = |key: &str| any_golden(entry[key].as_str().unwrap());
        let dir = path("base");
        let ours = logits(&dir, &ids, &["--adapter", path("adapter").to_str().unwrap()]);
        let key = entry["unmerged"]["key"].as_str().unwrap();
        let off = distance(&ours, &f32s(&tensors, &format!("{key}.logits")));
        assert!(off <= 1e-3, "{key}: {off}");
        assert!(distance(&ours, &logits(&dir, &ids, &[])) > 0.01, "{key} must change something");
    }
}

#[test]
fn greedy_continuations_equal_the_references() {
    for (_, entry) in read_json(&any_golden("model_refs.json"))
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, e)| e["refs"].is_array())
    {
        let ids = comma_separated(&entry["prompt_ids"]);
        for reference in entry["refs"].as_array().unwrap() {
            let checkpoint = reference["checkpoint"].as_str().unwrap();
            let dir = any_golden(checkpoint);
            let said = json(args!["generate", dir, "--ids", &ids, "--greedy", "--max-new-tokens", "32"]);
            let key = if reference["greedy_cached"].is_array() { "greedy_cached" } else { "greedy" };
            let expected: Vec<&Value> = reference[key].as_array().unwrap().iter().collect();
            let safe = reference["safe_steps"].as_u64().unwrap() as usize;
            let ours: Vec<&Value> = said["ids"].as_array().unwrap().iter().collect();
            let steps = safe.min(ours.len());
            assert!(steps > 0);
            assert_eq!(ours[..steps], expected[..steps], "{checkpoint}");
            assert!(ours.len() == 32 || said["finish"] == "eos", "{checkpoint}");
        }
    }
}

#[test]
fn generate_reports_ids_text_speed_and_bytes() {
    let (dir, tokenizer) = (golden("models/llama_a/nf4_dq"), golden("models/llama_a"));
    let list = args![
        "generate",
        &dir,
        "--tokenizer",
        &tokenizer,
        "--prompt",
        "Hello there!",
        "--seed",
        "5",
        "--temperature",
        "0.9",
        "--max-new-tokens",
        "12"
    ];
    let said = json(list.clone());
    let prompt = json(args!["tokenize", &tokenizer, "--text", "Hello there!"]);
    assert_eq!(said["prompt_ids"], prompt["ids"]);
    let ids = said["ids"].as_array().unwrap();
    assert!(!ids.is_empty() && ids.len() <= 12);
    assert!(said["prefill_tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!(said["decode_tokens_per_second"].as_f64().unwrap() > 0.0);
    let memory: u64 =
        said["memory"]["model"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    let cache = said["memory"]["kv_cache"].as_u64().unwrap();
    assert_eq!(said["bytes_held"], memory + cache);
    // Keys and values, 2 layers, 2 heads of 16, f32; the last token is never fed.
    assert_eq!(cache, 2 * 2 * 32 * 4 * (prompt["ids"].as_array().unwrap().len() as u64 + 11));
    // The same text without --json, after the prompt.
    assert_eq!(succeeds(list.clone()), format!("Hello there!{}\n", said["text"].as_str().unwrap()));
    assert_eq!(json(list.clone())["ids"], said["ids"], "one seed, one text");
    let mut other = list.clone();
    other[7] = "6".into();
    assert_ne!(json(other)["ids"], said["ids"]);
}

#[test]
fn generate_prefers_flags_to_the_generation_config() {
    let folder = tempfile::tempdir().unwrap();
    let source = golden("models/llama_a/nf4");
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(source.join(file), folder.path().join(file)).unwrap();
    }
    let run = |flags: &[&str]| {
        let mut list = args!["generate", folder.path(), "--ids", "0,5"].to_vec();
        list.extend(flags.iter().map(Into::into));
        json(list)
    };
    let plain = run(&["--max-new-tokens", "3"]);
    assert_eq!(plain["sampling"]["do_sample"], false, "transformers' default");
    assert_eq!(plain["text"], Value::Null, "there is no tokenizer");
    let config = r#"{"do_sample": true, "temperature": 0.5, "top_k": 7, "top_p": 0.8, "max_new_tokens": 4, "eos_token_id": [1, 2]}"#;
    std::fs::write(folder.path().join("generation_config.json"), config).unwrap();
    let said = run(&[]);
    assert!(said["ids"].as_array().unwrap().len() <= 4);
    let sampling = &said["sampling"];
    assert_eq!(
        (&sampling["do_sample"], &sampling["temperature"], &sampling["top_k"], &sampling["top_p"]),
        (&true.into(), &0.5.into(), &7.into(), &0.8.into())
    );
    let said = run(&["--temperature", "0.25", "--top-k", "0", "--min-p", "0.1", "--max-new-tokens", "2"]);
    let sampling = &said["sampling"];
    assert_eq!(
        (&sampling["temperature"], &sampling["top_k"], &sampling["top_p"], &sampling["min_p"]),
        (&0.25.into(), &0.into(), &0.8.into(), &0.1.into())
    );
    assert_eq!(run(&["--greedy"])["sampling"]["do_sample"], false);
}

#[test]
fn generate_stops_at_text_and_starts_from_nothing() {
    let (dir, tokenizer) = (golden("models/llama_a/nf4"), golden("models/llama_a"));
    let base =
        args!["generate", &dir, "--tokenizer", &tokenizer, "--greedy", "--max-new-tokens", "24"].to_vec();
    let whole = json(base.clone());
    assert_eq!(whole["prompt_ids"], serde_json::json!([0]), "the start token");
    let text = whole["text"].as_str().unwrap().to_owned();
    // A stop string from the middle of what the model says.
    let chars: Vec<char> = text.chars().collect();
    let stop: String = chars[chars.len() / 2..chars.len() / 2 + 2].iter().collect();
    let mut list = base.clone();
    list.extend(args!["--stop", &stop]);
    let said = json(list.clone());
    assert_eq!(said["finish"], "stop");
    assert_eq!(said["text"].as_str().unwrap(), text.split(&stop).next().unwrap());
    assert_eq!(succeeds(list), format!("{}\n", said["text"].as_str().unwrap()));
    assert!(said["ids"].as_array().unwrap().len() < 24);
}

#[test]
fn generate_puts_a_chat_through_the_template() {
    let (dir, tokenizer) = (golden("models/llama_a/nf4"), golden("models/llama_a"));
    let cases = read_json(&golden("tokenizers/llama3_style/cases.json"));
    let chat = cases["chats"].as_array().unwrap().iter().find(|c| {
        c["add_generation_prompt"] == true
            && c["messages"].as_array().unwrap().len() == 1
            && c["messages"][0]["role"] == "user"
    });
    let chat = chat.unwrap();
    let message = chat["messages"][0]["content"].as_str().unwrap();
    let said =
        json(args!["generate", &dir, "--tokenizer", &tokenizer, "--chat", message, "--max-new-tokens", "1"]);
    assert_eq!(said["prompt_ids"], chat["ids"]);
    let said = json(args!["tokenize", &tokenizer, "--chat", "Hi", "--system", "Be kind."]);
    assert_eq!(
        said["text"],
        "<|begin_of_text|><|role|>system\nBe kind.<|end|>\n<|role|>user\nHi<|end|>\n<|role|>assistant\n"
    );
}

#[test]
fn every_arithmetic_runs_and_exact_is_the_default() {
    let dir = golden("models/llama_a/nf4");
    let default = logits(&dir, "0,5,9,77", &[]);
    assert_eq!(logits(&dir, "0,5,9,77", &["--arithmetic", "exact"]), default);
    for (arithmetic, bound) in [("near-exact", 0.1), ("fast", 3.0)] {
        let off = distance(&logits(&dir, "0,5,9,77", &["--arithmetic", arithmetic]), &default);
        assert!(off < bound, "{arithmetic}: {off}");
    }
}

fn score(dir: &str, stories: &[Vec<u32>]) -> (f64, usize) {
    let mut model = Llama::load(&golden(dir), &LoadOptions::default()).unwrap();
    let scores: Vec<f64> = stories
        .iter()
        .flat_map(|ids| {
            let ids: Vec<u32> = std::iter::once(0).chain(ids.iter().copied()).collect();
            score_tokens(&mut model, &ids).unwrap()
        })
        .collect();
    (scores.iter().sum::<f64>() / scores.len() as f64, scores.len())
}

fn encode(text: &str) -> Vec<u32> {
    let said = json(args!["tokenize", golden("models/llama_a"), "--no-special", "--text", text]);
    said["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn eval_scores_story_by_story() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stories.txt");
    let stories = ["Hello there!\n\nA second paragraph.", "Another story, 123."];
    std::fs::write(&file, format!("{}\n<|endoftext|>\n\n{}\n<|endoftext|>\n", stories[0], stories[1]))
        .unwrap();
    let (dir, tokenizer) = (golden("models/llama_a/nf4_dq"), golden("models/llama_a"));
    let said = json(args!["eval", &dir, "--tokenizer", &tokenizer, "--text", &file]);
    let (nll, tokens) = score("models/llama_a/nf4_dq", &stories.map(encode));
    assert_eq!(said["tokens"], tokens);
    assert_eq!(said["stories"], 2);
    assert!((said["nll"].as_f64().unwrap() - nll).abs() < 1e-9);
    assert!((said["perplexity"].as_f64().unwrap() - nll.exp()).abs() < 1e-6);
    let text = succeeds(args!["eval", &dir, "--tokenizer", &tokenizer, "--text", &file]);
    assert!(text.starts_with("perplexity "), "{text}");
}

#[test]
fn eval_measures_the_distance_to_a_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.txt");
    std::fs::write(&file, "Hello there! This is a text to score.").unwrap();
    let tokenizer = golden("models/llama_a");
    let eval = |dir: &str, against: &str, more: &[&str]| {
        let mut list = args![
            "eval",
            golden(dir),
            "--tokenizer",
            &tokenizer,
            "--text",
            &file,
            "--against",
            golden(against)
        ]
        .to_vec();
        list.extend(more.iter().map(Into::into));
        json(list)
    };
    let same = eval("models/llama_a/nf4", "models/llama_a/nf4", &[]);
    assert!(same["mean_kl"].as_f64().unwrap().abs() < 1e-12);
    assert_eq!(same["top1_agreement"], 1.0);
    let said = eval("models/llama_a/nf4", "models/llama_a/f32", &[]);
    let ids = encode("Hello there! This is a text to score.");
    let reference = score("models/llama_a/f32", std::slice::from_ref(&ids)).0;
    assert!((said["against"]["nll"].as_f64().unwrap() - reference).abs() < 1e-9);
    // The divergence, from the logits that the binary itself writes.
    let input: Vec<String> = std::iter::once(0)
        .chain(ids[..ids.len() - 1].iter().copied())
        .map(|id: u32| id.to_string())
        .collect();
    let rows = |dir: &str| logits(&golden(dir), &input.join(","), &[]);
    let (p, q) = (rows("models/llama_a/f32"), rows("models/llama_a/nf4"));
    let log_softmax = |row: &[f32]| {
        let sum: f64 = row.iter().map(|&x| f64::from(x).exp()).sum();
        row.iter().map(|&x| f64::from(x) - sum.ln()).collect::<Vec<f64>>()
    };
    let kl: Vec<f64> = p
        .chunks(512)
        .zip(q.chunks(512))
        .map(|(p, q)| log_softmax(p).iter().zip(log_softmax(q)).map(|(p, q)| p.exp() * (p - q)).sum())
        .collect();
    let mean = kl.iter().sum::<f64>() / kl.len() as f64;
    assert!((said["mean_kl"].as_f64().unwrap() - mean).abs() < 1e-6 * mean.max(1.0), "{mean}");
    assert!(said["top1_agreement"].as_f64().unwrap() < 1.0);
    // Quantizing DIR on the way leaves the reference as it is stored.
    let on_load = eval("models/llama_a/f32", "models/llama_a/f32", &["--quant-type", "nf4"]);
    assert!((on_load["mean_kl"].as_f64().unwrap() - mean).abs() < 1e-6 * mean.max(1.0));
}

/// In windows of the model's own context every token is scored once, and the first window is the plain score.
#[test]
fn eval_reads_long_texts_in_windows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.txt");
    let text = "A text that is longer than one window of the model. ".repeat(3);
    std::fs::write(&file, &text).unwrap();
    let ids = encode(text.trim());
    let list =
        args!["eval", golden("models/llama_a/nf4"), "--tokenizer", golden("models/llama_a"), "--text", &file];
    let eval = |context: usize| {
        let mut list = list.to_vec();
        list.extend(args!["--context", context.to_string()]);
        json(list)
    };
    assert!(ids.len() > 40 && ids.len() < 250);
    let size = 32;
    let mut expected = 0.0;
    let mut scored = 0;
    while scored < ids.len() {
        let begin = if scored == 0 { 0 } else { scored - size / 2 };
        let end = ids.len().min(begin + size);
        let (nll, tokens) = score("models/llama_a/nf4", &[ids[begin..end].to_vec()]);
        let before = if scored == begin {
            0.0
        } else {
            let (nll, tokens) = score("models/llama_a/nf4", &[ids[begin..scored].to_vec()]);
            nll * tokens as f64
        };
        expected += nll * tokens as f64 - before;
        scored = end;
    }
    let said = eval(size);
    assert_eq!(said["tokens"], ids.len());
    assert!((said["nll"].as_f64().unwrap() - expected / ids.len() as f64).abs() < 1e-6);
    let whole = score("models/llama_a/nf4", std::slice::from_ref(&ids)).0;
    assert!((eval(256)["nll"].as_f64().unwrap() - whole).abs() < 1e-9);
}
