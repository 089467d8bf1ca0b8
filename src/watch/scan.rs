//! Goes through a directory tree in small steps, depth first, and through each
//! directory in the order of its names, which for most devices is the order of
//! making: a disk gives names in no order, and times may be wrong. A directory of
//! more names than are kept at once is gone through in stretches, each in order.
//! Blocks: it runs on the pool.

use std::collections::VecDeque;
use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::sys::{Dir, DirEntry, Kind};

use super::find::{Finder, shown};
use super::rules::join;

/// Directories below the watched one, at most; each level is an open descriptor.
const DEPTH_MAX: usize = 32;

/// Names in one step, so that a step is short also where nothing is taken.
const STEP_NAMES: usize = 1024;

/// Names that are kept of the watched directory at most; half as many on each
/// level below, but some on every one.
const NAMES_MAX: usize = 2048;
const NAMES_MIN: usize = 32;

/// A scan under way. Its memory is one open directory and some names per level.
pub(super) struct Scan {
    open: Vec<Level>,
    /// Of the whole tree.
    whole: bool,
    begun: bool,
}

/// Where a step left the scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The whole tree was seen.
    End,
    /// There is more to see.
    More,
    /// Too many files are waiting to be finished; go on when some are done with.
    Held,
}

impl Scan {
    /// A scan of a directory (the empty path: the watched one) and those below.
    pub(super) fn start(finder: &Finder, dir: Vec<u8>) -> io::Result<Scan> {
        let opened = finder.fs().open_dir(&finder.place(&dir))?;
        Ok(Scan {
            whole: dir.is_empty(),
            open: vec![Level::new(dir, opened)],
            begun: false,
        })
    }

    /// Goes on until the batch or the step is full.
    pub(super) fn step(&mut self, finder: &mut Finder) -> Step {
        if self.whole && !std::mem::replace(&mut self.begun, true) {
            finder.begin_scan();
        }
        for _ in 0..STEP_NAMES {
            if finder.is_full() {
                return Step::More;
            }
            if finder.settling.is_full() {
                return Step::Held;
            }
            let names_max = (NAMES_MAX >> self.open.len().saturating_sub(1)).max(NAMES_MIN);
            let Some(level) = self.open.last_mut() else {
                if self.whole {
                    finder.end_scan();
                }
                return Step::End;
            };
            match level.next_entry(names_max) {
                Ok(Some(entry)) => {
                    let path = join(&level.dir, entry.name.as_bytes());
                    self.handle_entry(finder, path, &entry);
                }
                Ok(None) => {
                    self.open.pop();
                }
                Err(e) => {
                    let dir = shown(&level.dir);
                    log::warn!("watch {:?}: reading {dir}: {e}", finder.watch());
                    finder.unseen = true;
                    self.open.pop();
                }
            }
        }
        Step::More
    }

    fn handle_entry(&mut self, finder: &mut Finder, path: Vec<u8>, entry: &DirEntry) {
        let kind = entry.kind.or_else(|| {
            let meta = finder.fs().meta(&finder.place(&path));
            finder.unseen |= meta
                .as_ref()
                .is_err_and(|e| e.kind() != io::ErrorKind::NotFound);
            meta.ok().map(|meta| meta.kind)
        });
        match kind {
            Some(Kind::File) if !finder.refuses(&path, Kind::File) => finder.look_scanned(&path),
            Some(Kind::Dir) if finder.enters(&path) => self.enter(finder, path),
            _ => {}
        }
    }

    fn enter(&mut self, finder: &mut Finder, dir: Vec<u8>) {
        if self.open.len() > DEPTH_MAX {
            finder.unseen = true;
            log::warn!(
                "watch {:?}: {} is deeper than {DEPTH_MAX} directories; it is not looked into",
                finder.watch(),
                shown(&dir)
            );
            return;
        }
        match finder.fs().open_dir(&finder.place(&dir)) {
            Ok(opened) => self.open.push(Level::new(dir, opened)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                finder.unseen = true;
                log::warn!("watch {:?}: reading {}: {e}", finder.watch(), shown(&dir));
            }
        }
    }
}

/// A directory that is being gone through.
struct Level {
    dir: Vec<u8>,
    opened: Box<dyn Dir>,
    /// The next ones, in order.
    names: VecDeque<DirEntry>,
    /// How reading ended.
    end: Option<io::Result<()>>,
}

impl Level {
    fn new(dir: Vec<u8>, opened: Box<dyn Dir>) -> Level {
        Level {
            dir,
            opened,
            names: VecDeque::new(),
            end: None,
        }
    }

    /// The next entry; up to `names_max` are read ahead.
    fn next_entry(&mut self, names_max: usize) -> io::Result<Option<DirEntry>> {
        if self.names.is_empty() && self.end.is_none() {
            self.read_ahead(names_max);
        }
        match self.names.pop_front() {
            Some(entry) => Ok(Some(entry)),
            None => self.end.take().unwrap_or(Ok(())).map(|()| None),
        }
    }

    fn read_ahead(&mut self, names_max: usize) {
        while self.names.len() < names_max {
            match self.opened.next_entry() {
                Ok(Some(entry)) => self.names.push_back(entry),
                Ok(None) => {
                    self.end = Some(Ok(()));
                    break;
                }
                Err(e) => {
                    self.end = Some(Err(e));
                    break;
                }
            }
        }
        let names = self.names.make_contiguous();
        names.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    }
}
