//! One token times a matrix: rows of weights are read once, in storage order, one after the other.
//!
//! 4-bit kernels read whole chunks of 32 codes (16 bytes). When rows hold whole chunks, every chunk
//! lies in one block and one byte-aligned row, whatever the blocksize; other shapes go through
//! [`super::matmul`].

// Each kernel is a function of its own in WebAssembly, where an engine allocates registers for a whole function at
// once. Natively it must be inlined into the function that enables its instructions.

use std::ops::Range;

use super::activations::{PairsF32, PairsI8, PairsI16, SplitI8};
use super::simd::{Simd, TableI16};
use super::units::{UnitScales, each_rows, each_rows_nested};
use crate::quant::{Params4bit, QuantType};

/// Designs of integer products: 16-bit levels and activations;
pub const WIDE: u8 = 0;
/// 7-bit levels and 8-bit activations, whose products are added to neighbours in 16 bits and then in 32;
pub const PAIRS: u8 = 1;
/// the same in one step, which is one instruction where the processor has it and three where not;
pub const QUADS: u8 = 2;
/// levels and activations of two 8-bit parts each, multiplied in that step: `(128 xh + xl) (128 wh + wl)` without
/// `xl wl`, for which `xl` times one number is taken.
pub const SPLIT: u8 = 3;

/// The scale at which 16-bit levels are stored: `level * scale` times an activation code of at most
/// [`ACTIVATIONS_I16`], 16 times, stays below 2^31.
pub fn level_scale_i16(quant_type: QuantType) -> f32 {
    match quant_type {
        // Of the scales up to 8191 the one with the smallest error of the levels.
        QuantType::Nf4 => 7854.02,
        // 42 * 192: all levels are integers.
        QuantType::Fp4 => 8064.0,
    }
}

/// Largest activation code beside [`level_scale_i16`].
pub const ACTIVATIONS_I16: f32 = 16383.0;

/// Levels of the design [`SPLIT`]: `round(level * scale) + offset`, 14 bits. Their low seven bits are near those of the
/// offset, by which they are replaced where they are multiplied with the low part of an activation. NF4: of the scales and
/// offsets that fit, those with the smallest error, 8.9e-5 with that of the activations; FP4: the low bits of all levels but
/// the smallest are those of the offset.
pub fn level_scale_split(quant_type: QuantType) -> (f32, i32) {
    match quant_type {
        QuantType::Nf4 => (8103.0, 8118),
        QuantType::Fp4 => (7680.0, 7744),
    }
}

/// 7-bit levels: `round(level * scale + offset)`. NF4: the pair with the smallest error; FP4: all
/// levels but the smallest are integers.
pub fn level_scale_u7(quant_type: QuantType) -> (f32, f32) {
    match quant_type {
        QuantType::Nf4 => (62.56, 63.72),
        QuantType::Fp4 => (60.0, 64.0),
    }
}

/// The 7-bit levels.
pub fn levels_u7(w: &Params4bit) -> [u8; 16] {
    let (scale, offset) = level_scale_u7(w.quant_state.quant_type);
    w.quant_state.code.map(|level| (level * scale + offset).round_ties_even() as u8)
}

/// Adds the products of bytes `4 * i` to `4 * i + 3` of a chunk of each row to its sums `i`. A byte is looked up as the two
/// levels of its codes: codes that are looked up in registers, once for each byte of a level, take more instructions, of
/// which V8 makes yet more for want of registers.
#[inline(always)]
fn add_products<S: Simd, const R: usize>(
    s: S,
    levels: &[[f32; 2]; 256],
    bytes: [&[u8; 16]; R],
    scales: [S::V; R],
    x: &PairsF32,
    i: usize,
    sums: &mut [[S::V; 4]; R],
) {
    let (x_even, x_odd) = (s.load(&x[i]), s.load(&x[4 + i]));
    for r in 0..R {
        let levels = |byte: usize| &levels[usize::from(bytes[r][4 * i + byte])];
        let (ab, cd) = (s.load_halves(levels(0), levels(1)), s.load_halves(levels(2), levels(3)));
        let product = |w, x| s.mul_f32(s.mul_f32(w, scales[r]), x);
        let sum = s.add_f32(sums[r][i], product(s.even_u32(ab, cd), x_even));
        sums[r][i] = s.add_f32(sum, product(s.odd_u32(ab, cd), x_odd));
    }
}

