//! 4-bit codes from f32 and back, bit-equal with [`crate::quant::four_bit`].

use super::simd::{Simd, TableF32};
use super::units::{SEGMENT, unit_scales};
use crate::quant::four_bit::{MIN_DIVISOR, quantize_blocks};
use crate::quant::{Params4bit, QuantType};

/// How many thresholds each of sixteen values exceeds.
trait Intervals<S: Simd> {
    fn count(&self, s: S, v: [S::V; 4]) -> S::V;
}

/// Sixteen masks of 32 bits as bytes.
#[inline(always)]
fn narrow<S: Simd>(s: S, m: [S::V; 4]) -> S::V {
    s.narrow_i16(s.narrow_i32(m[0], m[1]), s.narrow_i32(m[2], m[3]))
}

/// Any ascending thresholds: fifteen comparisons.
struct Compare<S: Simd>([S::V; 15]);

impl<S: Simd> Intervals<S> for Compare<S> {
    #[inline(always)]
    fn count(&self, s: S, v: [S::V; 4]) -> S::V {
        let mut count = [s.splat_u32(0); 4];
        for t in self.0 {
            for i in 0..4 {
                count[i] = s.sub_i32(count[i], s.gt_f32(v[i], t));
            }
        }
        narrow(s, count)
    }
}

/// Thresholds more than 1/16 apart, so that a bin of that width holds at most one: the bin gives the
/// number of thresholds below it, a second lookup the one threshold to compare with, exactly.
struct Bins<S: Simd> {
    below: [S::V; 2],
    thresholds: TableF32<S>,
    sixteen: S::V,
    mask: S::V,
}

impl<S: Simd> Bins<S> {
    #[inline(always)]
    fn new(s: S, thresholds: &[f32; 15]) -> Self {
        let below = |bin: usize| {
            // A margin for the rounding of v * 16 + 16, which may put v into the bin above its own.
            let edge = bin as f32 / 16.0 - 1.0 - 1e-6;
            thresholds.iter().filter(|&&t| t < edge).count() as u8
        };
        let bins: [u8; 32] = std::array::from_fn(below);
        let [a, b] = [0, 1].map(|i| s.hide(s.load(&bins.as_chunks::<16>().0[i])));
        let mut table = [f32::INFINITY; 16];
        table[..15].copy_from_slice(thresholds);
        Bins {
            below: [a, b],
            thresholds: TableF32::new(s, &table),
            sixteen: s.hide(s.splat_f32(16.0)),
            mask: s.hide(s.splat_u32(0x0f0f_0f0f)),
        }
    }
}

impl<S: Simd> Intervals<S> for Bins<S> {
    #[inline(always)]
    fn count(&self, s: S, v: [S::V; 4]) -> S::V {
        let last = s.splat_f32(31.0);
        let bin = v.map(|v| {
            let bin = s.add_f32(s.mul_f32(v, self.sixteen), self.sixteen);
            s.to_i32(s.min_f32(bin, last))
        });
        let bin = narrow(s, bin);
        // Bits 4 of the bins, moved to fill their bytes, choose the table.
        let upper = s.shr_u16::<4>(s.and(bin, s.splat_u32(0x1010_1010)));
        let upper = s.sub_i8(s.splat_u32(0), upper);
        let index = s.and(bin, self.mask);
        let (a, b) = (s.swizzle(self.below[0], index), s.swizzle(self.below[1], index));
        let base = s.xor(a, s.and(s.xor(a, b), upper));
        let thresholds = self.thresholds.get(s, base);
        let above = [0, 1, 2, 3].map(|i| s.gt_f32(v[i], thresholds[i]));
        s.sub_i8(base, narrow(s, above))
    }
}

/// See [`crate::quant::four_bit::block_absmax`]: the bits of magnitudes order like the values, with NaN on top.
#[inline(always)]
fn absmax<S: Simd>(s: S, block: &[[f32; 16]]) -> f32 {
    let magnitude = s.splat_u32(0x7fff_ffff);
    let mut max = [s.splat_u32(0); 4];
    for x in block {
        for (x, max) in x.as_chunks::<4>().0.iter().zip(&mut max) {
            *max = s.max_i32(*max, s.and(s.load(x), magnitude));
        }
    }
    let max = s.max_i32(s.max_i32(max[0], max[1]), s.max_i32(max[2], max[3]));
    f32::from_bits(s.lanes_i32(max).into_iter().fold(0, i32::max) as u32)
}

