//! Files mapped into memory, and bounded reads of small ones.
//!
//! The one place with `unsafe` outside the kernels: mapping is what lets a checkpoint larger than memory be
//! read tensor by tensor without a copy.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, ErrorCode, Result};

/// A file's bytes, mapped read-only.
pub(super) struct MappedFile(memmap2::Mmap);

impl MappedFile {
    /// Maps a regular file; anything else (a folder, a pipe that would block) is refused.
    pub(super) fn open(path: &Path) -> Result<MappedFile> {
        let file = open_regular(path)?;
        // SAFETY: a mapping is sound as long as nobody changes the file underneath. No program can rule that
        // out for another process, so it is a documented condition of `Checkpoint::open`. This crate itself
        // never writes into an existing file: its writer renames a new one into place, which leaves the
        // mapped one as it was. Nothing derives a value's validity from the bytes twice: ranges are checked
        // against the mapping's fixed length, and every bit pattern is a valid u8. Truncation by another
        // process raises SIGBUS, as for every mapped file.
        let map = unsafe { memmap2::Mmap::map(&file) };
        map.map(MappedFile).map_err(|e| io_error(path, "cannot map file", &e))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Gives the pages of `range` back to the system, which reads them again when they are next used. Where
    /// the system refuses or has no such call, they stay until it needs the memory.
    pub(super) fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        {
            let len = self.0.len().min(range.end).saturating_sub(range.start);
            // SAFETY: the mapping is shared and read-only, so nothing was written that could be lost, and
            // dropped pages come back with the bytes of the file, which are the same by the condition above.
            let _ = unsafe {
                self.0.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, range.start, len)
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Reads a whole file of at most `max` bytes.
pub(super) fn read(path: &Path, max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited = open_regular(path)?.take(max.saturating_add(1));
    limited.read_to_end(&mut bytes).map_err(|e| io_error(path, "cannot read file", &e))?;
    if bytes.len() as u64 > max {
        return Err(Error::new(ErrorCode::InvalidJson, "JSON file is too long")
            .in_file(file_name(path))
            .expected(format_args!("at most {max} bytes")));
    }
    Ok(bytes)
}

/// The last component of a path, as errors and indexes name files.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

pub(super) fn io_error(path: &Path, what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("{what}: {error}")).in_file(path.display().to_string())
}

fn open_regular(path: &Path) -> Result<File> {
    let metadata = std::fs::metadata(path).map_err(|e| io_error(path, "cannot read file", &e))?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorCode::Io, "not a regular file").in_file(path.display().to_string()));
    }
    File::open(path).map_err(|e| io_error(path, "cannot read file", &e))
}
