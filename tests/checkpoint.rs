//! Round trips: what the writer writes, the reader gives back.

use std::collections::BTreeMap;
use std::io::Cursor;

use nibblama::ErrorCode;
use nibblama::checkpoint::{Checkpoint, CheckpointWriter, Dtype, TensorSpec, Writer};
use proptest::prelude::*;

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn tensors() -> impl Strategy<Value = Tensors> {
    let dtypes = ["BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64"];
    let tensor =
        (prop::sample::select(dtypes.to_vec()), prop::collection::vec(0usize..5, 0..4), any::<u64>());
    let tensor = tensor.prop_map(|(dtype, shape, seed)| {
        let dtype = Dtype::from_name(dtype);
        let len = shape.iter().product::<usize>() * dtype.size().unwrap();
        let bytes = (0..len as u64).map(|i| (seed.wrapping_mul(2 * i + 1) >> 32) as u8).collect();
        (dtype, shape, bytes)
    });
    let name = any::<String>().prop_filter("reserved", |name| name != "__metadata__");
    prop::collection::btree_map(name, tensor, 0..12)
}

fn specs(tensors: &Tensors) -> Vec<TensorSpec> {
    tensors
        .iter()
        .map(|(name, (dtype, shape, _))| TensorSpec::new(name, dtype.clone(), shape.clone()))
        .collect()
}

fn assert_equal(checkpoint: &Checkpoint, tensors: &Tensors) {
    assert_eq!(checkpoint.views().count(), tensors.len());
    for (name, (dtype, shape, bytes)) in tensors {
        let view = checkpoint.view(name).unwrap();
        assert_eq!((view.dtype, view.shape, view.bytes), (dtype, &shape[..], &bytes[..]), "{name:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_file(tensors in tensors(), metadata in prop::collection::btree_map(any::<String>(), any::<String>(), 0..3)) {
        let mut writer = Writer::new(Cursor::new(Vec::new()), "f", specs(&tensors), &metadata).unwrap();
        for (name, (_, _, bytes)) in tensors.iter().rev() {
            writer.write(name, bytes).unwrap();
        }
        let bytes = writer.finish().unwrap().into_inner();
        let checkpoint = Checkpoint::from_bytes(vec![("f".into(), bytes)], None).unwrap();
        assert_equal(&checkpoint, &tensors);
        prop_assert_eq!(checkpoint.headers()[0].metadata(), &metadata.into_iter().collect());
        for info in checkpoint.infos() {
            prop_assert_eq!(info.range.start % info.dtype.size().unwrap() as u64, 0);
        }
    }
}

fn sample() -> Tensors {
    let tensor = |n: usize, byte| (Dtype::U8, vec![n], vec![byte; n]);
    BTreeMap::from([("a".into(), tensor(6, 1)), ("b".into(), tensor(6, 2)), ("c".into(), tensor(2, 3))])
}

fn write(dir: &std::path::Path, max_shard_size: Option<u64>) {
    let mut writer = CheckpointWriter::create(dir, specs(&sample()), max_shard_size).unwrap();
    for (name, (_, _, bytes)) in &sample() {
        writer.write(name, bytes).unwrap();
    }
    writer.finish().unwrap();
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn folders_replace_each_other_completely() {
    let dir = tempfile::tempdir().unwrap();
    let shards = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ];
    for (max_shard_size, files) in
        [(Some(8), &shards[..]), (None, &["model.safetensors"]), (Some(8), &shards), (Some(8), &shards)]
    {
        write(dir.path(), max_shard_size);
        assert_eq!(names(dir.path()), files);
        assert_equal(&Checkpoint::open(dir.path()).unwrap(), &sample());
    }
}

#[test]
fn an_unfinished_checkpoint_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = CheckpointWriter::create(dir.path(), specs(&sample()), None).unwrap();
    writer.write("a", &[1; 6]).unwrap();
    assert!(names(dir.path()).iter().all(|name| name.ends_with(".tmp")));
    assert_eq!(writer.finish().unwrap_err().code(), ErrorCode::MissingTensor);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn folders_without_safetensors_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let code = || Checkpoint::open(dir.path()).err().unwrap().code();
    assert_eq!(code(), ErrorCode::MissingFile);
    std::fs::write(dir.path().join("pytorch_model.bin"), "x").unwrap();
    assert_eq!(code(), ErrorCode::UnsupportedFormat);
    std::fs::write(dir.path().join("model.safetensors"), "x").unwrap();
    assert_eq!(code(), ErrorCode::TruncatedFile);
    assert_eq!(Checkpoint::open(&dir.path().join("none")).err().unwrap().code(), ErrorCode::Io);
}

#[test]
fn a_shard_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Some(8));
    std::fs::remove_file(dir.path().join("model-00002-of-00002.safetensors")).unwrap();
    let error = Checkpoint::open(dir.path()).err().unwrap();
    assert_eq!(
        (error.code(), error.file()),
        (ErrorCode::MissingShard, Some("model-00002-of-00002.safetensors"))
    );
}
