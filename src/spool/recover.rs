//! How a segment is read back after whatever happened to it.
//!
//! The logs say what was meant, the blob directory says what was done, and for
//! each index [`decide`] weighs the two:
//!
//! | record | blob | batch finished | receipt | verdict |
//! | --- | --- | --- | --- | --- |
//! | waiting, dead | any | any | yes | settle: the crash came between receipt and settling |
//! | waiting, dead | there | any | no | keep; in the last batch, one that was written to since goes back to its source |
//! | waiting, dead | missing | yes | no | lost: the entry is dropped, and said so |
//! | waiting | missing | no | no | void: the intent never finished; the source is where it was |
//! | gone | there | any | any | let the blob go: its going was not durable |
//! | absent, void | there | any | any | recover: the blob is delivered under `recovered/` |
//! | absent | missing | any | yes | settle: no other entry may get this name, and with it the receipt |
//! | absent | missing | any | no | nothing |
//! | void, gone | missing | any | any | nothing |

use std::io;
use std::path::Path;

use crate::sys::{File, Fs, Meta};

use super::error::is_full;
use super::finding::Finding;
use super::frame::{self, Piece, Scan};
use super::log::{Log, WriteError, sync_dir};
use super::record::{Add, Change, Origin, Record};
use super::segment::{ENTRIES_MAX, Index, Segment, State};
use super::unfinished::{is_given_back, remove_sources};

/// Where files go whose names are not certain.
const RECOVERED: &str = "recovered/";
/// The longest name of a file.
const NAME_MAX: usize = 255;

/// What recovery needs to know and to tell.
pub(super) struct Recovering<'a> {
    pub(super) fs: &'a dyn Fs,
    pub(super) writable: bool,
    pub(super) now_ns: i64,
    /// Whether a receipt exists for an index of a segment of this lane.
    pub(super) has_receipt: &'a dyn Fn(u32, u16) -> bool,
    /// The index below which all receipts of a segment of this lane are.
    pub(super) receipts_end: &'a dyn Fn(u32) -> u16,
    /// Removes or archives the blob of an index, whose path is given.
    pub(super) let_go: &'a LetGo<'a>,
    pub(super) finding: &'a mut dyn FnMut(Finding),
}

/// Lets go of a blob: segment, index, where it is, and the entry's path.
pub(super) type LetGo<'a> = dyn Fn(u32, u16, &Path, &[u8]) -> io::Result<()> + 'a;

/// What is to be done about one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Nothing,
    Keep,
    Settle,
    Lost,
    Void,
    LetGo,
    Recover,
    /// No verdict of [`decide`]: the file has its name at its source again.
    Returned,
}

/// The table at the head of this file.
pub(super) fn decide(state: State, blob: bool, finished: bool, receipt: bool) -> Verdict {
    match (state, blob) {
        (State::Waiting | State::Dead, _) if receipt => Verdict::Settle,
        (State::Waiting | State::Dead, true) => Verdict::Keep,
        (State::Dead, false) => Verdict::Lost,
        (State::Waiting, false) if finished => Verdict::Lost,
        (State::Waiting, false) => Verdict::Void,
        (State::Gone, true) => Verdict::LetGo,
        (State::Absent | State::Void, true) => Verdict::Recover,
        (State::Absent, false) if receipt => Verdict::Settle,
        (State::Absent | State::Void | State::Gone, false) => Verdict::Nothing,
    }
}

