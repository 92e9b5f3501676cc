//! Tokens in, tokens out.

mod exp;
pub mod sampler;
pub mod score;
pub mod stop;

pub use sampler::{Sampler, SamplingConfig};
pub use score::{perplexity, score_tokens};
pub use stop::StopStrings;

use crate::error::{Error, ErrorCode, Result};
use crate::model::{KvCache, Llama, LogitsFor};

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The token is an end token.
    Eos,
    /// `max_new_tokens` were generated.
    MaxNewTokens,
}

/// One generated token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Token id; the end token included, as transformers returns it.
    pub token: u32,
    /// Set on the last step.
    pub finish: Option<FinishReason>,
}

/// The state of a generation without the model, for callers that own both elsewhere.
#[derive(Debug, Clone)]
pub struct Generation {
    sampler: Sampler,
    eos_token_ids: Vec<u32>,
    max_new_tokens: usize,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    prompt_len: usize,
    finished: bool,
}

impl Generation {
    /// A generation that continues `prompt`.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for an empty prompt or a setting out of range.
    pub fn new(
        prompt: &[u32],
        sampling: SamplingConfig,
        eos_token_ids: &[u32],
        max_new_tokens: usize,
    ) -> Result<Self> {
        if prompt.is_empty() {
            return Err(Error::new(ErrorCode::InvalidArgument, "an empty prompt has no continuation")
                .expected("at least the start token"));
        }
        Ok(Generation {
            sampler: Sampler::new(sampling)?,
            eos_token_ids: eos_token_ids.to_vec(),
            max_new_tokens,
            tokens: prompt.to_vec(),
            prompt_len: prompt.len(),
            finished: max_new_tokens == 0,
        })
    }

    /// Prompt and what was generated so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// What was generated so far.
    pub fn generated(&self) -> &[u32] {
        &self.tokens[self.prompt_len..]
    }

    /// The next token, or `None` after the last one.
    ///
    /// Feeds the model what the cache lacks: all of the prompt at first (or the part after a cached
    /// prefix, which the caller vouches for), one token later. After an error it may be called again.
    ///
    /// # Errors
    /// Those of [`Llama::forward`] ([`ErrorCode::ContextFull`] when the cache has no more room) and of
    /// [`Sampler::sample`]; [`ErrorCode::InvalidArgument`] when the cache holds all of the prompt already.
    pub fn next_step(&mut self, model: &mut Llama, cache: &mut KvCache) -> Option<Result<Step>> {
        if self.finished {
            return None;
        }
        Some(self.step(model, cache))
    }

    fn step(&mut self, model: &mut Llama, cache: &mut KvCache) -> Result<Step> {
        let pending =
            self.tokens.get(cache.len()..).filter(|pending| !pending.is_empty()).ok_or_else(|| {
                Error::new(ErrorCode::InvalidArgument, "the kv cache is ahead of the tokens")
                    .expected(format!("less than {} positions", self.tokens.len()))
                    .found(cache.len())
            })?;
        let fed = cache.len();
        model.forward(pending, cache, LogitsFor::Last)?;
        let token = match self.sampler.sample(model.last_logits_mut(), &self.tokens) {
            Ok(token) => token,
            Err(error) => {
                cache.truncate(fed);
                return Err(error);
            }
        };
        self.tokens.push(token);
        let finish = if self.eos_token_ids.contains(&token) {
            Some(FinishReason::Eos)
        } else if self.generated().len() >= self.max_new_tokens {
            Some(FinishReason::MaxNewTokens)
        } else {
            None
        };
        self.finished = finish.is_some();
        Ok(Step { token, finish })
    }
}

/// [`Generation`] as an iterator over a borrowed model and cache. Ends after the first error.
pub struct Generator<'m> {
    model: &'m mut Llama,
    cache: &'m mut KvCache,
    generation: Generation,
    failed: bool,
}

impl<'m> Generator<'m> {
    /// Iterates over the steps of `generation`.
    pub fn new(model: &'m mut Llama, cache: &'m mut KvCache, generation: Generation) -> Self {
        Generator { model, cache, generation, failed: false }
    }

    /// The state so far.
    pub fn generation(&self) -> &Generation {
        &self.generation
    }
}

impl Iterator for Generator<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.generation.next_step(self.model, self.cache)?;
        self.failed = step.is_err();
        Some(step)
    }
}
