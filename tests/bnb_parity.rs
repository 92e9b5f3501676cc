//! Bit parity with bitsandbytes on the golden data, or on any folder of that form.

#[path = "support/golden.rs"]
mod golden;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use golden::{Tensors, codes, same, ulps};
use nibblama::checkpoint::Dtype;
use nibblama::quant::bnb::{ModuleParts, Part, Weight, tensors_of, tensors_of_int8};
use nibblama::quant::codebook::DYNAMIC_MAP;
use nibblama::quant::int8::{self, Int8Activations};
use nibblama::quant::{
    Absmax, BitsAndBytesConfig, Int8Params, NestedAbsmax, Params4bit, QuantState, QuantType, blockwise8,
    half::round_to,
};
use serde_json::Value;

fn golden_tensors(name: &str) -> Tensors {
    golden::tensors(&golden::dir().join(name)).unwrap_or_else(|| panic!("{name} is missing"))
}

/// One row of `tensors.json` with its input.
struct Case<'a> {
    name: &'a str,
    row: &'a Value,
    tensors: &'a Tensors,
    quant_type: QuantType,
    blocksize: usize,
    nested: bool,
    dtype: Dtype,
    shape: Vec<usize>,
    x: Vec<f32>,
}

impl<'a> Case<'a> {
    fn all(rows: &'a Value, tensors: &'a Tensors) -> Vec<Case<'a>> {
        let cases = rows["cases"].as_array().unwrap().iter().map(|row| {
            let text = |key: &str| row[key].as_str().unwrap();
            let input = &tensors[&format!("input.{}", text("input"))];
            assert_eq!(input.dtype.torch_name(), text("input_dtype"));
            Case {
                name: text("name"),
                row,
                tensors,
                quant_type: QuantType::from_name(text("quant_type")).unwrap(),
                blocksize: row["blocksize"].as_u64().unwrap() as usize,
                nested: row["compress_statistics"].as_bool().unwrap(),
                dtype: input.dtype.clone(),
                shape: input.shape.clone(),
                x: input.floats(),
            }
        });
        cases.collect()
    }

    fn tensor(&self, part: &str) -> &golden::Tensor {
        &self.tensors[&format!("{}.{part}", self.name)]
    }

    fn ours(&self, double_quant: bool) -> Params4bit {
        let Case { quant_type, blocksize, .. } = *self;
        Params4bit::quantize(&self.x, &self.shape, self.dtype.clone(), quant_type, blocksize, double_quant)
            .unwrap()
    }

    /// The scales bitsandbytes computed, before it quantized them.
    fn raw_absmax(&self) -> Vec<f32> {
        self.tensor(if self.nested { "absmax_raw" } else { "absmax" }).floats()
    }

    fn stored_nested(&self) -> NestedAbsmax {
        NestedAbsmax {
            codes: self.tensor("absmax").bytes.clone(),
            absmax: self.tensor("nested_absmax").floats(),
            code: Box::new(DYNAMIC_MAP),
            offset: f32::from_bits(self.row["nested_offset_bits"].as_i64().unwrap() as i32 as u32),
            blocksize: self.row["nested_blocksize"].as_u64().unwrap() as usize,
        }
    }

    /// What bitsandbytes stored, assembled.
    fn stored(&self) -> Params4bit {
        let absmax = if self.nested {
            Absmax::Nested(self.stored_nested())
        } else {
            Absmax::F32(self.tensor("absmax").floats())
        };
        let stored = Params4bit {
            packed: self.tensor("codes").bytes.clone(),
            quant_state: QuantState {
                quant_type: self.quant_type,
                blocksize: self.blocksize,
                dtype: self.dtype.clone(),
                shape: self.shape.clone(),
                code: *self.quant_type.codebook(),
                absmax,
            },
        };
        stored.validate().unwrap();
        stored
    }
}

