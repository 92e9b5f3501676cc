//! Products and conversions by themselves, for JavaScript to time.
//!
//! They are part of every delivered build, so that what is measured is what the page runs.

use wasm_bindgen::prelude::*;

use super::{loader, to_js};
use crate::checkpoint::Dtype;
use crate::error::{Error, ErrorCode, Result};
use crate::kernels::{self, Arithmetic};
use crate::model::linear::{Linear, LinearScratch, Matrix};
use crate::quant::{Floats, QuantType};

/// A linear layer, several times in memory so that it can be read cold.
#[wasm_bindgen]
pub struct Bench {
    values: Vec<f32>,
    layers: Vec<Linear>,
    next: usize,
    scratch: LinearScratch,
    y: Vec<f32>,
    codes: Vec<u8>,
    absmax: Vec<f32>,
}

#[wasm_bindgen]
impl Bench {
    /// A weight of `rows` rows, quantized as `quantization` (a `BitsAndBytesConfig` as JSON) says, else stored as
    /// bfloat16; `copies` of it.
    ///
    /// # Errors
    /// `invalid-argument` for values that are not whole rows; those of quantizing.
    #[wasm_bindgen(constructor)]
    pub fn new(
        values: Vec<f32>,
        rows: usize,
        quantization: Option<String>,
        copies: usize,
    ) -> Result<Bench, JsValue> {
        let build = || -> Result<Bench> {
            let cols = values.len().checked_div(rows).unwrap_or(0);
            if cols * rows != values.len() || copies == 0 {
                return Err(Error::new(ErrorCode::InvalidArgument, "not whole rows, or no copies"));
            }
            let format = quantization.as_deref().map(loader::quantization_from).transpose()?;
            let values = Floats::F32(values);
            let layer = || -> Result<Linear> {
                let matrix = match &format {
                    Some(config) => Matrix::quantize(&values, rows, cols, &config.format)?,
                    None => Matrix::Dense(Floats::from_f32(values.to_f32_vec(), &Dtype::BF16)?),
                };
                Ok(Linear { matrix, bias: None, rows, cols })
            };
            // Made anew each time: copying a layer is code that nothing else needs.
            let layers = (0..copies).map(|_| layer()).collect::<Result<_>>()?;
            Ok(Bench {
                values: values.to_f32_vec(),
                layers,
                next: 0,
                scratch: LinearScratch::default(),
                y: Vec::new(),
                codes: Vec::new(),
                absmax: Vec::new(),
            })
        };
        build().map_err(to_js)
    }

    /// Bytes of one copy: codes and scales.
    pub fn bytes(&self) -> usize {
        match &self.layers[0].matrix {
            Matrix::Dense(values) => values.bytes(),
            Matrix::FourBit(params) => {
                let bytes = params.bytes();
                bytes.packed + bytes.absmax + bytes.nested_absmax
            }
            Matrix::Int8 { params, .. } => params.bytes(),
        }
    }

    /// `repeat` products with `x` (tokens, cols), each with the next copy, and the last result (tokens, rows).
    ///
    /// # Errors
    /// `invalid-argument` for an unknown arithmetic or an input of another length.
    pub fn product(&mut self, x: &[f32], arithmetic: &str, repeat: usize) -> Result<Vec<f32>, JsValue> {
        let Linear { rows, cols, .. } = self.layers[0];
        let arithmetic = Arithmetic::from_name(arithmetic).filter(|_| x.len().is_multiple_of(cols));
        let Some(arithmetic) = arithmetic else {
            return Err(to_js(Error::new(
                ErrorCode::InvalidArgument,
                "unknown arithmetic, or not whole rows",
            )));
        };
        self.y.resize(x.len() / cols * rows, 0.0);
        for _ in 0..repeat {
            let layer = &self.layers[self.next];
            self.next = (self.next + 1) % self.layers.len();
            layer.forward(x, &mut self.y, None, arithmetic, &mut self.scratch);
        }
        Ok(self.y.clone())
    }

    /// Quantizes the values to NF4 in blocks of 64, `repeat` times.
    pub fn quantize(&mut self, repeat: usize) {
        self.codes.resize(self.values.len().div_ceil(2), 0);
        self.absmax.resize(self.values.len().div_ceil(64), 0.0);
        for _ in 0..repeat {
            kernels::quantize_4bit(&self.values, QuantType::Nf4, 64, &mut self.codes, &mut self.absmax);
        }
    }

    /// Dequantizes a 4-bit weight over the values it was made from, `repeat` times; anything else is left alone.
    pub fn dequantize(&mut self, repeat: usize) {
        if let Matrix::FourBit(params) = &self.layers[0].matrix {
            for _ in 0..repeat {
                kernels::dequantize_4bit(params, &mut self.values);
            }
        }
    }
}
