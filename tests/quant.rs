//! The decisions listed in `nibblama::quant`, malformed statistics, and properties of quantization.

#[path = "support/golden.rs"]
mod golden;

use golden::{Tensor, codes};
use nibblama::checkpoint::Dtype;
use nibblama::quant::bnb::{ModuleParts, Weight, tensors_of, tensors_of_int8};
use nibblama::quant::codebook::DYNAMIC_MAP;
use nibblama::quant::half::round_to;
use nibblama::quant::{
    Absmax, BitsAndBytesConfig, Floats, Int8Params, Params4bit, QuantFormat, QuantType, blockwise8, int8,
};
use nibblama::{ErrorCode, Result};
use proptest::prelude::*;
use serde_json::json;

fn quantize(x: &[f32], quant_type: QuantType, blocksize: usize) -> Params4bit {
    Params4bit::quantize(x, &[x.len()], Dtype::F32, quant_type, blocksize, false).unwrap()
}

fn codes_of(params: &Params4bit) -> Vec<u8> {
    codes(&params.packed, params.len())
}

fn scales(params: &Params4bit) -> Vec<f32> {
    params.quant_state.absmax.to_vec()
}

/// A full block of 64 with absmax 1 that starts with `values`.
fn unit_block(values: &[f32]) -> Vec<f32> {
    let mut block = vec![1.0; 64];
    block[..values.len()].copy_from_slice(values);
    block
}

#[test]
fn fp4_ties_take_the_lower_value() {
    // The midpoint of 1/6 and 1/4, and of their negatives.
    let tie = (QuantType::Fp4.codebook()[6] + QuantType::Fp4.codebook()[7]) / 2.0;
    let up = f32::from_bits(tie.to_bits() + 1);
    let x = unit_block(&[tie, up, -tie, -up]);
    assert_eq!(codes_of(&quantize(&x, QuantType::Fp4, 64))[..4], [6, 7, 15, 15]);
    // CUDA's literal for the midpoint of 1/2 and 2/3 is 0.583333; here it is the midpoint.
    let x = unit_block(&[0.583_333, 0.583_333_3, 0.583_333_4, 0.583_333_5]);
    assert_eq!(codes_of(&quantize(&x, QuantType::Fp4, 64))[..4], [5, 5, 5, 2]);
}

#[test]
fn fp4_zero_keeps_its_sign() {
    let x = unit_block(&[0.002, -0.002, 0.0, -0.0, 1e-30, -1e-30]);
    let params = quantize(&x, QuantType::Fp4, 64);
    assert_eq!(codes_of(&params)[..6], [0, 8, 0, 0, 0, 8]);
    assert!(params.dequantize()[..6].iter().all(|&v| v == 0.0));
}

#[test]
fn zero_blocks_hold_the_code_of_zero() {
    for (quant_type, code) in [(QuantType::Nf4, 7), (QuantType::Fp4, 0)] {
        for zero in [0.0, -0.0] {
            let params = quantize(&[zero; 64], quant_type, 64);
            assert_eq!(scales(&params), [0.0]);
            assert_eq!(codes_of(&params), [code; 64]);
            assert_eq!(params.dequantize(), [0.0; 64]);
        }
    }
}

#[test]
fn zero_short_block_has_absmax_zero() {
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        let params = quantize(&[0.0; 70], quant_type, 64);
        assert_eq!(scales(&params).iter().map(|s| s.to_bits()).collect::<Vec<_>>(), [0, 0]);
        assert_eq!(codes_of(&params), vec![quant_type.zero_code(); 70]);
    }
    let nested = Params4bit::quantize(&[0.0; 70], &[70], Dtype::F32, QuantType::Nf4, 64, true).unwrap();
    assert_eq!(nested.dequantize(), [0.0; 70]);
}