/// Exact product with units of `CHUNKS * 32`, none of which may straddle blocks: `y[i]` for row `rows.start + i`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_exact<S: Simd, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    x: &[PairsF32],
    rows: Range<usize>,
    y: &mut [f32],
) {
    const { assert!(CHUNKS == 1 || CHUNKS == 2) };
    let code = &w.quant_state.code;
    let levels: &[[f32; 2]; 256] = &std::array::from_fn(|byte| [code[byte >> 4], code[byte & 15]]);
    let x = x.as_chunks::<CHUNKS>().0;
    let zero = s.splat_f32(0.0);
    let mut sums = [[zero; 4]; 2];
    each_rows::<2, CHUNKS>(w, x.len(), rows, |rows, bytes, first, scales| {
        if first == 0 {
            sums = [[zero; 4]; 2];
        }
        let n = bytes[0].len();
        let x = &x[first..][..n];
        // The second slicing tells the compiler the length.
        let (bytes, scales) = (bytes.map(|bytes| &bytes[..n]), scales.map(|scales| &scales[..n]));
        for u in 0..n {
            let scales = scales.map(|scales| s.splat_f32(scales[u]));
            // Not a loop, which the compiler would keep.
            macro_rules! each {
                ($($chunk:literal $i:literal),*) => {
                    $(if $chunk < CHUNKS {
                        let bytes = bytes.map(|bytes| &bytes[u][$chunk]);
                        add_products(s, levels, bytes, scales, &x[u][$chunk], $i, &mut sums);
                    })*
                };
            }
            each!(0 0, 0 1, 0 2, 0 3, 1 0, 1 1, 1 2, 1 3);
        }
        for (row, sums) in rows.into_iter().zip(&sums) {
            y[row] = s.reduce(sums);
        }
    });
}

/// A way to multiply units of codes, one from each of several rows, with as many quantized activations.
trait UnitDot<S: Simd, const CHUNKS: usize> {
    /// The activations of a chunk of 32.
    type X;

    /// For each row a vector whose lanes add up to the sum of the products and `bias`.
    fn sums<const R: usize>(
        &self,
        s: S,
        bytes: [&[[u8; 16]; CHUNKS]; R],
        x: &[Self::X; CHUNKS],
        bias: &i32,
    ) -> [S::V; R];
}

/// 16-bit levels.
struct WideLevels<S: Simd> {
    table: TableI16<S>,
    mask: S::V,
}

impl<S: Simd, const CHUNKS: usize> UnitDot<S, CHUNKS> for WideLevels<S> {
    type X = PairsI16;

    #[inline(always)]
    fn sums<const R: usize>(
        &self,
        s: S,
        bytes: [&[[u8; 16]; CHUNKS]; R],
        x: &[PairsI16; CHUNKS],
        _: &i32,
    ) -> [S::V; R] {
        let mut sums = [[s.splat_u32(0); 2]; R];
        for (c, x) in x.iter().enumerate() {
            for r in 0..R {
                let (low, high) = s.nibbles(s.load(&bytes[r][c]), self.mask);
                for (codes, x) in [(high, [x[0], x[1]]), (low, [x[2], x[3]])] {
                    let w = self.table.get(s, codes);
                    for i in 0..2 {
                        sums[r][i] = s.add_i32(sums[r][i], s.dot_i16(w[i], s.load(&x[i])));
                    }
                }
            }
        }
        sums.map(|[a, b]| s.add_i32(a, b))
    }
}

/// 14-bit levels in two parts, see [`SPLIT`].
struct SplitLevels<S: Simd> {
    high: S::V,
    low: S::V,
    mask: S::V,
    /// Half chunks in a unit, which the compiler must not know.
    halves: usize,
}

