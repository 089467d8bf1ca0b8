//! Opening a spool, and the small files in it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Fs, Sys, Wall, read_all, write_whole};

use super::core::Core;
use super::error::SpoolError;
use super::finding::Finding;
use super::format;
use super::lane::{self, Lane};
use super::ledger::Ledger;
use super::log::flushed;
use super::renew;
use super::reserve::Reserve;
use super::{Options, Spool};

/// The longest profile of a server.
const PROFILE_MAX: usize = 64 << 10;
/// The longest note.
const NOTE_MAX: usize = 4 << 10;

impl Spool {
    /// Opens the spool in `dir` for this agent alone, making it if need be,
    /// and sets right what a crash left behind. What was found wrong is given
    /// by [`Spool::findings`].
    ///
    /// # Errors
    /// [`SpoolError::Locked`], [`SpoolError::Newer`], and what the disk says.
    pub fn open(sys: &Sys, dir: &Path, options: Options) -> Result<Spool, SpoolError> {
        let fs = &*sys.fs;
        make_dirs(fs, dir).map_err(SpoolError::io("make the spool directory", dir))?;
        let lock = fs.lock(&dir.join("lock")).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => SpoolError::Locked {
                dir: dir.to_owned(),
            },
            _ => SpoolError::io("lock", &dir.join("lock"))(e),
        })?;
        let mut core = Core::new(sys.fs.clone(), sys.clock.clone(), dir, true);
        core.tag = format::tag(sys, dir, &mut core)?;
        let suspect = renew::is_marked(fs, dir);
        if suspect {
            log::warn!("a flush failed in the last run; the logs are written anew");
            core.distrusts_all = true;
            let lanes: Vec<PathBuf> = lane_dirs(&core)?.into_iter().map(|lane| lane.2).collect();
            let renewed = renew::renew(fs, dir, &lanes);
            core.written(renewed, "write the logs anew in", dir)?;
        }
        // A process that was killed may have left names and records that are not
        // stored yet. What is read now is built upon, so it must be.
        let stored = flushed(fs.sync_fs(dir));
        core.written(stored, "flush", dir)?;
        let mut spool = Spool::read(core, options)?;
        if suspect {
            renew::unmark(fs, dir).map_err(SpoolError::io("write to", dir))?;
        }
        spool._lock = Some(lock);
        Ok(spool)
    }

    /// Opens a spool for looking only: it takes no lock and writes nothing,
    /// beside an agent too.
    ///
    /// # Errors
    /// [`SpoolError::Newer`], [`SpoolError::NotASpool`], and what the disk says.
    pub fn open_read_only(sys: &Sys, dir: &Path, options: Options) -> Result<Spool, SpoolError> {
        let mut core = Core::new(sys.fs.clone(), sys.clock.clone(), dir, false);
        core.tag = format::tag(sys, dir, &mut core)?;
        Spool::read(core, options)
    }

    fn read(mut core: Core, options: Options) -> Result<Spool, SpoolError> {
        let dir = core.dir.clone();
        let meta = core.fs.meta(&dir).map_err(SpoolError::io("read", &dir))?;
        let path = dir.join("ledger");
        let ledger = Ledger::open(&*core.fs, &path, options.ledger, core.writable);
        let mut ledger = core.written(ledger, "open the ledger", &path)?;
        ledger.findings().for_each(|finding| core.found(finding));
        core.left = ledger
            .newest()
            .map_err(SpoolError::io("read the ledger", &path))?;
        let reserve = Reserve::open(&*core.fs, &dir, core.writable)
            .map_err(SpoolError::io("read the reserve in", &dir))?;
        let mut spool = Spool {
            core,
            options,
            lanes: Default::default(),
            ledger,
            reserve,
            entered: Default::default(),
            dev: meta.dev,
            _lock: None,
        };
        spool.read_reserve()?;
        let lanes = lane_dirs(&spool.core)?;
        if spool.core.writable {
            let outbox = spool.core.outbox.open();
            outbox.map_err(SpoolError::io("read the outbox in", &dir))?;
            let targets = lanes.iter();
            targets.for_each(|(no, _, dir)| spool.core.outbox.open_target(*no, dir));
        }
        for (no, name, dir) in lanes {
            let lane = Lane::open(&mut spool.core, no, &dir)?;
            spool.lanes.insert(name, lane);
        }
        spool.reopen_seen()?;
        if spool.core.writable {
            match spool.catch_up() {
                Err(e) if e.is_full() => log::warn!("{e}: {}", e.cause()),
                caught_up => caught_up?,
            }
            spool.core.left.clear();
        }
        spool.unload();
        Ok(spool)
    }

    /// Learns what left the spool while its disk was full.
    fn read_reserve(&mut self) -> Result<(), SpoolError> {
        let (left, entered) = (&mut self.core.left, &mut self.entered);
        let read = self.reserve.each(&mut |receipt| {
            if let Some(id) = receipt.id
                && left.insert(id, receipt.proof.is_delivery()).is_some()
            {
                // A crash came before the reserve was freed.
                entered.insert(id);
            }
            true
        });
        read.map_err(SpoolError::io("read the reserve in", &self.core.dir))
    }

    /// Takes what was found wrong since the last call, at most some dozens;
    /// all of it is in the log.
    pub fn findings(&mut self) -> VecDeque<Finding> {
        std::mem::take(&mut self.core.findings)
    }

    /// What is known about a server, as [`Spool::put_profile`] was given it.
    #[must_use]
    pub fn profile(&self, server: &str) -> Option<Vec<u8>> {
        read_all(&*self.core.fs, &self.profile_path(server), PROFILE_MAX).ok()
    }

    /// Keeps what is known about a server.
    ///
    /// # Errors
    /// What the disk says; the old profile is then still there.
    pub fn put_profile(&mut self, server: &str, profile: &[u8]) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let path = self.profile_path(server);
        write_whole(&*self.core.fs, &path, profile).map_err(SpoolError::io("write", &path))
    }

    fn profile_path(&self, server: &str) -> PathBuf {
        // The same escaping as for lanes, so that no name leaves the directory.
        self.core
            .dir
            .join("profiles")
            .join(lane::dir_name(0, server))
    }

    /// A small value that outlives restarts, as [`Spool::put_note`] was given it.
    #[must_use]
    pub fn note(&self, name: &str) -> Option<Vec<u8>> {
        read_all(&*self.core.fs, &self.note_path(name), NOTE_MAX).ok()
    }

    /// Keeps a small value (4 KiB at most) over restarts. Each call is a flush:
    /// not for what changes all the time.
    ///
    /// # Errors
    /// What the disk says; the old value is then still there.
    pub fn put_note(&mut self, name: &str, value: &[u8]) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let path = self.note_path(name);
        let written = match value.len() > NOTE_MAX {
            true => Err(io::ErrorKind::InvalidInput.into()),
            false => write_whole(&*self.core.fs, &path, value),
        };
        written.map_err(SpoolError::io("write", &path))
    }

    fn note_path(&self, name: &str) -> PathBuf {
        let notes = self.core.dir.join("notes");
        notes.join(lane::dir_name(0, name))
    }

    /// The latest sane wall clock that was ever noted.
    #[must_use]
    pub fn clock_floor(&self) -> Option<Wall> {
        let text = read_all(&*self.core.fs, &self.core.dir.join("clock"), 32).ok()?;
        let secs = std::str::from_utf8(&text).ok()?.trim().parse().ok()?;
        Some(Wall::from_secs(secs))
    }

    /// Notes a sane wall clock; an earlier one than before is not noted.
    ///
    /// # Errors
    /// What the disk says.
    pub fn put_clock_floor(&mut self, now: Wall) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        if self.clock_floor().is_some_and(|floor| floor >= now) {
            return Ok(());
        }
        let path = self.core.dir.join("clock");
        let text = format!("{}\n", now.secs());
        write_whole(&*self.core.fs, &path, text.as_bytes()).map_err(SpoolError::io("write", &path))
    }

    /// The number that makes this spool's temporary names its own.
    #[must_use]
    pub fn tag(&self) -> u32 {
        self.core.tag
    }
}

