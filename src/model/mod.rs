//! Tensors and tokens to logits: a Llama whose linear layers may be bitsandbytes-quantized.

pub mod cache;
pub mod config;
pub mod footprint;
pub mod generation;
pub mod lens;
pub mod linear;
pub mod llama;
pub mod lora;
pub mod memory;
pub mod rope;
pub mod tree;
pub mod weights;

pub use cache::{KvCache, KvCacheDtype};
pub use config::{Config, LinearModule, Rope, RopeScaling};
pub use generation::GenerationConfig;
pub use linear::{Linear, Matrix};
pub use llama::{Llama, LogitsFor};
pub use lora::{Adapter, LoraPair};
pub use memory::MemoryLedger;
pub use weights::{Layer, LoadOptions, Weights, WeightsLoader};

use crate::checkpoint::fields::Fields;
use crate::checkpoint::json::parse as parse_json;

/// A small file of a model folder.
#[cfg(not(target_arch = "wasm32"))]
fn read_file(dir: &std::path::Path, name: &str) -> crate::Result<Vec<u8>> {
    let limit = crate::checkpoint::json::MAX_JSON_LEN as u64 + 1;
    let read = || {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(
            &mut std::io::Read::take(std::fs::File::open(dir.join(name))?, limit),
            &mut bytes,
        )?;
        Ok(bytes)
    };
    read().map_err(|e: std::io::Error| {
        crate::Error::new(crate::ErrorCode::Io, format!("cannot read: {e}"))
            .in_file(dir.join(name).display().to_string())
    })
}