/// Reads a segment's index and sets right what is wrong.
pub(super) fn load(segment: &mut Segment, r: &mut Recovering<'_>) -> Result<Index, WriteError> {
    if r.writable {
        match r.fs.create_dir(&segment.blob_dir()) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e.into()),
            _ => {}
        }
    }
    let changes = match Log::open(r.fs, &segment.changes_path(), r.writable) {
        // Looking only, at a segment whose creation was cut short.
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Log::open(r.fs, &segment.log_path(), false).map(|mut log| {
                log.believe(0);
                log
            })?
        }
        opened => opened?,
    };
    let mut index = Index {
        log: Log::open(r.fs, &segment.log_path(), r.writable)?,
        changes,
        slots: Vec::new(),
        notes: Default::default(),
        recovered: Default::default(),
        harmed: Default::default(),
        unmarked: 0,
    };
    let done = read_log(segment, &mut index, r)?;
    read_changes(segment, &mut index, r)?;
    let blobs = read_blobs(segment, r)?;
    reconcile(segment, &mut index, r, &blobs, done)?;
    Ok(index)
}

/// Reads the log; gives the index below which all batches were finished.
fn read_log(
    segment: &mut Segment,
    index: &mut Index,
    r: &mut Recovering<'_>,
) -> Result<u16, WriteError> {
    let mut done = 0;
    let mut cut = None;
    let mut scan = Scan::new(index.log.file());
    let mut seen = Vec::new();
    while let Some(piece) = scan.next::<Record>()? {
        match piece {
            Piece::Record(_, Record::Batch { done: to }) => done = done.max(to),
            Piece::Record(at, Record::Add(add)) => seen.push((add.index, State::Waiting, Some(at))),
            Piece::Record(_, Record::Void { index }) => seen.push((index, State::Void, None)),
            Piece::Record(_, Record::Seal(_)) => {
                segment.sealed = true;
                done = u16::MAX;
            }
            Piece::Damaged { from, to } => {
                let path = segment.log_path();
                damage(segment, r, &path, from, to);
            }
            Piece::Torn { from, to } => cut = Some((from, to)),
        }
    }
    for (at, state, offset) in seen.into_iter().filter(|s| s.0 < ENTRIES_MAX) {
        // The first record of an index counts; there never is a second one.
        if state == State::Void || index.state(at) == State::Absent {
            index.set(at, state, offset);
        }
    }
    if let Some((from, to)) = cut {
        torn(&segment.log_path(), &mut index.log, r, from, to)?;
    }
    Ok(done)
}

fn read_changes(
    segment: &mut Segment,
    index: &mut Index,
    r: &mut Recovering<'_>,
) -> Result<(), WriteError> {
    let mut cut = None;
    let mut changes = Vec::new();
    if index.changes.len() > 0 {
        let mut scan = Scan::new(index.changes.file());
        while let Some(piece) = scan.next::<Change>()? {
            match piece {
                Piece::Record(at, change) => changes.push((at, brief(&change))),
                Piece::Damaged { from, to } => {
                    let path = segment.changes_path();
                    damage(segment, r, &path, from, to);
                }
                Piece::Torn { from, to } => cut = Some((from, to)),
            }
        }
    }
    for (at, (slot, state)) in changes {
        let note = u32::try_from(at).unwrap_or(u32::MAX);
        match state {
            Brief::State(state) => index.set(slot, state, None),
            Brief::Note => drop(index.notes.insert(slot, note)),
            // Its record is lost; if its blob is there, it is recovered.
            Brief::Dead | Brief::Retry if index.state(slot) == State::Absent => {}
            Brief::Dead => {
                index.set(slot, State::Dead, None);
                index.notes.insert(slot, note);
            }
            Brief::Retry => {
                index.set(slot, State::Waiting, None);
                index.notes.remove(&slot);
            }
            Brief::Recovered => {
                index.set(slot, State::Waiting, None);
                index.recovered.insert(slot, note);
            }
        }
    }
    match cut {
        Some((from, to)) => torn(&segment.changes_path(), &mut index.changes, r, from, to),
        None => Ok(()),
    }
}

/// A change without its texts.
enum Brief {
    State(State),
    Note,
    Dead,
    Retry,
    Recovered,
}

