//! bitsandbytes' tensors on disk: assembling quantized layers from them, and writing them.
//!
//! A 4-bit layer `p` has `p.weight` (packed bytes, shape (k, 1), under any storage dtype),
//! `p.weight.absmax`, `p.weight.quant_map`, `p.weight.quant_state.bitsandbytes__nf4` or `__fp4` (UTF-8
//! JSON as U8) and, with double quantization, `p.weight.nested_absmax` and `p.weight.nested_quant_map`.
//! An int8 layer has `p.weight` (I8), `p.SCB` (F32) and `p.weight_format` (U8, 0 = row-major).

use std::borrow::Cow;
use std::fmt;

use crate::checkpoint::decimal::Repr;
use crate::checkpoint::json::{self, Value};
use crate::checkpoint::{Dtype, TensorView};
use crate::error::{Error, ErrorCode, Result};
use crate::quant::codebook::QuantType;
use crate::quant::four_bit::{Absmax, NestedAbsmax, Params4bit, QuantState, checked_elements};
use crate::quant::half::Floats;
use crate::quant::int8::Int8Params;

/// Longest quant_state JSON that is read; real ones have about 200 bytes.
const MAX_QUANT_STATE: usize = 1 << 16;

/// What a tensor is to its linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// `weight`: floats, packed 4-bit codes or int8 codes.
    Weight,
    /// `weight.absmax`.
    Absmax,
    /// `weight.quant_map`.
    QuantMap,
    /// `weight.nested_absmax`.
    NestedAbsmax,
    /// `weight.nested_quant_map`.
    NestedQuantMap,
    /// `weight.quant_state.bitsandbytes__nf4` or `__fp4`.
    QuantState(QuantType),
    /// `SCB`.
    Scb,
    /// `weight_format`.
    WeightFormat,
    /// `bias`.
    Bias,
}

impl Part {
    const ALL: [Part; 10] = [
        Part::Weight,
        Part::Absmax,
        Part::QuantMap,
        Part::NestedAbsmax,
        Part::NestedQuantMap,
        Part::QuantState(QuantType::Nf4),
        Part::QuantState(QuantType::Fp4),
        Part::Scb,
        Part::WeightFormat,
        Part::Bias,
    ];

    /// The name after the module path and a dot.
    pub const fn suffix(self) -> &'static str {
        match self {
            Part::Weight => "weight",
            Part::Absmax => "weight.absmax",
            Part::QuantMap => "weight.quant_map",
            Part::NestedAbsmax => "weight.nested_absmax",
            Part::NestedQuantMap => "weight.nested_quant_map",
            Part::QuantState(QuantType::Nf4) => "weight.quant_state.bitsandbytes__nf4",
            Part::QuantState(QuantType::Fp4) => "weight.quant_state.bitsandbytes__fp4",
            Part::Scb => "SCB",
            Part::WeightFormat => "weight_format",
            Part::Bias => "bias",
        }
    }

    /// Splits a tensor name into module path and part.
    pub fn split(name: &str) -> Option<(&str, Part)> {
        Self::ALL.into_iter().find_map(|part| {
            let module = name.strip_suffix(part.suffix())?.strip_suffix('.')?;
            (!module.is_empty()).then_some((module, part))
        })
    }

    fn is_four_bit(self) -> bool {
        !matches!(self, Part::Weight | Part::Bias | Part::Scb | Part::WeightFormat)
    }

    fn is_int8(self) -> bool {
        matches!(self, Part::Scb | Part::WeightFormat)
    }
}

/// How the weight of a linear layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredAs {
    /// Floats.
    Dense,
    /// Packed 4-bit codes, `nested` with double quantization.
    FourBit {
        /// From the name of the quant_state tensor.
        quant_type: QuantType,
        /// Whether the scales are quantized too.
        nested: bool,
    },
    /// LLM.int8.
    Int8,
}

impl fmt::Display for StoredAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoredAs::Dense => f.write_str("unquantized"),
            StoredAs::FourBit { quant_type, nested } => {
                write!(f, "{quant_type}{}", if *nested { ", double quantization" } else { "" })
            }
            StoredAs::Int8 => f.write_str("int8"),
        }
    }
}

