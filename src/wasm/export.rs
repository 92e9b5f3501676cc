//! A loaded model as the tensors of a checkpoint, one module at a time.

use js_sys::Array;
use wasm_bindgen::prelude::*;

use super::stored::tensor_objects;
use super::{Model, to_js};
use crate::checkpoint::Dtype;
use crate::error::Result;
use crate::quant::Floats;
use crate::quant::bnb::OutputTensor;

#[wasm_bindgen]
impl Model {
    /// The tensors to write for a module, as objects with `name`, `dtype`, `shape` and `bytes`; none when there is
    /// no such module. With `quantized` they are those that bitsandbytes stores, else the values as bf16; with
    /// `adapter` the merged ones.
    ///
    /// # Errors
    /// `unknown-adapter`, `unsupported-adapter`, `non-finite-weight`.
    #[wasm_bindgen(js_name = exportModule)]
    pub fn export_module(
        &self,
        module: &str,
        quantized: bool,
        adapter: Option<String>,
    ) -> Result<Array, JsValue> {
        let modules = self.llama.config().linear_modules();
        let result = match modules.iter().position(|each| each.path == module) {
            Some(index) => self.write_linear(index, module, quantized, adapter.as_deref()),
            None => self.write_floats(module, quantized),
        };
        result.map_err(to_js)
    }
}

impl Model {
    fn write_linear(
        &self,
        index: usize,
        module: &str,
        quantized: bool,
        adapter: Option<&str>,
    ) -> Result<Array> {
        let merged;
        let mut tensors = match self.llama.weights().linears().nth(index) {
            None => Vec::new(),
            Some(linear) if quantized => {
                merged =
                    adapter.map(|adapter| self.llama.merged_matrix(adapter, index)).transpose()?.flatten();
                merged.as_ref().unwrap_or(&linear.matrix).stored_form(module, linear.rows, linear.cols)?
            }
            Some(linear) => {
                let sum =
                    adapter.map(|adapter| self.llama.merged_values(adapter, index)).transpose()?.flatten();
                let values = sum.unwrap_or_else(|| linear.matrix.dequantize());
                let values = Floats::from_f32(values, &Dtype::BF16)?;
                vec![values.stored_form(&format!("{module}.weight"), vec![linear.rows, linear.cols])]
            }
        };
        if let Some((bias, rows)) = self
            .llama
            .weights()
            .linears()
            .nth(index)
            .and_then(|linear| Some((linear.bias.as_ref()?, linear.rows)))
        {
            tensors.push(written(bias, format!("{module}.bias"), vec![rows], quantized)?);
        }
        Ok(tensor_objects(tensors))
    }

    fn write_floats(&self, module: &str, quantized: bool) -> Result<Array> {
        let weights = self.llama.weights();
        let hidden = self.llama.config().hidden_size;
        let norm = |layer: &str, norm: &str| {
            let layer = weights.layers.get(layer.parse::<usize>().ok()?)?;
            match norm {
                "input_layernorm" => Some(&layer.input_layernorm),
                "post_attention_layernorm" => Some(&layer.post_attention_layernorm),
                _ => None,
            }
        };
        let (floats, shape) = match module {
            "model.embed_tokens" => {
                (Some(&weights.embed_tokens), vec![weights.embed_tokens.len() / hidden, hidden])
            }
            "model.norm" => (Some(&weights.norm), vec![hidden]),
            other => {
                let layer = other.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
                (layer.and_then(|(layer, name)| norm(layer, name)), vec![hidden])
            }
        };
        let tensor = floats.map(|floats| written(floats, format!("{module}.weight"), shape, quantized));
        Ok(tensor_objects(tensor.transpose()?.into_iter().collect()))
    }
}

/// A quantized checkpoint keeps the dtype of what is not quantized.
fn written(floats: &Floats, name: String, shape: Vec<usize>, as_held: bool) -> Result<OutputTensor<'static>> {
    if as_held || floats.dtype() == Dtype::BF16 {
        return Ok(floats.stored_form(&name, shape));
    }
    Ok(Floats::from_f32(floats.to_f32_vec(), &Dtype::BF16)?.stored_form(&name, shape))
}