#[test]
fn subnormal_scales_follow_the_cpu() {
    // A full block keeps its scale, and the reciprocal is that of 1e-38.
    let full = quantize(&[9e-39; 64], QuantType::Nf4, 64);
    assert_eq!((scales(&full), codes_of(&full)[0]), (vec![9e-39], 15));
    let full = quantize(&[1e-40; 64], QuantType::Nf4, 64);
    assert_eq!((scales(&full), codes_of(&full)[0]), (vec![1e-40], 7));
    // A short last block stores the divisor its codes are relative to.
    let short = quantize(&[1e-39; 10], QuantType::Nf4, 64);
    assert_eq!((scales(&short), codes_of(&short)[0]), (vec![1e-38], 8));
    // The normal range has no special case.
    let normal = quantize(&[2e-38; 10], QuantType::Nf4, 64);
    assert_eq!((scales(&normal), codes_of(&normal)[0]), (vec![2e-38], 15));
}

#[test]
fn short_last_block_divides() {
    // A value and a scale whose quotient and product with the reciprocal lie on two sides of a threshold.
    let threshold = QuantType::Nf4.thresholds()[11];
    let pairs = (0..100_000u32).map(|i| 1.0 + i as f32 / 131_072.0);
    let (absmax, x) = pairs
        .map(|absmax| (absmax, threshold * absmax))
        .find(|(absmax, x)| (x / absmax > threshold) != (x * (1.0 / absmax) > threshold))
        .expect("a pair that the two rules treat differently");
    let mut block = vec![absmax; 64];
    block[0] = x;
    let by_product = codes_of(&quantize(&block, QuantType::Nf4, 64))[0];
    let by_division = codes_of(&quantize(&block[..63], QuantType::Nf4, 64))[0];
    assert_eq!(by_product, QuantType::Nf4.encode(x * (1.0 / absmax)));
    assert_eq!(by_division, QuantType::Nf4.encode(x / absmax));
    assert_ne!(by_product, by_division);
}

#[test]
fn eight_bit_codes_are_nearest() {
    for i in -40_000..=40_000 {
        let v = i as f32 / 40_000.0;
        let error = |c: usize| (f64::from(DYNAMIC_MAP[c]) - f64::from(v)).abs();
        let best = (0..256).map(error).fold(f64::INFINITY, f64::min);
        let code = usize::from(blockwise8::encode(&DYNAMIC_MAP, v));
        // Midpoints are rounded to f32, so at one of them the other neighbour may be nearer by that much.
        assert!(error(code) <= best + 1e-7, "{v}: code {code}");
    }
}

#[test]
fn eight_bit_zero_block_has_code_zero() {
    let mut src = vec![0.0; 128 + 10];
    src[5] = 1.0;
    let (mut codes, mut absmax) = (vec![9; src.len()], vec![9.0; 3]);
    blockwise8::quantize_blockwise(&src, 64, &DYNAMIC_MAP, &mut codes, &mut absmax);
    assert_eq!(absmax, [1.0, 0.0, 0.0]);
    assert_eq!((codes[5], codes[0]), (255, 127));
    assert!(codes[64..].iter().all(|&c| c == 0));
}

#[test]
fn int8_product_scale_is_that_of_the_cpu() {
    assert_eq!(int8::MM_DEQUANT, 6.200124e-05);
    let excess = f64::from(int8::MM_DEQUANT) * 127.0 * 127.0 - 1.0;
    assert!((1.7e-5..1.9e-5).contains(&excess), "{excess}");
    // A weight and an activation at full scale give their product back, but for that excess.
    let w = Int8Params::quantize(&[3.0], 1, 1).unwrap();
    let mut y = [0.0];
    int8::linear(&[2.0], &w, 0.0, &mut y);
    assert!((f64::from(y[0]) - 6.0 * (1.0 + excess)).abs() < 1e-6, "{}", y[0]);
}

#[test]
fn blocks_ignore_rows() {
    let x: Vec<f32> = (0..3 * 48).map(|i| ((i * 37 % 101) as f32 - 50.0) * (1.0 + i as f32)).collect();
    let matrix = Params4bit::quantize(&x, &[3, 48], Dtype::F32, QuantType::Nf4, 64, false).unwrap();
    let flat = quantize(&x, QuantType::Nf4, 64);
    assert_eq!(matrix.packed, flat.packed);
    assert_eq!(matrix.dequantize(), flat.dequantize());
    for (i, value) in matrix.dequantize().into_iter().enumerate() {
        let level = QuantType::Nf4.codebook()[usize::from(matrix.code_at(i))];
        assert_eq!(value, level * scales(&matrix)[i / 64], "{i}");
    }
}

