//! The reference of every operation: what the vector kernels must reproduce bit for bit (unless their
//! documentation states a bound), in loops that can be read in one go.
//!
//! # Order of summation
//! f32 addition is not associative, so the order is part of the specification, and it is one that
//! vectors of four lanes can follow. All products are rounded before they are added (no fused
//! multiply-add). Sixteen partial sums start at +0 and each takes its terms in ascending order:
//!
//! * *pair order*, for products with weights: term `k` goes to sum `(k / 2) % 16`. Packed 4-bit codes
//!   and 16-bit floats both fall apart into even and odd elements without a shuffle.
//! * *plain order*, for everything else: term `k` goes to sum `k % 16`.
//!
//! [`reduce`] then adds the sixteen sums in a fixed tree.

use half::{bf16, f16};

use super::attention::{BLOCK, Head16, MIN_WEIGHT, STEP, key_index, padded, score_scale, value_index};

use crate::quant::int8::{Int8Activations, mm_dequant};
use crate::quant::{ComputeDtype, Floats, Int8Params, Params4bit};

/// Sums the partial sums as four vectors of four lanes would: vectors pairwise, then lanes pairwise.
pub fn reduce(sums: &[f32; 16]) -> f32 {
    let lane = |j: usize| (sums[j] + sums[j + 4]) + (sums[j + 8] + sums[j + 12]);
    (lane(0) + lane(2)) + (lane(1) + lane(3))
}

/// `sum_k w[k] * x[k]` in pair order.
pub fn dot_pairs(w: &[f32], x: &[f32]) -> f32 {
    assert_eq!(w.len(), x.len(), "operand lengths");
    let mut sums = [0.0; 16];
    for (k, (w, x)) in w.iter().zip(x).enumerate() {
        sums[k / 2 % 16] += w * x;
    }
    reduce(&sums)
}

/// `sum_k a[k] * b[k]` in plain order.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "operand lengths");
    let mut sums = [0.0; 16];
    for (k, (a, b)) in a.iter().zip(b).enumerate() {
        sums[k % 16] += a * b;
    }
    reduce(&sums)
}

/// Rounds to `dtype`, to nearest and ties to even.
pub fn round_to(dtype: ComputeDtype, x: f32) -> f32 {
    match dtype {
        ComputeDtype::Float32 => x,
        ComputeDtype::Bfloat16 => bf16::from_f32(x).to_f32(),
        ComputeDtype::Float16 => f16::from_f32(x).to_f32(),
    }
}

/// Element `i` of a 4-bit tensor: `code * absmax`, one f32 product.
pub fn element_4bit(w: &Params4bit, i: usize) -> f32 {
    let state = &w.quant_state;
    state.code[usize::from(w.code_at(i))] * state.absmax.get(i / state.blocksize)
}

/// `y[t * rows + r] = sum_k x[t * cols + k] * W[r * cols + k]` in pair order, with x, W and the result
/// rounded to `dtype` and sums in f32.
pub fn linear_4bit(x: &[f32], w: &Params4bit, y: &mut [f32], dtype: ComputeDtype) {
    let (rows, cols) = (w.rows(), w.cols());
    let x: Vec<f32> = x.iter().map(|&x| round_to(dtype, x)).collect();
    for r in 0..rows {
        let row: Vec<f32> = (0..cols).map(|k| round_to(dtype, element_4bit(w, r * cols + k))).collect();
        for t in 0..y.len() / rows {
            y[t * rows + r] = dot_pairs(&row, &x[t * cols..][..cols]);
        }
    }
}

/// As [`linear_4bit`] for a stored float matrix, without rounding.
pub fn linear_floats(x: &[f32], w: &Floats, rows: usize, cols: usize, y: &mut [f32]) {
    let mut row = vec![0.0; cols];
    for r in 0..rows {
        w.decode_into(r * cols..(r + 1) * cols, &mut row);
        for t in 0..y.len() / rows {
            y[t * rows + r] = dot_pairs(&row, &x[t * cols..][..cols]);
        }
    }
}

/// LLM.int8: integer products of the codes, scaled, plus the outlier columns in f32 in ascending
/// order. `activations` is `x` quantized with the threshold.
pub fn linear_int8(x: &[f32], activations: &Int8Activations, w: &Int8Params, y: &mut [f32]) {
    for (t, sca) in activations.sca.iter().enumerate() {
        let (x, ca) = (&x[t * w.cols..], &activations.ca[t * w.cols..][..w.cols]);
        for r in 0..w.rows {
            let cb = &w.cb[r * w.cols..][..w.cols];
            let acc: i32 = ca.iter().zip(cb).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            let outliers: f32 = activations.outlier_cols.iter().map(|&c| x[c] * w.get(r, c)).sum();
            y[t * w.rows + r] = mm_dequant(acc, *sca, w.scb[r]) + outliers;
        }
    }
}

