//! Archives: delivered files are kept in a directory of the user's, within a size
//! and an age.
//!
//! A file goes there by a rename as it leaves the spool. To another filesystem it
//! is copied before. Only files that were put there by an agent (`ID-name`) are
//! ever removed.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Agent;
use super::settling::Leaving;
use super::setup::ArchiveSetup;
use crate::spool::{Entry, EntryId};
use crate::supervisor::LaneId;
use crate::sys::{Create, File, Fs, Kind, Mono, Wall};

/// What is left of a file name's 255 bytes beside the entry's id.
const NAME_ROOM: usize = 200;
/// Between two looks at how much is in an archive.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
/// Looking may take at most this part of the time.
const PRUNE_REST: u32 = 50;
/// Files that are removed after one look.
const PRUNE_BATCH: usize = 256;
const COPY_BUFFER: usize = 128 << 10;

impl Agent {
    /// Where a delivered file is kept, if it is.
    pub(super) fn archive_path(&self, lane: LaneId, entry: &Entry) -> Option<PathBuf> {
        let archive = self.lane(lane)?.archive.as_ref()?;
        // The id keeps two versions of one file apart.
        let mut name = entry.id.to_string().into_bytes();
        name.push(b'-');
        let last = entry.path.rsplit(|b| *b == b'/').next().unwrap_or_default();
        name.extend(last.iter().take(NAME_ROOM));
        Some(archive.dir.join(OsStr::from_bytes(&name)))
    }

    /// Copies what cannot be renamed into its archive. What fails is said, and not
    /// kept: it has been delivered.
    pub(super) async fn archive_elsewhere(&self, batch: &mut [Leaving]) {
        for leaving in batch {
            let Some(to) = leaving.settlement.archive.clone() else {
                continue;
            };
            let (fs, spool_dir) = (self.sys.fs.clone(), self.setup.spool_dir.clone());
            let dir = to.parent().unwrap_or(Path::new(".")).to_owned();
            let prepare = move || {
                create_dirs(&*fs, &dir)?;
                let device = |dir: &Path| fs.meta(&dir.join(".")).map(|meta| meta.dev);
                Ok::<bool, io::Error>(device(&dir)? == device(&spool_dir)?)
            };
            let copied = match self.sys.pool.run(prepare).await {
                Ok(true) => continue,
                Ok(false) => self.copy_out(leaving.settlement.id, &to).await,
                Err(e) => Err(e.to_string()),
            };
            leaving.settlement.archive = None;
            if let Err(e) = copied {
                let (watch, to) = (&leaving.settlement.receipt.watch, to.display());
                log::warn!("watch {watch:?}: cannot keep {to}: {e} (it is delivered)");
            }
        }
    }

    async fn copy_out(&self, id: EntryId, to: &Path) -> Result<(), String> {
        let blob = self.spool.with(move |spool| spool.open_blob(id)).await;
        let blob = blob.map_err(|e| e.to_string())?;
        let (fs, to) = (self.sys.fs.clone(), to.to_owned());
        let copying = move || copy(&*fs, &*blob, &to);
        self.sys.pool.run(copying).await.map_err(|e| e.to_string())
    }

    /// Keeps each archive within its limits, if it is time to look again.
    pub(super) async fn prune_archives(&self) {
        let begun = self.sys.clock.mono();
        if self.next_prune.get() > begun {
            return;
        }
        self.next_prune.set(begun.after(PRUNE_EVERY));
        let now = self.moment();
        let now = now.trust.is_sane().then_some(now.wall);
        for lane in &self.setup.lanes {
            let Some(archive) = lane.archive.clone() else {
                continue;
            };
            let (fs, dir) = (self.sys.fs.clone(), archive.dir.clone());
            let pruned = self.sys.pool.run(move || prune(&*fs, &archive, now)).await;
            match pruned {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    let watch = &lane.watch.name;
                    log::warn!("watch {watch:?}: archive {}: {e}", dir.display());
                }
                _ => {}
            }
        }
        let ended = self.sys.clock.mono();
        let rest = ended.since(begun).saturating_mul(PRUNE_REST);
        let earliest: Mono = ended.after(rest);
        self.next_prune.set(self.next_prune.get().max(earliest));
    }
}

fn create_dirs(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    if fs.meta(dir).is_ok() {
        return Ok(());
    }
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        create_dirs(fs, parent)?;
    }
    match fs.create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Under a hidden name first, so that nobody sees half a file.
fn copy(fs: &dyn Fs, from: &dyn File, to: &Path) -> io::Result<()> {
    let mut hidden = OsString::from(".");
    hidden.push(to.file_name().unwrap_or_default());
    let part = to.with_file_name(hidden);
    let copied = copy_bytes(fs, from, &part).and_then(|()| fs.rename(&part, to));
    if copied.is_err() {
        // It may not have come to be; there is nothing more to be done.
        let _gone = fs.unlink(&part);
    }
    copied
}

