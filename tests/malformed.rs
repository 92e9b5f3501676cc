//! Hostile input: named attacks with their exact errors, and seeded mutation of every parsed file.
//!
//! `NIBBLAMA_MUTATIONS` sets the mutated inputs per kind of file: by default 25,000 in a release run and
//! 500 otherwise. A failure prints its seed, which `NIBBLAMA_SEED` repeats.

#[path = "support/alloc.rs"]
mod alloc;

use std::path::Path;

use nibblama::ErrorCode::{self, *};
use nibblama::checkpoint::{Checkpoint, Header, ShardIndex, TensorView};
use nibblama::model::{Adapter, Config, GenerationConfig, Llama, LoadOptions};
use nibblama::quant::bnb::ModuleParts;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

fn golden(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden/models").join(path);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn safetensors(json: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data_len, 0);
    bytes
}

#[test]
fn safetensors_attacks() {
    let cases: &[(&str, &str, usize, ErrorCode, Option<&str>)] = &[
        ("not JSON", r#"{"a":"#, 0, InvalidHeader, Some("a")),
        ("no object", "[]", 0, InvalidHeader, None),
        ("white space first", " {}", 0, InvalidHeader, None),
        ("text after the object", "{}{}", 0, InvalidHeader, None),
        ("lone surrogate in a name", "{\"\\ud800\":1}", 0, InvalidHeader, None),
        (
            "tensor twice",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2,
            DuplicateTensor,
            Some("a"),
        ),
        (
            "same bytes twice",
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
            2,
            OverlappingTensors,
            Some("b"),
        ),
        (
            "one byte shared",
            r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
            3,
            OverlappingTensors,
            Some("b"),
        ),
        (
            "hole first",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#,
            2,
            UnclaimedBytes,
            Some("a"),
        ),
        (
            "hole between",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#,
            3,
            UnclaimedBytes,
            Some("b"),
        ),
        ("hole last", r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 2, UnclaimedBytes, None),
        (
            "data cut short",
            r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#,
            3,
            TruncatedFile,
            Some("a"),
        ),
        (
            "end before begin",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}"#,
            1,
            OffsetOutOfRange,
            Some("a"),
        ),
        (
            "outside the file",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,99]}}"#,
            1,
            OffsetOutOfRange,
            Some("a"),
        ),
        (
            "offsets overflow",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551614,18446744073709551615]}}"#,
            1,
            OffsetOutOfRange,
            Some("a"),
        ),
        (
            "shape disagrees",
            r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
            4,
            ByteCountMismatch,
            Some("a"),
        ),
        (
            "shape overflows",
            r#"{"a":{"dtype":"U8","shape":[4294967296,4294967296,2],"data_offsets":[0,0]}}"#,
            0,
            ShapeOverflow,
            Some("a"),
        ),
        (
            "bytes overflow",
            r#"{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,0]}}"#,
            0,
            ShapeOverflow,
            Some("a"),
        ),
        (
            "overflow hidden by zero",
            r#"{"a":{"dtype":"U8","shape":[0,4294967296,4294967296,2],"data_offsets":[0,0]}}"#,
            0,
            ShapeOverflow,
            Some("a"),
        ),
        (
            "negative size",
            r#"{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}"#,
            0,
            InvalidHeader,
            Some("a"),
        ),
        (
            "fractional size",
            r#"{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}"#,
            1,
            InvalidHeader,
            Some("a"),
        ),
        (
            "three offsets",
            r#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}"#,
            1,
            InvalidHeader,
            Some("a"),
        ),
        ("no dtype", r#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, 1, InvalidHeader, Some("a")),
        (
            "shape twice",
            r#"{"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}}"#,
            1,
            InvalidHeader,
            Some("a"),
        ),
        ("metadata of numbers", r#"{"__metadata__":{"a":1}}"#, 0, InvalidHeader, Some("__metadata__")),
        ("metadata key twice", r#"{"__metadata__":{"a":"","a":""}}"#, 0, InvalidHeader, Some("__metadata__")),
    ];
    for (attack, json, data_len, code, tensor) in cases {
        let bytes = safetensors(json, *data_len);
        let error = Header::parse("m.safetensors", &bytes, bytes.len() as u64).expect_err(attack);
        let found = (error.code(), error.file(), error.tensor_name());
        assert_eq!(found, (*code, Some("m.safetensors"), *tensor), "{attack}: {error}");
    }
}

#[test]
fn header_lengths_are_checked_before_anything_is_read() {
    let parse = |len: u64, rest: usize| {
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.resize(8 + rest, b'{');
        let (result, peak) = alloc::peak_of(|| Header::parse("f", &bytes, bytes.len() as u64));
        assert!(peak < 4096, "{peak} bytes held for a header of length {len}");
        result.unwrap_err().code()
    };
    assert_eq!(parse(u64::MAX, 10), HeaderTooLarge);
    assert_eq!(parse(100_000_001, 10), HeaderTooLarge);
    assert_eq!(parse(100_000_000, 10), TruncatedFile);
    assert_eq!(parse(11, 10), TruncatedFile);
    for len in 0..8 {
        assert_eq!(Header::parse("f", &[0; 8][..len], len as u64).unwrap_err().code(), TruncatedFile);
    }
}

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

const TOKENS: &[&str] = &[
    "0",
    "-1",
    "1",
    "3",
    "63",
    "255",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "-0.0",
    "0.5",
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "[0,0]",
    "\"F64\"",
    "\"nf4\"",
    "\"../x\"",
    ",",
    ":",
    "{",
    "}",
    "[[[[[[[[",
    "\\u0000",
    "\"a\":1,",
];

/// One to four edits: bytes flipped, cut, repeated, or numbers and pieces replaced by awkward ones.
fn mutate(rng: &mut Rng, input: &[u8]) -> Vec<u8> {
    let mut text = input.to_vec();
    for _ in 0..1 + rng.below(4) {
        let at = rng.below(text.len());
        let end = (at + 1 + rng.below(24)).min(text.len());
        let token = TOKENS[rng.below(TOKENS.len())].bytes();
        match rng.below(7) {
            0 if at < text.len() => text[at] ^= 1 << rng.below(8),
            1 => text.truncate(at),
            2 => drop(text.drain(at..end)),
            3 => {
                let piece = text[at..end].to_vec();
                text.splice(at..at, piece);
            }
            4 => drop(text.splice(at..at, token)),
            5 if at < text.len() => text[at] = rng.next() as u8,
            _ => {
                // The number at or after this place, whole, so that the text stays JSON.
                let Some(skip) = text[at..].iter().position(u8::is_ascii_digit) else { continue };
                let rest = &text[at + skip..];
                let len = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
                text.splice(at + skip..at + skip + len, token);
            }
        }
    }
    text
}

struct PrintSeed(&'static str, u64);

impl Drop for PrintSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: failed with NIBBLAMA_SEED={}", self.0, self.1);
        }
    }
}

