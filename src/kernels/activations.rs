//! Activations in the forms that the products read them: in pair order, and quantized.

use super::simd::Simd;

/// 32 activations in pair order: elements 0, 2, 4 .. 30, then 1, 3 .. 31.
pub type PairsF32 = [[f32; 4]; 8];
/// The same as 16-bit codes.
pub type PairsI16 = [[i16; 8]; 4];
/// The same as 8-bit codes.
pub type PairsI8 = [[i8; 16]; 2];

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
    let zero = s.splat_f32(0.0);
    let magnitude = s.splat_u32(0x7fff_ffff);
    let (mut max, mut poison) = (zero, zero);
    for x in unit.as_chunks::<4>().0 {
        let x = s.load(x);
        max = s.max_f32(max, s.and(x, magnitude));
        poison = s.add_f32(poison, s.mul_f32(x, zero));
    }
    let max = s.lanes_f32(max).into_iter().fold(0.0, |m: f32, x| if x > m { x } else { m });
    let max = if max > MIN_MAGNITUDE { max } else { MIN_MAGNITUDE };
    (max / limit + s.sum_f32(poison), limit / max)
}

/// Appends the codes of one row of whole chunks in pair order, and a scale for every `UNIT` elements
/// (or fewer, at the end).
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
    for unit in x.chunks(unit) {
        let (scale, inverse) = unit_scale(s, unit, limit);
        scales.push(scale);
        let inverse = s.splat_f32(inverse);
        let code = |x: &[f32; 4]| s.to_i32(s.round_f32(s.mul_f32(s.load(x), inverse)));
        for chunk in unit.as_chunks::<32>().0 {
            let v = chunk.as_chunks::<4>().0;
            let mut pairs = [[0; 8]; 4];
            for i in 0..2 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|j| code(&v[4 * i + j]));
                let even = s.narrow_i32(s.even_u32(a, b), s.even_u32(c, d));
                let odd = s.narrow_i32(s.odd_u32(a, b), s.odd_u32(c, d));
                s.store(&mut pairs[i], even);
                s.store(&mut pairs[i + 2], odd);
            }
            codes.push(pairs);
        }
    }
}

/// As [`pairs_i16`] with 8-bit codes (limit 127), and the sum of the codes of every unit; `wide` is a buffer.
#[inline(always)]
pub fn pairs_i8<S: Simd>(
    s: S,
    x: &[f32],
    unit: usize,
    wide: &mut Vec<PairsI16>,
    codes: &mut Vec<PairsI8>,
    scales: &mut Vec<f32>,
    sums: &mut Vec<f32>,
) {
    wide.clear();
    pairs_i16(s, x, unit, 127.0, wide, scales);
    for unit in wide.chunks(unit / 32) {
        sums.push(unit.iter().flatten().flatten().map(|&c| i32::from(c)).sum::<i32>() as f32);
    }
    for [a, b, c, d] in &*wide {
        let mut pairs = [[0; 16]; 2];
        s.store(&mut pairs[0], s.narrow_i16(s.load(a), s.load(b)));
        s.store(&mut pairs[1], s.narrow_i16(s.load(c), s.load(d)));
        codes.push(pairs);
    }
}
