//! Attention over a kv cache, bit-equal with [`super::scalar`]: in f32, or over keys and values of 16 bits.
//!
//! The 16-bit kernel takes [`STEP`] positions at a time: scores as integer products, the running maximum and sum of an
//! online softmax, then the weights of each [`BLOCK`] as integers times the values. Nothing is kept per position, so any
//! number of queries can go through one pass over keys and values.

use std::ops::Range;

use super::elementwise::{axpy, dot, softmax};
use super::rows::Columns;
use super::scalar::{self, CODE_LIMIT, EXP2_MIN, EXP2_POLYNOMIAL, LOG2_E};
use super::simd::Simd;

/// Positions of a block of a 16-bit cache; as many products of two codes fit an i32.
pub const BLOCK: usize = 32;
/// Blocks of a step of the softmax.
const BLOCKS: usize = 2;
/// Positions of a step of the softmax.
pub const STEP: usize = BLOCKS * BLOCK;
/// Stands for the scores of positions that a query does not see: the power of two is 0.
const UNSEEN: f32 = f32::MIN / 2.0;
/// Below this the weights of a block are quantized as if this were the greatest.
pub const MIN_WEIGHT: f32 = 1e-34;

/// Elements that a head of `head_dim` takes in a 16-bit cache, per position.
pub const fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(16)
}

