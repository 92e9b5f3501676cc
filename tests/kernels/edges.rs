//! One table: every operation with every number of elements, size of numbers and address of views below, on every variant.

use std::ops::{Deref, DerefMut};

use nibblama::checkpoint::Dtype;
use nibblama::kernels::{self, Arithmetic, Queries, Scratch, scalar};
use nibblama::quant::four_bit::quantize_blocks;
use nibblama::quant::int8::Int8Activations;
use nibblama::quant::{Absmax, ComputeDtype, Floats, Int8Params, Params4bit, QuantState, QuantType};

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::{Cached, ROUGH, Random, each_isa, own_the_design, relative_error};

/// Elements that are summed or in a row: none, tails of every vector, one block, blocks that straddle rows.
const ELEMENTS: [usize; 13] = [0, 1, 2, 7, 16, 31, 32, 33, 63, 64, 96, 129, 320];
/// Sizes of the numbers: below the normal ones, small, common, large, near the end of f32.
const SCALES: [f32; 5] = [1e-39, 1e-30, 1.0, 1e15, 1e37];
/// Odd numbers of rows and tokens, the latter both below and above what is multiplied as a panel.
const ROWS: usize = 5;
const TOKENS: [usize; 2] = [1, kernels::PANEL_TOKENS + 1];

/// The name of an operation, the fewest elements that it takes, and its check.
type Operation = (&'static str, usize, fn(&mut Case));

const OPERATIONS: [Operation; 15] = [
    ("linear_4bit, exact and emulated", 0, linear_4bit),
    ("linear_4bit, in integers", 1, linear_4bit_integers),
    ("linear_int8", 0, linear_int8),
    ("linear_floats", 0, linear_floats),
    ("quantize_4bit", 0, quantize_4bit),
    ("dequantize_4bit", 0, dequantize_4bit),
    ("rms_norm", 1, rms_norm),
    ("rope", 1, rope),
    ("attention, f32", 1, attention_float32),
    ("attention, int16", 1, attention_int16),
    ("store_int16", 1, store_int16),
    ("softmax", 0, softmax),
    ("silu_mul", 0, silu_mul),
    ("add_assign", 0, add_assign),
    ("axpy", 0, axpy),
];

#[test]
fn every_operation_at_its_edges() {
    let _design = own_the_design();
    for (operation, least, check) in OPERATIONS {
        each_isa(operation, || {
            let mut random = Random(11);
            let mut cases = 0;
            for k in ELEMENTS.into_iter().filter(|&k| k >= least) {
                for (i, scale) in SCALES.into_iter().enumerate() {
                    // Each number of elements and each size meets every address.
                    let offset = (k + i + cases) % 4;
                    check(&mut Case {
                        what: format!("{operation}: {k} of {scale:e} at {offset}"),
                        k,
                        scale,
                        offset,
                        random: &mut random,
                    });
                    cases += 1;
                }
            }
            assert_eq!(cases, SCALES.len() * ELEMENTS.iter().filter(|&&k| k >= least).count());
        });
    }
}

struct Case<'a> {
    what: String,
    /// Elements summed or in a row.
    k: usize,
    scale: f32,
    /// Of views, in f32.
    offset: usize,
    random: &'a mut Random,
}

/// Numbers that begin at some address.
#[derive(Clone)]
struct View(Vec<f32>, usize);

impl Deref for View {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0[self.1..]
    }
}

impl DerefMut for View {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0[self.1..]
    }
}

impl Case<'_> {
    fn numbers(&mut self, n: usize, scale: f32) -> View {
        View(self.random.values(n + self.offset, scale), self.offset)
    }

    /// An output, NaN before it is written.
    fn output(&self, n: usize) -> View {
        View(vec![f32::NAN; n + self.offset], self.offset)
    }

    /// The same bits, or both no number.
    fn assert_same(&self, actual: &[f32], expected: &[f32]) {
        assert_eq!(actual.len(), expected.len(), "{}", self.what);
        for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
            let same = a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan();
            assert!(same, "{}: element {i}: {a:e} instead of {e:e}", self.what);
        }
    }

    /// Matrices of `ROWS` rows in both 4-bit types, with and without nested scales.
    fn matrices(&mut self) -> Vec<Params4bit> {
        let values = self.numbers(ROWS * self.k, self.scale);
        if self.k == 0 {
            let (dtype, shape) = (Dtype::F32, vec![ROWS, 0]);
            let (quant_type, blocksize, absmax) = (QuantType::Nf4, 64, Absmax::F32(Vec::new()));
            let code = *quant_type.codebook();
            let quant_state = QuantState { quant_type, blocksize, dtype, shape, code, absmax };
            return vec![Params4bit { packed: Vec::new(), quant_state }];
        }
        [(QuantType::Nf4, 64, false), (QuantType::Nf4, 32, true), (QuantType::Fp4, 64, true)]
            .map(|(quant_type, blocksize, nested)| {
                Params4bit::quantize(&values, &[ROWS, self.k], Dtype::F32, quant_type, blocksize, nested)
                    .unwrap()
            })
            .into()
    }
}

