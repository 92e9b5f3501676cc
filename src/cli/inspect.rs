//! `nibblama inspect`: a model folder seen through its headers, without reading a weight unless one is asked for.

use std::collections::BTreeMap;

use nibblama::checkpoint::{Checkpoint, Dtype, TensorInfo};
use nibblama::model::footprint::{TrueBytes, footprint};
use nibblama::model::tree::tree;
use nibblama::model::{LoadOptions, WeightsLoader};
use nibblama::quant::bnb::Part;
use nibblama::quant::{BitsAndBytesConfig, ComputeDtype};
use serde_json::{Value, json};

use crate::args::Inspect;
use crate::footprint::{check_context, memory_table, quant_type};
use crate::load;
use crate::output::{Outcome, grouped, json_of, print, print_json, table};

pub fn run(args: &Inspect, json: bool) -> Outcome {
    if let Some(name) = &args.tensor {
        return crate::tensor::run(args, name, json);
    }
    let config = load::read_config(&args.dir)?;
    let context = check_context(args.context)?;
    let flags = &args.quantization;
    let asked = load::quantization(flags, flags.quant_type, ComputeDtype::Float32, &config)?;
    load::check_stored(&args.dir, &config, asked.as_ref())?;
    let checkpoint = Checkpoint::open(&args.dir)?;
    let infos = checkpoint.headers().iter().flat_map(|h| h.tensors().iter().map(|info| (h.file(), info)));
    // As strict as loading: what is shown here can be loaded.
    let options = LoadOptions { quantization: asked.clone(), ..LoadOptions::default() };
    let loader = WeightsLoader::new(&config, infos, &options)?;
    let quantization = asked.as_ref().or(config.quantization.as_ref());

    let sizes = footprint(&config, quantization, None, context);
    let mut parts: BTreeMap<&str, Vec<(Part, &TensorInfo)>> = BTreeMap::new();
    for info in checkpoint.infos().filter(|info| loader.wants(&info.name)) {
        if let Some((module, part)) = Part::split(&info.name) {
            parts.entry(module).or_default().push((part, info));
        }
    }
    let linears: Vec<String> = config.linear_modules().into_iter().map(|module| module.path).collect();
    let mut total = TrueBytes::default();
    let mut rows = Vec::new();
    for module in &sizes.modules {
        let (mut kind, mut bytes, bias) = held(parts.get(module.path.as_str()).map_or(&[], Vec::as_slice));
        let quantizes = |q: &BitsAndBytesConfig| q.quantizes(&module.path, config.tie_word_embeddings);
        if linears.contains(&module.path) && asked.as_ref().is_some_and(quantizes) {
            // The weight becomes what its shape says; a bias stays as it is stored.
            kind = module.kind.to_owned();
            bytes = TrueBytes { other_weights: bias, ..module.true_bytes };
            bytes.total = sum(&bytes);
        }
        add(&mut total, &bytes);
        rows.push((module, kind, bytes.total));
    }
    // Parameters as stored and the rotary tables, without the statistics of quantized layers.
    let printed = total.packed_codes + total.int8_codes + total.other_weights + config.head_dim as u64 * 4;
    let stored: u64 = checkpoint.infos().map(TensorInfo::byte_len).sum();
    let tree = tree(&config, quantization);

    if json {
        let tensors: Vec<Value> = checkpoint
            .headers()
            .iter()
            .flat_map(|h| h.tensors().iter().map(|info| (h.file(), info)))
            .map(|(file, info)| {
                json!({
                    "name": info.name,
                    "dtype": info.dtype.as_str(),
                    "shape": info.shape,
                    "bytes": info.byte_len(),
                    "file": file,
                })
            })
            .collect();
        return print_json(&json!({
            "tree": tree,
            "quant_type": quantization.map_or("none", quant_type),
            "quantization_config": quantization.map(|q| json_of(&q.to_json())),
            "parameters": sizes.parameters,
            "get_memory_footprint": printed,
            "true_bytes": total.total,
            "breakdown": json_of(&total.to_json()),
            "context": context,
            "kv_cache_bytes": sizes.kv_cache,
            "tensor_bytes": stored,
            "tensors": tensors,
            "modules": rows.iter().map(|(module, kind, bytes)| json!({
                "path": module.path,
                "kind": kind,
                "parameters": module.parameters,
                "bytes": bytes,
            })).collect::<Vec<_>>(),
        }));
    }
    // Files order tensors by dtype; a person looks for a layer.
    let place = |info: &TensorInfo| {
        let module = Part::split(&info.name).map(|(module, _)| module);
        sizes.modules.iter().position(|m| Some(m.path.as_str()) == module).unwrap_or(usize::MAX)
    };
    let mut infos: Vec<&TensorInfo> = checkpoint.infos().collect();
    infos.sort_by_cached_key(|info| (place(info), info.name.clone()));
    let mut cells: Vec<Vec<String>> = infos
        .iter()
        .map(|info| {
            let shape = format!("{:?}", info.shape);
            vec![format!("  {}", info.name), info.dtype.as_str().to_owned(), shape, grouped(info.byte_len())]
        })
        .collect();
    cells.push(vec!["  total".into(), String::new(), String::new(), grouped(stored)]);
    let mut text = format!("{tree}\n\ntensors in the files\n");
    text += &table(&[false, false, false, true], &cells);
    text += &format!("\nparameters  {}\n\nbytes in memory\n", grouped(sizes.parameters));
    text += &memory_table(&total, printed, args.context.map(|n| (n, sizes.kv_cache)));
    print(&text)
}