/// `y = x / sqrt(mean(x^2) + eps) * weight` for each row of `weight.len()`.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let n = weight.len();
    for (x, y) in x.chunks_exact(n).zip(y.chunks_exact_mut(n)) {
        let scale = 1.0 / (dot(x, x) / n as f32 + eps).sqrt();
        for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * w;
        }
    }
}

/// Rotates the pairs `(i, i + head_dim / 2)` of every head.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (lo, hi) = head.split_at_mut(half);
        for (((a, b), cos), sin) in lo.iter_mut().zip(hi).zip(cos).zip(sin) {
            (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        }
    }
}

/// Below this, [`exp`] takes its argument for this.
pub const EXP_MIN: f32 = -87.0;
/// Above this, [`exp`] takes its argument for this.
pub const EXP_MAX: f32 = 88.0;
/// 1 / ln 2.
pub const LOG2_E: f32 = std::f32::consts::LOG2_E;
/// ln 2 in two parts, the first with so few bits that its product with a small integer is exact.
pub const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2, highest power first (Cephes, `expf`).
pub const EXP_POLYNOMIAL: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];

/// e^x with a relative error below 2e-7 between [`EXP_MIN`] and [`EXP_MAX`], clamped to that range;
/// NaN stays NaN.
pub fn exp(x: f32) -> f32 {
    // The comparisons keep NaN, as the vector instructions do.
    let x = if EXP_MAX < x { EXP_MAX } else { x };
    let x = if EXP_MIN > x { EXP_MIN } else { x };
    let n = (x * LOG2_E).round_ties_even();
    let r = x - n * LN_2[0] - n * LN_2[1];
    let p = EXP_POLYNOMIAL[1..].iter().fold(EXP_POLYNOMIAL[0], |p, c| p * r + c);
    let p = p * (r * r) + r + 1.0;
    p * f32::from_bits((((n as i32) + 127) as u32) << 23)
}

/// `gate = gate / (1 + exp(-gate)) * up`.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    for (g, u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp(-*g)) * u;
    }
}

/// `y += x`.
pub fn add_assign(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

/// `y += a * x`.
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// `exp(x - max(x)) / sum`, the sum in plain order. An empty `x` is left alone.
pub fn softmax(x: &mut [f32]) {
    // A comparison, not f32::max: NaN is not larger and surfaces in the sum.
    let max = x.iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    let mut sums = [0.0; 16];
    for (k, x) in x.iter_mut().enumerate() {
        *x = exp(*x - max);
        sums[k % 16] += *x;
    }
    let scale = 1.0 / reduce(&sums);
    x.iter_mut().for_each(|x| *x *= scale);
}

/// One kv head: `softmax(q k^T / sqrt(head_dim)) v` for each query head of the group. `scores` holds
/// (heads, positions) afterwards.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], head_dim: usize, out: &mut [f32], scores: &mut [f32]) {
    let positions = k.len() / head_dim;
    let scale = 1.0 / (head_dim as f32).sqrt();
    let heads = q.chunks_exact(head_dim).zip(out.chunks_exact_mut(head_dim));
    for ((q, out), scores) in heads.zip(scores.chunks_exact_mut(positions)) {
        for (score, k) in scores.iter_mut().zip(k.chunks_exact(head_dim)) {
            *score = dot(q, k) * scale;
        }
        softmax(scores);
        out.fill(0.0);
        for (p, v) in scores.iter().zip(v.chunks_exact(head_dim)) {
            axpy(*p, v, out);
        }
    }
}

/// (2^r - 1) / r on |r| <= 1/2, highest power first; 2^r is off by less than 3e-6 of it.
pub const EXP2_POLYNOMIAL: [f32; 4] = [9.582_853e-3, 5.590_642_6e-2, 2.402_409_9e-1, 6.931_242e-1];
/// At and below this, [`exp2`] is 0.
pub const EXP2_MIN: i32 = -127;

/// 2^x for x <= 0, with a relative error below 3e-6 where the result is a normal number; 2^0 is 1, NaN stays NaN.
pub fn exp2(x: f32) -> f32 {
    let n = x.round_ties_even();
    let r = x - n;
    let p = EXP2_POLYNOMIAL[1..].iter().fold(EXP2_POLYNOMIAL[0], |p, c| p * r + c) * r + 1.0;
    p * f32::from_bits((((n as i32).max(EXP2_MIN) - EXP2_MIN) as u32) << 23)
}

/// Greatest magnitude of a code: 32 products of two codes fit an i32.
pub const CODE_LIMIT: f32 = 8191.0;

