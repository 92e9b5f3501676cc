//! Attention over a kv cache, bit-equal with [`super::scalar`]: in f32, or over keys and values of 16 bits.
//!
//! The 16-bit kernel takes the positions in blocks of [`BLOCK`]: scores as integer products, the running maximum and
//! sum of an online softmax, then the block's weights as integers times the values. Nothing is kept per position, so
//! any number of queries can go through one pass over keys and values.

use std::ops::Range;

use super::elementwise::{axpy, dot, exp, softmax};
use super::rows::Columns;
use super::scalar::{self, CODE_LIMIT};
use super::simd::Simd;

/// Positions of a block of a 16-bit cache; as many products of two codes fit an i32.
pub const BLOCK: usize = 32;
/// Below this the weights of a block are quantized as if this were the greatest.
pub const MIN_WEIGHT: f32 = 1e-34;

/// Elements that a head of `head_dim` takes in a 16-bit cache, per position.
pub const fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// Where element `d` of the key at `position` lies: pairs of elements, position after position within a block.
pub const fn key_index(width: usize, position: usize, d: usize) -> usize {
    position / BLOCK * BLOCK * width + d / 2 * 2 * BLOCK + position % BLOCK * 2 + d % 2
}

/// Where element `d` of the value at `position` lies: pairs of positions, element after element within a block.
pub const fn value_index(width: usize, position: usize, d: usize) -> usize {
    position / BLOCK * BLOCK * width + position % BLOCK / 2 * 2 * width + d * 2 + position % 2
}

/// Keys and values of a layer, axes (kv head, position, head dimension).
#[derive(Debug, Clone, Copy)]
pub struct CachedLayer<'a> {
    /// The numbers.
    pub stored: Stored<'a>,
    /// Number of kv heads.
    pub kv_heads: usize,
    /// Elements of a key or a value.
    pub head_dim: usize,
    /// Positions there is room for.
    pub capacity: usize,
}

/// The two forms of a kv cache.
#[derive(Debug, Clone, Copy)]
pub enum Stored<'a> {
    /// As they were computed, row-major.
    Float32 {
        /// Rotated keys.
        keys: &'a [f32],
        /// Values.
        values: &'a [f32],
    },
    /// Codes of [`scalar::codes`] in blocks of [`BLOCK`] positions, laid out as [`key_index`] and [`value_index`] say,
    /// and a scale for each position.
    Int16 {
        /// Rotated keys.
        keys: &'a [[i16; 8]],
        /// Values.
        values: &'a [[i16; 8]],
        /// (kv heads, positions).
        key_scales: &'a [f32],
        /// (kv heads, positions).
        value_scales: &'a [f32],
    },
}

/// One kv head of a 16-bit cache.
#[derive(Debug, Clone, Copy)]
pub struct Head16<'a> {
    pub(super) keys: &'a [[i16; 8]],
    pub(super) values: &'a [[i16; 8]],
    pub(super) key_scales: &'a [f32],
    pub(super) value_scales: &'a [f32],
    pub(super) head_dim: usize,
}

impl<'a> CachedLayer<'a> {
    /// Positions in memory for the capacity.
    fn positions(&self) -> usize {
        match self.stored {
            Stored::Float32 { .. } => self.capacity,
            Stored::Int16 { .. } => self.capacity.next_multiple_of(BLOCK),
        }
    }

    /// Panics when a length does not fit the axes.
    pub(super) fn check(&self) {
        let positions = self.kv_heads * self.positions();
        match self.stored {
            Stored::Float32 { keys, values } => {
                assert_eq!(keys.len(), positions * self.head_dim, "keys");
                assert_eq!(values.len(), positions * self.head_dim, "values");
            }
            Stored::Int16 { keys, values, key_scales, value_scales } => {
                let width = padded(self.head_dim);
                assert_eq!(keys.len() * 8, positions * width, "keys");
                assert_eq!(values.len() * 8, positions * width, "values");
                assert_eq!((key_scales.len(), value_scales.len()), (positions, positions), "scales");
            }
        }
    }

