//! Looking into the spool.

use std::cell::Cell;
use std::ops::Bound;

use crate::sys::{File, Wall};

use super::frame::READS_MAX;
use super::lane::Lane;
use super::ledger::{Proof, Receipt};
use super::record::Origin;
use super::recover::recovered_name;
use super::segment::{Segment, State, Tally};
use super::{EntryId, Spool, SpoolError};

/// One finished version of one file, on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, and its place in the order of taking.
    pub id: EntryId,
    /// The watch that it came from.
    pub lane: String,
    /// The path below the watched directory; bytes.
    pub path: Vec<u8>,
    /// Bytes of content, as the blob has them now.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Wall clock at the taking.
    pub queued: Wall,
    /// Refusals by a healthy server.
    pub attempts: u32,
    /// What the server said last.
    pub last_error: Option<String>,
    /// Waiting or dead.
    pub standing: Standing,
    /// How its bytes came here.
    pub origin: Origin,
    /// Its size when it was taken.
    pub(super) queued_size: u64,
}

/// Whether an entry is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Waiting,
    /// A dead letter: only when a person asks.
    Dead,
}

/// Which entries of a lane come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that were taken first.
    #[default]
    Oldest,
    /// Those that were taken last.
    Newest,
}

/// One lane at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// The watch.
    pub name: String,
    /// What is waiting.
    pub waiting: Tally,
    /// Dead letters.
    pub dead: Tally,
    /// Whether it is paused.
    pub paused: bool,
    /// About when its oldest entry was queued: exact for the first in its
    /// segment, never later than that.
    pub oldest: Option<Wall>,
}

/// The spool at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// What is waiting, in all lanes.
    pub waiting: Tally,
    /// Dead letters, in all lanes.
    pub dead: Tally,
    /// Each lane.
    pub lanes: Vec<LaneStats>,
}

impl Entry {
    /// A receipt that says that the entry left without being delivered.
    #[must_use]
    pub fn receipt(&self, time_ns: i64, proof: Proof) -> Receipt {
        Receipt {
            id: Some(self.id),
            time_ns,
            watch: self.lane.clone(),
            path: self.path.clone(),
            server: String::new(),
            remote: Vec::new(),
            size: self.size,
            proof,
            attempts: self.attempts,
            sent_bytes: 0,
            seconds: 0.0,
        }
    }
}

/// Whether it was the disk that failed, and not what was read that is damaged.
fn is_from_disk(error: &SpoolError) -> bool {
    matches!(error, SpoolError::Io { source, .. } if source.raw_os_error().is_some())
}

impl Spool {
    /// The next waiting entries of a lane, `most` at most, without those that
    /// `skip` names (because they are being uploaded).
    ///
    /// # Errors
    /// What the disk says. A lane that does not exist has no entries.
    pub fn window(
        &mut self,
        lane: &str,
        order: Order,
        most: usize,
        skip: &dyn Fn(EntryId) -> bool,
    ) -> Result<Vec<Entry>, SpoolError> {
        let mut window = Vec::new();
        if most == 0 {
            return Ok(window);
        }
        self.walk(lane, order, false, &mut |spool, id| {
            if !skip(id)
                && let Some(entry) = spool.read_or_drop(id)?
            {
                window.push(entry);
            }
            Ok(window.len() < most)
        })?;
        Ok(window)
    }

