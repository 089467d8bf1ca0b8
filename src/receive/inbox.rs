//! The joint to the spool: where uploads for a lane go.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

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
    /// How many bytes more the lane has room for.
    fn room<'a>(&'a self, lane: &'a str) -> LocalFuture<'a, u64>;
    /// Files and bytes that wait in the lane.
    fn waiting<'a>(&'a self, lane: &'a str) -> LocalFuture<'a, (u64, u64)>;
    /// Takes a complete, closed file. Durable in the spool, and `staged` is gone,
    /// when it answers `Ok`. Calls are obeyed in their order.
    fn take<'a>(
        &'a self,
        lane: &'a str,
        path: &'a [u8],
        staged: &'a Path,
    ) -> LocalFuture<'a, Result<(), InboxError>>;
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

    fn room<'a>(&'a self, _: &'a str) -> LocalFuture<'a, u64> {
        Box::pin(async { 0 })
    }

    fn waiting<'a>(&'a self, _: &'a str) -> LocalFuture<'a, (u64, u64)> {
        Box::pin(async { (0, 0) })
    }

    fn take<'a>(
        &'a self,
        _: &'a str,
        _: &'a [u8],
        _: &'a Path,
    ) -> LocalFuture<'a, Result<(), InboxError>> {
        Box::pin(async { Err(InboxError::Failed("there is no spool".to_owned())) })
    }
}
