//! The shelves of one archive: what is on them, and what has to go.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::sys::{Fs, Wall};

use super::super::open::make_dir;
use super::id_of;

/// Files on one shelf.
const SHELF_MAX: u64 = 1024;
/// Names that are read of one shelf; a person may have put more there.
const NAMES_MAX: usize = 4096;
/// Files that are removed in one go.
const REMOVE_MAX: usize = 256;
/// How long a shelf is the newest one, in seconds.
const SPAN_MIN_S: u64 = 60;
const SPAN_MAX_S: u64 = 86_400;
/// How a shelf's name shows when it was begun.
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
/// What stands there instead when that is not known.
const UNDATED: &str = "undated";

/// The shelves of one archive directory.
pub(super) struct Shelves {
    dir: PathBuf,
    max_size: Option<u64>,
    max_age_s: Option<u64>,
    /// `None` until the directory was read.
    shelves: Option<BTreeMap<u32, Shelf>>,
}

struct Shelf {
    name: OsString,
    /// Seconds since 1970.
    begun: Option<i64>,
    /// `None` until it was counted.
    held: Option<Held>,
}

#[derive(Clone, Copy, Default)]
struct Held {
    files: u64,
    bytes: u64,
}

impl Shelves {
    pub(super) fn new(dir: &Path) -> Shelves {
        Shelves {
            dir: dir.to_owned(),
            max_size: None,
            max_age_s: None,
            shelves: None,
        }
    }

    /// Sets the limits.
    pub(super) fn limit(&mut self, max_size: Option<u64>, max_age_s: Option<u64>) {
        self.max_size = max_size;
        self.max_age_s = max_age_s;
    }

    /// Forgets what is known: the directory was changed by others.
    pub(super) fn forget(&mut self) {
        self.shelves = None;
    }

    /// The shelf that takes the next file, made if need be.
    pub(super) fn newest(&mut self, fs: &dyn Fs, now: Option<Wall>) -> io::Result<PathBuf> {
        let span_s = self.span_s();
        let dir = self.dir.clone();
        let shelves = self.read(fs, true)?;
        let last = shelves.last_entry().and_then(|mut last| {
            let shelf = last.get_mut();
            let held = shelf.count(fs, &dir).ok()?;
            (held.files < SHELF_MAX && !shelf.is_over(now, span_s)).then(|| dir.join(&shelf.name))
        });
        if let Some(last) = last {
            return Ok(last);
        }
        let no = shelves
            .last_key_value()
            .map_or(0, |(&no, _)| no.saturating_add(1));
        let begun = now.map(Wall::secs);
        let name = OsString::from(name_of(no, begun));
        let path = dir.join(&name);
        make_dir(fs, &path)?;
        let held = Some(Held::default());
        shelves.insert(no, Shelf { name, begun, held });
        Ok(path)
    }

    /// A file was put on the newest shelf.
    pub(super) fn count_in(&mut self, bytes: u64) {
        let shelves = self.shelves.as_mut();
        let last = shelves.and_then(BTreeMap::last_entry);
        if let Some(held) = last.and_then(|last| last.into_mut().held.as_mut()) {
            held.files += 1;
            held.bytes = held.bytes.saturating_add(bytes);
        }
    }

    /// Removes the oldest files until `bytes` are free, of those that are
    /// there; whether any were.
    pub(super) fn make_room(&mut self, fs: &dyn Fs, bytes: u64) -> bool {
        let mut freed = 0;
        while freed < bytes.max(1) {
            match self.remove_oldest(fs, bytes.saturating_sub(freed).max(1)) {
                0 => break,
                removed => freed += removed,
            }
        }
        freed > 0
    }

    /// Counts one shelf, or removes some files that are over a limit. Answers
    /// whether there is more to do at once.
    pub(super) fn tidy(&mut self, fs: &dyn Fs, now: Option<Wall>) -> bool {
        if self.max_size.is_none() && self.max_age_s.is_none() {
            return false;
        }
        let dir = self.dir.clone();
        let Ok(shelves) = self.read(fs, false) else {
            return false;
        };
        if let Some(shelf) = shelves.values_mut().find(|shelf| shelf.held.is_none()) {
            return match shelf.count(fs, &dir) {
                Ok(_) => true,
                Err(e) => {
                    log::warn!("cannot read the archive {}: {e}", dir.display());
                    self.forget();
                    false
                }
            };
        }
        let over = self.bytes_over();
        if over > 0 {
            return self.remove_oldest(fs, over) > 0 && self.bytes_over() > 0;
        }
        self.is_oldest_too_old(now) && self.remove_oldest(fs, u64::MAX) > 0
    }

    fn bytes_over(&self) -> u64 {
        let shelves = self.shelves.iter().flat_map(BTreeMap::values);
        let held: u64 = shelves.filter_map(|s| s.held).map(|held| held.bytes).sum();
        self.max_size.map_or(0, |max| held.saturating_sub(max))
    }

    /// Whether all that the oldest shelf holds is too old. Nothing came to it
    /// after its span, nor after the next one was begun.
    fn is_oldest_too_old(&self, now: Option<Wall>) -> bool {
        let (Some(now), Some(max_age_s)) = (now, self.max_age_s) else {
            return false;
        };
        let Some(shelves) = &self.shelves else {
            return false;
        };
        let mut dates = shelves.values().map(|shelf| shelf.begun);
        let span_s = i64::try_from(self.span_s()).unwrap_or(i64::MAX);
        let own = dates.next().flatten();
        let ended = match own {
            Some(begun) => Some(begun.saturating_add(span_s)),
            None => dates.flatten().next(),
        };
        let age_s = ended.map(|ended| now.secs().saturating_sub(ended));
        age_s.is_some_and(|age_s| u64::try_from(age_s).is_ok_and(|age_s| age_s > max_age_s))
    }

