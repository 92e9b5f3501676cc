//! Every operation against the scalar reference: bit-equal, or within the stated bound.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nibblama::checkpoint::Dtype;
use nibblama::kernels::{
    self, Arithmetic, CACHE_BLOCK, CachedLayer, Design, Isa, Queries, Scratch, Stored, key_index, padded,
    scalar, value_index,
};
use nibblama::quant::int8::Int8Activations;
use nibblama::quant::{ComputeDtype, Floats, Int8Params, Params4bit, QuantType};

#[path = "kernels/edges.rs"]
mod edges;

// The same table under `wasm-bindgen-test`.
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Runs the checks on every instruction set of this build and machine, and says which.
fn each_isa(what: &str, check: impl Fn()) {
    let mut ran = Vec::new();
    for &isa in kernels::available() {
        #[cfg(not(target_arch = "wasm32"))]
        kernels::with_isa(isa, || {
            assert_eq!(kernels::isa(), isa);
            check();
        });
        #[cfg(target_arch = "wasm32")]
        check();
        ran.push(isa);
    }
    assert_eq!(ran, expected(), "{what} ran on other variants than this build has");
}

/// The design of fast products holds for all threads: one test at a time may change it or count on it.
fn own_the_design() -> MutexGuard<'static, ()> {
    static DESIGN: Mutex<()> = Mutex::new(());
    DESIGN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every arithmetic that is not bit-defined, with its bound and the design it is computed in.
const ROUGH: [(Arithmetic, f64, Design); 6] = [
    (Arithmetic::NearExact, 2e-4, Design::I16),
    (Arithmetic::Fast, 2e-4, Design::I16),
    (Arithmetic::Fast, 2e-4, Design::I8Split),
    (Arithmetic::NearExact, 2e-4, Design::I8Split),
    (Arithmetic::Fast, 1e-2, Design::I8Pairs),
    // The last one stays in use.
    (Arithmetic::Fast, 1e-2, Design::I8Quads),
];

/// What a build has; on x86-64 the tests ask for a machine with AVX2, and AVX-VNNI may be missing.
fn expected() -> &'static [Isa] {
    #[cfg(target_arch = "x86_64")]
    if !is_x86_feature_detected!("avxvnni") {
        return &EXPECTED[..2];
    }
    EXPECTED
}

#[cfg(target_arch = "x86_64")]
const EXPECTED: &[Isa] = &[Isa::Scalar, Isa::Avx2, Isa::AvxVnni];
#[cfg(target_arch = "aarch64")]
const EXPECTED: &[Isa] = &[Isa::Scalar, Isa::Neon];
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
const EXPECTED: &[Isa] = &[Isa::RelaxedSimd];
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
const EXPECTED: &[Isa] = &[Isa::Simd128];
#[cfg(all(target_arch = "wasm32", not(target_feature = "simd128")))]
const EXPECTED: &[Isa] = &[Isa::Scalar];

/// Normal-like values from a fixed generator.
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    }

    fn values(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| (0..4).map(|_| self.uniform()).sum::<f32>() * scale).collect()
    }
}

fn assert_bits(what: &str, actual: &[f32], expected: &[f32]) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert_eq!(a.to_bits(), e.to_bits(), "{what}: element {i}: {a} instead of {e}");
    }
}

/// Rows, columns, blocksize: tails, one column, odd rows, one block, blocks that straddle rows.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 64),
    (3, 7, 32),
    (5, 33, 64),
    (9, 32, 64),
    (1, 64, 64),
    (7, 96, 64),
    (17, 64, 32),
    (12, 288, 64),
    (11, 128, 128),
    (13, 320, 128),
    (8, 192, 4096),
    (10, 4160, 64),
    (3, 8192, 256),
    (96, 1024, 64),
    (70, 576, 64),
    (64, 512, 256),
];

/// Relative error (L2) of `y` against products in f64, where the scale of a result is at least that
/// of the terms it is summed from.
fn relative_error(x: &[f32], w: &[f32], rows: usize, cols: usize, y: &[f32]) -> f64 {
    let (mut error, mut norm) = (0.0, 0.0);
    for (i, &y) in y.iter().enumerate() {
        let (t, r) = (i / rows, i % rows);
        let terms = (0..cols).map(|k| f64::from(w[r * cols + k]) * f64::from(x[t * cols + k]));
        let (sum, squares) = terms.fold((0.0, 0.0), |(s, q), p| (s + p, q + p * p));
        error += (f64::from(y) - sum).powi(2);
        norm += (sum * sum).max(squares);
    }
    (error / norm).sqrt()
}