/// Mutates each of `inputs` in turn and hands it to `parse`, which says how many bytes it was given in all
/// and whether they were accepted. Memory may be a multiple of that: a JSON tree takes a hundred times its text.
fn campaign(kind: &'static str, inputs: &[Vec<u8>], parse: impl Fn(&mut Rng, Vec<u8>) -> (usize, bool)) {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().expect("a number"));
    let count = number("NIBBLAMA_MUTATIONS").unwrap_or(if cfg!(debug_assertions) { 500 } else { 25_000 });
    let seeds = match number("NIBBLAMA_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count,
    };
    let (mut accepted, total) = (0, seeds.end - seeds.start);
    for seed in seeds {
        let _print = PrintSeed(kind, seed);
        let mut rng = Rng(seed);
        let input = mutate(&mut rng, &inputs[seed as usize % inputs.len()]);
        let ((given, ok), peak) = alloc::peak_of(|| parse(&mut rng, input));
        assert!(peak <= (64 << 10) + 200 * given, "{peak} bytes held for {given} of input");
        accepted += u64::from(ok);
    }
    println!("{kind}: {total} inputs, {accepted} accepted");
    // Mutations that all fail, or all pass, would test one line of the parser.
    assert!(total < 500 || (0 < accepted && accepted < total), "{accepted} of {total} accepted");
}

