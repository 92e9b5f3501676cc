//! `nibblama quantize`: a full-precision folder to a bitsandbytes folder.
//!
//! Weights are read from the memory-mapped source, quantized and written one tensor at a time. Everything goes
//! into a hidden folder beside OUT, which is renamed at the very end, so that a run that dies leaves nothing that
//! looks finished.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use nibblama::checkpoint::{
    Checkpoint, CheckpointWriter, TensorInfo, TensorSpec, TensorView, json, write_file,
};
use nibblama::model::{Config, LoadOptions, WeightsLoader};
use nibblama::quant::bnb::{self, OutputTensor};
use nibblama::quant::four_bit::{block_absmax, quantize_blocks};
use nibblama::quant::{
    Absmax, BitsAndBytesConfig, Int8Params, NestedAbsmax, Params4bit, QuantFormat, QuantState, QuantType,
};
use nibblama::{Error, ErrorCode, Result};
use serde_json::json;

use crate::args::{FloatArg, QuantTypeArg, Quantize};
use crate::load::{self, invalid, io_error};
use crate::output::{Outcome, human_bytes, json_of, print, print_json, progress};

/// Files of the source that belong to the model whatever its weights are.
const COPIED: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

pub fn run(args: &Quantize, json: bool) -> Outcome {
    let config = load::read_config(&args.dir)?;
    let quantization = wanted(args, &config)?;
    check_out(&args.out)?;
    let checkpoint = Checkpoint::open(&args.dir)?;
    check_source(&config, &checkpoint)?;

    let folder = Unfinished::create(&args.out)?;
    let source_bytes = checkpoint.infos().map(TensorInfo::byte_len).sum();
    let mut specs = Vec::new();
    let bar = progress(source_bytes, "planning", true, json);
    for view in checkpoint.views() {
        specs.extend(announce(&view, &config, &quantization)?);
        checkpoint.release(view.name);
        bar.inc(view.bytes.len() as u64);
    }
    bar.finish_and_clear();
    let bytes = specs.iter().map(TensorSpec::byte_len).sum::<Result<u64>>()?;
    let mut writer = CheckpointWriter::create(&folder.path, specs, Some(args.max_shard_size))?;
    let bar = progress(source_bytes, "quantizing", true, json);
    for view in checkpoint.views() {
        for (name, _, _, bytes) in convert(&view, &config, &quantization)? {
            writer.write(&name, &bytes)?;
        }
        checkpoint.release(view.name);
        bar.inc(view.bytes.len() as u64);
    }
    writer.finish()?;
    bar.finish_and_clear();
    write_config(&args.dir, &folder.path, &quantization)?;
    for name in COPIED {
        copy(&args.dir.join(name), &folder.path.join(name))?;
    }
    folder.finish(&args.out)?;

    let out = args.out.display().to_string();
    if json {
        print_json(&json!({
            "out": out,
            "source_bytes": source_bytes,
            "bytes": bytes,
            "quantization_config": json_of(&quantization.to_json()),
        }))
    } else {
        print(&format!(
            "{out}: {} of weights from {} ({:.1} %)\n",
            human_bytes(bytes),
            human_bytes(source_bytes),
            100.0 * bytes as f64 / source_bytes as f64,
        ))
    }
}

/// The quantization of the flags, NF4 unless they say otherwise.
fn wanted(args: &Quantize, config: &Config) -> Result<BitsAndBytesConfig> {
    if let Some(stored) = &config.quantization {
        return Err(Error::new(ErrorCode::UnsupportedQuantization, "the model is already quantized")
            .in_file(args.dir.join("config.json").display().to_string())
            .tensor("quantization_config")
            .expected("a full-precision model")
            .found(load::describe(stored)));
    }
    let quant_type = args.quantization.quant_type.unwrap_or(QuantTypeArg::Nf4);
    let compute_dtype = args.compute_dtype.unwrap_or(FloatArg::Float32).compute_dtype();
    load::quantization(&args.quantization, Some(quant_type), compute_dtype, config)?
        .ok_or_else(|| invalid("--quant-type", "nothing to do").expected("nf4, fp4 or int8").found("none"))
}

fn check_out(out: &Path) -> Result<()> {
    let taken =
        |reason: &str| Err(Error::new(ErrorCode::InvalidArgument, reason).in_file(out.display().to_string()));
    match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => taken("the output folder is not empty"),
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => taken("the output folder is a file"),
        Err(e) => Err(io_error(out, &e)),
    }
}

/// Names, shapes and dtypes are checked as for running the model, before anything is written.
fn check_source(config: &Config, checkpoint: &Checkpoint) -> Result<()> {
    let infos = checkpoint.headers().iter().flat_map(|h| h.tensors().iter().map(|info| (h.file(), info)));
    WeightsLoader::new(config, infos, &LoadOptions::default()).map(|_| ())
}

/// The module of a weight that is to be quantized.
fn quantized_module<'n>(
    name: &'n str,
    config: &Config,
    quantization: &BitsAndBytesConfig,
) -> Option<&'n str> {
    let module = name.strip_suffix(".weight")?;
    let linear = module == "lm_head" || module.ends_with("_proj");
    (linear && quantization.quantizes(module, config.tie_word_embeddings)).then_some(module)
}

