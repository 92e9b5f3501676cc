//! Writing safetensors: one file, or shards with their index.
//!
//! Shapes and dtypes are known before the data, so the header goes first and every tensor has its place;
//! the data may then arrive in any order, one tensor at a time. The layout is the reference writer's: by
//! dtype from wide to narrow, then by name, the header padded with spaces to 8 bytes. That aligns every
//! tensor to its element size, which torch needs to read it.

use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};

use super::dtype::Dtype;
use super::json::{Value, quoted};
use super::safetensors::{MAX_HEADER_LEN, METADATA_KEY, TensorInfo, checked_elements};
use crate::error::{Error, ErrorCode, Result};

/// What a tensor to be written will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Unique in the checkpoint.
    pub name: String,
    /// Any but [`Dtype::Other`].
    pub dtype: Dtype,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor of that name, dtype and shape.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> TensorSpec {
        TensorSpec { name: name.into(), dtype, shape: shape.into() }
    }

    /// Bytes of its data.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedDtype`] for [`Dtype::Other`], [`ErrorCode::ShapeOverflow`].
    pub fn byte_len(&self) -> Result<u64> {
        let size = self.dtype.size().ok_or_else(|| {
            Error::new(ErrorCode::UnsupportedDtype, "cannot write this dtype")
                .tensor(&self.name)
                .found(&self.dtype)
        })?;
        checked_elements(&self.shape).and_then(|n| (n as u64).checked_mul(size as u64)).ok_or_else(|| {
            Error::new(ErrorCode::ShapeOverflow, "shape is too large")
                .tensor(&self.name)
                .found(format_args!("{:?}", self.shape))
        })
    }
}

/// One safetensors file being written to `W`.
pub struct Writer<W: Write + Seek> {
    out: W,
    file: String,
    /// In file order.
    tensors: Vec<TensorInfo>,
    /// Name to position in `tensors`, of those not yet written.
    pending: BTreeMap<String, usize>,
    /// Where `out` stands.
    position: u64,
}

