//! How likely a model finds a text.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Llama, LogitsFor};

/// Tokens whose logits are held at a time.
const BATCH: usize = 64;

/// Negative log-likelihood in nats of each token after the first, given those before it; one less than
/// `tokens`.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for fewer than two tokens, [`ErrorCode::NonFiniteLogits`], and those of
/// [`Llama::forward`].
pub fn score_tokens(model: &mut Llama, tokens: &[u32]) -> Result<Vec<f64>> {
    if tokens.len() < 2 {
        return Err(Error::new(ErrorCode::InvalidArgument, "nothing to score")
            .expected("2 or more tokens")
            .found(tokens.len()));
    }
    let vocab = model.config().vocab_size;
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= vocab) {
        return Err(Error::new(ErrorCode::InvalidToken, "token id outside the vocabulary")
            .expected(format!("less than {vocab}"))
            .found(token));
    }
    let context = &tokens[..tokens.len() - 1];
    let batch = if model.has_int8() { context.len() } else { BATCH };
    let mut cache = model.new_cache(context.len())?;
    let mut scores = Vec::with_capacity(context.len());
    for batch in context.chunks(batch) {
        let logits = model.forward(batch, &mut cache, LogitsFor::All)?;
        for row in logits.chunks_exact(vocab) {
            scores.push(-log_softmax(row, tokens[scores.len() + 1] as usize)?);
        }
    }
    Ok(scores)
}

/// Logarithm of the probability of `token`.
fn log_softmax(logits: &[f32], token: usize) -> Result<f64> {
    if logits.iter().any(|logit| !logit.is_finite()) {
        return Err(Error::new(ErrorCode::NonFiniteLogits, "a logit is not finite"));
    }
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| super::exp::exp(f64::from(logit) - greatest)).sum();
    Ok(f64::from(logits[token]) - greatest - sum.ln())
}

/// e to the mean of `scores`; NaN for none.
pub fn perplexity(scores: &[f64]) -> f64 {
    (scores.iter().sum::<f64>() / scores.len() as f64).exp()
}