    /// Calls `each` for every entry, waiting or dead, lane by lane in the
    /// order of taking, until it answers `false`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn list(&mut self, each: &mut dyn FnMut(&Entry) -> bool) -> Result<(), SpoolError> {
        let lanes: Vec<String> = self.lanes.keys().cloned().collect();
        let mut go_on = true;
        for lane in lanes {
            self.visit(&lane, &mut |_, entry| {
                go_on = each(entry);
                go_on
            })?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// One entry.
    ///
    /// # Errors
    /// [`SpoolError::UnknownEntry`], and what the disk says.
    pub fn entry(&mut self, id: EntryId) -> Result<Entry, SpoolError> {
        self.read_entry(id)
    }

    /// The bytes of an entry.
    ///
    /// # Errors
    /// [`SpoolError::UnknownEntry`], and what the disk says.
    pub fn open_blob(&self, id: EntryId) -> Result<Box<dyn File>, SpoolError> {
        let (_, segment) = self.locate(id).ok_or(SpoolError::UnknownEntry(id))?;
        let path = segment.blob_path(id.index);
        self.core
            .fs
            .open(&path)
            .map_err(SpoolError::io("open", &path))
    }

    /// The spool at a glance, without touching the disk.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let lanes: Vec<LaneStats> = self
            .lanes
            .iter()
            .map(|(name, lane)| LaneStats {
                name: name.clone(),
                waiting: lane.waiting(),
                dead: lane.dead(),
                paused: lane.paused,
                oldest: lane.oldest_ns().map(Wall),
            })
            .collect();
        let sum =
            |of: fn(&LaneStats) -> Tally| lanes.iter().map(of).fold(Tally::default(), Tally::plus);
        Stats {
            waiting: sum(|lane| lane.waiting),
            dead: sum(|lane| lane.dead),
            lanes,
        }
    }

    /// How many entries of a lane are waiting.
    #[must_use]
    pub fn lane_waiting(&self, lane: &str) -> u64 {
        self.lanes.get(lane).map_or(0, |lane| lane.waiting().files)
    }

    /// The files and bytes of a lane that are waiting.
    #[must_use]
    pub fn lane_tally(&self, lane: &str) -> Tally {
        let lane = self.lanes.get(lane);
        lane.map_or_else(Tally::default, super::lane::Lane::waiting)
    }

