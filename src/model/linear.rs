//! A linear layer over a dense or quantized matrix, with an optional LoRA pair beside it.

use half::{bf16, f16};

use super::lora::LoraPair;
use crate::error::Result;
use crate::kernels::{self, Arithmetic, Scratch};
use crate::quant::{BitsAndBytesConfig, ComputeDtype, Floats, Int8Params, Params4bit, QuantFormat};

/// The weight of a linear layer, (rows, cols) = (out_features, in_features).
#[derive(Debug, Clone, PartialEq)]
pub enum Matrix {
    /// Unquantized, in the dtype of the checkpoint.
    Dense(Floats),
    /// `Linear4bit`.
    FourBit(Params4bit),
    /// `Linear8bitLt`.
    Int8 {
        /// Codes and row scales.
        params: Int8Params,
        /// `llm_int8_threshold`.
        threshold: f32,
    },
}

/// y = W x + b.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// W.
    pub matrix: Matrix,
    /// b, (rows,).
    pub bias: Option<Floats>,
    /// out_features.
    pub rows: usize,
    /// in_features.
    pub cols: usize,
}

/// Buffers of linear layers.
#[derive(Debug, Default)]
pub(crate) struct LinearScratch {
    kernels: Scratch,
    /// A x, (tokens, r).
    low: Vec<f32>,
    /// B A x, (tokens, rows).
    delta: Vec<f32>,
}

impl LinearScratch {
    pub(crate) fn bytes(&self) -> usize {
        self.kernels.bytes() + (self.low.capacity() + self.delta.capacity()) * size_of::<f32>()
    }
}

impl Matrix {
    /// Quantizes dense values of (rows, cols) as `format` says.
    ///
    /// # Errors
    /// Those of [`Params4bit::quantize`] and [`Int8Params::quantize`].
    pub fn quantize(values: &Floats, rows: usize, cols: usize, format: &QuantFormat) -> Result<Matrix> {
        Self::quantize_f32(&values.to_f32_vec(), values.dtype(), rows, cols, format)
    }

    fn quantize_f32(
        values: &[f32],
        dtype: crate::checkpoint::Dtype,
        rows: usize,
        cols: usize,
        format: &QuantFormat,
    ) -> Result<Matrix> {
        match format {
            QuantFormat::FourBit { quant_type, blocksize, double_quant, .. } => {
                Params4bit::quantize(values, &[rows, cols], dtype, *quant_type, *blocksize, *double_quant)
                    .map(Matrix::FourBit)
            }
            QuantFormat::Int8 { threshold } => {
                let params = Int8Params::quantize(values, rows, cols)?;
                Ok(Matrix::Int8 { params, threshold: *threshold })
            }
        }
    }

    /// This weight plus `delta`, in the same format, as PEFT merges.
    ///
    /// Dense weights add `delta` rounded to their dtype. A 4-bit weight is dequantized in f32, added to
    /// and quantized again from f32 with the same type, blocksize and double quantization. (PEFT rounds
    /// the dequantized values to the dtype that was quantized first, which is the same for f32.)
    pub(crate) fn merged(&self, mut delta: Vec<f32>, rows: usize, cols: usize) -> Result<Matrix> {
        use crate::checkpoint::Dtype;
        match self {
            Matrix::Dense(values) => {
                let delta = Floats::from_f32(delta, &values.dtype())?;
                let mut sum = values.to_f32_vec();
                sum.iter_mut().enumerate().for_each(|(i, w)| *w += delta.get(i));
                Floats::from_f32(sum, &values.dtype()).map(Matrix::Dense)
            }
            Matrix::FourBit(params) => {
                kernels::add_assign(&mut delta, &params.dequantize());
                let state = &params.quant_state;
                let format = QuantFormat::FourBit {
                    quant_type: state.quant_type,
                    blocksize: state.blocksize,
                    double_quant: matches!(state.absmax, crate::quant::Absmax::Nested(_)),
                    quant_storage: Dtype::U8,
                };
                Self::quantize_f32(&delta, Dtype::F32, rows, cols, &format)
            }
            Matrix::Int8 { params, threshold } => {
                kernels::add_assign(&mut delta, &params.dequantize());
                Self::quantize_f32(
                    &delta,
                    Dtype::F32,
                    rows,
                    cols,
                    &QuantFormat::Int8 { threshold: *threshold },
                )
            }
        }
    }
}

impl Linear {
    /// `x` (tokens, cols), `y` (tokens, rows), overwritten.
    ///
    /// `y = W x + b`, then `y += scaling * B (A x)` in f32 whatever the compute dtype, as PEFT does.
    pub(crate) fn forward(
        &self,
        x: &[f32],
        y: &mut [f32],
        lora: Option<&LoraPair>,
        arithmetic: Arithmetic,
        scratch: &mut LinearScratch,
    ) {
        match &self.matrix {
            Matrix::Dense(values) => kernels::linear_floats(x, values, self.rows, self.cols, y),
            Matrix::FourBit(params) => kernels::linear_4bit(x, params, y, arithmetic, &mut scratch.kernels),
            Matrix::Int8 { params, threshold } => {
                kernels::linear_int8(x, params, *threshold, y, &mut scratch.kernels);
            }
        }
        if let Some(bias) = &self.bias {
            self.add_bias(bias, y, arithmetic);
        }
        if let Some(lora) = lora {
            add_lora(lora, x, y, scratch);
        }
    }

    fn add_bias(&self, bias: &Floats, y: &mut [f32], arithmetic: Arithmetic) {
        let emulated = match (&self.matrix, arithmetic) {
            (Matrix::FourBit(_), Arithmetic::Emulated(dtype)) => dtype,
            _ => ComputeDtype::Float32,
        };
        for row in y.chunks_exact_mut(self.rows) {
            for (i, value) in row.iter_mut().enumerate() {
                *value = round(*value + round(bias.get(i), emulated), emulated);
            }
        }
    }
}

/// y += scaling * B (A x).
pub(crate) fn add_lora(lora: &LoraPair, x: &[f32], y: &mut [f32], scratch: &mut LinearScratch) {
    let tokens = x.len() / lora.cols;
    let LinearScratch { low, delta, .. } = scratch;
    low.resize(tokens * lora.r, 0.0);
    kernels::linear_floats(x, &lora.a, lora.r, lora.cols, low);
    delta.resize(tokens * lora.rows, 0.0);
    kernels::linear_floats(low, &lora.b, lora.rows, lora.r, delta);
    kernels::axpy(lora.scaling, delta, y);
}

fn round(value: f32, dtype: ComputeDtype) -> f32 {
    match dtype {
        ComputeDtype::Float32 => value,
        ComputeDtype::Bfloat16 => bf16::from_f32(value).to_f32(),
        ComputeDtype::Float16 => f16::from_f32(value).to_f32(),
    }
}

/// Whether the stored matrix is what `config` asks for.
pub(crate) fn same_format(stored: &QuantFormat, asked: &BitsAndBytesConfig) -> bool {
    match (stored, &asked.format) {
        (
            QuantFormat::FourBit { quant_type: a, blocksize: b, double_quant: c, .. },
            QuantFormat::FourBit { quant_type: x, blocksize: y, double_quant: z, .. },
        ) => (a, b, c) == (x, y, z),
        (QuantFormat::Int8 { threshold: a }, QuantFormat::Int8 { threshold: b }) => a == b,
        _ => false,
    }
}