#[test]
fn the_best_variant_is_in_use() {
    assert_eq!(kernels::available(), expected());
    assert_eq!(Some(&kernels::isa()), expected().last());
    println!("kernels run on {}", kernels::isa().as_str());
}

#[test]
fn four_bit_products() {
    each_isa("four_bit_products", check_four_bit_products);
}

fn check_four_bit_products() {
    let _design = own_the_design();
    let mut random = Random(1);
    let mut scratch = Scratch::default();
    for &(rows, cols, blocksize) in SHAPES {
        for (quant_type, double_quant) in
            [(QuantType::Nf4, false), (QuantType::Nf4, true), (QuantType::Fp4, true)]
        {
            for scale in [1.0, 1e-30, 1e15] {
                let src = random.values(rows * cols, scale);
                let w = Params4bit::quantize(
                    &src,
                    &[rows, cols],
                    Dtype::F32,
                    quant_type,
                    blocksize,
                    double_quant,
                )
                .unwrap();
                let dense = w.dequantize();
                for tokens in [0, 1, 2, 3, 4, 5, 9] {
                    let what = format!("{rows}x{cols} b{blocksize} {quant_type} {double_quant} t{tokens}");
                    let x = random.values(tokens * cols, 1.0);
                    let mut y = vec![f32::NAN; tokens * rows];
                    let mut expected = vec![f32::NAN; tokens * rows];
                    for dtype in [ComputeDtype::Float32, ComputeDtype::Bfloat16, ComputeDtype::Float16] {
                        y.fill(f32::NAN);
                        let arithmetic = match dtype {
                            ComputeDtype::Float32 => Arithmetic::Exact,
                            dtype => Arithmetic::Emulated(dtype),
                        };
                        kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut scratch);
                        scalar::linear_4bit(&x, &w, &mut expected, dtype);
                        assert_bits(&what, &y, &expected);
                    }
                    for (arithmetic, bound, design) in ROUGH {
                        if tokens == 0 || cols < 32 {
                            continue;
                        }
                        kernels::set_design(design);
                        y.fill(f32::NAN);
                        kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut scratch);
                        let error = relative_error(&x, &dense, rows, cols, &y);
                        // The errors are random: few outputs scatter around the figure for many.
                        let bound = if rows * tokens < 64 { 2.0 * bound } else { bound };
                        assert!(error <= bound, "{what} {arithmetic:?} {design:?}: {error:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn the_fastest_design_is_used() {
    let _design = own_the_design();
    let eight_bit = !matches!(kernels::isa(), Isa::Scalar | Isa::Simd128);
    let mut random = Random(8);
    let (rows, cols) = (32, 256);
    let src = random.values(rows * cols, 1.0);
    let w = Params4bit::quantize(&src, &[rows, cols], Dtype::F32, QuantType::Nf4, 64, false).unwrap();
    let x = random.values(cols, 1.0);
    let product = |arithmetic| {
        let mut y = vec![f32::NAN; rows];
        kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut Scratch::default());
        y
    };
    for (i, expected) in Design::ALL.into_iter().enumerate() {
        // A clock by which this design is computed four times in the time of one of the others.
        let mut steps = (0..Design::ALL.len())
            .flat_map(|design| if design == i { vec![0.0, 0.5, 0.5, 0.5, 0.5] } else { vec![0.0, 2.0] })
            .collect::<Vec<f64>>()
            .into_iter()
            .cycle();
        let mut clock = 0.0;
        let timings = kernels::calibrate(
            || {
                clock += steps.next().unwrap();
                clock
            },
            &[],
        );
        if !eight_bit {
            assert_eq!(timings, []);
            continue;
        }
        let chosen: Vec<_> =
            timings.iter().filter(|timing| timing.chosen).map(|timing| timing.design).collect();
        assert_eq!(chosen, [expected]);
        let calibrated = product(Arithmetic::Fast);
        let near_exact = matches!(expected, Design::I16 | Design::I8Split);
        assert_eq!(calibrated == product(Arithmetic::NearExact), near_exact);
        kernels::set_design(expected);
        assert_bits("the same design", &product(Arithmetic::Fast), &calibrated);
    }
    // A clock that stands still ends too.
    assert_eq!(kernels::calibrate(|| 0.0, &[]).len(), if eight_bit { 4 } else { 0 });
    kernels::set_design(Design::I8Quads);
}

#[test]
fn float_products() {
    each_isa("float_products", check_float_products);
}

fn check_float_products() {
    let mut random = Random(2);
    for &(rows, cols, _) in SHAPES {
        let src = random.values(rows * cols, 1.0);
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            let mut src = src.clone();
            src[0] = 1e-6;
            let w = Floats::from_f32(src, &dtype).unwrap();
            for tokens in [0, 1, 2, 5] {
                let x = random.values(tokens * cols, 1.0);
                let mut y = vec![f32::NAN; tokens * rows];
                let mut expected = y.clone();
                kernels::linear_floats(&x, &w, rows, cols, &mut y, &mut Scratch::default());
                scalar::linear_floats(&x, &w, rows, cols, &mut expected);
                assert_bits(&format!("{rows}x{cols} {dtype:?} t{tokens}"), &y, &expected);
            }
        }
    }
}

#[test]
fn int8_products() {
    each_isa("int8_products", check_int8_products);
}

fn check_int8_products() {
    let mut random = Random(3);
    for &(rows, cols, _) in SHAPES {
        let w = Int8Params::quantize(&random.values(rows * cols, 1.0), rows, cols).unwrap();
        for tokens in [1, 2, 7] {
            let x = random.values(tokens * cols, 3.0);
            for threshold in [0.0, 6.0] {
                let mut y = vec![f32::NAN; tokens * rows];
                let mut expected = y.clone();
                kernels::linear_int8(&x, &w, threshold, &mut y, &mut Scratch::default());
                let activations = Int8Activations::quantize(&x, cols, threshold);
                scalar::linear_int8(&x, &activations, &w, &mut expected);
                assert_bits(&format!("{rows}x{cols} t{tokens}"), &y, &expected);
            }
        }
    }
}

#[test]
fn elementwise() {
    each_isa("elementwise", check_elementwise);
}

fn check_elementwise() {
    let mut random = Random(4);
    for n in (1..70).chain([127, 128, 576]) {
        let (x, w) = (random.values(2 * n, 5.0), random.values(n, 1.0));
        let what = format!("{n} elements");
        let mut y = vec![f32::NAN; 2 * n];
        let mut expected = y.clone();
        kernels::rms_norm(&x, &Floats::F32(w.clone()), 1e-5, &mut y);
        scalar::rms_norm(&x, &w, 1e-5, &mut expected);
        assert_bits(&what, &y, &expected);

        let (mut y, mut expected) = (x.clone(), x.clone());
        kernels::softmax(&mut y);
        scalar::softmax(&mut expected);
        assert_bits(&what, &y, &expected);
        assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-5);

        let up = random.values(2 * n, 1.0);
        let (mut y, mut expected) = (x.clone(), x.clone());
        kernels::silu_mul(&mut y, &up);
        scalar::silu_mul(&mut expected, &up);
        assert_bits(&what, &y, &expected);
        kernels::axpy(0.3, &up, &mut y);
        scalar::axpy(0.3, &up, &mut expected);
        kernels::add_assign(&mut y, &x);
        scalar::add_assign(&mut expected, &x);
        assert_bits(&what, &y, &expected);

        let (cos, sin) = (random.values(n, 0.3), random.values(n, 0.3));
        let mut y = random.values(6 * n, 1.0);
        let mut expected = y.clone();
        kernels::rope(&mut y, &cos, &sin);
        scalar::rope(&mut expected, &cos, &sin);
        assert_bits(&what, &y, &expected);
    }
}

#[test]
fn attention() {
    each_isa("attention", check_attention);
}

/// Head dimension, query heads, kv heads, positions before, tokens.
const ATTENTIONS: &[(usize, usize, usize, usize, usize)] = &[
    (1, 1, 1, 0, 1),
    (10, 4, 4, 0, 3),
    (16, 3, 1, 30, 1),
    (24, 6, 2, 31, 5),
    (32, 8, 2, 63, 2),
    (33, 2, 1, 5, 7),
    (64, 9, 3, 100, 1),
    (64, 6, 2, 0, 40),
    (80, 5, 1, 64, 33),
    (128, 2, 2, 95, 2),
    (160, 1, 1, 33, 3),
    (48, 8, 1, 190, 2),
];

/// Keys and values of one layer, in both forms.
struct Cached {
    keys: Vec<f32>,
    values: Vec<f32>,
    codes: [Vec<[i16; 8]>; 2],
    scales: [Vec<f32>; 2],
    kv_heads: usize,
    head_dim: usize,
    capacity: usize,
}

impl Cached {
    /// Room for a few more positions than there are, which hold NaN in one form and any codes in the other.
    fn new(random: &mut Random, kv_heads: usize, head_dim: usize, positions: usize, scale: f32) -> Cached {
        let (width, capacity) = (padded(head_dim), positions + 3);
        let stored = kv_heads * capacity.next_multiple_of(CACHE_BLOCK);
        let (mut keys, mut values) =
            (random.values(stored * head_dim, scale), random.values(stored * head_dim, scale));
        let mut codes = [(); 2].map(|()| vec![[-8191; 8]; stored * width / 8]);
        let mut scales = [(); 2].map(|()| vec![f32::NAN; stored]);
        let mut row = vec![0; head_dim];
        for head in 0..kv_heads {
            for position in 0..capacity {
                let at = (head * capacity + position) * head_dim..(head * capacity + position + 1) * head_dim;
                if position >= positions {
                    keys[at.clone()].fill(f32::NAN);
                    values[at].fill(f32::NAN);
                    continue;
                }
                let index = head * capacity.next_multiple_of(CACHE_BLOCK) + position;
                let start = (index - position) * width;
                scales[0][index] = scalar::codes(&keys[at.clone()], &mut row);
                let flat = codes[0].as_flattened_mut();
                row.iter().enumerate().for_each(|(d, c)| flat[start + key_index(width, position, d)] = *c);
                scales[1][index] = scalar::codes(&values[at], &mut row);
                let flat = codes[1].as_flattened_mut();
                row.iter().enumerate().for_each(|(d, c)| flat[start + value_index(width, position, d)] = *c);
            }
        }
        keys.truncate(kv_heads * capacity * head_dim);
        values.truncate(kv_heads * capacity * head_dim);
        Cached { keys, values, codes, scales, kv_heads, head_dim, capacity }
    }

    fn layer<'a>(&self, stored: Stored<'a>) -> CachedLayer<'a> {
        let Cached { kv_heads, head_dim, capacity, .. } = *self;
        CachedLayer { stored, kv_heads, head_dim, capacity }
    }

    fn float32(&self) -> CachedLayer<'_> {
        self.layer(Stored::Float32 { keys: &self.keys, values: &self.values })
    }

    fn int16(&self) -> CachedLayer<'_> {
        let ([keys, values], [key_scales, value_scales]) = (&self.codes, &self.scales);
        self.layer(Stored::Int16 { keys, values, key_scales, value_scales })
    }
}

