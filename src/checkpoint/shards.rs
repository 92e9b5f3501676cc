//! Several files, one lookup: `model.safetensors.index.json` and the checkpoint over one or more files.

#[cfg(not(target_arch = "wasm32"))]
use std::path::{Path, PathBuf};

use super::json::Reader;
use super::names::NameMap;
use super::safetensors::{Header, TensorInfo, TensorView};
use crate::error::{Error, ErrorCode, Result};

/// Longest index, in bytes. The 405B Llama with bitsandbytes statistics needs half a megabyte.
const MAX_INDEX_LEN: usize = 64 << 20;

/// File of a checkpoint that is not sharded.
pub const MODEL_FILE: &str = "model.safetensors";
/// Index of a sharded checkpoint.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// File of a PEFT adapter.
pub const ADAPTER_FILE: &str = "adapter_model.safetensors";

/// `model.safetensors.index.json`: which shard holds which tensor.
///
/// `metadata.total_size` is not looked at: transformers ignores it too, and in published checkpoints it is
/// often wrong (counted before tied weights were dropped, or before quantization).
#[derive(Debug, Clone)]
pub struct ShardIndex {
    file: String,
    /// Tensor name to position in `shards`.
    weight_map: NameMap<usize>,
    /// Sorted, unique.
    shards: Vec<String>,
}

impl ShardIndex {
    /// Parses `json`, the content of `file`.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidJson`]; [`ErrorCode::InvalidIndex`] when `weight_map` is empty or a shard is not
    /// a plain file name (a path could point outside the checkpoint's folder).
    pub fn parse(file: &str, json: &[u8]) -> Result<ShardIndex> {
        let mut reader = Reader::new(file, json, MAX_INDEX_LEN)?;
        let (mut entries, mut others) = (None, Vec::new());
        reader.object(&mut |reader, key| {
            if key != "weight_map" {
                others.push(key);
                return reader.skip();
            }
            match entries.replace(reader.strings()?) {
                Some(_) => Err(reader.error("duplicate key `weight_map`")),
                None => Ok(()),
            }
        })?;
        reader.end()?;
        reader.check_unique(others.iter().map(String::as_str).collect())?;
        let entries = entries.ok_or_else(|| reader.error("no weight_map"))?;
        if entries.is_empty() {
            return Err(Error::new(ErrorCode::InvalidIndex, "weight_map is empty").in_file(file));
        }
        if let Some((tensor, shard)) = entries.iter().find(|(_, shard)| !is_plain_file_name(shard)) {
            return Err(Error::new(ErrorCode::InvalidIndex, "shard is not a plain file name")
                .in_file(file)
                .tensor(tensor)
                .expected("the name of a .safetensors file beside the index")
                .found(format_args!("{shard:?}")));
        }
        let mut shards: Vec<String> = entries.iter().map(|(_, shard)| shard.clone()).collect();
        shards.sort_unstable();
        shards.dedup();
        let position = |shard: &String| shards.partition_point(|s| s < shard);
        let weight_map = entries.iter().map(|(name, shard)| (name.clone(), position(shard))).collect();
        Ok(ShardIndex { file: file.to_owned(), weight_map, shards })
    }

    /// The index's own file name.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// File names of all shards, sorted.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// The shard that holds the tensor.
    pub fn shard_of(&self, tensor: &str) -> Option<&str> {
        self.weight_map.get(tensor).map(|&i| self.shards[i].as_str())
    }

    /// Tensor names and their shards, by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.weight_map.iter().map(|(name, &i)| (name, self.shards[i].as_str()))
    }

    /// Checks index and shards against each other, both ways.
    ///
    /// # Errors
    /// [`ErrorCode::MissingShard`], [`ErrorCode::DuplicateTensor`] for a tensor in two shards, and
    /// [`ErrorCode::IndexMismatch`] for a tensor that index and shards place differently.
    pub fn check(&self, headers: &[Header]) -> Result<()> {
        let header_of = |shard: &str| headers.iter().find(|h| h.file() == shard);
        if let Some(missing) = self.shards.iter().find(|shard| header_of(shard).is_none()) {
            return Err(missing_shard(missing));
        }
        check_unique(headers)?;
        for header in headers {
            for tensor in header.tensors() {
                let listed = self.shard_of(&tensor.name);
                if listed != Some(header.file()) {
                    return Err(Error::new(ErrorCode::IndexMismatch, "index places the tensor elsewhere")
                        .in_file(header.file())
                        .tensor(&tensor.name)
                        .expected(format_args!("{} in {}", header.file(), self.file))
                        .found(listed.unwrap_or("no entry")));
                }
            }
        }
        for (name, shard) in self.entries() {
            if header_of(shard).is_none_or(|header| header.get(name).is_none()) {
                return Err(Error::new(
                    ErrorCode::IndexMismatch,
                    format!("{} lists a tensor that the shard does not hold", self.file),
                )
                .in_file(shard)
                .tensor(name));
            }
        }
        Ok(())
    }
}

