//! An append-only file.

use std::io;
use std::path::Path;

use crate::sys::{Create, File, Fs};

/// An append-only file and where its end is.
pub(super) struct Log {
    file: Box<dyn File>,
    len: u64,
}

/// Why an append failed.
pub(super) enum AppendError {
    /// Nothing was written; the log is as before.
    Undone(io::Error),
    /// Part of it may be there and could not be cut off again.
    Stuck(io::Error),
}

impl Log {
    /// Opens a log; one opened for writing is made if need be. The name of a
    /// new file is durable only after its directory is synced.
    pub(super) fn open(fs: &dyn Fs, path: &Path, writable: bool) -> io::Result<Log> {
        let file = if writable {
            fs.create(path, Create::Keep)?
        } else {
            fs.open(path)?
        };
        let len = file.meta()?.size;
        Ok(Log { file, len })
    }

    /// Appends bytes; gives the offset at which they stand.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64, AppendError> {
        let at = self.len;
        match self.file.write_at(bytes, at) {
            Ok(()) => {
                self.len += bytes.len() as u64;
                Ok(at)
            }
            // Left-overs behind the end would be taken for records one day.
            Err(error) => match self.file.set_len(at) {
                Ok(()) => Err(AppendError::Undone(error)),
                Err(_) => Err(AppendError::Stuck(error)),
            },
        }
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Cuts a torn end off.
    pub(super) fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.len = len;
        self.file.sync()
    }

    /// Takes note that the file is only believed up to `len`, without writing.
    pub(super) fn believe(&mut self, len: u64) {
        self.len = len;
    }

    /// Bytes in the log.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The file, for reading.
    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }
}
