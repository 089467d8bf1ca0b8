//! What can go wrong with the spool.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::ByteSize;

use super::EntryId;

/// Why an operation on the spool failed.
#[derive(Clone, Debug)]
pub enum SpoolError {
    /// The disk refused.
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the disk said.
        source: Arc<io::Error>,
    },
    /// Another agent has this spool.
    Locked {
        /// The spool.
        dir: PathBuf,
    },
    /// A newer edgespool wrote this spool.
    Newer {
        /// The spool.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file that names the format cannot be read as one.
    NotASpool {
        /// The spool.
        dir: PathBuf,
    },
    /// A flush failed, so nothing that is written from now on could be
    /// believed. Opening the spool anew finds out what is on the disk.
    Poisoned {
        /// The failure.
        cause: Arc<SpoolError>,
    },
    /// The spool was opened for looking only.
    ReadOnly,
    /// There is no such entry (any more).
    UnknownEntry(EntryId),
    /// There is no such lane.
    UnknownLane(String),
    /// A lane's name is empty, longer than 64 bytes, or one lane too many.
    BadLane(String),
}

impl SpoolError {
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
        move |source| SpoolError::Io {
            what,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }

    /// The cause in words, for a log line; empty if there is none.
    pub(super) fn cause(&self) -> String {
        std::error::Error::source(self).map_or_else(String::new, ToString::to_string)
    }

    /// Whether the disk, or the user's share of it, is full: room, not repair,
    /// is what is missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, SpoolError::Io { source, .. } if is_full(source))
    }

    /// Whether a file that was to be read is not there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, SpoolError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for SpoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpoolError::Io { what, path, .. } => write!(f, "cannot {what} {}", path.display()),
            SpoolError::Locked { dir } => write!(
                f,
                "another agent uses the spool {} (stop it, or give this one its own spool.dir)",
                dir.display()
            ),
            SpoolError::Newer { dir, found } => write!(
                f,
                "the spool {} has format {found}, and this edgespool knows none newer than {} (use the newer program)",
                dir.display(),
                super::format::FORMAT
            ),
            SpoolError::NotASpool { dir } => {
                write!(
                    f,
                    "{} holds a format file that is not a spool's",
                    dir.display()
                )
            }
            SpoolError::Poisoned { .. } => {
                f.write_str("the spool refuses to write since a flush to the disk failed")
            }
            SpoolError::ReadOnly => f.write_str("the spool was opened for looking only"),
            SpoolError::UnknownEntry(id) => write!(f, "no entry {id} in the spool"),
            SpoolError::UnknownLane(lane) => write!(f, "no lane {lane:?} in the spool"),
            SpoolError::BadLane(lane) => {
                write!(
                    f,
                    "cannot make a lane {lane:?} (names have 1 to 64 bytes, lanes are 65535 at most)"
                )
            }
        }
    }
}

impl std::error::Error for SpoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpoolError::Io { source, .. } => Some(&**source),
            SpoolError::Poisoned { cause } => Some(&**cause),
            _ => None,
        }
    }
}

/// Why a file was not taken. The source stays where it is, except for
/// [`TakeError::Dropped`].
#[derive(Clone, Debug)]
pub enum TakeError {
    /// The path is empty, absolute, longer than 4096 bytes, or holds CR, LF,
    /// NUL, or a part that is empty, `.`, `..` or longer than 255 bytes.
    BadName,
    /// The source is not a regular file.
    NotAFile,
    /// The source is gone.
    Gone,
    /// The source is not the file that was looked at, or it changed meanwhile.
    Changed,
    /// This version was offered before.
    Twice,
    /// This version was taken before, and its source cannot be removed.
    Stays(Arc<io::Error>),
    /// No room, and the policy is to wait.
    Full {
        /// The size of the file.
        size: u64,
    },
    /// No room, and the policy is to drop what is newest: the source was
    /// removed (`take = "move"`) or is passed over (`"copy"`); the ledger says so.
    Dropped,
    /// The source could not be read, flushed or renamed.
    Source(Arc<io::Error>),
    /// The spool failed.
    Spool(SpoolError),
}

impl TakeError {
    pub(super) fn source_error(error: io::Error) -> TakeError {
        match error.kind() {
            io::ErrorKind::NotFound => TakeError::Gone,
            _ => TakeError::Source(Arc::new(error)),
        }
    }

    /// Whether room is what is missing: the file can be taken later.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            TakeError::Full { .. } => true,
            TakeError::Source(source) => is_full(source),
            TakeError::Spool(error) => error.is_full(),
            _ => false,
        }
    }
}

impl From<SpoolError> for TakeError {
    fn from(error: SpoolError) -> TakeError {
        TakeError::Spool(error)
    }
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TakeError::BadName => f.write_str(
                "the name cannot be uploaded (it holds CR, LF, NUL or an empty part, or is too long)",
            ),
            TakeError::NotAFile => f.write_str("not a regular file"),
            TakeError::Gone => f.write_str("the file is gone"),
            TakeError::Changed => f.write_str("the file changed while it was being taken"),
            TakeError::Twice => f.write_str("this version of the file was taken before"),
            TakeError::Stays(_) => f.write_str("it was taken before, and cannot be removed"),
            TakeError::Full { size } => {
                write!(f, "no room in the spool for {}", ByteSize(*size))
            }
            TakeError::Dropped => f.write_str("no room in the spool; dropped as its newest file"),
            TakeError::Source(_) => f.write_str("cannot take the file"),
            TakeError::Spool(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TakeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            TakeError::Source(source) | TakeError::Stays(source) => Some(&**source),
            TakeError::Spool(error) => error.source(),
            _ => None,
        }
    }
}

/// Whether the disk, or the user's share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
