//! Where hints come from: the seam between the watching and the kernel's notices.
//!
//! Hints make the watching quick, they do not make it right: whatever a source
//! loses, the next scan finds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::LocalFuture;

/// Something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A writer closed this file, or this file or directory was renamed here.
    Finished(PathBuf),
    /// This file was made; its writer is likely still at it.
    CreatedFile(PathBuf),
    /// This directory was made.
    CreatedDir(PathBuf),
    /// Hints were lost: everything must be looked at.
    Rescan,
    /// The watched directory itself was moved or removed.
    RootGone,
    /// The source cannot go on; from now on only scans find files.
    Lost(Arc<str>),
}

/// A running source of hints about one directory. Dropping it ends it.
pub trait Hints {
    /// The next hint. Dropping the future loses none.
    fn next(&mut self) -> LocalFuture<'_, Hint>;
    /// The next hint, if there is one now.
    fn try_next(&mut self) -> Option<Hint>;
    /// Ends when the source covers every directory of which it has already given
    /// a hint, so that what a scan begun afterwards does not see, a hint will tell.
    fn barrier(&self) -> LocalFuture<'_, ()>;
}

/// Starts sources of hints.
pub trait HintSource {
    /// A source for a directory and, if `recursive`, for those below it. It
    /// names paths as `dir` and what is below it, joined.
    fn open<'a>(
        &'a self,
        dir: &'a Path,
        recursive: bool,
    ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>>;
}

/// Why there can be no hints about a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoHints {
    /// The directory is not there.
    Missing,
    /// The kernel gives none, for this reason.
    Refused(String),
}

impl fmt::Display for NoHints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoHints::Missing => f.write_str("the directory is not there"),
            NoHints::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for NoHints {}
