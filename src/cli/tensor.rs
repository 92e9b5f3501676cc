//! `nibblama inspect --tensor`: one weight as the page's views show it: a block step by step, blocksizes, double
//! quantization and formats beside each other.

use nibblama::checkpoint::Checkpoint;
use nibblama::model::Config;
use nibblama::model::lens::{Lens, Settings};
use nibblama::quant::bnb::{ModuleParts, Part, Weight};
use nibblama::quant::contest::{Contestant, INTEGER_FORMATS};
use nibblama::quant::stats::{ErrorStats, Summary};
use nibblama::quant::steps::Block;
use nibblama::quant::{BitsAndBytesConfig, ComputeDtype, QuantFormat};
use nibblama::{Error, ErrorCode, Result};
use serde_json::{Value, json};

use crate::args::{Inspect, QuantTypeArg};
use crate::load::{self, invalid};
use crate::output::{Outcome, grouped, print, print_json, table};

/// Bins of the histograms, which are not printed.
const BINS: usize = 1;

/// What the lens says of a weight. Without an original there is nothing to compare with.
struct Seen {
    name: String,
    format: String,
    shape: Vec<usize>,
    settings: Settings,
    summary: Summary,
    index: usize,
    blocks: usize,
    block: Block,
    double_quant: nibblama::model::lens::DoubleQuant,
    compared: Option<Compared>,
    rows: (Vec<Summary>, Option<Vec<f64>>),
}

