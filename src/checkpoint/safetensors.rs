//! The safetensors file: header, validation, borrowed views.
//!
//! Layout: a little-endian `u64` n, n bytes of JSON (padded with spaces), then the data area. The header maps
//! each name to `{"dtype", "shape", "data_offsets": [begin, end]}` with offsets relative to the data area,
//! and `__metadata__` to a map of strings.
//!
//! A [`Header`] that exists is valid: names are unique, every shape times its dtype is exactly the tensor's
//! byte range, and the ranges tile the data area without hole or overlap from its first byte to the end of
//! the file. The reference implementation keeps the last of two equal names and ignores unknown keys in an
//! entry; both are refused here.

use std::ops::Range;

use half::{bf16, f16};

use super::dtype::Dtype;
use super::json::Reader;
use super::names::NameMap;
use crate::error::{Error, ErrorCode, Result};

/// Longest JSON header, in bytes; the limit of the reference implementation.
pub const MAX_HEADER_LEN: u64 = 100_000_000;

/// Key of the string map in a header.
pub(super) const METADATA_KEY: &str = "__metadata__";

/// Number of elements of `shape`; 1 for a scalar (`[]`), `None` when the product of the non-zero dimensions
/// does not fit `usize`.
pub fn checked_elements(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1)))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// Where one tensor lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Unique in its file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, outermost first; the data is row-major.
    pub shape: Vec<usize>,
    /// Absolute byte range in the file.
    pub range: Range<u64>,
}

impl TensorInfo {
    /// Bytes that the tensor takes in the file.
    pub fn byte_len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The tensor over `bytes`, its data read from `file`.
    ///
    /// # Errors
    /// [`ErrorCode::ByteCountMismatch`] when `bytes` has another length than [`TensorInfo::byte_len`].
    pub fn view<'a>(&'a self, file: &'a str, bytes: &'a [u8]) -> Result<TensorView<'a>> {
        if bytes.len() as u64 != self.byte_len() {
            return Err(Error::new(ErrorCode::ByteCountMismatch, "wrong number of data bytes")
                .in_file(file)
                .tensor(&self.name)
                .expected(self.byte_len())
                .found(bytes.len()));
        }
        Ok(TensorView { name: &self.name, dtype: &self.dtype, shape: &self.shape, bytes, file })
    }
}

/// A tensor borrowed from a file's bytes, which need not be aligned to the element size.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Element type.
    pub dtype: &'a Dtype,
    /// Dimensions, outermost first.
    pub shape: &'a [usize],
    /// Little-endian elements, row-major.
    pub bytes: &'a [u8],
    /// Name of the file, for errors.
    pub file: &'a str,
}

impl TensorView<'_> {
    /// Number of elements; saturates when a hand-made shape overflows (shapes from a [`Header`] never do).
    pub fn elements(&self) -> usize {
        checked_elements(self.shape).unwrap_or(usize::MAX)
    }

    /// An error that names this tensor and its file.
    pub fn error(&self, code: ErrorCode, reason: impl Into<String>) -> Error {
        Error::new(code, reason).in_file(self.file).tensor(self.name)
    }

    /// The values as f32, row-major; exact for all three types.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedDtype`] unless F32, F16 or BF16; [`ErrorCode::ByteCountMismatch`] when a
    /// hand-made view disagrees with itself.
    pub fn to_f32_vec(&self) -> Result<Vec<f32>> {
        let size = match self.dtype {
            Dtype::F32 => 4,
            Dtype::F16 | Dtype::BF16 => 2,
            other => {
                return Err(self
                    .error(ErrorCode::UnsupportedDtype, "not a float tensor")
                    .expected("F32, F16 or BF16")
                    .found(other));
            }
        };
        if checked_elements(self.shape).and_then(|n| n.checked_mul(size)) != Some(self.bytes.len()) {
            return Err(self
                .error(ErrorCode::ByteCountMismatch, "shape and dtype disagree with the number of bytes")
                .found(format_args!("{} {:?} in {} bytes", self.dtype, self.shape, self.bytes.len())));
        }
        let (pairs, quads) = (self.bytes.as_chunks::<2>().0, self.bytes.as_chunks::<4>().0);
        Ok(match self.dtype {
            Dtype::F32 => quads.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            Dtype::F16 => pairs.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            _ => pairs.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        })
    }
}

/// A validated header. The data itself need not be there: a browser parses it from a file's first bytes.
#[derive(Debug, Clone)]
pub struct Header {
    file: String,
    /// In file order: by offset, an empty tensor before the one that starts at the same byte.
    tensors: Vec<TensorInfo>,
    /// Positions in `tensors`, sorted by name.
    by_name: Vec<u32>,
    metadata: NameMap<String>,
}