/// FP4 has two codes for zero, which bitsandbytes' CPU path confuses.
fn one_zero(quant_type: QuantType, mut codes: Vec<u8>) -> Vec<u8> {
    if quant_type == QuantType::Fp4 {
        codes.iter_mut().filter(|c| **c == 8).for_each(|c| *c = 0);
    }
    codes
}

/// The CPU path stores 1e-38 for a short last block of zeros; here it is 0.
fn check_absmax(name: &str, ours: &[f32], cpu: &[f32], x: &[f32], blocksize: usize) {
    assert_eq!(ours.len(), cpu.len(), "{name}");
    for (i, ((ours, cpu), block)) in ours.iter().zip(cpu).zip(x.chunks(blocksize)).enumerate() {
        if block.len() < blocksize && block.iter().all(|&v| v == 0.0) {
            assert_eq!(ours.to_bits(), 0, "{name}: block {i}");
            assert!([0.0, 1e-38].contains(cpu), "{name}: block {i}");
        } else {
            assert_eq!(ours.to_bits(), cpu.to_bits(), "{name}: block {i}");
        }
    }
}

/// The CPU looks 8-bit codes up in a table of 65,536 bins over [-1, 1]: a code is at most one off, or
/// within a bin where levels lie closer than that, around zero.
fn near_codes(ours: &[u8], cpu: &[u8]) -> bool {
    let level = |c: u8| DYNAMIC_MAP[usize::from(c)];
    let near =
        |(&a, &b): (&u8, &u8)| a.abs_diff(b) <= 1 || (level(a) - level(b)).abs() <= 2.0 / 65536.0 * 1.5;
    ours.len() == cpu.len() && ours.iter().zip(cpu).all(near)
}

fn absmax_of(params: &Params4bit) -> &[f32] {
    match &params.quant_state.absmax {
        Absmax::F32(absmax) => absmax,
        Absmax::Nested(_) => panic!("nested"),
    }
}

#[test]
fn thresholds_are_the_cpu_midpoints() {
    let tensors = golden_tensors("tensors.safetensors");
    assert_eq!(tensors["quant_map.dynamic8"].floats(), DYNAMIC_MAP);
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        assert_eq!(tensors[&format!("quant_map.{quant_type}")].floats(), quant_type.codebook());
        let mut thresholds = tensors[&format!("thresholds.{quant_type}")].floats();
        if quant_type == QuantType::Fp4 {
            // The boundary between the zeros, moved so that only negative values take the negative one.
            assert_eq!(thresholds[7], 0.0);
            thresholds[7] = -f32::from_bits(1);
        }
        assert_eq!(thresholds, quant_type.thresholds(), "{quant_type}");
        let order = tensors[&format!("threshold_codes.{quant_type}")].bytes.clone();
        let expected = one_zero(quant_type, quant_type.interval_codes().to_vec());
        assert_eq!(one_zero(quant_type, order), expected, "{quant_type}");
    }
}

#[test]
fn four_bit_cases() {
    let (rows, tensors) =
        (golden::json(&golden::dir().join("tensors.json")), golden_tensors("tensors.safetensors"));
    let cases = Case::all(&rows, &tensors);
    assert!(!cases.is_empty());
    for case in &cases {
        let (name, n) = (case.name, case.x.len());
        let ours = case.ours(false);
        let stored = case.stored();
        assert_eq!(ours.packed.len(), stored.packed.len(), "{name}");
        // With the spare nibble of an odd length.
        let all = |packed: &[u8]| one_zero(case.quant_type, codes(packed, n + n % 2));
        assert_eq!(all(&ours.packed), all(&stored.packed), "{name}: codes");
        check_absmax(name, absmax_of(&ours), &case.raw_absmax(), &case.x, case.blocksize);
        if case.nested {
            nested_case(case);
        }
        if let Some(dequant) = tensors.get(&format!("{name}.dequant")) {
            let mut values = stored.dequantize();
            round_to(&mut values, &case.dtype);
            assert!(same(&values, &dequant.floats()), "{name}: dequantized values");
        }
        let storage = Dtype::from_torch_name(case.row["packed_dtype"].as_str().unwrap()).unwrap();
        let written = tensors_of("m", &stored, &storage).unwrap();
        let shape: Vec<u64> = written[0].2.iter().map(|&d| d as u64).collect();
        assert_eq!(Value::from(shape), case.row["packed_shape"], "{name}: packed shape");
    }
    if golden::is_committed() {
        assert_eq!(cases.len(), 65);
    }
}