impl<S: Simd, const CHUNKS: usize> UnitDot<S, CHUNKS> for SplitLevels<S> {
    type X = SplitI8;

    #[inline(always)]
    fn sums<const R: usize>(
        &self,
        s: S,
        bytes: [&[[u8; 16]; CHUNKS]; R],
        x: &[SplitI8; CHUNKS],
        bias: &i32,
    ) -> [S::V; R] {
        let zero = s.splat_u32(0);
        let (mut large, mut small, mut cross) = ([zero; R], [s.first_i32(bias); R], [zero; R]);
        let mut done = 0;
        'unit: for (c, x) in x.iter().enumerate() {
            let codes = bytes.map(|bytes| s.nibbles(s.load(&bytes[c]), self.mask));
            let halves = [codes.map(|(_, high)| high), codes.map(|(low, _)| low)];
            for (codes, x) in halves.into_iter().zip(x) {
                // A way out, never taken here, keeps the order of the instructions: LLVM would look up all levels of the
                // unit first, which takes more registers than there are, and then chain the products that wait for
                // each other. It costs a sixth of the speed.
                if done == self.halves {
                    break 'unit;
                }
                done += 1;
                let [x_high, x_low] = x.each_ref().map(|x| s.load(x));
                for r in 0..R {
                    let (w_high, w_low) = (s.swizzle(self.high, codes[r]), s.swizzle(self.low, codes[r]));
                    large[r] = s.dot_add_i8_u7(x_high, w_high, large[r]);
                    small[r] = s.dot_add_i8_u7(x_high, w_low, small[r]);
                    cross[r] = s.dot_add_i8_u7(x_low, w_high, cross[r]);
                }
            }
        }
        std::array::from_fn(|r| s.add_i32(s.add_i32(s.shl_u32::<7>(large[r]), small[r]), cross[r]))
    }
}

/// 7-bit levels.
struct NarrowLevels<S: Simd, const DESIGN: u8> {
    table: S::V,
    ones: S::V,
    mask: S::V,
}

impl<S: Simd, const DESIGN: u8> NarrowLevels<S, DESIGN> {
    #[inline(always)]
    fn new(s: S, w: &Params4bit) -> Self {
        let (table, ones) = (s.hide(s.load(&levels_u7(w))), s.hide(s.splat_u32(0x0001_0001)));
        NarrowLevels { table, ones, mask: s.hide(s.splat_u32(0x0f0f_0f0f)) }
    }
}

impl<S: Simd, const DESIGN: u8, const CHUNKS: usize> UnitDot<S, CHUNKS> for NarrowLevels<S, DESIGN> {
    type X = PairsI8;

    #[inline(always)]
    fn sums<const R: usize>(
        &self,
        s: S,
        bytes: [&[[u8; 16]; CHUNKS]; R],
        x: &[PairsI8; CHUNKS],
        bias: &i32,
    ) -> [S::V; R] {
        let mut sums = [s.first_i32(bias); R];
        for (c, x) in x.iter().enumerate() {
            let bytes = bytes.map(|bytes| s.load(&bytes[c]));
            let halves = [bytes.map(|bytes| s.shr_u16::<4>(bytes)), bytes];
            for (codes, x) in halves.into_iter().zip(x) {
                let x = s.load(x);
                for r in 0..R {
                    let w = s.swizzle(self.table, s.and(codes[r], self.mask));
                    sums[r] = match DESIGN {
                        PAIRS => s.add_i32(sums[r], s.dot_i16(s.dot_i8_u7(x, w), self.ones)),
                        _ => s.dot_add_i8_u7(x, w, sums[r]),
                    };
                }
            }
        }
        sums
    }
}

/// A quantized token: activations in units of `CHUNKS * 32`, and for each unit a scale and what makes good for the
/// offset of the levels.
pub struct Token<'a, X, Scale> {
    /// Activations in chunks of 32.
    pub codes: &'a [X],
    /// Of each unit.
    pub scales: &'a [Scale],
    /// Of each unit, added to the sum of its products.
    pub biases: &'a [i32],
}

