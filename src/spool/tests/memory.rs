//! A disk in memory that loses what was not flushed.
//!
//! Each file has its content as seen and as stored, each directory likewise its
//! names. A power cut leaves what was stored; what was not is kept or lost, one
//! by one, as the seed decides. Every call is counted, and the power can be cut
//! at any of them. A flush can fail as it does on Linux: what it did not write
//! is seen by everyone and never stored. The disk can be full to the last byte.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::schedule::BUILD_FLOOR;
use crate::sys::{Create, DirEntry, File, Fs, Kind, Meta, Space, Writers};

#[derive(Clone, Default)]
struct Data {
    now: Vec<u8>,
    stored: Vec<u8>,
    /// What was written since the last flush, failed or not.
    dirty: Vec<Range<usize>>,
    /// The length that is not stored yet.
    resized: bool,
}

impl Data {
    fn store(&mut self) {
        if std::mem::take(&mut self.resized) {
            self.stored.resize(self.now.len(), 0);
        }
        for range in self.dirty.drain(..) {
            let end = range.end.min(self.now.len());
            let start = range.start.min(end);
            self.stored.resize(self.stored.len().max(end), 0);
            self.stored[start..end].copy_from_slice(&self.now[start..end]);
        }
    }

    fn blocks(&self) -> u64 {
        self.now.len().div_ceil(BLOCK) as u64
    }
}

/// Room is given out in blocks.
const BLOCK: usize = 4096;

#[derive(Default)]
struct Disk {
    /// Contents by inode number.
    files: BTreeMap<u64, Data>,
    /// Names as seen: inode number, or 0 for a directory.
    now: BTreeMap<PathBuf, u64>,
    /// Names as stored.
    stored: BTreeMap<PathBuf, u64>,
    next_ino: u64,
    calls: u64,
    cut_at: Option<u64>,
    fail_sync: bool,
    syncs: u64,
    fail_sync_at: Option<u64>,
    room: Option<u64>,
    mount: Option<PathBuf>,
    frozen: Option<PathBuf>,
    locked: bool,
}

/// A disk in memory.
#[derive(Clone, Default)]
pub(crate) struct MemoryFs(Arc<Mutex<Disk>>);

fn gone() -> io::Error {
    io::Error::other("the power is out")
}

impl MemoryFs {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// A call that changes something: counted, and refused after the cut.
    fn write(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk();
        disk.calls += 1;
        if disk.cut_at.is_some_and(|at| disk.calls > at) {
            return Err(gone());
        }
        Ok(disk)
    }

    pub(crate) fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// Lets the power fail after so many more changes.
    pub(crate) fn cut_after(&self, calls: u64) {
        let mut disk = self.disk();
        disk.cut_at = Some(disk.calls + calls);
    }

    /// Makes all flushes fail, or succeed again.
    pub(crate) fn fail_sync(&self, fail: bool) {
        self.disk().fail_sync = fail;
    }