fn nested_case(case: &Case<'_>) {
    let name = case.name;
    let stored = case.stored_nested();
    let raw = case.raw_absmax();
    // Codes and second-level scales, from the stored scales and offset.
    let ours = NestedAbsmax::quantize_with_offset(&raw, stored.offset);
    let nearest = &case.tensor("absmax_nearest").bytes;
    let mut plain = true;
    for (i, start) in (0..raw.len()).step_by(stored.blocksize).enumerate() {
        let block = start..(start + stored.blocksize).min(raw.len());
        assert_eq!(ours.absmax[i].to_bits(), stored.absmax[i].to_bits(), "{name}: nested absmax {i}");
        if ours.absmax[i] == 0.0 {
            plain = false;
            assert!(ours.codes[block.clone()].iter().all(|&c| c == 0), "{name}");
            assert!(stored.codes[block].iter().all(|&c| c == 0), "{name}");
        } else if ours.absmax[i] < 1.1e-38 {
            // Only where the 1e-38 of a zero block entered the mean; the portable kernel clamps here.
            plain = false;
            assert!(near_codes(&ours.codes[block.clone()], &stored.codes[block]), "{name}");
        } else {
            assert_eq!(ours.codes[block.clone()], nearest[block], "{name}: nested codes");
        }
    }
    let differ = ours.codes.iter().zip(&stored.codes).filter(|(a, b)| a != b).count();
    if plain {
        assert_eq!(differ as u64, case.row["absmax_codes_cpu_vs_nearest"].as_u64().unwrap(), "{name}");
        // Its coarse table explains every one of them.
        assert_eq!(
            NestedAbsmax::quantize_as_cpu_with_offset(&raw, stored.offset),
            stored,
            "{name}: as on a CPU"
        );
    }
    let scales = Absmax::Nested(stored.clone()).to_vec();
    assert!(same(&scales, &case.tensor("absmax_dequant").floats()), "{name}: scales as used");
    // The whole path with its own offset.
    let Absmax::Nested(whole) = case.ours(true).quant_state.absmax else { panic!("{name}: not nested") };
    if raw.iter().all(|&a| a != 1e-38) {
        assert!(ulps(whole.offset, stored.offset) <= 2, "{name}: {} {}", whole.offset, stored.offset);
    }
}

/// How many codes differ from CUDA's, by case, on the committed data; every other case has none.
const CUDA_CODES_DIFFER: &[(&str, usize)] = &[
    ("normal_bf16.fp4.b64", 4),
    ("zeros.nf4.b64", 130),
    ("zero_blocks.nf4.b64", 128),
    ("subnormal.nf4.b64", 256),
    ("subnormal.fp4.b64", 233),
    ("zeros.nf4.b64.dq", 130),
    ("boundary_nf4.nf4.b4096", 4),
    ("boundary_fp4.fp4.b4096", 11),
];

