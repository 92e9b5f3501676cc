//! Logits to a token, with transformers' filters in transformers' order.

use super::exp::exp;
use crate::checkpoint::decimal::Repr;
use crate::error::{Error, ErrorCode, Result};
use crate::model::GenerationConfig;

/// How the next token is chosen. By default greedy, every filter off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingConfig {
    /// Draw at random; otherwise the greatest logit is taken and only `repetition_penalty` applies.
    pub do_sample: bool,
    /// Divides the logits; above 0.
    pub temperature: f32,
    /// Keep the k greatest logits and all that tie with the k-th; 0 is off.
    pub top_k: usize,
    /// Keep the smallest set of most probable tokens whose probabilities exceed this sum; 1 is off.
    pub top_p: f32,
    /// Keep tokens at least this fraction as probable as the most probable one; 0 is off.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens already seen, once each; 1 is off.
    pub repetition_penalty: f32,
    /// Same seed, same logits: same tokens, on every platform.
    pub seed: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        SamplingConfig {
            do_sample: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 0,
        }
    }
}

impl SamplingConfig {
    /// The settings of `generation_config.json`.
    pub fn from_generation_config(config: &GenerationConfig, seed: u64) -> Self {
        let GenerationConfig { do_sample, temperature, top_k, top_p, min_p, repetition_penalty, .. } =
            *config;
        SamplingConfig { do_sample, temperature, top_k, top_p, min_p, repetition_penalty, seed }
    }

    /// # Errors
    /// [`ErrorCode::InvalidArgument`] naming the setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let positive = |x: f32| x > 0.0 && x.is_finite();
        let fraction = |x: f32| (0.0..=1.0).contains(&x);
        let settings = [
            ("temperature", self.temperature, positive(self.temperature), "above 0"),
            ("repetition_penalty", self.repetition_penalty, positive(self.repetition_penalty), "above 0"),
            ("top_p", self.top_p, fraction(self.top_p), "0 to 1"),
            ("min_p", self.min_p, fraction(self.min_p), "0 to 1"),
        ];
        for (name, value, valid, expected) in settings {
            if !valid {
                return Err(Error::new(ErrorCode::InvalidArgument, "sampling setting out of range")
                    .tensor(name)
                    .expected(expected)
                    .found(Repr::from(value)));
            }
        }
        Ok(())
    }
}

/// Chooses tokens; holds the random state and the buffers of the filters.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplingConfig,
    rng: SplitMix64,
    /// Tokens seen, as bits over the vocabulary.
    seen: Vec<u64>,
    /// Tokens that no filter has removed, in the order of their ids.
    kept: Vec<u32>,
    /// Probability of each kept token.
    probabilities: Vec<f64>,
    /// Kept tokens by ascending logit.
    order: Vec<u32>,
}

impl Sampler {
    /// A sampler at the start of its random sequence.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a setting out of range.
    pub fn new(config: SamplingConfig) -> Result<Self> {
        config.validate()?;
        Ok(Sampler {
            config,
            rng: SplitMix64(config.seed),
            seen: Vec::new(),
            kept: Vec::new(),
            probabilities: Vec::new(),
            order: Vec::new(),
        })
    }

    /// The settings.
    pub fn config(&self) -> &SamplingConfig {
        &self.config
    }

    /// The next token after `history` (prompt and what was generated). Penalty and temperature are
    /// applied to `logits` in place.
    ///
    /// # Errors
    /// [`ErrorCode::NonFiniteLogits`] when a logit is NaN or infinite, [`ErrorCode::InvalidArgument`] for
    /// no logits at all.
    pub fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Result<u32> {
        check_finite(logits)?;
        if !self.config.do_sample {
            self.penalize(logits, history);
            return Ok(argmax(logits));
        }
        self.filter(logits, history);
        let draw = self.rng.uniform();
        let mut cumulative = 0.0;
        for (&token, &probability) in self.kept.iter().zip(&self.probabilities) {
            cumulative += probability;
            if draw < cumulative {
                return Ok(token);
            }
        }
        // The sum of the probabilities may round to just below 1.
        Ok(self.kept[self.kept.len() - 1])
    }