    /// Calls `each` for every receipt since a time, oldest first, until it
    /// answers `false`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn history(
        &self,
        since: Option<Wall>,
        each: &mut dyn FnMut(&Receipt) -> bool,
    ) -> Result<(), SpoolError> {
        let from = since.map_or(i64::MIN, |since| since.0);
        let go_on = Cell::new(true);
        let mut each = |r: &Receipt| {
            go_on.set(r.time_ns < from || each(r));
            go_on.get()
        };
        self.ledger
            .history(&*self.core.fs, &mut each)
            .map_err(SpoolError::io("read", &self.core.dir.join("ledger")))?;
        if go_on.get() {
            self.reserve
                .each(&mut |r| r.id.is_some_and(|id| self.entered.contains(&id)) || each(r))
                .map_err(SpoolError::io("read", &self.core.dir.join("reserve")))?;
        }
        Ok(())
    }

    /// Calls `each` for the newest receipts, oldest first, until it answers
    /// `false`: an eighth of what the ledger may hold, at most.
    ///
    /// # Errors
    /// What the disk says.
    pub fn recent_history(&self, each: &mut dyn FnMut(&Receipt) -> bool) -> Result<(), SpoolError> {
        let path = self.core.dir.join("ledger");
        self.ledger
            .recent(&*self.core.fs, each)
            .map_err(SpoolError::io("read", &path))
    }

    pub(super) fn visit(
        &mut self,
        lane: &str,
        each: &mut dyn FnMut(State, &Entry) -> bool,
    ) -> Result<(), SpoolError> {
        self.walk(lane, Order::Oldest, true, &mut |spool, id| {
            Ok(match spool.read_or_drop(id)? {
                Some(entry) if entry.standing == Standing::Dead => each(State::Dead, &entry),
                Some(entry) => each(State::Waiting, &entry),
                None => true,
            })
        })
    }

    /// Walks the entries of a lane, one segment in memory at a time.
    fn walk(
        &mut self,
        lane: &str,
        order: Order,
        dead_too: bool,
        each: &mut dyn FnMut(&mut Spool, EntryId) -> Result<bool, SpoolError>,
    ) -> Result<(), SpoolError> {
        let Some(found) = self.lanes.get(lane) else {
            return Ok(());
        };
        let lane_no = found.no;
        let has = |s: &&Segment| s.waiting.files > 0 || (dead_too && s.dead.files > 0);
        let mut before = None;
        while let Some(no) = self
            .lanes
            .get(lane)
            .and_then(|l| next_of(l, order, before, has))
        {
            before = Some(no);
            let tag = self.core.tag;
            let (core, lane) = self.parts(lane)?;
            let Some(segment) = lane.segments.get_mut(&no) else {
                continue;
            };
            if let Err(error) = core.load(lane_no, segment).map(drop) {
                match core.is_gone(&error) {
                    true => continue,
                    false => return Err(error),
                }
            }
            let Some(index) = segment.index.as_deref() else {
                continue;
            };
            let wanted = |state| state == State::Waiting || (dead_too && state == State::Dead);
            let mut at: Vec<u16> = (0..u16::try_from(index.slots.len()).unwrap_or(u16::MAX))
                .filter(|&at| wanted(index.state(at)))
                .collect();
            if order == Order::Newest {
                at.reverse();
            }
            for index in at {
                let id = EntryId {
                    tag,
                    lane: lane_no,
                    segment: no,
                    index,
                };
                if !each(self, id)? {
                    self.unload();
                    return Ok(());
                }
            }
            self.unload();
        }
        Ok(())
    }

    /// Reads an entry; one whose record or blob went bad is skipped, said so,
    /// and weighed anew at the next start. One bad moment of the disk is not enough:
    /// a newer version of the file would go first.
    fn read_or_drop(&mut self, id: EntryId) -> Result<Option<Entry>, SpoolError> {
        let mut read = self.read_entry(id);
        for _ in 1..READS_MAX {
            if !read.as_ref().is_err_and(is_from_disk) {
                break;
            }
            read = self.read_entry(id);
        }
        match read {
            Ok(entry) => Ok(Some(entry)),
            Err(SpoolError::UnknownEntry(_)) => Ok(None),
            Err(error @ SpoolError::Io { .. }) => {
                log::warn!("entry {id}: {error}");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn read_entry(&mut self, id: EntryId) -> Result<Entry, SpoolError> {
        let unknown = || SpoolError::UnknownEntry(id);
        let name = self.locate(id).ok_or_else(unknown)?.0.to_owned();
        let (core, lane) = self.parts(&name)?;
        let segment = lane.segments.get_mut(&id.segment).ok_or_else(unknown)?;
        let (log, blob) = (segment.log_path(), segment.blob_path(id.index));
        let index = core.load(id.lane, segment)?;
        let standing = match index.state(id.index) {
            State::Waiting => Standing::Waiting,
            State::Dead => Standing::Dead,
            _ => return Err(unknown()),
        };
        let add = index
            .add_of(id.index)
            .map_err(SpoolError::io("read", &log))?;
        let (attempts, last_error) = index
            .note_of(id.index)
            .map_err(SpoolError::io("read", &log))?;
        let harmed = index.harmed.contains(&id.index);
        let meta = core
            .fs
            .meta(&blob)
            .map_err(SpoolError::io("look at", &blob))?;
        // A writer may have gone on with a file that was renamed in.
        let renamed = harmed || matches!(add.origin, Origin::Renamed | Origin::Recovered);
        Ok(Entry {
            id,
            lane: name,
            path: match harmed {
                true => recovered_name(segment, id.index, &add.path),
                false => add.path,
            },
            size: if renamed { meta.size } else { add.size },
            mtime_ns: if renamed { meta.mtime_ns } else { add.mtime_ns },
            queued: Wall(add.queued_ns),
            attempts,
            last_error,
            standing,
            origin: add.origin,
            queued_size: add.size,
        })
    }
}

/// The segment that comes next after another one in that order, of those wanted.
fn next_of(
    lane: &Lane,
    order: Order,
    before: Option<u32>,
    wanted: impl Fn(&&Segment) -> bool,
) -> Option<u32> {
    let from = before.map_or(Bound::Unbounded, Bound::Excluded);
    let next = match order {
        Order::Oldest => (lane.segments.range((from, Bound::Unbounded)))
            .map(|(_, segment)| segment)
            .find(wanted),
        Order::Newest => (lane.segments.range((Bound::Unbounded, from)).rev())
            .map(|(_, segment)| segment)
            .find(wanted),
    };
    next.map(|segment| segment.no)
}
