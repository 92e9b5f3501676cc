//! A linear layer over a dense or quantized matrix, with an optional LoRA pair beside it.

use super::lora::LoraPair;
use crate::error::Result;
use crate::kernels::scalar::round_to;
use crate::kernels::{self, Arithmetic, Scratch, TOGETHER};
use crate::quant::bnb::{OutputTensor, tensors_of, tensors_of_int8};
use crate::quant::four_bit::check_blocksize;
use crate::quant::{
    Absmax, BitsAndBytesConfig, ComputeDtype, Floats, Int8Params, NestedAbsmax, Params4bit, QuantFormat,
    QuantState,
};

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
    pub(crate) kernels: Scratch,
    /// A x, (tokens, r).
    low: Vec<f32>,
}

impl LinearScratch {
    pub(crate) fn bytes(&self) -> usize {
        self.kernels.bytes() + self.low.capacity() * size_of::<f32>()
    }
}

impl Matrix {
    /// The tensors of a layer with this weight and no bias, as bitsandbytes stores them.
    ///
    /// # Errors
    /// Those of [`tensors_of`].
    pub fn stored_form(&self, path: &str, rows: usize, cols: usize) -> Result<Vec<OutputTensor<'_>>> {
        match self {
            Matrix::Dense(values) => {
                Ok(vec![values.stored_form(&format!("{path}.weight"), vec![rows, cols])])
            }
            Matrix::FourBit(params) => tensors_of(path, params, &crate::checkpoint::Dtype::U8),
            Matrix::Int8 { params, .. } => Ok(tensors_of_int8(path, params)),
        }
    }

    /// The values it stands for, (rows, cols).
    pub fn dequantize(&self) -> Vec<f32> {
        match self {
            Matrix::Dense(values) => values.to_f32_vec(),
            Matrix::FourBit(params) => params.dequantize(),
            Matrix::Int8 { params, .. } => params.dequantize(),
        }
    }

    /// Quantizes dense values of (rows, cols) as `format` says: to 4 bits piece by piece, so that they are never all there
    /// as f32.
    ///
    /// # Errors
    /// Those of [`Params4bit::quantize`] and [`Int8Params::quantize`].
    pub fn quantize(values: &Floats, rows: usize, cols: usize, format: &QuantFormat) -> Result<Matrix> {
        match format {
            QuantFormat::FourBit { quant_type, blocksize, double_quant, .. } => {
                let (n, quant_type, blocksize) = (values.len(), *quant_type, *blocksize);
                check_blocksize(blocksize)?;
                let (mut packed, mut absmax) = (vec![0; n.div_ceil(2)], vec![0.0; n.div_ceil(blocksize)]);
                kernels::quantize_floats_4bit(values, quant_type, blocksize, &mut packed, &mut absmax);
                let shape = [rows, cols];
                let dtype = values.dtype();
                Params4bit::from_codes(packed, absmax, &shape, dtype, quant_type, blocksize, *double_quant)
                    .map(Matrix::FourBit)
            }
            QuantFormat::Int8 { threshold } => {
                let params = Int8Params::quantize(&values.to_f32_vec(), rows, cols)?;
                Ok(Matrix::Int8 { params, threshold: *threshold })
            }
        }
    }

    /// This weight plus `delta`, in the same format, as PEFT merges.
    ///
    /// Dense weights add `delta` rounded to their dtype. A 4-bit weight is dequantized in f32, added to and
    /// quantized again from f32 with the same type and blocksize; with double quantization its scales get
    /// the 8-bit codes of bitsandbytes on a CPU, so that the result is the one PEFT gives on this kind of
    /// device. (PEFT first rounds the dequantized values to the dtype that was quantized: the same for f32.)
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
                let QuantState { quant_type, blocksize, absmax, .. } = &params.quant_state;
                let shape = [rows, cols];
                let mut merged =
                    Params4bit::quantize(&delta, &shape, Dtype::F32, *quant_type, *blocksize, false)?;
                if let Absmax::Nested(_) = absmax {
                    let scales = merged.quant_state.absmax.to_vec();
                    merged.quant_state.absmax = Absmax::Nested(NestedAbsmax::quantize_as_cpu(&scales));
                }
                Ok(Matrix::FourBit(merged))
            }
            Matrix::Int8 { params, threshold } => {
                kernels::add_assign(&mut delta, &params.dequantize());
                let params = Int8Params::quantize(&delta, rows, cols)?;
                Ok(Matrix::Int8 { params, threshold: *threshold })
            }
        }
    }
}

