//! What all parts of the spool share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::{Clock, Fs};

use super::EntryId;
use super::archive::Outbox;
use super::error::SpoolError;
use super::log::AppendError;
use super::recover::{Finding, Recovering};
use super::segment::{Index, Segment};

/// Findings that are remembered until someone asks; more are only logged.
const FINDINGS_MAX: usize = 64;

/// What all parts of the spool share.
pub(super) struct Core {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) dir: PathBuf,
    pub(super) tag: u32,
    pub(super) writable: bool,
    /// Entries of the newest receipts, and whether they were delivered; some
    /// may not be settled yet.
    pub(super) left: BTreeMap<EntryId, bool>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) findings: VecDeque<Finding>,
    poisoned: Option<Arc<SpoolError>>,
    uses: u64,
}

impl Core {
    pub(super) fn new(fs: Arc<dyn Fs>, clock: Arc<dyn Clock>, dir: &Path, writable: bool) -> Core {
        Core {
            outbox: Arc::new(Outbox::new(&fs, dir)),
            fs,
            clock,
            dir: dir.to_owned(),
            tag: 0,
            writable,
            left: BTreeMap::new(),
            findings: VecDeque::new(),
            poisoned: None,
            uses: 0,
        }
    }

    /// Whether anything may be written.
    pub(super) fn check_writable(&self) -> Result<(), SpoolError> {
        match &self.poisoned {
            Some(cause) => Err(SpoolError::Poisoned {
                cause: Arc::clone(cause),
            }),
            None if self.writable => Ok(()),
            None => Err(SpoolError::ReadOnly),
        }
    }

    /// Passes the outcome of a flush on; a failed one ends all writing.
    pub(super) fn synced(&mut self, done: io::Result<()>, path: &Path) -> Result<(), SpoolError> {
        done.map_err(|e| self.poison(SpoolError::io("flush", path)(e)))
    }

    /// Passes the outcome of an append on; one that could not be undone ends
    /// all writing.
    pub(super) fn appended<T>(
        &mut self,
        done: Result<T, AppendError>,
        path: &Path,
    ) -> Result<T, SpoolError> {
        done.map_err(|error| match error {
            AppendError::Undone(e) => SpoolError::io("write to", path)(e),
            AppendError::Stuck(e) => self.poison(SpoolError::io("write to", path)(e)),
        })
    }

    /// Ends all writing until the spool is opened anew.
    pub(super) fn poison(&mut self, error: SpoolError) -> SpoolError {
        log::error!("{error}; the spool must be opened anew");
        self.poisoned.get_or_insert_with(|| Arc::new(error.clone()));
        error
    }

    /// Reads a segment's index in, if it is not there.
    pub(super) fn load<'s>(
        &mut self,
        lane: u16,
        segment: &'s mut Segment,
    ) -> Result<&'s mut Index, SpoolError> {
        self.uses += 1;
        segment.used = self.uses;
        let path = segment.log_path();
        let (tag, left, findings) = (self.tag, &self.left, &mut self.findings);
        let id_of = |segment, index| EntryId {
            tag,
            lane,
            segment,
            index,
        };
        let outbox = self.outbox.clone();
        let mut recovering = Recovering {
            fs: &*self.fs,
            writable: self.writable && self.poisoned.is_none(),
            now_ns: self.clock.wall().0,
            has_receipt: &|segment, index| left.contains_key(&id_of(segment, index)),
            let_go: &|segment, index, blob, path| {
                let id = id_of(segment, index);
                outbox.let_go(id, blob, path, left.get(&id) != Some(&false))
            },
            finding: &mut |finding| {
                log::warn!("{finding}");
                if findings.len() < FINDINGS_MAX {
                    findings.push_back(finding);
                }
            },
        };
        segment
            .load(&mut recovering)
            .map_err(SpoolError::io("read the segment", &path))
    }
}
