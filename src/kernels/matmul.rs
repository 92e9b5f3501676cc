//! Many tokens times a matrix, and the general path for shapes that [`super::matvec`] leaves out.
//!
//! * Exact: rows are decoded to f32 two at a time and multiplied with four tokens at once. The sixteen
//!   partial sums of the specification are four independent vectors, so one is computed after the
//!   other and eight accumulators suffice.
//! * Integer: panels of eight rows. Packed bytes are transposed (a byte is a pair of columns), decoded
//!   so that a 32-bit lane holds neighbouring columns of one row, and multiplied with four tokens at
//!   once; six would not fit the sixteen registers of x86-64.

use std::ops::Range;

use super::activations::{PairsF32, pairs_f32, pairs_i16};
use super::codec::dequantize_range;
use super::matvec::{PAIRS, WIDE, level_scale_u7, levels_u7};
use super::rows::Columns;
use super::scalar::round_to;
use super::simd::{Simd, TableI16};
use super::units::unit_scales;
use crate::quant::{ComputeDtype, Floats, Params4bit, QuantType};

/// Tokens multiplied at once.
pub const TOKENS: usize = 4;
/// Rows of a panel.
pub const ROWS: usize = 8;
/// Columns of a panel that are decoded at a time: 16 KB of i16, half of a first-level cache.
const DEPTH: usize = 1024;

/// A matrix whose rows can be decoded to f32.
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    /// 4-bit codes, the values rounded to a dtype.
    FourBit(&'a Params4bit, ComputeDtype),
    /// Stored floats.
    Floats(&'a Floats),
}

impl Matrix<'_> {
    #[inline(always)]
    fn decode<S: Simd>(&self, s: S, first: usize, out: &mut [f32]) {
        match *self {
            Matrix::FourBit(w, dtype) => {
                dequantize_range(s, w, first, out);
                if dtype != ComputeDtype::Float32 {
                    out.iter_mut().for_each(|x| *x = round_to(dtype, *x));
                }
            }
            Matrix::Floats(w) => w.decode_into(first..first + out.len(), out),
        }
    }
}

/// Chunks that a tile goes through at a time: two rows and four tokens of them fill 12 KB of the first-level
/// cache, where the last three of the four passes find them.
const TILE_CHUNKS: usize = 16;

/// Sums of `R` rows and `T` tokens.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn tile<S: Simd, const R: usize, const T: usize>(
    s: S,
    w: [&[PairsF32]; R],
    x: [&[PairsF32]; T],
) -> [[f32; T]; R] {
    let zero = s.splat_f32(0.0);
    let mut sums = [[[zero; T]; R]; 4];
    let chunks = w[0].len();
    for start in (0..chunks).step_by(TILE_CHUNKS) {
        let block = start..chunks.min(start + TILE_CHUNKS);
        let n = block.len();
        // The second slicing tells the compiler the length.
        let (w, x) = (w.map(|w| &w[block.clone()][..n]), x.map(|x| &x[block.clone()][..n]));
        for (v, sums) in sums.iter_mut().enumerate() {
            let mut acc = *sums;
            for c in 0..n {
                for i in [v, v + 4] {
                    let w = w.map(|w| s.load(&w[c][i]));
                    for t in 0..T {
                        let x = s.load(&x[t][c][i]);
                        for r in 0..R {
                            acc[r][t] = s.add_f32(acc[r][t], s.mul_f32(w[r], x));
                        }
                    }
                }
            }
            *sums = acc;
        }
    }
    std::array::from_fn(|r| std::array::from_fn(|t| s.reduce(&[0, 1, 2, 3].map(|v: usize| sums[v][r][t]))))
}

/// Exact product of the tokens `x`, each padded to the same number of whole chunks, with rows of any
/// form.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn exact<S: Simd>(
    s: S,
    matrix: Matrix<'_>,
    cols: usize,
    x: &[PairsF32],
    rows: Range<usize>,
    out: &mut Columns<'_>,
) {
    let (chunks, tokens) = (cols.div_ceil(32), out.tokens());
    let x = |t: usize| &x[t * chunks..(t + 1) * chunks];
    let (first, n) = (rows.start, rows.len());
    let mut row = vec![0.0; cols];
    let mut decoded: Vec<PairsF32> = Vec::with_capacity(2 * chunks);
    for r in (0..n).step_by(2) {
        decoded.clear();
        // An odd last row is multiplied twice.
        let pair = [r, (r + 1).min(n - 1)];
        for r in pair {
            matrix.decode(s, (first + r) * cols, &mut row);
            pairs_f32(s, &row, &mut decoded);
        }
        let (a, b) = decoded.split_at(chunks);
        let mut t = 0;
        while t + TOKENS <= tokens {
            let sums = tile(s, [a, b], [x(t), x(t + 1), x(t + 2), x(t + 3)]);
            for (r, sums) in pair.into_iter().zip(sums) {
                for (i, sum) in sums.into_iter().enumerate() {
                    out.of_token(t + i)[r] = sum;
                }
            }
            t += TOKENS;
        }
        for t in t..tokens {
            for (r, [sum]) in pair.into_iter().zip(tile(s, [a, b], [x(t)])) {
                out.of_token(t)[r] = sum;
            }
        }
    }
}

