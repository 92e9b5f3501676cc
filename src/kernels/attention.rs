//! Attention over a kv cache, bit-equal with [`super::scalar`]: in f32, or over keys and values of 16 bits.
//!
//! The 16-bit kernel takes the positions in blocks of [`BLOCK`]: scores as integer products, the running maximum and
//! sum of an online softmax, then the block's weights as integers times the values. Nothing is kept per position, so
//! any number of queries can go through one pass over keys and values.

use std::ops::Range;

use super::elementwise::{axpy, dot, exp, exp_constants, softmax};
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

/// Where element `d` of the key at `position` lies: pairs of elements of 8 positions, 16 numbers, one after the other,
/// then those of the next 8 positions of the block.
pub const fn key_index(width: usize, position: usize, d: usize) -> usize {
    let (block, eight) = (position / BLOCK, position % BLOCK / 8);
    (block * BLOCK + eight * 8) * width + d / 2 * 16 + position % 8 * 2 + d % 2
}

/// Where element `d` of the value at `position` lies: pairs of positions of 8 elements, 16 numbers, one after the other,
/// then those of the next 8 elements.
pub const fn value_index(width: usize, position: usize, d: usize) -> usize {
    position / BLOCK * BLOCK * width
        + d / 8 * 8 * BLOCK
        + position % BLOCK / 2 * 16
        + d % 8 * 2
        + position % 2
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

    /// Room for `heads` of them, all zero.
    pub(super) fn clear(&mut self, heads: usize, head_dim: usize) {
        self.codes.clear();
        self.codes.resize(heads * head_dim.div_ceil(32), [0; 16]);
        self.scales.clear();
    }
}

/// See [`scalar::codes`]: hands out the codes of `x` eight at a time, padded with zeros, and returns their scale.
#[inline(always)]
fn codes<S: Simd>(s: S, x: &[f32], mut put: impl FnMut(usize, S::V)) -> f32 {
    let eight = |i: usize| {
        let x = &x[8 * i..];
        let mut block = [0.0; 8];
        match x.first_chunk::<8>() {
            Some(x) => block = *x,
            None => block[..x.len()].copy_from_slice(x),
        }
        let halves = block.as_chunks::<4>().0;
        [s.load(&halves[0]), s.load(&halves[1])]
    };
    let (zero, magnitude) = (s.splat_f32(0.0), s.splat_u32(0x7fff_ffff));
    let (mut max, mut poison) = (zero, zero);
    for i in 0..x.len().div_ceil(8) {
        for x in eight(i) {
            max = s.max_f32(s.and(x, magnitude), max);
            poison = s.add_f32(poison, s.mul_f32(x, zero));
        }
    }
    let max = s.lanes_f32(max).into_iter().fold(0.0, |max: f32, x| if max < x { x } else { max });
    let (scale, inverse) = scalar::code_scale(max, s.sum_f32(poison));
    let inverse = s.splat_f32(inverse);
    for i in 0..x.len().div_ceil(8) {
        let [a, b] = eight(i).map(|x| s.to_i32(s.round_f32(s.mul_f32(x, inverse))));
        let codes = s.narrow_i32(a, b);
        put(i, if scale.is_nan() { zero } else { codes });
    }
    scale
}

/// Quantizes queries, (tokens, heads, head_dim).
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn queries<S: Simd>(s: S, q: &[f32], head_dim: usize, queries: &mut Queries) {
    let units = queries.codes.chunks_exact_mut(head_dim.div_ceil(32));
    for (q, units) in q.chunks_exact(head_dim).zip(units) {
        let pairs = units.as_flattened_mut().as_chunks_mut::<4>().0;
        queries.scales.push(codes(s, q, |i, v| s.store(&mut pairs[i], v)));
    }
}