#[test]
fn an_outlier_token_moves_its_column_out_of_every_row() {
    let (calm, hot) = ([1.0, 2.0], [8.0, 2.0]);
    let a = int8::Int8Activations::quantize(&[calm, hot].concat(), 2, 6.0);
    assert_eq!(a.outlier_cols, [0]);
    assert_eq!((a.ca.as_slice(), a.sca.as_slice()), ([0, 127, 0, 127].as_slice(), [2.0, 2.0].as_slice()));
    // The threshold itself is an outlier; without a threshold nothing is.
    assert_eq!(int8::Int8Activations::quantize(&[6.0, 1.0], 2, 6.0).outlier_cols, [0]);
    assert!(int8::Int8Activations::quantize(&hot, 2, 0.0).outlier_cols.is_empty());
}

#[test]
fn values_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for (len, at) in [(128, 100), (65, 64), (1, 0)] {
            let mut x = vec![0.5; len];
            x[at] = bad;
            let result = Params4bit::quantize(&x, &[len], Dtype::F32, QuantType::Nf4, 64, true);
            assert_eq!(result.unwrap_err().code(), ErrorCode::NonFiniteWeight);
            let result = Int8Params::quantize(&x, 1, len);
            assert_eq!(result.unwrap_err().code(), ErrorCode::NonFiniteWeight);
        }
    }
    // Finite, but not in float16.
    let error = Int8Params::quantize(&[1.0, 2.0, 3.0, 70000.0], 2, 2).unwrap_err();
    assert_eq!(error.found_value(), Some("70000.0 at row 1, column 1"));
}

#[test]
fn impossible_arguments_are_refused() {
    let quantize = |n: usize, shape: &[usize], dtype, blocksize| {
        Params4bit::quantize(&vec![1.0; n], shape, dtype, QuantType::Nf4, blocksize, false)
            .map(|_| ())
            .map_err(|e| e.code())
    };
    for blocksize in [0, 1, 16, 31, 48, 8192, usize::MAX] {
        assert_eq!(quantize(64, &[64], Dtype::F32, blocksize), Err(ErrorCode::UnsupportedQuantization));
    }
    assert_eq!(quantize(64, &[8, 9], Dtype::F32, 64), Err(ErrorCode::ShapeMismatch));
    assert_eq!(quantize(0, &[0, 9], Dtype::F32, 64), Err(ErrorCode::InvalidArgument));
    assert_eq!(quantize(1, &[usize::MAX, 2], Dtype::F32, 64), Err(ErrorCode::ShapeOverflow));
    assert_eq!(quantize(64, &[64], Dtype::I8, 64), Err(ErrorCode::UnsupportedDtype));
    assert_eq!(quantize(64, &[8, 8], Dtype::BF16, 64), Ok(()));
    assert_eq!(Int8Params::quantize(&[1.0; 6], 2, 2).unwrap_err().code(), ErrorCode::ShapeMismatch);
}

type Parts = Vec<(String, Tensor)>;

fn parts(tensors: Vec<nibblama::quant::bnb::OutputTensor<'_>>) -> Parts {
    let owned = |(name, dtype, shape, bytes): nibblama::quant::bnb::OutputTensor<'_>| {
        (name, Tensor { dtype, shape, bytes: bytes.into_owned() })
    };
    tensors.into_iter().map(owned).collect()
}

fn assemble(parts: &Parts) -> Result<Weight> {
    let mut module = ModuleParts::new("p");
    for (name, tensor) in parts {
        module.push(tensor.view(name, "f.safetensors"))?;
    }
    module.finish().map(|(weight, _)| weight)
}

fn sample(double_quant: bool) -> Params4bit {
    let x: Vec<f32> = (0..9 * 35).map(|i| ((i * 53 % 97) as f32 - 48.0) * 0.01).collect();
    Params4bit::quantize(&x, &[9, 35], Dtype::BF16, QuantType::Nf4, 64, double_quant).unwrap()
}

