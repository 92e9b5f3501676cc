//! Every argument of every command, and nothing else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// bitsandbytes 4-bit quantization and Llama inference on the CPU
///
/// DIR is a Hugging Face model folder: config.json, model.safetensors (or an index and its shards) and, for
/// text, tokenizer.json. It may be full precision or already quantized by bitsandbytes.
#[derive(Debug, Parser)]
#[command(name = "nibblama", version, max_term_width = 110, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Print one JSON object on stdout and nothing else, errors included
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the layers, tensors and memory of a model without loading it, or one tensor in 4 bits
    #[command(
        after_help = "Example:\n  nibblama inspect ./llama-nf4\n  nibblama inspect ./llama --quant-type nf4 --double-quant\n  nibblama inspect ./llama --tensor model.layers.0.mlp.up_proj --block 12 --double-quant"
    )]
    Inspect(Inspect),
    /// Compute the memory of a model from its config.json alone
    #[command(
        after_help = "Example:\n  nibblama footprint config.json --quant-type nf4 --double-quant --context 8192"
    )]
    Footprint(Footprint),
    /// Write a bitsandbytes checkpoint that transformers loads
    #[command(
        after_help = "Example:\n  nibblama quantize ./llama ./llama-nf4 --quant-type nf4 --double-quant --compute-dtype bfloat16"
    )]
    Quantize(Quantize),
    /// Continue a text, answer a chat message or continue token ids
    #[command(
        after_help = "Example:\n  nibblama generate ./llama-nf4 --prompt \"Once upon a time\" --temperature 0.8 --seed 7\n  nibblama generate ./llama --quant-type nf4 --chat \"Why is the sky blue?\" --greedy"
    )]
    Generate(Generate),
    /// Write the logits of every position of a list of token ids
    #[command(after_help = "Example:\n  nibblama logits ./llama-nf4 --ids 0,17,42 --out logits.safetensors")]
    Logits(Logits),
    /// Measure perplexity on a text, and the distance to another model
    #[command(
        after_help = "Example:\n  nibblama eval ./llama-nf4 --text stories.txt --against ./llama\n\nLines that hold only <|endoftext|> separate stories. Each story is stripped of white space at both ends\nand scored from the model's start token; that token, separators and ends of stories are not scored."
    )]
    Eval(Eval),
    /// Print the token ids of a text
    #[command(after_help = "Example:\n  nibblama tokenize ./llama --text \"Once upon a time\"")]
    Tokenize(Tokenize),
}

/// How to quantize full-precision weights, as in transformers' `BitsAndBytesConfig`.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Quantization")]
pub struct Quantization {
    /// Format of the linear weights [quantize: nf4; elsewhere: as stored]
    #[arg(long, value_enum)]
    pub quant_type: Option<QuantTypeArg>,
    /// Quantize the absmax of 4-bit blocks to 8 bits as well
    #[arg(long)]
    pub double_quant: bool,
    /// Weights per 4-bit block: a power of two from 32 to 4096 [64]
    #[arg(long, value_name = "N")]
    pub blocksize: Option<usize>,
    /// Leave modules with this name unquantized; repeatable [lm_head]
    #[arg(long, value_name = "NAME")]
    pub skip: Vec<String>,
    /// Outlier threshold of int8 activations [6.0]
    #[arg(long, value_name = "X")]
    pub int8_threshold: Option<f32>,
}

