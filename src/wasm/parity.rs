//! A self-test on the model's own weights: this machine's kernels against the scalar specification.

use wasm_bindgen::prelude::*;

use super::Model;
use crate::kernels::{self, Arithmetic, CACHE_BLOCK, CachedLayer, Scratch, Stored, scalar};
use crate::model::linear::{Linear, Matrix};
use crate::quant::int8::Int8Activations;
use crate::quant::{ComputeDtype, Floats};

/// One token goes through the matrix by itself, these many together: two kernels, and instructions that one engine had
/// wrong in the second alone.
const TOKENS: [usize; 2] = [1, kernels::PANEL_TOKENS];

#[wasm_bindgen]
impl Model {
    /// Multiplies the smallest layer of each format with one fixed vector and with several, which other kernels
    /// do, once with the kernels of this build and once as the specification says, attends to a cache of 16 bits and
    /// quantizes a few rows both ways, and names what differs; nothing when all is equal.
    pub fn parity(&self) -> Option<String> {
        let size = |linear: &&Linear| linear.rows * linear.cols;
        let smallest = |wanted: fn(&Matrix) -> bool| {
            self.llama.weights().linears().filter(|linear| wanted(&linear.matrix)).min_by_key(size)
        };
        let four_bit = smallest(|matrix| matches!(matrix, Matrix::FourBit(_)));
        let int8 = smallest(|matrix| matches!(matrix, Matrix::Int8 { .. }));
        if !self.embedding_agrees() {
            return Some("products with float weights".to_owned());
        }
        if four_bit.is_some_and(|linear| !agrees(linear)) {
            return Some("products with 4-bit weights".to_owned());
        }
        if int8.is_some_and(|linear| !agrees(linear)) {
            return Some("products with int8 weights".to_owned());
        }
        if !attends_alike() {
            return Some("attention".to_owned());
        }
        four_bit.filter(|linear| !quantizes_alike(&linear.matrix)).map(|_| "4-bit quantization".to_owned())
    }

    /// The first rows of the embedding.
    #[inline(never)]
    fn embedding_agrees(&self) -> bool {
        let embedding = &self.llama.weights().embed_tokens;
        let cols = self.llama.config().hidden_size;
        let rows = (embedding.len() / cols).min(16);
        let mut values = vec![0.0; rows * cols];
        embedding.decode_into(0..rows * cols, &mut values);
        let Ok(part) = Floats::from_f32(values, &embedding.dtype()) else { return false };
        TOKENS.iter().all(|tokens| {
            let x = vector(tokens * cols);
            let (mut y, mut expected) = (vec![f32::NAN; tokens * rows], vec![0.0; tokens * rows]);
            kernels::linear_floats(&x, &part, rows, cols, &mut y, &mut Default::default());
            scalar::linear_floats(&x, &part, rows, cols, &mut expected);
            same_bits(&y, &expected)
        })
    }
}

/// Values in -1..1 that repeat on every machine.
#[inline(never)]
fn vector(len: usize) -> Vec<f32> {
    let mut state = 0x2545_f491u32;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(next).collect()
}

#[inline(never)]
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// L2 of the difference against L2 of what is expected.
#[inline(never)]
fn close(y: &[f32], expected: &[f32], tolerance: f32) -> bool {
    let difference: f32 = y.iter().zip(expected).map(|(y, e)| (y - e) * (y - e)).sum();
    let size: f32 = expected.iter().map(|e| e * e).sum();
    // NaN is not close.
    difference <= tolerance * tolerance * size
}

#[inline(never)]
fn agrees(linear: &Linear) -> bool {
    TOKENS.iter().all(|&tokens| agrees_for(linear, tokens))
}

#[inline(never)]
fn agrees_for(linear: &Linear, tokens: usize) -> bool {
    let x = vector(tokens * linear.cols);
    let (mut y, mut expected) = (vec![f32::NAN; tokens * linear.rows], vec![0.0; tokens * linear.rows]);
    let mut scratch = Scratch::default();
    match &linear.matrix {
        Matrix::Dense(_) => true,
        Matrix::FourBit(params) => {
            scalar::linear_4bit(&x, params, &mut expected, ComputeDtype::Float32);
            kernels::linear_4bit(&x, params, &mut y, Arithmetic::Exact, &mut scratch);
            if !same_bits(&y, &expected) {
                return false;
            }
            // Ten times the errors that these forms of arithmetic allow themselves on average.
            [(Arithmetic::NearExact, 2e-3), (Arithmetic::Fast, 1e-1)].into_iter().all(
                |(arithmetic, tolerance)| {
                    kernels::linear_4bit(&x, params, &mut y, arithmetic, &mut scratch);
                    close(&y, &expected, tolerance)
                },
            )
        }
        Matrix::Int8 { params, threshold } => {
            let activations = Int8Activations::quantize(&x, linear.cols, *threshold);
            scalar::linear_int8(&x, &activations, params, &mut expected);
            kernels::linear_int8(&x, params, *threshold, &mut y, &mut scratch);
            same_bits(&y, &expected)
        }
    }
}

/// Four rows, dequantized and quantized again.
#[inline(never)]
fn quantizes_alike(matrix: &Matrix) -> bool {
    let Matrix::FourBit(params) = matrix else { return true };
    let state = &params.quant_state;
    let n = params.len().min(4 * params.cols());
    let values: Vec<f32> = (0..n).map(|i| scalar::element_4bit(params, i)).collect();
    let quantize = |run: fn(&[f32], crate::quant::QuantType, usize, &mut [u8], &mut [f32])| {
        let (mut codes, mut absmax) = (vec![0; n.div_ceil(2)], vec![0.0; n.div_ceil(state.blocksize)]);
        run(&values, state.quant_type, state.blocksize, &mut codes, &mut absmax);
        (codes, absmax)
    };
    quantize(kernels::quantize_4bit) == quantize(crate::quant::four_bit::quantize_blocks)
}

/// Three heads on one over a block of positions and one more: integers compute what floats do.
#[inline(never)]
fn attends_alike() -> bool {
    const HEAD_DIM: usize = 64;
    const CAPACITY: usize = 2 * CACHE_BLOCK;
    let x = vector((CAPACITY + 3) * HEAD_DIM);
    let (cached, q) = x.split_at(CAPACITY * HEAD_DIM);
    let mut codes = vec![[0; 8]; 2 * CAPACITY * HEAD_DIM / 8];
    let (keys, values) = codes.split_at_mut(CAPACITY * HEAD_DIM / 8);
    let mut scales = vec![0.0; CAPACITY];
    for (position, row) in cached.chunks_exact(HEAD_DIM).enumerate() {
        // As keys and values are the same, so are their scales.
        scales[position] = kernels::store_int16([row; 2], [keys, values], position)[0];
    }
    let int16 = Stored::Int16 { keys, values, key_scales: &scales, value_scales: &scales };
    let [y, expected] = [int16, Stored::Float32 { keys: cached, values: cached }].map(|stored| {
        let mut y = vec![f32::NAN; 3 * HEAD_DIM];
        let layer = CachedLayer { stored, kv_heads: 1, head_dim: HEAD_DIM, capacity: CAPACITY };
        kernels::attention(q, &layer, CACHE_BLOCK, &mut y, &mut Default::default(), 3);
        y
    });
    close(&y, &expected, 1e-2)
}
