//! One upload under way.

use std::path::PathBuf;
use std::sync::Arc;

use super::core::Files;
use super::place::{Lane, Place, Turn};
use super::quota::Usage;
use super::{FileError, VirtualPath};
use crate::sys::File;

/// How an upload begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// From the first byte; what is there of the name is replaced (STOR).
    Store,
    /// At an offset of an unfinished file, which is cut there (REST, STOR).
    StoreAt(u64),
    /// At the end of what is there (APPE).
    Append,
    /// Under a name that nobody has (STOU); see [`Incoming::path`].
    Unique,
}

/// An upload under way. Blocking, so it goes to the pool and back with each
/// buffer. Dropped, it is as if cut.
pub struct Incoming {
    pub(super) files: Arc<Files>,
    pub(super) place: Arc<Place>,
    pub(super) turn: Turn,
    pub(super) file: Arc<dyn File>,
    /// As the user calls it.
    pub(super) path: VirtualPath,
    /// Below its folder.
    pub(super) below: Vec<u8>,
    /// Where it began: what was there before is kept.
    pub(super) from: u64,
    /// Bytes so far; the file is not longer.
    pub(super) size: u64,
    /// What waited in the lane when it began.
    pub(super) waiting: Usage,
    /// Up to so many bytes the lane has said that there is room.
    pub(super) granted: u64,
}

impl Incoming {
    /// Writes what came, behind what came before.
    ///
    /// # Errors
    /// `Full`, `OverQuota`, `Busy` when another session took the upload over, and
    /// what the disk says. The upload then ends as cut.
    pub fn write(&mut self, data: &[u8]) -> Result<(), FileError> {
        let _turn = self.turn.hold().ok_or(FileError::Busy)?;
        let len = data.len() as u64;
        if let Some(lane) = &self.place.lane {
            self.granted = grant(lane, self.size, self.granted, len)?;
        }
        let more = Usage {
            bytes: len,
            files: 0,
        };
        self.files.book.add(more, self.waiting, &self.files.user)?;
        self.file.write_at(data, self.size).inspect_err(|_| {
            // Any part of it may be there: the next count tells.
            self.files.book.remove(more);
        })?;
        self.size += len;
        Ok(())
    }

    /// Ends it unfinished: what is there can be continued, and nobody takes it.
    pub fn cut(self) {}

    /// The file's size so far, what was there before included.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the file is called.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        &self.path
    }
}

/// Asks the lane for room in steps, so that not every buffer has to ask.
fn grant(lane: &Lane, size: u64, granted: u64, len: u64) -> Result<u64, FileError> {
    let end = size.saturating_add(len);
    if end <= granted {
        return Ok(granted);
    }
    let free = lane.room.free(size);
    if free >= len {
        return Ok(size.saturating_add(free.min(len.max(GRANT_STEP))));
    }
    // Not more than is needed, because entries may have to go for it.
    match lane.room.has(size, len) {
        true => Ok(end),
        false => Err(FileError::Full),
    }
}

/// Room is asked for in steps of so many bytes where there is plenty.
const GRANT_STEP: u64 = 1 << 20;

/// A file that was received, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The user.
    pub user: String,
    /// What the user calls it.
    pub path: VirtualPath,
    /// The watch whose lane it is for; `None` when it goes to a directory.
    pub watch: Option<String>,
    /// Where it is on disk, if it stays there: in a directory, or before its lane
    /// until it gets a name that the lane takes.
    pub file: Option<PathBuf>,
    /// Its size in bytes.
    pub size: u64,
    /// Where the upload that completed it began, in bytes; 0 unless it went on
    /// with what was there (REST, APPE).
    pub from: u64,
}

impl Received {
    /// Whether it is durable but waits for a name that its lane takes.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.watch.is_some() && self.file.is_some()
    }
}
