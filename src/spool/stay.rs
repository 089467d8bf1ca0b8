//! Files that were taken, and whose sources cannot be removed: a filesystem that
//! became read-only, a right that is missing. They are remembered, so that they
//! are not taken again with every scan, and tried again when they are found.
//!
//! They stand among the lane's seen versions (`seen.rs`), with a NUL before their
//! path, which no path has.

use std::path::Path;
use std::sync::Arc;

use crate::sys::Meta;

use super::core::Core;
use super::error::TakeError;
use super::lane::Lane;
use super::source;
use super::take::{Taking, is_still};
use super::{Spool, SpoolError};

fn key(path: &[u8]) -> Vec<u8> {
    [b"\0", path].concat()
}

impl Core {
    /// Notes, durably, that these sources stay.
    pub(super) fn remember_stays(
        &mut self,
        lane: &mut Lane,
        stay: &[&Taking],
    ) -> Result<(), SpoolError> {
        let Some(seen) = lane.seen.as_mut().filter(|_| !stay.is_empty()) else {
            return Ok(());
        };
        for taking in stay {
            let (size, mtime_ns) = (taking.expect.size, taking.expect.mtime_ns);
            seen.insert(&key(&taking.path), size, mtime_ns);
        }
        let synced = seen.sync();
        self.written(synced, "write the seen files of", &lane.dir)
    }
}

impl Spool {
    /// Whether a file to be moved is one that stays; then it is tried once more.
    pub(super) fn known_stay(
        &mut self,
        lane: &str,
        taking: &Taking,
    ) -> Result<Option<TakeError>, SpoolError> {
        let (size, mtime_ns) = (taking.expect.size, taking.expect.mtime_ns);
        let key = key(&taking.path);
        if !self.is_seen(lane, &key, size, mtime_ns)? {
            return Ok(None);
        }
        let fs = self.core.fs.clone();
        let is_taken = |held: &Path, meta: &Meta| is_still(&*fs, taking, held, meta);
        if let Err(e) = source::let_go(&*fs, &taking.source, &is_taken) {
            return Ok(Some(TakeError::Stays(Arc::new(e))));
        }
        let (core, lane) = self.parts(lane)?;
        if let Some(seen) = &mut lane.seen {
            // Should this very version come once more, somebody wants it sent again.
            seen.insert(&key, 0, 0);
            let synced = seen.sync();
            core.written(synced, "write the seen files of", &lane.dir)?;
        }
        Ok(Some(TakeError::Gone))
    }

    /// A file whose name says that it was set aside to be removed, and which
    /// nobody removes any more, has its own name again.
    pub fn return_aside(&self, aside: &Path) {
        if let Err(e) = source::return_aside(&*self.core.fs, aside) {
            log::warn!("cannot give {} its name again: {e}", aside.display());
        }
    }
}
