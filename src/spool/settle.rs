//! What becomes of entries: delivered, refused, refused for good, dropped.

use std::collections::BTreeMap;
use std::io;

use super::core::Core;
use super::frame;
use super::lane::{Lane, PAUSED, is_name};
use super::ledger::{Proof, Receipt, SETTLE_BATCH};
use super::record::Change;
use super::segment::{Segment, State};
use super::{EntryId, Spool, SpoolError};

/// Segments whose index is kept in memory.
const LOADED_MAX: usize = 32;
/// The longest error text that is kept, in bytes.
const ERROR_MAX: usize = 512;

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
    /// removed or archived. An entry that is no longer there (evicted while
    /// it was uploaded) has its receipt entered all the same.
    ///
    /// # Errors
    /// What the disk says. Receipts that were made durable count at the next
    /// start even so.
    pub fn settle(&mut self, settlements: &[Settlement]) -> Result<(), SpoolError> {
        for batch in settlements.chunks(SETTLE_BATCH) {
            self.enter(batch.iter().map(|s| &s.receipt))?;
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

    /// Enters receipts into the ledger, durably.
    pub(super) fn enter<'a>(
        &mut self,
        receipts: impl Iterator<Item = &'a Receipt>,
    ) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let path = self.core.dir.join("ledger");
        let now = self.core.clock.wall();
        let sane = self
            .clock_floor()
            .is_some_and(|floor| floor <= now)
            .then_some(now);
        self.ledger
            .rotate(&*self.core.fs, sane)
            .map_err(SpoolError::io("rotate the ledger in", &path))?;
        let entered = self.ledger.append(receipts);
        self.core.appended(entered, &path)
    }

    fn settle_in(
        &mut self,
        lane: u16,
        no: u32,
        settlements: &[&Settlement],
    ) -> Result<(), SpoolError> {
        let Some((core, lane)) = self.parts_of(lane) else {
            return Ok(());
        };
        let Some(segment) = lane.segments.get_mut(&no) else {
            return Ok(());
        };
        core.load(lane.no, segment)?;
        let mut changes = Vec::new();
        let mut gone: BTreeMap<u16, (State, u64, &Settlement)> = BTreeMap::new();
        for s in settlements {
            let at = s.id.index;
            let Some(index) = segment.index.as_ref() else {
                break;
            };
            let state = index.state(at);
            if matches!(state, State::Waiting | State::Dead) && !gone.contains_key(&at) {
                // An unreadable record does not keep a delivered entry here.
                let size = index.add_of(at).map_or(0, |add| add.size);
                changes.push(Change::Settled { index: at, size });
                gone.insert(at, (state, size, s));
            }
        }
        write_changes(core, segment, &changes)?;
        for (at, (state, size, settlement)) in gone {
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
        lane.delete_finished(core)
    }

    /// Records that the server refused an entry; for good, if `dead`.
    ///
    /// # Errors
    /// [`SpoolError::UnknownEntry`], and what the disk says.
    pub fn failed(&mut self, id: EntryId, error: &str, dead: bool) -> Result<(), SpoolError> {
        let mut error = error.to_owned();
        while error.len() > ERROR_MAX {
            error.pop();
        }
        self.change(id, State::Waiting, |index, size, attempts| match dead {
            true => Change::Dead {
                index,
                size,
                attempts: attempts + 1,
                error,
            },
            false => Change::Failed {
                index,
                attempts: attempts + 1,
                error,
            },
        })
    }

    /// Puts a dead letter back into the queue, with a clean record.
    ///
    /// # Errors
    /// [`SpoolError::UnknownEntry`] when there is no such dead letter, and
    /// what the disk says.
    pub fn retry(&mut self, id: EntryId) -> Result<(), SpoolError> {
        self.change(id, State::Dead, |index, size, _| Change::Retry {
            index,
            size,
        })
    }

    /// Drops an entry, waiting or dead; the ledger says so.
    ///
    /// # Errors
    /// [`SpoolError::UnknownEntry`], and what the disk says.
    pub fn drop_entry(&mut self, id: EntryId) -> Result<(), SpoolError> {
        let entry = self.entry(id)?;
        let receipt = entry.receipt(self.core.clock.wall().0, Proof::Dropped);
        self.settle(&[Settlement { id, receipt }])
    }

    /// Writes one change of an entry that is in state `from`, durably.
    fn change(
        &mut self,
        id: EntryId,
        from: State,
        make: impl FnOnce(u16, u64, u32) -> Change,
    ) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let unknown = || SpoolError::UnknownEntry(id);
        if id.tag != self.core.tag {
            return Err(unknown());
        }
        let (core, lane) = self.parts_of(id.lane).ok_or_else(unknown)?;
        let segment = lane.segments.get_mut(&id.segment).ok_or_else(unknown)?;
        let index = core.load(lane.no, segment)?;
        if index.state(id.index) != from {
            return Err(unknown());
        }
        let read = (|| Ok((index.add_of(id.index)?.size, index.note_of(id.index)?.0)))();
        let path = segment.log_path();
        let (size, attempts) = read.map_err(SpoolError::io("read", &path))?;
        let change = make(id.index, size, attempts);
        let at = write_changes(core, segment, std::slice::from_ref(&change))?;
        let Some(index) = segment.index.as_mut() else {
            return Ok(());
        };
        let note = u32::try_from(at).unwrap_or(u32::MAX);
        match change {
            Change::Dead { .. } => {
                index.set(id.index, State::Dead, None);
                index.notes.insert(id.index, note);
                segment.waiting.take(size);
                segment.dead.add(size);
            }
            Change::Retry { .. } => {
                index.set(id.index, State::Waiting, None);
                index.notes.remove(&id.index);
                segment.dead.take(size);
                segment.waiting.add(size);
            }
            _ => drop(index.notes.insert(id.index, note)),
        }
        self.unload();
        Ok(())
    }

    /// Stops or restarts a lane, durably. The lane is made if need be.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_paused(&mut self, lane: &str, paused: bool) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        self.make_lane(lane)?;
        let (core, lane) = self.parts(lane)?;
        let path = lane.dir.join(PAUSED);
        let done = if paused {
            core.fs.create(&path, crate::sys::Create::Keep).map(drop)
        } else {
            core.fs.unlink(&path)
        };
        match done {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::io("change", &path)(e));
            }
            _ => {}
        }
        core.synced(core.fs.clone().sync_dir(&lane.dir), &path)?;
        lane.paused = paused;
        Ok(())
    }

    /// Makes a lane if there is none of that name.
    pub(super) fn make_lane(&mut self, name: &str) -> Result<(), SpoolError> {
        if self.lanes.contains_key(name) {
            return Ok(());
        }
        let last = self.lanes.values().map(|lane| lane.no).max();
        let no = last.map_or(Some(0), |no: u16| no.checked_add(1));
        let bad = || SpoolError::BadLane(name.to_owned());
        let no = no.filter(|_| is_name(name)).ok_or_else(bad)?;
        let lanes = self.core.dir.join("lanes");
        let lane = Lane::create(&*self.core.fs, &lanes, no, name)
            .map_err(SpoolError::io("make a lane in", &lanes))?;
        self.lanes.insert(name.to_owned(), lane);
        self.open_seen(name)
    }

    pub(super) fn parts(&mut self, lane: &str) -> Result<(&mut Core, &mut Lane), SpoolError> {
        match self.lanes.get_mut(lane) {
            Some(lane) => Ok((&mut self.core, lane)),
            None => Err(SpoolError::UnknownLane(lane.to_owned())),
        }
    }

    fn parts_of(&mut self, no: u16) -> Option<(&mut Core, &mut Lane)> {
        let lane = self.lanes.values_mut().find(|lane| lane.no == no)?;
        Some((&mut self.core, lane))
    }

    pub(super) fn locate(&self, id: EntryId) -> Option<(&str, &Segment)> {
        let (name, lane) = self.lanes.iter().find(|(_, lane)| lane.no == id.lane)?;
        let segment = lane
            .segments
            .get(&id.segment)
            .filter(|_| id.tag == self.core.tag)?;
        Some((name, segment))
    }

    /// Gives back the memory of segments that were not used of late.
    pub(super) fn unload(&mut self) {
        let tails: Vec<(u16, u32)> = self.lanes.values().map(|l| (l.no, l.tail_no())).collect();
        let loaded = |lane: &Lane| lane.segments.values().filter(|s| s.index.is_some()).count();
        let mut count: usize = self.lanes.values().map(loaded).sum();
        while count > LOADED_MAX.max(tails.len() + 2) {
            let oldest = self
                .lanes
                .values_mut()
                .flat_map(|lane| lane.segments.values_mut().map(|s| (lane.no, s)))
                .filter(|(no, s)| s.index.is_some() && !tails.contains(&(*no, s.no)))
                .min_by_key(|(_, s)| s.used);
            let Some((_, segment)) = oldest else { return };
            segment.index = None;
            count -= 1;
        }
    }
}

/// Appends changes and makes them durable; gives where the first one stands.
fn write_changes(
    core: &mut Core,
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
    let at = core.appended(index.changes.append(&bytes), &path)?;
    core.synced(index.changes.sync(), &path)?;
    Ok(at)
}
