//! The JavaScript boundary, in node, a page and a dedicated worker (chosen by the test runner's variables).
#![cfg(target_arch = "wasm32")]

use js_sys::Reflect;
use nibblama::wasm::{Quantized, start, target_features, to_js};
use nibblama::{Error, ErrorCode};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_test::wasm_bindgen_test;

/// Set by build.sh, so that a build whose flags got lost cannot pass for the one it was meant to be.
const VARIANT: Option<&str> = option_env!("NIBBLAMA_VARIANT");

fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).expect("an object")
}

#[wasm_bindgen_test]
fn the_build_has_the_features_of_its_variant() {
    let expected: &[&str] = match VARIANT {
        Some("relaxed-threads") => &["simd128", "relaxed-simd", "atomics"],
        Some("simd128-threads") => &["simd128", "atomics"],
        Some("relaxed") => &["simd128", "relaxed-simd"],
        Some("simd128") => &["simd128"],
        other => panic!("NIBBLAMA_VARIANT names no variant: {other:?}"),
    };
    assert_eq!(target_features(), expected);
}

#[wasm_bindgen_test]
fn errors_are_error_objects_with_code_and_place() {
    let error = Error::new(ErrorCode::ShapeMismatch, "wrong shape")
        .in_file("model.safetensors")
        .tensor("lm_head.weight")
        .expected("[512, 64]")
        .found("[512, 32]");
    let message = error.to_string();
    let object = to_js(error);
    assert!(object.is_instance_of::<js_sys::Error>());
    let text = |name| property(&object, name).as_string();
    assert_eq!(text("message"), Some(message));
    assert_eq!(text("code").as_deref(), Some("shape-mismatch"));
    assert_eq!(text("reason").as_deref(), Some("wrong shape"));
    assert_eq!(text("file").as_deref(), Some("model.safetensors"));
    assert_eq!(text("tensor").as_deref(), Some("lm_head.weight"));
    assert_eq!(text("expected").as_deref(), Some("[512, 64]"));
    assert_eq!(text("found").as_deref(), Some("[512, 32]"));
}

#[wasm_bindgen_test]
fn what_an_error_lacks_is_undefined() {
    let object = to_js(Error::new(ErrorCode::Aborted, "stopped"));
    for name in ["file", "tensor", "expected", "found"] {
        assert!(property(&object, name).is_undefined(), "{name}");
    }
}

#[wasm_bindgen_test]
fn a_block_is_packed_high_nibble_first() {
    start();
    let mut values = vec![0.0; 64];
    values[0] = -2.0;
    values[1] = 2.0;
    let quantized = Quantized::new(&values, "nf4", 64, false).expect("valid input");
    let mut expected = vec![0x77; 32];
    expected[0] = 0x0f;
    assert_eq!(quantized.packed(), expected);
    assert_eq!(quantized.absmax(), [2.0]);
    assert_eq!(quantized.absmax_codes(), None);
    assert_eq!(quantized.dequantize(), values);
    assert_eq!(quantized.bytes(), 32 + 4 + 64);
}

#[wasm_bindgen_test]
fn wrong_arguments_are_refused_with_a_code() {
    let code = |values: &[f32], quant_type, blocksize| {
        let error = Quantized::new(values, quant_type, blocksize, true).err().expect("refused");
        property(&error, "code").as_string().expect("a code")
    };
    assert_eq!(code(&[1.0], "nf5", 64), "unsupported-quantization");
    assert_eq!(code(&[1.0], "nf4", 63), "unsupported-quantization");
    assert_eq!(code(&[f32::NAN], "nf4", 64), "non-finite-weight");
}