/// Puts a key and a value at `position` of a head of a 16-bit cache, and their scales into `scales`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn store_int16<S: Simd>(
    s: S,
    [key, value]: [&[f32]; 2],
    [keys, values]: [&mut [[i16; 8]]; 2],
    position: usize,
    scales: &mut [f32; 2],
) {
    let width = padded(key.len());
    let first = key_index(width, position, 0) / 8;
    scales[0] = codes(s, key, |i, v| {
        let mut codes = [0; 8];
        s.store(&mut codes, v);
        for (j, pair) in codes.as_chunks::<2>().0.iter().enumerate() {
            let at = position % 4 * 2;
            keys[first + (4 * i + j) * 2][at..at + 2].copy_from_slice(pair);
        }
    });
    let first = value_index(width, position, 0) / 8;
    let odd = position % 2 == 1;
    let kept = s.splat_u32(if odd { 0xffff } else { 0xffff_0000 });
    let zero = s.splat_u32(0);
    scales[1] = codes(s, value, |i, v| {
        let halves = if odd {
            [s.low_u16(zero, v), s.high_u16(zero, v)]
        } else {
            [s.low_u16(v, zero), s.high_u16(v, zero)]
        };
        for (pairs, half) in values[first + i * BLOCK..][..2].iter_mut().zip(halves) {
            let pair = s.or(s.and(s.load(pairs), kept), half);
            s.store(pairs, pair);
        }
    });
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
                    1 => pass.block::<S, 1, 2>(s, &head, block, row, [query(row)]),
                    3 => pass.block::<S, 3, 1>(s, &head, block, row, [0, 1, 2].map(|r| query(row + r))),
                    _ => pass.block::<S, 2, 2>(s, &head, block, row, [query(row), query(row + 1)]),
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
    /// how many they are. The sums of `G` times two vectors of each query fit the registers.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn block<S: Simd, const R: usize, const G: usize>(
        &mut self,
        s: S,
        head: &Head16<'_>,
        block: usize,
        row: usize,
        queries: [(&[[u32; 16]], f32); R],
    ) -> usize {
        let vectors = BLOCK * self.width / 8;
        let keys = head.keys[block * vectors..][..vectors].as_chunks::<2>().0;
        let values = head.values[block * vectors..][..vectors].as_chunks::<2>().0;
        let positions = block * BLOCK..(block + 1) * BLOCK;
        let key_scales = head.key_scales[positions.clone()].as_chunks::<8>().0;
        let value_scales = head.value_scales[positions].as_chunks::<4>().0;
        let scale = 1.0 / (head.head_dim as f32).sqrt();

        let mut scores = [[[0.0; 4]; 8]; R];
        for first in (0..4).step_by(G) {
            let mut totals = [[[s.splat_f32(0.0); 2]; G]; R];
            for unit in 0..head.head_dim.div_ceil(32) {
                let acc = product::<S, R, G>(
                    s,
                    keys,
                    self.width / 2,
                    first,
                    16 * unit,
                    queries.map(|(codes, _)| &codes[unit]),
                );
                for r in 0..R {
                    for g in 0..G {
                        for i in 0..2 {
                            totals[r][g][i] = s.add_f32(totals[r][g][i], s.from_i32(acc[r][g][i]));
                        }
                    }
                }
            }
            for r in 0..R {
                let scale = s.splat_f32(queries[r].1 * scale);
                for g in 0..G {
                    let key_scales = key_scales[first + g].as_chunks::<4>().0;
                    for i in 0..2 {
                        let scaled = s.mul_f32(s.mul_f32(totals[r][g][i], s.load(&key_scales[i])), scale);
                        s.store(&mut scores[r][2 * (first + g) + i], scaled);
                    }
                }
            }
        }
        let mut codes = [[0; 16]; R];
        let seen = |r: usize| self.first + (row + r) / self.group + 1 - block * BLOCK;
        let seen: [usize; R] = std::array::from_fn(seen);
        let scales = weights(s, &mut scores, seen, &mut self.softmax[row..], value_scales, &mut codes);
        for first in (0..self.width / 8).step_by(G) {
            let acc = product::<S, R, G>(s, values, BLOCK / 2, first, 0, codes.each_ref());
            for r in 0..R {
                let sums = &mut self.sums[(row + r) * self.width + 8 * first..][..8 * G];
                let (before, now) = (s.splat_f32(scales[r].0), s.splat_f32(scales[r].1));
                for (sum, acc) in sums.as_chunks_mut::<4>().0.iter_mut().zip(acc[r].as_flattened()) {
                    let rescaled = s.mul_f32(s.load(sum), before);
                    s.store(sum, s.add_f32(rescaled, s.mul_f32(s.from_i32(*acc), now)));
                }
            }
        }
        R
    }
}

