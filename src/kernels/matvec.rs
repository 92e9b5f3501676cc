//! One token times a matrix: rows of weights are read once, in storage order, one after the other.
//!
//! 4-bit kernels read whole chunks of 32 codes (16 bytes). When rows hold whole chunks, every chunk
//! lies in one block and one byte-aligned row, whatever the blocksize; other shapes go through
//! [`super::matmul`].

// Each kernel is a function of its own in WebAssembly, where an engine allocates registers for a whole function at
// once. Natively it must be inlined into the function that enables its instructions.

use std::ops::Range;

use super::activations::{PairsF32, PairsI8, PairsI16};
use super::simd::{Simd, TableF32, TableI16};
use crate::quant::{Absmax, Params4bit, QuantType};

/// Scales that are prepared at a time, on the stack: double quantization is never expanded.
pub const SEGMENT: usize = 64;

/// Fixed-point levels for products of 16 weights a lane: `level * LEVELS` times an activation code of
/// at most [`ACTIVATIONS_I16`], 16 times, stays below 2^31.
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
    w.quant_state.code.map(|level| (level * scale + offset).round() as u8)
}

/// Scales of `out.len()` units of `unit` elements, the first of which is unit `first` of the tensor.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn unit_scales(w: &Params4bit, unit: usize, first: usize, out: &mut [f32]) {
    let shift = (w.quant_state.blocksize / unit).trailing_zeros();
    match &w.quant_state.absmax {
        Absmax::F32(absmax) if shift == 0 => out.copy_from_slice(&absmax[first..first + out.len()]),
        Absmax::F32(absmax) => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = absmax[(first + i) >> shift];
            }
        }
        Absmax::Nested(nested) if shift == 0 => {
            // Runs of one second-level scale.
            let (mut first, mut out) = (first, out);
            while !out.is_empty() {
                let run = (nested.blocksize - first % nested.blocksize).min(out.len());
                let (now, later) = out.split_at_mut(run);
                let scale = nested.absmax[first / nested.blocksize];
                for (out, &code) in now.iter_mut().zip(&nested.codes[first..first + run]) {
                    *out = nested.code[usize::from(code)] * scale + nested.offset;
                }
                (first, out) = (first + run, later);
            }
        }
        Absmax::Nested(nested) => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = nested.get((first + i) >> shift);
            }
        }
    }
}

/// Calls `f(bytes, first unit of the row, scales)` for the segments of row `r`.
#[inline(always)]
fn segments(
    w: &Params4bit,
    cols: usize,
    r: usize,
    unit: usize,
    mut f: impl FnMut(&[[u8; 16]], usize, &mut [f32]),
) {
    let units = cols / unit;
    let row = &w.packed[r * cols / 2..][..cols / 2];
    let mut scales = [0.0; SEGMENT];
    for (i, bytes) in row.chunks(SEGMENT * unit / 2).enumerate() {
        let scales = &mut scales[..bytes.len() * 2 / unit];
        unit_scales(w, unit, r * units + i * SEGMENT, scales);
        f(bytes.as_chunks::<16>().0, i * SEGMENT, scales);
    }
}

/// Exact product: `y[i]` for row `rows.start + i`. `x` holds the token, rows hold whole chunks.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_exact<S: Simd>(s: S, w: &Params4bit, x: &[PairsF32], rows: Range<usize>, y: &mut [f32]) {
    let table = TableF32::new(s, &w.quant_state.code);
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    for (r, y) in rows.zip(y) {
        let mut sums = [s.splat_f32(0.0); 4];
        segments(w, x.len() * 32, r, 32, |bytes, first, scales| {
            for ((bytes, x), scale) in bytes.iter().zip(&x[first..]).zip(scales) {
                let (low, high) = s.nibbles(s.load(bytes), mask);
                let scale = s.splat_f32(*scale);
                for (half, codes) in [high, low].into_iter().enumerate() {
                    let w = table.get(s, codes);
                    for i in 0..4 {
                        let product = s.mul_f32(s.mul_f32(w[i], scale), s.load(&x[4 * half + i]));
                        sums[i] = s.add_f32(sums[i], product);
                    }
                }
            }
        });
        *y = s.reduce(&sums);
    }
}

