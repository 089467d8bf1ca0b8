//! Goes through a directory tree in small steps, depth first. Blocks: it runs on
//! the pool.

use std::io;
use std::os::unix::ffi::OsStrExt;

use crate::sys::{Dir, DirEntry, Kind};

use super::find::{Finder, shown};
use super::rules::join;

/// Directories below the watched one, at most; each level is an open descriptor.
const DEPTH_MAX: usize = 32;

/// Names in one step, so that a step is short also where nothing is taken.
const STEP_NAMES: usize = 1024;

/// A scan under way. Its memory is one open directory per level.
pub(super) struct Scan {
    open: Vec<(Vec<u8>, Box<dyn Dir>)>,
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
            open: vec![(dir, opened)],
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
            let Some((dir, opened)) = self.open.last_mut() else {
                if self.whole {
                    finder.end_scan();
                }
                return Step::End;
            };
            match opened.next_entry() {
                Ok(Some(entry)) => {
                    let path = join(dir, entry.name.as_bytes());
                    self.handle_entry(finder, path, &entry);
                }
                Ok(None) => {
                    self.open.pop();
                }
                Err(e) => {
                    log::warn!("watch {:?}: reading {}: {e}", finder.watch(), shown(dir));
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
            Ok(opened) => self.open.push((dir, opened)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                finder.unseen = true;
                log::warn!("watch {:?}: reading {}: {e}", finder.watch(), shown(&dir));
            }
        }
    }
}
