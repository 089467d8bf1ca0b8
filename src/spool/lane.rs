//! A lane: the chain of segments of one watch.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::Fs;

use super::core::Core;
use super::error::SpoolError;
use super::log::{WriteError, sync_dir};
use super::seen::Seen;
use super::segment::{Segment, Tally};

/// The longest name of a lane.
const NAME_MAX: usize = 64;

/// One watch's own queue.
pub(super) struct Lane {
    pub(super) no: u16,
    pub(super) dir: PathBuf,
    pub(super) segments: BTreeMap<u32, Segment>,
    pub(super) paused: bool,
    pub(super) seen: Option<Seen>,
}

impl Lane {
    /// Makes a new lane, durably.
    pub(super) fn create(
        core: &mut Core,
        lanes: &Path,
        no: u16,
        name: &str,
    ) -> Result<Lane, SpoolError> {
        let dir = lanes.join(dir_name(no, name));
        let made = make_dir(&*core.fs, &dir).and_then(|()| sync_dir(&*core.fs, lanes));
        core.written(made, "make a lane in", lanes)?;
        let mut lane = Lane::empty(no, &dir);
        lane.begin_segment(core, 0)?;
        Ok(lane)
    }

    fn empty(no: u16, dir: &Path) -> Lane {
        Lane {
            no,
            dir: dir.to_owned(),
            segments: BTreeMap::new(),
            paused: false,
            seen: None,
        }
    }

    /// Opens a lane: the last segment is read, of the others only the ends.
    pub(super) fn open(core: &mut Core, no: u16, dir: &Path) -> Result<Lane, SpoolError> {
        let io = |what| SpoolError::io(what, dir);
        let mut lane = Lane::empty(no, dir);
        let numbers = lane.numbers(&*core.fs).map_err(io("read the lane"))?;
        let last = numbers.last().copied();
        for number in numbers {
            let mut segment = Segment::unread(dir, number);
            let peeked = Some(number) != last && segment.peek(&*core.fs).unwrap_or(false);
            let receipts = core
                .left
                .keys()
                .any(|id| id.lane == no && id.segment == number);
            if !peeked || (receipts && segment.waiting.files + segment.dead.files > 0) {
                match core.load(no, &mut segment).map(drop) {
                    Err(error) if core.is_gone(&error) => continue,
                    loaded => loaded?,
                }
            }
            segment.sealed |= Some(number) != last;
            if Some(number) != last && segment.index.as_ref().is_none_or(|i| !i.owes()) {
                segment.index = None;
            }
            lane.segments.insert(number, segment);
        }
        if core.writable {
            lane.delete_finished(core);
        }
        Ok(lane)
    }

    /// The numbers of the segments, after the traces of deletions that a crash
    /// cut short are removed.
    fn numbers(&mut self, fs: &dyn Fs) -> io::Result<BTreeSet<u32>> {
        let (mut logs, mut others) = (BTreeSet::new(), BTreeSet::new());
        let mut paused = false;
        fs.read_dir(&self.dir, &mut |entry| {
            let name = entry.name.to_str().unwrap_or_default();
            let number = name.get(..8).and_then(|n| u32::from_str_radix(n, 16).ok());
            match (number, name.get(8..)) {
                (Some(no), Some(".log")) => drop(logs.insert(no)),
                (Some(no), Some(".chg" | "")) => drop(others.insert(no)),
                _ => paused |= name == PAUSED,
            }
            true
        })?;
        self.paused = paused;
        for no in others {
            if logs.contains(&no) {
                continue;
            }
            let segment = Segment::unread(&self.dir, no);
            let mut blobs = false;
            match fs.read_dir(&segment.blob_dir(), &mut |_| {
                blobs = true;
                false
            }) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            if blobs {
                // A log that is lost altogether: its blobs are recovered.
                logs.insert(no);
            }
        }
        Ok(logs)
    }

    fn begin_segment(&mut self, core: &mut Core, no: u32) -> Result<(), SpoolError> {
        let made = Segment::create(&*core.fs, &self.dir, no);
        let segment = core.written(made, "begin a segment in", &self.dir)?;
        core.loaded.insert((self.no, no));
        self.segments.insert(no, segment);
        Ok(())
    }