fn edit<'a>(parts: &'a mut Parts, name: &str) -> &'a mut Tensor {
    &mut parts.iter_mut().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
}

const STATE: &str = "p.weight.quant_state.bitsandbytes__nf4";

fn edit_json(parts: &mut Parts, from: &str, to: &str) {
    let tensor = edit(parts, STATE);
    let text = String::from_utf8(tensor.bytes.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    tensor.bytes = text.replacen(from, to, 1).into_bytes();
    tensor.shape = vec![tensor.bytes.len()];
}

/// Applies an edit to the tensors of a double-quantized layer and checks the refusal.
fn refused(edit: impl FnOnce(&mut Parts), code: ErrorCode, tensor: &str) {
    let params = sample(true);
    let mut parts = parts(tensors_of("p", &params, &Dtype::U8).unwrap());
    edit(&mut parts);
    let error = assemble(&parts).unwrap_err();
    assert_eq!((error.code(), error.tensor_name()), (code, Some(tensor)), "{error}");
    assert_eq!(error.file(), Some("f.safetensors"), "{error}");
}

#[test]
fn what_is_written_is_read_back() {
    for double_quant in [false, true] {
        let params = sample(double_quant);
        for storage in [Dtype::U8, Dtype::I8, Dtype::BF16, Dtype::F32] {
            let Ok(tensors) = tensors_of("p", &params, &storage) else {
                // 158 bytes are no whole number of f32.
                assert_eq!(storage, Dtype::F32);
                continue;
            };
            let mut parts = parts(tensors);
            parts.reverse();
            assert_eq!(assemble(&parts).unwrap(), Weight::FourBit(params.clone()));
        }
    }
    let int8 = Int8Params::quantize(&[1.0, -2.0, 0.0, 0.0, 0.5, 0.25], 3, 2).unwrap();
    let mut tensors = parts(tensors_of_int8("p", &int8));
    assert_eq!(assemble(&tensors).unwrap(), Weight::Int8(int8.clone()));
    // Checkpoints of old versions have no weight_format.
    tensors.pop();
    assert_eq!(assemble(&tensors).unwrap(), Weight::Int8(int8));
}

#[test]
fn missing_and_repeated_tensors_are_named() {
    for suffix in
        ["weight", "weight.absmax", "weight.quant_map", "weight.nested_absmax", "weight.nested_quant_map"]
    {
        let name = format!("p.{suffix}");
        refused(|p| p.retain(|(n, _)| *n != name), ErrorCode::MissingTensor, &name);
    }
    refused(|p| p.retain(|(n, _)| *n != STATE), ErrorCode::MissingTensor, STATE);
    refused(|p| p.retain(|(n, _)| n == "p.weight"), ErrorCode::MissingTensor, STATE);
    refused(|p| p.push(p[1].clone()), ErrorCode::DuplicateTensor, "p.weight.absmax");
    let rename = |p: &mut Parts| p[1].0 = "q.weight.absmax".to_owned();
    refused(rename, ErrorCode::UnexpectedTensor, "q.weight.absmax");
    let second_state = |p: &mut Parts| {
        let fp4 = p.last().unwrap().1.clone();
        p.push((STATE.replace("nf4", "fp4"), fp4));
    };
    refused(second_state, ErrorCode::InvalidQuantState, "p.weight");
    let int8_too = |p: &mut Parts| p.push(("p.SCB".to_owned(), p[1].1.clone()));
    refused(int8_too, ErrorCode::InvalidQuantState, "p.weight");
}

#[test]
fn contradictory_tensors_are_refused() {
    use ErrorCode::{ByteCountMismatch, InvalidQuantState, ShapeMismatch, UnsupportedDtype};
    let shorter = |name: &'static str| {
        move |p: &mut Parts| {
            let tensor = edit(p, name);
            let last = tensor.shape[0] - 1;
            let size = tensor.bytes.len() / tensor.shape[0];
            tensor.shape[0] = last;
            tensor.bytes.truncate(last * size);
        }
    };
    for name in [
        "p.weight",
        "p.weight.absmax",
        "p.weight.quant_map",
        "p.weight.nested_absmax",
        "p.weight.nested_quant_map",
    ] {
        refused(shorter(name), ShapeMismatch, name);
    }
    let transposed = |p: &mut Parts| edit(p, "p.weight").shape.reverse();
    refused(transposed, ShapeMismatch, "p.weight");
    refused(|p| edit(p, "p.weight").dtype = Dtype::BF16, ShapeMismatch, "p.weight");
    refused(|p| edit(p, "p.weight").dtype = Dtype::Other("F4".into()), ShapeMismatch, "p.weight");
    refused(|p| edit(p, "p.weight.absmax").dtype = Dtype::F32, UnsupportedDtype, "p.weight.absmax");
    refused(|p| edit(p, "p.weight.quant_map").dtype = Dtype::I32, UnsupportedDtype, "p.weight.quant_map");
    let cut = |p: &mut Parts| edit(p, "p.weight.quant_map").bytes.truncate(60);
    refused(cut, ByteCountMismatch, "p.weight.quant_map");
    let first = |name: &'static str, value: f32| {
        move |p: &mut Parts| edit(p, name).bytes[..4].copy_from_slice(&value.to_le_bytes())
    };
    refused(first("p.weight.quant_map", -0.99), InvalidQuantState, "p.weight.quant_map");
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        refused(first("p.weight.nested_absmax", bad), InvalidQuantState, "p.weight.nested_absmax");
    }
    refused(first("p.weight.nested_quant_map", f32::NAN), InvalidQuantState, "p.weight.nested_quant_map");
    refused(|p| edit(p, STATE).dtype = Dtype::I8, UnsupportedDtype, STATE);
    refused(|p| edit(p, STATE).shape = vec![1, 1], UnsupportedDtype, STATE);
}