/// `m` (groups, pairs, two vectors) times vectors of at most 16 pairs: sums over the pairs from `pair` on, for `G` groups
/// from `first` on.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn product<S: Simd, const R: usize, const G: usize>(
    s: S,
    m: &[[[i16; 8]; 2]],
    pairs: usize,
    first: usize,
    pair: usize,
    x: [&[u32; 16]; R],
) -> [[[S::V; 2]; G]; R] {
    let n = (pairs - pair).min(16);
    let m: [&[[[i16; 8]; 2]]; G] = std::array::from_fn(|g| &m[(first + g) * pairs + pair..][..n]);
    let mut acc = [[[s.splat_u32(0); 2]; G]; R];
    for j in 0..n {
        let mut pairs = [s.splat_u32(0); R];
        for r in 0..R {
            pairs[r] = s.splat_u32(x[r][j]);
        }
        for g in 0..G {
            for i in 0..2 {
                let v = s.load(&m[g][j][i]);
                for r in 0..R {
                    acc[r][g][i] = s.add_i32(acc[r][g][i], s.dot_i16(v, pairs[r]));
                }
            }
        }
    }
    acc
}

/// One step of the online softmax of `R` queries: from the scores of a block, of which the first `seen` count, to the
/// codes of its weights. Returns what the sums so far are multiplied with, and the scale of the codes.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn weights<S: Simd, const R: usize>(
    s: S,
    scores: &mut [[[f32; 4]; 8]; R],
    seen: [usize; R],
    states: &mut [(f32, f32)],
    value_scales: &[[f32; 4]],
    codes: &mut [[u32; 16]; R],
) -> [(f32, f32); R] {
    // The greatest lane, in every lane.
    let pairs = |x: S::V| s.max_f32(s.odd_u32(x, x), s.even_u32(x, x));
    let greatest = |x: S::V| pairs(pairs(x));
    let mut results = [(1.0, 0.0); R];
    let mut maxima = [s.splat_f32(0.0); R];
    // One step for all queries, then the next: each waits for the one before.
    for r in 0..R {
        if let Some(unseen) = scores[r].as_flattened_mut().get_mut(seen[r]..) {
            unseen.fill(f32::NEG_INFINITY);
        }
        let before = states[r].0;
        let now = scores[r].iter().fold(s.splat_f32(before), |max, x| s.max_f32(s.load(x), max));
        maxima[r] = greatest(now);
        let [now, ..] = s.lanes_f32(maxima[r]);
        if now > before {
            (states[r].0, results[r].0) = (now, scalar::exp(before - now));
        }
    }
    let constants = exp_constants();
    let mut weights = [[[0.0; 4]; 8]; R];
    for r in 0..R {
        for (i, scale) in value_scales.iter().enumerate().take(8) {
            let e = exp(s, constants, s.sub_f32(s.load(&scores[r][i]), maxima[r]));
            s.store(&mut scores[r][i], e);
            s.store(&mut weights[r][i], s.mul_f32(e, s.load(scale)));
        }
        for each in [&mut scores[r], &mut weights[r]] {
            if let Some(unseen) = each.as_flattened_mut().get_mut(seen[r]..) {
                unseen.fill(0.0);
            }
        }
    }
    for r in 0..R {
        let sums = [0, 1, 2, 3].map(|i: usize| s.add_f32(s.load(&scores[r][i]), s.load(&scores[r][i + 4])));
        states[r].1 = states[r].1 * results[r].0 + s.reduce(&sums);
        let (mut max, mut finite) = (s.splat_f32(MIN_WEIGHT), s.splat_f32(0.0));
        for weight in &weights[r] {
            let weight = s.load(weight);
            max = s.max_f32(weight, max);
            finite = s.add_f32(finite, s.mul_f32(weight, s.splat_f32(0.0)));
        }
        let [max, ..] = s.lanes_f32(greatest(max));
        let inverse = s.splat_f32(CODE_LIMIT / max);
        let code = |x: &[f32; 4]| s.to_i32(s.round_f32(s.mul_f32(s.load(x), inverse)));
        for (codes, x) in codes[r].as_chunks_mut::<4>().0.iter_mut().zip(weights[r].as_chunks::<2>().0) {
            s.store(codes, s.narrow_i32(code(&x[0]), code(&x[1])));
        }
        let poison = s.sum_f32(finite);
        results[r].1 = max / CODE_LIMIT + poison;
    }
    results
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
