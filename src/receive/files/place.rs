//! A directory or lane that folders name, and what is under way in it.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::FileError;
use super::flush::Flusher;
use crate::receive::inbox::Room;
use crate::sys::{Fs, Kind, Meta, Tree};

/// A directory or lane. Users and sessions share it.
pub(in crate::receive) struct Place {
    pub(super) tree: Arc<dyn Tree>,
    /// The directory of `tree` on disk.
    dir: PathBuf,
    pub(super) lane: Option<Lane>,
    pub(super) flusher: Flusher,
    uploads: Mutex<BTreeMap<Vec<u8>, Upload>>,
    taken: Mutex<VecDeque<Taken>>,
    turns: AtomicU64,
}

/// What makes a place a lane.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) room: Arc<dyn Room>,
}

/// A file that is being uploaded.
#[derive(Default)]
struct Upload {
    /// Whose turn it is to write it: the last one's who came.
    turn: Arc<Mutex<u64>>,
    /// Those who think that it is theirs.
    holders: usize,
    /// It is complete, and goes into its lane: it is nobody's turn any more.
    sealed: bool,
}

/// The right to write one file, until somebody else gets it.
pub(super) struct Turn {
    place: Arc<Place>,
    path: Vec<u8>,
    last: Arc<Mutex<u64>>,
    own: u64,
}

/// A complete file on its way into its lane: until this is dropped nobody can
/// change or replace it.
pub struct Staged {
    turn: Turn,
}

impl Staged {
    /// Where it is on disk.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.turn.place.on_disk(&self.turn.path)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let mut uploads = lock(&self.turn.place.uploads);
        if let Some(upload) = uploads.get_mut(&self.turn.path) {
            upload.sealed = false;
        }
    }
}

/// A file that the lane took: clients ask for its size afterwards.
struct Taken {
    path: Vec<u8>,
    meta: Meta,
}

impl Place {
    /// Opens the directory of a folder.
    pub(super) fn directory(fs: &dyn Fs, dir: &Path) -> io::Result<Place> {
        Ok(Place::new(fs.open_tree(dir)?, dir, None))
    }

    /// Opens the staging directory of a lane.
    pub(super) fn lane(
        fs: &dyn Fs,
        name: &str,
        staging: &Path,
        room: Arc<dyn Room>,
    ) -> io::Result<Place> {
        let lane = Lane {
            name: name.to_owned(),
            room,
        };
        Ok(Place::new(fs.open_tree(staging)?, staging, Some(lane)))
    }

    fn new(tree: Arc<dyn Tree>, dir: &Path, lane: Option<Lane>) -> Place {
        Place {
            tree,
            dir: dir.to_owned(),
            lane,
            flusher: Flusher::default(),
            uploads: Mutex::default(),
            taken: Mutex::default(),
            turns: AtomicU64::new(0),
        }
    }

    /// Where a path is on disk.
    pub(super) fn on_disk(&self, path: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.dir.join(std::ffi::OsStr::from_bytes(path))
    }

    /// Gets the right to change a file; whoever had it loses it, after at most
    /// one more write. `Busy` while the file goes into its lane.
    pub(super) fn take_over(self: &Arc<Place>, path: &[u8]) -> Result<Turn, FileError> {
        let mut uploads = lock(&self.uploads);
        let upload = uploads.entry(path.to_vec()).or_default();
        if upload.sealed {
            return Err(FileError::Busy);
        }
        upload.holders += 1;
        let last = upload.turn.clone();
        drop(uploads);
        let own = self.turns.fetch_add(1, Ordering::Relaxed) + 1;
        *lock(&last) = own;
        Ok(Turn {
            place: self.clone(),
            path: path.to_vec(),
            last,
            own,
        })
    }

    /// Remembers a file that the lane took.
    pub(super) fn remember(&self, path: &[u8], meta: Meta) {
        let mut taken = lock(&self.taken);
        taken.retain(|t| t.path != path);
        if taken.len() >= TAKEN_MAX {
            taken.pop_front();
        }
        let path = path.to_vec();
        taken.push_back(Taken { path, meta });
    }

    /// What is known of a file that the lane took lately.
    pub(super) fn remembered(&self, path: &[u8]) -> Option<Meta> {
        let taken = lock(&self.taken);
        let found = taken.iter().find(|t| t.path == path);
        found.map(|t| t.meta)
    }

    /// Changes the time of a file that the lane took, as its client sees it.
    pub(super) fn retime(&self, path: &[u8], mtime_ns: i64) -> bool {
        let mut taken = lock(&self.taken);
        let found = taken.iter_mut().find(|t| t.path == path);
        found.map(|t| t.meta.mtime_ns = mtime_ns).is_some()
    }
}

impl Turn {
    /// Holds the right while something is done; `None` when somebody else has it.
    pub(super) fn hold(&self) -> Option<MutexGuard<'_, u64>> {
        let turn = lock(&self.last);
        (*turn == self.own).then_some(turn)
    }

    /// Keeps everybody else away; `None` when somebody else has the right.
    pub(super) fn seal(self) -> Option<Staged> {
        {
            let mut uploads = lock(&self.place.uploads);
            let upload = uploads.get_mut(&self.path)?;
            if upload.sealed || *lock(&self.last) != self.own {
                return None;
            }
            upload.sealed = true;
        }
        Some(Staged { turn: self })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut uploads = lock(&self.place.uploads);
        if let Some(upload) = uploads.get_mut(&self.path) {
            upload.holders -= 1;
            if upload.holders == 0 {
                uploads.remove(&self.path);
            }
        }
    }
}

/// The places that are in use.
#[derive(Default)]
pub(in crate::receive) struct Places {
    open: Mutex<Vec<(Key, Weak<Place>)>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Lane(String),
    Dir(PathBuf),
}

impl Places {
    /// The place of that key: the open one, if it is still what stands there.
    pub(super) fn get(
        &self,
        fs: &dyn Fs,
        key: &Key,
        open: impl FnOnce() -> io::Result<Place>,
    ) -> io::Result<Arc<Place>> {
        let mut places = lock(&self.open);
        places.retain(|(_, place)| place.strong_count() > 0);
        let found = places.iter().position(|(known, _)| known == key);
        if let Some(found) = found
            && let Some((_, place)) = places.get(found)
            && let Some(place) = place.upgrade()
        {
            if stands_there(fs, &place) {
                return Ok(place);
            }
            places.swap_remove(found);
        }
        let place = Arc::new(open()?);
        places.push((key.clone(), Arc::downgrade(&place)));
        Ok(place)
    }
}

/// Whether the directory was not replaced since it was opened.
pub(super) fn stands_there(fs: &dyn Fs, place: &Place) -> bool {
    // The dot makes the disk look behind a symbolic link.
    let (now, then) = (fs.meta(&place.dir.join(".")), place.tree.meta(b""));
    match (now, then) {
        (Ok(now), Ok(then)) => now.kind == Kind::Dir && (now.dev, now.ino) == (then.dev, then.ino),
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Files that a lane took and that are still known.
const TAKEN_MAX: usize = 256;