/// Decides from the parts a module has how it is stored, before any data is read.
///
/// # Errors
/// [`ErrorCode::MissingTensor`] naming the absent tensor; [`ErrorCode::InvalidQuantState`] when parts
/// of several formats are there.
pub fn stored_as(module: &str, weight_dtype: &Dtype, parts: &[Part]) -> Result<StoredAs> {
    let has = |part: Part| parts.contains(&part);
    let name = |part: Part| format!("{module}.{}", part.suffix());
    let missing = |part: Part| {
        Error::new(ErrorCode::MissingTensor, "quantized layer lacks a tensor").tensor(name(part))
    };
    let need = |part: Part| if has(part) { Ok(()) } else { Err(missing(part)) };
    need(Part::Weight)?;
    let (nf4, fp4) = (Part::QuantState(QuantType::Nf4), Part::QuantState(QuantType::Fp4));
    let (four_bit, int8) = (parts.iter().any(|p| p.is_four_bit()), parts.iter().any(|p| p.is_int8()));
    if four_bit && int8 || has(nf4) && has(fp4) {
        return Err(Error::new(ErrorCode::InvalidQuantState, "statistics of two quantization formats")
            .tensor(name(Part::Weight)));
    }
    if int8 {
        need(Part::Scb)?;
        return Ok(StoredAs::Int8);
    }
    if four_bit {
        need(Part::Absmax)?;
        need(Part::QuantMap)?;
        let quant_type = match (has(nf4), has(fp4)) {
            (true, _) => QuantType::Nf4,
            (_, true) => QuantType::Fp4,
            _ => return Err(missing(nf4)),
        };
        let nested = has(Part::NestedAbsmax) || has(Part::NestedQuantMap);
        if nested {
            need(Part::NestedAbsmax)?;
            need(Part::NestedQuantMap)?;
        }
        return Ok(StoredAs::FourBit { quant_type, nested });
    }
    match weight_dtype {
        Dtype::U8 => Err(missing(nf4)),
        Dtype::I8 => Err(missing(Part::Scb)),
        _ => Ok(StoredAs::Dense),
    }
}

/// A linear weight as read.
#[derive(Debug, Clone, PartialEq)]
pub enum Weight {
    /// Unquantized.
    Dense {
        /// Row-major values.
        values: Floats,
        /// (out_features, in_features).
        shape: Vec<usize>,
    },
    /// 4-bit.
    FourBit(Params4bit),
    /// LLM.int8.
    Int8(Int8Params),
}

impl Weight {
    /// The unpacked shape, (out_features, in_features).
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Weight::Dense { shape, .. } => shape.clone(),
            Weight::FourBit(params) => params.quant_state.shape.clone(),
            Weight::Int8(params) => vec![params.rows, params.cols],
        }
    }
}

struct Stored {
    part: Part,
    file: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects the tensors of one linear layer, in any order and from any files.
pub struct ModuleParts {
    module: String,
    stored: Vec<Stored>,
}

impl ModuleParts {
    /// Nothing yet of the layer at `module` (its path, without a final dot).
    pub fn new(module: impl Into<String>) -> Self {
        ModuleParts { module: module.into(), stored: Vec::new() }
    }

    /// Copies one tensor, whose name must belong to this module.
    ///
    /// # Errors
    /// [`ErrorCode::UnexpectedTensor`], [`ErrorCode::DuplicateTensor`].
    pub fn push(&mut self, view: TensorView<'_>) -> Result<()> {
        let place = |e: Error| e.in_file(view.file).tensor(view.name);
        let part = match Part::split(view.name) {
            Some((module, part)) if module == self.module => part,
            _ => {
                return Err(place(
                    Error::new(ErrorCode::UnexpectedTensor, "tensor of another module")
                        .expected(format!("a tensor of {}", self.module)),
                ));
            }
        };
        if self.stored.iter().any(|s| s.part == part) {
            return Err(place(Error::new(ErrorCode::DuplicateTensor, "tensor given twice")));
        }
        self.stored.push(Stored {
            part,
            file: view.file.to_owned(),
            dtype: view.dtype.clone(),
            shape: view.shape.to_vec(),
            bytes: view.bytes.to_vec(),
        });
        Ok(())
    }