    /// Removes the oldest files, some hundreds or `bytes` at most; gives the
    /// bytes (a file without any counts as one).
    fn remove_oldest(&mut self, fs: &dyn Fs, bytes: u64) -> u64 {
        let dir = self.dir.clone();
        let Some(shelves) = self.shelves.as_mut() else {
            return 0;
        };
        let is_last = shelves.len() == 1;
        let Some(mut oldest) = shelves.first_entry() else {
            return 0;
        };
        let path = dir.join(&oldest.get().name);
        let removed = remove_files(fs, &path, bytes).unwrap_or_else(|e| {
            log::warn!("cannot remove from the archive {}: {e}", path.display());
            Held::default()
        });
        if let Some(held) = oldest.get_mut().held.as_mut() {
            held.files = held.files.saturating_sub(removed.files);
            held.bytes = held.bytes.saturating_sub(removed.bytes);
        }
        let empty = removed.files == 0 || oldest.get().held.is_some_and(|held| held.files == 0);
        if empty && !is_last {
            // What is left on it was put there by somebody else.
            let _stays_with_strangers = fs.remove_dir(&path);
            oldest.remove();
            return removed.bytes.max(1);
        }
        removed.bytes.max(removed.files)
    }

    fn span_s(&self) -> u64 {
        let eighth = self.max_age_s.map_or(SPAN_MAX_S, |age_s| age_s / 8);
        eighth.clamp(SPAN_MIN_S, SPAN_MAX_S)
    }

    fn read(&mut self, fs: &dyn Fs, make: bool) -> io::Result<&mut BTreeMap<u32, Shelf>> {
        let shelves = match self.shelves.take() {
            Some(shelves) => shelves,
            None => read_shelves(fs, &self.dir, make)?,
        };
        Ok(self.shelves.insert(shelves))
    }
}

impl Shelf {
    /// Whether something newer belongs on another shelf.
    fn is_over(&self, now: Option<Wall>, span_s: u64) -> bool {
        match (now, self.begun) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(now), Some(begun)) => {
                u64::try_from(now.secs().saturating_sub(begun)).is_ok_and(|age_s| age_s > span_s)
            }
        }
    }

    fn count(&mut self, fs: &dyn Fs, dir: &Path) -> io::Result<Held> {
        if let Some(held) = self.held {
            return Ok(held);
        }
        let path = dir.join(&self.name);
        let mut held = Held::default();
        fs.read_dir(&path, &mut |entry| {
            if id_of(&entry.name).is_some()
                && let Ok(meta) = fs.meta(&path.join(&entry.name))
            {
                held.files += 1;
                held.bytes = held.bytes.saturating_add(meta.size);
            }
            true
        })?;
        self.held = Some(held);
        Ok(held)
    }
}

fn read_shelves(fs: &dyn Fs, dir: &Path, make: bool) -> io::Result<BTreeMap<u32, Shelf>> {
    let mut shelves = BTreeMap::new();
    let read = fs.read_dir(dir, &mut |entry| {
        if let Some((no, begun)) = entry.name.to_str().and_then(parse_name) {
            let (name, held) = (entry.name, None);
            shelves.insert(no, Shelf { name, begun, held });
        }
        true
    });
    match read {
        Err(e) if e.kind() == io::ErrorKind::NotFound && make => make_dir(fs, dir)?,
        read => read?,
    }
    Ok(shelves)
}

/// Removes archived files of one shelf, oldest first.
fn remove_files(fs: &dyn Fs, shelf: &Path, bytes: u64) -> io::Result<Held> {
    let mut names = Vec::new();
    fs.read_dir(shelf, &mut |entry| {
        if let Some(id) = id_of(&entry.name) {
            names.push((id, entry.name));
        }
        names.len() < NAMES_MAX
    })?;
    names.sort();
    let mut removed = Held::default();
    for (_, name) in names.into_iter().take(REMOVE_MAX) {
        let path = shelf.join(name);
        let size = fs.meta(&path).map_or(0, |meta| meta.size);
        fs.unlink(&path)?;
        removed.files += 1;
        removed.bytes += size;
        if removed.bytes >= bytes {
            break;
        }
    }
    Ok(removed)
}

fn name_of(no: u32, begun: Option<i64>) -> String {
    let time = begun.and_then(|secs| Timestamp::from_second(secs).ok());
    match time {
        Some(time) => format!("{no:08}-{}", time.strftime(TIME_FORMAT)),
        None => format!("{no:08}-{UNDATED}"),
    }
}

fn parse_name(name: &str) -> Option<(u32, Option<i64>)> {
    let (no, time) = name.split_once('-')?;
    let no = no.parse().ok().filter(|_| no.len() >= 8)?;
    if time == UNDATED {
        return Some((no, None));
    }
    let time = jiff::civil::DateTime::strptime(TIME_FORMAT, time).ok()?;
    let time = TimeZone::UTC.to_timestamp(time).ok()?;
    Some((no, Some(time.as_second())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_shelf_tells_its_number_and_its_beginning() {
        for (no, begun) in [(0, None), (7, Some(1_790_000_000)), (123_456_789, Some(0))] {
            assert_eq!(parse_name(&name_of(no, begun)), Some((no, begun)));
        }
        for other in ["", "photos", "2026-holiday", "00000001", "00000001-x"] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
