//! What becomes of entries: refused, refused for good, dropped; and lanes that
//! are made, paused and looked up.

use std::io;

use super::core::Core;
use super::lane::{Lane, PAUSED, is_name};
use super::leave::{Settlement, write_changes};
use super::ledger::Proof;
use super::log::sync_dir;
use super::open::lane_dirs;
use super::record::Change;
use super::segment::{Segment, State};
use super::{EntryId, Spool, SpoolError};

/// Segments whose index is kept in memory.
const LOADED_MAX: usize = 32;
/// The longest error text that is kept, in bytes.
const ERROR_MAX: usize = 512;

impl Spool {
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
        let lane = self.lanes.values_mut().find(|lane| lane.no == id.lane);
        let (core, lane) = (&mut self.core, lane.ok_or_else(unknown)?);
        let segment = lane.segments.get_mut(&id.segment).ok_or_else(unknown)?;
        let index = core.load(lane.no, segment)?;
        if index.state(id.index) != from {
            return Err(unknown());
        }
        let read = (|| Ok((index.add_of(id.index)?.size, index.note_of(id.index)?.0)))();
        let path = segment.log_path();
        let (size, attempts) = read.map_err(SpoolError::io("read", &path))?;
        let change = make(id.index, size, attempts);
        let at = write_changes(core, lane.no, segment, std::slice::from_ref(&change))?;
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
        let synced = sync_dir(&*core.fs, &lane.dir);
        core.written(synced, "flush", &path)?;
        lane.paused = paused;
        Ok(())
    }

    /// Makes a lane if there is none of that name.
    pub(super) fn make_lane(&mut self, name: &str) -> Result<(), SpoolError> {
        if self.lanes.contains_key(name) {
            return Ok(());
        }
        // On the disk, because an attempt may have come only so far.
        let there = lane_dirs(&self.core)?;
        let same = there.iter().find(|lane| lane.1 == name).map(|lane| lane.0);
        let last = there.iter().map(|lane| lane.0).max();
        let next = last.map_or(Some(0), |no: u16| no.checked_add(1));
        let no = same.or(next);
        let bad = || SpoolError::BadLane(name.to_owned());
        let no = no.filter(|_| is_name(name)).ok_or_else(bad)?;
        let lanes = self.core.dir.join("lanes");
        let lane = Lane::create(&mut self.core, &lanes, no, name)?;
        self.lanes.insert(name.to_owned(), lane);
        self.open_seen(name)
    }

    pub(super) fn parts(&mut self, lane: &str) -> Result<(&mut Core, &mut Lane), SpoolError> {
        match self.lanes.get_mut(lane) {
            Some(lane) => Ok((&mut self.core, lane)),
            None => Err(SpoolError::UnknownLane(lane.to_owned())),
        }
    }

    pub(super) fn locate(&self, id: EntryId) -> Option<(&str, &Segment)> {
        let (name, lane) = self.lanes.iter().find(|(_, lane)| lane.no == id.lane)?;
        let segment = lane
            .segments
            .get(&id.segment)
            .filter(|_| id.tag == self.core.tag)?;
        Some((name, segment))
    }

    /// The segments whose index is in memory, with their places.
    pub(super) fn loaded(&self) -> impl Iterator<Item = ((u16, u32), &Segment)> {
        self.core.loaded.iter().filter_map(|&place| {
            let lane = self.lanes.values().find(|lane| lane.no == place.0)?;
            let segment = lane.segments.get(&place.1)?;
            segment.index.is_some().then_some((place, segment))
        })
    }

    /// Gives back the memory of segments that were not used of late.
    pub(super) fn unload(&mut self) {
        let tails: Vec<(u16, u32)> = self.lanes.values().map(|l| (l.no, l.tail_no())).collect();
        let loaded = self.loaded().map(|(place, segment)| (segment.used, place));
        let mut loaded: Vec<(u64, (u16, u32))> = loaded.collect();
        loaded.sort_unstable();
        self.core.loaded = loaded.iter().map(|(_, place)| *place).collect();
        let most = LOADED_MAX.max(tails.len() + 2);
        for (_, place) in loaded {
            if self.core.loaded.len() <= most {
                return;
            }
            if tails.contains(&place) {
                continue;
            }
            let segment = (self.parts_of(place.0)).and_then(|(_, l)| l.segments.get_mut(&place.1));
            if let Some(segment) = segment
                && segment.index.as_ref().is_some_and(|index| !index.owes())
            {
                segment.index = None;
                self.core.loaded.remove(&place);
            }
        }
    }
}
