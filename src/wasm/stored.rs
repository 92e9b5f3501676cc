//! A load that goes on from what an earlier one kept: tensors in the form bitsandbytes stores them.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::loader::ranges;
use super::session::Hash;
use super::{Loader, to_js};
use crate::checkpoint::Header;
use crate::quant::bnb::{OutputTensor, Part};

/// Bytes that are hashed at a time: as many are copied when they lie outside this memory.
const HASHED: usize = 1 << 20;

/// Goes on from the checksum `seed` with bytes from outside, at most a mebibyte; the first seed is 0.
#[wasm_bindgen]
pub fn checksum(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = Hash(seed);
    hash.bytes(bytes);
    hash.0
}

#[wasm_bindgen]
impl Loader {
    /// What [`checksum`] says of a part of the buffer, mebibyte after mebibyte.
    ///
    /// # Panics
    /// When the part is not inside the buffer.
    #[wasm_bindgen(js_name = bufferChecksum)]
    pub fn buffer_checksum(&self, start: usize, end: usize) -> u64 {
        self.buffer[start..end].chunks(HASHED).fold(0, |seed, bytes| checksum(bytes, seed))
    }

    /// As [`Loader::add_header`], for tensors kept from an earlier load. They take the place of the checkpoint's
    /// own; those quantized as asked are taken as they are. [`Loader::push`] knows them as the file after the last.
    ///
    /// # Errors
    /// What is wrong with the header, as an `Error`.
    #[wasm_bindgen(js_name = addStored)]
    pub fn add_stored(&mut self, file: &str, prefix: &[u8], file_length: f64) -> Result<String, JsValue> {
        let header = Header::parse(file, prefix, file_length as u64).map_err(to_js)?;
        let ranges = ranges(&header);
        self.stored = Some(header);
        Ok(ranges)
    }

    /// Whether the tensor is quantized on its way in. Any other is kept as it is stored.
    pub fn quantizes(&self, name: &str) -> bool {
        self.weights.as_ref().is_some_and(|weights| weights.quantizes(name))
    }

    /// The layer that the tensor belongs to, quantized, as objects with `name`, `dtype`, `shape` and `bytes`;
    /// nothing until every tensor of the layer came.
    ///
    /// # Errors
    /// `unsupported-quantization`.
    #[wasm_bindgen(js_name = quantizedForm)]
    pub fn quantized_form(&self, name: &str) -> Result<Option<Array>, JsValue> {
        let tensors = self.weights.as_ref().map(|weights| weights.stored_form(name)).transpose();
        Ok(tensors.map_err(to_js)?.flatten().map(tensor_objects))
    }

    /// Whether the tensor of a checkpoint's file has a kept one in its place.
    pub(super) fn is_stored(&self, file: &str, name: &str) -> bool {
        let Some(stored) = &self.stored else { return false };
        // A layer that was quantized on its way in is kept with its bias; anything else tensor by tensor.
        let quantized = |module: &str| {
            ["weight.absmax", "SCB"].iter().any(|part| stored.get(&format!("{module}.{part}")).is_some())
        };
        let layer = Part::split(name).filter(|_| self.config.quantization.is_none());
        stored.file() != file
            && (stored.get(name).is_some() || layer.is_some_and(|(module, _)| quantized(module)))
    }
}

/// Tensors as JavaScript objects with `name`, `dtype`, `shape` and `bytes`.
pub(super) fn tensor_objects(tensors: Vec<OutputTensor<'_>>) -> Array {
    let out = Array::new();
    for (name, dtype, shape, bytes) in tensors {
        let shape: Array = shape.iter().map(|&n| JsValue::from(n as f64)).collect();
        let values: [(&str, JsValue); 4] = [
            ("name", name.into()),
            ("dtype", dtype.as_str().into()),
            ("shape", shape.into()),
            ("bytes", Uint8Array::from(&*bytes).into()),
        ];
        let object = Object::new();
        for (key, value) in values {
            // A fresh object takes any property.
            let _ = Reflect::set(&object, &key.into(), &value);
        }
        out.push(&object);
    }
    out
}