/// Header JSON and data of a file.
fn split(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let len = u64::from_le_bytes(*file.first_chunk().unwrap()) as usize;
    (file[8..8 + len].to_vec(), file[8 + len..].to_vec())
}

#[test]
fn mutated_safetensors_headers() {
    let (header, data) = split(&golden("llama_tied/nf4_dq/model.safetensors"));
    let small = br#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"U8","shape":[8],"data_offsets":[24,32]}}"#.to_vec();
    campaign("safetensors header", &[small.clone(), header.clone()], |rng, json| {
        let data_len = if json.len() < 1000 { 32 } else { data.len() };
        // Mostly a right length, so that the JSON itself is reached.
        let len = if rng.below(8) == 0 { rng.next() >> rng.below(64) } else { json.len() as u64 };
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(&json);
        let file_len = bytes.len() as u64 + data_len as u64;
        (json.len(), Header::parse("f", &bytes, file_len).is_ok())
    });
}

#[test]
fn mutated_index() {
    let index = golden("llama_a/nf4_dq_bf16_sharded/model.safetensors.index.json");
    campaign("index.json", &[index], |_, json| (json.len(), ShardIndex::parse("f", &json).is_ok()));
}

#[test]
fn mutated_config() {
    let names =
        ["llama_a/f32/config.json", "llama_a/nf4_dq/config.json", "llama_rope3/bf16/config.legacy.json"];
    campaign("config.json", &names.map(golden), |_, json| {
        (json.len(), Config::from_json("f", &json).is_ok())
    });
}

#[test]
fn mutated_quant_state() {
    let bytes = golden("llama_tied/nf4_dq/model.safetensors");
    let checkpoint = Checkpoint::from_bytes(vec![("f".into(), bytes)], None).unwrap();
    let module = "model.layers.0.self_attn.k_proj";
    let views: Vec<TensorView<'_>> = checkpoint.views().filter(|v| v.name.starts_with(module)).collect();
    let state = views.iter().position(|v| v.name.contains("quant_state")).unwrap();
    let rest: usize = views.iter().map(|v| v.bytes.len()).sum();
    campaign("quant_state", &[views[state].bytes.to_vec()], |_, json| {
        let mut parts = ModuleParts::new(module);
        let shape = [json.len()];
        let pushed = views.iter().enumerate().try_for_each(|(i, &view)| {
            parts.push(if i == state { TensorView { bytes: &json, shape: &shape, ..view } } else { view })
        });
        (json.len() + rest, pushed.and_then(|()| parts.finish()).is_ok())
    });
}

#[test]
fn mutated_generation_config() {
    let full = br#"{"do_sample": true, "temperature": 0.6, "top_k": 40, "top_p": 0.95, "min_p": 0.05,
        "repetition_penalty": 1.1, "max_new_tokens": 256, "eos_token_id": [128001, 128009]}"#;
    let inputs = [golden("llama_a/f32/generation_config.json"), full.to_vec()];
    campaign("generation_config.json", &inputs, |_, json| {
        (json.len(), GenerationConfig::from_json("f", &json).is_ok())
    });
}

