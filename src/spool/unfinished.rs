//! What a crash left of the last batch at the sources of its files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::sys::{Fs, Meta};

use super::record::{Add, Origin};
use super::recover::Recovering;
use super::segment::{Index, Segment, State};
use super::source::{self, Returned};

/// Whether a file that was renamed in by the last batch, and is not the one that
/// was looked at, has its name at its source again.
pub(super) fn is_given_back(
    segment: &Segment,
    index: &Index,
    r: &Recovering<'_>,
    at: u16,
) -> io::Result<bool> {
    let add = index.add_of(at)?;
    let is_renamed = add.origin == Origin::Renamed && index.state(at) == State::Waiting;
    if !r.writable || !is_renamed || add.source.is_empty() {
        return Ok(false);
    }
    let blob = segment.blob_path(at);
    // One that only lost its end was not written to.
    if r.fs.meta(&blob)?.mtime_ns == add.mtime_ns && !source::is_written(r.fs, &blob) {
        return Ok(false);
    }
    let source = Path::new(OsStr::from_bytes(&add.source));
    match source::give_back(r.fs, &blob, source) {
        Ok(returned) => Ok(returned == Returned::Back),
        Err(e) => {
            log::warn!("cannot give {} back: {e}", source.display());
            Ok(false)
        }
    }
}

/// Removes sources whose copies were taken, durably. Should this fail, a file is
/// delivered a second time under the same name; no reason not to start.
pub(super) fn remove_sources(fs: &dyn Fs, copied: &[Add]) {
    let mut dirs = BTreeSet::new();
    for add in copied {
        let source = Path::new(OsStr::from_bytes(&add.source));
        let is_copied = |held: &Path, meta: &Meta| {
            (meta.size, meta.mtime_ns) == (add.size, add.mtime_ns) && !source::is_written(fs, held)
        };
        match source::let_go_again(fs, source, &is_copied) {
            Ok(()) => dirs.extend(source.parent()),
            Err(e) => log::warn!("cannot remove {} after it was taken: {e}", source.display()),
        }
    }
    for dir in dirs {
        if let Err(e) = fs.sync_dir(dir) {
            log::debug!("cannot flush {}: {e}", dir.display());
        }
    }
}
