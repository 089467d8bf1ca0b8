//! Delivered files that are kept (`after = "archive"`).
//!
//! A settled blob is only renamed, into the spool's `outbox`; that costs the
//! settling no more than to remove it. The [`Archiver`] carries it from there
//! to the archive without the spool's lock: a rename on one filesystem, else a
//! durable copy and then the removal. What a crash leaves in the outbox is
//! carried on after the next start. Bytes in the outbox count against the
//! spool's room, so that an archive that is slower than the server makes the
//! intake wait and not the outbox grow.
//!
//! An archive never holds up a delivery: a file that it cannot take, not even
//! after its oldest files have made way, is removed, and the log says so.
//!
//! # An archive on disk
//!
//! ```text
//! <dir>/<no>-<time>/<entry id>-<name>
//! ```
//!
//! Shelves are numbered in the order in which they were begun, so that "oldest"
//! never depends on the clock; `<time>` is when that was (UTC), or `undated`
//! while the clock could not be trusted. A shelf takes 1024 files and is one
//! day long at most. The entry's id keeps files of one name apart. Nothing else
//! in the directory is touched.

mod shelves;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::sys::{Create, Fs, Wall, read_all, write_whole};

use self::shelves::Shelves;
use super::error::is_full;
use super::log::{WriteError, sync_dir};
use super::{EntryId, Spool, SpoolError, frame};

/// Files that are carried in one step.
const STEP_MAX: usize = 64;
/// How much is copied at a time.
const COPY_CHUNK: usize = 64 << 10;
/// How much of a file's own name is kept behind the entry's id.
const NAME_ROOM: usize = 200;
/// The file in a lane's directory that names its archive.
pub(super) const TARGET: &str = "archive";
/// The longest such file.
const TARGET_MAX: usize = 8 << 10;

/// Where the delivered files of a lane are kept, and how many of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// The directory; made when it is missing. On any filesystem, but not
    /// within the spool.
    pub dir: PathBuf,
    /// Bytes; beyond them the oldest files go.
    pub max_size: Option<u64>,
    /// Seconds; older files go, as soon as the clock can be trusted. A file
    /// may stay for an eighth of it, or for a day, longer.
    pub max_age_s: Option<u64>,
}

/// What the spool and its archiver share.
pub(super) struct Outbox {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    // No atomic: a MIPS of 32 bits has none for so many bits.
    bytes: Mutex<u64>,
    targets: Mutex<BTreeMap<u16, Archive>>,
}

impl Outbox {
    pub(super) fn new(fs: &Arc<dyn Fs>, spool: &Path) -> Outbox {
        Outbox {
            fs: fs.clone(),
            dir: spool.join("outbox"),
            bytes: Mutex::new(0),
            targets: Mutex::default(),
        }
    }

    /// Learns what is in the outbox.
    pub(super) fn open(&self) -> io::Result<()> {
        let mut bytes = 0;
        self.fs.read_dir(&self.dir, &mut |entry| {
            let meta = self.fs.meta(&self.dir.join(&entry.name));
            bytes += meta.map_or(0, |meta| meta.size);
            true
        })?;
        *self.held() = bytes;
        Ok(())
    }

    /// Learns where a lane's delivered files are to go.
    pub(super) fn open_target(&self, no: u16, lane_dir: &Path) {
        if let Some(archive) = read_target(&*self.fs, lane_dir) {
            self.targets().insert(no, archive);
        }
    }

    /// Bytes in the outbox.
    pub(super) fn bytes(&self) -> u64 {
        *self.held()
    }

