//! Activations in the forms that the products read them: in pair order, and quantized.

use super::simd::Simd;

/// 32 activations in pair order: elements 0, 2, 4 .. 30, then 1, 3 .. 31.
pub type PairsF32 = [[f32; 4]; 8];
/// The same as 16-bit codes.
pub type PairsI16 = [[i16; 8]; 4];
/// The same as 8-bit codes.
pub type PairsI8 = [[i8; 16]; 2];
/// 14-bit codes in two parts, `128 * high + low`: high parts of even elements, low parts of even elements, then of odd ones.
pub type SplitI8 = [[[i8; 16]; 2]; 2];
/// Largest magnitude of such a code: 127 * 128 + 63.
const SPLIT_LIMIT: u32 = 16319;

/// Below this a unit of activations is quantized as if this were its largest magnitude.
const MIN_MAGNITUDE: f32 = 1e-34;

/// A zero-padded copy of `x` in chunks of 32.
#[inline(always)]
fn chunks(x: &[f32]) -> impl Iterator<Item = [f32; 32]> {
    let (whole, tail) = x.as_chunks::<32>();
    let padded = (!tail.is_empty()).then(|| {
        let mut chunk = [0.0; 32];
        chunk[..tail.len()].copy_from_slice(tail);
        chunk
    });
    whole.iter().copied().chain(padded)
}

/// Appends one row in pair order, padded with zeros to whole chunks.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn pairs_f32<S: Simd>(s: S, x: &[f32], out: &mut Vec<PairsF32>) {
    for chunk in chunks(x) {
        let v = chunk.as_chunks::<4>().0;
        let mut pairs = [[0.0; 4]; 8];
        for i in 0..4 {
            let (a, b) = (s.load(&v[2 * i]), s.load(&v[2 * i + 1]));
            s.store(&mut pairs[i], s.even_u32(a, b));
            s.store(&mut pairs[i + 4], s.odd_u32(a, b));
        }
        out.push(pairs);
    }
}

/// The scale that maps a unit of activations to `-limit..=limit`, and its inverse. NaN and infinities
/// make the scale NaN, and with it every result.
#[inline(always)]
fn unit_scale<S: Simd>(s: S, unit: &[f32], limit: f32) -> (f32, f32) {
    // Magnitudes are in the order of their bits, infinity and NaN last.
    let (mut max, magnitude) = (s.splat_u32(0), s.splat_u32(0x7fff_ffff));
    for x in unit.as_chunks::<4>().0 {
        max = s.max_i32(max, s.and(s.load(x), magnitude));
    }
    let max = f32::from_bits(s.lanes_i32(max).into_iter().fold(0, i32::max) as u32);
    if !max.is_finite() {
        return (f32::NAN, 0.0);
    }
    let max = if max > MIN_MAGNITUDE { max } else { MIN_MAGNITUDE };
    (max / limit, limit / max)
}

/// Quantizes a row of whole chunks to `-limit..=limit` in units of `unit` elements (or fewer, at the end). `store` gets
/// the codes of each chunk as i16 in pair order, with `offset` added, and returns four terms of a sum over the unit;
/// `finish` gets the scale of each unit and that sum.
#[inline(always)]
fn quantize<S: Simd>(
    s: S,
    x: &[f32],
    unit: usize,
    limit: f32,
    offset: u32,
    mut store: impl FnMut([S::V; 4]) -> S::V,
    mut finish: impl FnMut(f32, i32),
) {
    let offset = s.splat_u32(offset);
    for unit in x.chunks(unit) {
        let (scale, inverse) = unit_scale(s, unit, limit);
        let inverse = s.splat_f32(inverse);
        let code = |x: &[f32; 4]| s.add_i32(s.to_i32(s.round_f32(s.mul_f32(s.load(x), inverse))), offset);
        let mut sum = s.splat_u32(0);
        for chunk in unit.as_chunks::<32>().0 {
            let v = chunk.as_chunks::<4>().0;
            let pairs = |half: usize| {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| code(&v[4 * half + i]));
                let even = s.narrow_i32(s.even_u32(a, b), s.even_u32(c, d));
                (even, s.narrow_i32(s.odd_u32(a, b), s.odd_u32(c, d)))
            };
            let ((a, c), (b, d)) = (pairs(0), pairs(1));
            sum = s.add_i32(sum, store([a, b, c, d]));
        }
        finish(scale, s.lanes_i32(sum).iter().sum());
    }
}

