//! One upload under way.

use super::{FileError, VirtualPath};

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
    path: VirtualPath,
}

impl Incoming {
    /// Writes what came, behind what came before.
    ///
    /// # Errors
    /// `Full`, `OverQuota`, `Busy` when another session took the upload over, and
    /// what the disk says. The upload then ends as cut.
    pub fn write(&mut self, data: &[u8]) -> Result<(), FileError> {
        todo!("{data:?}")
    }

    /// Ends it unfinished: what is there can be continued, and nobody takes it.
    pub fn cut(self) {}

    /// The file's size so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        todo!()
    }

    /// What the file is called.
    #[must_use]
    pub fn path(&self) -> &VirtualPath {
        &self.path
    }
}

/// A file that was received, durably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The user.
    pub user: String,
    /// What the user calls it.
    pub path: VirtualPath,
    /// The watch whose lane took it; `None` when it stays in a directory.
    pub watch: Option<String>,
    /// Where it is on disk, if it stays there.
    pub file: Option<std::path::PathBuf>,
    /// Its size in bytes.
    pub size: u64,
}
