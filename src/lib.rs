//! bitsandbytes 4-bit quantization and Llama inference, native and in WebAssembly.
//!
//! The crate reads Llamas as Hugging Face stores them, in full precision or quantized by bitsandbytes; quantizes them
//! to NF4, FP4 or LLM.int8 bit for bit as bitsandbytes does; writes checkpoints that transformers loads; and runs them
//! on a CPU, with LoRA adapters beside weights that stay quantized.
//!
//! # A model
//!
//! ```no_run
//! use std::path::Path;
//!
//! use nibblama::generate::{Generation, Generator, SamplingConfig};
//! use nibblama::model::{Llama, LoadOptions};
//! use nibblama::quant::{BitsAndBytesConfig, QuantType};
//!
//! # fn main() -> nibblama::Result<()> {
//! // A full-precision folder is quantized tensor by tensor; one that bitsandbytes wrote is taken as it is.
//! let quantization = Some(BitsAndBytesConfig::four_bit(QuantType::Nf4, true));
//! let mut model = Llama::load(Path::new("folder"), &LoadOptions { quantization, ..Default::default() })?;
//! println!("{} bytes of weights", model.memory().weights());
//!
//! let prompt = [1, 42, 7]; // ids come from a tokenizer of your choice
//! let mut cache = model.new_cache(256)?;
//! let sampling = SamplingConfig { do_sample: true, temperature: 0.8, ..Default::default() };
//! let eos = model.config().eos_token_ids.clone();
//! for step in Generator::new(&mut model, &mut cache, Generation::new(&prompt, sampling, &eos, 64)?) {
//!     print!("{} ", step?.token);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Weights alone
//!
//! ```
//! use nibblama::checkpoint::Dtype;
//! use nibblama::quant::{Params4bit, QuantType};
//!
//! # fn main() -> nibblama::Result<()> {
//! let weight: Vec<f32> = (0..128 * 96).map(|i| (i as f32 * 0.37).sin()).collect();
//! let quantized = Params4bit::quantize(&weight, &[128, 96], Dtype::F32, QuantType::Nf4, 64, true)?;
//! assert_eq!(quantized.bytes().packed, 128 * 96 / 2);
//! assert_eq!(quantized.dequantize().len(), weight.len());
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! bytes -> [`checkpoint`] -> [`quant`] -> [`kernels`] -> [`model`] -> [`generate`] -> `wasm`
//!
//! A module may use only the modules to its left; [`error`] is there for all. [`quant`] says what is exact, and against
//! which version of bitsandbytes.
//!
//! # Features
//!
//! None by default. `cli` adds the program `nibblama` and what only it needs. For `wasm32-unknown-unknown` the module `wasm`
//! has the classes that the npm package of the same name is built on.

pub mod checkpoint;
pub mod error;
pub mod generate;
pub mod kernels;
pub mod model;
pub mod quant;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use error::{Error, ErrorCode, Result};

/// The examples of the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