impl Header {
    /// Bytes at the start of a file that [`Header::parse`] needs, from the file's first 8.
    ///
    /// # Errors
    /// [`ErrorCode::HeaderTooLarge`] above [`MAX_HEADER_LEN`], [`ErrorCode::TruncatedFile`] when the file is
    /// shorter than its header.
    pub fn header_len(file: &str, first_8_bytes: [u8; 8], file_len: u64) -> Result<u64> {
        let len = u64::from_le_bytes(first_8_bytes);
        if len > MAX_HEADER_LEN {
            return Err(Error::new(ErrorCode::HeaderTooLarge, "header length is over the maximum")
                .in_file(file)
                .expected(format_args!("at most {MAX_HEADER_LEN} bytes"))
                .found(len));
        }
        if 8 + len > file_len {
            return Err(truncated(file, 8 + len, file_len));
        }
        Ok(8 + len)
    }

    /// Parses the header in `prefix`, the first bytes of a file of `file_len` bytes; `prefix` may go on
    /// beyond the header.
    ///
    /// # Errors
    /// [`ErrorCode::TruncatedFile`], [`ErrorCode::HeaderTooLarge`], [`ErrorCode::InvalidHeader`],
    /// [`ErrorCode::DuplicateTensor`], [`ErrorCode::ShapeOverflow`], [`ErrorCode::ByteCountMismatch`],
    /// [`ErrorCode::OffsetOutOfRange`], [`ErrorCode::OverlappingTensors`], [`ErrorCode::UnclaimedBytes`].
    pub fn parse(file: &str, prefix: &[u8], file_len: u64) -> Result<Header> {
        let Some(&first) = prefix.first_chunk::<8>() else {
            return Err(truncated(file, 8, file_len.min(prefix.len() as u64)));
        };
        let needed = Self::header_len(file, first, file_len)?;
        let json = usize::try_from(needed)
            .ok()
            .and_then(|end| prefix.get(8..end))
            .ok_or_else(|| truncated(file, needed, prefix.len() as u64))?;
        // Leading white space would be JSON, but the format wants the brace first.
        if json.first() != Some(&b'{') {
            return Err(Error::new(ErrorCode::InvalidHeader, "header does not start with `{`").in_file(file));
        }

        let reason = "invalid safetensors header";
        let mut reader = Reader::new(file, json, json.len())?.reporting(ErrorCode::InvalidHeader, reason);
        let (mut entries, mut metadata) = (Vec::new(), None);
        reader.object(&mut |reader, name| {
            if name != METADATA_KEY {
                let entry = Entry::read(reader).map_err(|e| e.tensor(&name))?;
                entries.push((name, entry));
            } else if metadata.is_some() {
                return Err(reader.error("duplicate key").tensor(name));
            } else {
                metadata = Some(reader.strings().map_err(|e| e.tensor(name))?);
            }
            Ok(())
        })?;
        reader.end()?;

        let mut tensors = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            tensors.push(entry.check(file, name, needed, file_len)?);
        }
        let by_name = sorted_by_name(file, &mut tensors)?;
        check_tiling(file, &tensors, needed, file_len)?;
        let metadata = metadata.unwrap_or_default().into_iter().collect();
        Ok(Header { file: file.to_owned(), tensors, by_name, metadata })
    }

    /// The file's name, as given to [`Header::parse`].
    pub fn file(&self) -> &str {
        &self.file
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        let at = self.by_name.binary_search_by(|&i| self.tensors[i as usize].name.as_str().cmp(name)).ok()?;
        Some(&self.tensors[self.by_name[at] as usize])
    }

    /// The strings of `__metadata__`; transformers writes `format` = `pt` there.
    pub fn metadata(&self) -> &NameMap<String> {
        &self.metadata
    }
}

fn truncated(file: &str, needed: u64, found: u64) -> Error {
    Error::new(ErrorCode::TruncatedFile, "file is cut short")
        .in_file(file)
        .expected(format_args!("at least {needed} bytes"))
        .found(found)
}

/// Brings `tensors` into file order and returns their positions by name.
fn sorted_by_name(file: &str, tensors: &mut [TensorInfo]) -> Result<Vec<u32>> {
    tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
    // The header cap keeps the number of tensors far below 2^32.
    let mut by_name: Vec<u32> = (0..tensors.len() as u32).collect();
    by_name.sort_by(|&a, &b| tensors[a as usize].name.cmp(&tensors[b as usize].name));
    let equal = |pair: &&[u32]| tensors[pair[0] as usize].name == tensors[pair[1] as usize].name;
    if let Some(pair) = by_name.windows(2).find(equal) {
        return Err(Error::new(ErrorCode::DuplicateTensor, "tensor name occurs twice")
            .in_file(file)
            .tensor(&tensors[pair[0] as usize].name));
    }
    Ok(by_name)
}

