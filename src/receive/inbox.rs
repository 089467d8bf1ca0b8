//! The joint to the spool: where uploads for a lane go.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::Staged;
use crate::sys::LocalFuture;

/// Takes finished uploads into lanes. The agent implements it; the receiver
/// alone has [`NoInbox`].
pub trait Inbox {
    /// The directory, on the spool's filesystem, where uploads for a lane are
    /// written until they are complete. Made if need be.
    ///
    /// # Errors
    /// What the disk says; `NotFound` when there is no such lane.
    fn staging(&self, lane: &str) -> io::Result<PathBuf>;
    /// Whether the lane's rules take a file of this name. One that they do not
    /// take (`x.part`) stays in the staging area, durable, until it is renamed
    /// to a name that they take.
    fn wants(&self, lane: &str, path: &[u8]) -> bool;
    /// The room that the lane has.
    fn room(&self, lane: &str) -> Arc<dyn Room>;
    /// Takes a complete, closed file under the name `path`. It is durable in the
    /// spool, and gone from where it was staged, when this answers `Ok`. Calls
    /// are obeyed in their order, and to the end even if the future is dropped;
    /// `staged` is dropped then.
    fn take<'a>(
        &'a self,
        lane: &'a str,
        path: &'a [u8],
        staged: Staged,
    ) -> LocalFuture<'a, Result<(), InboxError>>;
}

/// The room that a lane has, asked from threads of the pool. Blocks.
pub trait Room: Send + Sync {
    /// How many bytes there is room for as it is, beside `staged` ones of the
    /// same upload that are on the disk.
    fn free(&self, staged: u64) -> u64;
    /// Whether an upload of which `staged` bytes are on the disk may grow by
    /// `more`. Where the oldest entries go when there is no room, they go now.
    fn has(&self, staged: u64, more: u64) -> bool;
    /// Files and bytes that wait in the lane.
    fn waiting(&self) -> (u64, u64);
}

/// Why a file was not taken; it is still where it was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InboxError {
    /// There is no room now.
    Full,
    /// The lane never takes a file of this name.
    Name(String),
    /// The file changed or went away meanwhile.
    Changed,
    /// The spool cannot be used.
    Failed(String),
}

impl fmt::Display for InboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InboxError::Full => f.write_str("the spool is full"),
            InboxError::Name(why) | InboxError::Failed(why) => f.write_str(why),
            InboxError::Changed => f.write_str("the file changed while it was taken"),
        }
    }
}

impl std::error::Error for InboxError {}

/// For a receiver without a spool: there are no lanes.
pub struct NoInbox;

impl Inbox for NoInbox {
    fn staging(&self, _: &str) -> io::Result<PathBuf> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn wants(&self, _: &str, _: &[u8]) -> bool {
        false
    }

    fn room(&self, _: &str) -> Arc<dyn Room> {
        Arc::new(NoInbox)
    }

    fn take<'a>(
        &'a self,
        _: &'a str,
        _: &'a [u8],
        _: Staged,
    ) -> LocalFuture<'a, Result<(), InboxError>> {
        Box::pin(async { Err(InboxError::Failed("there is no spool".to_owned())) })
    }
}

impl Room for NoInbox {
    fn free(&self, _: u64) -> u64 {
        0
    }

    fn has(&self, _: u64, _: u64) -> bool {
        false
    }

    fn waiting(&self) -> (u64, u64) {
        (0, 0)
    }
}
