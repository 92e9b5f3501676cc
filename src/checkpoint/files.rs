//! Checkpoints on disk: written under temporary names, and in place only when complete.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::mmap::{file_name, io_error};
use super::shards::{INDEX_FILE, MODEL_FILE};
use super::writer::{TensorSpec, Writer, index_json, split_into_shards};
use crate::error::{Error, ErrorCode, Result};

/// A file that gets its name only when it is complete; dropped before that, it is removed.
///
/// The temporary name starts with a dot and ends in `.tmp`, so what a killed run leaves is never taken for
/// a finished file.
pub struct AtomicFile {
    file: File,
    temporary: PathBuf,
    target: PathBuf,
    renamed: bool,
}

impl AtomicFile {
    /// Opens a temporary file beside `target`.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub fn create(target: &Path) -> Result<AtomicFile> {
        let name = format!(".{}.{}.tmp", file_name(target), std::process::id());
        let temporary = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)
            .map_err(|e| io_error(&temporary, "cannot create file", &e))?;
        Ok(AtomicFile { file, temporary, target: target.to_owned(), renamed: false })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Brings the content to disk, then the file to its name; an older file of that name is replaced.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub fn commit(mut self) -> Result<()> {
        self.file.sync_all().map_err(|e| io_error(&self.temporary, "cannot write file", &e))?;
        fs::rename(&self.temporary, &self.target)
            .map_err(|e| io_error(&self.target, "cannot rename file", &e))?;
        self.renamed = true;
        // Makes the rename itself durable; folders cannot be opened everywhere, and then it is left to the system.
        if let Some(Ok(folder)) = self.target.parent().map(File::open) {
            folder.sync_all().map_err(|e| io_error(&self.target, "cannot write folder", &e))?;
        }
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.renamed {
            // Nothing more can be done about a failure here, and the name cannot be mistaken.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes `bytes` to `path` so that the file is either absent (or as before) or complete.
///
/// # Errors
/// [`ErrorCode::Io`].
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let file = AtomicFile::create(path)?;
    file.file().write_all(bytes).map_err(|e| io_error(path, "cannot write file", &e))?;
    file.commit()
}

/// The weights of a model folder being written: `model.safetensors`, or shards and their index.
///
/// Nothing has its final name before [`CheckpointWriter::finish`].
pub struct CheckpointWriter {
    dir: PathBuf,
    writers: Vec<Writer<FileOut>>,
    names: Vec<String>,
    /// Tensor name to position in `writers`.
    shard_of: BTreeMap<String, usize>,
    /// Set when there are several shards.
    index: Option<String>,
}

struct FileOut(AtomicFile);

impl Write for FileOut {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.file.flush()
    }
}

impl std::io::Seek for FileOut {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        self.0.file.seek(to)
    }
}

impl CheckpointWriter {
    /// Starts a checkpoint in `dir`, which is created if absent. Without `max_shard_size` (bytes of data per
    /// file) there is one file; shards are cut in the order of `specs`, as transformers does. The header's
    /// metadata is `format` = `pt`, without which transformers refuses the file.
    ///
    /// # Errors
    /// Those of [`Writer::new`].
    pub fn create(
        dir: &Path,
        specs: Vec<TensorSpec>,
        max_shard_size: Option<u64>,
    ) -> Result<CheckpointWriter> {
        fs::create_dir_all(dir).map_err(|e| io_error(dir, "cannot create folder", &e))?;
        let shards = split_into_shards(specs, max_shard_size.unwrap_or(u64::MAX))?;
        let count = shards.len();
        let name = |i: usize| match count {
            1 => MODEL_FILE.to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", i + 1),
        };
        let shards: Vec<_> = shards.into_iter().enumerate().map(|(i, specs)| (name(i), specs)).collect();
        let index = if count > 1 { Some(index_json(&shards)?) } else { None };

        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut writer = CheckpointWriter {
            dir: dir.to_owned(),
            writers: vec![],
            names: vec![],
            shard_of: BTreeMap::new(),
            index,
        };
        for (i, (file, specs)) in shards.into_iter().enumerate() {
            for spec in &specs {
                if writer.shard_of.insert(spec.name.clone(), i).is_some() {
                    return Err(Error::new(ErrorCode::DuplicateTensor, "tensor name occurs twice")
                        .in_file(file)
                        .tensor(&spec.name));
                }
            }
            let out = FileOut(AtomicFile::create(&dir.join(&file))?);
            writer.writers.push(Writer::new(out, &file, specs, &metadata)?);
            writer.names.push(file);
        }
        Ok(writer)
    }

    /// Writes a tensor's data; every tensor once, in any order.
    ///
    /// # Errors
    /// Those of [`Writer::write`].
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.shard_of.get(name) {
            Some(&shard) => self.writers[shard].write(name, bytes),
            None => Err(Error::new(ErrorCode::UnexpectedTensor, "tensor was not announced")
                .in_file(self.dir.display().to_string())
                .tensor(name)),
        }
    }

    /// Puts the files in place, the index last, and removes those of an earlier checkpoint in the folder.
    ///
    /// # Errors
    /// [`ErrorCode::MissingTensor`] when a tensor was not written; [`ErrorCode::Io`].
    pub fn finish(self) -> Result<()> {
        let files = self.writers.into_iter().map(Writer::finish).collect::<Result<Vec<_>>>()?;
        if self.index.is_some() {
            // New shards must never be read through an old index, nor hidden by an old single file.
            remove_if_present(&self.dir.join(MODEL_FILE))?;
            remove_if_present(&self.dir.join(INDEX_FILE))?;
        }
        for FileOut(file) in files {
            file.commit()?;
        }
        match &self.index {
            Some(index) => write_file(&self.dir.join(INDEX_FILE), index.as_bytes())?,
            None => remove_if_present(&self.dir.join(INDEX_FILE))?,
        }
        let entries = fs::read_dir(&self.dir).map_err(|e| io_error(&self.dir, "cannot read folder", &e))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = file_name(&path);
            if is_shard_name(&name) && !self.names.contains(&name) {
                remove_if_present(&path)?;
            }
        }
        Ok(())
    }
}

/// Whether this is `model-00001-of-00005.safetensors`.
fn is_shard_name(name: &str) -> bool {
    let number = |part: &str| part.len() == 5 && part.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("model-")
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|rest| rest.split_once("-of-"))
        .is_some_and(|(i, n)| number(i) && number(n))
}

fn remove_if_present(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(path, "cannot remove file", &e)),
        _ => Ok(()),
    }
}