/// `tensors`, in file order, must cover `data_start..file_len` exactly.
fn check_tiling(file: &str, tensors: &[TensorInfo], data_start: u64, file_len: u64) -> Result<()> {
    let offsets = |t: &TensorInfo| format!("[{}, {}]", t.range.start - data_start, t.range.end - data_start);
    let mut cursor = data_start;
    let mut previous = "";
    for tensor in tensors {
        let Range { start, end } = tensor.range;
        let misplaced = |code, reason: String| {
            Error::new(code, reason)
                .in_file(file)
                .tensor(&tensor.name)
                .expected(format_args!("data from {}", cursor - data_start))
                .found(offsets(tensor))
        };
        if start < cursor {
            return Err(misplaced(
                ErrorCode::OverlappingTensors,
                format!("data overlaps that of {previous}"),
            ));
        }
        if start > cursor && end > file_len {
            return Err(misplaced(ErrorCode::OffsetOutOfRange, "data lies outside the file".into()));
        }
        if start > cursor {
            let reason = "bytes before this tensor belong to no tensor";
            return Err(misplaced(ErrorCode::UnclaimedBytes, reason.into()));
        }
        if end > file_len {
            return Err(truncated(file, end, file_len).tensor(&tensor.name));
        }
        cursor = end;
        previous = &tensor.name;
    }
    if cursor != file_len {
        return Err(Error::new(ErrorCode::UnclaimedBytes, "bytes after the last tensor belong to no tensor")
            .in_file(file)
            .expected(format_args!("{cursor} bytes"))
            .found(file_len));
    }
    Ok(())
}

/// One entry as written.
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Entry> {
        let (mut dtype, mut shape, mut data_offsets) = (None, None, None);
        reader.object(&mut |reader, key| {
            let repeated = match key.as_str() {
                "dtype" => dtype.replace(reader.string()?).is_some(),
                "shape" => shape.replace(reader.naturals()?).is_some(),
                "data_offsets" => match reader.naturals()?[..] {
                    [begin, end] => data_offsets.replace((begin, end)).is_some(),
                    _ => return Err(reader.error("expected two data_offsets")),
                },
                _ => return Err(reader.error(&format!("unknown key `{key}`"))),
            };
            if repeated { Err(reader.error(&format!("duplicate key `{key}`"))) } else { Ok(()) }
        })?;
        match (dtype, shape, data_offsets) {
            (Some(dtype), Some(shape), Some(data_offsets)) => Ok(Entry { dtype, shape, data_offsets }),
            _ => Err(reader.error("an entry without all of dtype, shape and data_offsets")),
        }
    }

    /// Checks all that one entry says about itself; `data_start` is where the data area begins.
    fn check(self, file: &str, name: String, data_start: u64, file_len: u64) -> Result<TensorInfo> {
        let Entry { dtype, shape, data_offsets: (begin, end) } = self;
        let error = |code, reason: &str| Error::new(code, reason).in_file(file).tensor(&name);
        let out_of_range = |reason| {
            error(ErrorCode::OffsetOutOfRange, reason)
                .expected(format_args!("offsets from 0 to {}", file_len - data_start))
                .found(format_args!("[{begin}, {end}]"))
        };
        let overflow =
            || error(ErrorCode::ShapeOverflow, "shape is too large").found(format_args!("{shape:?}"));

        let dims = shape.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
        let dims = dims.map_err(|_| overflow())?;
        let elements = checked_elements(&dims).ok_or_else(overflow)?;
        if begin > end {
            return Err(out_of_range("data ends before it begins"));
        }
        let (Some(start), Some(stop)) = (data_start.checked_add(begin), data_start.checked_add(end)) else {
            return Err(out_of_range("data lies outside the file"));
        };
        let dtype = Dtype::from_name(&dtype);
        if let Some(size) = dtype.size() {
            let bytes = (elements as u64).checked_mul(size as u64).ok_or_else(overflow)?;
            if bytes != end - begin && stop > file_len {
                return Err(out_of_range("data lies outside the file"));
            }
            if bytes != end - begin {
                return Err(error(
                    ErrorCode::ByteCountMismatch,
                    &format!("shape {shape:?} of {dtype} disagrees with data_offsets"),
                )
                .expected(format_args!("{bytes} bytes"))
                .found(format_args!("{} bytes", end - begin)));
            }
        }
        Ok(TensorInfo { name, dtype, shape: dims, range: start..stop })
    }
}

#[cfg(test)]
#[path = "safetensors_tests.rs"]
mod tests;
