//! Bytes to named tensors and back; no arithmetic, no model names.

pub mod decimal;
mod dtype;
pub(crate) mod fields;
#[cfg(not(target_arch = "wasm32"))]
mod files;
pub mod json;
#[cfg(not(target_arch = "wasm32"))]
mod mmap;
mod names;
mod safetensors;
mod shards;
mod writer;

pub use dtype::Dtype;
#[cfg(not(target_arch = "wasm32"))]
pub use files::{AtomicFile, CheckpointWriter, write_file};
pub use names::NameMap;
pub use safetensors::{Header, MAX_HEADER_LEN, TensorInfo, TensorView, checked_elements};
pub use shards::{ADAPTER_FILE, Checkpoint, INDEX_FILE, MODEL_FILE, ShardIndex};
pub use writer::{TensorSpec, Writer, index_json, split_into_shards};
