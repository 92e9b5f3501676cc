//! `nibblama eval`: perplexity, and the distance of one model's predictions from another's.

use std::path::Path;

use nibblama::generate::score::{compare, log_sum_exp};
use nibblama::kernels::Arithmetic;
use nibblama::model::{Llama, LogitsFor};
use nibblama::{Error, ErrorCode, Result};
use serde_json::{Map, Value, json};

use crate::args::{Computation, Eval, Quantization};
use crate::load::{self, invalid};
use crate::output::{Outcome, grouped, print, print_json, progress};
use crate::text::Text;

/// A line of this separates stories.
const SEPARATOR: &str = "<|endoftext|>";

/// Widest window unless `--context` says otherwise: some configs promise more positions than a kv cache can
/// be had for.
const MAX_WINDOW: usize = 4096;

/// Positions per forward pass; bounds the logits that exist at a time.
const CHUNK: usize = 64;

pub fn run(args: &Eval, json: bool) -> Outcome {
    let name = args.text.display().to_string();
    let source = String::from_utf8(load::read(&args.text)?).map_err(|e| {
        Error::new(ErrorCode::InvalidArgument, "not UTF-8").in_file(&name).found(e.utf8_error())
    })?;
    let text = Text::load(args.tokenizer.as_deref().unwrap_or(&args.dir))?;
    let mut model = load::load(
        &args.dir,
        &args.quantization,
        &args.computation,
        Arithmetic::Exact,
        args.adapter.as_deref(),
        json,
    )?;
    let mut against = match &args.against {
        None => None,
        Some(dir) => Some(load_reference(dir, &args.computation, &model, json)?),
    };
    let config = model.config();
    let bos = config.bos_token_id.ok_or_else(|| {
        Error::new(ErrorCode::InvalidConfig, "the model has no start token to score a text from")
            .in_file(args.dir.join("config.json").display().to_string())
            .tensor("bos_token_id")
    })?;
    let window = args.context.unwrap_or(config.max_position_embeddings.min(MAX_WINDOW));
    if window < 2 || window > config.max_position_embeddings {
        return Err(invalid("--context", "out of range")
            .expected(format!("2 to {}", config.max_position_embeddings))
            .found(window)
            .into());
    }
    let stories = stories(&source)
        .map(|story| {
            let ids = text.encode(story, false)?;
            load::check_ids(&ids, model.config())?;
            Ok(ids)
        })
        .filter(|ids| ids.as_ref().map_or(true, |ids| !ids.is_empty()))
        .collect::<Result<Vec<_>>>()?;
    if stories.is_empty() {
        return Err(Error::new(ErrorCode::InvalidArgument, "no text to score").in_file(&name).into());
    }
    let tokens: usize = stories.iter().map(Vec::len).sum();
    let bar = progress(tokens as u64, "scoring", false, json);
    let mut sums = Sums::default();
    for ids in &stories {
        for w in windows(ids.len(), window) {
            score(&mut model, against.as_mut(), bos, ids, &w, &mut sums)?;
            bar.inc((w.end - w.scored_from) as u64);
        }
    }
    bar.finish_and_clear();
    report(&sums, stories.len(), window, json)
}

/// The reference keeps its own stored form: quantization flags and adapter are DIR's.
fn load_reference(dir: &Path, computation: &Computation, model: &Llama, json: bool) -> Result<Llama> {
    let reference = load::load(dir, &Quantization::default(), computation, Arithmetic::Exact, None, json)?;
    let (expected, found) = (model.config().vocab_size, reference.config().vocab_size);
    if expected != found {
        return Err(Error::new(ErrorCode::InvalidArgument, "the models have different vocabularies")
            .in_file(dir.join("config.json").display().to_string())
            .tensor("vocab_size")
            .expected(expected)
            .found(found));
    }
    Ok(reference)
}

/// The non-empty texts between separator lines, without white space at their ends.
fn stories(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let from = rest?;
        let mut at = 0;
        for line in from.split_inclusive('\n') {
            if line.trim() == SEPARATOR {
                rest = Some(&from[at + line.len()..]);
                return Some(&from[..at]);
            }
            at += line.len();
        }
        rest = None;
        Some(from)
    })
    .map(str::trim)
    .filter(|story| !story.is_empty())
}

/// A part of a story that one pass reads: the start token, then tokens `begin..end - 1`. Its logits predict
/// `begin..end`, of which those from `scored_from` on count.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    begin: usize,
    scored_from: usize,
    end: usize,
}

/// Windows of at most `size` positions over a story of `len` tokens. They overlap by half, each token is scored
/// once.
fn windows(len: usize, size: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut scored = 0;
    while scored < len {
        let begin = if scored == 0 { 0 } else { scored - size / 2 };
        let end = len.min(begin + size);
        windows.push(Window { begin, scored_from: scored, end });
        scored = end;
    }
    windows
}

/// Sums over scored tokens.
#[derive(Debug, Default)]
struct Sums {
    tokens: u64,
    nll: f64,
    reference: Option<ReferenceSums>,
}

#[derive(Debug, Default)]
struct ReferenceSums {
    nll: f64,
    kl: f64,
    same_top: u64,
}

