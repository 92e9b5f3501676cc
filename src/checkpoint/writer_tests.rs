use std::io::Cursor;

use super::*;
use crate::checkpoint::Checkpoint;

fn specs() -> Vec<TensorSpec> {
    vec![
        TensorSpec::new("z", Dtype::U8, [3]),
        TensorSpec::new("b\"é", Dtype::F32, []),
        TensorSpec::new("a", Dtype::F32, [2]),
        TensorSpec::new("e", Dtype::I64, [0, 4]),
    ]
}

fn writer() -> Writer<Cursor<Vec<u8>>> {
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    Writer::new(Cursor::new(Vec::new()), "f", specs(), &metadata).unwrap()
}

#[test]
fn any_order_gives_the_reference_layout() {
    let mut w = writer();
    w.write("z", &[1, 2, 3]).unwrap();
    w.write("a", &[4; 8]).unwrap();
    w.write("e", &[]).unwrap();
    w.write("b\"é", &[5; 4]).unwrap();
    let bytes = w.finish().unwrap().into_inner();
    let c = Checkpoint::from_bytes(vec![("f".into(), bytes)], None).unwrap();
    let names: Vec<_> = c.infos().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["e", "a", "b\"é", "z"]);
    assert_eq!(c.infos().next().unwrap().range.start % 8, 0);
    assert_eq!(c.headers()[0].metadata().get("format").map(String::as_str), Some("pt"));
    assert_eq!(c.view("z").unwrap().bytes, [1, 2, 3]);
    assert_eq!(c.view("a").unwrap().bytes, [4; 8]);
    assert_eq!(c.view("b\"é").unwrap().bytes, [5; 4]);
}

#[test]
fn wrong_writes_are_refused() {
    let mut w = writer();
    assert_eq!(w.write("z", &[1, 2]).unwrap_err().code(), ErrorCode::ByteCountMismatch);
    assert_eq!(w.write("y", &[]).unwrap_err().code(), ErrorCode::UnexpectedTensor);
    w.write("z", &[1, 2, 3]).unwrap();
    assert_eq!(w.write("z", &[1, 2, 3]).unwrap_err().code(), ErrorCode::UnexpectedTensor);
    let error = w.finish().err().unwrap();
    assert_eq!((error.code(), error.tensor_name()), (ErrorCode::MissingTensor, Some("a")));
}

#[test]
fn impossible_headers_are_refused() {
    let new =
        |specs| Writer::new(Cursor::new(Vec::new()), "f", specs, &BTreeMap::new()).err().unwrap().code();
    let u8s = |name: &str, shape: &[usize]| TensorSpec::new(name, Dtype::U8, shape);
    assert_eq!(new(vec![u8s("a", &[1]), u8s("a", &[2])]), ErrorCode::DuplicateTensor);
    assert_eq!(new(vec![u8s("__metadata__", &[1])]), ErrorCode::InvalidArgument);
    assert_eq!(new(vec![u8s("a", &[usize::MAX, 2])]), ErrorCode::ShapeOverflow);
    assert_eq!(new(vec![u8s("a", &[usize::MAX]), u8s("b", &[usize::MAX])]), ErrorCode::ShapeOverflow);
    let other = TensorSpec::new("a", Dtype::from_name("F4"), [1]);
    assert_eq!(new(vec![other]), ErrorCode::UnsupportedDtype);
}

/// The example in the documentation of huggingface_hub's splitter: sizes 6, 6, 2, 6, 2, 2 and a limit of 10.
#[test]
fn shards_are_cut_in_the_given_order() {
    let spec = |(i, &n): (usize, &usize)| TensorSpec::new(format!("t{i}"), Dtype::U8, [n]);
    let split = |sizes: &[usize]| -> Vec<Vec<usize>> {
        let specs = sizes.iter().enumerate().map(spec).collect();
        let shards = split_into_shards(specs, 10).unwrap();
        shards.iter().map(|shard| shard.iter().map(|s| s.shape[0]).collect()).collect()
    };
    assert_eq!(split(&[6, 6, 2, 6, 2, 2]), [vec![6], vec![6, 2], vec![6, 2, 2]]);
    assert_eq!(split(&[4, 11, 4, 4]), [vec![11], vec![4, 4], vec![4]]);
    assert_eq!(split(&[]), [Vec::<usize>::new()]);
}
