#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! bytes -> [`checkpoint`] -> [`quant`] -> [`kernels`] -> [`model`] -> [`generate`] -> `wasm`
//!
//! A module may use only the modules to its left; [`error`] is there for all.

pub mod checkpoint;
pub mod error;
pub mod generate;
pub mod kernels;
pub mod model;
pub mod quant;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use error::{Error, ErrorCode, Result};