#[test]
fn four_bit_differences_from_cuda_are_explained() {
    let Some(cuda) = golden::tensors(&golden::dir().join("tensors_cuda.safetensors")) else {
        assert!(!golden::is_committed(), "tensors_cuda.safetensors is missing");
        return;
    };
    let (rows, tensors) =
        (golden::json(&golden::dir().join("tensors.json")), golden_tensors("tensors.safetensors"));
    let mut counts = Vec::new();
    for case in Case::all(&rows, &tensors) {
        let (name, n) = (case.name, case.x.len());
        let key = format!("{name}.codes");
        let theirs = codes(&cuda.get(&key).unwrap_or(&tensors[&key]).bytes, n);
        // Without an override CUDA equals the CPU file byte for byte, the zeros included.
        let ours = case.ours(false);
        let mut differ = 0;
        for (i, (ours_code, theirs)) in codes(&ours.packed, n).into_iter().zip(theirs).enumerate() {
            if ours_code == theirs {
                continue;
            }
            differ += 1;
            let absmax = absmax_of(&ours)[i / case.blocksize];
            let v = case.x[i] / absmax;
            let near = |t: &f32| (v - t).abs() <= 2e-6 * t.abs();
            let flushed = absmax < f32::MIN_POSITIVE || (case.x[i] != 0.0 && v.abs() < f32::MIN_POSITIVE);
            assert!(
                flushed || case.quant_type.thresholds().iter().any(near),
                "{name}: element {i} is {v}, code {ours_code} here, {theirs} with CUDA"
            );
        }
        if differ > 0 {
            counts.push((name, differ));
        }
        if case.nested {
            let key = format!("{name}.absmax");
            let theirs = &cuda.get(&key).unwrap_or(&tensors[&key]).bytes;
            let nested = NestedAbsmax::quantize_with_offset(&case.raw_absmax(), case.stored_nested().offset);
            let zero = case.x.iter().all(|&v| v == 0.0);
            assert!(zero || nested.codes == *theirs, "{name}: nested codes");
        }
    }
    if golden::is_committed() {
        assert_eq!(counts, CUDA_CODES_DIFFER);
    }
}

#[test]
fn matmul_weights() {
    let tensors = golden_tensors("tensors.safetensors");
    let (w, x) = (&tensors["matmul.weight"], &tensors["matmul.x"]);
    let (rows, cols) = (w.shape[0], w.shape[1]);
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        let get = |part: &str| &tensors[&format!("matmul.{quant_type}.{part}")];
        let ours = Params4bit::quantize(&w.floats(), &w.shape, Dtype::F32, quant_type, 64, true).unwrap();
        let n = rows * cols;
        let stored_codes = one_zero(quant_type, codes(&get("codes").bytes, n));
        assert_eq!(one_zero(quant_type, codes(&ours.packed, n)), stored_codes);
        let nested = NestedAbsmax {
            codes: get("absmax").bytes.clone(),
            absmax: get("nested_absmax").floats(),
            code: Box::new(DYNAMIC_MAP),
            offset: get("nested_offset").floats()[0],
            blocksize: 256,
        };
        let mut stored = ours.clone();
        stored.quant_state.absmax = Absmax::Nested(nested);
        let weights = stored.dequantize();
        for (t, x) in x.floats().chunks(cols).enumerate() {
            for (r, w) in weights.chunks(cols).enumerate() {
                let y: f64 = x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
                let expected = get("y_f32").floats()[t * rows + r];
                // Their f64 sum may run in another order before the one rounding to f32.
                assert!(ulps(y as f32, expected) <= 1, "{quant_type}: {y} {expected}");
            }
        }
    }
}