    /// Number of tensors collected.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    /// Whether nothing was collected.
    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// Assembles the weight and the bias, checking everything against everything.
    ///
    /// # Errors
    /// Every contradiction, naming file and tensor: [`ErrorCode::MissingTensor`],
    /// [`ErrorCode::InvalidQuantState`], [`ErrorCode::InvalidJson`], [`ErrorCode::UnsupportedDtype`],
    /// [`ErrorCode::ShapeMismatch`], [`ErrorCode::UnsupportedQuantization`].
    pub fn finish(mut self) -> Result<(Weight, Option<Floats>)> {
        let bias = match self.take(Part::Bias) {
            Some(bias) => Some(self.floats(&bias)?),
            None => None,
        };
        let parts: Vec<Part> = self.stored.iter().map(|s| s.part).collect();
        let file = self.stored.first().map(|s| s.file.clone()).unwrap_or_default();
        let dtype =
            self.stored.iter().find(|s| s.part == Part::Weight).map_or(Dtype::F32, |s| s.dtype.clone());
        let weight = match stored_as(&self.module, &dtype, &parts).map_err(|e| e.in_file(file))? {
            StoredAs::Dense => {
                let stored = self.need(Part::Weight)?;
                Weight::Dense { values: self.floats(&stored)?, shape: stored.shape }
            }
            StoredAs::FourBit { quant_type, nested } => Weight::FourBit(self.four_bit(quant_type, nested)?),
            StoredAs::Int8 => Weight::Int8(self.int8()?),
        };
        Ok((weight, bias))
    }

    fn take(&mut self, part: Part) -> Option<Stored> {
        let i = self.stored.iter().position(|s| s.part == part)?;
        Some(self.stored.swap_remove(i))
    }

    fn need(&mut self, part: Part) -> Result<Stored> {
        self.take(part).ok_or_else(|| {
            Error::new(ErrorCode::MissingTensor, "quantized layer lacks a tensor").tensor(format!(
                "{}.{}",
                self.module,
                part.suffix()
            ))
        })
    }

    fn place(&self, stored: &Stored, error: Error) -> Error {
        error.in_file(&stored.file).tensor(format!("{}.{}", self.module, stored.part.suffix()))
    }

    fn floats(&self, stored: &Stored) -> Result<Floats> {
        Floats::from_view(&TensorView {
            name: &format!("{}.{}", self.module, stored.part.suffix()),
            dtype: &stored.dtype,
            shape: &stored.shape,
            bytes: &stored.bytes,
            file: &stored.file,
        })
    }

    /// The bytes of a part that must have this dtype and shape.
    fn exactly(&mut self, part: Part, dtype: Dtype, shape: &[usize]) -> Result<Stored> {
        let stored = self.need(part)?;
        if stored.dtype != dtype {
            return Err(self.place(
                &stored,
                Error::new(ErrorCode::UnsupportedDtype, "wrong dtype")
                    .expected(dtype.as_str())
                    .found(stored.dtype.as_str()),
            ));
        }
        if stored.shape != shape {
            return Err(self.place(
                &stored,
                Error::new(ErrorCode::ShapeMismatch, "wrong shape")
                    .expected(format!("{shape:?}"))
                    .found(format!("{:?}", stored.shape)),
            ));
        }
        let bytes = shape.iter().product::<usize>() * dtype.size().unwrap_or(0);
        if stored.bytes.len() != bytes {
            return Err(self.place(
                &stored,
                Error::new(ErrorCode::ByteCountMismatch, "shape and byte count disagree")
                    .expected(bytes)
                    .found(stored.bytes.len()),
            ));
        }
        Ok(stored)
    }

    /// A part of f32 values.
    fn f32s(&mut self, part: Part, len: usize) -> Result<(Stored, Vec<f32>)> {
        let stored = self.exactly(part, Dtype::F32, &[len])?;
        let values =
            stored.bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok((stored, values))
    }

