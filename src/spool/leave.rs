//! Leaving: receipt, mark, and then the bytes.
//!
//! An entry leaves by its receipt, durable in the ledger; by its mark `Settled`,
//! durable in its segment; and then its blob goes. A crash in between is set
//! right at the next start, because the newest receipts are read then: those of
//! the reserve, and the newest [`SETTLE_BATCH`] of the ledger. So the one rule is
//! that no more receipts than that may be without their durable mark.
//!
//! On a full disk the receipts go to the reserve ([`super::reserve`]) and the
//! marks are owed: the logs of changes remember them and write them first when
//! there is room ([`Spool::catch_up`]). The blobs go at once, which is what makes
//! room. Every receipt is entered once, however often settling is tried.

use std::collections::BTreeMap;

use super::core::Core;
use super::error::SpoolError;
use super::frame;
use super::lane::Lane;
use super::ledger::{Proof, Receipt, SETTLE_BATCH};
use super::record::Change;
use super::segment::{Index, Segment, State};
use super::{EntryId, Spool};
use crate::base::sabotage::{Sabotage, is_on};

/// An entry leaves the spool.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The entry.
    pub id: EntryId,
    /// What the ledger is to say.
    pub receipt: Receipt,
}

impl Spool {
    /// Lets entries go: their receipts are made durable, then their bytes are
    /// removed or go to the archive. An entry that is no longer there (evicted
    /// while it was uploaded) has its receipt entered all the same.
    ///
    /// # Errors
    /// What the disk says. Receipts that were made durable count even so, and
    /// are not entered again when this is repeated. On a full disk it goes on
    /// as long as the reserve lasts.
    pub fn settle(&mut self, settlements: &[Settlement]) -> Result<(), SpoolError> {
        for batch in settlements.chunks(SETTLE_BATCH) {
            self.enter_all(batch)?;
            let mut leaving: BTreeMap<(u16, u32), Vec<&Settlement>> = BTreeMap::new();
            for s in batch {
                let place = (s.id.lane, s.id.segment);
                leaving.entry(place).or_default().push(s);
            }
            for ((lane, segment), settlements) in leaving {
                self.settle_in(lane, segment, &settlements)?;
            }
        }
        self.unload();
        Ok(())
    }

    /// Makes the receipts of a batch durable, those that are not yet.
    fn enter_all(&mut self, batch: &[Settlement]) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let receipts: Vec<&Receipt> = batch
            .iter()
            .filter(|s| !self.core.left.contains_key(&s.id))
            .map(|s| &s.receipt)
            .filter(|r| r.proof != Proof::Evicted || !is_on(Sabotage::EvictSilently))
            .collect();
        let entered = match self.catch_up() {
            Ok(()) => self.enter(&receipts),
            behind => behind,
        };
        match entered {
            Err(e) if e.is_full() => self.put_in_reserve(&receipts, e)?,
            entered => entered?,
        }
        for s in batch {
            let delivered = s.receipt.proof.is_delivery();
            self.core.left.insert(s.id, delivered);
        }
        Ok(())
    }

    /// Enters receipts into the ledger, durably.
    pub(super) fn enter(&mut self, receipts: &[&Receipt]) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        if receipts.is_empty() {
            return Ok(());
        }
        let path = self.core.dir.join("ledger");
        let now = self.core.clock.wall();
        let sane = self.clock_floor().is_some_and(|floor| floor <= now);
        // Receipts without a mark must stay in the segment that a start reads.
        if self.unmarked() == 0 {
            let rotated = self.ledger.rotate(&*self.core.fs, sane.then_some(now));
            self.core.written(rotated, "rotate the ledger in", &path)?;
        }
        let entered = self.ledger.append(receipts.iter().copied());
        self.core.written(entered, "write a receipt to", &path)
    }

    fn put_in_reserve(
        &mut self,
        receipts: &[&Receipt],
        full: SpoolError,
    ) -> Result<(), SpoolError> {
        if self.unmarked() + receipts.len() > SETTLE_BATCH {
            return Err(full);
        }
        let path = self.core.dir.join("reserve");
        let put = self.reserve.put(receipts);
        self.core.written(put, "write a receipt to", &path)
    }

    /// Writes what a full disk left owing: marks, then the reserve's receipts.
    pub(super) fn catch_up(&mut self) -> Result<(), SpoolError> {
        for (lane, no) in self.core.loaded.clone() {
            if let Some((core, found)) = self.parts_of(lane)
                && let Some(segment) = found.segments.get_mut(&no)
            {
                pay(core, lane, segment)?;
            }
        }
        self.empty_reserve()?;
        let path = self.core.dir.join("reserve");
        let provided = self.reserve.provide(&*self.core.fs);
        match self.core.written(provided, "make", &path) {
            // Without it all goes on as long as there is room.
            Err(e) if e.is_full() => Ok(()),
            provided => provided,
        }
    }

    /// Moves the reserve's receipts to the ledger.
    fn empty_reserve(&mut self) -> Result<(), SpoolError> {
        if self.reserve.is_free() {
            return Ok(());
        }
        let path = self.core.dir.join("reserve");
        let mut receipts = Vec::new();
        let read = self.reserve.each(&mut |receipt| {
            if !receipt.id.is_some_and(|id| self.entered.contains(&id)) {
                receipts.push(receipt.clone());
            }
            true
        });
        read.map_err(SpoolError::io("read", &path))?;
        self.enter(&receipts.iter().collect::<Vec<_>>())?;
        self.entered.extend(receipts.iter().filter_map(|r| r.id));
        let freed = self.reserve.free();
        self.core.written(freed, "free", &path)?;
        self.entered.clear();
        Ok(())
    }

    /// Entries whose receipt is durable and whose mark is not, at most.
    fn unmarked(&self) -> usize {
        let indexes = self.loaded().filter_map(|(_, s)| s.index.as_ref());
        indexes.map(|index| index.unmarked).sum()
    }

    fn settle_in(
        &mut self,
        lane: u16,
        no: u32,
        settlements: &[&Settlement],
    ) -> Result<(), SpoolError> {
        let Some((core, lane)) = self.parts_of(lane) else {
            forget(&mut self.core, settlements);
            return Ok(());
        };
        let Some(segment) = lane.segments.get_mut(&no) else {
            forget(core, settlements);
            return Ok(());
        };
        core.load(lane.no, segment)?;
        let leaving = leaving(segment, settlements);
        mark(core, lane.no, segment, &leaving)?;
        if segment.index.as_ref().is_none_or(|i| i.unmarked == 0) {
            forget(core, settlements);
        }
        for (at, (state, size, settlement)) in leaving {
            match state {
                State::Dead => segment.dead.take(size),
                _ => segment.waiting.take(size),
            }
            if let Some(index) = segment.index.as_mut() {
                index.set(at, State::Gone, None);
                index.notes.remove(&at);
            }
            let blob = segment.blob_path(at);
            let Receipt { path, proof, .. } = &settlement.receipt;
            let keep = proof.is_delivery();
            if let Err(e) = core.outbox.let_go(settlement.id, &blob, path, keep) {
                // The next start does it.
                log::warn!("cannot remove {}: {e}", blob.display());
            }
        }
        lane.delete_finished(core);
        if !lane.segments.contains_key(&no) {
            forget(core, settlements);
        }
        Ok(())
    }

    pub(super) fn parts_of(&mut self, no: u16) -> Option<(&mut Core, &mut Lane)> {
        let lane = self.lanes.values_mut().find(|lane| lane.no == no)?;
        Some((&mut self.core, lane))
    }
}