/// What the tensors of one module occupy once loaded: its kind, the bytes, and how many of them are a bias.
fn held(tensors: &[(Part, &TensorInfo)]) -> (String, TrueBytes, u64) {
    let bytes_of = |wanted: fn(&Part) -> bool| {
        tensors.iter().filter(|(part, _)| wanted(part)).map(|(_, info)| info.byte_len()).sum::<u64>()
    };
    let weight = bytes_of(|part| *part == Part::Weight);
    let bias = bytes_of(|part| *part == Part::Bias);
    let nested_absmax = bytes_of(|part| *part == Part::NestedAbsmax);
    let mut bytes = TrueBytes {
        absmax: bytes_of(|part| *part == Part::Absmax),
        quant_map: bytes_of(|part| *part == Part::QuantMap),
        nested_absmax,
        nested_quant_map: bytes_of(|part| *part == Part::NestedQuantMap),
        // The one number that double quantization adds to quant_state; the rest of it is the layer's shape.
        offset: if nested_absmax > 0 { 4 } else { 0 },
        scb: bytes_of(|part| *part == Part::Scb),
        other_weights: bias,
        ..TrueBytes::default()
    };
    let quant_type = tensors.iter().find_map(|(part, _)| match part {
        Part::QuantState(quant_type) => Some(*quant_type),
        _ => None,
    });
    let dtype = tensors.iter().find(|(part, _)| *part == Part::Weight).map(|(_, info)| &info.dtype);
    // Packed codes may lie under any storage dtype, so the quant_state tells them, not the dtype.
    let kind = match (quant_type, dtype) {
        (Some(quant_type), _) => {
            bytes.packed_codes = weight;
            quant_type.as_str().to_owned()
        }
        (None, Some(Dtype::I8)) => {
            bytes.int8_codes = weight;
            "int8".to_owned()
        }
        (None, dtype) => {
            bytes.other_weights += weight;
            dtype.map_or_else(String::new, |dtype| dtype.torch_name().to_owned())
        }
    };
    bytes.total = sum(&bytes);
    (kind, bytes, bias)
}

fn sum(bytes: &TrueBytes) -> u64 {
    let scales = bytes.absmax + bytes.nested_absmax + bytes.quant_map + bytes.nested_quant_map + bytes.offset;
    bytes.packed_codes + scales + bytes.int8_codes + bytes.scb + bytes.other_weights
}

fn add(total: &mut TrueBytes, bytes: &TrueBytes) {
    total.packed_codes += bytes.packed_codes;
    total.absmax += bytes.absmax;
    total.nested_absmax += bytes.nested_absmax;
    total.quant_map += bytes.quant_map;
    total.nested_quant_map += bytes.nested_quant_map;
    total.offset += bytes.offset;
    total.int8_codes += bytes.int8_codes;
    total.scb += bytes.scb;
    total.other_weights += bytes.other_weights;
    total.total += bytes.total;
}