impl Linear {
    /// The layer's tensors as bitsandbytes stores them, weight first; `path` is the module's.
    ///
    /// # Errors
    /// Those of [`tensors_of`].
    pub fn stored_form(&self, path: &str) -> Result<Vec<OutputTensor<'_>>> {
        let mut tensors = self.matrix.stored_form(path, self.rows, self.cols)?;
        if let Some(bias) = &self.bias {
            tensors.push(bias.stored_form(&format!("{path}.bias"), vec![self.rows]));
        }
        Ok(tensors)
    }

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
        Self::forward_each(&[self], x, &mut [y], &[lora], arithmetic, scratch);
    }

    /// [`Linear::forward`] of up to [`kernels::TOGETHER`] layers that share their input. Where they are quantized alike it
    /// is prepared once, and one job of the threads computes them all.
    pub(crate) fn forward_each(
        layers: &[&Linear],
        x: &[f32],
        ys: &mut [&mut [f32]],
        loras: &[Option<&LoraPair>],
        arithmetic: Arithmetic,
        scratch: &mut LinearScratch,
    ) {
        let (first, n) = (layers[0], layers.len());
        if !layers.iter().all(|layer| first.shares_activations(layer)) {
            for ((layer, y), lora) in layers.iter().zip(ys).zip(loras) {
                layer.forward(x, y, *lora, arithmetic, scratch);
            }
            return;
        }
        let (cols, kernels) = (first.cols, &mut scratch.kernels);
        let mut rounding = ComputeDtype::Float32;
        match &first.matrix {
            Matrix::Dense(values) => {
                let mut ws = [(values, first.rows); TOGETHER];
                for (w, layer) in ws.iter_mut().zip(layers) {
                    if let Matrix::Dense(values) = &layer.matrix {
                        *w = (values, layer.rows);
                    }
                }
                kernels::linear_floats_each(x, &ws[..n], cols, ys, kernels);
            }
            Matrix::FourBit(params) => {
                let mut ws = [params; TOGETHER];
                for (w, layer) in ws.iter_mut().zip(layers) {
                    if let Matrix::FourBit(params) = &layer.matrix {
                        *w = params;
                    }
                }
                kernels::linear_4bit_each(x, &ws[..n], ys, arithmetic, kernels);
                if let Arithmetic::Emulated(dtype) = arithmetic {
                    rounding = dtype;
                }
            }
            Matrix::Int8 { params, threshold } => {
                let mut ws = [params; TOGETHER];
                for (w, layer) in ws.iter_mut().zip(layers) {
                    if let Matrix::Int8 { params, .. } = &layer.matrix {
                        *w = params;
                    }
                }
                kernels::linear_int8_each(x, &ws[..n], *threshold, ys, kernels);
            }
        }
        for ((layer, y), lora) in layers.iter().zip(ys).zip(loras) {
            layer.finish(y, rounding);
            if let Some(lora) = lora {
                add_lora(lora, x, y, scratch);
            }
        }
    }

    /// Whether both read their input in the same form.
    fn shares_activations(&self, other: &Linear) -> bool {
        match (&self.matrix, &other.matrix) {
            (Matrix::Dense(_), Matrix::Dense(_)) => self.cols == other.cols,
            (Matrix::FourBit(a), Matrix::FourBit(b)) => kernels::same_activations(a, b),
            (Matrix::Int8 { params: a, threshold: s }, Matrix::Int8 { params: b, threshold: t }) => {
                (a.cols, s) == (b.cols, t)
            }
            _ => false,
        }
    }

    /// Adds the bias, itself rounded to `dtype`, and rounds the sum: once, as a fused multiply and add does in
    /// torch on either device.
    fn finish(&self, y: &mut [f32], dtype: ComputeDtype) {
        if let Some(bias) = &self.bias {
            for row in y.chunks_exact_mut(self.rows) {
                row.iter_mut().enumerate().for_each(|(i, y)| *y += round_to(dtype, bias.get(i)));
            }
        }
        if dtype != ComputeDtype::Float32 {
            y.iter_mut().for_each(|y| *y = round_to(dtype, *y));
        }
    }
}

