//! Normalization, rotation, activation functions and softmax, bit-equal with [`super::scalar`].

use super::scalar::{EXP_MAX, EXP_MIN, EXP_POLYNOMIAL, LN_2, LOG2_E};
use super::simd::Simd;

/// Sixteen elements as four vectors; `fill` beyond the end.
#[inline(always)]
fn load16<S: Simd>(s: S, x: &[f32], fill: f32) -> [S::V; 4] {
    let mut block = [fill; 16];
    block[..x.len()].copy_from_slice(x);
    let v = block.as_chunks::<4>().0;
    [0, 1, 2, 3].map(|i| s.load(&v[i]))
}

/// Four elements; `fill` beyond the end.
#[inline(always)]
fn load_tail<S: Simd>(s: S, x: &[f32], fill: f32) -> S::V {
    let mut block = [fill; 4];
    block[..x.len()].copy_from_slice(x);
    s.load(&block)
}

/// `sum_k a[k] * b[k]` in plain order.
#[inline(always)]
pub fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [s.splat_f32(0.0); 4];
    let ((a, a_tail), (b, b_tail)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_chunks::<4>().0, b.as_chunks::<4>().0);
        for i in 0..4 {
            sums[i] = s.add_f32(sums[i], s.mul_f32(s.load(&a[i]), s.load(&b[i])));
        }
    }
    if !a_tail.is_empty() {
        let (a, b) = (load16(s, a_tail, 0.0), load16(s, b_tail, 0.0));
        for i in 0..4 {
            sums[i] = s.add_f32(sums[i], s.mul_f32(a[i], b[i]));
        }
    }
    s.reduce(&sums)
}

/// Applies `f` to vectors of `x` with the same elements of `y`; the tail of both is padded with 1.
#[inline(always)]
fn zip_map<S: Simd>(s: S, x: &mut [f32], y: &[f32], f: impl Fn(S::V, S::V) -> S::V) {
    let ((x, x_tail), (y, y_tail)) = (x.as_chunks_mut::<4>(), y.as_chunks::<4>());
    for (x, y) in x.iter_mut().zip(y) {
        s.store(x, f(s.load(x), s.load(y)));
    }
    if !x_tail.is_empty() {
        let v = s.lanes_f32(f(load_tail(s, x_tail, 1.0), load_tail(s, y_tail, 1.0)));
        x_tail.copy_from_slice(&v[..x_tail.len()]);
    }
}

/// See [`super::scalar::rms_norm`].
#[inline(always)]
pub fn rms_norm<S: Simd>(s: S, x: &[f32], eps: f32, y: &mut [f32]) {
    let scale = s.splat_f32(1.0 / (dot(s, x, x) / x.len() as f32 + eps).sqrt());
    zip_map(s, y, x, |w, x| s.mul_f32(s.mul_f32(x, scale), w));
}

/// See [`super::scalar::rope`].
#[inline(always)]
pub fn rope<S: Simd>(s: S, x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let whole = half / 4 * 4;
    for head in x.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        let pairs = low.as_chunks_mut::<4>().0.iter_mut().zip(high.as_chunks_mut::<4>().0);
        let angles = cos.as_chunks::<4>().0.iter().zip(sin.as_chunks::<4>().0);
        for ((a, b), (cos, sin)) in pairs.zip(angles) {
            let (va, vb, cos, sin) = (s.load(a), s.load(b), s.load(cos), s.load(sin));
            s.store(a, s.sub_f32(s.mul_f32(va, cos), s.mul_f32(vb, sin)));
            s.store(b, s.add_f32(s.mul_f32(vb, cos), s.mul_f32(va, sin)));
        }
        for i in whole..half {
            let (a, b) = (low[i], high[i]);
            (low[i], high[i]) = (a * cos[i] - b * sin[i], b * cos[i] + a * sin[i]);
        }
    }
}

/// The constants of [`exp`], in all lanes.
pub type ExpConstants = [[f32; 4]; 13];

/// They stay in memory, from where one instruction fetches them: as constants of a WebAssembly module each would be made
/// anew at every use, by three.
fn exp_constants() -> &'static ExpConstants {
    const P: [f32; 6] = EXP_POLYNOMIAL;
    const SINGLE: [f32; 13] = [
        EXP_MAX,
        EXP_MIN,
        LOG2_E,
        LN_2[0],
        LN_2[1],
        P[0],
        P[1],
        P[2],
        P[3],
        P[4],
        P[5],
        1.0,
        f32::from_bits(127),
    ];
    static CONSTANTS: ExpConstants = {
        let (mut all, mut i) = ([[0.0; 4]; 13], 0);
        while i < all.len() {
            all[i] = [SINGLE[i]; 4];
            i += 1;
        }
        all
    };
    std::hint::black_box(&CONSTANTS)
}