#[test]
fn eight_bit_cases() {
    let (rows, tensors) =
        (golden::json(&golden::dir().join("int8.json")), golden_tensors("int8.safetensors"));
    let cuda = golden::tensors(&golden::dir().join("tensors_cuda.safetensors")).unwrap_or_default();
    assert_eq!(tensors["quant_map.dynamic8"].floats(), DYNAMIC_MAP);
    let mut from_cuda = 0;
    for row in rows["blockwise"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        let blocksize = row["blocksize"].as_u64().unwrap() as usize;
        let input = &tensors[&format!("blockwise.input.{}", name.split('.').nth(1).unwrap())];
        let x = input.floats();
        let (mut ours, mut absmax) = (vec![0; x.len()], vec![0.0; x.len().div_ceil(blocksize)]);
        blockwise8::quantize_blockwise(&x, blocksize, &DYNAMIC_MAP, &mut ours, &mut absmax);
        let get = |part: &str| &tensors[&format!("{name}.{part}")];
        assert!(same(&absmax, &get("absmax").floats()), "{name}: absmax");
        let (cpu, nearest) = (&get("codes").bytes, &get("codes_nearest").bytes);
        for (b, absmax) in absmax.iter().enumerate() {
            let block = b * blocksize..((b + 1) * blocksize).min(x.len());
            // A block of zeros has code 0 on both devices; `codes_nearest` has 127 there.
            let expected = if *absmax == 0.0 { cpu } else { nearest };
            assert_eq!(ours[block.clone()], expected[block], "{name}: block {b}");
        }
        let differ = |other: &[u8]| ours.iter().zip(other).filter(|(a, b)| a != b).count();
        if let Some(count) = row["codes_cpu_vs_nearest"].as_u64() {
            assert_eq!(differ(cpu) as u64, count, "{name}: codes off the CPU's table");
        }
        let mut as_cpu = vec![0; x.len()];
        blockwise8::quantize_blockwise_as_cpu(&x, blocksize, &DYNAMIC_MAP, &mut as_cpu, &mut absmax);
        assert_eq!(&as_cpu, cpu, "{name}: codes of the CPU's table");
        from_cuda += differ(&cuda.get(&format!("{name}.codes")).unwrap_or(get("codes")).bytes);
        if let Some(dequant) = tensors.get(&format!("{name}.dequant")) {
            let mut values = vec![0.0; x.len()];
            blockwise8::dequantize_blockwise(cpu, &absmax, &DYNAMIC_MAP, blocksize, &mut values);
            round_to(&mut values, &input.dtype);
            assert!(same(&values, &dequant.floats()), "{name}: dequantized values");
        }
    }
    if golden::is_committed() {
        // Ties of bf16 and f16 data: 2 + 1 + 12 + 2 + 2 + 5.
        assert_eq!(from_cuda, 24);
    }
}

#[test]
fn llm_int8_weights_and_activations() {
    let (rows, tensors) =
        (golden::json(&golden::dir().join("int8.json")), golden_tensors("int8.safetensors"));
    let weight = &tensors["vectorwise.weight"];
    let (n, k) = (weight.shape[0], weight.shape[1]);
    let w = Int8Params::quantize(&weight.floats(), n, k).unwrap();
    assert_eq!(w.cb, tensors["vectorwise.weight.CB"].i8s());
    assert!(same(&w.scb, &tensors["vectorwise.weight.SCB"].floats()));
    assert!(same(&w.dequantize(), &tensors["vectorwise.weight.dequant_f32"].floats()));
    let x = tensors["vectorwise.x"].floats();
    for row in rows["vectorwise"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        let a = Int8Activations::quantize(&x, k, row["threshold"].as_f64().unwrap() as f32);
        assert_eq!(a.ca, tensors[&format!("{name}.CA")].i8s(), "{name}");
        assert!(same(&a.sca, &tensors[&format!("{name}.SCA")].floats()), "{name}");
        assert_eq!(Value::from(a.outlier_cols.clone()), row["outlier_cols"], "{name}");
        let product = tensors[&format!("{name}.acc_i32")].i32s();
        let dequantized = tensors[&format!("{name}.mm_dequant_f32")].floats();
        for (i, (acc, theirs)) in product.into_iter().zip(dequantized).enumerate() {
            let (t, r) = (i / n, i % n);
            let pairs = a.ca[t * k..][..k].iter().zip(&w.cb[r * k..][..k]);
            assert_eq!(pairs.map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>(), acc, "{name}");
            assert!(same(&[int8::mm_dequant(acc, a.sca[t], w.scb[r])], &[theirs]), "{name}: {i}");
        }
    }
    for row in rows["linear"].as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        let mut y = vec![0.0; x.len() / k * n];
        let threshold = row["threshold"].as_f64().unwrap() as f32;
        int8::linear(&x, &w, threshold, &mut y);
        let outliers = Int8Activations::quantize(&x, k, threshold).outlier_cols;
        // The module rounds the scaled product with bias, the outlier weights and the sum to its dtype.
        let eps = if row["compute"] == "f16" { 2f32.powi(-11) } else { 2f32.powi(-22) };
        let bias = tensors["linear.bias"].floats();
        for (i, theirs) in tensors[name].floats().into_iter().enumerate() {
            let (t, r) = (i / n, i % n);
            let outlier: f32 = outliers.iter().map(|&c| (x[t * k + c] * w.get(r, c)).abs()).sum();
            let inner = (y[i].abs() + outlier + bias[r].abs()) * eps;
            let bound = inner + (outlier + theirs.abs()) * 2.0 * eps;
            let ours = y[i] + bias[r];
            assert!((ours - theirs).abs() <= bound, "{name}: {i}: {ours} {theirs} {bound}");
        }
    }
}

