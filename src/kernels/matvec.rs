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

/// Designs of integer products: 16-bit levels and activations;
pub const WIDE: u8 = 0;
/// 7-bit levels and 8-bit activations, whose products are added to neighbours in 16 bits and then in 32;
pub const PAIRS: u8 = 1;
/// the same in one step, which is one instruction where the processor has it and three where not.
pub const QUADS: u8 = 2;

/// Scales that are prepared at a time, on the stack: double quantization is never expanded.
pub const SEGMENT: usize = 256;

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

/// Scales of `buffer.len()` units of `unit` elements, the first of which is unit `first` of the tensor: where they
/// are stored as such, or computed into `buffer`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn unit_scales<'a, S: Simd>(
    s: S,
    w: &'a Params4bit,
    unit: usize,
    first: usize,
    buffer: &'a mut [f32],
) -> &'a [f32] {
    let shift = (w.quant_state.blocksize / unit).trailing_zeros();
    match &w.quant_state.absmax {
        Absmax::F32(absmax) if shift == 0 => return &absmax[first..first + buffer.len()],
        Absmax::F32(absmax) => {
            for (i, out) in buffer.iter_mut().enumerate() {
                *out = absmax[(first + i) >> shift];
            }
        }
        Absmax::Nested(nested) if shift == 0 => {
            // Runs of one second-level scale.
            let (mut first, mut out) = (first, &mut *buffer);
            let code = |code: u8| nested.code[usize::from(code)];
            while !out.is_empty() {
                let run = (nested.blocksize - first % nested.blocksize).min(out.len());
                let (now, later) = out.split_at_mut(run);
                let scale = nested.absmax[first / nested.blocksize];
                let (codes, codes_tail) = nested.codes[first..first + run].as_chunks::<4>();
                let (now, now_tail) = now.as_chunks_mut::<4>();
                for (out, codes) in now.iter_mut().zip(codes) {
                    let codes = s.load(&codes.map(code));
                    let product = s.mul_f32(codes, s.splat_f32(scale));
                    s.store(out, s.add_f32(product, s.splat_f32(nested.offset)));
                }
                for (out, &c) in now_tail.iter_mut().zip(codes_tail) {
                    *out = code(c) * scale + nested.offset;
                }
                (first, out) = (first + run, later);
            }
        }
        Absmax::Nested(nested) => {
            for (i, out) in buffer.iter_mut().enumerate() {
                *out = nested.get((first + i) >> shift);
            }
        }
    }
    buffer
}

/// Calls `f(i, bytes, first unit, scales)` for the rows `rows.start + i`, each of which holds `units` whole units: once for
/// a row, or, where it is longer than [`SEGMENT`], for one segment of it after the other.
#[inline(always)]
fn each_row<S: Simd, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    units: usize,
    rows: Range<usize>,
    mut f: impl FnMut(usize, &[[[u8; 16]; CHUNKS]], usize, &[f32]),
) {
    if units == 0 {
        return;
    }
    let unit = CHUNKS * 32;
    let mut buffer = [0.0; SEGMENT];
    // Short rows get their scales together.
    let (step, segment) = ((SEGMENT / units).max(1), units.min(SEGMENT));
    for start in rows.clone().step_by(step) {
        let n = step.min(rows.end - start);
        for first in (0..units).step_by(segment) {
            let segment = segment.min(units - first);
            let at = start * units + first;
            let scales = unit_scales(s, w, unit, at, &mut buffer[..n * segment]);
            let bytes = &w.packed[at * unit / 2..][..n * segment * unit / 2];
            let bytes = bytes.as_chunks::<16>().0.as_chunks::<CHUNKS>().0;
            let each = bytes.chunks_exact(segment).zip(scales.chunks_exact(segment));
            for (i, (bytes, scales)) in each.enumerate() {
                f(start - rows.start + i, bytes, first, scales);
            }
        }
    }
}