fn score(
    model: &mut Llama,
    mut against: Option<&mut Llama>,
    bos: u32,
    ids: &[u32],
    w: &Window,
    sums: &mut Sums,
) -> Result<()> {
    let mut input = vec![bos];
    input.extend_from_slice(&ids[w.begin..w.end - 1]);
    let vocab = model.config().vocab_size;
    let mut cache = model.new_cache(input.len())?;
    let mut reference_cache = against.as_ref().map(|m| m.new_cache(input.len())).transpose()?;
    // LLM.int8 picks outlier columns over all tokens of a call, so its windows stay whole, as in transformers.
    let int8 = model.has_int8() || against.as_ref().is_some_and(|m| m.has_int8());
    let mut target = w.begin;
    for chunk in input.chunks(if int8 { input.len() } else { CHUNK }) {
        let rows = model.forward(chunk, &mut cache, LogitsFor::All)?;
        let reference_rows = match (&mut against, &mut reference_cache) {
            (Some(m), Some(cache)) => Some(m.forward(chunk, cache, LogitsFor::All)?),
            _ => None,
        };
        for (i, row) in rows.chunks_exact(vocab).enumerate() {
            if target >= w.scored_from {
                let reference_row = reference_rows.map(|rows| &rows[i * vocab..(i + 1) * vocab]);
                sums.add(row, reference_row, ids[target])?;
            }
            target += 1;
        }
    }
    Ok(())
}

impl Sums {
    fn add(&mut self, logits: &[f32], reference: Option<&[f32]>, target: u32) -> Result<()> {
        self.tokens += 1;
        self.nll += log_sum_exp(logits)? - f64::from(logits[target as usize]);
        if let Some(reference) = reference {
            let comparison = compare(reference, logits)?;
            let sums = self.reference.get_or_insert_default();
            sums.nll += log_sum_exp(reference)? - f64::from(reference[target as usize]);
            sums.kl += comparison.kl;
            sums.same_top += u64::from(comparison.top == comparison.reference_top);
        }
        Ok(())
    }
}

fn report(sums: &Sums, stories: usize, window: usize, json: bool) -> Outcome {
    let tokens = sums.tokens as f64;
    let nll = sums.nll / tokens;
    let mut object = Map::new();
    object.insert("perplexity".into(), nll.exp().into());
    object.insert("nll".into(), nll.into());
    object.insert("tokens".into(), sums.tokens.into());
    object.insert("stories".into(), stories.into());
    object.insert("context".into(), window.into());
    let mut text = format!(
        "perplexity      {:.4}  ({nll:.4} nats per token)\ntokens scored   {}  in {} {}\n",
        nll.exp(),
        grouped(sums.tokens),
        grouped(stories as u64),
        if stories == 1 { "story" } else { "stories" },
    );
    if let Some(reference) = &sums.reference {
        let (reference_nll, kl) = (reference.nll / tokens, reference.kl / tokens);
        let agreement = reference.same_top as f64 / tokens;
        object.insert("mean_kl".into(), kl.into());
        object.insert("top1_agreement".into(), agreement.into());
        let against = json!({ "perplexity": reference_nll.exp(), "nll": reference_nll });
        object.insert("against".into(), against);
        text += &format!(
            "against         {:.4}  ({reference_nll:.4} nats per token)\nmean KL         {kl:.5} nats\ntop-1 agreement {:.2} %\n",
            reference_nll.exp(),
            agreement * 100.0,
        );
    }
    if json { print_json(&Value::Object(object)) } else { print(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_split_at_separator_lines_only() {
        let text = "One.\n\nTwo <|endoftext|> inside.\n<|endoftext|>\n\n<|endoftext|>\r\n Three. \n";
        assert_eq!(stories(text).collect::<Vec<_>>(), ["One.\n\nTwo <|endoftext|> inside.", "Three."]);
        assert_eq!(stories("<|endoftext|>").count(), 0);
        assert_eq!(stories("").count(), 0);
    }

    #[test]
    fn windows_score_each_token_once() {
        assert_eq!(windows(5, 8), [Window { begin: 0, scored_from: 0, end: 5 }]);
        assert_eq!(
            windows(14, 8),
            [
                Window { begin: 0, scored_from: 0, end: 8 },
                Window { begin: 4, scored_from: 8, end: 12 },
                Window { begin: 8, scored_from: 12, end: 14 },
            ]
        );
        for (len, size) in [(1, 2), (7, 2), (100, 3), (513, 512), (1000, 7)] {
            let mut next = 0;
            for w in windows(len, size) {
                assert_eq!(w.scored_from, next);
                assert!(w.end > next && w.end - w.begin <= size && w.end <= len);
                assert!(next == 0 || w.scored_from - w.begin >= size / 2);
                next = w.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn sums_of_known_distributions() {
        let mut sums = Sums::default();
        let (p, q) = ([0.0, (3.0f32).ln()], [0.0, 0.0]);
        sums.add(&q, Some(&p), 1).unwrap();
        assert!((sums.nll - 2f64.ln()).abs() < 1e-6);
        let reference = sums.reference.unwrap();
        let kl = 0.25 * 0.5f64.ln() + 0.75 * 1.5f64.ln();
        assert!((reference.kl - kl).abs() < 1e-6 && reference.same_top == 0);
        assert!((reference.nll - (4.0f64 / 3.0).ln()).abs() < 1e-6);
    }
}
