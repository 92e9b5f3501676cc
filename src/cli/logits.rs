//! `nibblama logits`.

use std::collections::BTreeMap;

use nibblama::checkpoint::{AtomicFile, Dtype, TensorSpec, Writer};
use nibblama::kernels::Arithmetic;
use nibblama::model::LogitsFor;
use serde_json::json;

use crate::args::Logits;
use crate::load;
use crate::output::{Outcome, print, print_json};

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
    let logits = model.forward(ids, &mut cache, LogitsFor::All)?;
    let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
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