fn check_attention() {
    let mut random = Random(8);
    let mut queries = Queries::default();
    for &(head_dim, heads, kv_heads, first, tokens) in ATTENTIONS {
        for scale in [1.0, 1e-20, 1e4] {
            let what = format!("{head_dim} x {heads}/{kv_heads}, {tokens} after {first}, {scale}");
            let cached = Cached::new(&mut random, kv_heads, head_dim, first + tokens, scale);
            let q = random.values(tokens * heads * head_dim, 1.0 / scale.max(1.0));
            let mut y = vec![f32::NAN; q.len()];
            kernels::attention(&q, &cached.float32(), first, &mut y, &mut queries, heads);
            let exact = y.clone();
            let mut expected = vec![f32::NAN; q.len()];
            let (group, width) = (heads / kv_heads * head_dim, heads * head_dim);
            for (i, (q, out)) in q.chunks_exact(group).zip(expected.chunks_exact_mut(group)).enumerate() {
                let (t, head) = (i / kv_heads, i % kv_heads);
                let at = head * cached.capacity * head_dim..;
                let seen = (first + t + 1) * head_dim;
                let (k, v) = (&cached.keys[at.clone()][..seen], &cached.values[at][..seen]);
                let mut scores = vec![0.0; heads / kv_heads * (first + t + 1)];
                scalar::attention(q, k, v, head_dim, out, &mut scores);
            }
            assert_bits(&what, &y, &expected);

            y.fill(f32::NAN);
            kernels::attention(&q, &cached.int16(), first, &mut y, &mut queries, heads);
            for (i, (q, out)) in q.chunks_exact(head_dim).zip(expected.chunks_exact_mut(head_dim)).enumerate()
            {
                let (t, head) = (i / heads, i % heads);
                let head = cached.int16().head16(head / (heads / kv_heads)).expect("16 bits");
                scalar::attention_int16(q, &head, first + t + 1, out);
            }
            assert_bits(&format!("{what}, int16"), &y, &expected);
            for (y, exact) in y.chunks_exact(width).zip(exact.chunks_exact(width)) {
                let norm = exact.iter().map(|x| x * x).sum::<f32>().sqrt();
                let error = y.iter().zip(exact).map(|(y, e)| (y - e) * (y - e)).sum::<f32>().sqrt();
                assert!(error <= 1e-3 * norm, "{what}: {error} of {norm}");
            }
        }
    }
}

