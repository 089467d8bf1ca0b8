//! One segment: a log of entries, the log of what became of them, and their
//! blobs. Only a compact index of a segment is ever in memory, and only while
//! it is in use; the entries are read from the disk one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::Fs;

use super::damaged;
use super::frame;
use super::log::{Log, WriteError, sync_dir};
use super::record::{Add, Change, Record, Seal};
use super::recover::{self, Recovering};

/// The most entries that a segment may have.
pub(super) const ENTRIES_MAX: u16 = 4096;
/// Entries after which a new one is full. The fewer, the fewer blocks its blob
/// directory has, and the more of the blobs that go together are named in one
/// block, which goes to the disk as a whole.
pub(super) const ENTRIES_FULL: u16 = 1024;
/// Bytes of log after which a segment is full.
const LOG_MAX: u64 = 1 << 20;
/// No seal frame is longer.
const SEAL_MAX: u64 = 48;

/// A number of entries and the sum of their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries.
    pub files: u64,
    /// The sum of their sizes.
    pub bytes: u64,
}

impl Tally {
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn take(&mut self, bytes: u64) {
        self.files = self.files.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(super) fn plus(self, other: Tally) -> Tally {
        Tally {
            files: self.files + other.files,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Where an index of a segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No record speaks of it.
    Absent,
    /// Taken, and waiting to be delivered.
    Waiting,
    /// Refused for good, and kept.
    Dead,
    /// It has left the spool.
    Gone,
    /// It was never taken after all.
    Void,
}

/// What is in memory of a segment that is in use.
pub(super) struct Index {
    pub(super) log: Log,
    pub(super) changes: Log,
    /// Per index: its state, and where its add record stands in the log.
    pub(super) slots: Vec<(State, u32)>,
    /// Where the newest failure of an entry stands in the change log.
    pub(super) notes: BTreeMap<u16, u32>,
    /// Where the record of a recovered blob stands in the change log.
    pub(super) recovered: BTreeMap<u16, u32>,
    /// Entries whose blob cannot be what was taken.
    pub(super) harmed: BTreeSet<u16>,
    /// Entries that left and whose mark the change log owes, at most.
    pub(super) unmarked: usize,
}

impl Index {
    pub(super) fn state(&self, index: u16) -> State {
        self.slots
            .get(usize::from(index))
            .map_or(State::Absent, |slot| slot.0)
    }

    pub(super) fn set(&mut self, index: u16, state: State, offset: Option<u64>) {
        let at = usize::from(index);
        if self.slots.len() <= at {
            self.slots.resize(at + 1, (State::Absent, 0));
        }
        if let Some(slot) = self.slots.get_mut(at) {
            slot.0 = state;
            if let Some(offset) = offset {
                slot.1 = u32::try_from(offset).unwrap_or(u32::MAX);
            }
        }
    }

    /// Whether what is in memory is more than what the logs have.
    pub(super) fn owes(&self) -> bool {
        self.log.owes() || self.changes.owes()
    }

    /// The record of one entry.
    pub(super) fn add_of(&self, index: u16) -> io::Result<Add> {
        if let Some(&offset) = self.recovered.get(&index) {
            return match frame::read_one(self.changes.file(), u64::from(offset))? {
                Change::Recovered(add) => Ok(add),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
        let offset = self.slots.get(usize::from(index)).map_or(0, |slot| slot.1);
        match frame::read_one(self.log.file(), u64::from(offset))? {
            Record::Add(add) => Ok(add),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// How often the server refused an entry, and what it said last.
    pub(super) fn note_of(&self, index: u16) -> io::Result<(u32, Option<String>)> {
        let Some(&offset) = self.notes.get(&index) else {
            return Ok((0, None));
        };
        match frame::read_one(self.changes.file(), u64::from(offset))? {
            Change::Failed {
                attempts, error, ..
            }
            | Change::Dead {
                attempts, error, ..
            } => Ok((attempts, Some(error))),
            _ => Ok((0, None)),
        }
    }
}

/// One segment of a lane.
pub(super) struct Segment {
    pub(super) no: u32,
    pub(super) lane_dir: PathBuf,
    pub(super) waiting: Tally,
    pub(super) dead: Tally,
    /// Whether nothing more is added.
    pub(super) sealed: bool,
    /// Whether its log lost records; it is then kept for inspection.
    pub(super) damaged: bool,
    /// When its first entry was queued.
    pub(super) oldest_ns: i64,
    /// When it was last used, by the spool's own count.
    pub(super) used: u64,
    pub(super) index: Option<Box<Index>>,
}

impl Segment {
    pub(super) fn unread(lane_dir: &Path, no: u32) -> Segment {
        Segment {
            no,
            lane_dir: lane_dir.to_owned(),
            waiting: Tally::default(),
            dead: Tally::default(),
            sealed: false,
            damaged: false,
            oldest_ns: i64::MAX,
            used: 0,
            index: None,
        }
    }

    /// Makes the files of a new segment, durably.
    pub(super) fn create(fs: &dyn Fs, lane_dir: &Path, no: u32) -> Result<Segment, WriteError> {
        let mut segment = Segment::unread(lane_dir, no);
        match fs.create_dir(&segment.blob_dir()) {
            // An attempt before this one came only so far.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e.into()),
            _ => {}
        }
        let changes = Log::open(fs, &segment.changes_path(), true)?;
        let log = Log::open(fs, &segment.log_path(), true)?;
        sync_dir(fs, lane_dir)?;
        segment.index = Some(Box::new(Index {
            log,
            changes,
            slots: Vec::new(),
            notes: BTreeMap::new(),
            recovered: BTreeMap::new(),
            harmed: BTreeSet::new(),
            unmarked: 0,
        }));
        Ok(segment)
    }

    /// Learns the tallies of a segment from its seal and its change log,
    /// without reading its entries. `false` when the log must be read.
    pub(super) fn peek(&mut self, fs: &dyn Fs) -> io::Result<bool> {
        let log = Log::open(fs, &self.log_path(), false)?;
        let Some(Record::Seal(seal)) = frame::read_last(log.file(), log.len(), SEAL_MAX)? else {
            return Ok(false);
        };
        let changes = match Log::open(fs, &self.changes_path(), false) {
            Ok(changes) => changes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e),
        };
        self.waiting = Tally {
            files: seal.entries.into(),
            bytes: seal.bytes,
        };
        self.oldest_ns = seal.oldest_ns;
        self.sealed = true;
        recover::tally_changes(self, changes.file())
    }

    /// Reads the index in, if it is not there, and sets right what a crash or
    /// damage left behind.
    pub(super) fn load(&mut self, recovering: &mut Recovering<'_>) -> Result<(), WriteError> {
        if self.index.is_none() {
            self.index = Some(Box::new(recover::load(self, recovering)?));
        }
        Ok(())
    }

    /// Whether it takes no more entries.
    pub(super) fn is_full(&self, more: usize) -> bool {
        self.sealed
            || self.index.as_ref().is_none_or(|index| {
                index.slots.len() + more > usize::from(ENTRIES_FULL) || index.log.len() >= LOG_MAX
            })
    }

    /// Ends the segment: what is queued in it now is all there will be.
    pub(super) fn seal(&mut self) -> Result<(), WriteError> {
        let Some(index) = self.index.as_mut().filter(|_| !self.sealed) else {
            return Ok(());
        };
        // What is settled already is in the change log and taken off again.
        let mut seal = Seal {
            entries: 0,
            bytes: 0,
            oldest_ns: self.oldest_ns,
        };
        for at in 0..u16::try_from(index.slots.len()).unwrap_or(u16::MAX) {
            let counts = !matches!(index.state(at), State::Absent | State::Void);
            if counts && !index.recovered.contains_key(&at) {
                let size = match index.add_of(at) {
                    Ok(add) => add.size,
                    // Its record was damaged after it had left.
                    Err(_) if index.state(at) == State::Gone => 0,
                    Err(error) => return Err(error.into()),
                };
                seal.entries += 1;
                seal.bytes = seal.bytes.saturating_add(size);
            }
        }
        let mut bytes = Vec::new();
        frame::encode(&Record::Seal(seal), &mut bytes)?;
        index.log.append(&bytes)?;
        index.log.sync()?;
        self.sealed = true;
        Ok(())
    }

    /// Removes a finished segment whole. A log that lost records is kept in
    /// `damaged`. What is gone already is no error, so that it can be repeated.
    pub(super) fn delete(&self, fs: &dyn Fs, damaged: &Path) -> Result<(), WriteError> {
        // The blobs first and durably: one that came back after its log is
        // gone would be taken for one whose record was lost.
        let blobs = self.blob_dir();
        clear_dir(fs, &blobs)?;
        if fs.meta(&blobs).is_ok() {
            sync_dir(fs, &blobs)?;
        }
        let log = self.log_path();
        if self.damaged && fs.meta(&log).is_ok() {
            damaged::keep(fs, damaged, &self.lane_dir, &log)?;
        } else {
            gone(fs.unlink(&log))?;
        }
        // The log before the change log: alone, it would call all entries lost.
        sync_dir(fs, &self.lane_dir)?;
        gone(fs.unlink(&self.changes_path()))?;
        Ok(gone(fs.remove_dir(&blobs))?)
    }

    pub(super) fn is_finished(&self) -> bool {
        self.sealed && self.waiting.files == 0 && self.dead.files == 0
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.lane_dir.join(format!("{:08x}.log", self.no))
    }

    pub(super) fn changes_path(&self) -> PathBuf {
        self.lane_dir.join(format!("{:08x}.chg", self.no))
    }

    pub(super) fn blob_dir(&self) -> PathBuf {
        self.lane_dir.join(format!("{:08x}", self.no))
    }

    pub(super) fn blob_path(&self, index: u16) -> PathBuf {
        self.blob_dir().join(format!("{index:04x}"))
    }

    pub(super) fn part_path(&self, index: u16) -> PathBuf {
        self.blob_dir().join(format!("{index:04x}.part"))
    }
}

/// What is gone already need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Removes the files of a directory, a bounded number of names at a time.
pub(super) fn clear_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    loop {
        let mut names = Vec::new();
        gone(fs.read_dir(dir, &mut |entry| {
            names.push(entry.name);
            names.len() < 256
        }))?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names {
            fs.unlink(&dir.join(name))?;
        }
    }
}