    /// The head of a 16-bit cache.
    pub fn head16(&self, head: usize) -> Option<Head16<'a>> {
        let Stored::Int16 { keys, values, key_scales, value_scales } = self.stored else { return None };
        let positions = head * self.positions()..(head + 1) * self.positions();
        let vectors = padded(self.head_dim) / 8;
        let codes = positions.start * vectors..positions.end * vectors;
        Some(Head16 {
            keys: &keys[codes.clone()],
            values: &values[codes],
            key_scales: &key_scales[positions.clone()],
            value_scales: &value_scales[positions],
            head_dim: self.head_dim,
        })
    }
}

/// Queries as integers, (tokens, heads, head_dim).
#[derive(Debug, Default)]
pub struct Queries {
    /// Pairs of codes, zeros behind the last; `head_dim.div_ceil(32)` units a head.
    pub codes: Vec<[u32; 16]>,
    /// One a head.
    pub scales: Vec<f32>,
}

impl Queries {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        64 * self.codes.capacity() + 4 * self.scales.capacity()
    }

    pub(super) fn quantize(&mut self, q: &[f32], head_dim: usize) {
        let (heads, units) = (q.len() / head_dim, head_dim.div_ceil(32));
        self.codes.clear();
        self.codes.resize(heads * units, [0; 16]);
        self.scales.clear();
        let mut codes = vec![0; 32 * units];
        for (q, units) in q.chunks_exact(head_dim).zip(self.codes.chunks_exact_mut(units)) {
            self.scales.push(scalar::codes(q, &mut codes[..head_dim]));
            for (pair, codes) in units.as_flattened_mut().iter_mut().zip(codes.as_chunks::<2>().0) {
                *pair = u32::from(codes[0] as u16) | u32::from(codes[1] as u16) << 16;
            }
        }
    }
}

/// The columns `range` of the output, whole groups of heads, over a 16-bit cache. See [`scalar::attention_int16`].
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn int16<S: Simd>(
    s: S,
    q: &Queries,
    layer: &CachedLayer<'_>,
    first: usize,
    range: Range<usize>,
    mut out: Columns<'_>,
) {
    let (tokens, head_dim, width) = (out.tokens(), layer.head_dim, padded(layer.head_dim));
    let heads = q.scales.len() / tokens;
    let (group, units) = (heads / layer.kv_heads, head_dim.div_ceil(32));
    let rows = tokens * group;
    let mut pass = Pass { softmax: Vec::new(), sums: Vec::new(), width, group, first };
    for kv_head in range.start / (group * head_dim)..range.end / (group * head_dim) {
        let Some(head) = layer.head16(kv_head) else { return };
        pass.softmax.clear();
        pass.softmax.resize(rows, (f32::NEG_INFINITY, 0.0));
        pass.sums.clear();
        pass.sums.resize(rows * width, 0.0);
        let query = |row: usize| {
            let row = row / group * heads + kv_head * group + row % group;
            (&q.codes[row * units..][..units], q.scales[row])
        };
        for block in 0..(first + tokens).div_ceil(BLOCK) {
            // Queries before the block see nothing of it.
            let mut row = (block * BLOCK).saturating_sub(first) * group;
            while row < rows {
                row += match rows - row {
                    1 => pass.block(s, &head, block, row, [query(row)]),
                    3 => pass.block(s, &head, block, row, [query(row), query(row + 1), query(row + 2)]),
                    _ => pass.block(s, &head, block, row, [query(row), query(row + 1)]),
                };
            }
        }
        let columns = kv_head * group * head_dim - range.start;
        for (row, ((_, sum), sums)) in pass.softmax.iter().zip(pass.sums.chunks_exact(width)).enumerate() {
            let out = &mut out.of_token(row / group)[columns + row % group * head_dim..][..head_dim];
            let scale = 1.0 / sum;
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = sum * scale);
        }
    }
}

/// One pass of all queries of a kv head over its positions.
struct Pass {
    /// Maximum of the scores and sum of the exponentials so far, for each query.
    softmax: Vec<(f32, f32)>,
    /// Weighted values so far, (queries, width).
    sums: Vec<f32>,
    width: usize,
    /// Queries of a token.
    group: usize,
    /// Positions before the first token.
    first: usize,
}