/// What is not finite reaches the result, and only where it belongs.
#[test]
fn attention_to_what_is_no_number() {
    each_isa("attention to NaN", || {
        let mut random = Random(9);
        for (poison, of_values) in
            [(f32::NAN, false), (f32::INFINITY, false), (f32::NAN, true), (f32::INFINITY, true)]
        {
            let mut cached = Cached::new(&mut random, 2, 16, 40, 1.0);
            let mut row = [0; 16];
            cached.scales[usize::from(of_values)][64 + 7] = scalar::codes(&[poison; 16], &mut row);
            let q = random.values(2 * 16, 1.0);
            let mut y = vec![0.0; q.len()];
            kernels::attention(&q, &cached.int16(), 39, &mut y, &mut Queries::default(), 2);
            assert!(y[..16].iter().all(|y| y.is_finite()), "{poison} {of_values}");
            assert!(y[16..].iter().all(|y| y.is_nan()), "{poison} {of_values}: {:?}", &y[16..]);
        }
    });
}

/// The values that codes stand for have the same codes.
#[test]
fn codes_of_codes() {
    let mut random = Random(10);
    for scale in [0.0, 1e-37, 1e-3, 1.0, 1e30] {
        for extreme in [0.0, 4096.0, 8191.0, 8191.4, 8191.5, 8192.0] {
            let mut x = random.values(64, scale);
            x[5] = extreme * scale;
            let (mut codes, mut again) = ([0; 64], [0; 64]);
            let step = scalar::codes(&x, &mut codes);
            let values = codes.map(|code| f32::from(code) * step);
            assert!(codes.iter().all(|code| code.abs() <= 8191));
            assert!(x.iter().zip(values).all(|(x, v)| (x - v).abs() <= step / 2.0), "{scale} {extreme}");
            assert_eq!(scalar::codes(&values, &mut again), step, "{scale} {extreme}");
            assert_eq!(codes, again);
        }
    }
}

