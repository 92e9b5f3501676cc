//! 4-bit quantization of an array, for looking at.

use wasm_bindgen::prelude::*;

use super::to_js;
use crate::checkpoint::Dtype;
use crate::error::{Error, ErrorCode};
use crate::quant::{Absmax, Params4bit, QuantType};

/// A vector of f32 values, quantized.
#[wasm_bindgen]
pub struct Quantized(Params4bit);

#[wasm_bindgen]
impl Quantized {
    /// Quantizes `values` with `quant_type` "nf4" or "fp4".
    ///
    /// # Errors
    /// An `Error` with code `unsupported-quantization` for the type or blocksize, `non-finite-weight` for NaN and
    /// infinities.
    #[wasm_bindgen(constructor)]
    pub fn new(
        values: &[f32],
        quant_type: &str,
        blocksize: usize,
        double_quant: bool,
    ) -> Result<Quantized, JsValue> {
        let quant_type = QuantType::from_name(quant_type).ok_or_else(|| {
            to_js(
                Error::new(ErrorCode::UnsupportedQuantization, "unknown quantization type")
                    .expected("nf4 or fp4")
                    .found(quant_type),
            )
        })?;
        Params4bit::quantize(values, &[values.len()], Dtype::F32, quant_type, blocksize, double_quant)
            .map(Quantized)
            .map_err(to_js)
    }

    /// Packed codes: two to a byte, the first in the high nibble.
    pub fn packed(&self) -> Vec<u8> {
        self.0.packed.clone()
    }

    /// The scale of each block as it is used: with double quantization, decoded.
    pub fn absmax(&self) -> Vec<f32> {
        self.0.quant_state.absmax.to_vec()
    }

    /// With double quantization the 8-bit code of each block's scale, else nothing.
    #[wasm_bindgen(js_name = absmaxCodes)]
    pub fn absmax_codes(&self) -> Option<Vec<u8>> {
        match &self.0.quant_state.absmax {
            Absmax::F32(_) => None,
            Absmax::Nested(nested) => Some(nested.codes.clone()),
        }
    }

    /// The values that the codes stand for.
    pub fn dequantize(&self) -> Vec<f32> {
        self.0.dequantize()
    }

    /// Bytes held, code tables included.
    pub fn bytes(&self) -> usize {
        self.0.bytes().total()
    }
}
