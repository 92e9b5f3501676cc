//! Quantizing and dequantizing, over threads where that pays.

// Without vectors only the reference is used.
#![cfg_attr(
    all(target_arch = "wasm32", not(target_feature = "simd128")),
    allow(dead_code, unreachable_code, unused_imports, unused_variables)
)]

use std::ops::Range;

use super::rows::{self, Shared};
use super::simd::Simd;
use super::{check_4bit, codec};
use crate::quant::{Floats, Params4bit, QuantType};

/// 4-bit codes and scales of `src`, bit-equal with
/// [`quantize_blocks`](crate::quant::four_bit::quantize_blocks): `codes` holds
/// `ceil(n / 2)` bytes, `absmax` `ceil(n / blocksize)`.
///
/// # Panics
/// When a length does not fit or the blocksize is odd.
pub fn quantize_4bit(
    src: &[f32],
    quant_type: QuantType,
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    quantize_pieces(src.len(), blocksize, codes, absmax, |piece, codes, absmax| {
        quantize_piece(&src[piece], quant_type, blocksize, codes, absmax);
    });
}

/// [`quantize_4bit`] of stored values, of which no more than a piece for each thread is there as f32.
///
/// # Panics
/// As [`quantize_4bit`].
pub fn quantize_floats_4bit(
    src: &Floats,
    quant_type: QuantType,
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    if let Floats::F32(src) = src {
        return quantize_4bit(src, quant_type, blocksize, codes, absmax);
    }
    quantize_pieces(src.len(), blocksize, codes, absmax, |piece, codes, absmax| {
        let mut values = vec![0.0; piece.len()];
        src.decode_into(piece, &mut values);
        quantize_piece(&values, quant_type, blocksize, codes, absmax);
    });
}

/// Elements of a piece, unless a block has more.
const PIECE: usize = 1 << 16;
/// Multiplications in near-exact arithmetic that take as long as quantizing an element.
const QUANTIZE_WORK: usize = 16;

/// Calls `f(elements, codes, absmax)` for pieces of whole blocks that make up `n` elements, on as many threads as pay.
fn quantize_pieces(
    n: usize,
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
    f: impl Fn(Range<usize>, &mut [u8], &mut [f32]) + Sync,
) {
    assert!(blocksize >= 2 && blocksize.is_multiple_of(2), "blocksize must be even");
    assert_eq!(codes.len(), n.div_ceil(2), "packed length");
    assert_eq!(absmax.len(), n.div_ceil(blocksize), "absmax length");
    if n == 0 {
        return;
    }
    let blocks = (PIECE / blocksize).max(1);
    let codes = Shared::new(codes);
    rows::split(&mut [absmax], QUANTIZE_WORK * blocksize, blocks, 1, &|_, range, mut absmax| {
        let first = range.start * blocksize;
        for (i, absmax) in absmax.of_token(0).chunks_mut(blocks).enumerate() {
            let start = first + i * blocks * blocksize;
            let piece = start..n.min(start + blocks * blocksize);
            // SAFETY: no two ranges have a block in common, and a block begins with a byte.
            let codes = unsafe { codes.part(piece.start / 2..piece.end.div_ceil(2)) };
            f(piece, codes, absmax);
        }
    });
}

fn quantize_piece(
    src: &[f32],
    quant_type: QuantType,
    blocksize: usize,
    codes: &mut [u8],
    absmax: &mut [f32],
) {
    dispatch!(
        codec::quantize_4bit,
        (src: &[f32], quant_type: QuantType, blocksize: usize, codes: &mut [u8], absmax: &mut [f32]),
        crate::quant::four_bit::quantize_blocks(src, quant_type, blocksize, codes, absmax)
    );
}

/// The values of `w`, bit-equal with [`Params4bit::dequantize_into`].
///
/// # Panics
/// When `out` has not one place per element.
pub fn dequantize_4bit(w: &Params4bit, out: &mut [f32]) {
    check_4bit(w);
    assert_eq!(out.len(), w.len(), "output length");
    dispatch!(
        dequantize,
        (w: &Params4bit, out: &mut [f32]),
        w.dequantize_into(out)
    );
}

#[inline(always)]
fn dequantize<S: Simd>(s: S, w: &Params4bit, out: &mut [f32]) {
    codec::dequantize_range(s, w, 0, out);
}