/// Per index: its state, its size as the record has it, and the settlement.
type Leaving<'a> = BTreeMap<u16, (State, u64, &'a Settlement)>;

/// Those of the settlements whose entries are still there.
fn leaving<'a>(segment: &Segment, settlements: &[&'a Settlement]) -> Leaving<'a> {
    let mut leaving = Leaving::new();
    let Some(index) = segment.index.as_ref() else {
        return leaving;
    };
    for s in settlements {
        let state = index.state(s.id.index);
        if matches!(state, State::Waiting | State::Dead) {
            // An unreadable record does not keep a delivered entry here.
            let size = index.add_of(s.id.index).map_or(0, |add| add.size);
            leaving.insert(s.id.index, (state, size, *s));
        }
    }
    leaving
}

/// Writes the marks of entries that leave, or owes them on a full disk.
fn mark(
    core: &mut Core,
    lane: u16,
    segment: &mut Segment,
    leaving: &Leaving<'_>,
) -> Result<(), SpoolError> {
    let changes: Vec<Change> = leaving
        .iter()
        .map(|(&index, &(_, size, _))| Change::Settled { index, size })
        .collect();
    match write_changes(core, lane, segment, &changes) {
        Err(e) if e.is_full() => {
            let path = segment.changes_path();
            let Some(index) = segment.index.as_mut() else {
                return Err(e);
            };
            let mut bytes = Vec::new();
            for change in &changes {
                let encoded = frame::encode(change, &mut bytes);
                encoded.map_err(SpoolError::io("write to", &path))?;
            }
            core.check_writable()?;
            index.changes.owe(&bytes);
            index.unmarked += changes.len();
            Ok(())
        }
        written => written.map(drop),
    }
}

/// Writes the marks that a segment owes.
fn pay(core: &mut Core, lane: u16, segment: &mut Segment) -> Result<(), SpoolError> {
    let path = segment.changes_path();
    let Some(index) = segment.index.as_mut().filter(|i| i.changes.owes()) else {
        return Ok(());
    };
    let paid = index.changes.append(&[]).and_then(|_| index.changes.sync());
    core.written(paid, "write to", &path)?;
    paid_up(core, lane, segment.no, index);
    Ok(())
}

/// Their marks are durable, or nobody needs them.
fn forget(core: &mut Core, settlements: &[&Settlement]) {
    for s in settlements {
        core.left.remove(&s.id);
    }
}

/// Appends changes and makes them durable; gives where the first one stands.
pub(super) fn write_changes(
    core: &mut Core,
    lane: u16,
    segment: &mut Segment,
    changes: &[Change],
) -> Result<u64, SpoolError> {
    let path = segment.changes_path();
    let mut bytes = Vec::new();
    for change in changes {
        frame::encode(change, &mut bytes).map_err(SpoolError::io("write to", &path))?;
    }
    let Some(index) = segment.index.as_mut().filter(|_| !bytes.is_empty()) else {
        return Ok(0);
    };
    let at = index.changes.append(&bytes);
    let at = core.written(at, "write to", &path)?;
    let synced = index.changes.sync();
    core.written(synced, "flush", &path)?;
    paid_up(core, lane, segment.no, index);
    Ok(at)
}

/// All marks of a segment are durable.
fn paid_up(core: &mut Core, lane: u16, no: u32, index: &mut Index) {
    if std::mem::take(&mut index.unmarked) > 0 {
        core.left
            .retain(|id, _| (id.lane, id.segment) != (lane, no));
    }
}