/// See [`super::scalar::exp`].
#[inline(always)]
fn exp<S: Simd>(s: S, constants: &ExpConstants, x: S::V) -> S::V {
    let c = |i: usize| s.load(&constants[i]);
    // With relaxed SIMD the limits below may take the place of NaN, which this puts back.
    let nan = s.nan_f32(x);
    let x = s.max_f32(c(1), s.min_f32(c(0), x));
    let n = s.round_f32(s.mul_f32(x, c(2)));
    let r = s.sub_f32(x, s.mul_f32(n, c(3)));
    let r = s.sub_f32(r, s.mul_f32(n, c(4)));
    let mut p = c(5);
    for i in 6..11 {
        p = s.add_f32(s.mul_f32(p, r), c(i));
    }
    let p = s.add_f32(s.add_f32(s.mul_f32(p, s.mul_f32(r, r)), r), c(11));
    let power = s.shl_u32::<23>(s.add_i32(s.to_i32(n), c(12)));
    s.or(s.mul_f32(p, power), nan)
}

/// See [`super::scalar::silu_mul`].
#[inline(always)]
pub fn silu_mul<S: Simd>(s: S, gate: &mut [f32], up: &[f32]) {
    let (constants, one, sign) = (exp_constants(), s.splat_f32(1.0), s.splat_u32(0x8000_0000));
    zip_map(s, gate, up, |g, u| {
        let sigmoid = s.div_f32(g, s.add_f32(one, exp(s, constants, s.xor(g, sign))));
        s.mul_f32(sigmoid, u)
    });
}

/// See [`super::scalar::add_assign`].
#[inline(always)]
pub fn add_assign<S: Simd>(s: S, y: &mut [f32], x: &[f32]) {
    zip_map(s, y, x, |y, x| s.add_f32(y, x));
}

/// See [`super::scalar::axpy`].
#[inline(always)]
pub fn axpy<S: Simd>(s: S, a: f32, x: &[f32], y: &mut [f32]) {
    let a = s.splat_f32(a);
    zip_map(s, y, x, |y, x| s.add_f32(y, s.mul_f32(a, x)));
}

/// See [`super::scalar::softmax`].
#[inline(always)]
pub fn softmax<S: Simd>(s: S, x: &mut [f32]) {
    let lowest = s.splat_f32(f32::NEG_INFINITY);
    let mut max = lowest;
    // The new value comes first: where it is NaN the comparison fails and the maximum stays.
    let (chunks, tail) = x.as_chunks::<4>();
    for v in chunks {
        max = s.max_f32(s.load(v), max);
    }
    max = s.max_f32(load_tail(s, tail, f32::NEG_INFINITY), max);
    let max = s.lanes_f32(max).into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m });
    let max = s.splat_f32(max);
    let constants = exp_constants();
    let mut sums = [s.splat_f32(0.0); 4];
    let (chunks, tail) = x.as_chunks_mut::<16>();
    for chunk in chunks {
        for (v, sum) in chunk.as_chunks_mut::<4>().0.iter_mut().zip(&mut sums) {
            let e = exp(s, constants, s.sub_f32(s.load(v), max));
            s.store(v, e);
            *sum = s.add_f32(*sum, e);
        }
    }
    for (v, sum) in tail.chunks_mut(4).zip(&mut sums) {
        let mut e = [0.0; 4];
        let lanes = s.lanes_f32(exp(s, constants, s.sub_f32(load_tail(s, v, 0.0), max)));
        e[..v.len()].copy_from_slice(&lanes[..v.len()]);
        v.copy_from_slice(&e[..v.len()]);
        *sum = s.add_f32(*sum, s.load(&e));
    }
    let scale = s.splat_f32(1.0 / s.reduce(&sums));
    let (chunks, tail) = x.as_chunks_mut::<4>();
    for v in chunks {
        s.store(v, s.mul_f32(s.load(v), scale));
    }
    let scaled = s.lanes_f32(s.mul_f32(load_tail(s, tail, 0.0), scale));
    tail.copy_from_slice(&scaled[..tail.len()]);
}