fn missing_shard(shard: &str) -> Error {
    Error::new(ErrorCode::MissingShard, "shard is listed in the index but missing").in_file(shard)
}

fn is_plain_file_name(name: &str) -> bool {
    let forbidden = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    name.len() > ".safetensors".len() && name.ends_with(".safetensors") && !name.contains(forbidden)
}

/// No tensor may lie in two files, and no file may be given twice.
fn check_unique(headers: &[Header]) -> Result<()> {
    for (i, header) in headers.iter().enumerate() {
        for earlier in &headers[..i] {
            if earlier.file() == header.file() {
                return Err(
                    Error::new(ErrorCode::InvalidArgument, "file is given twice").in_file(header.file())
                );
            }
            if let Some(tensor) = header.tensors().iter().find(|t| earlier.get(&t.name).is_some()) {
                return Err(Error::new(
                    ErrorCode::DuplicateTensor,
                    format!("tensor lies in {} too", earlier.file()),
                )
                .in_file(header.file())
                .tensor(&tensor.name));
            }
        }
    }
    Ok(())
}

/// The bytes of one file.
enum Data {
    Owned(Vec<u8>),
    #[cfg(not(target_arch = "wasm32"))]
    Mapped(super::mmap::MappedFile),
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Owned(bytes) => bytes,
            #[cfg(not(target_arch = "wasm32"))]
            Data::Mapped(file) => file.bytes(),
        }
    }
}

/// All tensors of one model: one file, or an index and its shards.
pub struct Checkpoint {
    headers: Vec<Header>,
    /// Beside `headers`.
    data: Vec<Data>,
}

