//! What 4-bit quantization does to one block, step by step, and to the scales of all blocks.

use crate::quant::four_bit::{Absmax, MIN_DIVISOR, NestedAbsmax, Params4bit, quantize_blocks};
use crate::quant::stats::ErrorStats;

/// One block from values to codes and back.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Before quantization, where they are known.
    pub values: Option<Vec<f32>>,
    /// As computed from the values; unknown when only its 8-bit code was stored.
    pub absmax: Option<f32>,
    /// 8-bit code of absmax with double quantization.
    pub absmax_code: Option<u8>,
    /// What levels are multiplied with.
    pub scale: f32,
    /// Values divided by absmax, as compared with the thresholds.
    pub normalised: Option<Vec<f32>>,
    /// 4-bit codes, one a byte.
    pub codes: Vec<u8>,
    /// The same two to a byte, the first in the high nibble.
    pub packed: Vec<u8>,
    /// Levels times scale.
    pub restored: Vec<f32>,
    /// Of the restored values, where the original is known.
    pub stats: Option<ErrorStats>,
}

/// Block `index` of `params`. `values` are those of the block, `absmax` the scales of all blocks before double
/// quantization, where they are known.
///
/// With values that differ from those that `params` was made of, the block is quantized anew, and with double
/// quantization so are all scales. Panics when `index` is out of range or `values` has another length.
pub fn block(params: &Params4bit, index: usize, values: Option<&[f32]>, absmax: Option<&[f32]>) -> Block {
    let state = &params.quant_state;
    let first = index * state.blocksize;
    let len = state.blocksize.min(params.len() - first);
    let mut packed = params.packed[first / 2..(first + len).div_ceil(2)].to_vec();
    let mut own = absmax.map(|absmax| absmax[index]);
    let mut all = std::borrow::Cow::Borrowed(&state.absmax);
    let mut normalised = None;
    if let Some(values) = values {
        assert_eq!(values.len(), len, "values of the block");
        let mut scale = [0.0];
        quantize_blocks(values, state.quant_type, state.blocksize, &mut packed, &mut scale);
        let changed = own.replace(scale[0]) != own;
        if let (true, Some(absmax)) = (changed, absmax) {
            let mut absmax = absmax.to_vec();
            absmax[index] = scale[0];
            all = std::borrow::Cow::Owned(match &state.absmax {
                Absmax::F32(_) => Absmax::F32(absmax),
                Absmax::Nested(_) => Absmax::Nested(NestedAbsmax::quantize(&absmax)),
            });
        }
        let divisor = scale[0].max(MIN_DIVISOR);
        let (full, reciprocal) = (len == state.blocksize, 1.0 / divisor);
        let normalise = |x: &f32| if full { x * reciprocal } else { x / divisor };
        normalised = Some(values.iter().map(normalise).collect());
    }
    let scale = all.get(index);
    let nibbles = packed.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let codes: Vec<u8> = nibbles.take(len).collect();
    let restored: Vec<f32> = codes.iter().map(|&c| state.code[usize::from(c)] * scale).collect();
    let bits = super::stats::bits_per_weight(params);
    Block {
        absmax: own,
        absmax_code: match &*all {
            Absmax::F32(_) => None,
            Absmax::Nested(nested) => Some(nested.codes[index]),
        },
        scale,
        normalised,
        stats: values.map(|values| ErrorStats::new(values, &restored, bits)),
        values: values.map(<[f32]>::to_vec),
        codes,
        packed,
        restored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;
    use crate::quant::QuantType;

    fn values(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 % 1009) as f32 - 504.0) / (300.0 + (i / 64) as f32)).collect()
    }

    #[test]
    fn a_block_shows_what_the_tensor_holds() {
        let x = values(1000);
        for (quant_type, double_quant) in
            [(QuantType::Nf4, false), (QuantType::Nf4, true), (QuantType::Fp4, true)]
        {
            let single = Params4bit::quantize(&x, &[1000], Dtype::F32, quant_type, 64, false).unwrap();
            let params = Params4bit::quantize(&x, &[1000], Dtype::F32, quant_type, 64, double_quant).unwrap();
            let absmax = single.quant_state.absmax.to_vec();
            let restored = params.dequantize();
            for index in [0, 5, 15] {
                let end = 1000.min(index * 64 + 64);
                let original = &x[index * 64..end];
                let b = block(&params, index, Some(original), Some(&absmax));
                assert_eq!(b.absmax, Some(absmax[index]));
                assert_eq!(b.absmax_code.is_some(), double_quant);
                assert_eq!(b.scale, params.quant_state.absmax.get(index));
                assert_eq!(b.restored, restored[index * 64..end]);
                let codes = b.normalised.unwrap().iter().map(|&v| quant_type.encode(v)).collect::<Vec<_>>();
                assert_eq!(b.codes, codes);
                assert_eq!(b.packed, params.packed[index * 32..end / 2]);
                let known = block(&params, index, None, None);
                assert_eq!((known.restored, known.values, known.stats), (b.restored, None, None));
            }
        }
    }

    #[test]
    fn a_planted_outlier_equals_quantizing_the_changed_tensor() {
        let x = values(64 * 300);
        let mut changed = x.clone();
        changed[64 * 7 + 3] = 40.0;
        for double_quant in [false, true] {
            let quantize = |x: &[f32], dq| {
                Params4bit::quantize(x, &[x.len()], Dtype::F32, QuantType::Nf4, 64, dq).unwrap()
            };
            let absmax = quantize(&x, false).quant_state.absmax.to_vec();
            let expected = quantize(&changed, double_quant);
            let b = block(&quantize(&x, double_quant), 7, Some(&changed[64 * 7..][..64]), Some(&absmax));
            assert_eq!(b.absmax, Some(40.0));
            assert_eq!(b.restored, expected.dequantize()[64 * 7..][..64]);
            assert_eq!(b.scale, expected.quant_state.absmax.get(7));
        }
    }
}
