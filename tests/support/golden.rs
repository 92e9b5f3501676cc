//! The golden reference data: `tests/fixtures/golden`, or the folder in `NIBBLAMA_GOLDEN`. The reader is
//! its own small one, so that these tests do not lean on the code under test.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use nibblama::checkpoint::{Dtype, TensorView};
use serde_json::Value;

pub fn dir() -> PathBuf {
    std::env::var_os("NIBBLAMA_GOLDEN")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/golden"), PathBuf::from)
}

/// Whether the committed data is in use: only then are counts known in advance.
pub fn is_committed() -> bool {
    std::env::var_os("NIBBLAMA_GOLDEN").is_none()
}

#[derive(Debug, Clone)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Tensor {
    pub fn view<'a>(&'a self, name: &'a str, file: &'a str) -> TensorView<'a> {
        TensorView { name, dtype: &self.dtype, shape: &self.shape, bytes: &self.bytes, file }
    }

    /// Values of a float tensor.
    pub fn floats(&self) -> Vec<f32> {
        let pairs = || self.bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]]));
        match self.dtype {
            Dtype::F32 => self.i32s().into_iter().map(|i| f32::from_bits(i as u32)).collect(),
            Dtype::BF16 => pairs().map(|b| bf16::from_bits(b).to_f32()).collect(),
            Dtype::F16 => pairs().map(|b| f16::from_bits(b).to_f32()).collect(),
            ref other => panic!("not floats: {other:?}"),
        }
    }

    pub fn i32s(&self) -> Vec<i32> {
        self.bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
    }

    pub fn i8s(&self) -> Vec<i8> {
        self.bytes.iter().map(|&b| b as i8).collect()
    }
}

pub type Tensors = BTreeMap<String, Tensor>;

/// All tensors of a safetensors file; `None` when there is no such file.
pub fn tensors(path: &Path) -> Option<Tensors> {
    let bytes = std::fs::read(path).ok()?;
    let len = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (header, data) = bytes[8..].split_at(len);
    let header: Value = serde_json::from_slice(header).unwrap();
    let tensor = |(name, info): (&String, &Value)| {
        let at = |i: usize| info["data_offsets"][i].as_u64().unwrap() as usize;
        let shape = info["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap() as usize);
        let dtype = match info["dtype"].as_str().unwrap() {
            "F32" => Dtype::F32,
            "F16" => Dtype::F16,
            "BF16" => Dtype::BF16,
            "F64" => Dtype::F64,
            "U8" => Dtype::U8,
            "I8" => Dtype::I8,
            "I32" => Dtype::I32,
            "I64" => Dtype::I64,
            other => Dtype::Other(other.into()),
        };
        (name.clone(), Tensor { dtype, shape: shape.collect(), bytes: data[at(0)..at(1)].to_vec() })
    };
    Some(header.as_object().unwrap().iter().filter(|(k, _)| *k != "__metadata__").map(tensor).collect())
}

pub fn json(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

/// Units in the last place between two finite f32.
pub fn ulps(a: f32, b: f32) -> u64 {
    let key = |x: f32| {
        let bits = i64::from(x.to_bits() & 0x7fff_ffff);
        if x.is_sign_negative() { -bits } else { bits }
    };
    key(a).abs_diff(key(b))
}

/// Bit equality, except that both zeros are equal.
pub fn same(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits() || (*a == 0.0 && *b == 0.0))
}

/// The first `n` codes of packed bytes.
pub fn codes(packed: &[u8], n: usize) -> Vec<u8> {
    packed.iter().flat_map(|b| [b >> 4, b & 15]).take(n).collect()
}