/// `sums` plus `w * scale * x`.
#[inline(always)]
fn add_products<S: Simd>(s: S, w: [S::V; 4], scale: S::V, x: [&[f32; 4]; 4], sums: [S::V; 4]) -> [S::V; 4] {
    let sum = |i: usize| s.add_f32(sums[i], s.mul_f32(s.mul_f32(w[i], scale), s.load(x[i])));
    [sum(0), sum(1), sum(2), sum(3)]
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
    let table = TableF32::new(s, &w.quant_state.code);
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    let x = x.as_chunks::<CHUNKS>().0;
    let mut sums = [s.splat_f32(0.0); 4];
    each_row::<S, CHUNKS>(s, w, x.len(), rows, |i, bytes, first, scales| {
        if first == 0 {
            sums = [s.splat_f32(0.0); 4];
        }
        for ((bytes, x), scale) in bytes.iter().zip(&x[first..]).zip(scales) {
            let scale = s.splat_f32(*scale);
            for (bytes, [a, b, c, d, e, f, g, h]) in bytes.iter().zip(x) {
                let (low, high) = s.nibbles(s.load(bytes), mask);
                sums = add_products(s, table.get(s, high), scale, [a, b, c, d], sums);
                sums = add_products(s, table.get(s, low), scale, [e, f, g, h], sums);
            }
        }
        y[i] = s.reduce(&sums);
    });
}

/// A way to multiply a chunk of 32 codes with as many quantized activations.
trait ChunkDot<S: Simd> {
    /// The activations of a chunk.
    type X;
    /// Whether levels are stored with an offset, whose product with the activations is subtracted.
    const BIASED: bool;

    /// Two vectors of sums, with the products of a chunk added; `low` and `high` are the nibbles of its bytes.
    fn add(&self, s: S, low: S::V, high: S::V, x: &Self::X, sums: [S::V; 2]) -> [S::V; 2];
}

/// 16-bit levels.
struct WideLevels<S: Simd>(TableI16<S>);

impl<S: Simd> ChunkDot<S> for WideLevels<S> {
    type X = PairsI16;
    const BIASED: bool = false;

    #[inline(always)]
    fn add(&self, s: S, low: S::V, high: S::V, x: &PairsI16, [a, b]: [S::V; 2]) -> [S::V; 2] {
        let [w0, w1] = self.0.get(s, high);
        let a = s.add_i32(a, s.dot_i16(w0, s.load(&x[0])));
        let b = s.add_i32(b, s.dot_i16(w1, s.load(&x[1])));
        let [w0, w1] = self.0.get(s, low);
        [s.add_i32(a, s.dot_i16(w0, s.load(&x[2]))), s.add_i32(b, s.dot_i16(w1, s.load(&x[3])))]
    }
}

/// 7-bit levels.
struct NarrowLevels<S: Simd, const DESIGN: u8> {
    table: S::V,
    ones: S::V,
}

impl<S: Simd, const DESIGN: u8> ChunkDot<S> for NarrowLevels<S, DESIGN> {
    type X = PairsI8;
    const BIASED: bool = true;

    #[inline(always)]
    fn add(&self, s: S, low: S::V, high: S::V, x: &PairsI8, [a, b]: [S::V; 2]) -> [S::V; 2] {
        let add = |x: &[i8; 16], codes, sum| {
            let (x, w) = (s.load(x), s.swizzle(self.table, codes));
            match DESIGN {
                PAIRS => s.add_i32(sum, s.dot_i16(s.dot_i8_u7(x, w), self.ones)),
                _ => s.dot_add_i8_u7(x, w, sum),
            }
        };
        [add(&x[0], high, a), add(&x[1], low, b)]
    }
}

/// A quantized token: activations in units of `CHUNKS * 32`, a scale for each, and what the offset of the levels adds
/// to its sum.
struct Token<'a, X> {
    codes: &'a [X],
    scales: &'a [f32],
    biases: &'a [f32],
}

