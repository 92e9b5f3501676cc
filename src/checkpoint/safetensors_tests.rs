use super::*;

/// A file of this header and `data_len` zero bytes.
fn file(json: &str, data_len: usize) -> Vec<u8> {
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(bytes.len() + data_len, 0);
    bytes
}

fn parse(json: &str, data_len: usize) -> Result<Header> {
    let bytes = file(json, data_len);
    Header::parse("f", &bytes, bytes.len() as u64)
}

#[test]
fn tensors_come_in_file_order() {
    let json = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[2,1],"data_offsets":[3,11]},
        "scalar":{"dtype":"U8","shape":[],"data_offsets":[0,1]},
        "empty":{"dtype":"BF16","shape":[0,7],"data_offsets":[3,3]},
        "f8":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[1,3]}}   "#;
    let header = parse(json, 11).unwrap();
    let names: Vec<_> = header.tensors().iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["scalar", "f8", "empty", "a"]);
    let start = 8 + json.len() as u64;
    let a = header.get("a").unwrap();
    assert_eq!((&a.dtype, &a.shape[..], a.range.clone()), (&Dtype::F32, &[2, 1][..], start + 3..start + 11));
    assert_eq!(header.get("scalar").map(TensorInfo::byte_len), Some(1));
    assert_eq!(header.get("f8").map(|t| &t.dtype), Some(&Dtype::Other("F8_E4M3".into())));
    assert!(header.get("b").is_none());
    assert_eq!(header.metadata().get("format").map(String::as_str), Some("pt"));
}

#[test]
fn no_tensors_and_no_data_is_a_file() {
    assert!(parse("{}", 0).unwrap().tensors().is_empty());
    assert_eq!(parse("{}", 1).unwrap_err().code(), ErrorCode::UnclaimedBytes);
}

#[test]
fn a_prefix_is_enough() {
    let json = r#"{"a":{"dtype":"U8","shape":[1000],"data_offsets":[0,1000]}}"#;
    let bytes = file(json, 1000);
    let needed = Header::header_len("f", *bytes.first_chunk().unwrap(), bytes.len() as u64).unwrap();
    assert_eq!(needed, 8 + json.len() as u64);
    let prefix = &bytes[..needed as usize];
    assert_eq!(Header::parse("f", prefix, bytes.len() as u64).unwrap().tensors().len(), 1);
    let error = Header::parse("f", &prefix[..20], bytes.len() as u64).unwrap_err();
    assert_eq!(error.code(), ErrorCode::TruncatedFile);
}

#[test]
fn values_decode_from_unaligned_bytes() {
    let bytes = [9, 0x80, 0x3f, 0x00, 0xc0];
    let view = |dtype, shape| TensorView { name: "t", dtype, shape, bytes: &bytes[1..], file: "f" };
    assert_eq!(view(&Dtype::BF16, &[2]).to_f32_vec(), Ok(vec![1.0, -2.0]));
    assert_eq!(view(&Dtype::F16, &[2]).to_f32_vec().unwrap()[1], -2.0);
    assert_eq!(view(&Dtype::F32, &[]).to_f32_vec().unwrap().len(), 1);
    let error = view(&Dtype::I32, &[1]).to_f32_vec().unwrap_err();
    assert_eq!((error.code(), error.tensor_name()), (ErrorCode::UnsupportedDtype, Some("t")));
    let error = view(&Dtype::BF16, &[3]).to_f32_vec().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ByteCountMismatch);
}

#[test]
fn elements_of_a_shape() {
    assert_eq!(checked_elements(&[]), Some(1));
    assert_eq!(checked_elements(&[3, 0]), Some(0));
    assert_eq!(checked_elements(&[usize::MAX, 2]), None);
    // The order of the dimensions does not decide whether a shape is accepted.
    assert_eq!(checked_elements(&[0, usize::MAX, 2]), None);
    assert_eq!(checked_elements(&[usize::MAX, 2, 0]), None);
}