    fn four_bit(&mut self, quant_type: QuantType, nested: bool) -> Result<Params4bit> {
        let json = self.need(Part::QuantState(quant_type))?;
        let state = QuantStateJson::read(&json, quant_type, nested).map_err(|e| self.place(&json, e))?;
        let n = checked_elements(&state.shape).map_err(|e| self.place(&json, e))?;
        let blocks = n.div_ceil(state.blocksize);

        let weight = self.need(Part::Weight)?;
        let packed = n.div_ceil(2);
        let size = weight.dtype.size().unwrap_or(0);
        if weight.bytes.len() != packed || size == 0 || weight.shape != [packed / size.max(1), 1] {
            let found =
                format!("{:?} of {}, {} bytes", weight.shape, weight.dtype.as_str(), weight.bytes.len());
            return Err(self.place(
                &weight,
                Error::new(ErrorCode::ShapeMismatch, "packed codes do not fit the shape in quant_state")
                    .expected(format!("{packed} bytes as (elements, 1) for {:?}", state.shape))
                    .found(found),
            ));
        }

        let (map, code) = self.f32s(Part::QuantMap, 16)?;
        if code != quant_type.codebook() {
            return Err(self.place(
                &map,
                Error::new(ErrorCode::InvalidQuantState, "quant_map is not the map of this quant_type")
                    .expected(quant_type),
            ));
        }
        let absmax = match &state.nested {
            None => {
                let (stored, absmax) = self.f32s(Part::Absmax, blocks)?;
                check_scales(&absmax).map_err(|e| self.place(&stored, e))?;
                Absmax::F32(absmax)
            }
            Some(nested) => {
                let codes = self.exactly(Part::Absmax, Dtype::U8, &[blocks])?.bytes;
                let (stored, absmax) = self.f32s(Part::NestedAbsmax, blocks.div_ceil(nested.blocksize))?;
                check_scales(&absmax).map_err(|e| self.place(&stored, e))?;
                let (stored, values) = self.f32s(Part::NestedQuantMap, 256)?;
                let mut code = Box::new([0.0; 256]);
                code.copy_from_slice(&values);
                if !code.iter().all(|c| c.is_finite()) {
                    let error = Error::new(ErrorCode::InvalidQuantState, "map holds NaN or an infinity");
                    return Err(self.place(&stored, error));
                }
                Absmax::Nested(NestedAbsmax {
                    codes,
                    absmax,
                    code,
                    offset: nested.offset,
                    blocksize: nested.blocksize,
                })
            }
        };
        let params = Params4bit {
            packed: weight.bytes,
            quant_state: QuantState {
                quant_type,
                blocksize: state.blocksize,
                dtype: state.dtype,
                shape: state.shape,
                code: *quant_type.codebook(),
                absmax,
            },
        };
        params.validate().map_err(|e| self.place(&json, e))?;
        Ok(params)
    }

