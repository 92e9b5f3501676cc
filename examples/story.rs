//! Quantizes a full-precision model while loading it and lets it write.
//!
//! `cargo run --release --example story -- models/stories 1 42 7`: a folder, then the ids of the prompt's tokens.

use std::path::PathBuf;

use nibblama::generate::{Generation, Generator, SamplingConfig};
use nibblama::model::{Llama, LoadOptions};
use nibblama::quant::{BitsAndBytesConfig, QuantType};

fn main() -> nibblama::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = PathBuf::from(args.next().unwrap_or_else(|| "models/stories".to_owned()));
    let prompt: Vec<u32> = args.filter_map(|id| id.parse().ok()).collect();
    let quantization = Some(BitsAndBytesConfig::four_bit(QuantType::Nf4, true));
    let mut model = Llama::load(&folder, &LoadOptions { quantization, ..LoadOptions::default() })?;
    println!("{} bytes of weights", model.memory().weights());
    let eos = model.config().eos_token_ids.clone();
    let start = model.config().bos_token_id.unwrap_or(0);
    let prompt = if prompt.is_empty() { vec![start] } else { prompt };
    let mut cache = model.new_cache(prompt.len() + 100)?;
    let generation = Generation::new(&prompt, SamplingConfig::default(), &eos, 100)?;
    for step in Generator::new(&mut model, &mut cache, generation) {
        print!("{} ", step?.token);
    }
    println!();
    Ok(())
}