impl<W: Write + Seek> Writer<W> {
    /// Writes the header at the start of `out`; `file` names it in errors. transformers reads only files
    /// whose `metadata` has `format` = `pt`.
    ///
    /// # Errors
    /// [`ErrorCode::DuplicateTensor`], [`ErrorCode::InvalidArgument`] for the name `__metadata__`,
    /// [`ErrorCode::HeaderTooLarge`], [`ErrorCode::Io`], and those of [`TensorSpec::byte_len`].
    pub fn new(
        mut out: W,
        file: &str,
        mut specs: Vec<TensorSpec>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self> {
        specs.sort_by(|a, b| {
            b.dtype.layout_rank().cmp(&a.dtype.layout_rank()).then_with(|| a.name.cmp(&b.name))
        });
        let mut tensors = Vec::with_capacity(specs.len());
        let mut pending = BTreeMap::new();
        let mut end = 0u64;
        for TensorSpec { name, dtype, shape } in specs {
            let spec = TensorSpec { name, dtype, shape };
            let start = end;
            end = spec.byte_len().map_err(|e| e.in_file(file))?.checked_add(start).ok_or_else(|| {
                Error::new(ErrorCode::ShapeOverflow, "file is too large").in_file(file).tensor(&spec.name)
            })?;
            let TensorSpec { name, dtype, shape } = spec;
            if name == METADATA_KEY {
                return Err(Error::new(ErrorCode::InvalidArgument, "reserved name")
                    .in_file(file)
                    .tensor(name));
            }
            if pending.insert(name.clone(), tensors.len()).is_some() {
                return Err(Error::new(ErrorCode::DuplicateTensor, "tensor name occurs twice")
                    .in_file(file)
                    .tensor(name));
            }
            tensors.push(TensorInfo { name, dtype, shape, range: start..end });
        }

        let header = header_json(&tensors, metadata);
        let data_start = 8 + header.len() as u64;
        if header.len() as u64 > MAX_HEADER_LEN || data_start.checked_add(end).is_none() {
            return Err(Error::new(ErrorCode::HeaderTooLarge, "header is too long to be read again")
                .in_file(file)
                .expected(format_args!("at most {MAX_HEADER_LEN} bytes"))
                .found(header.len()));
        }
        for tensor in &mut tensors {
            tensor.range = tensor.range.start + data_start..tensor.range.end + data_start;
        }
        let io = |e| io_error(file, &e);
        out.seek(SeekFrom::Start(0)).map_err(io)?;
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
        out.write_all(&header).map_err(io)?;
        Ok(Writer { out, file: file.to_owned(), tensors, pending, position: data_start })
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Writes a tensor's data, little-endian and row-major; every tensor once, in any order.
    ///
    /// # Errors
    /// [`ErrorCode::UnexpectedTensor`] for a name not announced or already written,
    /// [`ErrorCode::ByteCountMismatch`], [`ErrorCode::Io`].
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let Some(&at) = self.pending.get(name) else {
            return Err(Error::new(
                ErrorCode::UnexpectedTensor,
                "tensor was not announced or is already written",
            )
            .in_file(&self.file)
            .tensor(name));
        };
        let tensor = &self.tensors[at];
        tensor.view(&self.file, bytes)?;
        let io = |e| io_error(&self.file, &e);
        if self.position != tensor.range.start {
            self.out.seek(SeekFrom::Start(tensor.range.start)).map_err(io)?;
        }
        self.out.write_all(bytes).map_err(io)?;
        self.position = tensor.range.end;
        self.pending.remove(name);
        Ok(())
    }

    /// Gives the output back when every tensor is written.
    ///
    /// # Errors
    /// [`ErrorCode::MissingTensor`], [`ErrorCode::Io`].
    pub fn finish(mut self) -> Result<W> {
        if let Some(name) = self.pending.keys().next() {
            return Err(Error::new(ErrorCode::MissingTensor, "tensor was announced but not written")
                .in_file(&self.file)
                .tensor(name));
        }
        self.out.flush().map_err(|e| io_error(&self.file, &e))?;
        Ok(self.out)
    }
}

fn io_error(file: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot write file: {error}")).in_file(file)
}

/// The header's JSON with its padding. Written by hand because the entries must stay in file order.
fn header_json(tensors: &[TensorInfo], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let mut text = String::from("{");
    if !metadata.is_empty() {
        let entries: Vec<_> =
            metadata.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
        text += &format!("\"{METADATA_KEY}\":{{{}}}", entries.join(","));
    }
    for tensor in tensors {
        if text.len() > 1 {
            text.push(',');
        }
        text += &format!(
            "{}:{{\"dtype\":\"{}\",\"shape\":{},\"data_offsets\":[{},{}]}}",
            quoted(&tensor.name),
            tensor.dtype,
            Value::from(tensor.shape.as_slice()),
            tensor.range.start,
            tensor.range.end
        );
    }
    text.push('}');
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    text.into_bytes()
}

/// Splits `specs` as transformers does: in the given order, a new shard where the next tensor would exceed
/// `max_shard_size` bytes; a tensor over that size gets a shard of its own.
///
/// # Errors
/// Those of [`TensorSpec::byte_len`].
pub fn split_into_shards(specs: Vec<TensorSpec>, max_shard_size: u64) -> Result<Vec<Vec<TensorSpec>>> {
    let mut shards = Vec::new();
    let mut current = Vec::new();
    let mut size = 0u64;
    for spec in specs {
        let bytes = spec.byte_len()?;
        if bytes > max_shard_size {
            shards.push(vec![spec]);
            continue;
        }
        if size.saturating_add(bytes) > max_shard_size {
            shards.push(std::mem::take(&mut current));
            size = 0;
        }
        size += bytes;
        current.push(spec);
    }
    if !current.is_empty() || shards.is_empty() {
        shards.push(current);
    }
    Ok(shards)
}

/// The index of `shards`, each a file name and its tensors, as transformers writes it.
pub fn index_json(shards: &[(String, Vec<TensorSpec>)]) -> Result<String> {
    let mut total_size = 0u64;
    let mut entries = Vec::new();
    for (file, specs) in shards {
        for spec in specs {
            total_size = total_size.saturating_add(spec.byte_len()?);
            entries.push(format!("    {}: {}", quoted(&spec.name), quoted(file)));
        }
    }
    entries.sort_unstable();
    let weight_map = entries.join(",\n");
    Ok(format!(
        "{{\n  \"metadata\": {{\n    \"total_size\": {total_size}\n  }},\n  \"weight_map\": {{\n{weight_map}\n  }}\n}}\n"
    ))
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