/// Scale of the fixed-point levels where 64 products share a lane: `64 * scale * 8191 < 2^31`.
fn level_scale(quant_type: QuantType) -> f32 {
    match quant_type {
        QuantType::Nf4 => 3734.78,
        QuantType::Fp4 => 3648.0,
    }
}

/// Quantized tokens in groups of four. With `FAST` a word holds four 8-bit codes, else two of 16 bits.
#[derive(Debug, Default)]
pub struct Groups {
    words: Vec<[u32; TOKENS]>,
    /// Scale and sum of codes of every unit.
    units: Vec<([f32; TOKENS], [f32; TOKENS])>,
}

impl Groups {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + size_of_val(self.units.as_slice())
    }
}

/// Quantizes the tokens of `x` (tokens, cols) in units of `unit` columns.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn group<S: Simd>(s: S, x: &[f32], cols: usize, unit: usize, fast: bool, groups: &mut Groups) {
    let limit = if fast { 127.0 } else { 8191.0 };
    let Groups { words, units } = groups;
    words.clear();
    units.clear();
    let (row_words, row_units) = (if fast { cols / 4 } else { cols / 2 }, cols.div_ceil(unit));
    let (mut codes, mut scales) = (Vec::with_capacity(cols / 32), Vec::with_capacity(row_units));
    for tokens in x.chunks(TOKENS * cols) {
        let (first_word, first_unit) = (words.len(), units.len());
        words.resize(first_word + row_words, [0; TOKENS]);
        units.resize(first_unit + row_units, Default::default());
        for (t, x) in tokens.chunks_exact(cols).enumerate() {
            codes.clear();
            scales.clear();
            pairs_i16(s, x, unit, limit, &mut codes, &mut scales);
            let pairs = codes.iter().flat_map(|[a, b, c, d]| {
                a.iter().chain(b).zip(c.iter().chain(d)).map(|(&even, &odd)| (even, odd))
            });
            let words = &mut words[first_word..];
            if fast {
                for (i, (even, odd)) in pairs.enumerate() {
                    let pair = u32::from(even as u8) | u32::from(odd as u8) << 8;
                    words[i / 2][t] |= pair << (16 * (i % 2));
                }
            } else {
                for (i, (even, odd)) in pairs.enumerate() {
                    words[i][t] = u32::from(even as u16) | u32::from(odd as u16) << 16;
                }
            }
            let sums = codes.chunks(unit / 32);
            for ((u, scale), codes) in units[first_unit..].iter_mut().zip(&scales).zip(sums) {
                u.0[t] = *scale;
                u.1[t] = codes.iter().flatten().flatten().map(|&c| i32::from(c)).sum::<i32>() as f32;
            }
        }
    }
}

/// Sixteen bytes of eight rows, transposed: vector `i` holds the lanes `2i` and `2i + 1` of bytes, or
/// lane `i` of u16, of all rows.
#[inline(always)]
fn transpose<S: Simd, const WIDE: bool>(s: S, mut v: [S::V; 8]) -> [S::V; 8] {
    for _ in 0..3 {
        let mut next = v;
        for i in 0..4 {
            let (a, b) = (v[i], v[i + 4]);
            (next[2 * i], next[2 * i + 1]) =
                if WIDE { (s.low_u16(a, b), s.high_u16(a, b)) } else { (s.low_u8(a, b), s.high_u8(a, b)) };
        }
        v = next;
    }
    v
}