fn copy_bytes(fs: &dyn Fs, from: &dyn File, part: &Path) -> io::Result<()> {
    let to = fs.create(part, Create::Keep)?;
    to.set_len(0)?;
    let mut buffer = vec![0; COPY_BUFFER];
    let mut at = 0;
    loop {
        let read = from.read_at(&mut buffer, at)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return to.sync();
        };
        to.write_at(bytes, at)?;
        at += read as u64;
    }
}

/// Removes files that are too old, then the oldest until the rest is small enough.
/// Without a clock to trust (`now`), no file is too old.
fn prune(fs: &dyn Fs, archive: &ArchiveSetup, now: Option<Wall>) -> io::Result<()> {
    loop {
        let look = look(fs, archive, now)?;
        let mut total = look.total;
        let mut removed = 0;
        for (_, size, name) in look.oldest.into_sorted_vec() {
            let too_large = archive.max_size.is_some_and(|max| total > max);
            if !too_large {
                break;
            }
            fs.unlink(&archive.dir.join(name))?;
            total = total.saturating_sub(size);
            removed += 1;
        }
        for name in &look.expired {
            fs.unlink(&archive.dir.join(name))?;
            removed += 1;
        }
        if removed < PRUNE_BATCH {
            return Ok(());
        }
    }
}

/// What a look at an archive brought.
#[derive(Default)]
struct Look {
    /// Bytes of the files that are not too old.
    total: u64,
    /// When each of the oldest came, its size and its name.
    oldest: BinaryHeap<(i64, u64, OsString)>,
    expired: Vec<OsString>,
}

fn look(fs: &dyn Fs, archive: &ArchiveSetup, now: Option<Wall>) -> io::Result<Look> {
    let mut look = Look::default();
    let oldest_ns = match (archive.max_age_s, now) {
        (Some(age), Some(now)) => {
            let age_ns = i64::try_from(age)
                .unwrap_or(i64::MAX)
                .saturating_mul(1_000_000_000);
            now.0.saturating_sub(age_ns)
        }
        _ => i64::MIN,
    };
    fs.read_dir(&archive.dir.join("."), &mut |entry| {
        if !is_ours(&entry.name) {
            return true;
        }
        // It may have been taken away meanwhile.
        let Ok(meta) = fs.meta(&archive.dir.join(&entry.name)) else {
            return true;
        };
        if meta.kind != Kind::File {
            return true;
        }
        // The rename into the archive set the time of its last change.
        if meta.ctime_ns < oldest_ns {
            look.expired.push(entry.name);
            return look.expired.len() < PRUNE_BATCH;
        }
        look.total = look.total.saturating_add(meta.size);
        look.oldest.push((meta.ctime_ns, meta.size, entry.name));
        if look.oldest.len() > PRUNE_BATCH {
            look.oldest.pop();
        }
        true
    })?;
    Ok(look)
}

/// Whether an agent put this file there.
fn is_ours(name: &OsStr) -> bool {
    let id = name.to_string_lossy();
    let mut parts = id.splitn(3, '-');
    let id = (parts.next(), parts.next(), parts.next());
    matches!(id, (Some(tag), Some(place), Some(_))
        if format!("{tag}-{place}").parse::<EntryId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsFs;

    /// An archive with files of ten bytes, oldest first, and one of somebody else.
    fn archive(files: usize) -> (tempfile::TempDir, ArchiveSetup) {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..files {
            let name = format!("5f1c2a90-{n:x}-photo-{n}.jpg");
            std::fs::write(dir.path().join(name), "0123456789").unwrap();
        }
        std::fs::write(dir.path().join("mine.jpg"), "0123456789").unwrap();
        let setup = ArchiveSetup {
            dir: dir.path().to_owned(),
            max_size: None,
            max_age_s: None,
        };
        (dir, setup)
    }

    fn names(dir: &Path) -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn beyond_its_size_an_archive_loses_files_but_none_of_others() {
        let (dir, mut setup) = archive(300);
        setup.max_size = Some(25);
        prune(&OsFs, &setup, None).unwrap();
        let left = names(dir.path());
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(left.contains(&"mine.jpg".to_owned()));
    }

    #[test]
    fn old_files_go_only_when_the_clock_is_to_be_trusted() {
        let (dir, mut setup) = archive(3);
        setup.max_age_s = Some(60);
        let far = Wall(i64::MAX);
        prune(&OsFs, &setup, None).unwrap();
        assert_eq!(names(dir.path()).len(), 4);
        prune(&OsFs, &setup, Some(Wall(0))).unwrap();
        assert_eq!(names(dir.path()).len(), 4);
        prune(&OsFs, &setup, Some(far)).unwrap();
        assert_eq!(names(dir.path()), ["mine.jpg"]);
    }

    #[test]
    fn a_copy_is_whole_or_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        let content: Vec<u8> = (0..300_000u32).map(|n| n.to_le_bytes()[0]).collect();
        std::fs::write(&from, &content).unwrap();
        let blob = OsFs.open(&from).unwrap();
        copy(&OsFs, &*blob, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), content);
        copy(&OsFs, &*blob, &dir.path().join("gone/to")).unwrap_err();
        assert_eq!(names(dir.path()), ["from", "to"]);
    }
}