/// Folders of checkpoints: `models/<model>/<checkpoint>`.
fn checkpoints() -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
        let mut dirs: Vec<_> = entries.filter(|p| p.is_dir()).collect();
        dirs.sort();
        dirs
    };
    list(&golden::dir().join("models")).iter().flat_map(|model| list(model)).collect()
}

/// All tensors of a folder, with the file each lies in.
fn folder(dir: &Path) -> BTreeMap<String, (String, golden::Tensor)> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "safetensors") {
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let tensors = golden::tensors(&path).unwrap();
            all.extend(tensors.into_iter().map(|(name, tensor)| (name, (file.clone(), tensor))));
        }
    }
    all
}

/// The quantized layers of a checkpoint by module path.
fn quantized_layers(tensors: &BTreeMap<String, (String, golden::Tensor)>) -> BTreeMap<String, Weight> {
    let mut modules: BTreeMap<&str, ModuleParts> = BTreeMap::new();
    for (name, (file, tensor)) in tensors {
        if let Some((module, _)) = Part::split(name) {
            let parts = modules.entry(module).or_insert_with(|| ModuleParts::new(module));
            parts.push(tensor.view(name, file)).unwrap();
        }
    }
    // Embeddings and norms have a `.weight` too and come out as dense.
    let layers = modules.into_iter().map(|(module, parts)| (module.to_owned(), parts.finish().unwrap().0));
    layers.filter(|(_, weight)| !matches!(weight, Weight::Dense { .. })).collect()
}

#[test]
fn checkpoints_read_and_write_back_byte_for_byte() {
    let mut forms = BTreeMap::<String, usize>::new();
    for dir in checkpoints() {
        let tensors = folder(&dir);
        for (module, weight) in quantized_layers(&tensors) {
            let (_, stored) = &tensors[&format!("{module}.weight")];
            let form = match &weight {
                Weight::FourBit(p) => format!("{} {:?}", p.quant_state.quant_type, stored.dtype),
                _ => "int8".to_owned(),
            };
            *forms.entry(form).or_default() += 1;
            let written = match &weight {
                Weight::FourBit(params) => tensors_of(&module, params, &stored.dtype).unwrap(),
                Weight::Int8(params) => tensors_of_int8(&module, params),
                Weight::Dense { .. } => unreachable!(),
            };
            let parts = tensors
                .keys()
                .filter(|name| Part::split(name).is_some_and(|(m, part)| m == module && part != Part::Bias));
            assert_eq!(written.len(), parts.count(), "{}: {module}", dir.display());
            for (name, dtype, shape, bytes) in written {
                let (_, stored) = &tensors[&name];
                let place = format!("{}: {name}", dir.display());
                assert_eq!((&dtype, &shape), (&stored.dtype, &stored.shape), "{place}");
                assert_eq!(*bytes, stored.bytes, "{place}: {:?}", String::from_utf8_lossy(&bytes));
            }
        }
        let config = golden::json(&dir.join("config.json"));
        if let Some(value) = config.get("quantization_config") {
            let ours =
                nibblama::checkpoint::json::parse("config.json", value.to_string().as_bytes()).unwrap();
            let parsed = BitsAndBytesConfig::from_json("config.json", &ours).unwrap();
            let written: Value = parsed.to_json().to_string().parse().unwrap();
            assert_eq!(&written, value, "{}", dir.display());
            let tied = config["tie_word_embeddings"].as_bool().unwrap();
            let layers = quantized_layers(&tensors);
            let projections = tensors.keys().filter_map(|name| name.strip_suffix(".weight"));
            for module in projections.filter(|m| m.ends_with("_proj") || *m == "lm_head") {
                assert_eq!(parsed.quantizes(module, tied), layers.contains_key(module), "{module}");
            }
        }
    }
    assert!(!forms.is_empty(), "no quantized checkpoint was found");
    if golden::is_committed() {
        let counts: Vec<_> = forms.iter().map(|(form, n)| (form.as_str(), *n)).collect();
        assert_eq!(counts, [("fp4 U8", 14), ("int8", 14), ("nf4 U8", 77)]);
    }
}