#[test]
fn impossible_quant_states_are_refused() {
    use ErrorCode::{
        InvalidArgument, InvalidJson, InvalidQuantState, ShapeMismatch, ShapeOverflow, UnsupportedDtype,
        UnsupportedQuantization,
    };
    for (from, to, code, tensor) in [
        ("{", "", InvalidJson, STATE),
        ("\"nf4\"", "\"fp4\"", InvalidQuantState, STATE),
        ("\"nf4\"", "4", InvalidJson, STATE),
        ("\"quant_type\"", "\"qtype\"", InvalidJson, STATE),
        ("{", "{\"blocksize\": 64, ", InvalidJson, STATE),
        ("{", "{\"extra\": null, ", InvalidJson, STATE),
        ("64", "-64", InvalidJson, STATE),
        ("64", "64.0", InvalidJson, STATE),
        ("64", "1e99", InvalidJson, STATE),
        ("64", "0", UnsupportedQuantization, STATE),
        ("64", "48", UnsupportedQuantization, STATE),
        ("64", "8192", UnsupportedQuantization, STATE),
        ("64", "32", ShapeMismatch, "p.weight.absmax"),
        ("bfloat16", "int8", UnsupportedDtype, STATE),
        ("bfloat16", "float64", UnsupportedDtype, STATE),
        ("[9, 35]", "null", InvalidJson, STATE),
        ("[9, 35]", "[0, 35]", InvalidArgument, STATE),
        ("[9, 35]", "[]", ShapeMismatch, "p.weight"),
        ("[9, 35]", "[9, 36]", ShapeMismatch, "p.weight"),
        ("[9, 35]", "[4294967296, 4294967296, 2]", ShapeOverflow, STATE),
        ("[9, 35]", "[9, -35]", InvalidJson, STATE),
        ("\"nested_blocksize\": 256", "\"nested_blocksize\": 100", UnsupportedQuantization, STATE),
        ("\"nested_blocksize\": 256, ", "", InvalidQuantState, STATE),
        ("\"nested_dtype\": \"float32\"", "\"nested_dtype\": \"float16\"", InvalidQuantState, STATE),
        ("\"nested_offset\": ", "\"nested_offset\": 1e300, \"was\": ", InvalidJson, STATE),
        ("\"nested_offset\": 0.", "\"nested_offset\": 1e300", InvalidQuantState, STATE),
        ("\"nested_offset\": 0.", "\"nested_offset\": NaN", InvalidJson, STATE),
    ] {
        // Digits of the offset that follow would break the number put before them.
        let from_offset = from.ends_with("0.");
        refused(
            |p| {
                edit_json(p, from, to);
                if from_offset {
                    let state = edit(p, STATE);
                    let text = String::from_utf8(state.bytes.clone()).unwrap();
                    let end = text.find(to).unwrap() + to.len();
                    state.bytes = format!("{}}}", &text[..end]).into_bytes();
                    state.shape = vec![state.bytes.len()];
                }
            },
            code,
            tensor,
        );
    }
    // Nested fields without nested statistics.
    let plain = parts(tensors_of("p", &sample(false), &Dtype::U8).unwrap());
    let mut mixed = plain.clone();
    edit_json(&mut mixed, "}", ", \"nested_blocksize\": 256}");
    let error = assemble(&mixed).unwrap_err();
    assert_eq!((error.code(), error.tensor_name()), (InvalidQuantState, Some(STATE)));
    assert!(assemble(&plain).is_ok());
}