#[test]
fn exp_is_within_its_bound() {
    for i in -8700..8800 {
        let x = i as f32 * 0.01;
        let exact = f64::from(x).exp();
        assert!(((f64::from(scalar::exp(x)) - exact) / exact).abs() < 2e-7, "exp({x})");
    }
    assert!(scalar::exp(f32::NAN).is_nan());
}

#[test]
fn exp2_is_within_its_bound() {
    for i in 0..12600 {
        let x = i as f32 * -0.01;
        let exact = f64::from(x).exp2();
        assert!(((f64::from(scalar::exp2(x)) - exact) / exact).abs() < 3e-6, "exp2({x})");
    }
    assert_eq!(scalar::exp2(0.0), 1.0);
    for x in [-127.6, -1e9, -1e38] {
        assert_eq!(scalar::exp2(x), 0.0);
    }
    assert!(scalar::exp2(f32::NAN).is_nan());
}

#[test]
fn codes_and_values() {
    each_isa("codes_and_values", check_codes_and_values);
}

fn check_codes_and_values() {
    let mut random = Random(5);
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        for blocksize in [32, 64, 256] {
            for n in [1, 2, 31, 32, 63, 64, 65, 1000, 4096, 20000] {
                for scale in [0.0, 1.0, 1e-40, 1e30] {
                    let mut src = random.values(n, scale);
                    // Thresholds and their neighbours, in a block of absmax 1.
                    if scale == 1.0 && n >= 256 {
                        let t = quant_type.thresholds();
                        let near = t.iter().flat_map(|t| [*t, t.next_up(), t.next_down()]);
                        src[..256].fill(0.1);
                        src.iter_mut().zip(near.chain([1.0, -1.0, 0.0, -0.0])).for_each(|(s, v)| *s = v);
                        src[1..256].iter_mut().step_by(32).for_each(|s| *s = 1.0);
                    }
                    let mut codes = vec![0xaa; n.div_ceil(2)];
                    let mut absmax = vec![f32::NAN; n.div_ceil(blocksize)];
                    let (mut codes2, mut absmax2) = (codes.clone(), absmax.clone());
                    kernels::quantize_4bit(&src, quant_type, blocksize, &mut codes, &mut absmax);
                    nibblama::quant::four_bit::quantize_blocks(
                        &src,
                        quant_type,
                        blocksize,
                        &mut codes2,
                        &mut absmax2,
                    );
                    assert_eq!(codes, codes2, "{quant_type} b{blocksize} n{n} {scale}");
                    assert_bits("absmax", &absmax, &absmax2);
                    for double_quant in [false, true] {
                        let w =
                            Params4bit::quantize(&src, &[n], Dtype::F32, quant_type, blocksize, double_quant)
                                .unwrap();
                        let mut out = vec![f32::NAN; n];
                        kernels::dequantize_4bit(&w, &mut out);
                        assert_bits("values", &out, &w.dequantize());
                    }
                }
            }
        }
    }
}