/// Product in integers with units of `CHUNKS * 32`, none of which may straddle blocks, `R` rows at a time. The scales of the
/// activations come in all lanes: two numbers would be multiplied as such and their product spread, an instruction more.
/// With `NESTED` those of the weights are quantized themselves, one a unit.
#[inline(always)]
fn integers<S: Simd, D: UnitDot<S, CHUNKS>, const NESTED: bool, const R: usize, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    dot: D,
    level_scale: f32,
    x: Token<'_, D::X, [f32; 4]>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let codes = x.codes.as_chunks::<CHUNKS>().0;
    let inverse = 1.0 / level_scale;
    let mut totals = [s.splat_f32(0.0); R];
    // Not a function, of which the compiler would make less.
    macro_rules! add_units {
        ($rows:expr, $bytes:expr, $first:expr, $scales:expr) => {
            if $first == 0 {
                totals = [s.splat_f32(0.0); R];
            }
            let n = $scales[0].count();
            let (codes, x_scales, biases) =
                (&codes[$first..][..n], &x.scales[$first..][..n], &x.biases[$first..][..n]);
            // The second slicing tells the compiler the length.
            let (bytes, scales) = ($bytes.map(|bytes| &bytes[..n]), $scales.map(|scales| scales.prefix(n)));
            for i in 0..n {
                let sums = dot.sums(s, bytes.map(|bytes| &bytes[i]), &codes[i], &biases[i]);
                let x_scale = s.load(&x_scales[i]);
                for r in 0..R {
                    let scale = s.mul_f32(s.splat_f32(scales[r].scale(i)), x_scale);
                    totals[r] = s.madd_f32(s.from_i32(sums[r]), scale, totals[r]);
                }
            }
            for r in 0..R {
                y[$rows[r]] = s.sum_f32(totals[r]) * inverse;
            }
        };
    }
    if NESTED {
        each_rows_nested::<S, R, CHUNKS>(s, w, codes.len(), rows, |rows, bytes, first, scales| {
            add_units!(rows, bytes, first, scales);
        });
    } else {
        each_rows::<R, CHUNKS>(w, codes.len(), rows, |rows, bytes, first, scales| {
            add_units!(rows, bytes, first, scales);
        });
    }
}

/// [`integers`] for one row and four units at a time: fewer instructions, as long as few vectors are needed for a unit.
#[inline(always)]
fn integers_in_fours<S: Simd, D: UnitDot<S, CHUNKS>, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    dot: D,
    level_scale: f32,
    x: Token<'_, D::X, f32>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let codes = x.codes.as_chunks::<CHUNKS>().0;
    let mut total = s.splat_f32(0.0);
    each_rows::<1, CHUNKS>(w, codes.len(), rows, |[row], [bytes], first, [scales]| {
        if first == 0 {
            total = s.splat_f32(0.0);
        }
        let n = scales.len();
        let (codes, x_scales, biases) =
            (&codes[first..][..n], &x.scales[first..][..n], &x.biases[first..][..n]);
        let fours = n / 4;
        {
            let (bytes, codes) = (&bytes.as_chunks::<4>().0[..fours], &codes.as_chunks::<4>().0[..fours]);
            let (scales, x_scales) =
                (&scales.as_chunks::<4>().0[..fours], &x_scales.as_chunks::<4>().0[..fours]);
            let biases = &biases.as_chunks::<4>().0[..fours];
            for i in 0..fours {
                let ([b0, b1, b2, b3], [x0, x1, x2, x3], [o0, o1, o2, o3]) =
                    (&bytes[i], &codes[i], &biases[i]);
                let [[s0], [s1]] = [dot.sums(s, [b0], x0, o0), dot.sums(s, [b1], x1, o1)];
                let [[s2], [s3]] = [dot.sums(s, [b2], x2, o2), dot.sums(s, [b3], x3, o3)];
                let sums = [s0, s1, s2, s3];
                let scales = s.mul_f32(s.load(&scales[i]), s.load(&x_scales[i]));
                total = s.madd_f32(s.from_i32(s.sums_i32(sums)), scales, total);
            }
        }
        for i in 4 * fours..n {
            let [sum] = dot.sums(s, [&bytes[i]], &codes[i], &biases[i]);
            total = s.madd_f32(s.from_i32(sum), s.splat_f32(scales[i] * x_scales[i]), total);
        }
        y[row] = s.sum_f32(total) / level_scale;
    });
}