#[test]
fn malformed_int8_layers_are_refused() {
    let good = Int8Params::quantize(&[1.0, -2.0, 0.0, 0.0, 0.5, 0.25], 3, 2).unwrap();
    let check = |edits: &dyn Fn(&mut Parts), code: ErrorCode, tensor: &str| {
        let mut parts = parts(tensors_of_int8("p", &good));
        edits(&mut parts);
        let error = assemble(&parts).unwrap_err();
        assert_eq!((error.code(), error.tensor_name()), (code, Some(tensor)), "{error}");
        assert_eq!(error.file(), Some("f.safetensors"));
    };
    check(&|p| drop(p.remove(0)), ErrorCode::MissingTensor, "p.weight");
    check(&|p| drop(p.remove(1)), ErrorCode::MissingTensor, "p.SCB");
    check(&|p| p.truncate(1), ErrorCode::MissingTensor, "p.SCB");
    check(&|p| p[0].1.dtype = Dtype::U8, ErrorCode::UnsupportedDtype, "p.weight");
    check(&|p| p[0].1.shape = vec![6], ErrorCode::ShapeMismatch, "p.weight");
    check(&|p| p[0].1.shape = vec![2, 3], ErrorCode::ShapeMismatch, "p.SCB");
    check(&|p| p[0].1.shape = vec![3, 3], ErrorCode::ByteCountMismatch, "p.weight");
    check(&|p| p[0].1.shape = vec![usize::MAX, 2], ErrorCode::ShapeOverflow, "p.weight");
    check(&|p| p[1].1.dtype = Dtype::F16, ErrorCode::UnsupportedDtype, "p.SCB");
    let nan = |p: &mut Parts| p[1].1.bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
    check(&nan, ErrorCode::InvalidQuantState, "p.SCB");
    check(&|p| p[2].1.bytes[0] = 1, ErrorCode::UnsupportedQuantization, "p.weight_format");
}

/// Mutated quant_state tensors: never a panic, and whatever is accepted is valid.
#[test]
fn mutated_quant_states_do_not_panic() {
    let rounds = if cfg!(debug_assertions) { 5_000 } else { 60_000 };
    let good = parts(tensors_of("p", &sample(true), &Dtype::U8).unwrap());
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let tokens: &[&[u8]] =
        &[b"0", b"-1", b"64", b"1e308", b"18446744073709551616", b"null", b"[]", b"{", b"\"", b"\\u0000"];
    let mut accepted = 0;
    for _ in 0..rounds {
        let mut parts = good.clone();
        let bytes = &mut edit(&mut parts, STATE).bytes;
        for _ in 0..=random(3) {
            if bytes.is_empty() {
                break;
            }
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at + 1),
                _ => {
                    let token = tokens[random(tokens.len())];
                    let end = (at + random(8)).min(bytes.len());
                    bytes.splice(at..end, token.iter().copied());
                }
            }
        }
        let len = bytes.len();
        edit(&mut parts, STATE).shape = vec![len];
        if let Ok(Weight::FourBit(params)) = assemble(&parts) {
            params.validate().unwrap();
            assert_eq!(params.dequantize().len(), 9 * 35);
            accepted += 1;
        }
    }
    // Digits of the offset can change without harm; most other changes cannot.
    assert!(accepted > 0 && accepted < rounds / 2, "{accepted} of {rounds}");
}