impl Pass {
    /// Takes a block of positions into account for the queries from `row` on, pairs of codes with their scale. Returns
    /// how many they are.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn block<S: Simd, const R: usize>(
        &mut self,
        s: S,
        head: &Head16<'_>,
        block: usize,
        row: usize,
        queries: [(&[[u32; 16]], f32); R],
    ) -> usize {
        let vectors = BLOCK * self.width / 8;
        let keys = &head.keys[block * vectors..][..vectors];
        let values = &head.values[block * vectors..][..vectors];
        let positions = block * BLOCK..(block + 1) * BLOCK;
        let key_scales = head.key_scales[positions.clone()].as_chunks::<4>().0;
        let value_scales = head.value_scales[positions].as_chunks::<4>().0;
        let scale = 1.0 / (head.head_dim as f32).sqrt();

        let mut scores = [[[0.0; 4]; 8]; R];
        for half in [0, 4] {
            let mut totals = [[s.splat_f32(0.0); 4]; R];
            for (unit, keys) in keys.chunks(16 * 8).enumerate() {
                let acc = product(s, keys, 8, half, queries.map(|(codes, _)| &codes[unit]));
                for r in 0..R {
                    for i in 0..4 {
                        totals[r][i] = s.add_f32(totals[r][i], s.from_i32(acc[r][i]));
                    }
                }
            }
            for r in 0..R {
                let scale = s.splat_f32(queries[r].1 * scale);
                for i in 0..4 {
                    let scaled = s.mul_f32(s.mul_f32(totals[r][i], s.load(&key_scales[half + i])), scale);
                    s.store(&mut scores[r][half + i], scaled);
                }
            }
        }
        let mut codes = [[0; 16]; R];
        let mut scales = [(0.0, 0.0); R];
        for r in 0..R {
            let seen = self.first + (row + r) / self.group + 1 - block * BLOCK;
            let state = &mut self.softmax[row + r];
            scales[r] = weights(s, &mut scores[r], seen, state, value_scales, &mut codes[r]);
        }
        for i in (0..self.width / 4).step_by(4) {
            let acc = product(s, values, self.width / 4, i, codes.each_ref());
            for r in 0..R {
                let sums = &mut self.sums[(row + r) * self.width + 4 * i..][..16];
                let (before, now) = (s.splat_f32(scales[r].0), s.splat_f32(scales[r].1));
                for (sum, acc) in sums.as_chunks_mut::<4>().0.iter_mut().zip(acc[r]) {
                    let rescaled = s.mul_f32(s.load(sum), before);
                    s.store(sum, s.add_f32(rescaled, s.mul_f32(s.from_i32(acc), now)));
                }
            }
        }
        R
    }
}

/// `m` (pairs, lanes), 8 or 16 pairs, times vectors of pairs: of the lanes `4 * first..4 * first + 16`.
#[inline(always)]
fn product<S: Simd, const R: usize>(
    s: S,
    m: &[[i16; 8]],
    lanes: usize,
    first: usize,
    x: [&[u32; 16]; R],
) -> [[S::V; 4]; R] {
    let mut acc = [[s.splat_u32(0); 4]; R];
    for (j, m) in m.chunks_exact(lanes).enumerate() {
        let m = &m[first..][..4];
        let mut pairs = [s.splat_u32(0); R];
        for r in 0..R {
            pairs[r] = s.splat_u32(x[r][j % 16]);
        }
        for i in 0..4 {
            let v = s.load(&m[i]);
            for r in 0..R {
                acc[r][i] = s.add_i32(acc[r][i], s.dot_i16(v, pairs[r]));
            }
        }
    }
    acc
}