    /// The distribution that [`Sampler::sample`] draws from (if `do_sample`), as pairs of a token that is
    /// left and its probability, in order of token ids. The random state stays as it is.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(
        &mut self,
        logits: &mut [f32],
        history: &[u32],
    ) -> Result<impl Iterator<Item = (u32, f64)> + use<'_>> {
        check_finite(logits)?;
        self.filter(logits, history);
        Ok(self.kept.iter().copied().zip(self.probabilities.iter().copied()))
    }

    fn penalize(&mut self, logits: &mut [f32], history: &[u32]) {
        let penalty = self.config.repetition_penalty;
        if penalty == 1.0 {
            return;
        }
        self.seen.clear();
        self.seen.resize(logits.len().div_ceil(64), 0);
        for &token in history {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            let (word, bit) = (token as usize / 64, 1 << (token % 64));
            if self.seen[word] & bit == 0 {
                self.seen[word] |= bit;
                *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
            }
        }
    }

    /// Applies all filters; leaves `kept` and `probabilities`.
    fn filter(&mut self, logits: &mut [f32], history: &[u32]) {
        let SamplingConfig { temperature, top_k, top_p, min_p, .. } = self.config;
        self.penalize(logits, history);
        if temperature != 1.0 {
            logits.iter_mut().for_each(|logit| *logit /= temperature);
        }
        self.kept.clear();
        self.kept.extend(0..logits.len() as u32);
        if top_k > 0 {
            self.top_k(logits, top_k);
        }
        if top_p < 1.0 {
            self.top_p(logits, top_p);
        }
        if min_p > 0.0 {
            let greatest = f64::from(greatest(logits, &self.kept));
            let min_p = f64::from(min_p);
            self.kept.retain(|&token| exp(f64::from(logits[token as usize]) - greatest) >= min_p);
        }
        self.softmax(logits);
    }

    fn top_k(&mut self, logits: &[f32], k: usize) {
        if k >= self.kept.len() {
            return;
        }
        self.order.clone_from(&self.kept);
        let logit = |token: &u32| logits[*token as usize];
        let (_, &mut nth, _) = self.order.select_nth_unstable_by(k - 1, |a, b| logit(b).total_cmp(&logit(a)));
        let threshold = logit(&nth);
        self.kept.retain(|token| logit(token) >= threshold);
    }

    /// Removes tokens from the least probable on while their probabilities sum to at most 1 - p; of
    /// equal logits the lower id goes first, as in a stable sort. The last one always stays.
    fn top_p(&mut self, logits: &[f32], p: f32) {
        self.softmax(logits);
        let mut by_logit: Vec<usize> = (0..self.kept.len()).collect();
        let logit = |i: usize| logits[self.kept[i] as usize];
        by_logit.sort_by(|&a, &b| logit(a).total_cmp(&logit(b)));
        let limit = f64::from((1.0 - f64::from(p)) as f32);
        let mut cumulative = 0.0;
        let mut removed = 0;
        while removed + 1 < by_logit.len() {
            cumulative += self.probabilities[by_logit[removed]];
            if cumulative > limit {
                break;
            }
            removed += 1;
        }
        self.order.clear();
        self.order.extend(by_logit[removed..].iter().map(|&i| self.kept[i]));
        self.order.sort_unstable();
        std::mem::swap(&mut self.kept, &mut self.order);
    }

    fn softmax(&mut self, logits: &[f32]) {
        let greatest = f64::from(greatest(logits, &self.kept));
        self.probabilities.clear();
        let exps = self.kept.iter().map(|&token| exp(f64::from(logits[token as usize]) - greatest));
        self.probabilities.extend(exps);
        let sum: f64 = self.probabilities.iter().sum();
        self.probabilities.iter_mut().for_each(|p| *p /= sum);
    }
}

fn check_finite(logits: &[f32]) -> Result<()> {
    if logits.is_empty() || u32::try_from(logits.len()).is_err() {
        return Err(Error::new(ErrorCode::InvalidArgument, "no logits to choose from")
            .expected("1 or more")
            .found(logits.len()));
    }
    match logits.iter().position(|logit| !logit.is_finite()) {
        None => Ok(()),
        Some(token) => Err(Error::new(ErrorCode::NonFiniteLogits, "a logit is not finite")
            .expected("finite logits")
            .found(format!("{} for token {token}", Repr::from(logits[token])))),
    }
}

/// The first of the greatest logits.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

fn greatest(logits: &[f32], kept: &[u32]) -> f32 {
    kept.iter().map(|&token| logits[token as usize]).fold(f32::NEG_INFINITY, f32::max)
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014): 64 bits of
/// state, integer arithmetic only.
#[derive(Debug, Clone)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A multiple of 2^-53 in [0, 1).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_sequence_is_fixed() {
        let mut rng = SplitMix64(1_234_567);
        // The sequence published with the reference implementation.
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn ties_stay_together_in_top_k_and_split_in_top_p() {
        let config = SamplingConfig { do_sample: true, top_k: 2, ..Default::default() };
        let mut sampler = Sampler::new(config).unwrap();
        let kept = |sampler: &mut Sampler| -> Vec<u32> {
            let mut logits = [1.0, 3.0, 2.0, 2.0, 0.0];
            sampler.distribution(&mut logits, &[]).unwrap().map(|(token, _)| token).collect()
        };
        assert_eq!(kept(&mut sampler), [1, 2, 3]);
        sampler.config = SamplingConfig { top_k: 0, top_p: 0.7, ..config };
        assert_eq!(kept(&mut sampler), [1, 3]);
    }

    #[test]
    fn one_filter_never_empties_the_choice() {
        for config in [
            SamplingConfig { top_p: 0.0, ..Default::default() },
            SamplingConfig { min_p: 1.0, ..Default::default() },
            SamplingConfig { top_k: 1, ..Default::default() },
        ] {
            let mut sampler = Sampler::new(SamplingConfig { do_sample: true, ..config }).unwrap();
            assert_eq!(sampler.sample(&mut [0.5, 0.25, -3.0], &[]).unwrap(), 0);
        }
    }
}