    fn int8(&mut self) -> Result<Int8Params> {
        if let Some(format) = self.take(Part::WeightFormat)
            && (format.dtype != Dtype::U8 || format.bytes != [0])
        {
            let error = Error::new(ErrorCode::UnsupportedQuantization, "unsupported int8 weight format");
            return Err(
                self.place(&format, error.expected("U8 0 (row-major)").found(format!("{:?}", format.bytes)))
            );
        }
        let weight = self.need(Part::Weight)?;
        let &[rows, cols] = weight.shape.as_slice() else {
            let error = Error::new(ErrorCode::ShapeMismatch, "int8 weight is not a matrix");
            return Err(self.place(&weight, error.expected("2 axes").found(format!("{:?}", weight.shape))));
        };
        let shape = weight.shape.clone();
        checked_elements(&shape).map_err(|e| self.place(&weight, e))?;
        self.stored.push(weight);
        let weight = self.exactly(Part::Weight, Dtype::I8, &shape)?;
        let (stored, scb) = self.f32s(Part::Scb, rows)?;
        check_scales(&scb).map_err(|e| self.place(&stored, e))?;
        let cb = weight.bytes.iter().map(|&b| b as i8).collect();
        let params = Int8Params { cb, scb, rows, cols };
        params.validate().map_err(|e| self.place(&weight, e))?;
        Ok(params)
    }
}

fn check_scales(scales: &[f32]) -> Result<()> {
    match scales.iter().position(|a| !a.is_finite() || *a < 0.0) {
        None => Ok(()),
        Some(i) => Err(Error::new(ErrorCode::InvalidQuantState, "impossible scale")
            .expected("finite values, none below zero")
            .found(format!("{} at {i}", Repr::from(scales[i])))),
    }
}

/// What a quant_state tensor may say. Other keys and repeated ones are refused, as bitsandbytes does for the former.
const QUANT_STATE_KEYS: [&str; 7] =
    ["quant_type", "blocksize", "dtype", "shape", "nested_blocksize", "nested_dtype", "nested_offset"];

struct QuantStateJson {
    blocksize: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    nested: Option<Nested>,
}

struct Nested {
    blocksize: usize,
    offset: f32,
}

impl QuantStateJson {
    fn read(stored: &Stored, quant_type: QuantType, nested: bool) -> Result<Self> {
        let invalid = |reason: &str| Error::new(ErrorCode::InvalidQuantState, reason);
        if stored.dtype != Dtype::U8 || stored.shape != [stored.bytes.len()] {
            return Err(Error::new(ErrorCode::UnsupportedDtype, "quant_state is not a row of bytes")
                .expected("U8, one axis")
                .found(format!("{} {:?}", stored.dtype.as_str(), stored.shape)));
        }
        if stored.bytes.len() > MAX_QUANT_STATE {
            return Err(invalid("quant_state is too long")
                .expected(MAX_QUANT_STATE)
                .found(stored.bytes.len()));
        }
        let unreadable = |reason: &str| {
            Error::new(ErrorCode::InvalidJson, format!("quant_state cannot be read: {reason}"))
        };
        let value = json::parse("", &stored.bytes).map_err(|e| unreadable(e.reason()))?;
        let entries = value.as_object().ok_or_else(|| unreadable("it is not an object"))?;
        if let Some((key, _)) = entries.iter().find(|(key, _)| !QUANT_STATE_KEYS.contains(&key.as_str())) {
            return Err(unreadable(&format!("unknown key `{key}`")));
        }
        let wrong = |key: &str, expected: &str| unreadable(&format!("{key} is not {expected}"));
        let get = |key: &str| value.get(key).filter(|value| !value.is_null());
        let text = |key: &str| get(key).and_then(Value::as_str).ok_or_else(|| wrong(key, "a string"));
        let size = |key: &str, value: &Value| {
            value.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| wrong(key, "a size"))
        };
        let required = |key: &str| size(key, get(key).unwrap_or(&Value::Null));
        let found = text("quant_type")?;
        if found != quant_type.as_str() {
            let error = invalid("quant_type contradicts the tensor name");
            return Err(error.expected(quant_type).found(found));
        }
        let blocksize = required("blocksize")?;
        super::four_bit::check_blocksize(blocksize)?;
        let dtype = match text("dtype")? {
            "float32" => Dtype::F32,
            "bfloat16" => Dtype::BF16,
            "float16" => Dtype::F16,
            other => {
                return Err(Error::new(
                    ErrorCode::UnsupportedDtype,
                    "unsupported dtype of the quantized tensor",
                )
                .expected("float32, bfloat16 or float16")
                .found(other));
            }
        };
        let shape = get("shape").and_then(Value::as_array).ok_or_else(|| wrong("shape", "a list"))?;
        let shape = shape.iter().map(|axis| size("shape", axis)).collect::<Result<Vec<_>>>()?;
        let offset = get("nested_offset")
            .map(|value| value.as_f64().ok_or_else(|| wrong("nested_offset", "a number")));
        let fields = (
            get("nested_blocksize").map(|value| size("nested_blocksize", value)).transpose()?,
            get("nested_dtype").map(|_| text("nested_dtype")).transpose()?,
            offset.transpose()?,
        );
        let nested = match (nested, fields) {
            (false, (None, None, None)) => None,
            (true, (Some(blocksize), Some(dtype), Some(offset))) => {
                if dtype != "float32" {
                    return Err(invalid("unsupported nested_dtype").expected("float32").found(dtype));
                }
                super::four_bit::check_blocksize(blocksize)?;
                let offset = offset as f32;
                if !offset.is_finite() {
                    return Err(invalid("nested_offset is beyond float32"));
                }
                Some(Nested { blocksize, offset })
            }
            (true, _) => {
                return Err(invalid("nested statistics without all of nested_blocksize, _dtype and _offset"));
            }
            (false, _) => return Err(invalid("nested fields without nested statistics")),
        };
        Ok(QuantStateJson { blocksize, dtype, shape, nested })
    }
}

/// A tensor to write: name, dtype, shape and little-endian bytes.
pub type OutputTensor<'a> = (String, Dtype, Vec<usize>, Cow<'a, [u8]>);

