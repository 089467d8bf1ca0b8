//! A disk that keeps only what was flushed.
//!
//! Every file has its content as seen and as stored, with the writes between;
//! the directory tree has its names as seen and as stored, with the changes
//! between. A power cut leaves what was stored and any part of the rest: writes
//! kept, lost or torn at any byte, names kept or lost, in any order that the
//! changes of one name and of one file allow. A flush that fails loses what it
//! was to store, though it can still be read until the power goes, as on Linux.

mod crash;
mod fault;
mod tree;

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use edgespool::sys::{Clock, Create, DirEntry, File, Fs, Kind, Meta, Space, Writers};

pub use fault::{Faults, Op};
use tree::{Change, Tree};

use super::time::{Dice, SimClock};

/// The inode number of every mount's root.
const ROOT: u64 = 1;

/// What happens to the content of a file before it is flushed.
#[derive(Clone)]
enum Write {
    At(usize, Vec<u8>),
    Len(usize),
}

impl Write {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Write::At(offset, data) => {
                let end = offset + data.len();
                content.resize(content.len().max(end), 0);
                content[*offset..end].copy_from_slice(data);
            }
            Write::Len(len) => content.resize(*len, 0),
        }
    }
}

#[derive(Clone)]
struct Inode {
    kind: Kind,
    now: Vec<u8>,
    stored: Vec<u8>,
    unflushed: Vec<Write>,
    mtime_ns: i64,
    ctime_ns: i64,
    /// Producers that have it open for writing.
    writers: u32,
}

struct State {
    inodes: BTreeMap<u64, Inode>,
    next_ino: u64,
    tree: Tree,
    faults: Faults,
    dice: Dice,
    clock: SimClock,
    /// Below these, another filesystem is mounted.
    mounts: Vec<PathBuf>,
    capacity: u64,
    locked: bool,
    ops: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// Power cuts so far.
    cuts: u64,
}

/// The disk of one device. Clones are the same disk.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<State>>);

/// A disk that is not the agent's: producers and judges use it as they like,
/// and no fault hits them.
pub struct Raw<'a>(&'a SimFs);

