//! The disk as everybody else sees it.

use std::path::{Path, PathBuf};

use edgespool::sys::Kind;

use super::tree::Change;
use super::{SimFs, Write};

/// A disk that is not the agent's: producers and judges use it as they like,
/// and no fault hits them.
pub struct Raw<'a>(pub(super) &'a SimFs);

impl Raw<'_> {
    /// Makes a directory and those above it, durably; whether it was not there.
    pub fn make_dirs(&self, path: &Path) -> bool {
        let mut state = self.0.state();
        let above: Vec<&Path> = path.ancestors().collect();
        let is_new = state.tree.find(path).is_err();
        for dir in above.into_iter().rev().filter(|d| d.parent().is_some()) {
            if state.tree.find(dir).is_err() {
                state.make(dir, Kind::Dir).unwrap();
                state.tree.flush_dir(dir.parent().unwrap());
            }
        }
        is_new
    }

    /// Opens a file for writing, making it or emptying it.
    pub fn open_writer(&self, path: &Path, truncate: bool) -> Option<u64> {
        let mut state = self.0.state();
        let ino = match state.tree.find(path) {
            Ok(ino) => ino,
            Err(_) => state.make(path, Kind::File).ok()?,
        };
        if truncate {
            state.write(ino, Write::Len(0)).unwrap();
        }
        state.inodes.get_mut(&ino).unwrap().writers += 1;
        Some(ino)
    }

    pub fn append(&self, ino: u64, data: &[u8]) {
        let mut state = self.0.state();
        let Ok(inode) = state.inode(ino) else { return };
        let at = inode.now.len();
        state.write(ino, Write::At(at, data.to_vec())).unwrap();
    }

    pub fn close_writer(&self, ino: u64) {
        if let Some(inode) = self.0.state().inodes.get_mut(&ino) {
            inode.writers -= 1;
        }
    }

    /// `fsync` of the file.
    pub fn sync(&self, ino: u64) {
        self.0.state().flush(ino);
    }

    pub fn sync_dir(&self, path: &Path) {
        self.0.state().tree.flush_dir(path);
    }

    pub fn rename(&self, from: &Path, to: &Path) {
        let mut state = self.0.state();
        if let Ok(ino) = state.tree.find(from) {
            state
                .tree
                .change(Change::Rename(from.to_owned(), to.to_owned(), ino));
        }
    }

    pub fn unlink(&self, path: &Path) -> bool {
        let mut state = self.0.state();
        let Ok(ino) = state.tree.find(path) else {
            return false;
        };
        state.tree.change(Change::Unlink(path.to_owned(), ino));
        true
    }

    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.state();
        let ino = state.tree.find(path).ok()?;
        Some(state.inodes[&ino].now.clone())
    }

    /// The same for a file that may stand anywhere.
    pub fn content_of(&self, ino: u64) -> Option<Vec<u8>> {
        let state = self.0.state();
        state.inodes.get(&ino).map(|inode| inode.now.clone())
    }

    /// When a file was last written; 0 if it is not there.
    pub fn mtime(&self, path: &Path) -> i64 {
        let state = self.0.state();
        let ino = state.tree.find(path);
        ino.map_or(0, |ino| state.inodes[&ino].mtime_ns)
    }

    /// All files below a directory.
    pub fn files(&self, dir: &Path) -> Vec<PathBuf> {
        let state = self.0.state();
        let names = state
            .tree
            .now
            .iter()
            .filter(|(path, _)| path.starts_with(dir));
        let files = names.filter(|(_, ino)| state.inodes[ino].kind == Kind::File);
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Flips one bit of a stored file, as worn flash does.
    pub fn rot(&self, path: &Path, at: usize, bit: u8) {
        let mut state = self.0.state();
        let Ok(ino) = state.tree.find(path) else {
            return;
        };
        let inode = state.inodes.get_mut(&ino).unwrap();
        for content in [&mut inode.now, &mut inode.stored] {
            if let Some(byte) = content.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
    }
}
