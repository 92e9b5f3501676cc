//! The kv cache across calls: reuse of a prefix, going back, saving and restoring.

use wasm_bindgen::prelude::*;

use super::{Model, to_js};
use crate::error::{Error, ErrorCode};
use crate::model::linear::Matrix;
use crate::model::{Llama, RopeScaling};
use crate::quant::{Absmax, Floats};

#[wasm_bindgen]
impl Model {
    /// Positions the kv cache has room for.
    pub fn context(&self) -> usize {
        self.cache.capacity()
    }

    /// Every token in the kv cache.
    pub fn history(&self) -> Vec<u32> {
        self.history.clone()
    }

    /// Keeps what the kv cache and `tokens` have in common, at most `limit` positions and never all of `tokens`,
    /// and returns how many positions that is. Nothing is kept of a text during which an adapter was changed, or
    /// of a model with LLM.int8 layers.
    pub fn reuse(&mut self, tokens: &[u32], limit: usize) -> usize {
        let common = self.history.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let usable = !self.mixed && !self.llama.has_int8();
        let kept = if usable { common.min(limit).min(tokens.len().saturating_sub(1)) } else { 0 };
        if kept == 0 {
            self.reset();
        } else {
            self.cache.truncate(kept);
            self.history.truncate(kept);
        }
        kept
    }

    /// Goes back to the first `length` tokens of the text, after which `logits` were what they were.
    ///
    /// # Errors
    /// `invalid-argument` when there are fewer tokens, or `logits` is not one row.
    pub fn rewind(&mut self, length: usize, logits: Vec<f32>) -> Result<(), JsValue> {
        if length > self.history.len() || logits.len() != self.llama.config().vocab_size {
            return Err(to_js(Error::new(ErrorCode::InvalidArgument, "the text cannot go back to there")));
        }
        self.cache.truncate(length);
        self.history.truncate(length);
        self.logits = logits;
        Ok(())
    }

    /// Appends tokens to the text and returns the sum of their last hidden states, (hidden_size,).
    ///
    /// # Errors
    /// As [`Model::read`].
    #[wasm_bindgen(js_name = hiddenSum)]
    pub fn hidden_sum(&mut self, tokens: &[u32]) -> Result<Vec<f32>, JsValue> {
        self.cache.set_dtype(self.llama.kv_cache_dtype()).map_err(to_js)?;
        let sum = self.llama.hidden_sum(tokens, &mut self.cache).map_err(to_js)?;
        self.history.extend_from_slice(tokens);
        Ok(sum)
    }

    /// Keys and values of a layer for every token of the text: keys, then values, each (kv heads, tokens,
    /// head_dim).
    ///
    /// # Errors
    /// `invalid-argument` for a layer that is not there, or a text during which an adapter was changed.
    #[wasm_bindgen(js_name = saveLayer)]
    pub fn save_layer(&self, layer: usize) -> Result<Vec<f32>, JsValue> {
        if self.mixed {
            let reason = "the text was computed with more than one adapter and cannot be saved";
            return Err(to_js(Error::new(ErrorCode::InvalidArgument, reason)));
        }
        if layer >= self.llama.config().num_hidden_layers {
            return Err(to_js(Error::new(ErrorCode::InvalidArgument, "no such layer").found(layer)));
        }
        Ok(self.cache.layer(layer))
    }

    /// Puts a layer back as [`Model::save_layer`] gave it, for a text of `tokens` tokens.
    ///
    /// # Errors
    /// `context-full`, `byte-count-mismatch`, `invalid-argument`.
    #[wasm_bindgen(js_name = restoreLayer)]
    pub fn restore_layer(&mut self, layer: usize, tokens: usize, values: &[f32]) -> Result<(), JsValue> {
        self.reset();
        self.cache.restore_layer(layer, tokens, values).map_err(to_js)
    }

