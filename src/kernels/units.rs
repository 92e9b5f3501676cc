//! Rows of a 4-bit matrix as streams of units, which lie in one block each, and the scales of those.

use std::ops::Range;

use super::simd::Simd;
use crate::quant::{Absmax, Params4bit};

/// Scales that are prepared at a time, on the stack: double quantization is never expanded.
pub const SEGMENT: usize = 256;

/// Scales of `buffer.len()` units of `unit` elements, the first of which is unit `first` of the tensor: where they
/// are stored as such, or computed into `buffer`.
#[inline(never)]
pub fn unit_scales<'a>(w: &'a Params4bit, unit: usize, first: usize, buffer: &'a mut [f32]) -> &'a [f32] {
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
            for (i, out) in buffer.iter_mut().enumerate() {
                *out = nested.get((first + i) >> shift);
            }
        }
    }
    buffer
}

/// Rows are taken from `R` stretches of a matrix, which overlap where they cannot have the same length: the length, and where
/// each starts. A stretch is read from its start to its end, as memory is fastest; neighbouring rows would be streams that
/// skip each other's part.
#[inline(always)]
fn stretches<const R: usize>(rows: usize) -> (usize, [usize; R]) {
    let stretch = rows.div_ceil(R);
    (stretch, std::array::from_fn(|r| (rows - stretch) * r / (R - 1).max(1)))
}

/// Calls `f(i, bytes, first unit, scales)` for `R` rows at a time, `rows.start + i[r]` of [`stretches`], each of which holds
/// `units` whole units: once, or, where rows are longer than [`SEGMENT`], for one segment of them after the other.
#[inline(always)]
pub fn each_rows<const R: usize, const CHUNKS: usize>(
    w: &Params4bit,
    units: usize,
    rows: Range<usize>,
    mut f: impl FnMut([usize; R], [&[[[u8; 16]; CHUNKS]]; R], usize, [&[f32]; R]),
) {
    if units == 0 || rows.is_empty() {
        return;
    }
    let unit = CHUNKS * 32;
    let mut buffers = [[0.0; SEGMENT]; R];
    // Short rows get their scales together.
    let (step, segment) = ((SEGMENT / units).max(1), units.min(SEGMENT));
    let (stretch, starts) = stretches::<R>(rows.len());
    for start in (0..stretch).step_by(step) {
        let n = step.min(stretch - start);
        for first in (0..units).step_by(segment) {
            let segment = segment.min(units - first);
            let (mut bytes, mut scales) = ([&[][..]; R], [&[][..]; R]);
            for (r, buffer) in buffers.iter_mut().enumerate() {
                let at = (rows.start + starts[r] + start) * units + first;
                scales[r] = unit_scales(w, unit, at, &mut buffer[..n * segment]);
                let packed = &w.packed[at * unit / 2..][..n * segment * unit / 2];
                bytes[r] = packed.as_chunks::<16>().0.as_chunks::<CHUNKS>().0;
            }
            for i in 0..n {
                let units = i * segment..(i + 1) * segment;
                f(
                    starts.map(|row| row + start + i),
                    bytes.map(|bytes| &bytes[units.clone()]),
                    first,
                    scales.map(|scales| &scales[units.clone()]),
                );
            }
        }
    }
}

/// [`each_rows`] for scales that are quantized themselves, one a unit, and are looked up where they are needed. A segment ends
/// where that of a second-level scale does.
#[inline(always)]
pub fn each_rows_nested<S: Simd, const R: usize, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    units: usize,
    rows: Range<usize>,
    mut f: impl FnMut([usize; R], [&[[[u8; 16]; CHUNKS]]; R], usize, [NestedScales<'_>; R]),
) {
    let Absmax::Nested(nested) = &w.quant_state.absmax else { return };
    if units == 0 || rows.is_empty() {
        return;
    }
    let packed = w.packed.as_chunks::<16>().0.as_chunks::<CHUNKS>().0;
    let (stretch, starts) = stretches::<R>(rows.len());
    let mut levels = [[0.0; 256]; R];
    let mut at = starts.map(|start| (rows.start + start) * units);
    // Units that the levels still hold for.
    let mut left = [0; R];
    for i in 0..stretch {
        let mut first = 0;
        while first < units {
            for r in 0..R {
                if left[r] == 0 {
                    let block = at[r] / nested.blocksize;
                    left[r] = (block + 1) * nested.blocksize - at[r];
                    nested_levels(s, &nested.code, nested.absmax[block], nested.offset, &mut levels[r]);
                }
            }
            let n = left.into_iter().fold(units - first, usize::min);
            let levels = levels.each_ref();
            f(
                starts.map(|start| start + i),
                at.map(|at| &packed[at..at + n]),
                first,
                std::array::from_fn(|r| NestedScales {
                    codes: &nested.codes[at[r]..at[r] + n],
                    levels: levels[r],
                }),
            );
            first += n;
            at = at.map(|at| at + n);
            left = left.map(|left| left - n);
        }
    }
}

/// What the codes of scales stand for where `absmax` is the second-level scale.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn nested_levels<S: Simd>(s: S, code: &[f32; 256], absmax: f32, offset: f32, levels: &mut [f32; 256]) {
    let (absmax, offset) = (s.splat_f32(absmax), s.splat_f32(offset));
    for (level, code) in levels.as_chunks_mut::<4>().0.iter_mut().zip(code.as_chunks::<4>().0) {
        s.store(level, s.add_f32(s.mul_f32(s.load(code), absmax), offset));
    }
}

/// Scales of units that lie side by side.
pub trait UnitScales: Copy {
    /// As many as there are.
    fn count(self) -> usize;
    /// The first `n`.
    fn prefix(self, n: usize) -> Self;
    /// That of unit `i`.
    fn scale(self, i: usize) -> f32;
}

impl UnitScales for &[f32] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn prefix(self, n: usize) -> Self {
        &self[..n]
    }

    #[inline(always)]
    fn scale(self, i: usize) -> f32 {
        self[i]
    }
}

/// Scales that are quantized themselves.
#[derive(Clone, Copy)]
pub struct NestedScales<'a> {
    codes: &'a [u8],
    levels: &'a [f32; 256],
}

impl UnitScales for NestedScales<'_> {
    #[inline(always)]
    fn count(self) -> usize {
        self.codes.len()
    }

    #[inline(always)]
    fn prefix(self, n: usize) -> Self {
        NestedScales { codes: &self.codes[..n], ..self }
    }

    #[inline(always)]
    fn scale(self, i: usize) -> f32 {
        self.levels[usize::from(self.codes[i])]
    }
}
