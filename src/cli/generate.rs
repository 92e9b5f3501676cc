//! `nibblama generate`.

use std::io::Write;
use std::time::{Duration, Instant};

use nibblama::generate::{FinishReason, Generation, SamplingConfig, StopStrings};
use nibblama::kernels::Arithmetic;
use nibblama::model::{Config, GenerationConfig};
use nibblama::{Error, ErrorCode, Result};
use serde_json::json;

use crate::args::{Generate, Sampling};
use crate::load::{self, invalid};
use crate::output::{Outcome, human_bytes, json_of, print, print_json};
use crate::text::{Stream, Text};

/// Tokens to generate where neither flag nor generation_config.json says.
const MAX_NEW_TOKENS: usize = 256;

pub fn run(args: &Generate, json: bool) -> Outcome {
    let needs_text = args.input.prompt.is_some() || args.input.chat.is_some() || !args.stop.is_empty();
    let folder = args.tokenizer.as_deref().unwrap_or(&args.dir);
    // Ids can be continued without a tokenizer; the answer is ids then.
    let text = if needs_text || args.tokenizer.is_some() || folder.join("tokenizer.json").exists() {
        Some(Text::load(folder)?)
    } else {
        None
    };
    let defaults = generation_config(args)?;
    let config = load::read_config(&args.dir)?;
    let prompt = prompt(args, text.as_ref(), &config)?;
    let sampling = sampling(&args.sampling, &defaults);
    let eos = if defaults.eos_token_ids.is_empty() { &config.eos_token_ids } else { &defaults.eos_token_ids };
    let max_new_tokens = max_new_tokens(args, &defaults, prompt.len(), &config)?;
    let mut generation = Generation::new(&prompt, sampling, eos, max_new_tokens)?;

    // What is drawn differs anyway; the likeliest token is what one compares with a reference.
    let arithmetic = if sampling.do_sample { Arithmetic::NearExact } else { Arithmetic::Exact };
    let mut model = load::load(
        &args.dir,
        &args.quantization,
        &args.computation,
        arithmetic,
        args.adapter.as_deref(),
        json,
    )?;
    // The last token is never fed back.
    let mut cache = model.new_cache(prompt.len() + max_new_tokens.saturating_sub(1))?;
    let mut stop = StopStrings::new(&args.stop);
    let mut stream = text.as_ref().map(|text| Stream::new(text, &prompt));
    let mut shown = String::new();
    if let (false, Some(prompt)) = (json, &args.input.prompt) {
        print(prompt)?;
    }

    // The first step reads the whole prompt, each later one a single token.
    let mut times = Vec::new();
    let mut finish = "length";
    loop {
        let start = Instant::now();
        let Some(step) = generation.next_step(&mut model, &mut cache) else { break };
        let step = step?;
        times.push(start.elapsed());
        if step.finish == Some(FinishReason::Eos) {
            finish = "eos";
            break;
        }
        let piece = match &mut stream {
            Some(stream) => stop.push(stream.push(step.token)?),
            None if times.len() > 1 => format!(",{}", step.token),
            None => step.token.to_string(),
        };
        if !json && !piece.is_empty() {
            print(&piece)?;
        }
        shown += &piece;
        if stop.stopped().is_some() {
            finish = "stop";
            break;
        }
    }
    if let Some(stream) = stream {
        let mut rest = if stop.stopped().is_none() { stop.push(stream.finish()?) } else { String::new() };
        rest += &stop.finish();
        if !json {
            print(&rest)?;
        }
        shown += &rest;
    }

    let memory = model.memory();
    let held = memory.total() + cache.bytes() as u64;
    let rate = |tokens: usize, times: &[Duration]| {
        let seconds = times.iter().sum::<Duration>().as_secs_f64();
        (tokens > 0 && seconds > 0.0).then(|| tokens as f64 / seconds)
    };
    let (first, later) = times.split_at(times.len().min(1));
    let (prefill_rate, decode_rate) = (rate(prompt.len(), first), rate(later.len(), later));
    let new = generation.generated();
    if json {
        return print_json(&json!({
            "prompt_ids": prompt,
            "ids": new,
            "text": text.as_ref().map(|_| shown),
            "finish": finish,
            "prefill_tokens_per_second": prefill_rate,
            "decode_tokens_per_second": decode_rate,
            "bytes_held": held,
            "memory": { "model": json_of(&memory.to_json()), "kv_cache": cache.bytes() },
            "sampling": {
                "do_sample": sampling.do_sample,
                "temperature": shortest(sampling.temperature),
                "top_k": sampling.top_k,
                "top_p": shortest(sampling.top_p),
                "min_p": shortest(sampling.min_p),
                "repetition_penalty": shortest(sampling.repetition_penalty),
                "seed": sampling.seed,
            },
        }));
    }
    print("\n")?;
    let speed = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |r| format!("{r:.1}"));
    // Beside the text, not in it; and no panic where stderr is closed.
    let _ = writeln!(
        std::io::stderr(),
        "{} prompt tokens at {}/s, {} new tokens at {}/s, {} held, ended by {finish}",
        prompt.len(),
        speed(prefill_rate),
        new.len(),
        speed(decode_rate),
        human_bytes(held),
    );
    Ok(())
}