/// What products of queries and keys are multiplied with for the softmax, a sum of powers of two.
pub fn score_scale(head_dim: usize) -> f32 {
    (1.0 / (head_dim as f32).sqrt()) * LOG2_E
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
    let (whole, tail) = x.as_chunks::<8>();
    let mut padded = [0.0; 8];
    padded[..tail.len()].copy_from_slice(tail);
    let eights = || whole.iter().chain((!tail.is_empty()).then_some(&padded));
    let vectors = |x: &[f32; 8]| {
        let halves = x.as_chunks::<4>().0;
        [s.load(&halves[0]), s.load(&halves[1])]
    };
    let (zero, magnitude) = (s.splat_u32(0), s.splat_u32(0x7fff_ffff));
    // Magnitudes are in the order of their bits, infinity and NaN last.
    let mut max = zero;
    for x in eights() {
        for x in vectors(x) {
            max = s.max_i32(max, s.and(x, magnitude));
        }
    }
    let max = s.lanes_i32(max).into_iter().fold(0, i32::max);
    let (scale, inverse) = scalar::code_scale(f32::from_bits(max as u32), 0.0);
    let inverse = s.splat_f32(inverse);
    for (i, x) in eights().enumerate() {
        let [a, b] = vectors(x).map(|x| s.to_i32(s.round_f32(s.mul_f32(x, inverse))));
        put(i, if scale.is_nan() { zero } else { s.narrow_i32(a, b) });
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
    let (four, at) = (position % 8 / 4, position % 4 * 2);
    let first = key_index(width, position, 0) / 8 - four;
    let pairs = keys[first..first + width].as_chunks_mut::<2>().0;
    scales[0] = codes(s, key, |i, v| {
        for (pair, code) in pairs[4 * i..4 * i + 4].iter_mut().zip(s.lanes_i32(v)) {
            [pair[four][at], pair[four][at + 1]] = [code as i16, (code >> 16) as i16];
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
    let mut pass =
        Pass { softmax: Vec::new(), sums: Vec::new(), weights: Default::default(), width, group, first };
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
        for step in 0..(first + tokens).div_ceil(STEP) {
            // Queries before the step see nothing of it.
            let mut row = (step * STEP).saturating_sub(first) * group;
            while row < rows {
                row += match rows - row {
                    1 => pass.step::<S, 1>(s, &head, step, row, [query(row)]),
                    2 => pass.step::<S, 2>(s, &head, step, row, [0, 1].map(|r| query(row + r))),
                    _ => pass.step::<S, 3>(s, &head, step, row, [0, 1, 2].map(|r| query(row + r))),
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
    /// Of the queries of a step.
    weights: [Weights; 3],
    width: usize,
    /// Queries of a token.
    group: usize,
    /// Positions before the first token.
    first: usize,
}

impl Pass {
    /// Takes a step of positions into account for the queries from `row` on, pairs of codes with their scale. Returns how
    /// many they are.
    #[cfg_attr(target_arch = "wasm32", inline(never))]
    #[cfg_attr(not(target_arch = "wasm32"), inline(always))]
    fn step<S: Simd, const R: usize>(
        &mut self,
        s: S,
        head: &Head16<'_>,
        step: usize,
        row: usize,
        queries: [(&[[u32; 16]], f32); R],
    ) -> usize {
        let seen = |r: usize| (self.first + (row + r) / self.group + 1 - step * STEP).min(STEP);
        let seen: [usize; R] = std::array::from_fn(seen);
        // The last query sees most; what nobody sees is not read.
        let eights = seen[R - 1].div_ceil(8);
        let blocks = eights.div_ceil(BLOCK / 8);
        let vectors = BLOCK * self.width / 8;
        let codes = step * BLOCKS * vectors..(step * BLOCKS + blocks) * vectors;
        let positions = step * STEP..step * STEP + blocks * BLOCK;
        let weights: &mut [Weights; R] = self.weights.first_chunk_mut().expect("no more queries at a time");

        let scale = score_scale(head.head_dim);
        let scales = queries.map(|(_, query_scale)| s.splat_f32(query_scale * scale));
        let keys = head.keys[codes.clone()].as_chunks::<2>().0.chunks_exact(self.width / 2);
        let key_scales = head.key_scales[positions.clone()].as_chunks::<4>().0.as_chunks::<2>().0;
        for (eight, (keys, key_scales)) in keys.zip(key_scales).enumerate().take(eights) {
            let mut totals = [[s.splat_f32(0.0); 2]; R];
            for (unit, keys) in keys.chunks(16).enumerate() {
                let acc = product::<S, R>(s, keys, queries.map(|(codes, _)| &codes[unit]));
                for r in 0..R {
                    totals[r] = [0, 1].map(|i: usize| s.add_f32(totals[r][i], s.from_i32(acc[r][i])));
                }
            }
            let key_scales = [0, 1].map(|i: usize| s.load(&key_scales[i]));
            for r in 0..R {
                for (i, score) in weights[r].values[eight].iter_mut().enumerate() {
                    s.store(score, s.mul_f32(s.mul_f32(totals[r][i], key_scales[i]), scales[r]));
                }
            }
        }
        let value_scales = head.value_scales[positions].as_chunks::<4>().0.as_chunks::<2>().0;
        let mut rescale = [1.0; R];
        for r in 0..R {
            rescale[r] = softmax_step(s, &mut weights[r], seen[r], value_scales, &mut self.softmax[row + r]);
        }
        let values = head.values[codes].as_chunks::<2>().0.as_chunks::<16>().0.chunks_exact(self.width / 8);
        let sums =
            self.sums[row * self.width..][..R * self.width].as_chunks_mut::<4>().0.as_chunks_mut::<2>().0;
        let width = self.width / 8;
        for (block, values) in values.enumerate() {
            let codes = std::array::from_fn(|r| &weights[r].codes[block]);
            let scales: [S::V; R] = std::array::from_fn(|r| s.splat_f32(weights[r].scales[block]));
            let before = rescale.map(|rescale| s.splat_f32(rescale));
            let pairs = (4 * eights - BLOCK / 2 * block).min(BLOCK / 2);
            for (eight, values) in values.iter().enumerate() {
                let acc = product::<S, R>(s, &values[..pairs], codes);
                for r in 0..R {
                    for (i, sum) in sums[r * width + eight].iter_mut().enumerate() {
                        let rescaled = s.mul_f32(s.load(sum), before[r]);
                        s.store(sum, s.add_f32(rescaled, s.mul_f32(s.from_i32(acc[r][i]), scales[r])));
                    }
                }
            }
            rescale = [1.0; R];
        }
        R
    }
}

/// At most 16 pairs of two vectors times `R` times as many pairs: the sums.
#[inline(always)]
fn product<S: Simd, const R: usize>(s: S, m: &[[[i16; 8]; 2]], x: [&[u32; 16]; R]) -> [[S::V; 2]; R] {
    let x = x.map(|x| x.as_chunks::<4>().0);
    let never = std::hint::black_box(4);
    let mut acc = [[s.splat_u32(0); 2]; R];
    'all: for (j, m) in m.as_chunks::<4>().0.iter().take(4).enumerate() {
        let fours = x.map(|x| &x[j]);
        let vectors = fours.map(|x| s.load(x));
        for (k, m) in m.iter().enumerate() {
            // Never taken; keeps the order of the instructions, see `matvec::SplitLevels`.
            if k == never {
                break 'all;
            }
            // One shuffle is faster than one load into all lanes, several are slower.
            let pairs = match k {
                _ if R > 1 => fours.map(|x| s.splat_u32(x[k])),
                0 => vectors.map(|x| s.splat_lane_0(x)),
                1 => vectors.map(|x| s.splat_lane_1(x)),
                2 => vectors.map(|x| s.splat_lane_2(x)),
                _ => vectors.map(|x| s.splat_lane_3(x)),
            };
            for i in 0..2 {
                let v = s.load(&m[i]);
                for r in 0..R {
                    acc[r][i] = s.add_i32(acc[r][i], s.dot_i16(v, pairs[r]));
                }
            }
        }
    }
    acc
}

/// The weights of a step of positions.
#[derive(Clone, Copy, Default)]
struct Weights {
    /// Scores first, then weights times the scales of the values, eight at a time.
    values: [[[f32; 4]; 2]; STEP / 8],
    /// Those as integers, pairs of positions, block by block.
    codes: [[u32; 16]; BLOCKS],
    /// What the integers of a block are multiplied with.
    scales: [f32; BLOCKS],
}

/// One step of the online softmax of a query: from the scores of a step, of which the first `seen` count, to the codes of its
/// weights. `state` holds the greatest score and the sum of powers so far; returns what sums so far are multiplied with.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
fn softmax_step<S: Simd>(
    s: S,
    weights: &mut Weights,
    seen: usize,
    value_scales: &[[[f32; 4]; 2]],
    state: &mut (f32, f32),
) -> f32 {
    // The greatest lane, in every lane.
    let pairs = |x: S::V| s.max_f32(s.odd_u32(x, x), s.even_u32(x, x));
    let greatest = |x: S::V| pairs(pairs(x));
    let Weights { values, codes, scales } = weights;
    let n = value_scales.len();
    let values = &mut values[..n];
    let before = state.0;
    let mut max = [s.splat_f32(before); 2];
    if let Some(unseen) = values.as_flattened_mut().as_flattened_mut().get_mut(seen..) {
        unseen.fill(UNSEEN);
    }
    for values in &*values {
        max = [0, 1].map(|i: usize| s.max_f32(s.load(&values[i]), max[i]));
    }
    let max = greatest(s.max_f32(max[0], max[1]));
    let [now, ..] = s.lanes_f32(max);
    state.0 = if now > before { now } else { before };
    let rescale = if now > before && before > f32::NEG_INFINITY { scalar::exp2(before - now) } else { 1.0 };

    // What lies behind the last position may be anything.
    let mut masked = [[[0.0; 4]; 2]; STEP / 8];
    let mut value_scales = value_scales;
    if seen < n * 8 {
        let seen_scales = &value_scales.as_flattened().as_flattened()[..seen];
        masked.as_flattened_mut().as_flattened_mut()[..seen].copy_from_slice(seen_scales);
        value_scales = &masked[..n];
    }
    let constants = exp2_constants();
    let mut sums = [s.splat_f32(0.0); 4];
    let blocks = values.as_chunks_mut::<4>().0.iter_mut().zip(value_scales.as_chunks::<4>().0);
    for ((values, value_scales), (codes, scale)) in blocks.zip(codes.iter_mut().zip(scales)) {
        let (values, value_scales) = (values.as_flattened_mut(), value_scales.as_flattened());
        let (mut largest, mut poison) = (s.splat_f32(MIN_WEIGHT), s.splat_f32(0.0));
        for i in 0..8 {
            let e = exp2(s, constants, s.sub_f32(s.load(&values[i]), max));
            sums[i % 4] = s.add_f32(sums[i % 4], e);
            let weight = s.mul_f32(e, s.load(&value_scales[i]));
            s.store(&mut values[i], weight);
            largest = s.max_f32(weight, largest);
            poison = s.add_f32(poison, s.mul_f32(weight, s.splat_f32(0.0)));
        }
        let [largest, ..] = s.lanes_f32(greatest(largest));
        let inverse = s.splat_f32(CODE_LIMIT / largest);
        let code = |x: &[f32; 4]| s.to_i32(s.round_f32(s.mul_f32(s.load(x), inverse)));
        for (codes, x) in codes.as_chunks_mut::<4>().0.iter_mut().zip(values.as_chunks::<2>().0) {
            s.store(codes, s.narrow_i32(code(&x[0]), code(&x[1])));
        }
        *scale = largest / CODE_LIMIT + s.sum_f32(poison);
    }
    state.1 = state.1 * rescale + s.reduce(&sums);
    rescale
}

/// The constants of [`exp2`], in all lanes.
type Exp2Constants = [[f32; 4]; 6];

fn exp2_constants() -> &'static Exp2Constants {
    const P: [f32; 4] = EXP2_POLYNOMIAL;
    static CONSTANTS: Exp2Constants =
        [[P[0]; 4], [P[1]; 4], [P[2]; 4], [P[3]; 4], [1.0; 4], [f32::from_bits(EXP2_MIN as u32); 4]];
    std::hint::black_box(&CONSTANTS)
}

/// See [`scalar::exp2`].
#[inline(always)]
fn exp2<S: Simd>(s: S, constants: &Exp2Constants, x: S::V) -> S::V {
    let c = |i: usize| s.load(&constants[i]);
    let n = s.round_f32(x);
    let r = s.sub_f32(x, n);
    let p = (1..5).fold(c(0), |p, i| s.add_f32(s.mul_f32(p, r), c(i)));
    let power = s.sub_i32(s.max_i32(s.to_i32(n), c(5)), c(5));
    s.mul_f32(p, s.shl_u32::<23>(power))
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