impl Quantization {
    /// The first flag given beside a missing `--quant-type`, which then has no meaning.
    pub fn stray_flag(&self) -> Option<&'static str> {
        [
            ("--double-quant", self.double_quant),
            ("--blocksize", self.blocksize.is_some()),
            ("--skip", !self.skip.is_empty()),
            ("--int8-threshold", self.int8_threshold.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

/// How to compute.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Computation")]
pub struct Computation {
    /// Dtype that quantized layers compute in [float32, whatever the checkpoint's config says]
    ///
    /// float32 is both faster and more accurate on a CPU; bfloat16 and float16 are emulated: weights and
    /// activations of quantized layers are rounded to them, as bitsandbytes does.
    #[arg(long, value_enum)]
    pub compute_dtype: Option<FloatArg>,
    /// How products with 4-bit weights are computed [near-exact where generate draws tokens, exact elsewhere]
    #[arg(long, value_enum)]
    pub arithmetic: Option<ArithmeticArg>,
    /// What keys and values are held as [int16 with near-exact and fast arithmetic, else float32]
    #[arg(long, value_enum)]
    pub kv_cache_dtype: Option<KvCacheDtypeArg>,
    /// Hold lm_head in this format, of blocksize 64 without double quantization [as stored]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub lm_head: Option<QuantTypeArg>,
    /// Threads to compute on; results do not depend on it [one per core, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QuantTypeArg {
    /// 4 bits, levels for normally distributed weights
    Nf4,
    /// 4 bits, floating point
    Fp4,
    /// LLM.int8, one scale per row
    Int8,
    /// Full precision
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FloatArg {
    #[value(aliases = ["f32", "fp32"])]
    Float32,
    #[value(aliases = ["bf16"])]
    Bfloat16,
    #[value(aliases = ["f16", "fp16"])]
    Float16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ArithmeticArg {
    /// In f32, with the dequantized weights
    Exact,
    /// Activations and levels as 14-bit integers
    NearExact,
    /// Activations as 8-bit, levels as 7-bit integers
    Fast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KvCacheDtypeArg {
    /// As they are computed
    Float32,
    /// 14-bit integers with a scale for each key and value: half the memory
    Int16,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Inspect {
    /// Model folder
    pub dir: PathBuf,
    /// Also give the bytes of a kv cache for this many tokens
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Show this weight instead: one block step by step, blocksizes, double quantization, formats [in nf4]
    #[arg(long, value_name = "NAME")]
    pub tensor: Option<String>,
    /// The block of --tensor to show
    #[arg(long, value_name = "N", default_value_t = 0, requires = "tensor")]
    pub block: usize,
    #[command(flatten)]
    pub quantization: Quantization,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Footprint {
    /// config.json of a Llama, or a folder that holds one
    #[arg(value_name = "CONFIG.json")]
    pub config: PathBuf,
    /// Also give the bytes of a kv cache for this many tokens
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    /// Dtype of unquantized weights [the config's, or bfloat16 where it names none]
    #[arg(long, value_enum)]
    pub dtype: Option<FloatArg>,
    #[command(flatten)]
    pub quantization: Quantization,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Quantize {
    /// Full-precision model folder (F32, BF16 or F16)
    pub dir: PathBuf,
    /// Folder to create; it must not exist, or be empty
    pub out: PathBuf,
    /// Dtype that config.json asks readers to compute in [float32]
    #[arg(long, value_enum)]
    pub compute_dtype: Option<FloatArg>,
    /// Split the weights into files of at most this many bytes; K, M and G are powers of 1000
    #[arg(long, value_name = "BYTES", default_value = "5G", value_parser = parse_bytes)]
    pub max_shard_size: u64,
    #[command(flatten)]
    pub quantization: Quantization,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Generate {
    /// Model folder
    pub dir: PathBuf,
    #[command(flatten)]
    pub input: Input,
    /// System message before the one of --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Folder of tokenizer.json [DIR]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// LoRA adapter folder (PEFT)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Tokens to generate at most [generation_config.json, or 256], and never more than the context holds
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// End where this text appears; it is not printed; repeatable
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    #[command(flatten)]
    pub sampling: Sampling,
    #[command(flatten)]
    pub quantization: Quantization,
    #[command(flatten)]
    pub computation: Computation,
}

/// What to continue; none of them starts from the model's start token.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Input {
    /// Text to continue
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Message to answer, through the model's chat template
    #[arg(long, value_name = "TEXT")]
    pub chat: Option<String>,
    /// Token ids to continue, taken as they are
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    pub ids: Option<Ids>,
}

/// Names and order as in transformers. A flag here wins over generation_config.json, which wins over
/// transformers' defaults; any of the sampling flags turns sampling on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling (flags win over generation_config.json; without either: greedy)")]
pub struct Sampling {
    /// Always take the likeliest token
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p"])]
    pub greedy: bool,
    /// Divide logits by this
    #[arg(long, value_name = "X")]
    pub temperature: Option<f32>,
    /// Keep only the likeliest K tokens; 0 keeps all
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// Keep the likeliest tokens up to this total probability
    #[arg(long, value_name = "P")]
    pub top_p: Option<f32>,
    /// Drop tokens below this share of the likeliest one's probability
    #[arg(long, value_name = "P")]
    pub min_p: Option<f32>,
    /// Push down tokens that already occurred; 1 does nothing
    #[arg(long, value_name = "X")]
    pub repetition_penalty: Option<f32>,
    /// Seed of the sampler; with --arithmetic exact the same seed gives the same text on every platform
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Logits {
    /// Model folder
    pub dir: PathBuf,
    /// Token ids, separated by commas
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    pub ids: Ids,
    /// File to write: tensor `logits`, F32, (ids, vocabulary)
    #[arg(long, value_name = "F.safetensors")]
    pub out: PathBuf,
    /// LoRA adapter folder (PEFT)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    #[command(flatten)]
    pub quantization: Quantization,
    #[command(flatten)]
    pub computation: Computation,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Eval {
    /// Model folder
    pub dir: PathBuf,
    /// UTF-8 text to score
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// Reference model: also give the mean KL divergence from it, and how often both prefer the same token
    #[arg(long, value_name = "DIR2")]
    pub against: Option<PathBuf>,
    /// LoRA adapter folder (PEFT), for DIR alone
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
    /// Folder of tokenizer.json [DIR]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// Tokens in a window [max_position_embeddings, but at most 4096]
    ///
    /// A longer story is scored in windows that overlap by half: each begins with the start token, every token
    /// is scored once, and from the second window on with at least half a window before it.
    #[arg(long, value_name = "N")]
    pub context: Option<usize>,
    #[command(flatten)]
    pub quantization: Quantization,
    #[command(flatten)]
    pub computation: Computation,
}

#[derive(Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Tokenize {
    /// Folder of tokenizer.json
    pub dir: PathBuf,
    #[command(flatten)]
    pub input: TokenizeInput,
    /// System message before the one of --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub system: Option<String>,
    /// Leave out the tokens that the tokenizer adds around --text
    #[arg(long)]
    pub no_special: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct TokenizeInput {
    /// Text to encode
    #[arg(long, value_name = "TEXT")]
    pub text: Option<String>,
    /// Message to put through the chat template and encode
    #[arg(long, value_name = "TEXT")]
    pub chat: Option<String>,
    /// Token ids to decode
    #[arg(long, value_name = "IDS", value_parser = parse_ids)]
    pub ids: Option<Ids>,
}

/// Token ids of one argument; a type of its own, since clap reads a `Vec` as a repeated argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids(pub Vec<u32>);

/// Ids separated by commas or white space.
fn parse_ids(text: &str) -> Result<Ids, String> {
    let ids = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().map_err(|_| format!("{part:?} is not a token id")))
        .collect::<Result<Vec<u32>, _>>()?;
    if ids.is_empty() { Err("no token ids".into()) } else { Ok(Ids(ids)) }
}

/// `4096`, `512K`, `200M`, `5G`; a final `B` is allowed.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let number = text.trim_end_matches(['B', 'b']);
    let (digits, unit) = match number.as_bytes().last() {
        Some(b'K' | b'k') => (&number[..number.len() - 1], 1_000),
        Some(b'M' | b'm') => (&number[..number.len() - 1], 1_000_000),
        Some(b'G' | b'g') => (&number[..number.len() - 1], 1_000_000_000),
        _ => (number, 1),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    bytes.filter(|&b| b > 0).ok_or_else(|| "not a positive number of bytes".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("nibblama {} ", command.get_name())), "{}", command.get_name());
        }
    }

    #[test]
    fn ids_and_sizes() {
        assert_eq!(parse_ids("1, 2 3,4"), Ok(Ids(vec![1, 2, 3, 4])));
        assert_eq!(parse_ids("1,x").unwrap_err(), "\"x\" is not a token id");
        assert!(parse_ids("-1").is_err() && parse_ids("4294967296").is_err() && parse_ids(" ,").is_err());
        assert_eq!(parse_bytes("5GB"), Ok(5_000_000_000));
        assert_eq!(parse_bytes("300k"), Ok(300_000));
        assert!(
            parse_bytes("0").is_err() && parse_bytes("G").is_err() && parse_bytes("99999999999G").is_err()
        );
    }
}