/// Read and bound to the model it was made for.
#[test]
#[cfg_attr(miri, ignore = "maps files, which Miri does not")]
fn mutated_adapter_config() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden");
    let checkpoint = Checkpoint::open(&path.join("lora/lora_qv")).unwrap();
    let json = |name: &str| std::fs::read(path.join("lora").join(name).join("adapter_config.json")).unwrap();
    let rest: usize = checkpoint.views().map(|v| v.bytes.len()).sum();
    let model = Llama::load(&path.join("models/llama_a/nf4"), &LoadOptions::default()).unwrap();
    let model = std::cell::RefCell::new(model);
    campaign("adapter_config.json", &[json("lora_qv"), json("lora_qv_rslora")], |_, json| {
        let mut model = model.borrow_mut();
        let adapter = Adapter::from_tensors("f", &json, checkpoint.views());
        let loaded = adapter.and_then(|adapter| model.load_adapter("a", adapter));
        assert_eq!(model.adapters().count(), usize::from(loaded.is_ok()));
        let deleted = model.delete_adapter("a");
        assert_eq!(deleted.is_ok(), loaded.is_ok());
        (json.len() + rest, loaded.is_ok())
    });
}

/// `text` with one piece replaced; the piece must be there.
fn edit(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn config_attacks() {
    let config = golden("llama_a/f32/config.json");
    for (from, to) in [
        ("\"num_attention_heads\": 8", "\"num_attention_heads\": 0"),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"),
        ("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 0"),
        ("\"hidden_size\": 128", "\"hidden_size\": 0"),
        ("\"hidden_size\": 128", "\"hidden_size\": -1"),
        ("\"hidden_size\": 128", "\"hidden_size\": 1.5"),
    ] {
        let error = Config::from_json("config.json", &edit(&config, from, to)).expect_err(to);
        assert_eq!((error.code(), error.file()), (InvalidConfig, Some("config.json")), "{to}: {error}");
    }
    // A huge layer count may be read, but nothing may be reserved for it.
    let huge = edit(&config, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4294967295");
    let (_, peak) = alloc::peak_of(|| Config::from_json("config.json", &huge));
    assert!(peak < 1 << 20, "{peak} bytes held");
}

#[test]
fn quant_state_attacks() {
    let bytes = golden("llama_tied/nf4_dq/model.safetensors");
    let checkpoint = Checkpoint::from_bytes(vec![("f".into(), bytes)], None).unwrap();
    let module = "model.layers.0.self_attn.k_proj";
    let views: Vec<TensorView<'_>> = checkpoint.views().filter(|v| v.name.starts_with(module)).collect();
    let finish = |part: &str, bytes: &[u8], shape: &[usize]| {
        let mut parts = ModuleParts::new(module);
        let replaced = |view: TensorView<'_>| view.name.contains(part);
        assert_eq!(views.iter().filter(|&&view| replaced(view)).count(), 1, "{part}");
        views
            .iter()
            .try_for_each(|&view| {
                parts.push(if replaced(view) { TensorView { bytes, shape, ..view } } else { view })
            })
            .and_then(|()| parts.finish())
    };
    let part = |part: &str| views.iter().find(|v| v.name.contains(part)).unwrap().bytes;
    let state = part("quant_state");
    let at_state = |error: nibblama::Error, code: ErrorCode, what: &str| {
        assert_eq!((error.code(), error.file()), (code, Some("f")), "{what}: {error}");
        assert!(error.tensor_name().is_some_and(|name| name.starts_with(module)), "{what}: {error}");
    };
    for (from, to, code) in [
        ("\"blocksize\": 64", "\"blocksize\": 0", UnsupportedQuantization),
        ("\"blocksize\": 64", "\"blocksize\": 65", UnsupportedQuantization),
        ("\"blocksize\": 64", "\"blocksize\": 16", UnsupportedQuantization),
        ("\"blocksize\": 64", "\"blocksize\": 18446744073709551615", UnsupportedQuantization),
        ("\"blocksize\": 64", "\"blocksize\": 18446744073709551616", InvalidJson),
        ("\"blocksize\": 64", "\"blocksize\": -64", InvalidJson),
        ("\"blocksize\": 64", "\"blocksize\": \"64\"", InvalidJson),
        // The right shape and the wrong number of scales.
        ("\"blocksize\": 64", "\"blocksize\": 128", ShapeMismatch),
        ("\"nested_blocksize\": 256", "\"nested_blocksize\": 0", UnsupportedQuantization),
        ("\"nested_blocksize\": 256", "\"nested_blocksize\": 255", UnsupportedQuantization),
        ("\"nested_blocksize\": 256, ", "", InvalidQuantState),
        ("\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float16\"", InvalidQuantState),
        ("\"shape\": [", "\"shape\": [3, ", ShapeMismatch),
        ("\"shape\": [", "\"shape\": [0, ", InvalidArgument),
        ("\"shape\": [", "\"shape\": [18446744073709551615, 2, ", ShapeOverflow),
        ("\"shape\": [", "\"shape\": [-1, ", InvalidJson),
        ("\"shape\": [", "\"shape\": [[", InvalidJson),
        ("\"nested_offset\": ", "\"nested_offset\": NaN, \"x\": ", InvalidJson),
        ("0.37994384765625", "1e300", InvalidQuantState),
        ("0.37994384765625", "null", InvalidQuantState),
        ("\"dtype\": \"bfloat16\"", "\"dtype\": \"float64\"", UnsupportedDtype),
        ("\"dtype\": \"bfloat16\"", "\"dtype\": null", InvalidJson),
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"fp4\"", InvalidQuantState),
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"\"", InvalidQuantState),
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"nf4\", \"quant_type\": \"nf4\"", InvalidJson),
        ("\"quant_type\": \"nf4\"", "\"quant_type\": \"nf4\", \"unknown\": 1", InvalidJson),
        ("{", "", InvalidJson),
    ] {
        let json = edit(state, from, to);
        at_state(finish("quant_state", &json, &[json.len()]).expect_err(to), code, to);
    }
    for (json, code) in
        [(&b""[..], InvalidJson), (b"\xff\xfe{}", InvalidJson), (&[b' '; 65537], InvalidQuantState)]
    {
        at_state(finish("quant_state", json, &[json.len()]).unwrap_err(), code, "raw bytes");
    }
    // More bytes than the shape of the tensor says.
    at_state(finish("quant_state", state, &[1]).unwrap_err(), UnsupportedDtype, "shape");
    // Statistics that are no numbers, or not those of the type.
    let spoil = |name: &str, value: f32| {
        let mut bytes = part(name).to_vec();
        bytes[4..8].copy_from_slice(&value.to_le_bytes());
        finish(name, &bytes, &[bytes.len() / 4]).unwrap_err()
    };
    at_state(spoil(".weight.quant_map", -0.5), InvalidQuantState, "quant_map");
    at_state(spoil("nested_quant_map", f32::NAN), InvalidQuantState, "nested_quant_map");
    for scale in [f32::NAN, f32::INFINITY, -1.0] {
        let mut bytes = part("nested_absmax").to_vec();
        bytes[..4].copy_from_slice(&scale.to_le_bytes());
        at_state(
            finish("nested_absmax", &bytes, &[bytes.len() / 4]).unwrap_err(),
            InvalidQuantState,
            "scale",
        );
    }
    for missing in &views {
        let mut parts = ModuleParts::new(module);
        views.iter().filter(|view| view.name != missing.name).for_each(|&view| parts.push(view).unwrap());
        let error = parts.finish().expect_err(missing.name);
        assert_eq!((error.code(), error.tensor_name()), (MissingTensor, Some(missing.name)), "{error}");
    }
    for name in [".weight.absmax", ".nested_absmax"] {
        let bytes = part(name);
        let size = if name == ".nested_absmax" { 4 } else { 1 };
        let long = [bytes, &bytes[..size]].concat();
        for wrong in [&long[..], &bytes[..bytes.len() - size]] {
            let error = finish(name, wrong, &[wrong.len() / size]).expect_err(name);
            assert_eq!(error.code(), ShapeMismatch, "{error}");
            assert!(error.tensor_name().is_some_and(|n| n.ends_with(name)), "{error}");
        }
    }
}