/// Near-exact product with 16-bit levels, see [`integers_in_fours`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_i16<S: Simd, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    x: Token<'_, PairsI16, f32>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let level_scale = level_scale_i16(w.quant_state.quant_type);
    let table = TableI16::new(s, &w.quant_state.code, level_scale);
    let dot = WideLevels { table, mask: s.hide(s.splat_u32(0x0f0f_0f0f)) };
    integers_in_fours::<S, _, CHUNKS>(s, w, dot, level_scale, x, rows, y);
}

/// Near-exact product in the design [`SPLIT`] and units of 64, see [`integers`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_split<S: Simd, const NESTED: bool>(
    s: S,
    w: &Params4bit,
    x: Token<'_, SplitI8, [f32; 4]>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (level_scale, offset) = level_scale_split(w.quant_state.quant_type);
    const CHUNKS: usize = 2;
    let levels = w.quant_state.code.map(|level| (level * level_scale).round_ties_even() as i32 + offset);
    let high = s.hide(s.load(&levels.map(|level| (level >> 7) as u8)));
    let low = s.hide(s.load(&levels.map(|level| (level & 127) as u8)));
    let halves = std::hint::black_box(2 * CHUNKS);
    let dot = SplitLevels { high, low, mask: s.hide(s.splat_u32(0x0f0f_0f0f)), halves };
    integers::<S, _, NESTED, 2, CHUNKS>(s, w, dot, level_scale / 128.0, x, rows, y);
}

/// Fast product in the design [`PAIRS`] and units of 64, see [`integers_in_fours`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_pairs<S: Simd>(
    s: S,
    w: &Params4bit,
    x: Token<'_, PairsI8, f32>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (level_scale, _) = level_scale_u7(w.quant_state.quant_type);
    integers_in_fours::<S, _, 2>(s, w, NarrowLevels::<S, PAIRS>::new(s, w), level_scale, x, rows, y);
}

/// Fast product in the design [`QUADS`] and units of 64, see [`integers`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_quads<S: Simd, const NESTED: bool>(
    s: S,
    w: &Params4bit,
    x: Token<'_, PairsI8, [f32; 4]>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (level_scale, _) = level_scale_u7(w.quant_state.quant_type);
    let dot = NarrowLevels::<S, QUADS>::new(s, w);
    integers::<S, _, NESTED, 3, 2>(s, w, dot, level_scale, x, rows, y);
}

/// A float format whose elements become f32 lanes, even and odd ones apart.
pub trait Stored: Copy {
    /// The format's bits.
    type Bits: Copy + Default;

    /// Elements 0, 2, 4, 6 and 1, 3, 5, 7.
    fn pairs<S: Simd>(s: S, bits: &[Self::Bits; 8]) -> (S::V, S::V);
}

/// f32.
#[derive(Clone, Copy)]
pub struct StoredF32;
/// bfloat16.
#[derive(Clone, Copy)]
pub struct StoredBf16;
/// IEEE half precision.
#[derive(Clone, Copy)]
pub struct StoredF16;

impl Stored for StoredF32 {
    type Bits = f32;

    #[inline(always)]
    fn pairs<S: Simd>(s: S, bits: &[f32; 8]) -> (S::V, S::V) {
        let halves = bits.as_chunks::<4>().0;
        let (a, b) = (s.load(&halves[0]), s.load(&halves[1]));
        (s.even_u32(a, b), s.odd_u32(a, b))
    }
}

impl Stored for StoredBf16 {
    type Bits = u16;

    #[inline(always)]
    fn pairs<S: Simd>(s: S, bits: &[u16; 8]) -> (S::V, S::V) {
        let v = s.load(bits);
        (s.shl_u32::<16>(v), s.and(v, s.splat_u32(0xffff_0000)))
    }
}

