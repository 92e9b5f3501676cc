//! 8-bit blockwise quantization with a 256-entry map (bitsandbytes' `quantize_blockwise`), which double
//! quantization applies to the 4-bit scales.

use crate::quant::four_bit::{MIN_DIVISOR, block_absmax};

/// Index of the level nearest to `v` in the ascending map `code`: the number of midpoints of
/// neighbouring levels (in f32) that `v` exceeds, so a tie takes the lower level.
#[inline]
pub fn encode(code: &[f32; 256], v: f32) -> u8 {
    let (mut low, mut high) = (0, 255);
    while low < high {
        let i = (low + high) / 2;
        if v > (code[i] + code[i + 1]) / 2.0 { low = i + 1 } else { high = i }
    }
    low as u8
}

/// Index that bitsandbytes 0.50 picks on a CPU: `v` in [-1, 1] is rounded to one of 65,536 even steps, and the
/// level nearest to that step is taken. Close to a midpoint, and between the levels around zero (which lie
/// closer together than the steps), that is not the nearest level to `v`.
#[inline]
pub fn encode_as_cpu(code: &[f32; 256], v: f32) -> u8 {
    let step = ((v + 1.0) * 0.5 * 65535.0 + 0.5).floor().clamp(0.0, 65535.0);
    encode(code, step * (2.0 / 65535.0) - 1.0)
}

/// Quantizes `src` into `codes` (one a value) and `absmax` (`ceil(n / blocksize)`), each value to the nearest
/// level as on CUDA.
///
/// Full blocks are scaled by a reciprocal, a short last block and one whose absmax has no finite
/// reciprocal by division. A block of zeros gets code 0 and absmax 0, as bitsandbytes gives on either
/// device; its values are zero whatever the code. Panics when a length does not fit.
pub fn quantize_blockwise(
    src: &[f32],
    blocksize: usize,
    code: &[f32; 256],
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    quantize_with(|v| encode(code, v), src, blocksize, codes, absmax);
}

/// [`quantize_blockwise`] with the codes that bitsandbytes picks on a CPU, see [`encode_as_cpu`].
pub fn quantize_blockwise_as_cpu(
    src: &[f32],
    blocksize: usize,
    code: &[f32; 256],
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    quantize_with(|v| encode_as_cpu(code, v), src, blocksize, codes, absmax);
}

fn quantize_with(
    encode: impl Fn(f32) -> u8,
    src: &[f32],
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    assert_eq!(codes.len(), src.len(), "codes length");
    assert_eq!(absmax.len(), src.len().div_ceil(blocksize), "absmax length");
    for ((block, codes), absmax) in src.chunks(blocksize).zip(codes.chunks_mut(blocksize)).zip(absmax) {
        *absmax = block_absmax(block);
        if *absmax == 0.0 {
            codes.fill(0);
            continue;
        }
        if block.len() == blocksize && *absmax >= MIN_DIVISOR {
            let reciprocal = 1.0 / *absmax;
            block.iter().zip(codes).for_each(|(x, c)| *c = encode(x * reciprocal));
        } else {
            block.iter().zip(codes).for_each(|(x, c)| *c = encode(x / *absmax));
        }
    }
}

/// Writes `code[codes[i]] * absmax[i / blocksize]` to `out`. Panics when a length does not fit.
pub fn dequantize_blockwise(
    codes: &[u8],
    absmax: &[f32],
    code: &[f32; 256],
    blocksize: usize,
    out: &mut [f32],
) {
    assert_eq!(codes.len(), out.len(), "output length");
    assert_eq!(absmax.len(), codes.len().div_ceil(blocksize), "absmax length");
    for ((codes, out), scale) in codes.chunks(blocksize).zip(out.chunks_mut(blocksize)).zip(absmax) {
        codes.iter().zip(out).for_each(|(&c, x)| *x = code[usize::from(c)] * scale);
    }
}