    /// Lets a settled blob go: to the outbox if it is to be kept and its lane
    /// has an archive, else for good. A blob that is gone already is no error.
    pub(super) fn let_go(
        &self,
        id: EntryId,
        blob: &Path,
        path: &[u8],
        keep: bool,
    ) -> io::Result<()> {
        let kept = keep && self.targets().contains_key(&id.lane);
        let done = if kept {
            let size = self.fs.meta(blob).map_or(0, |meta| meta.size);
            let renamed = self.fs.rename(blob, &self.dir.join(name_of(id, path)));
            if renamed.is_ok() {
                let mut held = self.held();
                *held = held.saturating_add(size);
            }
            renamed
        } else {
            self.fs.unlink(blob)
        };
        match done {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Makes durable what was put in, before the place where it came from is
    /// given up for good.
    pub(super) fn sync(&self) -> Result<(), WriteError> {
        match self.targets().is_empty() {
            true => Ok(()),
            false => sync_dir(&*self.fs, &self.dir),
        }
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<u16, Archive>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn left(&self, bytes: u64) {
        // Only one archiver takes bytes off, and never more than were put on.
        let mut held = self.held();
        *held = held.saturating_sub(bytes);
    }
}

impl Spool {
    /// Says where the delivered files of a lane are to be kept; `None`: nowhere.
    /// It is remembered, so that files settled by the recovery are kept too.
    ///
    /// # Errors
    /// What the disk says.
    pub fn set_archive(&mut self, lane: &str, archive: Option<&Archive>) -> Result<(), SpoolError> {
        if archive.is_none() && !self.lanes.contains_key(lane) {
            return Ok(());
        }
        self.core.check_writable()?;
        self.make_lane(lane)?;
        let (core, lane) = self.parts(lane)?;
        if read_target(&*core.fs, &lane.dir).as_ref() == archive {
            return Ok(());
        }
        let path = lane.dir.join(TARGET);
        match archive {
            Some(archive) => {
                let mut bytes = Vec::new();
                frame::encode(archive, &mut bytes)
                    .and_then(|()| write_whole(&*core.fs, &path, &bytes))
                    .map_err(SpoolError::io("write", &path))?;
                core.outbox.targets().insert(lane.no, archive.clone());
            }
            None => {
                core.fs
                    .unlink(&path)
                    .map_err(SpoolError::io("remove", &path))?;
                core.outbox.targets().remove(&lane.no);
            }
        }
        Ok(())
    }

    /// The one that carries delivered files to the archives. One of them at a
    /// time; it does not need the spool's lock.
    #[must_use]
    pub fn archiver(&self) -> Archiver {
        Archiver {
            fs: self.core.fs.clone(),
            outbox: self.core.outbox.clone(),
            archives: BTreeMap::new(),
        }
    }
}

/// Carries delivered files from the outbox to the archives. Its calls block.
pub struct Archiver {
    fs: Arc<dyn Fs>,
    outbox: Arc<Outbox>,
    archives: BTreeMap<PathBuf, Shelves>,
}

/// One file in the outbox.
struct Parcel {
    id: EntryId,
    from: PathBuf,
    name: OsString,
    size: u64,
    /// Copied and not renamed: still to be removed from the outbox.
    copied: bool,
}

impl Archiver {
    /// Whether files wait in the outbox.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.outbox.bytes() > 0
    }

    /// Carries some files, and removes some that are over a limit. `now` is the
    /// wall clock if it can be trusted: ages wait until then. Answers whether
    /// there is more to do at once.
    ///
    /// # Errors
    /// When the outbox cannot be read. What goes wrong in an archive is logged.
    pub fn step(&mut self, now: Option<Wall>) -> io::Result<bool> {
        let parcels = self.parcels()?;
        let mut more = parcels.len() == STEP_MAX;
        self.meet_archives();
        let mut carried: BTreeMap<PathBuf, Vec<Parcel>> = BTreeMap::new();
        for mut parcel in parcels {
            let target = self.outbox.targets().get(&parcel.id.lane).cloned();
            let Some(archive) = target else {
                log::info!(
                    "{} is not archived any more; removed",
                    parcel.name.display()
                );
                self.remove(&parcel);
                continue;
            };
            match self.carry(&archive, &mut parcel, now) {
                Ok(shelf) => carried.entry(shelf).or_default().push(parcel),
                Err(e) => {
                    log::error!(
                        "cannot archive {} in {}: {e}; it was delivered and is removed",
                        parcel.name.display(),
                        archive.dir.display()
                    );
                    self.remove(&parcel);
                }
            }
        }
        self.make_durable(&carried);
        for shelves in self.archives.values_mut() {
            more |= shelves.tidy(&*self.fs, now);
        }
        Ok(more)
    }

    /// The next files of the outbox, oldest first among themselves.
    fn parcels(&self) -> io::Result<Vec<Parcel>> {
        let mut parcels = Vec::new();
        let mut strangers = Vec::new();
        self.fs.read_dir(&self.outbox.dir, &mut |entry| {
            let from = self.outbox.dir.join(&entry.name);
            match id_of(&entry.name) {
                Some(id) => parcels.push(Parcel {
                    id,
                    size: self.fs.meta(&from).map_or(0, |meta| meta.size),
                    from,
                    name: entry.name,
                    copied: false,
                }),
                None => strangers.push(from),
            }
            parcels.len() + strangers.len() < STEP_MAX
        })?;
        for path in strangers {
            log::warn!("{} does not belong here", path.display());
            self.fs.unlink(&path)?;
        }
        parcels.sort_by_key(|parcel| parcel.id);
        Ok(parcels)
    }

    /// Limits hold also for archives to which nothing comes.
    fn meet_archives(&mut self) {
        let targets: Vec<Archive> = self.outbox.targets().values().cloned().collect();
        self.archives
            .retain(|dir, _| targets.iter().any(|target| target.dir == *dir));
        for target in targets {
            let shelves = self
                .archives
                .entry(target.dir.clone())
                .or_insert_with(|| Shelves::new(&target.dir));
            shelves.limit(target.max_size, target.max_age_s);
        }
    }

    /// Puts a file on its shelf; gives the shelf.
    fn carry(
        &mut self,
        archive: &Archive,
        parcel: &mut Parcel,
        now: Option<Wall>,
    ) -> io::Result<PathBuf> {
        let fs = &*self.fs;
        let Some(shelves) = self.archives.get_mut(&archive.dir) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        match put(fs, shelves, parcel, now) {
            Err(e) if is_full(&e) && shelves.make_room(fs, parcel.size) => {
                put(fs, shelves, parcel, now)
            }
            // Somebody removed the shelf: it is looked at anew.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                shelves.forget();
                put(fs, shelves, parcel, now)
            }
            put => put,
        }
    }

    /// Flushes the shelves, and only then removes what was copied to them.
    fn make_durable(&self, carried: &BTreeMap<PathBuf, Vec<Parcel>>) {
        for (shelf, parcels) in carried {
            if let Err(e) = self.fs.sync_dir(shelf) {
                log::error!("cannot flush the archive {}: {e}", shelf.display());
            }
            for parcel in parcels {
                if parcel.copied {
                    self.remove(parcel);
                } else {
                    self.outbox.left(parcel.size);
                }
            }
        }
        if !carried.is_empty()
            && let Err(e) = self.fs.sync_dir(&self.outbox.dir)
        {
            // Files may stand here again after a power cut: archived twice.
            log::warn!("cannot flush {}: {e}", self.outbox.dir.display());
        }
    }

    fn remove(&self, parcel: &Parcel) {
        self.outbox.left(parcel.size);
        if let Err(e) = self.fs.unlink(&parcel.from) {
            log::warn!("cannot remove {}: {e}", parcel.from.display());
        }
    }
}

/// Renames or copies a file to the newest shelf.
fn put(
    fs: &dyn Fs,
    shelves: &mut Shelves,
    parcel: &mut Parcel,
    now: Option<Wall>,
) -> io::Result<PathBuf> {
    let shelf = shelves.newest(fs, now)?;
    let to = shelf.join(&parcel.name);
    match fs.rename(&parcel.from, &to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            copy(fs, &parcel.from, &to)?;
            parcel.copied = true;
        }
        renamed => renamed?,
    }
    shelves.count_in(parcel.size);
    Ok(shelf)
}