    /// The last segment, with room for `more` entries.
    pub(super) fn tail(
        &mut self,
        core: &mut Core,
        more: usize,
    ) -> Result<&mut Segment, SpoolError> {
        let last = self.segments.last_entry();
        let Some(mut last) = last else {
            self.begin_segment(core, 0)?;
            return self.current(core);
        };
        let (no, last) = (*last.key(), last.get_mut());
        if last.is_full(more) {
            core.load(self.no, last)?;
            if let Some(seen) = &mut self.seen {
                // Until now the records of the entries stood for them.
                let synced = seen.sync();
                core.written(synced, "write the seen files of", &self.dir)?;
            }
            let sealed = last.seal();
            core.written(sealed, "seal", &last.log_path())?;
            self.begin_segment(core, no + 1)?;
            self.delete_finished(core);
        }
        self.current(core)
    }

    /// The last segment, as it is.
    pub(super) fn current(&mut self, core: &mut Core) -> Result<&mut Segment, SpoolError> {
        let no = self.tail_no();
        let last = self.segments.get_mut(&no).ok_or(SpoolError::ReadOnly)?;
        core.load(self.no, last)?;
        Ok(last)
    }

    pub(super) fn tail_no(&self) -> u32 {
        self.segments.last_key_value().map_or(0, |(&no, _)| no)
    }

    /// Deletes finished segments whole. What cannot be deleted now is tried
    /// again later: for the entries it makes no difference.
    pub(super) fn delete_finished(&mut self, core: &mut Core) {
        let last = self.tail_no();
        let finished = |s: &&Segment| s.is_finished() && s.no != last;
        let finished: Vec<u32> = self
            .segments
            .values()
            .filter(finished)
            .map(|s| s.no)
            .collect();
        if finished.is_empty() || core.check_writable().is_err() {
            return;
        }
        let damaged = core.dir.join("damaged");
        let mut deleted = core.outbox.sync();
        for no in finished {
            if deleted.is_ok()
                && let Some(segment) = self.segments.get(&no)
            {
                deleted = segment.delete(&*core.fs, &damaged);
                if deleted.is_ok() {
                    self.segments.remove(&no);
                }
            }
        }
        if let Err(error) = core.written(deleted, "delete a finished segment of", &self.dir) {
            log::warn!("{error}: {}", error.cause());
        }
    }

    pub(super) fn waiting(&self) -> Tally {
        self.segments
            .values()
            .fold(Tally::default(), |sum, s| sum.plus(s.waiting))
    }

    pub(super) fn dead(&self) -> Tally {
        self.segments
            .values()
            .fold(Tally::default(), |sum, s| sum.plus(s.dead))
    }

    /// When the oldest segment with waiting entries got its first one.
    pub(super) fn oldest_ns(&self) -> Option<i64> {
        let waiting = |s: &&Segment| s.waiting.files > 0;
        self.segments.values().find(waiting).map(|s| s.oldest_ns)
    }
}

/// Makes a directory, unless an attempt before this one came so far.
fn make_dir(fs: &dyn Fs, dir: &Path) -> Result<(), WriteError> {
    match fs.create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e.into()),
        _ => Ok(()),
    }
}

/// The file that pauses a lane by being there.
pub(super) const PAUSED: &str = "paused";

/// The directory of a lane: its number, and its name with all bytes but
/// letters, digits, `_` and `-` written as `%XX`.
pub(super) fn dir_name(no: u16, name: &str) -> String {
    let mut dir = format!("{no:04x}-");
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"_-".contains(&byte) {
            dir.push(char::from(byte));
        } else {
            dir.push_str(&format!("%{byte:02X}"));
        }
    }
    dir
}

/// The number and name of the lane in a directory.
pub(super) fn name_of(dir: &str) -> Option<(u16, String)> {
    let (no, escaped) = dir.split_once('-')?;
    let no = u16::from_str_radix(no, 16).ok()?;
    let name = percent_encoding::percent_decode_str(escaped)
        .decode_utf8()
        .ok()?;
    is_name(&name).then(|| (no, name.into_owned()))
}

pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_found_again_under_its_name() {
        for name in ["camera", "a/b", "..", "Küche 1", "x%41"] {
            let dir = dir_name(7, name);
            assert!(!dir.contains(['/', '.']), "{dir}");
            assert_eq!(name_of(&dir), Some((7, name.to_owned())));
        }
    }
}