/// Appends the codes of one row of whole chunks in pair order, and the scale of every unit.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn pairs_i16<S: Simd>(
    s: S,
    x: &[f32],
    unit: usize,
    limit: f32,
    codes: &mut Vec<PairsI16>,
    scales: &mut Vec<f32>,
) {
    let store = |v: [S::V; 4]| {
        let mut pairs = [[0; 8]; 4];
        pairs.iter_mut().zip(v).for_each(|(pairs, v)| s.store(pairs, v));
        codes.push(pairs);
        s.splat_u32(0)
    };
    quantize(s, x, unit, limit, 0, store, |scale, _| scales.push(scale));
}

/// As [`pairs_i16`] with 8-bit codes, and of every unit the sum of the codes times `-offset`.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn pairs_i8<S: Simd>(
    s: S,
    x: &[f32],
    unit: usize,
    offset: f32,
    codes: &mut Vec<PairsI8>,
    scales: &mut Vec<f32>,
    biases: &mut Vec<i32>,
) {
    let ones = s.splat_u32(0x0001_0001);
    let store = |[a, b, c, d]: [S::V; 4]| {
        let mut pairs = [[0; 16]; 2];
        s.store(&mut pairs[0], s.narrow_i16(a, b));
        s.store(&mut pairs[1], s.narrow_i16(c, d));
        codes.push(pairs);
        let [a, b, c, d] = [a, b, c, d].map(|v| s.dot_i16(v, ones));
        s.add_i32(s.add_i32(a, b), s.add_i32(c, d))
    };
    quantize(s, x, unit, 127.0, 0, store, |scale, sum| {
        scales.push(scale);
        biases.push((-offset * sum as f32).round_ties_even() as i32);
    });
}

/// As [`pairs_i16`] with codes in two parts, and of every unit of 64 what the offset of the levels adds to
/// `128 * high * w_high + high * w_low + low * w_high`, negated.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
pub fn split_i8<S: Simd>(
    s: S,
    x: &[f32],
    offset: i32,
    codes: &mut Vec<SplitI8>,
    scales: &mut Vec<f32>,
    biases: &mut Vec<i32>,
) {
    const UNIT: usize = 64;
    // Makes the high parts lie in 1..=255 and the low ones in 0..=127.
    const SHIFT: u32 = 128 * 128 + 64;
    let (mask, signs, center) =
        (s.splat_u32(0x007f_007f), s.splat_u32(0x8080_8080), s.splat_u32(0x4040_4040));
    let weights = [offset, offset >> 7].map(|weight| s.splat_u32(weight as u32 * 0x0001_0001));
    let store = |[a, b, c, d]: [S::V; 4]| {
        let mut parts = [[[0; 16]; 2]; 2];
        let mut sum = s.splat_u32(0);
        for (parts, v) in parts.iter_mut().zip([[a, b], [c, d]]) {
            let (high, low) = (v.map(|v| s.shr_u16::<7>(v)), v.map(|v| s.and(v, mask)));
            s.store(&mut parts[0], s.xor(s.narrow_i16_u8(high[0], high[1]), signs));
            s.store(&mut parts[1], s.sub_i8(s.narrow_i16_u8(low[0], low[1]), center));
            for (v, weight) in [high, low].into_iter().zip(weights) {
                sum = s.add_i32(sum, s.add_i32(s.dot_i16(v[0], weight), s.dot_i16(v[1], weight)));
            }
        }
        codes.push(parts);
        sum
    };
    quantize(s, x, UNIT, SPLIT_LIMIT as f32, SHIFT, store, |scale, sum| {
        scales.push(scale);
        biases.push(UNIT as i32 * (128 * offset + 64 * (offset >> 7)) - sum);
    });
}