/// Product in integers with units of `CHUNKS * 32`, none of which may straddle blocks.
#[inline(always)]
fn integers<S: Simd, D: ChunkDot<S>, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    dot: D,
    level_scale: f32,
    x: Token<'_, D::X>,
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (zero, mask) = (s.splat_u32(0), s.hide(s.splat_u32(0x0f0f_0f0f)));
    let unit = |bytes: &[[u8; 16]; CHUNKS], x: &[D::X; CHUNKS]| {
        let mut sums = [zero; 2];
        for (bytes, x) in bytes.iter().zip(x) {
            let (low, high) = s.nibbles(s.load(bytes), mask);
            sums = dot.add(s, low, high, x, sums);
        }
        s.add_i32(sums[0], sums[1])
    };
    // The sums of four units fill the lanes of one vector.
    let scaled = |sums: [S::V; 4], scales: &[f32; 4], x_scales: &[f32; 4], biases: &[f32; 4], total: S::V| {
        let mut sums = s.from_i32(s.sums_i32(sums));
        if D::BIASED {
            sums = s.sub_f32(sums, s.load(biases));
        }
        s.madd_f32(sums, s.mul_f32(s.load(scales), s.load(x_scales)), total)
    };
    let codes = x.codes.as_chunks::<CHUNKS>().0;
    let mut total = s.splat_f32(0.0);
    each_row::<S, CHUNKS>(s, w, codes.len(), rows, |i, bytes, first, scales| {
        if first == 0 {
            total = s.splat_f32(0.0);
        }
        let n = scales.len();
        let (codes, x_scales) = (&codes[first..][..n], &x.scales[first..][..n]);
        let biases = if D::BIASED { &x.biases[first..][..n] } else { x_scales };
        let ((bytes, bytes_tail), (codes, codes_tail)) = (bytes.as_chunks::<4>(), codes.as_chunks::<4>());
        let (scales, scales_tail) = scales.as_chunks::<4>();
        let (x_scales, x_scales_tail) = x_scales.as_chunks::<4>();
        let (biases, biases_tail) = biases.as_chunks::<4>();
        for i in 0..bytes.len() {
            let ([b0, b1, b2, b3], [x0, x1, x2, x3]) = (&bytes[i], &codes[i]);
            let sums = [unit(b0, x0), unit(b1, x1), unit(b2, x2), unit(b3, x3)];
            total = scaled(sums, &scales[i], &x_scales[i], &biases[i], total);
        }
        let mut rest = bytes_tail.len();
        if rest >= 2 {
            let sums =
                [unit(&bytes_tail[0], &codes_tail[0]), unit(&bytes_tail[1], &codes_tail[1]), zero, zero];
            let two = |values: &[f32]| [values[0], values[1], 0.0, 0.0];
            let (scales, x_scales, biases) = (two(scales_tail), two(x_scales_tail), two(biases_tail));
            total = scaled(sums, &scales, &x_scales, &biases, total);
            rest -= 2;
        }
        if rest == 1 {
            let last = bytes_tail.len() - 1;
            let sums = [unit(&bytes_tail[last], &codes_tail[last]), zero, zero, zero];
            let one = |values: &[f32]| [values[last], 0.0, 0.0, 0.0];
            let (scales, x_scales, biases) = (one(scales_tail), one(x_scales_tail), one(biases_tail));
            total = scaled(sums, &scales, &x_scales, &biases, total);
        }
        y[i] = s.sum_f32(total) / level_scale;
    });
}

/// Near-exact product, see [`integers`].
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
    let dot = WideLevels(TableI16::new(s, &w.quant_state.code, level_scale));
    let x = Token { codes: x, scales: x_scales, biases: &[] };
    integers::<S, _, CHUNKS>(s, w, dot, level_scale, x, rows, y);
}

/// Fast product in units of 64, see [`integers`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn four_bit_u7<S: Simd, const DESIGN: u8>(
    s: S,
    w: &Params4bit,
    x: &[PairsI8],
    x_scales: &[f32],
    biases: &[f32],
    rows: Range<usize>,
    y: &mut [f32],
) {
    let (level_scale, _) = level_scale_u7(w.quant_state.quant_type);
    let (table, ones) = (s.hide(s.load(&levels_u7(w))), s.hide(s.splat_u32(0x0001_0001)));
    let dot = NarrowLevels::<S, DESIGN> { table, ones };
    let x = Token { codes: x, scales: x_scales, biases };
    integers::<S, _, 2>(s, w, dot, level_scale, x, rows, y);
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