struct Compared {
    /// Blocksize, blocks and errors, with plain and with quantized scales.
    sweeps: [Vec<(usize, usize, ErrorStats)>; 2],
    formats: Vec<(&'static str, Contestant)>,
}

pub fn run(args: &Inspect, name: &str, json: bool) -> Outcome {
    let config = load::read_config(&args.dir)?;
    let settings = settings(args, &config)?;
    let checkpoint = Checkpoint::open(&args.dir)?;
    let seen = look(&checkpoint, name, settings, args.block)?;
    if json { print_json(&to_json(&seen)) } else { print(&to_text(&seen)) }
}

/// How the weight is to be quantized; what is quantized already stays as it is.
fn settings(args: &Inspect, config: &Config) -> Result<Settings> {
    let flags = &args.quantization;
    match flags.quant_type {
        Some(QuantTypeArg::Int8 | QuantTypeArg::None) => {
            return Err(invalid("--quant-type", "one tensor is looked at in 4 bits").expected("nf4 or fp4"));
        }
        _ if !flags.skip.is_empty() => return Err(invalid("--skip", "beside --tensor it has no effect")),
        _ if args.context.is_some() => return Err(invalid("--context", "beside --tensor it has no effect")),
        _ => {}
    }
    let quant_type = flags.quant_type.unwrap_or(QuantTypeArg::Nf4);
    let asked = load::quantization(flags, Some(quant_type), ComputeDtype::Float32, config)?;
    if flags.quant_type.is_some() || flags.stray_flag().is_some() {
        load::check_stored(&args.dir, config, asked.as_ref())?;
    }
    match asked {
        Some(BitsAndBytesConfig {
            format: QuantFormat::FourBit { quant_type, blocksize, double_quant, .. },
            ..
        }) => Ok(Settings { quant_type, blocksize, double_quant }),
        _ => Err(invalid("--quant-type", "one tensor is looked at in 4 bits")),
    }
}

fn look(checkpoint: &Checkpoint, name: &str, asked: Settings, index: usize) -> Result<Seen> {
    let module = name.strip_suffix(".weight").unwrap_or(name);
    let mut parts = ModuleParts::new(module);
    for view in checkpoint.views().filter(|view| Part::split(view.name).is_some_and(|(m, _)| m == module)) {
        parts.push(view)?;
    }
    if parts.is_empty() {
        return Err(Error::new(ErrorCode::MissingTensor, "the files hold no such weight").tensor(name));
    }
    let (weight, _) = parts.finish()?;
    let format = match &weight {
        Weight::Dense { values, .. } => values.dtype().as_str().to_owned(),
        Weight::FourBit(params) => params.quant_state.quant_type.as_str().to_owned(),
        Weight::Int8(_) => {
            return Err(Error::new(ErrorCode::UnsupportedQuantization, "the weight is stored in 8 bits")
                .tensor(name)
                .expected("full precision or 4 bits"));
        }
    };
    let original = matches!(weight, Weight::Dense { .. });
    let mut lens = Lens::new(weight);
    let settings = lens.settings(asked);
    let Settings { quant_type, blocksize, .. } = settings;
    let block = lens.block(index, settings, None).map_err(|e| e.tensor(name))?;
    let compared = if original {
        let sweeps = [lens.sweep(quant_type, false)?, lens.sweep(quant_type, true)?];
        let names = ["nf4", "nf4-dq", "fp4"].into_iter().chain(INTEGER_FORMATS);
        let formats = names.map(|name| Ok((name, lens.contestant(name, blocksize, BINS)?)));
        Some(Compared { sweeps, formats: formats.collect::<Result<_>>()? })
    } else {
        None
    };
    Ok(Seen {
        name: format!("{module}.weight"),
        format,
        shape: lens.shape().to_vec(),
        settings,
        summary: Summary::new(lens.values()?),
        index,
        blocks: lens.shape().iter().product::<usize>().div_ceil(blocksize),
        block,
        double_quant: lens.double_quant(settings, BINS)?,
        rows: lens.rows(Some(settings))?,
        compared,
    })
}

fn errors(stats: &ErrorStats) -> Value {
    json!({
        "mae": stats.mae,
        "rmse": stats.rmse,
        "max_error": stats.max_error,
        // JSON has no infinity: null without error.
        "snr_db": stats.snr_db,
        "bits_per_weight": stats.bits_per_weight,
    })
}

fn to_json(seen: &Seen) -> Value {
    let Settings { quant_type, blocksize, double_quant } = seen.settings;
    let dq = &seen.double_quant;
    // The blocks that share a second-level scale with the chosen one.
    let group = seen.index / dq.nested.blocksize;
    let first = group * dq.nested.blocksize;
    let range = first..dq.nested.codes.len().min(first + dq.nested.blocksize);
    let block = &seen.block;
    let sweep = |points: &[(usize, usize, ErrorStats)]| {
        let point = |(blocksize, blocks, stats): &(usize, usize, ErrorStats)| {
            let mut point = errors(stats);
            point["blocksize"] = json!(blocksize);
            point["blocks"] = json!(blocks);
            point
        };
        points.iter().map(point).collect::<Value>()
    };
    let (rows, rmse) = &seen.rows;
    json!({
        "tensor": seen.name,
        "shape": seen.shape,
        "format": seen.format,
        "mean": seen.summary.mean,
        "std": seen.summary.std,
        "absmax": seen.summary.absmax,
        "settings": {
            "quant_type": quant_type.as_str(),
            "blocksize": blocksize,
            "double_quant": double_quant,
        },
        "codebook": {
            "levels": quant_type.interval_codes().map(|code| quant_type.codebook()[usize::from(code)]),
            "codes": quant_type.interval_codes(),
            "thresholds": quant_type.thresholds(),
        },
        "block": {
            "index": seen.index,
            "blocks": seen.blocks,
            "values": block.values,
            "absmax": block.absmax,
            "absmax_code": block.absmax_code,
            "scale": block.scale,
            "normalised": block.normalised,
            "codes": block.codes,
            "packed": block.packed,
            "restored": block.restored,
            "errors": block.stats.as_ref().map(errors),
        },
        "double_quant": {
            "mean": dq.nested.offset,
            "nested_absmax": dq.nested.absmax.get(group),
            "nested_blocksize": dq.nested.blocksize,
            "first_block": first,
            "absmax": dq.absmax.as_ref().map(|absmax| &absmax[range.clone()]),
            "codes": dq.nested.codes[range.clone()],
            "restored": dq.restored[range],
            "bytes": { "single": dq.bytes[0], "double": dq.bytes[1] },
            "weight_errors": dq.weight_errors.as_ref().map(|[single, double]| json!({
                "single": errors(single),
                "double": errors(double),
            })),
        },
        "blocksizes": seen.compared.as_ref().map(|compared| json!({
            "single": sweep(&compared.sweeps[0]),
            "double": sweep(&compared.sweeps[1]),
        })),
        "formats": seen.compared.as_ref().map(|compared| {
            let format = |(name, contestant): &(&str, Contestant)| {
                let mut format = errors(&contestant.stats);
                format["name"] = json!(name);
                format["relative_rmse"] = json!(relative(contestant.stats.rmse, seen.summary.std));
                format["levels"] = json!(contestant.levels);
                format["counts"] = json!(contestant.counts);
                format
            };
            compared.formats.iter().map(format).collect::<Value>()
        }),
        "rows": {
            "absmax": rows.iter().map(|row| row.absmax).collect::<Vec<_>>(),
            "mean": rows.iter().map(|row| row.mean).collect::<Vec<_>>(),
            "std": rows.iter().map(|row| row.std).collect::<Vec<_>>(),
            "rmse": rmse,
        },
    })
}

/// RMSE in standard deviations of the weights.
fn relative(rmse: f64, std: f64) -> f64 {
    if std == 0.0 { 0.0 } else { rmse / std }
}

fn to_text(seen: &Seen) -> String {
    let Settings { quant_type, blocksize, double_quant } = seen.settings;
    let Summary { mean, std, absmax } = seen.summary;
    let shape = seen.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
    let mut text = format!("{}  {shape}  {}\n", seen.name, seen.format);
    text += &format!("mean {mean:.3e}, standard deviation {std:.4}, absmax {absmax:.4}\n\n");

    let dq_words = if double_quant { ", double quantization" } else { "" };
    text += &format!(
        "block {} of {}  {quant_type}, blocksize {blocksize}{dq_words}\n",
        seen.index,
        grouped(seen.blocks as u64)
    );
    text += &block_table(&seen.block);

    let dq = &seen.double_quant;
    let [single, double] = dq.bytes;
    text += &format!(
        "\ndouble quantization  {} scales, mean {:.5}, {} second-level scales\n",
        grouped(dq.nested.codes.len() as u64),
        dq.nested.offset,
        dq.nested.absmax.len(),
    );
    let mut rows = vec![];
    for (i, (label, bytes)) in
        [("scales in f32", single), ("double quantization", double)].into_iter().enumerate()
    {
        let rmse =
            dq.weight_errors.as_ref().map_or_else(String::new, |stats| format!("RMSE {:.4e}", stats[i].rmse));
        rows.push(vec![format!("  {label}"), format!("{} bytes", grouped(bytes as u64)), rmse]);
    }
    text += &table(&[false, true, false], &rows);
    let Some(compared) = &seen.compared else {
        return text + "\nthe weight is stored quantized: without the original no errors are known\n";
    };

    text += &format!("\nblocksizes  {quant_type}\n");
    let head = ["  blocksize", "bits", "RMSE", "bits, double q.", "RMSE, double q."].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for ((blocksize, _, single), (_, _, double)) in compared.sweeps[0].iter().zip(&compared.sweeps[1]) {
        let bits = |stats: &ErrorStats| format!("{:.4}", stats.bits_per_weight);
        let rmse = |stats: &ErrorStats| format!("{:.4e}", stats.rmse);
        rows.push(vec![format!("  {blocksize}"), bits(single), rmse(single), bits(double), rmse(double)]);
    }
    text += &table(&[true; 5], &rows);

    text += &format!("\nformats  blocksize {blocksize}\n");
    let head = ["  format", "bits", "MAE", "RMSE", "RMSE / sigma", "largest error"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for (name, Contestant { stats, .. }) in &compared.formats {
        rows.push(vec![
            format!("  {name}"),
            format!("{:.4}", stats.bits_per_weight),
            format!("{:.4e}", stats.mae),
            format!("{:.4e}", stats.rmse),
            format!("{:.4}", relative(stats.rmse, std)),
            format!("{:.4e}", stats.max_error),
        ]);
    }
    text + &table(&[false, true, true, true, true, true], &rows)
}

/// The block's steps, one weight a line.
fn block_table(block: &Block) -> String {
    let scale = match (block.absmax, block.absmax_code) {
        (Some(absmax), Some(code)) => {
            format!("absmax {absmax:.6}, kept as 8-bit code {code}: {:.6}", block.scale)
        }
        (None, Some(code)) => format!("absmax kept as 8-bit code {code}: {:.6}", block.scale),
        _ => format!("absmax {:.6}", block.scale),
    };
    let head = ["  position", "weight", "/ absmax", "code", "byte", "restored"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for (i, (code, restored)) in block.codes.iter().zip(&block.restored).enumerate() {
        let of =
            |values: &Option<Vec<f32>>| values.as_ref().map_or_else(String::new, |v| format!("{:.5}", v[i]));
        rows.push(vec![
            format!("  {i}"),
            of(&block.values),
            of(&block.normalised),
            format!("{code:04b}"),
            // The high nibble is the first of two.
            if i % 2 == 0 { format!("{:02x}", block.packed[i / 2]) } else { String::new() },
            format!("{restored:.5}"),
        ]);
    }
    let mut text = format!("  {scale}\n") + &table(&[true; 6], &rows);
    if let Some(stats) = &block.stats {
        text += &format!("  MAE {:.4e}, RMSE {:.4e}\n", stats.mae, stats.rmse);
    }
    text
}