impl SimFs {
    pub fn new(dice: Dice, clock: SimClock) -> SimFs {
        SimFs(Arc::new(Mutex::new(State {
            inodes: BTreeMap::new(),
            next_ino: ROOT + 1,
            tree: Tree::default(),
            faults: Faults::default(),
            dice,
            clock,
            mounts: Vec::new(),
            capacity: 64 << 20,
            locked: false,
            ops: 0,
            crash_at: None,
            crashed: false,
            cuts: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn raw(&self) -> Raw<'_> {
        Raw(self)
    }

    /// Operations of the agent so far.
    pub fn ops(&self) -> u64 {
        self.state().ops
    }

    /// The power fails at the agent's `n`-th operation from now.
    pub fn crash_after(&self, n: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.ops + n);
    }

    /// Power cuts so far; whoever wrote through one writes no more.
    pub fn cuts(&self) -> u64 {
        self.state().cuts
    }

    pub fn is_crashed(&self) -> bool {
        self.state().crashed
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Puts another filesystem at `path`.
    pub fn mount(&self, path: &Path) {
        self.state().mounts.push(path.to_owned());
    }

    /// The power goes, and comes back.
    pub fn power_cut(&self) {
        crash::power_cut(&mut self.state());
    }

    /// The process was killed: the disk goes on, its locks are free.
    pub fn kill(&self) {
        let mut state = self.state();
        (state.crashed, state.crash_at, state.locked) = (false, None, false);
    }

    /// An operation of the agent: counted, and it may fail.
    fn begin(&self, op: Op, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.crashed {
            return Err(io::Error::other("the power is out"));
        }
        state.ops += 1;
        if state.crash_at.is_some_and(|at| state.ops >= at) {
            state.crashed = true;
            // What happened in this very instant may have reached the disk.
            if state.dice.percent(50) {
                return Err(io::Error::other("the power is out"));
            }
        }
        if let Some(error) = state.fault(op, path) {
            return Err(error);
        }
        Ok(state)
    }
}

impl State {
    fn fault(&mut self, op: Op, path: &Path) -> Option<io::Error> {
        let now = self.clock.mono();
        self.faults.roll(op, path, now, &self.dice)
    }

    fn dev(&self, path: &Path) -> u64 {
        let mount = self.mounts.iter().position(|m| path.starts_with(m));
        mount.map_or(1, |at| at as u64 + 2)
    }

    fn now_ns(&self) -> i64 {
        self.clock.wall().0
    }

    fn used(&self) -> u64 {
        let linked = self.tree.now.values();
        linked
            .filter_map(|ino| self.inodes.get(ino))
            .map(|inode| inode.now.len() as u64)
            .sum()
    }

    fn meta_of(&self, path: &Path, ino: u64) -> io::Result<Meta> {
        let inode = self.inode(ino)?;
        Ok(Meta {
            kind: inode.kind,
            dev: self.dev(path),
            ino,
            size: inode.now.len() as u64,
            mtime_ns: inode.mtime_ns,
            ctime_ns: inode.ctime_ns,
            mode: 0o600,
            nlink: 1,
        })
    }

    fn inode(&self, ino: u64) -> io::Result<&Inode> {
        self.inodes.get(&ino).ok_or(io::ErrorKind::NotFound.into())
    }

    fn make(&mut self, path: &Path, kind: Kind) -> io::Result<u64> {
        if !self.tree.is_dir(path.parent().unwrap(), &self.inodes) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        let now = self.now_ns();
        let inode = Inode {
            kind,
            now: Vec::new(),
            stored: Vec::new(),
            unflushed: Vec::new(),
            mtime_ns: now,
            ctime_ns: now,
            writers: 0,
        };
        self.inodes.insert(ino, inode);
        self.tree.change(Change::Link(path.to_owned(), ino));
        Ok(ino)
    }

    fn write(&mut self, ino: u64, write: Write) -> io::Result<()> {
        let now_ns = self.now_ns();
        let inode = self.inodes.get_mut(&ino).ok_or(io::ErrorKind::NotFound)?;
        write.apply(&mut inode.now);
        inode.unflushed.push(write);
        (inode.mtime_ns, inode.ctime_ns) = (now_ns, now_ns);
        Ok(())
    }

    /// Room for `len` more bytes; part of them is written when there is none.
    fn room(&self, ino: u64, offset: usize, len: usize) -> usize {
        let size = self.inodes.get(&ino).map_or(0, |inode| inode.now.len());
        let grows = (offset + len).saturating_sub(size);
        let free = self.capacity.saturating_sub(self.used());
        let free = usize::try_from(free).unwrap();
        if grows <= free {
            len
        } else {
            len - (grows - free).min(len)
        }
    }
}

struct SimFile {
    fs: SimFs,
    path: PathBuf,
    ino: u64,
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        if state.crashed {
            return Err(io::Error::other("the power is out"));
        }
        if let Some(error) = state.fault(Op::Read, &self.path) {
            return Err(error);
        }
        let content = &state.inode(self.ino)?.now;
        let from = content.len().min(usize::try_from(offset).unwrap());
        let got = buf.len().min(content.len() - from);
        buf[..got].copy_from_slice(&content[from..from + got]);
        Ok(got)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.fs.begin(Op::Write, &self.path)?;
        let offset = usize::try_from(offset).unwrap();
        let fits = state.room(self.ino, offset, data.len());
        state.write(self.ino, Write::At(offset, data[..fits].to_vec()))?;
        if fits < data.len() {
            Err(no_space())
        } else {
            Ok(())
        }
    }

    fn meta(&self) -> io::Result<Meta> {
        self.fs.state().meta_of(&self.path, self.ino)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.begin(Op::Write, &self.path)?;
        state.write(self.ino, Write::Len(usize::try_from(len).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let begun = self.fs.begin(Op::Sync, &self.path);
        let failed = begun
            .as_ref()
            .err()
            .is_some_and(|e| e.raw_os_error().is_some());
        let mut state = match begun {
            Ok(state) => state,
            Err(e) if failed => {
                // The pages are gone from the queue, and never stored.
                let mut state = self.fs.state();
                if let Some(inode) = state.inodes.get_mut(&self.ino) {
                    inode.unflushed.clear();
                }
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        if state.faults.skips(Op::Sync, &self.path) {
            return Ok(());
        }
        state.flush(self.ino);
        Ok(())
    }
}

impl State {
    fn flush(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            for write in inode.unflushed.drain(..) {
                write.apply(&mut inode.stored);
            }
        }
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        if let Some(error) = state.fault(Op::Open, path) {
            return Err(error);
        }
        let ino = state.tree.find(path)?;
        Ok(Box::new(SimFile {
            fs: self.clone(),
            path: path.to_owned(),
            ino,
        }))
    }

    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        let found = self.state().tree.find(path);
        let ino = match (found, create) {
            (Ok(_), Create::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(ino), Create::Keep) => ino,
            (Err(_), _) => {
                let mut state = self.begin(Op::Create, path)?;
                if state.used() >= state.capacity {
                    return Err(no_space());
                }
                state.make(path, Kind::File)?
            }
        };
        Ok(Box::new(SimFile {
            fs: self.clone(),
            path: path.to_owned(),
            ino,
        }))
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let state = self.state();
        let ino = state.tree.find(path)?;
        state.meta_of(path, ino)
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        let names: Vec<(OsString, Kind)> = {
            let mut state = self.state();
            if let Some(error) = state.fault(Op::Open, path) {
                return Err(error);
            }
            if !state.tree.is_dir(path, &state.inodes) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let below = state.tree.below(path);
            below
                .map(|(name, ino)| (name, state.inodes[&ino].kind))
                .collect()
        };
        for (name, kind) in names {
            if !each(DirEntry {
                name,
                kind: Some(kind),
            }) {
                break;
            }
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Create, path)?;
        if state.tree.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.make(path, Kind::Dir).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Rename, to)?;
        let ino = state.tree.find(from)?;
        if state.dev(from) != state.dev(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if !state.tree.is_dir(to.parent().unwrap(), &state.inodes) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state
            .tree
            .change(Change::Rename(from.to_owned(), to.to_owned(), ino));
        let now = state.now_ns();
        if let Some(inode) = state.inodes.get_mut(&ino) {
            inode.ctime_ns = now;
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Unlink, path)?;
        let ino = state.tree.find(path)?;
        state.tree.change(Change::Unlink(path.to_owned(), ino));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Unlink, path)?;
        let ino = state.tree.find(path)?;
        if state.tree.below(path).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.tree.change(Change::Unlink(path.to_owned(), ino));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::SyncDir, path)?;
        if !state.faults.skips(Op::SyncDir, path) {
            state.tree.flush_dir(path);
        }
        Ok(())
    }

    fn sync_fs(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::SyncFs, path)?;
        if state.faults.skips(Op::SyncFs, path) {
            return Ok(());
        }
        let dev = state.dev(path);
        let mounts = state.mounts.clone();
        let on = |p: &Path| {
            mounts
                .iter()
                .position(|m| p.starts_with(m))
                .map_or(1, |at| at as u64 + 2)
                == dev
        };
        let inos: Vec<u64> = {
            let names = state.tree.now.iter();
            names
                .filter(|(path, _)| on(path))
                .map(|(_, ino)| *ino)
                .collect()
        };
        inos.into_iter().for_each(|ino| state.flush(ino));
        state.tree.flush_where(&on);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state();
        Ok(Space {
            total: state.capacity,
            free: state.capacity.saturating_sub(state.used()),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        drop(self.create(path, Create::Keep)?);
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock(self.clone())))
    }

    fn writers(&self, path: &Path) -> io::Result<Writers> {
        let state = self.state();
        let ino = state.tree.find(path)?;
        Ok(match state.inode(ino)?.writers {
            0 => Writers::None,
            _ => Writers::Some,
        })
    }
}

struct Unlock(SimFs);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

impl Raw<'_> {
    /// Makes a directory and those above it, durably.
    pub fn make_dirs(&self, path: &Path) {
        let mut state = self.0.state();
        let above: Vec<&Path> = path.ancestors().collect();
        for dir in above.into_iter().rev().filter(|d| d.parent().is_some()) {
            if state.tree.find(dir).is_err() {
                state.make(dir, Kind::Dir).unwrap();
            }
        }
        state.tree.flush_all();
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