/// Every code in every place of a byte, against every other, with scales at both ends of f32.
#[test]
fn all_codes() {
    let _design = own_the_design();
    each_isa("all codes", || {
        for quant_type in [QuantType::Nf4, QuantType::Fp4] {
            for scale in [1.0, 1e-37, 1e37] {
                let levels = quant_type.codebook();
                let src: Vec<f32> =
                    (0..256).flat_map(|i| [levels[i / 16], levels[i % 16]]).map(|x| x * scale).collect();
                let w = Params4bit::quantize(&src, &[8, 64], Dtype::F32, quant_type, 64, false).unwrap();
                let mut out = vec![f32::NAN; 512];
                kernels::dequantize_4bit(&w, &mut out);
                assert_bits("values", &out, &w.dequantize());
                // Each unit vector picks out one column, in a panel too.
                let unit: Vec<f32> = (0..64 * 64).map(|i| f32::from(u8::from(i % 65 == 0))).collect();
                let mut columns = vec![f32::NAN; 64 * 8];
                kernels::linear_4bit(&unit, &w, &mut columns, Arithmetic::Exact, &mut Scratch::default());
                let expected: Vec<f32> = (0..64 * 8).map(|i| out[i % 8 * 64 + i / 8] + 0.0).collect();
                assert_bits("columns", &columns, &expected);
                for &(arithmetic, bound, design) in if scale == 1.0 { &ROUGH[..] } else { &[] } {
                    kernels::set_design(design);
                    kernels::linear_4bit(&unit, &w, &mut columns, arithmetic, &mut Scratch::default());
                    let near = |(y, e): (&f32, &f32)| (y - e).abs() <= 2.0 * bound as f32;
                    assert!(columns.iter().zip(&expected).all(near), "{quant_type} {design:?} in a panel");
                }
                for k in 0..64 {
                    let mut x = vec![0.0; 64];
                    x[k] = 1.0;
                    let mut y = vec![f32::NAN; 8];
                    kernels::linear_4bit(&x, &w, &mut y, Arithmetic::Exact, &mut Scratch::default());
                    let column: Vec<f32> = (0..8).map(|r| out[r * 64 + k] + 0.0).collect();
                    assert_bits("column", &y, &column);
                    // The sums of integers are scaled by thousands on the way, beyond the ends of f32.
                    let designs = if scale == 1.0 { &ROUGH[..] } else { &[] };
                    for &(arithmetic, bound, design) in designs {
                        kernels::set_design(design);
                        x[(k + 1) % 64] = 0.0078;
                        kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut Scratch::default());
                        for (r, &y) in y.iter().enumerate() {
                            let next = out[r * 64 + (k + 1) % 64];
                            let error = (y - (out[r * 64 + k] + 0.0078 * next)).abs();
                            assert!(
                                error <= 2.0 * bound as f32,
                                "{quant_type} {design:?} column {k}: {error:e}"
                            );
                        }
                    }
                }
            }
        }
    });
}

