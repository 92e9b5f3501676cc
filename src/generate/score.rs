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
    Ok(f64::from(logits[token]) - log_sum_exp(logits)?)
}

/// Logarithm of the sum of the exponentials of `logits`, in f64: over a vocabulary of 128,256 an f32 sum would
/// cost digits of the perplexity.
///
/// # Errors
/// [`ErrorCode::NonFiniteLogits`] when a logit is NaN or infinite, or there is none.
pub fn log_sum_exp(logits: &[f32]) -> Result<f64> {
    if logits.is_empty() || logits.iter().any(|logit| !logit.is_finite()) {
        return Err(Error::new(ErrorCode::NonFiniteLogits, "logits hold NaN or an infinity"));
    }
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| super::exp::exp(f64::from(logit) - greatest)).sum();
    Ok(greatest + sum.ln())
}

/// How two models' predictions of one token differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// KL(reference || model) in nats.
    pub kl: f64,
    /// The reference's likeliest token; of equal ones the first.
    pub reference_top: usize,
    /// The model's.
    pub top: usize,
}

/// Compares the logits of `model` with those of `reference`. Panics when lengths differ.
///
/// # Errors
/// As [`log_sum_exp`].
pub fn compare(reference: &[f32], model: &[f32]) -> Result<Comparison> {
    assert_eq!(reference.len(), model.len(), "vocabularies");
    let (reference_norm, norm) = (log_sum_exp(reference)?, log_sum_exp(model)?);
    let terms = reference.iter().zip(model).map(|(&p, &q)| {
        let (log_p, log_q) = (f64::from(p) - reference_norm, f64::from(q) - norm);
        super::exp::exp(log_p) * (log_p - log_q)
    });
    Ok(Comparison { kl: terms.sum(), reference_top: argmax(reference), top: argmax(model) })
}

fn argmax(logits: &[f32]) -> usize {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if x > logits[best] {
            best = i;
        }
    }
    best
}

/// e to the mean of `scores`; NaN for none.
pub fn perplexity(scores: &[f64]) -> f64 {
    (scores.iter().sum::<f64>() / scores.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distributions() {
        let (p, q) = ([0.0, (3.0f32).ln()], [0.0, 0.0]);
        assert!((log_sum_exp(&p).unwrap() - 4f64.ln()).abs() < 1e-7);
        let same = compare(&p, &p).unwrap();
        assert_eq!((same.kl, same.reference_top, same.top), (0.0, 1, 1));
        let other = compare(&p, &q).unwrap();
        let kl = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        assert!((other.kl - kl).abs() < 1e-6);
        assert_eq!((other.reference_top, other.top), (1, 0));
    }

    #[test]
    fn logits_that_are_no_numbers_are_refused() {
        for bad in [&[f32::NAN, 0.0][..], &[f32::INFINITY], &[]] {
            assert_eq!(log_sum_exp(bad).unwrap_err().code(), ErrorCode::NonFiniteLogits);
        }
    }
}
