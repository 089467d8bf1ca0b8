//! An append-only file, and what a failed write means.
//!
//! The rule that all of the spool keeps: **the memory never claims more than the
//! disk has confirmed.** Every writing call ends in one of three ways:
//!
//! * It succeeded: state in memory follows it, and not before.
//! * [`WriteError::Undone`]: nothing of it counts, and the same call may be made
//!   again. Half a write is cut off, a file that was made may stay empty.
//! * [`WriteError::Stuck`]: a flush failed, or half a write could not be cut
//!   off. The kernel drops what it could not write and reports that once, so
//!   that a later flush which succeeds proves nothing. The spool is poisoned:
//!   it writes no more until it is opened anew, and then writes every log that
//!   may be concerned from scratch (`renew.rs`).
//!
//! An [`io::Error`] becomes `Undone` by `?`; flushes go through [`flushed`],
//! [`sync_dir`] and [`Log::sync`], which make it `Stuck`.

use std::io;
use std::path::Path;

use crate::base::sabotage::{Sabotage, is_on};
use crate::sys::{Create, File, Fs};

/// Why something that writes failed.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Nothing of it counts; it may be tried again.
    Undone(io::Error),
    /// What the disk has is not known any more.
    Stuck(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> WriteError {
        WriteError::Undone(error)
    }
}

/// The outcome of a flush: none that fails is made up for by a later one.
pub(super) fn flushed(done: io::Result<()>) -> Result<(), WriteError> {
    match done {
        Err(_) if is_on(Sabotage::BelieveFailedFlush) => Ok(()),
        done => done.map_err(WriteError::Stuck),
    }
}

/// Makes the names in a directory of the spool durable.
pub(super) fn sync_dir(fs: &dyn Fs, dir: &Path) -> Result<(), WriteError> {
    flushed(fs.sync_dir(dir))
}

/// An append-only file and where its end is.
pub(super) struct Log {
    file: Box<dyn File>,
    len: u64,
    /// Frames that must stand before whatever is appended next.
    owed: Vec<u8>,
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
        let owed = Vec::new();
        Ok(Log { file, len, owed })
    }

    /// Appends what is owed, and bytes; gives the offset at which they stand.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<u64, WriteError> {
        let start = self.len;
        let at = start + self.owed.len() as u64;
        let owed = std::mem::take(&mut self.owed);
        let written = match owed.is_empty() {
            true => self.file.write_at(bytes, start),
            false => self.file.write_at(&[&owed, bytes].concat(), start),
        };
        match written {
            Ok(()) => {
                self.len = at + bytes.len() as u64;
                Ok(at)
            }
            Err(error) => {
                self.owed = owed;
                // Left-overs behind the end would be taken for records one day.
                match self.file.set_len(start) {
                    Ok(()) => Err(WriteError::Undone(error)),
                    Err(_) => Err(WriteError::Stuck(error)),
                }
            }
        }
    }

    /// Remembers frames that go before whatever is appended next.
    pub(super) fn owe(&mut self, bytes: &[u8]) {
        self.owed.extend_from_slice(bytes);
    }

    /// Whether frames are owed.
    pub(super) fn owes(&self) -> bool {
        !self.owed.is_empty()
    }

    /// Makes everything durable.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        flushed(self.file.sync())
    }

    /// Cuts a torn end off.
    pub(super) fn cut(&mut self, len: u64) -> Result<(), WriteError> {
        self.file.set_len(len)?;
        self.len = len;
        self.sync()
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