impl Checkpoint {
    /// Maps the weights of a model or adapter folder: `model.safetensors`, else
    /// `model.safetensors.index.json` and its shards, else `adapter_model.safetensors` (transformers' order).
    ///
    /// The files must not be changed while the checkpoint is open.
    ///
    /// # Errors
    /// [`ErrorCode::MissingFile`] when there are no weights, [`ErrorCode::UnsupportedFormat`] when there are
    /// only weights of another format; all errors of [`Header::parse`], [`ShardIndex::parse`] and
    /// [`ShardIndex::check`]; [`ErrorCode::Io`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(dir: &Path) -> Result<Checkpoint> {
        if dir.join(MODEL_FILE).exists() {
            return Checkpoint::open_files(&[dir.join(MODEL_FILE)]);
        }
        let index_path = dir.join(INDEX_FILE);
        if index_path.exists() {
            let index =
                ShardIndex::parse(INDEX_FILE, &super::mmap::read(&index_path, MAX_INDEX_LEN as u64)?)?;
            if let Some(missing) = index.shards().iter().find(|shard| !dir.join(shard).exists()) {
                return Err(missing_shard(missing));
            }
            let files: Vec<PathBuf> = index.shards().iter().map(|shard| dir.join(shard)).collect();
            let checkpoint = Checkpoint::map(&files)?;
            index.check(&checkpoint.headers)?;
            return Ok(checkpoint);
        }
        if dir.join(ADAPTER_FILE).exists() {
            return Checkpoint::open_files(&[dir.join(ADAPTER_FILE)]);
        }
        Err(no_weights(dir))
    }

    /// Maps these files; their tensor names must differ.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; [`ErrorCode::DuplicateTensor`] for a tensor in two files.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_files(paths: &[PathBuf]) -> Result<Checkpoint> {
        let checkpoint = Checkpoint::map(paths)?;
        check_unique(&checkpoint.headers)?;
        Ok(checkpoint)
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn map(paths: &[PathBuf]) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint { headers: Vec::new(), data: Vec::new() };
        for path in paths {
            let file = super::mmap::file_name(path);
            let mapped = super::mmap::MappedFile::open(path)?;
            checkpoint.headers.push(Header::parse(&file, mapped.bytes(), mapped.bytes().len() as u64)?);
            checkpoint.data.push(Data::Mapped(mapped));
        }
        Ok(checkpoint)
    }

    /// A checkpoint over files in memory, each a name and its content, with the index if there is one.
    ///
    /// # Errors
    /// As [`Checkpoint::open_files`], and with an index as [`ShardIndex::check`].
    pub fn from_bytes(files: Vec<(String, Vec<u8>)>, index: Option<(String, Vec<u8>)>) -> Result<Checkpoint> {
        let mut checkpoint = Checkpoint { headers: Vec::new(), data: Vec::new() };
        for (name, bytes) in files {
            checkpoint.headers.push(Header::parse(&name, &bytes, bytes.len() as u64)?);
            checkpoint.data.push(Data::Owned(bytes));
        }
        match index {
            Some((name, json)) => ShardIndex::parse(&name, &json)?.check(&checkpoint.headers)?,
            None => check_unique(&checkpoint.headers)?,
        }
        Ok(checkpoint)
    }

    /// One header per file.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// All tensors, file by file in file order.
    pub fn infos(&self) -> impl Iterator<Item = &TensorInfo> {
        self.headers.iter().flat_map(|header| header.tensors())
    }

    /// Whether a tensor of that name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.headers.iter().any(|header| header.get(name).is_some())
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// [`ErrorCode::MissingTensor`].
    pub fn view(&self, name: &str) -> Result<TensorView<'_>> {
        self.headers
            .iter()
            .zip(&self.data)
            .find_map(|(header, data)| header.get(name).map(|info| view(header, data, info)))
            .ok_or_else(|| {
                let files: Vec<&str> = self.headers.iter().map(Header::file).collect();
                Error::new(ErrorCode::MissingTensor, "tensor is missing")
                    .in_file(files.join(", "))
                    .tensor(name)
            })
    }

    /// Gives the memory of a tensor that is read no more back to the system; it may be read again, from disk.
    /// Without this the mapped pages count as the process's until the system takes them. Nothing happens for
    /// files in memory and for an unknown name.
    pub fn release(&self, name: &str) {
        #[cfg(not(target_arch = "wasm32"))]
        for (header, data) in self.headers.iter().zip(&self.data) {
            if let (Some(info), Data::Mapped(file)) = (header.get(name), data) {
                file.release(info.range.start as usize..info.range.end as usize);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let _ = name;
    }

    /// All tensors, file by file in file order.
    pub fn views(&self) -> impl Iterator<Item = TensorView<'_>> {
        self.headers
            .iter()
            .zip(&self.data)
            .flat_map(|(header, data)| header.tensors().iter().map(move |info| view(header, data, info)))
    }
}

fn view<'a>(header: &'a Header, data: &'a Data, info: &'a TensorInfo) -> TensorView<'a> {
    // The header was validated against these bytes, so the range fits them, and `usize` with them.
    let bytes = &data.bytes()[info.range.start as usize..info.range.end as usize];
    TensorView { name: &info.name, dtype: &info.dtype, shape: &info.shape, bytes, file: header.file() }
}

#[cfg(not(target_arch = "wasm32"))]
fn no_weights(dir: &Path) -> Error {
    let expected = format!("{MODEL_FILE}, {INDEX_FILE} or {ADAPTER_FILE}");
    let place = dir.display().to_string();
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => return Error::new(ErrorCode::Io, format!("cannot read folder: {e}")).in_file(place),
    };
    let mut others: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            [".bin", ".gguf", ".pt", ".pth", ".ckpt", ".h5", ".msgpack"].iter().any(|e| name.ends_with(e))
        })
        .collect();
    others.sort_unstable();
    match others.first() {
        Some(other) => {
            Error::new(ErrorCode::UnsupportedFormat, "weights are not in safetensors format").found(other)
        }
        None => Error::new(ErrorCode::MissingFile, "folder holds no weights"),
    }
    .in_file(place)
    .expected(expected)
}

#[cfg(test)]
#[path = "shards_tests.rs"]
mod tests;