fn linear_4bit(case: &mut Case) {
    for w in case.matrices() {
        for tokens in TOKENS {
            let x = case.numbers(tokens * case.k, 1.0);
            for dtype in [ComputeDtype::Float32, ComputeDtype::Bfloat16, ComputeDtype::Float16] {
                let arithmetic = match dtype {
                    ComputeDtype::Float32 => Arithmetic::Exact,
                    dtype => Arithmetic::Emulated(dtype),
                };
                let (mut y, mut expected) = (case.output(tokens * ROWS), case.output(tokens * ROWS));
                kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut Scratch::default());
                scalar::linear_4bit(&x, &w, &mut expected, dtype);
                case.assert_same(&y, &expected);
                assert!(case.k > 0 || *y == vec![0.0; tokens * ROWS][..]);
            }
        }
    }
}

fn linear_4bit_integers(case: &mut Case) {
    // Sums of integers are scaled by thousands on the way, beyond the ends of f32.
    if !(1e-30..1e30).contains(&case.scale) {
        return;
    }
    for w in case.matrices() {
        let dense = w.dequantize();
        for tokens in TOKENS {
            let x = case.numbers(tokens * case.k, 1.0);
            for (arithmetic, bound, design) in ROUGH {
                kernels::set_design(design);
                let mut y = case.output(tokens * ROWS);
                kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut Scratch::default());
                let error = relative_error(&x, &dense, ROWS, case.k, &y);
                // Few outputs scatter around the figure for many.
                assert!(error <= 2.0 * bound, "{} {arithmetic:?} {design:?}: {error:e}", case.what);
            }
        }
    }
}

fn linear_int8(case: &mut Case) {
    // The rows are quantized from f16.
    let (k, scale) = (case.k, case.scale.clamp(1e-7, 1e4));
    let values = case.numbers(ROWS * k, scale);
    let w = match k {
        0 => Int8Params { cb: Vec::new(), scb: vec![1.0; ROWS], rows: ROWS, cols: 0 },
        _ => Int8Params::quantize(&values, ROWS, k).unwrap(),
    };
    for tokens in TOKENS {
        let x = case.numbers(tokens * k, scale);
        for threshold in [0.0, scale * 1.5] {
            let (mut y, mut expected) = (case.output(tokens * ROWS), case.output(tokens * ROWS));
            kernels::linear_int8(&x, &w, threshold, &mut y, &mut Scratch::default());
            if k == 0 {
                expected.fill(0.0);
            } else {
                let activations = Int8Activations::quantize(&x, k, threshold);
                scalar::linear_int8(&x, &activations, &w, &mut expected);
            }
            case.assert_same(&y, &expected);
        }
    }
}

fn linear_floats(case: &mut Case) {
    let values = case.numbers(ROWS * case.k, case.scale);
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
        let w = Floats::from_f32(values.to_vec(), &dtype).unwrap();
        for tokens in TOKENS {
            let x = case.numbers(tokens * case.k, 1.0);
            let (mut y, mut expected) = (case.output(tokens * ROWS), case.output(tokens * ROWS));
            kernels::linear_floats(&x, &w, ROWS, case.k, &mut y, &mut Scratch::default());
            scalar::linear_floats(&x, &w, ROWS, case.k, &mut expected);
            case.assert_same(&y, &expected);
        }
    }
}