/// y += scaling * B (A x), column by column of B in ascending order.
pub(crate) fn add_lora(lora: &LoraPair, x: &[f32], y: &mut [f32], scratch: &mut LinearScratch) {
    let tokens = x.len() / lora.cols;
    let LinearScratch { low, kernels } = scratch;
    low.resize(tokens * lora.r, 0.0);
    kernels::linear_floats(x, &lora.a, lora.r, lora.cols, low, kernels);
    let scaling = lora.scaling * lora.scale;
    for (low, y) in low.chunks_exact(lora.r).zip(y.chunks_exact_mut(lora.rows)) {
        for (factor, column) in low.iter().zip(lora.b.chunks_exact(lora.rows)) {
            kernels::axpy(scaling * factor, column, y);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;
    use crate::quant::QuantType;

    /// Several pieces, the last of which ends within a block.
    #[test]
    fn quantizing_by_pieces_is_quantizing_at_once() {
        let (rows, cols) = (3, 50_003);
        let values: Vec<f32> = (0..rows * cols).map(|i| (i * 7919 % 10_007) as f32 / 5003.5 - 1.0).collect();
        let floats = Floats::from_f32(values, &Dtype::BF16).unwrap();
        for (quant_type, blocksize, double_quant) in
            [(QuantType::Nf4, 64, false), (QuantType::Nf4, 4096, true), (QuantType::Fp4, 32, true)]
        {
            let format =
                QuantFormat::FourBit { quant_type, blocksize, double_quant, quant_storage: Dtype::U8 };
            let found = Matrix::quantize(&floats, rows, cols, &format).unwrap();
            let shape = [rows, cols];
            let values = floats.to_f32_vec();
            let at_once =
                Params4bit::quantize(&values, &shape, Dtype::BF16, quant_type, blocksize, double_quant);
            assert_eq!(found, Matrix::FourBit(at_once.unwrap()), "{blocksize}");
        }
    }

    #[test]
    fn a_bias_is_added_before_the_only_rounding() {
        let (rows, cols, tokens) = (48, 64, 3);
        let value = |i: usize| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 2.0;
        let values: Vec<f32> = (0..rows * cols).map(value).collect();
        let params =
            Params4bit::quantize(&values, &[rows, cols], Dtype::F32, QuantType::Nf4, 64, false).unwrap();
        let x: Vec<f32> = (0..tokens * cols).map(|i| value(i * 31 + 5)).collect();
        let bias: Vec<f32> = (0..rows).map(|i| value(i * 131 + 17) * 4.0).collect();
        for dtype in [ComputeDtype::Bfloat16, ComputeDtype::Float16] {
            let round = |v: f64| f64::from(round_to(dtype, v as f32));
            let weights = params.dequantize();
            let (mut once, mut twice) = (Vec::new(), Vec::new());
            for t in 0..tokens {
                for r in 0..rows {
                    let product: f64 = (0..cols)
                        .map(|k| round(weights[r * cols + k].into()) * round(x[t * cols + k].into()))
                        .sum();
                    let bias = round(bias[r].into());
                    once.push(round(product + bias) as f32);
                    twice.push(round(round(product) + bias) as f32);
                }
            }
            let linear = Linear {
                matrix: Matrix::FourBit(params.clone()),
                bias: Some(Floats::F32(bias.clone())),
                rows,
                cols,
            };
            let mut y = vec![f32::NAN; tokens * rows];
            linear.forward(&x, &mut y, None, Arithmetic::Emulated(dtype), &mut LinearScratch::default());
            assert_eq!(y, once, "{dtype:?}");
            assert_ne!(y, twice, "{dtype:?}");
        }
    }
}