    /// Lets one flush fail, after so many that succeed.
    pub(crate) fn fail_sync_after(&self, syncs: u64) {
        let mut disk = self.disk();
        disk.fail_sync_at = Some(disk.syncs + syncs + 1);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Sets how many bytes are free.
    pub(crate) fn set_room(&self, room: u64) {
        self.disk().room = Some(room);
    }

    /// Makes a directory another filesystem: nothing is renamed into it.
    pub(crate) fn mount(&self, path: &str) {
        self.create_dir(Path::new(path)).unwrap();
        self.disk().mount = Some(path.into());
        self.sync_dir(Path::new("/")).unwrap();
    }

    /// Makes a directory read-only, or writable again: nothing there is renamed or
    /// removed.
    pub(crate) fn freeze(&self, path: Option<&str>) {
        self.disk().frozen = path.map(PathBuf::from);
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, dir: &Path) -> Vec<String> {
        let mut names = Vec::new();
        self.read_dir(dir, &mut |entry| {
            names.push(entry.name.into_string().unwrap());
            true
        })
        .unwrap();
        names.sort();
        names
    }

    /// The power comes back: what was not stored is lost, or not, by `coin`.
    pub(crate) fn restart(&self, coin: &mut dyn FnMut() -> bool) {
        let mut disk = self.disk();
        let disk = &mut *disk;
        disk.cut_at = None;
        disk.locked = false;
        // One renaming is one step of the filesystem's journal: kept or lost
        // as a whole, and the steps are kept in order.
        if !coin() {
            disk.now = disk.stored.clone();
        }
        disk.stored = disk.now.clone();
        for data in disk.files.values_mut() {
            // What a failed flush dropped is not written by anything else.
            let dropped = data.dirty.is_empty() && !data.resized;
            if data.now != data.stored && (dropped || !coin()) {
                // Half of it may have been written.
                let common = data.stored.len().min(data.now.len());
                let mut left = data.stored.clone();
                if !dropped && coin() && data.now.len() > common {
                    let extra = (data.now.len() - common) / 2;
                    left.extend_from_slice(&data.now[common..common + extra]);
                }
                data.now = left;
            }
            data.stored = data.now.clone();
            data.dirty.clear();
            data.resized = false;
        }
    }

    /// Writes a file as a producer does, durably.
    pub(crate) fn put(&self, path: &str, content: &[u8]) -> Meta {
        let file = self.create(Path::new(path), Create::New).unwrap();
        file.write_at(content, 0).unwrap();
        file.sync().unwrap();
        self.sync_dir(Path::new(path).parent().unwrap()).unwrap();
        file.meta().unwrap()
    }

    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let disk = self.disk();
        let ino = disk.now.get(path)?;
        disk.files.get(ino).map(|data| data.now.clone())
    }

    /// Changes a byte behind everybody's back.
    pub(crate) fn rot(&self, path: &Path, at: usize) {
        let mut disk = self.disk();
        let ino = disk.now[path];
        let data = disk.files.get_mut(&ino).unwrap();
        data.now[at] ^= 0x55;
        data.stored = data.now.clone();
    }
}

impl Disk {
    fn thawed(&self, path: &Path) -> io::Result<()> {
        match self.frozen.as_ref().is_some_and(|at| path.starts_with(at)) {
            true => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            false => Ok(()),
        }
    }

    /// A flush begins: whether it fails.
    fn fails_sync(&mut self) -> bool {
        self.syncs += 1;
        self.fail_sync || self.fail_sync_at == Some(self.syncs)
    }

    /// Takes or gives back the blocks between two numbers of them.
    fn resize(&mut self, before: u64, after: u64) -> io::Result<()> {
        let Some(room) = &mut self.room else {
            return Ok(());
        };
        let more = after.saturating_sub(before) * BLOCK as u64;
        *room = room
            .checked_sub(more)
            .ok_or(io::ErrorKind::StorageFull)?
            .saturating_add(before.saturating_sub(after) * BLOCK as u64);
        Ok(())
    }

    /// A file has lost its name.
    fn free(&mut self, ino: u64) {
        let blocks = self.files.get(&ino).map_or(0, Data::blocks);
        self.resize(blocks, 0).unwrap();
    }

    /// A new name needs room in its directory.
    fn name(&self) -> io::Result<()> {
        match self.room {
            Some(room) if room < BLOCK as u64 => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn set_len(&mut self, ino: u64, len: usize) -> io::Result<()> {
        let before = self.files[&ino].blocks();
        self.resize(before, len.div_ceil(BLOCK) as u64)?;
        let data = self.files.get_mut(&ino).unwrap();
        data.now.resize(len, 0);
        data.resized = true;
        Ok(())
    }
}

fn broken() -> io::Error {
    io::Error::other("input/output error")
}

struct MemoryFile {
    fs: MemoryFs,
    ino: u64,
}

/// An open file with some content.
pub(crate) fn file_with(content: &[u8]) -> Box<dyn File> {
    let fs = MemoryFs::default();
    let file = fs.create(Path::new("f"), Create::New).unwrap();
    file.write_at(content, 0).unwrap();
    file
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.fs.disk();
        let data = &disk.files[&self.ino].now;
        let from = data.len().min(offset as usize);
        let got = buf.len().min(data.len() - from);
        buf[..got].copy_from_slice(&data[from..from + got]);
        Ok(got)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.fs.write()?;
        let (start, end) = (offset as usize, offset as usize + data.len());
        if end > disk.files[&self.ino].now.len() {
            disk.set_len(self.ino, end)?;
        }
        let file = disk.files.get_mut(&self.ino).unwrap();
        file.now[start..end].copy_from_slice(data);
        file.dirty.push(start..end);
        Ok(())
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&self.fs.disk(), self.ino))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.fs.write()?.set_len(self.ino, len as usize)
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.fs.write()?;
        let fails = disk.fails_sync();
        let data = disk.files.get_mut(&self.ino).unwrap();
        if fails {
            data.dirty.clear();
            data.resized = false;
            return Err(broken());
        }
        data.store();
        Ok(())
    }
}