#[test]
fn checkpoints_quantize_as_bitsandbytes_quantized_them() {
    let mut compared = 0;
    for dir in checkpoints() {
        let layers = quantized_layers(&folder(&dir));
        let source = |dtype: &str| folder(&dir.with_file_name(dtype));
        let sources = BTreeMap::from(["f32", "bf16", "f16"].map(|dtype| (dtype, source(dtype))));
        let mut int8_sources = vec![true; sources.len()];
        let mut has_int8 = false;
        for (module, weight) in &layers {
            let name = format!("{module}.weight");
            match weight {
                Weight::FourBit(stored) => {
                    let dtype = match stored.quant_state.dtype {
                        Dtype::F32 => "f32",
                        Dtype::BF16 => "bf16",
                        _ => "f16",
                    };
                    let Some((_, tensor)) = sources[dtype].get(&name) else { continue };
                    requantize(&format!("{}: {name}", dir.display()), stored, &tensor.floats());
                    compared += 1;
                }
                Weight::Int8(stored) => {
                    has_int8 = true;
                    for (matches, tensors) in int8_sources.iter_mut().zip(sources.values()) {
                        let equal = tensors.get(&name).is_some_and(|(_, tensor)| {
                            Int8Params::quantize(&tensor.floats(), stored.rows, stored.cols).unwrap()
                                == *stored
                        });
                        *matches &= equal;
                    }
                    compared += 1;
                }
                Weight::Dense { .. } => unreachable!(),
            }
        }
        assert!(!has_int8 || int8_sources.contains(&true), "{}: int8", dir.display());
    }
    assert!(compared > 0, "no source of a quantized checkpoint was found");
}

fn requantize(place: &str, stored: &Params4bit, x: &[f32]) {
    let QuantState { quant_type, blocksize, dtype, shape, absmax, .. } = &stored.quant_state;
    let ours = Params4bit::quantize(x, shape, dtype.clone(), *quant_type, *blocksize, false).unwrap();
    let all = |p: &Params4bit| one_zero(*quant_type, codes(&p.packed, x.len()));
    assert_eq!(all(&ours), all(stored), "{place}: codes");
    match absmax {
        Absmax::F32(absmax) => check_absmax(place, absmax_of(&ours), absmax, x, *blocksize),
        Absmax::Nested(nested) => {
            let again = NestedAbsmax::quantize_with_offset(absmax_of(&ours), nested.offset);
            assert!(same(&again.absmax, &nested.absmax), "{place}: nested absmax");
            assert!(near_codes(&again.codes, &nested.codes), "{place}: nested codes");
            let own = NestedAbsmax::quantize(absmax_of(&ours));
            assert!(ulps(own.offset, nested.offset) <= 2, "{place}: offset");
        }
    }
}
