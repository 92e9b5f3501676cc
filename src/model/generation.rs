//! `generation_config.json`: a model's own defaults for generation.

use super::Fields;
use crate::checkpoint::json;
use crate::error::{ErrorCode, Result};

/// What `generation_config.json` says; absent keys have the defaults of transformers.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// Draw at random; false when absent.
    pub do_sample: bool,
    /// Divides the logits; 1 when absent.
    pub temperature: f32,
    /// Greatest logits kept; 50 when absent, 0 is off.
    pub top_k: usize,
    /// Probability mass kept; 1 when absent.
    pub top_p: f32,
    /// Least fraction of the greatest probability; 0 when absent.
    pub min_p: f32,
    /// Penalty on tokens already seen; 1 when absent.
    pub repetition_penalty: f32,
    /// Length of the continuation.
    pub max_new_tokens: Option<usize>,
    /// End tokens; where there are any they replace those of `config.json`. Never guessed.
    pub eos_token_ids: Vec<u32>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        GenerationConfig {
            do_sample: false,
            temperature: 1.0,
            top_k: 50,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: None,
            eos_token_ids: Vec::new(),
        }
    }
}

impl GenerationConfig {
    /// Reads `generation_config.json`; `file` names it in errors. Keys this crate has no use for are
    /// ignored.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidJson`], [`ErrorCode::InvalidConfig`].
    pub fn from_json(file: &str, bytes: &[u8]) -> Result<Self> {
        let value = json::parse(file, bytes)?;
        let fields = Fields::new(file, &value, ErrorCode::InvalidConfig)?;
        let number = |key: &str, or: f32| fields.number(key).map(|number| number.map_or(or, |x| x as f32));
        let default = GenerationConfig::default();
        // 0 turns top-k off, so it is no error.
        let off = fields.get("top_k").and_then(crate::checkpoint::json::Value::as_u64) == Some(0);
        let top_k = if off { Some(0) } else { fields.size("top_k", 1 << 30)? };
        Ok(GenerationConfig {
            do_sample: fields.flag("do_sample")?.unwrap_or(default.do_sample),
            temperature: number("temperature", default.temperature)?,
            top_k: top_k.unwrap_or(default.top_k),
            top_p: number("top_p", default.top_p)?,
            min_p: number("min_p", default.min_p)?,
            repetition_penalty: number("repetition_penalty", default.repetition_penalty)?,
            max_new_tokens: fields.size("max_new_tokens", 1 << 30)?,
            eos_token_ids: fields.token_ids("eos_token_id")?.unwrap_or_default(),
        })
    }
}