/// One step of the online softmax: from the scores of a block, of which the first `seen` count, to the codes of its
/// weights. Returns what the sums so far are multiplied with, and the scale of the codes.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn weights<S: Simd>(
    s: S,
    scores: &mut [[f32; 4]; 8],
    seen: usize,
    (max, sum): &mut (f32, f32),
    value_scales: &[[f32; 4]],
    codes: &mut [u32; 16],
) -> (f32, f32) {
    let mut scales = [[0.0; 4]; 8];
    scales.copy_from_slice(value_scales);
    if let Some(unseen) = scores.as_flattened_mut().get_mut(seen..) {
        unseen.fill(f32::NEG_INFINITY);
        scales.as_flattened_mut()[seen..].fill(0.0);
    }
    let greatest = |max: S::V, least: f32| {
        s.lanes_f32(max).into_iter().fold(least, |max, x| if x > max { x } else { max })
    };
    let now = scores.iter().fold(s.splat_f32(*max), |max, x| s.max_f32(s.load(x), max));
    let now = greatest(now, *max);
    let rescale = if now > *max { scalar::exp(*max - now) } else { 1.0 };
    *max = now;
    let now = s.splat_f32(now);
    for x in scores.iter_mut() {
        let e = exp(s, s.sub_f32(s.load(x), now));
        s.store(x, e);
    }
    if let Some(unseen) = scores.as_flattened_mut().get_mut(seen..) {
        unseen.fill(0.0);
    }
    let sums = [0, 1, 2, 3].map(|i: usize| s.add_f32(s.load(&scores[i]), s.load(&scores[i + 4])));
    *sum = *sum * rescale + s.reduce(&sums);
    let (mut max, mut finite) = (s.splat_f32(MIN_WEIGHT), s.splat_f32(0.0));
    for (x, scale) in scores.iter_mut().zip(&scales) {
        let weight = s.mul_f32(s.load(x), s.load(scale));
        s.store(x, weight);
        max = s.max_f32(weight, max);
        finite = s.add_f32(finite, s.mul_f32(weight, s.splat_f32(0.0)));
    }
    let max = greatest(max, MIN_WEIGHT);
    let inverse = s.splat_f32(CODE_LIMIT / max);
    let code = |x: &[f32; 4]| s.to_i32(s.round_f32(s.mul_f32(s.load(x), inverse)));
    for (codes, x) in codes.as_chunks_mut::<4>().0.iter_mut().zip(scores.as_chunks::<2>().0) {
        s.store(codes, s.narrow_i32(code(&x[0]), code(&x[1])));
    }
    let poison = s.sum_f32(finite);
    (rescale, max / CODE_LIMIT + poison)
}

/// One query position and one kv head in f32. See [`scalar::attention`].
#[inline(always)]
pub fn float32<S: Simd>(
    s: S,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    head_dim: usize,
    out: &mut [f32],
    scores: &mut [f32],
) {
    let positions = k.len() / head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    // Keys outermost: each is read once for all heads of the group.
    for (p, k) in k.chunks_exact(head_dim).enumerate() {
        for (h, q) in q.chunks_exact(head_dim).enumerate() {
            scores[h * positions + p] = dot(s, q, k) * scale;
        }
    }
    scores.chunks_exact_mut(positions).for_each(|scores| softmax(s, scores));
    out.fill(0.0);
    // A block of values stays in the first-level cache for all heads.
    let block = (VALUE_BLOCK / head_dim).max(1);
    for (b, v) in v.chunks(block * head_dim).enumerate() {
        let seen = b * block..b * block + v.len() / head_dim;
        for (out, scores) in out.chunks_exact_mut(head_dim).zip(scores.chunks_exact(positions)) {
            let scores = &scores[seen.clone()];
            let (wide, narrow) = (head_dim / 32 * 32, head_dim / 16 * 16);
            for j in (0..wide).step_by(32) {
                weigh::<S, 8>(s, scores, v, head_dim, j, out);
            }
            for j in (wide..narrow).step_by(16) {
                weigh::<S, 4>(s, scores, v, head_dim, j, out);
            }
            if narrow < head_dim {
                for (&p, v) in scores.iter().zip(v.chunks_exact(head_dim)) {
                    axpy(s, p, &v[narrow..], &mut out[narrow..]);
                }
            }
        }
    }
}

/// Elements of values that attention takes at a time, 16 KB.
const VALUE_BLOCK: usize = 4096;

/// Adds the weighted values to `4 * N` elements of `out` from `j` on.
#[inline(always)]
fn weigh<S: Simd, const N: usize>(
    s: S,
    scores: &[f32],
    v: &[f32],
    head_dim: usize,
    j: usize,
    out: &mut [f32],
) {
    let out = out[j..j + 4 * N].as_chunks_mut::<4>().0;
    let mut acc: [S::V; N] = std::array::from_fn(|i| s.load(&out[i]));
    for (&p, v) in scores.iter().zip(v.chunks_exact(head_dim)) {
        let (p, v) = (s.splat_f32(p), v[j..j + 4 * N].as_chunks::<4>().0);
        for i in 0..N {
            acc[i] = s.add_f32(acc[i], s.mul_f32(p, s.load(&v[i])));
        }
    }
    for (out, acc) in out.iter_mut().zip(acc) {
        s.store(out, acc);
    }
}