fn brief(change: &Change) -> (u16, Brief) {
    let (index, brief) = match change {
        Change::Settled { index, .. } => (*index, Brief::State(State::Gone)),
        Change::Failed { index, .. } => (*index, Brief::Note),
        Change::Dead { index, .. } => (*index, Brief::Dead),
        Change::Retry { index, .. } => (*index, Brief::Retry),
        Change::Recovered(add) => (add.index, Brief::Recovered),
    };
    (index.min(ENTRIES_MAX), brief)
}

/// Takes off a sealed segment's tallies what its change log says. `false`
/// when the log is not whole and must be looked at closely.
pub(super) fn tally_changes(segment: &mut Segment, changes: &dyn File) -> io::Result<bool> {
    let mut scan = Scan::new(changes);
    let mut dead = std::collections::BTreeSet::new();
    while let Some(piece) = scan.next::<Change>()? {
        let Piece::Record(_, change) = piece else {
            return Ok(false);
        };
        match change {
            Change::Settled { index, size } if dead.remove(&index) => segment.dead.take(size),
            Change::Settled { size, .. } => segment.waiting.take(size),
            Change::Failed { .. } => {}
            Change::Dead { index, size, .. } => {
                if dead.insert(index) {
                    segment.waiting.take(size);
                    segment.dead.add(size);
                }
            }
            Change::Retry { index, size } => {
                if dead.remove(&index) {
                    segment.dead.take(size);
                    segment.waiting.add(size);
                }
            }
            Change::Recovered(add) => {
                if dead.remove(&add.index) {
                    segment.dead.take(add.size);
                }
                segment.waiting.add(add.size);
            }
        }
    }
    Ok(true)
}