/// The f64 with the digits of the f32: 0.8, not 0.800000011920929.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(f64::from(x))
}

fn generation_config(args: &Generate) -> Result<GenerationConfig> {
    let file = args.dir.join("generation_config.json");
    if file.exists() {
        GenerationConfig::from_json(&file.display().to_string(), &load::read(&file)?)
    } else {
        Ok(GenerationConfig::default())
    }
}

fn prompt(args: &Generate, text: Option<&Text>, config: &Config) -> Result<Vec<u32>> {
    let ids = match (&args.input.prompt, &args.input.chat, &args.input.ids, text) {
        (Some(prompt), _, _, Some(text)) => text.encode(prompt, true)?,
        (_, Some(message), _, Some(text)) => {
            text.encode(&text.render_chat(args.system.as_deref(), message)?, false)?
        }
        (_, _, Some(ids), _) => ids.0.clone(),
        _ => Vec::new(),
    };
    // An empty text, with a tokenizer that adds nothing, starts like no text at all.
    let ids = if ids.is_empty() {
        vec![config.bos_token_id.ok_or_else(|| {
            Error::new(ErrorCode::InvalidConfig, "the model has no start token; give --prompt or --ids")
                .in_file(args.dir.join("config.json").display().to_string())
                .tensor("bos_token_id")
        })?]
    } else {
        ids
    };
    load::check_ids(&ids, config)?;
    Ok(ids)
}

/// Flags, then generation_config.json, then transformers' defaults.
fn sampling(flags: &Sampling, defaults: &GenerationConfig) -> SamplingConfig {
    let asked = flags.temperature.is_some()
        || flags.top_k.is_some()
        || flags.top_p.is_some()
        || flags.min_p.is_some();
    SamplingConfig {
        do_sample: !flags.greedy && (asked || defaults.do_sample),
        temperature: flags.temperature.unwrap_or(defaults.temperature),
        top_k: flags.top_k.unwrap_or(defaults.top_k),
        top_p: flags.top_p.unwrap_or(defaults.top_p),
        min_p: flags.min_p.unwrap_or(defaults.min_p),
        repetition_penalty: flags.repetition_penalty.unwrap_or(defaults.repetition_penalty),
        seed: flags.seed,
    }
}

/// What was asked for must fit the context; a default shrinks to it.
fn max_new_tokens(
    args: &Generate,
    defaults: &GenerationConfig,
    prompt: usize,
    config: &Config,
) -> Result<usize> {
    let context = config.max_position_embeddings;
    let room = (context + 1).checked_sub(prompt).filter(|&room| room > 0).ok_or_else(|| {
        Error::new(ErrorCode::ContextFull, "the prompt is longer than the model's context")
            .expected(format!("at most {context} tokens"))
            .found(prompt)
    })?;
    match args.max_new_tokens {
        Some(0) => Err(invalid("--max-new-tokens", "must be at least 1").found(0)),
        Some(n) if n > room => {
            Err(Error::new(ErrorCode::ContextFull, "prompt and new tokens exceed the context")
                .tensor("--max-new-tokens")
                .expected(format!("at most {room}, for a context of {context} and a prompt of {prompt}"))
                .found(n))
        }
        Some(n) => Ok(n),
        None => Ok(defaults.max_new_tokens.unwrap_or(MAX_NEW_TOKENS).min(room)),
    }
}
