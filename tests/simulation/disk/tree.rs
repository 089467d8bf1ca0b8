//! The names of a disk: as seen, as stored, and the changes between.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use edgespool::sys::Kind;

use super::Inode;

/// One change of the tree. A rename is one step of the filesystem's journal.
#[derive(Clone, Debug)]
pub enum Change {
    Link(PathBuf, u64),
    Unlink(PathBuf, u64),
    Rename(PathBuf, PathBuf, u64),
}

impl Change {
    fn ino(&self) -> u64 {
        match self {
            Change::Link(_, ino) | Change::Unlink(_, ino) | Change::Rename(_, _, ino) => *ino,
        }
    }

    fn paths(&self) -> Vec<&Path> {
        match self {
            Change::Link(path, _) | Change::Unlink(path, _) => vec![path],
            Change::Rename(from, to, _) => vec![from, to],
        }
    }

    /// Whether a flush of this directory stores it.
    fn is_in(&self, dir: &Path) -> bool {
        self.paths().iter().any(|path| path.parent() == Some(dir))
    }

    /// Whether it can only come after `other`.
    fn follows(&self, other: &Change) -> bool {
        self.ino() == other.ino()
            || self.paths().iter().any(|path| {
                other
                    .paths()
                    .iter()
                    .any(|p| p == path || path.starts_with(p))
            })
    }

    pub fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Change::Link(path, ino) => {
                names.insert(path.clone(), *ino);
            }
            Change::Unlink(path, ino) => {
                if names.get(path) == Some(ino) {
                    names.remove(path);
                }
            }
            Change::Rename(from, to, ino) => {
                if names.get(from) == Some(ino) {
                    names.remove(from);
                }
                names.insert(to.clone(), *ino);
                // What stood below a directory moves with it.
                let below: Vec<PathBuf> = names
                    .keys()
                    .filter(|path| path.starts_with(from))
                    .cloned()
                    .collect();
                for path in below {
                    let ino = names.remove(&path).unwrap();
                    names.insert(to.join(path.strip_prefix(from).unwrap()), ino);
                }
            }
        }
    }
}

#[derive(Default)]
pub struct Tree {
    pub now: BTreeMap<PathBuf, u64>,
    pub stored: BTreeMap<PathBuf, u64>,
    pub unflushed: Vec<Change>,
}

impl Tree {
    pub fn find(&self, path: &Path) -> io::Result<u64> {
        let path = normal(path);
        self.now
            .get(&path)
            .copied()
            .ok_or(io::ErrorKind::NotFound.into())
    }

    pub fn is_dir(&self, path: &Path, inodes: &BTreeMap<u64, Inode>) -> bool {
        let path = normal(path);
        path.parent().is_none()
            || self
                .now
                .get(&path)
                .is_some_and(|ino| inodes[ino].kind == Kind::Dir)
    }

    pub fn below(&self, dir: &Path) -> impl Iterator<Item = (OsString, u64)> {
        let dir = normal(dir);
        self.now
            .range(dir.clone()..)
            .take_while({
                let dir = dir.clone();
                move |(path, _)| path.starts_with(&dir)
            })
            .filter(move |(path, _)| path.parent() == Some(&dir))
            .map(|(path, ino)| (path.file_name().unwrap().to_owned(), *ino))
            .collect::<Vec<_>>()
            .into_iter()
    }

    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unflushed.push(change);
    }

    pub fn flush_dir(&mut self, dir: &Path) {
        let dir = normal(dir);
        self.keep(|change| change.is_in(&dir));
    }

    pub fn flush_where(&mut self, on: &dyn Fn(&Path) -> bool) {
        self.keep(|change| change.paths().iter().any(|path| on(path)));
    }

    pub fn flush_all(&mut self) {
        self.keep(|_| true);
    }

    /// Stores the wanted changes and those that must have come before them.
    pub fn keep(&mut self, mut wanted: impl FnMut(&Change) -> bool) {
        let mut kept: Vec<bool> = self.unflushed.iter().map(&mut wanted).collect();
        for at in (0..kept.len()).rev() {
            if kept[at] {
                let (before, here) = (&self.unflushed[..at], &self.unflushed[at]);
                for (kept, earlier) in kept.iter_mut().zip(before) {
                    *kept |= here.follows(earlier);
                }
            }
        }
        let mut left = Vec::new();
        for (change, kept) in self.unflushed.drain(..).zip(kept) {
            if kept {
                change.apply(&mut self.stored);
            } else {
                left.push(change);
            }
        }
        self.unflushed = left;
    }
}

/// Without `.`, which the production code appends to follow a link to a directory.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}
