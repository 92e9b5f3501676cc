//! From arguments to a model that runs: what inspect, generate, logits, eval and quantize share.

use std::fs;
use std::path::Path;

use nibblama::checkpoint::{Checkpoint, Dtype};
use nibblama::kernels::Arithmetic;
use nibblama::model::{Adapter, Config, KvCacheDtype, Llama, LoadOptions, WeightsLoader};
use nibblama::quant::{BitsAndBytesConfig, ComputeDtype, QuantFormat, QuantType};
use nibblama::{Error, ErrorCode, Result};

use crate::args::{ArithmeticArg, Computation, FloatArg, KvCacheDtypeArg, QuantTypeArg, Quantization};
use crate::output::progress;

/// The name under which the adapter of `--adapter` is loaded.
const ADAPTER: &str = "adapter";

/// More threads than this wait for each other longer than they compute.
const MAX_THREADS: usize = 8;

impl ArithmeticArg {
    fn arithmetic(self) -> Arithmetic {
        match self {
            ArithmeticArg::Exact => Arithmetic::Exact,
            ArithmeticArg::NearExact => Arithmetic::NearExact,
            ArithmeticArg::Fast => Arithmetic::Fast,
        }
    }
}

impl KvCacheDtypeArg {
    fn dtype(self) -> KvCacheDtype {
        match self {
            KvCacheDtypeArg::Float32 => KvCacheDtype::Float32,
            KvCacheDtypeArg::Int16 => KvCacheDtype::Int16,
        }
    }
}

impl FloatArg {
    pub fn compute_dtype(self) -> ComputeDtype {
        match self {
            FloatArg::Float32 => ComputeDtype::Float32,
            FloatArg::Bfloat16 => ComputeDtype::Bfloat16,
            FloatArg::Float16 => ComputeDtype::Float16,
        }
    }

    pub fn dtype(self) -> Dtype {
        match self {
            FloatArg::Float32 => Dtype::F32,
            FloatArg::Bfloat16 => Dtype::BF16,
            FloatArg::Float16 => Dtype::F16,
        }
    }
}

/// Reads a file, with its name in the error.
pub fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|e| io_error(file, &e))
}

/// An I/O error in words, with the file it concerns.
pub fn io_error(file: &Path, e: &std::io::Error) -> Error {
    let reason = match e.kind() {
        std::io::ErrorKind::NotFound => "no such file or folder".to_owned(),
        _ => e.to_string(),
    };
    Error::new(ErrorCode::Io, reason).in_file(file.display().to_string())
}

/// `config.json` of a model folder.
pub fn read_config(dir: &Path) -> Result<Config> {
    let file = dir.join("config.json");
    if !dir.is_dir() {
        return Err(Error::new(ErrorCode::Io, "no such model folder").in_file(dir.display().to_string()));
    }
    Config::from_json(&file.display().to_string(), &read(&file)?)
}

/// The quantization that the flags ask for; `None` keeps weights as they are.
///
/// `--skip` adds to what is always left out, `lm_head`, whereas `llm_int8_skip_modules` replaces it: so the list
/// that comes out names `lm_head` itself.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for flags that do not go together, impossible values, and a `--skip` that names
/// no linear layer of the model.
pub fn quantization(
    flags: &Quantization,
    quant_type: Option<QuantTypeArg>,
    compute_dtype: ComputeDtype,
    config: &Config,
) -> Result<Option<BitsAndBytesConfig>> {
    let format = match quant_type {
        None | Some(QuantTypeArg::None) => {
            return match flags.stray_flag() {
                None => Ok(None),
                Some(flag) => Err(invalid(flag, "without --quant-type it has no effect")),
            };
        }
        Some(QuantTypeArg::Int8) => {
            if flags.double_quant {
                return Err(
                    invalid("--double-quant", "only 4-bit formats have it").found("--quant-type int8")
                );
            }
            if flags.blocksize.is_some() {
                return Err(
                    invalid("--blocksize", "only 4-bit formats have blocks").found("--quant-type int8")
                );
            }
            let threshold = flags.int8_threshold.unwrap_or(6.0);
            if !(0.0..=65504.0).contains(&threshold) {
                return Err(invalid("--int8-threshold", "out of range")
                    .expected("0 to 65504")
                    .found(threshold));
            }
            QuantFormat::Int8 { threshold }
        }
        Some(four_bit) => {
            if flags.int8_threshold.is_some() {
                return Err(invalid("--int8-threshold", "only --quant-type int8 has it"));
            }
            let blocksize = flags.blocksize.unwrap_or(64);
            nibblama::quant::four_bit::check_blocksize(blocksize).map_err(|_| {
                invalid("--blocksize", "unsupported blocksize")
                    .expected("a power of two from 32 to 4096")
                    .found(blocksize)
            })?;
            let quant_type = if four_bit == QuantTypeArg::Fp4 { QuantType::Fp4 } else { QuantType::Nf4 };
            QuantFormat::FourBit {
                quant_type,
                blocksize,
                double_quant: flags.double_quant,
                quant_storage: Dtype::U8,
            }
        }
    };
    let mut wanted = BitsAndBytesConfig { format, compute_dtype, skip_modules: None };
    for name in &flags.skip {
        wanted.skip_modules = Some(vec![name.clone()]);
        wanted.check_skip_modules()?;
        if config.linear_modules().iter().all(|module| wanted.quantizes(&module.path, false)) {
            return Err(invalid("--skip", "names no linear layer of this model").found(name));
        }
    }
    wanted.skip_modules = (!flags.skip.is_empty())
        .then(|| std::iter::once("lm_head".to_owned()).chain(flags.skip.iter().cloned()).collect());
    Ok(Some(wanted))
}