    /// Takes `tokens` for the text, once every layer is back.
    ///
    /// # Errors
    /// `context-full`, `invalid-token`.
    pub fn restored(&mut self, tokens: Vec<u32>) -> Result<(), JsValue> {
        let vocab = self.llama.config().vocab_size;
        if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocab) {
            return Err(to_js(
                Error::new(ErrorCode::InvalidToken, "token id outside the vocabulary").found(token),
            ));
        }
        self.reset();
        self.cache.restored(tokens.len()).map_err(to_js)?;
        self.history = tokens;
        Ok(())
    }

    /// A hash of everything that the kv cache depends on besides the tokens: shapes, weights as they are held, and
    /// the active adapter.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Hash(0x6e69_6262_6c61_6d61);
        hash.model(&self.llama);
        hash.0
    }
}

/// Multiply and rotate over 64-bit words. It finds mistakes and damage, not attacks.
pub(super) struct Hash(pub(super) u64);

impl Hash {
    #[inline(always)]
    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31);
    }

    /// Four words at a time, each in a state of its own: one state would wait for its multiplications.
    #[inline(never)]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (chunks, rest) = bytes.as_chunks::<32>();
        let mut lanes = [0u64, 1, 2, 3].map(|lane| Hash(self.0 ^ lane));
        for chunk in chunks {
            let words = chunk.as_chunks::<8>().0;
            for (lane, &word) in lanes.iter_mut().zip(words) {
                lane.word(u64::from_le_bytes(word));
            }
        }
        lanes.into_iter().for_each(|lane| self.word(lane.0));
        rest.iter().for_each(|&byte| self.word(byte.into()));
    }

    #[inline(never)]
    fn floats(&mut self, floats: &Floats) {
        self.word(floats.bytes() as u64);
        match floats {
            Floats::F32(values) => self.f32s(values),
            Floats::Bf16(values) => values.iter().for_each(|x| self.word(x.to_bits().into())),
            Floats::F16(values) => values.iter().for_each(|x| self.word(x.to_bits().into())),
        }
    }

    #[inline(never)]
    fn f32s(&mut self, values: &[f32]) {
        values.iter().for_each(|x| self.word(x.to_bits().into()));
    }

    fn model(&mut self, llama: &Llama) {
        let config = llama.config();
        let shape =
            [config.num_hidden_layers, config.num_key_value_heads, config.head_dim, config.hidden_size];
        shape.iter().for_each(|&n| self.word(n as u64));
        let mut numbers = vec![config.rms_norm_eps, config.rope.theta];
        match config.rope.scaling {
            RopeScaling::Default => {}
            RopeScaling::Linear { factor } => numbers.push(factor),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                numbers.extend([
                    factor,
                    low_freq_factor,
                    high_freq_factor,
                    original_max_position_embeddings as f64,
                ]);
            }
        }
        numbers.iter().for_each(|x| self.word(x.to_bits()));
        let weights = llama.weights();
        self.floats(&weights.embed_tokens);
        self.floats(&weights.norm);
        for layer in &weights.layers {
            self.floats(&layer.input_layernorm);
            self.floats(&layer.post_attention_layernorm);
        }
        for linear in weights.linears() {
            match &linear.matrix {
                Matrix::Dense(values) => self.floats(values),
                Matrix::FourBit(params) => {
                    self.bytes(&params.packed);
                    self.bytes(params.quant_state.quant_type.as_str().as_bytes());
                    self.word(params.quant_state.blocksize as u64);
                    match &params.quant_state.absmax {
                        Absmax::F32(scales) => self.f32s(scales),
                        Absmax::Nested(nested) => {
                            self.bytes(&nested.codes);
                            self.f32s(&nested.absmax);
                            self.word(nested.offset.to_bits().into());
                        }
                    }
                }
                Matrix::Int8 { params, .. } => {
                    params.cb.iter().for_each(|&code| self.word(code as u64));
                    self.f32s(&params.scb);
                }
            }
            linear.bias.iter().for_each(|bias| self.floats(bias));
        }
        for pair in llama.active_pairs().into_iter().flatten() {
            self.word(u64::from(pair.is_some()));
            if let Some(pair) = pair {
                self.floats(&pair.a);
                self.f32s(&pair.b);
                self.f32s(&[pair.scaling, pair.scale]);
            }
        }
    }
}
