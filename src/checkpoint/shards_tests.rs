use super::*;

fn file(names: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(i, name)| format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{i},{}]}}"#, i + 1))
        .collect();
    let json = format!("{{{}}}", entries.join(","));
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.extend((0..names.len()).map(|i| i as u8));
    bytes
}

fn checkpoint(files: &[(&str, &[&str])], index: &str) -> Result<Checkpoint> {
    let files = files.iter().map(|(name, tensors)| ((*name).to_owned(), file(tensors))).collect();
    Checkpoint::from_bytes(files, Some(("index".to_owned(), index.as_bytes().to_vec())))
}

const INDEX: &str = r#"{"metadata":{"total_size":1},
    "weight_map":{"a":"1.safetensors","b":"2.safetensors","c":"1.safetensors"}}"#;

#[test]
fn tensors_are_found_across_shards() {
    let c = checkpoint(&[("1.safetensors", &["a", "c"]), ("2.safetensors", &["b"])], INDEX).unwrap();
    let b = c.view("b").unwrap();
    assert_eq!((b.file, b.bytes), ("2.safetensors", &[0][..]));
    assert_eq!(c.view("c").unwrap().bytes, [1]);
    let names: Vec<_> = c.views().map(|v| v.name).collect();
    assert_eq!(names, ["a", "c", "b"]);
    assert_eq!(c.infos().count(), 3);
    assert!(c.contains("a") && !c.contains("d"));
    assert_eq!(c.view("d").unwrap_err().code(), ErrorCode::MissingTensor);
}

#[test]
fn index_and_shards_must_agree_both_ways() {
    use ErrorCode::*;
    type Case<'a> = (&'a [(&'a str, &'a [&'a str])], ErrorCode, &'a str, Option<&'a str>);
    let cases: &[Case<'_>] = &[
        (&[("1.safetensors", &["a", "c"])], MissingShard, "2.safetensors", None),
        (
            &[("1.safetensors", &["a", "c", "b"]), ("2.safetensors", &["b"])],
            DuplicateTensor,
            "2.safetensors",
            Some("b"),
        ),
        (&[("1.safetensors", &["a"]), ("2.safetensors", &["b"])], IndexMismatch, "1.safetensors", Some("c")),
        (
            &[("1.safetensors", &["a", "c"]), ("2.safetensors", &["b", "x"])],
            IndexMismatch,
            "2.safetensors",
            Some("x"),
        ),
        (
            &[("1.safetensors", &["a"]), ("2.safetensors", &["b", "c"])],
            IndexMismatch,
            "2.safetensors",
            Some("c"),
        ),
    ];
    for (files, code, file, tensor) in cases {
        let error = checkpoint(files, INDEX).err().unwrap();
        assert_eq!(
            (error.code(), error.file(), error.tensor_name()),
            (*code, Some(*file), *tensor),
            "{error}"
        );
    }
}

#[test]
fn shards_must_be_plain_file_names() {
    for shard in [
        "",
        "../x.safetensors",
        "/x.safetensors",
        "a/b.safetensors",
        r"..\\x.safetensors",
        "C:x.safetensors",
        ".safetensors",
        "..",
        "x.bin",
        "x\\u0000.safetensors",
    ] {
        let error =
            ShardIndex::parse("i", format!(r#"{{"weight_map":{{"a":"{shard}"}}}}"#).as_bytes()).unwrap_err();
        assert_eq!(
            (error.code(), error.tensor_name()),
            (ErrorCode::InvalidIndex, Some("a")),
            "{shard}: {error}"
        );
    }
}

#[test]
fn index_needs_a_weight_map_without_repeated_names() {
    for (json, code) in [
        ("{}", ErrorCode::InvalidJson),
        (r#"{"weight_map":{}}"#, ErrorCode::InvalidIndex),
        (r#"{"weight_map":["a"]}"#, ErrorCode::InvalidJson),
        (r#"{"weight_map":{"a":1}}"#, ErrorCode::InvalidJson),
        (r#"{"weight_map":{"a":"1.safetensors","a":"1.safetensors"}}"#, ErrorCode::InvalidJson),
    ] {
        let error = ShardIndex::parse("i", json.as_bytes()).unwrap_err();
        assert_eq!((error.code(), error.file()), (code, Some("i")), "{json}");
    }
}

#[test]
fn without_an_index_names_must_differ_too() {
    let files = vec![("x".to_owned(), file(&["a"])), ("y".to_owned(), file(&["a"]))];
    let error = Checkpoint::from_bytes(files, None).err().unwrap();
    assert_eq!((error.code(), error.file()), (ErrorCode::DuplicateTensor, Some("y")));
}