/// The lanes: number, name and directory.
pub(super) fn lane_dirs(core: &Core) -> Result<Vec<(u16, String, PathBuf)>, SpoolError> {
    let parent = core.dir.join("lanes");
    let mut lanes = Vec::new();
    core.fs
        .read_dir(&parent, &mut |entry| {
            let name = entry.name.to_str().and_then(lane::name_of);
            if let Some((no, name)) = name {
                lanes.push((no, name, parent.join(&entry.name)));
            }
            true
        })
        .map_err(SpoolError::io("read", &parent))?;
    Ok(lanes)
}

/// Where uploads for a lane are written until they are complete. The spool
/// itself never looks there.
#[must_use]
pub fn incoming_dir(spool: &Path, lane: &str) -> PathBuf {
    spool.join("incoming").join(lane)
}

/// Makes [`incoming_dir`] durably, if need be.
///
/// # Errors
/// What the disk says.
pub fn make_incoming(fs: &dyn Fs, spool: &Path, lane: &str) -> io::Result<PathBuf> {
    let dir = incoming_dir(spool, lane);
    make_dir(fs, &dir)?;
    Ok(dir)
}

/// Makes the spool's directories, parents included, durably.
fn make_dirs(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    make_dir(fs, dir)?;
    for name in ["lanes", "ledger", "profiles", "damaged", "outbox", "notes"] {
        make_dir(fs, &dir.join(name))?;
    }
    Ok(())
}

/// Makes a directory and its parents durably, as far as they are missing.
pub(super) fn make_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty());
    match fs.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound && parent.is_some() => {
            make_dir(fs, parent.unwrap_or(dir))?;
            make_dir(fs, dir)
        }
        Err(e) => Err(e),
        Ok(()) => fs.sync_dir(parent.unwrap_or(Path::new("."))),
    }
}