/// Near-exact product with activations quantized in units of `CHUNKS * 32`, none of which may
/// straddle blocks.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_i16<S: Simd, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    x: &[PairsI16],
    x_scales: &[f32],
    rows: Range<usize>,
    y: &mut [f32],
) {
    let level_scale = level_scale_i16(w.quant_state.quant_type);
    let table = TableI16::new(s, &w.quant_state.code, level_scale);
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    let x = x.as_chunks::<CHUNKS>().0;
    for (r, y) in rows.zip(y) {
        let mut sum = s.splat_f32(0.0);
        segments(w, x.len() * CHUNKS * 32, r, CHUNKS * 32, |bytes, first, scales| {
            for (scale, x_scale) in scales.iter_mut().zip(&x_scales[first..]) {
                *scale *= x_scale;
            }
            for ((bytes, x), scale) in bytes.as_chunks::<CHUNKS>().0.iter().zip(&x[first..]).zip(scales) {
                let mut acc = [s.splat_u32(0); 2];
                for (bytes, x) in bytes.iter().zip(x) {
                    let (low, high) = s.nibbles(s.load(bytes), mask);
                    let [a, b] = table.get(s, high);
                    acc[0] = s.add_i32(acc[0], s.dot_i16(a, s.load(&x[0])));
                    acc[1] = s.add_i32(acc[1], s.dot_i16(b, s.load(&x[1])));
                    let [a, b] = table.get(s, low);
                    acc[0] = s.add_i32(acc[0], s.dot_i16(a, s.load(&x[2])));
                    acc[1] = s.add_i32(acc[1], s.dot_i16(b, s.load(&x[3])));
                }
                let total = s.from_i32(s.add_i32(acc[0], acc[1]));
                sum = s.madd_f32(total, s.splat_f32(*scale), sum);
            }
        });
        *y = s.sum_f32(sum) / level_scale;
    }
}

/// Fast product, units of 64. `biases[u]` is the sum of the codes of unit `u`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_u7<S: Simd>(
    s: S,
    w: &Params4bit,
    x: &[PairsI8],
    x_scales: &[f32],
    x_sums: &[f32],
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (level_scale, offset) = level_scale_u7(w.quant_state.quant_type);
    let table = s.hide(s.load(&levels_u7(w)));
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    let ones = s.hide(s.splat_u32(0x0001_0001));
    let x = x.as_chunks::<2>().0;
    for (r, y) in rows.zip(y) {
        let mut sum = s.splat_f32(0.0);
        let mut bias = s.splat_f32(0.0);
        segments(w, x.len() * 64, r, 64, |bytes, first, scales| {
            let units = scales.len();
            let (x, x_scales, x_sums) =
                (&x[first..][..units], &x_scales[first..][..units], &x_sums[first..][..units]);
            for (scale, x_scale) in scales.iter_mut().zip(x_scales) {
                *scale *= x_scale;
            }
            for (scale, x_sum) in scales.as_chunks::<4>().0.iter().zip(x_sums.as_chunks::<4>().0) {
                bias = s.madd_f32(s.load(scale), s.load(x_sum), bias);
            }
            for (scale, x_sum) in scales.as_chunks::<4>().1.iter().zip(x_sums.as_chunks::<4>().1) {
                let only = s.load(&[*scale * x_sum, 0.0, 0.0, 0.0]);
                bias = s.add_f32(bias, only);
            }
            for ((bytes, x), scale) in bytes.as_chunks::<2>().0.iter().zip(x).zip(scales) {
                let mut acc = [s.splat_u32(0); 2];
                for i in 0..2 {
                    let (low, high) = s.nibbles(s.load(&bytes[i]), mask);
                    let high = s.dot_i8_u7(s.load(&x[i][0]), s.swizzle(table, high));
                    let low = s.dot_i8_u7(s.load(&x[i][1]), s.swizzle(table, low));
                    acc[0] = s.add_i32(acc[0], s.dot_i16(high, ones));
                    acc[1] = s.add_i32(acc[1], s.dot_i16(low, ones));
                }
                let total = s.from_i32(s.add_i32(acc[0], acc[1]));
                sum = s.madd_f32(total, s.splat_f32(*scale), sum);
            }
        });
        *y = (s.sum_f32(sum) - offset * s.sum_f32(bias)) / level_scale;
    }
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
    let xs = x.map(|x| x.as_chunks::<16>().0);
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
