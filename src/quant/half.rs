//! 16- and 32-bit float tensors kept as they are stored.

use std::ops::Range;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::checkpoint::{Dtype, TensorView};
use crate::error::{Error, ErrorCode, Result};

/// A flat float tensor in its stored dtype.
#[derive(Debug, Clone, PartialEq)]
pub enum Floats {
    /// 32-bit.
    F32(Vec<f32>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// IEEE half precision.
    F16(Vec<f16>),
}

impl Floats {
    /// Copies a tensor of dtype F32, BF16 or F16; any other is [`ErrorCode::UnsupportedDtype`].
    pub fn from_view(view: &TensorView<'_>) -> Result<Self> {
        let size = view.dtype.size().unwrap_or(0);
        let pairs = || view.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        let floats = match view.dtype {
            Dtype::F32 => Floats::F32(
                view.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            ),
            Dtype::BF16 => Floats::Bf16(pairs().map(bf16::from_bits).collect()),
            Dtype::F16 => Floats::F16(pairs().map(f16::from_bits).collect()),
            other => {
                return Err(Error::new(
                    ErrorCode::UnsupportedDtype,
                    "not a float tensor this crate computes with",
                )
                .in_file(view.file)
                .tensor(view.name)
                .expected("F32, BF16 or F16")
                .found(other.as_str()));
            }
        };
        let expected = view.elements().saturating_mul(size);
        if floats.len() != view.elements() || expected != view.bytes.len() {
            return Err(Error::new(ErrorCode::ByteCountMismatch, "shape and byte count disagree")
                .in_file(view.file)
                .tensor(view.name)
                .expected(expected)
                .found(view.bytes.len()));
        }
        Ok(floats)
    }

    /// Rounds f32 values to `dtype` (to nearest, ties to even); other dtypes than F32, BF16 and F16
    /// are [`ErrorCode::UnsupportedDtype`].
    pub fn from_f32(values: Vec<f32>, dtype: &Dtype) -> Result<Self> {
        Ok(match dtype {
            Dtype::F32 => Floats::F32(values),
            Dtype::BF16 => Floats::Bf16(values.into_iter().map(bf16::from_f32).collect()),
            Dtype::F16 => Floats::F16(values.into_iter().map(f16::from_f32).collect()),
            other => {
                return Err(Error::new(
                    ErrorCode::UnsupportedDtype,
                    "not a float dtype this crate computes with",
                )
                .expected("F32, BF16 or F16")
                .found(other.as_str()));
            }
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Floats::F32(v) => v.len(),
            Floats::Bf16(v) => v.len(),
            Floats::F16(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match self {
            Floats::F32(v) => v.len() * 4,
            Floats::Bf16(v) => v.len() * 2,
            Floats::F16(v) => v.len() * 2,
        }
    }

    /// The stored dtype.
    pub fn dtype(&self) -> Dtype {
        match self {
            Floats::F32(_) => Dtype::F32,
            Floats::Bf16(_) => Dtype::BF16,
            Floats::F16(_) => Dtype::F16,
        }
    }

    /// Element `i` as f32. Panics when `i` is out of range.
    #[inline]
    pub fn get(&self, i: usize) -> f32 {
        match self {
            Floats::F32(v) => v[i],
            Floats::Bf16(v) => v[i].to_f32(),
            Floats::F16(v) => v[i].to_f32(),
        }
    }

    /// Elements `range` as f32. Panics when the range is out of bounds or `out` has another length.
    pub fn decode_into(&self, range: Range<usize>, out: &mut [f32]) {
        match self {
            Floats::F32(v) => out.copy_from_slice(&v[range]),
            Floats::Bf16(v) => {
                assert_eq!(range.len(), out.len(), "output length");
                for (out, v) in out.iter_mut().zip(&v[range]) {
                    *out = f32::from_bits(u32::from(v.to_bits()) << 16);
                }
            }
            Floats::F16(v) => v[range].convert_to_f32_slice(out),
        }
    }

    /// All elements as f32.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.decode_into(0..self.len(), &mut out);
        out
    }

    /// The tensor to write under `name`, in the stored dtype.
    pub fn stored_form(&self, name: &str, shape: Vec<usize>) -> super::bnb::OutputTensor<'static> {
        (name.to_owned(), self.dtype(), shape, self.to_le_bytes().into())
    }

    /// The elements as little-endian bytes, as safetensors stores them.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        match self {
            Floats::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Floats::Bf16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Floats::F16(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }
}

/// Rounds every value to `dtype` and back: what a tensor of that dtype would hold.
pub fn round_to(values: &mut [f32], dtype: &Dtype) {
    match dtype {
        Dtype::BF16 => values.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32()),
        Dtype::F16 => values.iter_mut().for_each(|v| *v = f16::from_f32(*v).to_f32()),
        _ => {}
    }
}