/// Integer product with units of `CHUNKS * 32` columns, none of which straddles blocks: near-exact in the design
/// [`WIDE`], else fast.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn panels<S: Simd, const DESIGN: u8, const CHUNKS: usize>(
    s: S,
    w: &Params4bit,
    x: &Groups,
    rows: Range<usize>,
    out: &mut Columns<'_>,
) {
    let narrow = DESIGN != WIDE;
    let (cols, tokens) = (w.cols(), out.tokens());
    let unit = 32 * CHUNKS;
    let units = cols / unit;
    let quant_type = w.quant_state.quant_type;
    let (scale, offset) = if narrow { level_scale_u7(quant_type) } else { (level_scale(quant_type), 0.0) };
    let levels = s.hide(s.load(&levels_u7(w)));
    let wide = TableI16::new(s, &w.quant_state.code, scale);
    let mask = s.hide(s.splat_u32(0x0f0f_0f0f));
    let ones = s.hide(s.splat_u32(0x0001_0001));
    let (first, n) = (rows.start, rows.len());
    let unit_words = if narrow { unit / 4 } else { unit / 2 };
    let depth = DEPTH / unit;
    // Per word of a unit, rows 0 to 3 and rows 4 to 7.
    let mut panel: Vec<[[u8; 16]; 2]> = Vec::with_capacity(depth * unit_words);
    let mut scales: Vec<[f32; ROWS]> = vec![[0.0; ROWS]; depth];
    let mut row_scales = vec![0.0; depth];
    let mut tiles = vec![[[[0.0f32; 4]; 2]; TOKENS]; tokens.div_ceil(TOKENS)];
    for r0 in (0..n).step_by(ROWS) {
        tiles.fill(Default::default());
        // Rows beyond the end repeat the last one.
        let row = |i: usize| first + (r0 + i).min(n - 1);
        for u0 in (0..units).step_by(depth) {
            let depth = depth.min(units - u0);
            panel.clear();
            let bytes: [&[[u8; 16]]; ROWS] = std::array::from_fn(|i| {
                let start = (row(i) * cols + u0 * unit) / 2;
                w.packed[start..][..depth * unit / 2].as_chunks::<16>().0
            });
            for c in 0..depth * CHUNKS {
                let v: [S::V; 8] = std::array::from_fn(|i| s.load(&bytes[i][c]));
                if narrow {
                    for v in transpose::<S, true>(s, v) {
                        let (low, high) = s.nibbles(v, mask);
                        let (odd, even) = (s.swizzle(levels, low), s.swizzle(levels, high));
                        let mut word = [[0; 16]; 2];
                        s.store(&mut word[0], s.low_u8(even, odd));
                        s.store(&mut word[1], s.high_u8(even, odd));
                        panel.push(word);
                    }
                } else {
                    for v in transpose::<S, false>(s, v) {
                        let (low, high) = s.nibbles(v, mask);
                        let (odd, even) = (wide.get(s, low), wide.get(s, high));
                        for i in 0..2 {
                            let mut word = [[0; 16]; 2];
                            s.store(&mut word[0], s.low_u16(even[i], odd[i]));
                            s.store(&mut word[1], s.high_u16(even[i], odd[i]));
                            panel.push(word);
                        }
                    }
                }
            }
            for i in 0..ROWS {
                let row_scales = unit_scales(w, unit, row(i) * units + u0, &mut row_scales[..depth]);
                for (scales, &scale) in scales.iter_mut().zip(row_scales) {
                    scales[i] = scale;
                }
            }
            for (g, tile) in tiles.iter_mut().enumerate() {
                let words = &x.words[(g * units + u0) * unit_words..][..depth * unit_words];
                let x_units = &x.units[g * units + u0..][..depth];
                let unit_data = words.chunks_exact(unit_words).zip(panel.chunks_exact(unit_words));
                for (((words, panel), (x_scale, x_sum)), scales) in unit_data.zip(x_units).zip(&scales) {
                    let mut acc = [[s.splat_u32(0); 2]; TOKENS];
                    for (x, w) in words.iter().zip(panel) {
                        let w = [s.load(&w[0]), s.load(&w[1])];
                        for t in 0..TOKENS {
                            let x = s.splat_u32(x[t]);
                            for i in 0..2 {
                                acc[t][i] = match DESIGN {
                                    WIDE => s.add_i32(acc[t][i], s.dot_i16(w[i], x)),
                                    PAIRS => s.add_i32(acc[t][i], s.dot_i16(s.dot_i8_u7(x, w[i]), ones)),
                                    _ => s.dot_add_i8_u7(x, w[i], acc[t][i]),
                                };
                            }
                        }
                    }
                    let scales = scales.as_chunks::<4>().0;
                    for t in 0..TOKENS {
                        let (x_scale, bias) = (s.splat_f32(x_scale[t]), s.splat_f32(offset * x_sum[t]));
                        for i in 0..2 {
                            let mut total = s.from_i32(acc[t][i]);
                            if narrow {
                                total = s.sub_f32(total, bias);
                            }
                            let scale = s.mul_f32(s.load(&scales[i]), x_scale);
                            let sum = s.madd_f32(total, scale, s.load(&tile[t][i]));
                            s.store(&mut tile[t][i], sum);
                        }
                    }
                }
            }
        }
        let width = ROWS.min(n - r0);
        for (t, sums) in tiles.iter().flatten().take(tokens).enumerate() {
            for (y, sum) in out.of_token(t)[r0..][..width].iter_mut().zip(sums.as_flattened()) {
                *y = sum / scale;
            }
        }
    }
}