/// Inputs and outputs may lie at any address that an f32 may have.
#[test]
fn unaligned_views() {
    let _design = own_the_design();
    each_isa("unaligned views", || {
        let mut random = Random(6);
        let (rows, cols, tokens) = (13, 192, 5);
        let src = random.values(rows * cols, 1.0);
        let w = Params4bit::quantize(&src, &[rows, cols], Dtype::F32, QuantType::Nf4, 64, true).unwrap();
        let x = random.values(tokens * cols + 3, 1.0);
        let mut y = vec![f32::NAN; tokens * rows + 3];
        let mut expected = vec![f32::NAN; tokens * rows];
        for offset in 0..4 {
            let x = &x[offset..][..tokens * cols];
            for tokens in [1, tokens] {
                let (x, y) = (&x[..tokens * cols], &mut y[3 - offset..][..tokens * rows]);
                let expected = &mut expected[..tokens * rows];
                kernels::linear_4bit(x, &w, y, Arithmetic::Exact, &mut Scratch::default());
                scalar::linear_4bit(x, &w, expected, ComputeDtype::Float32);
                assert_bits("4-bit", y, expected);
                // Integers have the same bits at any address.
                for (arithmetic, _, design) in ROUGH {
                    kernels::set_design(design);
                    kernels::linear_4bit(x, &w, y, arithmetic, &mut Scratch::default());
                    let copy = x.to_vec();
                    kernels::linear_4bit(&copy, &w, expected, arithmetic, &mut Scratch::default());
                    assert_bits("integers", y, expected);
                }
                kernels::linear_floats(x, &Floats::F32(src.clone()), rows, cols, y, &mut Scratch::default());
                scalar::linear_floats(x, &Floats::F32(src.clone()), rows, cols, expected);
                assert_bits("floats", y, expected);
            }
        }
    });
}

/// A result that takes in NaN or an infinity is not finite in any design, and one that takes in zeros alone is zero.
#[test]
fn integer_products_of_what_is_no_number() {
    let _design = own_the_design();
    each_isa("integers of what is no number", || {
        let mut random = Random(9);
        let src = random.values(5 * 320, 1.0);
        let w = Params4bit::quantize(&src, &[5, 320], Dtype::F32, QuantType::Nf4, 64, true).unwrap();
        for (arithmetic, _, design) in ROUGH {
            kernels::set_design(design);
            for (value, tokens) in
                [(f32::NAN, 1), (f32::INFINITY, 1), (-f32::INFINITY, 4), (0.0, 1), (0.0, 4)]
            {
                let mut x = vec![0.0; tokens * 320];
                x[319] = value;
                let mut y = vec![1.0; tokens * 5];
                kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut Scratch::default());
                let right = |y: &f32| if value == 0.0 { *y == 0.0 } else { !y.is_finite() };
                assert!(y[..5].iter().all(right), "{design:?} {value}: {y:?}");
            }
        }
    });
}

/// Rows without columns sum to zero, whatever was in the output.
#[test]
fn empty_columns() {
    each_isa("empty columns", || {
        for tokens in [1, 5] {
            let mut y = vec![f32::NAN; 3 * tokens];
            kernels::linear_floats(&[], &Floats::F32(Vec::new()), 3, 0, &mut y, &mut Scratch::default());
            assert_bits("no columns", &y, &vec![0.0; 3 * tokens]);
        }
    });
}