/// Whole blocks of a multiple of 32 elements.
#[inline(always)]
fn quantize<S: Simd>(
    s: S,
    src: &[f32],
    quant_type: QuantType,
    blocksize: usize,
    codes: &mut [u8],
    scales: &mut [f32],
    intervals: impl Intervals<S>,
) {
    let interval_codes = s.hide(s.load(quant_type.interval_codes()));
    let low_bytes = s.hide(s.splat_u32(0x00ff_00ff));
    let blocks = src.chunks_exact(blocksize).zip(codes.chunks_exact_mut(blocksize / 2));
    for ((block, codes), scale) in blocks.zip(scales) {
        let chunks = block.as_chunks::<16>().0;
        *scale = absmax(s, chunks);
        if !scale.is_finite() {
            let scale = std::slice::from_mut(scale);
            quantize_blocks(block, quant_type, blocksize, codes, scale);
            continue;
        }
        let reciprocal = s.splat_f32(1.0 / scale.max(MIN_DIVISOR));
        // Sixteen codes with even elements in even bytes to eight bytes in the low halves.
        let pack = |chunk: &[f32; 16]| {
            let v = chunk.as_chunks::<4>().0;
            let v = [0, 1, 2, 3].map(|i| s.mul_f32(s.load(&v[i]), reciprocal));
            let code = s.swizzle(interval_codes, intervals.count(s, v));
            s.and(s.or(s.shl_u16::<4>(code), s.shr_u16::<8>(code)), low_bytes)
        };
        for (chunks, codes) in chunks.as_chunks::<2>().0.iter().zip(codes.as_chunks_mut::<16>().0) {
            s.store(codes, s.narrow_i16_u8(pack(&chunks[0]), pack(&chunks[1])));
        }
    }
}

/// See [`quantize_blocks`].
#[inline(always)]
pub fn quantize_4bit<S: Simd>(
    s: S,
    src: &[f32],
    quant_type: QuantType,
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    let blocks = if blocksize.is_multiple_of(32) { src.len() / blocksize } else { 0 };
    let (src, tail) = src.split_at(blocks * blocksize);
    let (codes, codes_tail) = codes.split_at_mut(src.len() / 2);
    let (absmax, absmax_tail) = absmax.split_at_mut(blocks);
    let thresholds = quant_type.thresholds();
    match quant_type {
        QuantType::Nf4 => {
            quantize(s, src, quant_type, blocksize, codes, absmax, Bins::new(s, thresholds));
        }
        QuantType::Fp4 => {
            let compare = Compare(thresholds.map(|t| s.hide(s.splat_f32(t))));
            quantize(s, src, quant_type, blocksize, codes, absmax, compare);
        }
    }
    quantize_blocks(tail, quant_type, blocksize, codes_tail, absmax_tail);
}

/// Elements `first..first + out.len()` of `w`, where `first` is a multiple of 32 or the range is
/// taken one by one.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn dequantize_range<S: Simd>(s: S, w: &Params4bit, first: usize, out: &mut [f32]) {
    let state = &w.quant_state;
    let scalar = |first: usize, out: &mut [f32]| {
        for (i, out) in (first..).zip(out) {
            *out = state.code[usize::from(w.code_at(i))] * state.absmax.get(i / state.blocksize);
        }
    };
    let head = (first.next_multiple_of(32) - first).min(out.len());
    let (head, out) = out.split_at_mut(head);
    scalar(first, head);
    let first = first + head.len();
    let (chunks, tail) = out.as_chunks_mut::<32>();
    scalar(first + chunks.len() * 32, tail);

    let table = TableF32::new(s, &state.code);
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    let bytes = w.packed[first.div_ceil(2).min(w.packed.len())..].as_chunks::<16>().0;
    let mut scales = [0.0; SEGMENT];
    for (i, (chunks, bytes)) in chunks.chunks_mut(SEGMENT).zip(bytes.chunks(SEGMENT)).enumerate() {
        let scales = unit_scales(w, 32, first / 32 + i * SEGMENT, &mut scales[..chunks.len()]);
        for ((chunk, bytes), scale) in chunks.iter_mut().zip(bytes).zip(scales) {
            let scale = s.splat_f32(*scale);
            let (low, high) = s.nibbles(s.load(bytes), mask);
            for (out, codes) in
                chunk.as_chunks_mut::<16>().0.iter_mut().zip([s.low_u8(high, low), s.high_u8(high, low)])
            {
                for (out, v) in out.as_chunks_mut::<4>().0.iter_mut().zip(table.get(s, codes)) {
                    s.store(out, s.mul_f32(v, scale));
                }
            }
        }
    }
}