fn meta_of(disk: &Disk, ino: u64) -> Meta {
    Meta {
        kind: if ino == 0 { Kind::Dir } else { Kind::File },
        dev: 1,
        ino,
        size: disk.files.get(&ino).map_or(0, |data| data.now.len() as u64),
        mtime_ns: BUILD_FLOOR.0 + ino as i64,
        ctime_ns: ino as i64,
        mode: 0,
        nlink: 1,
    }
}

impl MemoryFs {
    fn find(&self, path: &Path) -> io::Result<u64> {
        let found = self.disk().now.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Fs for MemoryFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let ino = self.find(path)?;
        Ok(Box::new(MemoryFile {
            fs: self.clone(),
            ino,
        }))
    }

    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        match (self.find(path), create) {
            (Ok(_), Create::New) => Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(ino), Create::Keep) => Ok(Box::new(MemoryFile {
                fs: self.clone(),
                ino,
            })),
            (Err(_), _) => {
                let mut disk = self.write()?;
                disk.name()?;
                disk.next_ino += 1;
                let ino = disk.next_ino;
                disk.files.insert(ino, Data::default());
                disk.now.insert(path.to_owned(), ino);
                Ok(Box::new(MemoryFile {
                    fs: self.clone(),
                    ino,
                }))
            }
        }
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let ino = self.find(path)?;
        Ok(meta_of(&self.disk(), ino))
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        self.find(path)?;
        let names: Vec<OsString> = {
            let disk = self.disk();
            let below = disk.now.keys().filter(|p| p.parent() == Some(path));
            below
                .filter_map(|p| p.file_name().map(Into::into))
                .collect()
        };
        for name in names {
            if !each(DirEntry { name, kind: None }) {
                break;
            }
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.find(path.parent().unwrap_or(path))
            .or_else(|e| match path == Path::new("/") {
                true => Ok(0),
                false => Err(e),
            })?;
        let mut disk = self.write()?;
        match disk.now.contains_key(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => {
                disk.name()?;
                disk.now.insert(path.to_owned(), 0);
                Ok(())
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.find(from)?;
        self.find(to.parent().unwrap_or(to))?;
        let mut disk = self.write()?;
        let mount = disk.mount.clone();
        if mount.is_some_and(|at| from.starts_with(&at) != to.starts_with(&at)) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        disk.thawed(from)?;
        disk.now.remove(from);
        if let Some(old) = disk.now.insert(to.to_owned(), ino) {
            disk.free(old);
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let ino = self.find(path)?;
        let mut disk = self.write()?;
        disk.thawed(path)?;
        disk.now.remove(path);
        disk.free(ino);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.write()?;
        if disk.fails_sync() {
            return Err(broken());
        }
        let _ = path;
        disk.stored = disk.now.clone();
        Ok(())
    }

    fn sync_fs(&self, path: &Path) -> io::Result<()> {
        let synced = self.sync_dir(path);
        for data in self.disk().files.values_mut() {
            match synced.is_ok() {
                true => data.store(),
                false => {
                    data.dirty.clear();
                    data.resized = false;
                }
            }
        }
        synced
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let free = self.disk().room.unwrap_or(1 << 40);
        Ok(Space {
            total: 1 << 41,
            free,
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut disk = self.write()?;
        if std::mem::replace(&mut disk.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock(self.clone())))
    }

    fn writers(&self, _: &Path) -> io::Result<Writers> {
        Ok(Writers::None)
    }
}

struct Unlock(MemoryFs);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.disk().locked = false;
    }
}