/// `x` as integers of at most [`CODE_LIMIT`] times a power of two, which is returned: the least for which that holds,
/// so that the same codes come out of the values they stand for. An infinity or NaN makes the scale NaN.
pub fn codes(x: &[f32], codes: &mut [i16]) -> f32 {
    assert_eq!(x.len(), codes.len(), "codes");
    let max = x.iter().fold(0.0f32, |max, x| if max < x.abs() { x.abs() } else { max });
    let finite: f32 = x.iter().map(|x| x * 0.0).sum();
    let (scale, inverse) = code_scale(max, finite);
    if scale.is_nan() {
        codes.fill(0);
        return scale;
    }
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse).round_ties_even() as i16;
    }
    scale
}

/// The scale of codes up to the greatest magnitude `max`, and its inverse. NaN where `finite` is.
pub(super) fn code_scale(max: f32, finite: f32) -> (f32, f32) {
    // With the greatest magnitude rounded to 12 bits behind the binary point, its exponent is that of the scale.
    let exponent = ((max.to_bits() + (1 << 10)) >> 23).clamp(13, 255);
    if exponent == 255 || finite.is_nan() {
        return (f32::NAN, f32::NAN);
    }
    (f32::from_bits((exponent - 12) << 23), f32::from_bits((254 + 12 - exponent) << 23))
}

/// Puts the codes of a key and a value at `position` of a head of a 16-bit cache, and their scales into `scales`.
pub fn store_int16(
    [key, value]: [&[f32]; 2],
    [keys, values]: [&mut [[i16; 8]]; 2],
    position: usize,
    scales: &mut [f32; 2],
) {
    let width = padded(key.len());
    let mut row = vec![0; key.len()];
    let [keys, values] = [keys.as_flattened_mut(), values.as_flattened_mut()];
    scales[0] = codes(key, &mut row);
    row.iter().enumerate().for_each(|(d, &code)| keys[key_index(width, position, d)] = code);
    scales[1] = codes(value, &mut row);
    row.iter().enumerate().for_each(|(d, &code)| values[value_index(width, position, d)] = code);
}

/// One query head over the first `positions` positions of a kv head of 16 bits: `softmax(q k^T / sqrt(head_dim)) v`.
///
/// The query is quantized as keys are. Scores, as powers of two, are sums of integer products over 32 elements, added in f32
/// in ascending order. 64 positions at a time the softmax goes on from the greatest score and the sum of powers so far.
/// The weights of [`BLOCK`] positions, times the scales of the values, become integers of at most [`CODE_LIMIT`].
pub fn attention_int16(q: &[f32], head: &Head16<'_>, positions: usize, out: &mut [f32]) {
    let (head_dim, width) = (head.head_dim, padded(head.head_dim));
    let (keys, values) = (head.keys.as_flattened(), head.values.as_flattened());
    let mut query = vec![0; head_dim];
    let scale = codes(q, &mut query) * score_scale(head_dim);
    let score = |p: usize| {
        let elements: Vec<usize> = (0..head_dim).collect();
        let unit = |unit: &[usize]| -> i32 {
            unit.iter().map(|&d| i32::from(query[d]) * i32::from(keys[key_index(width, p, d)])).sum()
        };
        elements.chunks(32).fold(0.0, |sum, d| sum + unit(d) as f32) * head.key_scales[p] * scale
    };
    let greater = |max: f32, &x: &f32| if x > max { x } else { max };
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
    out.fill(0.0);
    for first in (0..positions).step_by(STEP) {
        let step = first..positions.min(first + STEP);
        let scores: Vec<f32> = step.clone().map(score).collect();
        let now = scores.iter().fold(max, greater);
        let rescale = if now > max && max > f32::NEG_INFINITY { exp2(max - now) } else { 1.0 };
        max = now;
        let mut sums = [0.0; 16];
        let mut weights = Vec::new();
        for (i, score) in scores.into_iter().enumerate() {
            let e = exp2(score - max);
            sums[i % 16] += e;
            weights.push(e * head.value_scales[first + i]);
        }
        sum = sum * rescale + reduce(&sums);
        out.iter_mut().for_each(|out| *out *= rescale);
        for (first, weights) in step.step_by(BLOCK).zip(weights.chunks(BLOCK)) {
            let poison: f32 = weights.iter().map(|w| w * 0.0).sum();
            let largest = weights.iter().fold(MIN_WEIGHT, greater);
            let inverse = CODE_LIMIT / largest;
            let codes: Vec<i32> = weights.iter().map(|w| (w * inverse).round_ties_even() as i32).collect();
            let scale = largest / CODE_LIMIT + poison;
            for (d, out) in out.iter_mut().enumerate() {
                let value = |p: usize| i32::from(values[value_index(width, p, d)]);
                let acc: i32 = codes.iter().enumerate().map(|(i, code)| code * value(first + i)).sum();
                *out += acc as f32 * scale;
            }
        }
    }
    let scale = 1.0 / sum;
    out.iter_mut().for_each(|out| *out *= scale);
}