/// What [`convert`] will write for a source tensor. Shapes follow from the source's, except for the length of
/// quant_state: it spells out the offset of double quantization, so the scales are computed here already.
fn announce(
    view: &TensorView<'_>,
    config: &Config,
    quantization: &BitsAndBytesConfig,
) -> Result<Vec<TensorSpec>> {
    let Some(module) = quantized_module(view.name, config, quantization) else {
        return Ok(vec![TensorSpec::new(view.name, view.dtype.clone(), view.shape)]);
    };
    let spec = |(name, dtype, shape, _): OutputTensor<'_>| TensorSpec::new(name, dtype, shape);
    match &quantization.format {
        QuantFormat::FourBit { quant_type, blocksize, double_quant, quant_storage } => {
            let blocks = view.elements().div_ceil(*blocksize);
            let absmax = if *double_quant {
                let values = view.to_f32_vec()?;
                Absmax::Nested(NestedAbsmax::quantize(&block_scales(&values, *quant_type, *blocksize)))
            } else {
                Absmax::F32(vec![0.0; blocks])
            };
            let quant_state = QuantState {
                quant_type: *quant_type,
                blocksize: *blocksize,
                dtype: view.dtype.clone(),
                shape: view.shape.to_vec(),
                code: *quant_type.codebook(),
                absmax,
            };
            let params = Params4bit { packed: vec![0; view.elements().div_ceil(2)], quant_state };
            let tensors = bnb::tensors_of(module, &params, quant_storage).map_err(|e| place(view, e))?;
            Ok(tensors.into_iter().map(spec).collect())
        }
        QuantFormat::Int8 { .. } => {
            let (rows, cols) = axes(view)?;
            let params = Int8Params { cb: Vec::new(), scb: Vec::new(), rows, cols };
            Ok(bnb::tensors_of_int8(module, &params).into_iter().map(spec).collect())
        }
    }
}

/// The scales that quantizing `values` gives, without the codes.
fn block_scales(values: &[f32], quant_type: QuantType, blocksize: usize) -> Vec<f32> {
    let blocks = values.chunks_exact(blocksize);
    let short = blocks.remainder();
    let mut scales: Vec<f32> = blocks.map(block_absmax).collect();
    if !short.is_empty() {
        // A short block has a rule of its own.
        let mut scale = [0.0];
        quantize_blocks(short, quant_type, blocksize, &mut vec![0; short.len().div_ceil(2)], &mut scale);
        scales.extend(scale);
    }
    scales
}

/// What is written for one source tensor: itself, or the tensors of a quantized layer.
fn convert<'v>(
    view: &TensorView<'v>,
    config: &Config,
    quantization: &BitsAndBytesConfig,
) -> Result<Vec<OutputTensor<'v>>> {
    let Some(module) = quantized_module(view.name, config, quantization) else {
        let tensor =
            (view.name.to_owned(), view.dtype.clone(), view.shape.to_vec(), Cow::Borrowed(view.bytes));
        return Ok(vec![tensor]);
    };
    let values = view.to_f32_vec()?;
    let owned = |tensors: Vec<OutputTensor<'_>>| {
        tensors
            .into_iter()
            .map(|(name, dtype, shape, bytes)| (name, dtype, shape, Cow::Owned(bytes.into_owned())))
            .collect()
    };
    match &quantization.format {
        QuantFormat::FourBit { quant_type, blocksize, double_quant, quant_storage } => {
            let params = Params4bit::quantize(
                &values,
                view.shape,
                view.dtype.clone(),
                *quant_type,
                *blocksize,
                *double_quant,
            )
            .map_err(|e| place(view, e))?;
            drop(values);
            Ok(owned(bnb::tensors_of(module, &params, quant_storage).map_err(|e| place(view, e))?))
        }
        QuantFormat::Int8 { .. } => {
            let (rows, cols) = axes(view)?;
            let params = Int8Params::quantize(&values, rows, cols).map_err(|e| place(view, e))?;
            drop(values);
            Ok(owned(bnb::tensors_of_int8(module, &params)))
        }
    }
}

fn place(view: &TensorView<'_>, error: Error) -> Error {
    error.in_file(view.file).tensor(view.name)
}

fn axes(view: &TensorView<'_>) -> Result<(usize, usize)> {
    match *view.shape {
        [rows, cols] => Ok((rows, cols)),
        _ => Err(view.error(ErrorCode::ShapeMismatch, "a linear weight has two axes")),
    }
}

/// The source's config.json with `quantization_config`; keys this program does not know are kept.
fn write_config(from: &Path, to: &Path, quantization: &BitsAndBytesConfig) -> Result<()> {
    let file = from.join("config.json");
    let name = file.display().to_string();
    let mut config = json_of(&json::parse(&name, &load::read(&file)?)?);
    let object = config.as_object_mut().ok_or_else(|| {
        Error::new(ErrorCode::InvalidJson, "not a JSON object").in_file(name).expected("an object")
    })?;
    object.insert("quantization_config".into(), json_of(&quantization.to_json()));
    write_file(&to.join("config.json"), format!("{config:#}\n").as_bytes())
}

/// Copies the content, not the permissions: a read-only source need not make a read-only copy.
fn copy(from: &Path, to: &Path) -> Result<()> {
    match fs::read(from) {
        Ok(bytes) => write_file(to, &bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io_error(from, &e)),
    }
}

/// A hidden folder beside OUT, removed unless it is finished.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn create(out: &Path) -> Result<Self> {
        let name = out.file_name().ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, "the output folder has no name")
                .in_file(out.display().to_string())
        })?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".unfinished-{}", std::process::id()));
        let path = out.with_file_name(hidden);
        fs::create_dir_all(&path).map_err(|e| io_error(&path, &e))?;
        Ok(Unfinished { path })
    }

    fn finish(self, out: &Path) -> Result<()> {
        // Not every system renames onto an empty folder.
        match fs::remove_dir(out) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(out, &e)),
            _ => {}
        }
        fs::rename(&self.path, out).map_err(|e| io_error(out, &e))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename there is nothing of that name.
        let _ = fs::remove_dir_all(&self.path);
    }
}