/// Which indices have a blob. What was being copied in when the power went is
/// removed: its source is still there.
fn read_blobs(segment: &Segment, r: &mut Recovering<'_>) -> io::Result<Vec<bool>> {
    let mut blobs = Vec::new();
    let mut parts = Vec::new();
    let dir = segment.blob_dir();
    let read = r.fs.read_dir(&dir, &mut |entry| {
        let name = entry.name.to_str().unwrap_or_default();
        if name.ends_with(".part") {
            parts.push(entry.name);
        } else if let Ok(index) = u16::from_str_radix(name, 16)
            && index < ENTRIES_MAX
        {
            let at = usize::from(index);
            blobs.resize(blobs.len().max(at + 1), false);
            if let Some(blob) = blobs.get_mut(at) {
                *blob = true;
            }
        }
        parts.len() <= usize::from(ENTRIES_MAX)
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !r.writable => {}
        read => read?,
    }
    for part in parts.iter().filter(|_| r.writable) {
        if let Err(e) = r.fs.unlink(&dir.join(part)) {
            log::warn!("cannot remove {}: {e}", dir.join(part).display());
        }
    }
    Ok(blobs)
}

fn reconcile(
    segment: &mut Segment,
    index: &mut Index,
    r: &mut Recovering<'_>,
    blobs: &[bool],
    done: u16,
) -> Result<(), WriteError> {
    segment.waiting = Default::default();
    segment.dead = Default::default();
    segment.oldest_ns = i64::MAX;
    let last = u16::try_from(index.slots.len().max(blobs.len())).unwrap_or(ENTRIES_MAX);
    let last = last.max((r.receipts_end)(segment.no)).min(ENTRIES_MAX);
    let mut mending = Mending::default();
    for at in 0..last {
        let blob = blobs.get(usize::from(at)).copied().unwrap_or(false);
        let receipt = (r.has_receipt)(segment.no, at);
        let mut verdict = decide(index.state(at), blob, at < done, receipt);
        if verdict == Verdict::Keep && at >= done && is_given_back(segment, index, r, at)? {
            verdict = Verdict::Returned;
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::Keep => {
                mending.unfinished |= at >= done;
                let add = keep(segment, index, r, at)?;
                if at >= done && add.origin == Origin::Moved {
                    mending.copied.push(add);
                }
            }
            Verdict::Lost => {
                let path = index.add_of(at).map(|add| shown_path(&add));
                let path = path.unwrap_or_default();
                (r.finding)(Finding::Lost { path });
                mending.settle(index, at)?;
            }
            Verdict::Settle => {
                if blob {
                    mending.let_go.push(at);
                }
                mending.settle(index, at)?;
            }
            Verdict::Void | Verdict::Returned => {
                let path = shown_path(&index.add_of(at)?);
                (r.finding)(match verdict {
                    Verdict::Returned => Finding::Returned { path },
                    _ => Finding::NotTaken { path },
                });
                index.set(at, State::Void, None);
                frame::encode(&Record::Void { index: at }, &mut mending.voids)?;
            }
            Verdict::LetGo => mending.let_go.push(at),
            Verdict::Recover => {
                let add = recovered(segment, r, at)?;
                mending.recover(segment, index, add)?;
            }
        }
    }
    match r.writable {
        true => mending.write_back(segment, index, r),
        false => Ok(()),
    }
}

/// What is to be set right on the disk.
#[derive(Default)]
struct Mending {
    changes: Vec<u8>,
    voids: Vec<u8>,
    let_go: Vec<u16>,
    recovers: bool,
    settled: usize,
    unfinished: bool,
    /// Copies whose sources may still have to go.
    copied: Vec<Add>,
}

impl Mending {
    fn settle(&mut self, index: &mut Index, at: u16) -> io::Result<()> {
        let size = index.add_of(at).map_or(0, |add| add.size);
        index.set(at, State::Gone, None);
        self.settled += 1;
        frame::encode(&Change::Settled { index: at, size }, &mut self.changes)
    }

    fn recover(&mut self, segment: &mut Segment, index: &mut Index, add: Add) -> io::Result<()> {
        let offset = index.changes.len() + self.changes.len() as u64;
        segment.waiting.add(add.size);
        segment.oldest_ns = segment.oldest_ns.min(add.queued_ns);
        index.set(add.index, State::Waiting, None);
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        index.recovered.insert(add.index, offset);
        self.recovers = true;
        frame::encode(&Change::Recovered(add), &mut self.changes)
    }

    fn write_back(
        self,
        segment: &Segment,
        index: &mut Index,
        r: &Recovering<'_>,
    ) -> Result<(), WriteError> {
        if self.unfinished {
            sync_dir(r.fs, &segment.blob_dir())?;
        }
        // Not before their copies stand in their places for good.
        remove_sources(r.fs, &self.copied);
        if !self.changes.is_empty() {
            match index.changes.append(&self.changes) {
                // They follow from what is on the disk, and wait for room.
                Err(WriteError::Undone(e)) if is_full(&e) && !self.recovers => {
                    index.changes.owe(&self.changes);
                    index.unmarked = self.settled;
                }
                appended => {
                    appended?;
                    index.changes.sync()?;
                }
            }
        }
        // They must only be there before the next batch record.
        if !segment.sealed {
            index.log.owe(&self.voids);
        }
        for at in self.let_go {
            let blob = segment.blob_path(at);
            let path = index.add_of(at).map_or_else(|_| Vec::new(), |add| add.path);
            if let Err(e) = (r.let_go)(segment.no, at, &blob, &path) {
                log::warn!("cannot remove {}: {e}", blob.display());
            }
        }
        Ok(())
    }
}

/// Counts an entry that is there, and looks whether its blob is what was taken.
fn keep(
    segment: &mut Segment,
    index: &mut Index,
    r: &mut Recovering<'_>,
    at: u16,
) -> io::Result<Add> {
    let add = index.add_of(at)?;
    match index.state(at) {
        State::Dead => segment.dead.add(add.size),
        _ => segment.waiting.add(add.size),
    }
    segment.oldest_ns = segment.oldest_ns.min(add.queued_ns);
    let blob = r.fs.meta(&segment.blob_path(at))?;
    if is_harmed(&add, &blob) {
        let (path, found) = (shown_path(&add), blob.size);
        let name = recovered_name(segment, at, &add.path);
        let given = String::from_utf8_lossy(&name).into_owned();
        (r.finding)(Finding::Harmed {
            path,
            size: add.size,
            found,
            given,
        });
        index.harmed.insert(at);
    } else if is_changed(&add, &blob) {
        let path = shown_path(&add);
        (r.finding)(Finding::Changed { path });
    }
    Ok(add)
}

/// Whether a blob cannot be what was taken: a copy of another size, or a file
/// that was renamed in and is shorter, or another size and older. A writer that
/// goes on with a file makes it longer and newer.
fn is_harmed(add: &Add, blob: &Meta) -> bool {
    match add.origin {
        Origin::Copied | Origin::Moved => blob.size != add.size,
        Origin::Renamed => {
            blob.size < add.size || (blob.size != add.size && blob.mtime_ns < add.mtime_ns)
        }
        Origin::Recovered => false,
    }
}

/// Whether a file that was renamed in is not quite what was taken.
fn is_changed(add: &Add, blob: &Meta) -> bool {
    add.origin == Origin::Renamed && (blob.size, blob.mtime_ns) != (add.size, add.mtime_ns)
}

/// The path of a blob that is not what its record says, so that it takes
/// nobody's place on the server.
pub(super) fn recovered_name(segment: &Segment, at: u16, path: &[u8]) -> Vec<u8> {
    let mut name = recovered_prefix(segment, at).into_bytes();
    name.push(b'-');
    name.extend(path.rsplit(|&b| b == b'/').next().unwrap_or_default());
    name.truncate(NAME_MAX + RECOVERED.len());
    name
}

fn recovered_prefix(segment: &Segment, at: u16) -> String {
    let lane = segment.lane_dir.file_name().unwrap_or_default();
    format!("{RECOVERED}{}-{:08x}-{at:04x}", lane.display(), segment.no)
}

fn recovered(segment: &Segment, r: &mut Recovering<'_>, at: u16) -> io::Result<Add> {
    let meta = r.fs.meta(&segment.blob_path(at))?;
    let path = recovered_prefix(segment, at);
    (r.finding)(Finding::Recovered { path: path.clone() });
    Ok(Add {
        index: at,
        path: path.into_bytes(),
        size: meta.size,
        mtime_ns: meta.mtime_ns,
        queued_ns: r.now_ns,
        origin: Origin::Recovered,
        source: Vec::new(),
    })
}

fn damage(segment: &mut Segment, r: &mut Recovering<'_>, log: &Path, from: u64, to: u64) {
    segment.damaged = true;
    (r.finding)(Finding::Damaged {
        log: log.display().to_string(),
        offset: from,
        bytes: to - from,
    });
}

fn torn(
    path: &Path,
    log: &mut Log,
    r: &mut Recovering<'_>,
    from: u64,
    to: u64,
) -> Result<(), WriteError> {
    (r.finding)(Finding::TornEnd {
        log: path.display().to_string(),
        bytes: to - from,
    });
    if r.writable {
        log.cut(from)
    } else {
        log.believe(from);
        Ok(())
    }
}

fn shown_path(add: &Add) -> String {
    String::from_utf8_lossy(&add.path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_one_verdict_and_no_blob_that_is_needed_is_removed() {
        for state in [
            State::Absent,
            State::Waiting,
            State::Dead,
            State::Gone,
            State::Void,
        ] {
            for bits in 0..8u8 {
                let (blob, finished, receipt) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
                let verdict = decide(state, blob, finished, receipt);
                let live = matches!(state, State::Waiting | State::Dead);
                let lost = state == State::Absent && !blob;
                assert_eq!(verdict == Verdict::Settle, (live || lost) && receipt);
                assert_eq!(verdict == Verdict::Keep, live && blob && !receipt);
                assert_eq!(verdict == Verdict::LetGo, state == State::Gone && blob);
                assert_eq!(
                    verdict == Verdict::Recover,
                    blob && matches!(state, State::Absent | State::Void)
                );
            }
        }
    }
}
