//! Named tensors to quantized tensors: the formats of bitsandbytes in plain Rust.
//!
//! The code here is the specification; `kernels` does the same faster, bit for bit.
//!
//! # Where bitsandbytes' CPU and CUDA paths differ
//!
//! The reference is what bitsandbytes 0.50.2 computes on a CPU, save where that is plainly a defect.
//! Each row has a test in `tests/bnb_parity.rs` or `tests/quant.rs` unless it names another file.
//!
//! | case | CPU | CUDA | here | test |
//! | --- | --- | --- | --- | --- |
//! | NF4 thresholds | f32 midpoints | literals, 4 of 15 an ulp away | CPU | `thresholds_are_the_cpu_midpoints` |
//! | FP4 thresholds, ties | midpoints of signed values; a tie takes the lower value | truncated literals on the magnitude; a tie takes the smaller magnitude | CPU | `fp4_ties_take_the_lower_value` |
//! | FP4 near zero | v > 0 takes code 8 (-0), v < 0 code 0 | v < 0 takes code 8 | CUDA: the CPU reverses the sign | `fp4_zero_keeps_its_sign` |
//! | all-zero block | absmax 0, NF4 code 7 | absmax 0, NF4 code 0 (0 x inf) | CPU: code 7 is 0.0, code 0 is -1.0 | `zero_blocks_hold_the_code_of_zero` |
//! | all-zero short last block | absmax 1e-38 | absmax 0 | CUDA: a guard against division leaks into the CPU's statistics | `zero_short_block_has_absmax_zero` |
//! | subnormal absmax | kept, reciprocal of max(absmax, 1e-38); a short last block stores 1e-38 | flushed to 0 | CPU | `subnormal_scales_follow_the_cpu` |
//! | 1 / absmax | exact; a short last block divides | approximate | CPU | `short_last_block_divides` |
//! | offset of nested scales | torch's mean, order-dependent | another order | mean in f64, rounded once; 2 ulp tolerance | `four_bit_cases` |
//! | 8-bit codes | 65,536-entry table, about 0.2 % not the nearest | nearest level | CUDA | `eight_bit_codes_are_nearest` |
//! | 8-bit codes of scales after merging an adapter | the same table | nearest level | CPU, as PEFT's merge on that device | `every_adapter` in `tests/model_parity.rs` |
//! | 8-bit block of zeros | code 0, absmax 0 | code 0, absmax 0 | both | `eight_bit_zero_block_has_code_zero` |
//! | int8 product scale | 6.200124e-05 | 6.200012e-05 (1 / 127^2) | CPU: 1.8e-5 too large, but any other value moves int8 logits by up to 0.3 | `int8_product_scale_is_that_of_the_cpu` |
//! | `dequantize_4bit` of a matrix | wrong scales with AVX-512 when a row is no whole number of blocks | right | CUDA | `blocks_ignore_rows` |
//!
//! NaN and infinities are refused ([`crate::ErrorCode::NonFiniteWeight`]); bitsandbytes stores garbage.

pub mod blockwise8;
pub mod bnb;
pub mod codebook;
pub mod config;
pub mod contest;
pub mod four_bit;
pub mod half;
pub mod heatmap;
pub mod int8;
pub mod stats;
pub mod steps;

pub use codebook::QuantType;
pub use config::{BitsAndBytesConfig, ComputeDtype, QuantFormat};
pub use four_bit::{Absmax, FourBitBytes, NestedAbsmax, Params4bit, QuantState};
pub use half::Floats;
pub use int8::Int8Params;