impl Stored for StoredF16 {
    type Bits = u16;

    #[inline(always)]
    fn pairs<S: Simd>(s: S, bits: &[u16; 8]) -> (S::V, S::V) {
        let v = s.load(bits);
        (half_to_f32(s, v), half_to_f32(s, s.shr_u32::<16>(v)))
    }
}

/// The f16 in the low half of every 32-bit lane.
#[inline(always)]
fn half_to_f32<S: Simd>(s: S, v: S::V) -> S::V {
    let magnitude = s.shl_u32::<13>(s.and(v, s.splat_u32(0x7fff)));
    let sign = s.shl_u32::<16>(s.and(v, s.splat_u32(0x8000)));
    // The exponent bias differs by 112; the product is exact for subnormals too.
    let finite = s.mul_f32(magnitude, s.splat_f32(f32::from_bits((127 + 112) << 23)));
    let exponent = s.splat_u32(0x7c00 << 13);
    let special = s.eq_i32(s.and(magnitude, exponent), exponent);
    s.or(s.or(finite, s.and(special, s.splat_u32(0x7f80_0000))), sign)
}

/// Product with stored floats in pair order: `y[i]` for row `rows.start + i`. `x` is padded with
/// zeros to whole chunks.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn floats<S: Simd, T: Stored>(
    s: S,
    w: &[T::Bits],
    cols: usize,
    x: &[PairsF32],
    rows: Range<usize>,
    y: &mut [f32],
) {
    for (r, y) in rows.zip(y) {
        let (chunks, tail) = w[r * cols..][..cols].as_chunks::<32>();
        let mut sums = [s.splat_f32(0.0); 4];
        let add = |sum: &mut S::V, w: &[T::Bits; 8], x: &PairsF32, i: usize| {
            let (even, odd) = T::pairs(s, w);
            *sum = s.add_f32(*sum, s.mul_f32(even, s.load(&x[i])));
            *sum = s.add_f32(*sum, s.mul_f32(odd, s.load(&x[4 + i])));
        };
        for (chunk, x) in chunks.iter().zip(x) {
            let groups = chunk.as_chunks::<8>().0;
            for i in 0..4 {
                add(&mut sums[i], &groups[i], x, i);
            }
        }
        if let (false, Some(x)) = (tail.is_empty(), x.last()) {
            let (groups, tail) = tail.as_chunks::<8>();
            for (i, group) in groups.iter().enumerate() {
                add(&mut sums[i], group, x, i);
            }
            if !tail.is_empty() {
                let mut group = [T::Bits::default(); 8];
                group[..tail.len()].copy_from_slice(tail);
                add(&mut sums[groups.len()], &group, x, groups.len());
            }
        }
        *y = s.reduce(&sums);
    }
}

/// Integer products of 8-bit rows with `T` tokens: `acc[t]` of the codes `x[t]` (16-bit, in order).
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn dot_int8<S: Simd, const T: usize>(s: S, w: &[i8], x: [&[i16]; T]) -> [i32; T] {
    let (chunks, tail) = w.as_chunks::<16>();
    let mut acc = [s.splat_u32(0); T];
    // The second slicing tells the compiler the length.
    let xs = x.map(|x| &x.as_chunks::<16>().0[..chunks.len()]);
    for (i, chunk) in chunks.iter().enumerate() {
        let w = s.load(chunk);
        let (low, high) = (s.extend_low_i8(w), s.extend_high_i8(w));
        for t in 0..T {
            let x = xs[t][i].as_chunks::<8>().0;
            let products = s.add_i32(s.dot_i16(low, s.load(&x[0])), s.dot_i16(high, s.load(&x[1])));
            acc[t] = s.add_i32(acc[t], products);
        }
    }
    std::array::from_fn(|t| {
        let rest = tail.iter().zip(&x[t][chunks.len() * 16..]);
        let rest: i32 = rest.map(|(&w, &x)| i32::from(w) * i32::from(x)).sum();
        s.lanes_i32(acc[t]).into_iter().sum::<i32>() + rest
    })
}