#[test]
fn config_reads_both_formats_and_names_what_it_refuses() {
    let read = |value: serde_json::Value| {
        let value = nibblama::checkpoint::json::parse("config.json", value.to_string().as_bytes())?;
        BitsAndBytesConfig::from_json("config.json", &value)
    };
    let nf4 = read(json!({"load_in_4bit": true, "bnb_4bit_quant_type": "nf4"})).unwrap();
    assert_eq!(nf4, BitsAndBytesConfig::nf4());
    assert_eq!(read(json!({"load_in_4bit": true})).unwrap(), BitsAndBytesConfig::default());
    let int8 = read(json!({"load_in_8bit": true, "llm_int8_threshold": 4.5})).unwrap();
    assert_eq!(int8.format, QuantFormat::Int8 { threshold: 4.5 });
    for config in [nf4, int8] {
        assert_eq!(BitsAndBytesConfig::from_json("config.json", &config.to_json()).unwrap(), config);
    }
    for (value, code, key) in [
        (json!({"quant_method": "gptq"}), ErrorCode::UnsupportedQuantization, "quant_method"),
        (json!({}), ErrorCode::UnsupportedQuantization, "load_in_4bit"),
        (
            json!({"load_in_4bit": true, "load_in_8bit": true}),
            ErrorCode::UnsupportedQuantization,
            "load_in_8bit",
        ),
        (json!({"load_in_4bit": 1}), ErrorCode::InvalidConfig, "load_in_4bit"),
        (
            json!({"load_in_4bit": true, "bnb_4bit_quant_type": "af4"}),
            ErrorCode::UnsupportedQuantization,
            "bnb_4bit_quant_type",
        ),
        (
            json!({"load_in_4bit": true, "bnb_4bit_quant_storage": "int32"}),
            ErrorCode::UnsupportedQuantization,
            "bnb_4bit_quant_storage",
        ),
        (
            json!({"load_in_4bit": true, "bnb_4bit_compute_dtype": "float64"}),
            ErrorCode::UnsupportedQuantization,
            "bnb_4bit_compute_dtype",
        ),
        (
            json!({"load_in_8bit": true, "llm_int8_threshold": -1}),
            ErrorCode::UnsupportedQuantization,
            "llm_int8_threshold",
        ),
        (
            json!({"load_in_4bit": true, "llm_int8_skip_modules": [3]}),
            ErrorCode::InvalidConfig,
            "llm_int8_skip_modules",
        ),
    ] {
        let error = read(value.clone()).unwrap_err();
        assert_eq!(error.code(), code, "{value}");
        assert_eq!(error.tensor_name(), Some(format!("quantization_config.{key}").as_str()), "{value}");
    }
    let pattern = json!({"load_in_4bit": true, "llm_int8_skip_modules": ["(unclosed"]});
    assert_eq!(read(pattern).unwrap_err().code(), ErrorCode::UnsupportedOption);
}

#[test]
fn skip_modules_match_as_in_transformers() {
    let quantizes = |skip: &[&str], path: &str| {
        let skip_modules = Some(skip.iter().map(|s| (*s).to_owned()).collect());
        BitsAndBytesConfig { skip_modules, ..BitsAndBytesConfig::nf4() }.quantizes(path, false)
    };
    let path = "model.layers.1.mlp.gate_proj";
    assert!(!quantizes(&["gate_proj"], path));
    assert!(!quantizes(&["model.layers.1"], path));
    assert!(quantizes(&["model.layers.1"], "model.layers.11.mlp.gate_proj"));
    assert!(!quantizes(&["model.layers.*"], path));
    assert!(quantizes(&["model.layers.1.mlp.gate"], path));
    assert!(!quantizes(&["lm_head|model.layers.1.mlp"], path));
    assert!(!quantizes(&["proj"], path));
    assert!(quantizes(&["layers.1"], path));
    // A list replaces the default, which leaves out lm_head.
    assert!(quantizes(&["gate_proj"], "lm_head"));
    assert!(!BitsAndBytesConfig::nf4().quantizes("lm_head", false));
    let all = BitsAndBytesConfig { skip_modules: Some(vec![]), ..BitsAndBytesConfig::nf4() };
    assert!(!all.quantizes("lm_head", true));
}