fn quantize_4bit(case: &mut Case) {
    let src = case.numbers(case.k, case.scale);
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        for blocksize in [32, 64, 256] {
            let (mut codes, mut absmax) =
                (vec![0xaa; case.k.div_ceil(2)], case.output(case.k.div_ceil(blocksize)));
            let (mut expected_codes, mut expected) = (codes.clone(), absmax.clone());
            kernels::quantize_4bit(&src, quant_type, blocksize, &mut codes, &mut absmax);
            quantize_blocks(&src, quant_type, blocksize, &mut expected_codes, &mut expected);
            assert_eq!(codes, expected_codes, "{}", case.what);
            case.assert_same(&absmax, &expected);
        }
    }
}

fn dequantize_4bit(case: &mut Case) {
    for w in case.matrices() {
        let mut values = case.output(ROWS * case.k);
        kernels::dequantize_4bit(&w, &mut values);
        case.assert_same(&values, &w.dequantize());
    }
}

fn rms_norm(case: &mut Case) {
    let x = case.numbers(3 * case.k, case.scale);
    let weight = case.numbers(case.k, 1.0);
    for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
        let weight = Floats::from_f32(weight.to_vec(), &dtype).unwrap();
        let (mut y, mut expected) = (case.output(3 * case.k), case.output(3 * case.k));
        kernels::rms_norm(&x, &weight, 1e-5, &mut y);
        scalar::rms_norm(&x, &weight.to_f32_vec(), 1e-5, &mut expected);
        case.assert_same(&y, &expected);
    }
}

fn rope(case: &mut Case) {
    let (cos, sin) = (case.numbers(case.k, 0.3), case.numbers(case.k, 0.3));
    let mut x = case.numbers(6 * case.k, case.scale);
    let mut expected = x.clone();
    kernels::rope(&mut x, &cos, &sin);
    scalar::rope(&mut expected, &cos, &sin);
    case.assert_same(&x, &expected);
}

/// Three heads on one, over one position, then over as many as go beyond a block.
fn attention(case: &mut Case, check: impl Fn(&Case, &Cached, &[f32], usize, &mut [f32], &mut [f32])) {
    for first in [0, kernels::CACHE_BLOCK + 1] {
        let cached = Cached::new(case.random, 1, case.k, first + 1, case.scale);
        let q = case.numbers(3 * case.k, 1.0);
        let (mut y, mut expected) = (case.output(3 * case.k), case.output(3 * case.k));
        check(case, &cached, &q, first, &mut y, &mut expected);
        case.assert_same(&y, &expected);
    }
}

fn attention_float32(case: &mut Case) {
    attention(case, |case, cached, q, first, y, expected| {
        let seen = (first + 1) * case.k;
        kernels::attention(q, &cached.float32(), first, y, &mut Queries::default(), 3);
        let mut scores = vec![0.0; 3 * (first + 1)];
        scalar::attention(q, &cached.keys[..seen], &cached.values[..seen], case.k, expected, &mut scores);
    });
}

fn attention_int16(case: &mut Case) {
    attention(case, |case, cached, q, first, y, expected| {
        kernels::attention(q, &cached.int16(), first, y, &mut Queries::default(), 3);
        for (q, out) in q.chunks_exact(case.k).zip(expected.chunks_exact_mut(case.k)) {
            scalar::attention_int16(q, &cached.int16().head16(0).expect("16 bits"), first + 1, out);
        }
    });
}

fn store_int16(case: &mut Case) {
    let (key, value) = (case.numbers(case.k, case.scale), case.numbers(case.k, case.scale));
    let pair = [&*key, &*value];
    let width = kernels::padded(case.k);
    for position in [0, kernels::CACHE_BLOCK - 1] {
        let (mut codes, mut scales) =
            ([(); 4].map(|()| vec![[-1; 8]; width * kernels::CACHE_BLOCK / 8]), [f32::NAN; 2]);
        let [keys, values, expected_keys, expected_values] = &mut codes;
        let stored = kernels::store_int16(pair, [keys, values], position);
        scalar::store_int16(pair, [expected_keys, expected_values], position, &mut scales);
        case.assert_same(&stored, &scales);
        // What a row is padded with may be cleared or left.
        for d in case.k..width {
            let (key, value) =
                (kernels::key_index(width, position, d), kernels::value_index(width, position, d));
            for (codes, at) in codes.iter_mut().zip([key, value, key, value]) {
                codes.as_flattened_mut()[at] = 0;
            }
        }
        assert!(codes[0] == codes[2] && codes[1] == codes[3], "{}", case.what);
    }
}

