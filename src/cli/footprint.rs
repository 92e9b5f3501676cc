//! `nibblama footprint`, and the table of bytes that `inspect` shows as well.

use nibblama::model::Config;
use nibblama::model::footprint::{TrueBytes, footprint};
use nibblama::quant::{BitsAndBytesConfig, ComputeDtype};
use nibblama::{Error, ErrorCode, Result};
use serde_json::json;

use crate::args::Footprint;
use crate::load;
use crate::output::{Outcome, grouped, human_bytes, json_of, print, print_json, table};

/// Greatest `--context`; keeps byte counts far below 2^64.
const MAX_CONTEXT: usize = 1 << 30;

pub fn run(args: &Footprint, json: bool) -> Outcome {
    let file = if args.config.is_dir() { args.config.join("config.json") } else { args.config.clone() };
    let config = Config::from_json(&file.display().to_string(), &load::read(&file)?)?;
    let context = check_context(args.context)?;
    let quantization = match args.quantization.quant_type {
        // Without the flag a quantized checkpoint's own config decides.
        None if args.quantization.stray_flag().is_none() => config.quantization.clone(),
        quant_type => load::quantization(&args.quantization, quant_type, ComputeDtype::Float32, &config)?,
    };
    let dtype = args.dtype.map(|dtype| dtype.dtype());
    let bytes = footprint(&config, quantization.as_ref(), dtype.as_ref(), context);
    let quant_type = quantization.as_ref().map_or("none", quant_type);
    if json {
        return print_json(&json!({
            "quant_type": quant_type,
            "parameters": bytes.parameters,
            "get_memory_footprint": bytes.get_memory_footprint,
            "true_bytes": bytes.true_bytes.total,
            "breakdown": json_of(&bytes.true_bytes.to_json()),
            "context": context,
            "kv_cache_bytes": bytes.kv_cache,
            "modules": bytes.modules.iter().map(|module| json!({
                "path": module.path,
                "kind": module.kind,
                "parameters": module.parameters,
                "bytes": module.true_bytes.total,
            })).collect::<Vec<_>>(),
        }));
    }
    let head = vec![vec!["parameters".to_owned(), grouped(bytes.parameters)]];
    let mut text = table(&[false, true], &head);
    text += "\nbytes\n";
    text += &memory_table(
        &bytes.true_bytes,
        bytes.get_memory_footprint,
        args.context.map(|n| (n, bytes.kv_cache)),
    );
    print(&text)
}

/// `nf4`, `fp4` or `int8`.
pub fn quant_type(quantization: &BitsAndBytesConfig) -> &'static str {
    match &quantization.format {
        nibblama::quant::QuantFormat::FourBit { quant_type, .. } => quant_type.as_str(),
        nibblama::quant::QuantFormat::Int8 { .. } => "int8",
    }
}

/// The length of `--context`, 0 without it.
pub fn check_context(context: Option<usize>) -> Result<usize> {
    match context {
        Some(n) if n == 0 || n > MAX_CONTEXT => Err(Error::new(ErrorCode::InvalidArgument, "out of range")
            .tensor("--context")
            .expected(format!("1 to {MAX_CONTEXT}"))
            .found(n)),
        context => Ok(context.unwrap_or(0)),
    }
}

/// Bytes by kind, those that are zero left out, then the two totals and the kv cache.
pub fn memory_table(bytes: &TrueBytes, printed: u64, kv_cache: Option<(usize, u64)>) -> String {
    let row = |name: &str, bytes: u64| vec![format!("  {name}"), grouped(bytes), human_bytes(bytes)];
    let mut rows: Vec<Vec<String>> = [
        (bytes.packed_codes, "packed 4-bit codes"),
        (bytes.absmax, "absmax"),
        (bytes.nested_absmax, "nested absmax"),
        (bytes.quant_map, "quant maps"),
        (bytes.nested_quant_map, "nested quant maps"),
        (bytes.offset, "offsets"),
        (bytes.int8_codes, "int8 codes"),
        (bytes.scb, "SCB"),
        (bytes.other_weights, "unquantized weights"),
    ]
    .iter()
    .filter(|(bytes, _)| *bytes > 0)
    .map(|(bytes, name)| row(name, *bytes))
    .collect();
    rows.push(row("really held", bytes.total));
    rows.push(row("get_memory_footprint()", printed));
    if let Some((tokens, bytes)) = kv_cache {
        rows.push(row(&format!("kv cache, {} tokens", grouped(tokens as u64)), bytes));
    }
    table(&[false, true, true], &rows)
}
