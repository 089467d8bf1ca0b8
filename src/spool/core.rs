//! What all parts of the spool share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::sabotage::{Sabotage, is_on};
use crate::sys::{Clock, Fs, Meta};

use super::EntryId;
use super::archive::Outbox;
use super::error::SpoolError;
use super::finding::Finding;
use super::log::WriteError;
use super::recover::Recovering;
use super::renew;
use super::segment::{Index, Segment};

/// Findings that are remembered until someone asks; more are only logged.
const FINDINGS_MAX: usize = 64;

/// Files that are distrusted one by one; with more, all are.
const DISTRUSTED_MAX: usize = 256;

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
    /// Files whose flush failed once, by device and inode number: what the
    /// kernel shows of them may never reach the disk.
    pub(super) distrusted: BTreeSet<(u64, u64)>,
    /// All files are: the run before ended with a failed flush.
    pub(super) distrusts_all: bool,
    /// The segments whose index is in memory, and perhaps some that are gone: by
    /// lane and number.
    pub(super) loaded: BTreeSet<(u16, u32)>,
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
            distrusted: BTreeSet::new(),
            distrusts_all: false,
            loaded: BTreeSet::new(),
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

    /// Passes the outcome of something that writes on; one after which the
    /// disk is not known any more ends all writing.
    pub(super) fn written<T>(
        &mut self,
        done: Result<T, WriteError>,
        what: &'static str,
        path: &Path,
    ) -> Result<T, SpoolError> {
        done.map_err(|error| match error {
            WriteError::Undone(e) => SpoolError::io(what, path)(e),
            WriteError::Stuck(e) => self.poison(SpoolError::io(what, path)(e)),
        })
    }

    /// Says what was found wrong.
    pub(super) fn found(&mut self, finding: Finding) {
        note(&mut self.findings, finding, self.writable);
    }

    /// Ends all writing until the spool is opened anew.
    fn poison(&mut self, error: SpoolError) -> SpoolError {
        log::error!("{error}; the spool must be opened anew");
        if self.poisoned.is_none() {
            renew::mark(&*self.fs, &self.dir);
            self.poisoned = Some(Arc::new(error.clone()));
        }
        error
    }

    /// Takes note that the flush of a file failed. What is written to it from
    /// now on proves nothing about what was written before, so that it is
    /// copied and not renamed when it comes again.
    pub(super) fn distrust(&mut self, meta: &Meta) {
        if self.distrusted.is_empty() {
            renew::mark(&*self.fs, &self.dir);
        }
        self.distrusted.insert((meta.dev, meta.ino));
        self.distrusts_all |= self.distrusted.len() > DISTRUSTED_MAX;
    }

    pub(super) fn trusts(&self, meta: &Meta) -> bool {
        !self.distrusts_all && !self.distrusted.contains(&(meta.dev, meta.ino))
    }

    /// Whether that is because the agent, beside which we only look, has deleted
    /// the segment meanwhile: nothing in it is left to see.
    pub(super) fn is_gone(&self, error: &SpoolError) -> bool {
        !self.writable && error.is_not_found()
    }

    /// Reads a segment's index in, if it is not there.
    pub(super) fn load<'s>(
        &mut self,
        lane: u16,
        segment: &'s mut Segment,
    ) -> Result<&'s mut Index, SpoolError> {
        self.uses += 1;
        segment.used = self.uses;
        self.loaded.insert((lane, segment.no));
        let path = segment.log_path();
        let (tag, left, findings) = (self.tag, &self.left, &mut self.findings);
        let writable = self.writable;
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
            has_receipt: &|segment, index| {
                left.contains_key(&id_of(segment, index)) && !is_on(Sabotage::ForgetReceipts)
            },
            receipts_end: &|segment| {
                let place = id_of(segment, 0)..=id_of(segment, u16::MAX);
                let newest = left.range(place).next_back();
                newest.map_or(0, |(id, _)| id.index.saturating_add(1))
            },
            let_go: &|segment, index, blob, path| {
                let id = id_of(segment, index);
                outbox.let_go(id, blob, path, left.get(&id) != Some(&false))
            },
            finding: &mut |finding| note(findings, finding, writable),
        };
        let loaded = segment.load(&mut recovering);
        self.written(loaded, "read the segment", &path)?;
        segment.index.as_deref_mut().ok_or(SpoolError::ReadOnly)
    }
}

/// Who only looks, beside an agent that works, may see a file before a change and
/// another one after it: what is wrong then is not worth a warning.
fn note(findings: &mut VecDeque<Finding>, finding: Finding, writable: bool) {
    match writable {
        true => log::warn!("{finding}"),
        false => log::debug!("{finding}"),
    }
    if findings.len() < FINDINGS_MAX {
        findings.push_back(finding);
    }
}
