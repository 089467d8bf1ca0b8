//! A disk that keeps only what was flushed.
//!
//! Every file has its content as seen and as stored, with the writes between;
//! the directory tree has its names as seen and as stored, with the changes
//! between. A power cut leaves what was stored and any part of the rest: writes
//! kept, lost or torn at any byte, names kept or lost, in any order that the
//! changes of one name and of one file allow. A flush that fails loses what it
//! was to store, though it can still be read until the power goes, as on Linux.

mod agents;
mod crash;
mod fault;
mod raw;
mod slow;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use edgespool::sys::{Clock, Kind, Meta};

pub use fault::{Faults, LeftOut, Op};
pub use raw::Raw;
pub use slow::{Slowness, goes_on_beside};
use tree::{Change, Tree};

use super::time::{Dice, SimClock};

/// Bytes that fit on the disk.
const CAPACITY: u64 = 64 << 20;
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
    slowness: Option<Slowness>,
    dice: Dice,
    clock: SimClock,
    /// Below these, another filesystem is mounted.
    mounts: Vec<PathBuf>,
    capacity: u64,
    locked: bool,
    ops: u64,
    crash_at: Option<u64>,
    crashed: bool,
    /// What ends the agent is a kill: the disk goes on.
    survives: bool,
    /// Power cuts so far.
    cuts: u64,
    /// Files that are open now, and at most.
    open: u64,
    open_max: u64,
}

/// The disk of one device. Clones are the same disk.
#[derive(Clone)]
pub struct SimFs(Arc<Mutex<State>>);

impl SimFs {
    pub fn new(dice: Dice, clock: SimClock) -> SimFs {
        SimFs(Arc::new(Mutex::new(State {
            inodes: BTreeMap::new(),
            next_ino: ROOT + 1,
            tree: Tree::default(),
            faults: Faults::default(),
            slowness: None,
            dice,
            clock,
            mounts: Vec::new(),
            capacity: CAPACITY,
            locked: false,
            ops: 0,
            crash_at: None,
            crashed: false,
            survives: false,
            cuts: 0,
            open: 0,
            open_max: 0,
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

    /// Leaves so much room from now on; `None`: plenty.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.capacity = bytes.map_or(CAPACITY, |bytes| state.used() + bytes);
    }

    /// Files that were open at once, at most.
    pub fn open_max(&self) -> u64 {
        self.state().open_max
    }

    /// Puts another filesystem at `path`.
    pub fn mount(&self, path: &Path) {
        self.state().mounts.push(path.to_owned());
    }

    /// From now on it is the agent alone that crashes.
    pub fn set_survives(&self, survives: bool) {
        self.state().survives = survives;
    }

    /// What crashed comes back.
    pub fn come_back(&self) {
        let mut state = self.state();
        if state.survives {
            drop(state);
            self.kill();
        } else {
            crash::power_cut(&mut state);
        }
    }

    /// The process was killed: the disk goes on, its locks are free.
    pub fn kill(&self) {
        let mut state = self.state();
        (state.crashed, state.crash_at, state.locked) = (false, None, false);
    }

    /// An operation of the agent: counted, and it may fail.
    fn begin(&self, op: Op, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        self.linger();
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

impl State {
    fn flush(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get_mut(&ino) {
            for write in inode.unflushed.drain(..) {
                write.apply(&mut inode.stored);
            }
        }
    }
}
