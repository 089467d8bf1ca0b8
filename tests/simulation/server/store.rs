//! The server's disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Dice;

pub type Path = Vec<u8>;

#[derive(Clone, Debug, Default)]
pub struct Stored {
    pub bytes: Vec<u8>,
    /// Seconds since 1970.
    pub mtime: i64,
}

/// A file got its final name.
#[derive(Clone, Debug)]
pub struct Publish {
    pub path: Path,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Store {
    pub files: BTreeMap<Path, Stored>,
    dirs: BTreeSet<Path>,
    pub publishes: Vec<Publish>,
    /// What was deleted on request.
    pub deleted: Vec<Publish>,
}

pub fn is_temporary(path: &[u8]) -> bool {
    path.ends_with(b".part")
}

fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    &path[..slash]
}

impl Store {
    pub fn has_dir_of(&self, path: &[u8]) -> bool {
        let dir = parent(path);
        dir.is_empty() || self.dirs.contains(dir)
    }

    pub fn make_dir(&mut self, path: &[u8]) -> bool {
        self.has_dir_of(path) && self.dirs.insert(path.to_vec())
    }

    pub fn delete(&mut self, path: &[u8]) -> bool {
        let Some(file) = self.files.remove(path) else {
            return false;
        };
        let (path, bytes) = (path.to_vec(), file.bytes);
        self.deleted.push(Publish { path, bytes });
        true
    }

    pub fn used(&self) -> u64 {
        self.files
            .values()
            .map(|file| file.bytes.len() as u64)
            .sum()
    }

    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        if !self.has_dir_of(to) {
            return false;
        }
        let Some(file) = self.files.remove(from) else {
            return false;
        };
        if !is_temporary(to) {
            log::info!(
                "published: {} with {}",
                to.escape_ascii(),
                crate::producer::shown(&file.bytes)
            );
            self.publishes.push(Publish {
                path: to.to_vec(),
                bytes: file.bytes.clone(),
            });
        }
        self.files.insert(to.to_vec(), file);
        true
    }

    /// A crash: files that have their final name stay, others may lose their
    /// end or all.
    pub fn lose_temporary(&mut self, dice: &Dice) {
        let temporary: Vec<Path> = self
            .files
            .keys()
            .filter(|path| is_temporary(path))
            .cloned()
            .collect();
        for path in temporary {
            match dice.below(3) {
                0 => {}
                1 => drop(self.files.remove(&path)),
                _ => {
                    let file = self.files.get_mut(&path).unwrap();
                    file.bytes.truncate(dice.size(file.bytes.len() + 1));
                }
            }
        }
    }
}