/// Copies a file durably; its name appears when all of it is there.
fn copy(fs: &dyn Fs, from: &Path, to: &Path) -> io::Result<()> {
    let mut part = to.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let copied = (|| {
        let (from, file) = (fs.open(from)?, fs.create(&part, Create::Keep)?);
        file.set_len(0)?;
        let mut chunk = vec![0; COPY_CHUNK];
        let mut at = 0;
        loop {
            let got = from.read_at(&mut chunk, at)?;
            if got == 0 {
                break;
            }
            file.write_at(chunk.get(..got).unwrap_or_default(), at)?;
            at += got as u64;
        }
        file.sync()?;
        fs.rename(&part, to)
    })();
    if copied.is_err() {
        // If it stays, it goes with its shelf.
        let _best_effort = fs.unlink(&part);
    }
    copied
}

/// The name of a file in the outbox and in the archive.
fn name_of(id: EntryId, path: &[u8]) -> OsString {
    let mut name = id.to_string().into_bytes();
    name.push(b'-');
    let last = path.rsplit(|&b| b == b'/').next().unwrap_or_default();
    name.extend(last.iter().take(NAME_ROOM));
    OsStr::from_bytes(&name).to_owned()
}

/// The entry that a file in the outbox or the archive was.
fn id_of(name: &OsStr) -> Option<EntryId> {
    let mut parts = name.as_bytes().splitn(3, |&b| b == b'-');
    let (tag, place) = (parts.next()?, parts.next()?);
    parts.next()?;
    let id = [tag, b"-", place].concat();
    std::str::from_utf8(&id).ok()?.parse().ok()
}

fn read_target(fs: &dyn Fs, lane_dir: &Path) -> Option<Archive> {
    let path = lane_dir.join(TARGET);
    let bytes = read_all(fs, &path, TARGET_MAX).ok()?;
    let file = fs.open(&path).ok().filter(|_| !bytes.is_empty())?;
    frame::read_one(&*file, 0).ok()
}