fn softmax(case: &mut Case) {
    let mut x = case.numbers(case.k, case.scale);
    let mut expected = x.clone();
    kernels::softmax(&mut x);
    scalar::softmax(&mut expected);
    case.assert_same(&x, &expected);
}

fn silu_mul(case: &mut Case) {
    let (mut gate, up) = (case.numbers(case.k, case.scale), case.numbers(case.k, case.scale));
    let mut expected = gate.clone();
    kernels::silu_mul(&mut gate, &up);
    scalar::silu_mul(&mut expected, &up);
    case.assert_same(&gate, &expected);
}

fn add_assign(case: &mut Case) {
    let (mut y, x) = (case.numbers(case.k, case.scale), case.numbers(case.k, case.scale));
    let mut expected = y.clone();
    kernels::add_assign(&mut y, &x);
    scalar::add_assign(&mut expected, &x);
    case.assert_same(&y, &expected);
}

fn axpy(case: &mut Case) {
    let (mut y, x) = (case.numbers(case.k, case.scale), case.numbers(case.k, case.scale));
    let mut expected = y.clone();
    kernels::axpy(0.3 * case.scale, &x, &mut y);
    scalar::axpy(0.3 * case.scale, &x, &mut expected);
    case.assert_same(&y, &expected);
}

/// Every bit pattern of the 16-bit formats in every place of a row, for one token and for a panel.
#[test]
fn all_codes_of_floats() {
    use half::{bf16, f16};
    each_isa("all codes of floats", || {
        // Patterns without a value fill whole rows.
        let patterns = || (0..=u16::MAX).map(|i| i.rotate_left(5));
        let mut random = Random(12);
        for w in [
            Floats::Bf16((0..=u16::MAX).map(bf16::from_bits).collect()),
            Floats::F16((0..=u16::MAX).map(f16::from_bits).collect()),
            Floats::Bf16(patterns().map(bf16::from_bits).collect()),
            Floats::F16(patterns().map(f16::from_bits).collect()),
        ] {
            for tokens in TOKENS {
                let x = random.values(tokens * 32, 1.0);
                let (mut y, mut expected) = (vec![f32::NAN; tokens * 2048], vec![0.0; tokens * 2048]);
                kernels::linear_floats(&x, &w, 2048, 32, &mut y, &mut Scratch::default());
                scalar::linear_floats(&x, &w, 2048, 32, &mut expected);
                assert!(expected.iter().filter(|y| y.is_finite()).count() > tokens * 64, "{:?}", w.dtype());
                let same = |(a, e): (&f32, &f32)| a.to_bits() == e.to_bits() || a.is_nan() && e.is_nan();
                assert!(y.iter().zip(&expected).all(same), "{:?} {tokens}", w.dtype());
            }
        }
    });
}

/// Every code of a weight times every code of an activation.
#[test]
fn all_codes_of_int8() {
    each_isa("all codes of int8", || {
        let codes = || -127..=127i8;
        // Row r holds code r - 127 in each of 17 columns: a whole chunk and a tail.
        let cb = codes().flat_map(|code| [code; 17]).collect();
        let w = Int8Params { cb, scb: vec![127.0; 255], rows: 255, cols: 17 };
        for (column, first) in [0, 7, 8, 15, 16].into_iter().zip([127i8, -127].into_iter().cycle()) {
            // One column says how large a code is, another has it.
            let tokens = codes().flat_map(|code| {
                let mut x = [0.0; 17];
                x[(column + 1) % 17] = f32::from(first);
                x[column] = f32::from(code);
                x
            });
            let x: Vec<f32> = tokens.collect();
            for x in [&x[..17], &x] {
                let mut y = vec![f32::NAN; x.len() / 17 * 255];
                kernels::linear_int8(x, &w, 0.0, &mut y, &mut Scratch::default());
                let activations = Int8Activations::quantize(x, 17, 0.0);
                assert!(activations.ca.chunks(17).zip(codes()).all(|(ca, code)| ca[column] == code));
                let mut expected = vec![0.0; y.len()];
                scalar::linear_int8(x, &activations, &w, &mut expected);
                assert!(y == expected, "column {column}");
            }
        }
    });
}