/// Refuses to quantize a checkpoint that is quantized already in another way.
pub fn check_stored(dir: &Path, config: &Config, asked: Option<&BitsAndBytesConfig>) -> Result<()> {
    match (&config.quantization, asked) {
        (Some(stored), Some(asked)) if describe(stored) != describe(asked) => {
            Err(Error::new(ErrorCode::UnsupportedQuantization, "the model is already quantized")
                .in_file(dir.join("config.json").display().to_string())
                .tensor("quantization_config")
                .expected(format!("a full-precision model, to make it {}", describe(asked)))
                .found(describe(stored)))
        }
        _ => Ok(()),
    }
}

/// A format in words, such as `nf4 of blocksize 64 with double quantization`.
pub fn describe(quantization: &BitsAndBytesConfig) -> String {
    match &quantization.format {
        QuantFormat::FourBit { quant_type, blocksize, double_quant, .. } => {
            let double_quant = if *double_quant { " with double quantization" } else { "" };
            format!("{quant_type} of blocksize {blocksize}{double_quant}")
        }
        QuantFormat::Int8 { threshold } => format!("int8 with threshold {threshold}"),
    }
}

/// The format that `--lm-head` asks for.
fn lm_head(computation: &Computation) -> Option<QuantFormat> {
    let quant_type = match computation.lm_head? {
        QuantTypeArg::None => return None,
        QuantTypeArg::Int8 => return Some(QuantFormat::Int8 { threshold: 0.0 }),
        QuantTypeArg::Nf4 => QuantType::Nf4,
        QuantTypeArg::Fp4 => QuantType::Fp4,
    };
    Some(QuantFormat::FourBit { quant_type, blocksize: 64, double_quant: false, quant_storage: Dtype::U8 })
}

/// Loads a model, quantizing it on the way if asked, with its adapter active. Without `--arithmetic` it computes
/// in float32 by `arithmetic`.
pub fn load(
    dir: &Path,
    flags: &Quantization,
    computation: &Computation,
    arithmetic: Arithmetic,
    adapter: Option<&Path>,
    json: bool,
) -> Result<Llama> {
    let config = read_config(dir)?;
    let compute_dtype = computation.compute_dtype.unwrap_or(FloatArg::Float32).compute_dtype();
    let quantization = quantization(flags, flags.quant_type, compute_dtype, &config)?;
    check_stored(dir, &config, quantization.as_ref())?;
    if computation.arithmetic.is_some() && compute_dtype != ComputeDtype::Float32 {
        return Err(invalid("--arithmetic", "it is the arithmetic of float32")
            .found(format!("--compute-dtype {}", compute_dtype.as_str())));
    }
    let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_THREADS));
    nibblama::kernels::set_threads(computation.threads.map_or_else(cores, usize::from));
    // The adapter first: its errors should not wait for the weights.
    let adapter = adapter.map(Adapter::load).transpose()?;
    let checkpoint = Checkpoint::open(dir)?;
    let options = LoadOptions { quantization, compute_dtype, lm_head: lm_head(computation) };
    let infos = checkpoint.headers().iter().flat_map(|h| h.tensors().iter().map(|info| (h.file(), info)));
    let mut loader = WeightsLoader::new(&config, infos, &options)?;
    let total = checkpoint.infos().map(|info| info.range.end - info.range.start).sum();
    let bar = progress(total, "loading", true, json);
    for view in checkpoint.views() {
        if loader.wants(view.name) {
            loader.push(view)?;
            checkpoint.release(view.name);
        }
        bar.inc(view.bytes.len() as u64);
    }
    let weights = loader.finish()?;
    bar.finish_and_clear();
    let mut model = Llama::new(config, weights)?;
    if compute_dtype == ComputeDtype::Float32 {
        model.set_arithmetic(computation.arithmetic.map_or(arithmetic, ArithmeticArg::arithmetic));
    }
    model.set_kv_cache_dtype(computation.kv_cache_dtype.map(KvCacheDtypeArg::dtype));
    if let Some(adapter) = adapter {
        model.load_adapter(ADAPTER, adapter)?;
        model.set_adapter(Some(ADAPTER))?;
    }
    Ok(model)
}

/// Refuses token ids that the model has no embedding for.
pub fn check_ids(ids: &[u32], config: &Config) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= config.vocab_size) {
        None => Ok(()),
        Some(id) => Err(Error::new(ErrorCode::InvalidToken, "token id outside the vocabulary")
            .expected(format!("below {}", config.vocab_size))
            .found(id)),
    }
}

/// An argument that cannot be used.
pub fn invalid(flag: &str, reason: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, reason).tensor(flag)
}
