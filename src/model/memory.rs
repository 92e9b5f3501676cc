//! What a loaded model really holds.

use super::linear::Matrix;
use super::weights::Weights;
use crate::checkpoint::json::{Value, object};
use crate::quant::Floats;

/// Bytes held by kind. The weights' part equals what [`super::footprint`] predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryLedger {
    /// 4-bit codes, two a byte.
    pub packed_codes: u64,
    /// Scales of 4-bit blocks: f32, or their 8-bit codes with double quantization.
    pub absmax: u64,
    /// Scales of those codes, and their offset.
    pub nested_absmax: u64,
    /// The code tables that bitsandbytes keeps with every layer.
    pub quant_maps: u64,
    /// LLM.int8 codes.
    pub int8_codes: u64,
    /// LLM.int8 row scales.
    pub scb: u64,
    /// Unquantized bf16 and f16 weights.
    pub floats_16bit: u64,
    /// Unquantized f32 weights.
    pub floats_32bit: u64,
    /// Adapters, active or not.
    pub lora: u64,
    /// Buffers of the computation, and the rotary frequencies.
    pub scratch: u64,
}

impl MemoryLedger {
    pub(crate) fn of_weights(weights: &Weights) -> Self {
        let mut ledger = MemoryLedger::default();
        for floats in weights.floats() {
            ledger.add_floats(floats);
        }
        for linear in weights.linears() {
            match &linear.matrix {
                Matrix::Dense(values) => ledger.add_floats(values),
                Matrix::FourBit(params) => {
                    let bytes = params.bytes();
                    ledger.packed_codes += bytes.packed as u64;
                    ledger.absmax += bytes.absmax as u64;
                    ledger.nested_absmax += (bytes.nested_absmax + bytes.offset) as u64;
                    ledger.quant_maps += (bytes.quant_map + bytes.nested_quant_map) as u64;
                }
                Matrix::Int8 { params, .. } => {
                    ledger.int8_codes += params.cb.len() as u64;
                    ledger.scb += (params.scb.len() * size_of::<f32>()) as u64;
                }
            }
            if let Some(bias) = &linear.bias {
                ledger.add_floats(bias);
            }
        }
        ledger
    }

    fn add_floats(&mut self, floats: &Floats) {
        match floats {
            Floats::F32(_) => self.floats_32bit += floats.bytes() as u64,
            Floats::Bf16(_) | Floats::F16(_) => self.floats_16bit += floats.bytes() as u64,
        }
    }

    /// The fields under their names.
    pub fn to_json(&self) -> Value {
        object! {
            "packed_codes": self.packed_codes,
            "absmax": self.absmax,
            "nested_absmax": self.nested_absmax,
            "quant_maps": self.quant_maps,
            "int8_codes": self.int8_codes,
            "scb": self.scb,
            "floats_16bit": self.floats_16bit,
            "floats_32bit": self.floats_32bit,
            "lora": self.lora,
            "scratch": self.scratch,
        }
    }

    /// Bytes of the base weights.
    pub fn weights(&self) -> u64 {
        self.total() - self.lora - self.scratch
    }

    /// All bytes; a kv cache comes on top.
    pub fn total(&self) -> u64 {
        let MemoryLedger { packed_codes, absmax, nested_absmax, quant_maps, int8_codes, scb, .. } = self;
        let quantized = packed_codes + absmax + nested_absmax + quant_maps + int8_codes + scb;
        quantized + self.floats_16bit + self.floats_32bit + self.lora + self.scratch
    }
}
