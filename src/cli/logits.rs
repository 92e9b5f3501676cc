//! `nibblama logits`.

use std::collections::BTreeMap;

use nibblama::checkpoint::{AtomicFile, Dtype, TensorSpec, Writer};
use nibblama::kernels::Arithmetic;
use nibblama::model::LogitsFor;
use serde_json::json;

use crate::args::Logits;
use crate::load;
use crate::output::{Outcome, print, print_json, progress};

/// Tokens per forward pass; bounds the logits that exist twice.
const BATCH: usize = 128;

pub fn run(args: &Logits, json: bool) -> Outcome {
    let ids = &args.ids.0;
    let mut model = load::load(
        &args.dir,
        &args.quantization,
        &args.computation,
        Arithmetic::Exact,
        args.adapter.as_deref(),
        json,
    )?;
    load::check_ids(ids, model.config())?;
    let vocab = model.config().vocab_size;
    let mut cache = model.new_cache(ids.len())?;
    // LLM.int8 picks outlier columns over all tokens of a call, so those stay together.
    let batch = if model.has_int8() { ids.len() } else { BATCH };
    let bar = progress(ids.len() as u64, "computing", false, json);
    let mut bytes = Vec::new();
    for batch in ids.chunks(batch) {
        let logits = model.forward(batch, &mut cache, LogitsFor::All)?;
        bytes.extend(logits.iter().flat_map(|x| x.to_le_bytes()));
        bar.inc(batch.len() as u64);
    }
    bar.finish_and_clear();
    let shape = vec![ids.len(), vocab];
    let out = args.out.display().to_string();
    let file = AtomicFile::create(&args.out)?;
    let specs = vec![TensorSpec::new("logits", Dtype::F32, shape.clone())];
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut writer = Writer::new(file.file(), &out, specs, &metadata)?;
    writer.write("logits", &bytes)?;
    writer.finish()?;
    file.commit()?;
    if json {
        print_json(&json!({ "out": out, "tensor": "logits", "dtype": "F32", "shape": shape }))
    } else {
        print(&format!("{out}: logits F32 {shape:?}\n"))
    }
}