/// The tensors of the 4-bit layer at path `module`, in the order of bitsandbytes' state dict.
/// `quant_storage` is the dtype that carries the packed bytes, U8 unless asked otherwise.
///
/// # Errors
/// [`ErrorCode::UnsupportedQuantization`] when the packed bytes are no whole number of storage elements.
pub fn tensors_of<'a>(
    module: &str,
    params: &'a Params4bit,
    quant_storage: &Dtype,
) -> Result<Vec<OutputTensor<'a>>> {
    let name = |part: Part| format!("{module}.{}", part.suffix());
    let state = &params.quant_state;
    let bytes = params.packed.len();
    let size = quant_storage.size().filter(|size| bytes.is_multiple_of(*size)).ok_or_else(|| {
        Error::new(ErrorCode::UnsupportedQuantization, "packed codes do not fit the storage dtype")
            .tensor(name(Part::Weight))
            .expected(format!("a multiple of the size of {}", quant_storage.as_str()))
            .found(format!("{bytes} bytes"))
    })?;
    let f32s = |part: Part, values: &[f32]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (name(part), Dtype::F32, vec![values.len()], Cow::Owned(bytes))
    };
    let codes: Cow<'a, [u8]> = Cow::Borrowed(&params.packed);
    let mut out = vec![(name(Part::Weight), quant_storage.clone(), vec![bytes / size, 1], codes)];
    match &state.absmax {
        Absmax::F32(absmax) => {
            out.push(f32s(Part::Absmax, absmax));
            out.push(f32s(Part::QuantMap, &state.code));
        }
        Absmax::Nested(nested) => {
            let codes = Cow::Borrowed(nested.codes.as_slice());
            out.push((name(Part::Absmax), Dtype::U8, vec![nested.codes.len()], codes));
            out.push(f32s(Part::QuantMap, &state.code));
            out.push(f32s(Part::NestedAbsmax, &nested.absmax));
            out.push(f32s(Part::NestedQuantMap, nested.code.as_slice()));
        }
    }
    let json = quant_state_json(state).into_bytes();
    out.push((name(Part::QuantState(state.quant_type)), Dtype::U8, vec![json.len()], Cow::Owned(json)));
    Ok(out)
}

/// The tensors of the int8 layer at path `module`.
pub fn tensors_of_int8<'a>(module: &str, params: &'a Int8Params) -> Vec<OutputTensor<'a>> {
    let name = |part: Part| format!("{module}.{}", part.suffix());
    let cb: Vec<u8> = params.cb.iter().map(|&c| c as u8).collect();
    let scb: Vec<u8> = params.scb.iter().flat_map(|s| s.to_le_bytes()).collect();
    vec![
        (name(Part::Weight), Dtype::I8, vec![params.rows, params.cols], Cow::Owned(cb)),
        (name(Part::Scb), Dtype::F32, vec![params.rows], Cow::Owned(scb)),
        (name(Part::WeightFormat), Dtype::U8, vec![], Cow::Borrowed(&[0])),
    ]
}

/// The JSON exactly as Python's `json.dumps` prints bitsandbytes' dict.
fn quant_state_json(state: &QuantState) -> String {
    let shape: Vec<String> = state.shape.iter().map(usize::to_string).collect();
    let mut json = format!(
        r#"{{"quant_type": "{}", "blocksize": {}, "dtype": "{}", "shape": [{}]"#,
        state.quant_type,
        state.blocksize,
        state.dtype.torch_name(),
        shape.join(", ")
    );
    if let Absmax::Nested(nested) = &state.absmax {
        json += &format!(
            r#", "nested_blocksize": {}, "nested_dtype": "float32", "nested_offset": {}"#,
            nested.blocksize,
            Repr::from(f64::from(nested.offset))
        );
    }
    json + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_into_module_and_part() {
        assert_eq!(Part::split("a.b.weight"), Some(("a.b", Part::Weight)));
        assert_eq!(Part::split("a.weight.quant_map"), Some(("a", Part::QuantMap)));
        assert_eq!(Part::split("a.weight.nested_quant_map"), Some(("a", Part::NestedQuantMap)));
        assert_eq!(Part::split("a.SCB"), Some(("a", Part::Scb)));
        assert_eq!(Part::split("a.weight.quant_state.bitsandbytes__af4"), None);
        assert_eq!(Part::split("weight"), None);
        assert_eq!(Part::split(".weight"), None);
    }
}
