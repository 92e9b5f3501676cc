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

/// Quantizes `src` into `codes` (one a value) and `absmax` (`ceil(n / blocksize)`).
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
            block.iter().zip(codes).for_each(|(x, c)| *c = encode(code, x * reciprocal));
        } else {
            block.iter().zip(codes).for_each(|(x, c)| *c = encode(code, x / *absmax));
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