/// Half the widest gap between neighbouring levels.
fn half_gap(quant_type: QuantType) -> f32 {
    let mut levels = *quant_type.codebook();
    levels.sort_by(f32::total_cmp);
    levels.windows(2).fold(0.0, |m: f32, w| m.max(w[1] - w[0])) / 2.0
}

fn tensor() -> impl Strategy<Value = (Vec<f32>, Dtype)> {
    let value = prop_oneof![
        8 => -1.0f32..1.0,
        2 => -1e4f32..1e4,
        1 => Just(0.0f32),
        1 => -1e-4f32..1e-4,
    ];
    let dtype = prop_oneof![Just(Dtype::F32), Just(Dtype::BF16), Just(Dtype::F16)];
    (prop::collection::vec(value, 1..700), dtype).prop_map(|(mut values, dtype)| {
        round_to(&mut values, &dtype);
        (values, dtype)
    })
}

proptest! {
    #[test]
    fn four_bit_error_is_at_most_half_a_gap(
        (x, dtype) in tensor(),
        exponent in 5u32..13,
        fp4 in any::<bool>(),
    ) {
        let quant_type = if fp4 { QuantType::Fp4 } else { QuantType::Nf4 };
        let blocksize = 1 << exponent;
        let params = Params4bit::quantize(&x, &[x.len()], dtype.clone(), quant_type, blocksize, false).unwrap();
        let y = params.dequantize();
        for (i, (x, y)) in x.iter().zip(&y).enumerate() {
            let absmax = params.quant_state.absmax.get(i / blocksize);
            prop_assert!((x - y).abs() <= absmax * (half_gap(quant_type) + 1e-6), "{i}: {x} {y} {absmax}");
        }
        // The extreme of a block is a level, so quantizing again changes nothing.
        let again = Params4bit::quantize(&y, &[y.len()], dtype.clone(), quant_type, blocksize, false).unwrap();
        prop_assert_eq!(again.dequantize(), y);
        prop_assert_eq!(&again.quant_state, &params.quant_state);

        // Double quantization moves a scale by at most half the widest step of the 8-bit map.
        let nested = Params4bit::quantize(&x, &[x.len()], dtype, quant_type, blocksize, true).unwrap();
        prop_assert_eq!(&nested.packed, &params.packed);
        let Absmax::Nested(second) = &nested.quant_state.absmax else { panic!("not nested") };
        for block in 0..params.quant_state.absmax.len() {
            let (a, b) = (params.quant_state.absmax.get(block), second.get(block));
            prop_assert!((a - b).abs() <= second.absmax[block / 256] * 0.0071 + a * 1e-6, "{a} {b}");
        }
    }

    #[test]
    fn int8_error_is_at_most_half_a_step((x, _) in tensor(), cols in 1usize..40) {
        let rows = x.len() / cols;
        prop_assume!(rows > 0);
        let x = &x[..rows * cols];
        let params = Int8Params::quantize(x, rows, cols).unwrap();
        for (i, (x, y)) in x.iter().zip(params.dequantize()).enumerate() {
            let step = params.scb[i / cols] / 127.0;
            // Plus the rounding to f16 before, half an ulp or half the smallest subnormal.
            let half = x.abs() * 2f32.powi(-11) + 2f32.powi(-25);
            prop_assert!((x - y).abs() <= step * 0.5001 + half, "{x} {y} {step}");
        }
    }

    #[test]
    fn floats_keep_their_bits((x, dtype) in tensor()) {
        let floats = Floats::from_f32(x.clone(), &dtype).unwrap();
        prop_assert_eq!(floats.to_f32_vec(), x.clone());
        let bytes = floats.to_le_bytes();
        let tensor = Tensor { dtype, shape: vec![x.len()], bytes };
        prop_assert_eq!(Floats::from_view(&tensor.view("t", "f")).unwrap(), floats);
    }
}