/// The same bits for any number of threads, for products on both sides of the size from which they are shared.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn threads_change_no_bit() {
    let _design = own_the_design();
    let mut random = Random(7);
    let mut scratch = Scratch::default();
    for (rows, cols, tokens) in [(64, 64, 1), (1030, 1024, 1), (1030, 1024, 3), (250, 512, 20)] {
        let src = random.values(rows * cols, 1.0);
        let w = Params4bit::quantize(&src, &[rows, cols], Dtype::F32, QuantType::Nf4, 64, true).unwrap();
        let int8 = Int8Params::quantize(&src, rows, cols).unwrap();
        let floats = Floats::from_f32(src.clone(), &Dtype::BF16).unwrap();
        let x = random.values(tokens * cols, 1.0);
        let mut products = |threads: usize| {
            assert_eq!(kernels::set_threads(threads), threads);
            let mut all = Vec::new();
            for arithmetic in [
                Arithmetic::Exact,
                Arithmetic::NearExact,
                Arithmetic::Fast,
                Arithmetic::Emulated(ComputeDtype::Bfloat16),
            ] {
                let mut y = vec![f32::NAN; tokens * rows];
                kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut scratch);
                all.extend(y);
            }
            let mut y = vec![f32::NAN; tokens * rows];
            kernels::linear_floats(&x, &floats, rows, cols, &mut y, &mut scratch);
            all.extend_from_slice(&y);
            kernels::linear_int8(&x, &int8, 6.0, &mut y, &mut scratch);
            all.extend(y);
            // An odd number, and what is stored in 16 bits.
            for (n, stored) in [(src.len() - 37, None), (src.len(), Some(&floats))] {
                let (mut codes, mut absmax) = (vec![0; n.div_ceil(2)], vec![f32::NAN; n.div_ceil(64)]);
                match stored {
                    None => kernels::quantize_4bit(&src[..n], QuantType::Nf4, 64, &mut codes, &mut absmax),
                    Some(floats) => {
                        kernels::quantize_floats_4bit(floats, QuantType::Fp4, 64, &mut codes, &mut absmax)
                    }
                }
                all.extend(codes.into_iter().map(f32::from));
                all.extend(absmax);
            }
            all
        };
        let one = products(1);
        for threads in [2, 3, 7] {
            assert_bits(&format!("{rows}x{cols} t{tokens} on {threads}"), &products(threads), &one);
        }
        products(1);
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod random_shapes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn products_of_any_shape(
            rows in 1usize..40,
            cols in 1usize..700,
            tokens in 0usize..12,
            log_blocksize in 5u32..13,
            fp4: bool,
            double_quant: bool,
            seed: u64,
        ) {
            let mut random = Random(seed);
            let quant_type = if fp4 { QuantType::Fp4 } else { QuantType::Nf4 };
            let src = random.values(rows * cols, 1.0);
            let w = Params4bit::quantize(
                &src, &[rows, cols], Dtype::F32, quant_type, 1 << log_blocksize, double_quant,
            ).unwrap();
            let x = random.values(tokens * cols, 1.0);
            let _design = own_the_design();
            each_isa("random shapes", || {
                let mut scratch = Scratch::default();
                let mut y = vec![f32::NAN; tokens * rows];
                let mut expected = y.clone();
                kernels::linear_4bit(&x, &w, &mut y, Arithmetic::Exact, &mut scratch);
                scalar::linear_4bit(&x, &w, &mut expected, ComputeDtype::Float32);
                assert_bits("4-bit", &y, &expected);
                let magnitude = expected.iter().fold(0.0f32, |m, y| m.max(y.abs())) + (cols as f32).sqrt();
                for (arithmetic, bound, design) in ROUGH {
                    let bound = 10.0 * bound as f32;
                    kernels::set_design(design);
                    kernels::linear_4bit(&x, &w, &mut y, arithmetic, &mut scratch);
                    let worst = y.iter().zip(&expected).map(|(a, e)| (a - e).abs()).fold(0.0, f32::max);
                    assert!(worst <= bound * magnitude, "{arithmetic:?} {design:?}: {worst} of {magnitude}");
                }
                let floats = Floats::from_f32(src.clone(), &Dtype::F16).unwrap();
                kernels::linear_floats(&x, &floats, rows, cols, &mut y, &mut scratch);
                scalar::linear_floats(&x, &floats, rows, cols, &mut expected);
                assert_bits("floats", &y, &expected);
            });
        }
    }
}
