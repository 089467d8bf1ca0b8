//! Taking files into the spool: many files, one flush.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::sabotage::{Sabotage, is_on};
use crate::sys::{Create, File, Fs, Kind, Meta};

use super::error::TakeError;
use super::frame;
use super::log::{flushed, sync_dir};
use super::record::{Add, Origin, Record};
use super::segment::State;
use super::source;
use super::{EntryId, Spool, SpoolError};

/// Files of one group commit at most.
const BATCH_MAX: usize = 512;
/// Up to so many files are flushed one by one; for more, the filesystem is.
const FLUSH_EACH_MAX: usize = 8;
/// The longest path and the longest part of one.
const PATH_MAX: usize = 4096;
const NAME_MAX: usize = 255;
/// How much is copied at a time.
const COPY_CHUNK: usize = 64 << 10;

/// Whether the source goes or stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// The source becomes the entry: renamed, or across filesystems copied
    /// and then removed.
    Move,
    /// The source stays; see [`Spool::is_seen`].
    Copy,
}

/// A file to take.
#[derive(Clone, Debug)]
pub struct Taking {
    /// Where it is.
    pub source: PathBuf,
    /// Its path below the watched directory, in bytes.
    pub path: Vec<u8>,
    /// Whether the source goes or stays.
    pub how: How,
    /// The file that was looked at; another one is not taken.
    pub expect: Meta,
    /// It counts as finished because nobody has it open for writing: if somebody
    /// has by now, it is not taken.
    pub closed: bool,
}

/// One file on its way in.
struct Incoming<'a> {
    /// Its place in the answer.
    at: usize,
    taking: &'a Taking,
    origin: Origin,
    index: u16,
}

impl Spool {
    /// Takes files into a lane, making the lane if need be. When this returns,
    /// every file that has an id is in the spool durably, and its source is
    /// gone if it was to go. The answers stand in the order of the files.
    pub fn take(&mut self, lane: &str, takings: &[Taking]) -> Vec<Result<EntryId, TakeError>> {
        let mut results = Vec::with_capacity(takings.len());
        for batch in takings.chunks(BATCH_MAX) {
            let mut answers: Vec<Option<Result<EntryId, TakeError>>> = vec![None; batch.len()];
            if let Err(error) = self.take_batch(lane, batch, &mut answers) {
                let left = answers.iter_mut().filter(|a| a.is_none());
                left.for_each(|a| *a = Some(Err(error.clone().into())));
            }
            results.extend(
                answers
                    .into_iter()
                    .map(|a| a.unwrap_or(Err(TakeError::Gone))),
            );
        }
        self.unload();
        results
    }

    fn take_batch(
        &mut self,
        lane: &str,
        batch: &[Taking],
        answers: &mut [Option<Result<EntryId, TakeError>>],
    ) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        self.make_lane(lane)?;
        let admitted = self.admit(lane, batch, answers)?;
        let coming = self.bring_in(lane, batch, &admitted, answers)?;
        if coming.is_empty() {
            return Ok(());
        }
        if is_on(Sabotage::RemoveSourceEarly) {
            let copied = coming.iter().filter(|c| c.origin == Origin::Moved);
            let_sources_go(
                &*self.core.fs,
                &copied.map(|c| (c, true)).collect::<Vec<_>>(),
            );
        }
        let flushed = self.flush_contents(lane, &coming, answers);
        let whole = |c: &Incoming<'_>| answers.get(c.at).is_some_and(Option::is_none);
        let (coming, failed): (Vec<_>, Vec<_>) = coming.into_iter().partition(whole);
        self.remove_parts(lane, &failed);
        if coming.is_empty() {
            return flushed;
        }
        let recorded = flushed.and_then(|()| self.record_intents(lane, &coming));
        if recorded.is_err() {
            // On a full disk above all, they must not stay.
            self.remove_parts(lane, &coming);
        }
        recorded?;
        self.fulfil(lane, &coming, answers)
    }

    /// Removes copies that do not become entries. One that stays is overwritten
    /// by the next copy, or removed by the next start.
    fn remove_parts(&mut self, lane: &str, coming: &[Incoming<'_>]) {
        let Ok((core, lane)) = self.parts(lane) else {
            return;
        };
        let Ok(tail) = lane.current(core) else { return };
        for c in coming.iter().filter(|c| c.origin != Origin::Renamed) {
            let _best_effort = core.fs.unlink(&tail.part_path(c.index));
        }
    }

    /// Checks each file, and copies those that cannot be renamed.
    fn bring_in<'a>(
        &mut self,
        lane: &str,
        batch: &'a [Taking],
        admitted: &[usize],
        answers: &mut [Option<Result<EntryId, TakeError>>],
    ) -> Result<Vec<Incoming<'a>>, SpoolError> {
        let dev = self.dev;
        let (core, lane) = self.parts(lane)?;
        let tail = lane.tail(core, admitted.len())?;
        let mut index = tail.index.as_ref().map_or(0, |i| i.slots.len());
        let mut coming = Vec::new();
        for &at in admitted {
            let Some(taking) = batch.get(at) else {
                continue;
            };
            let origin = match taking.how {
                How::Copy => Origin::Copied,
                How::Move if taking.expect.dev == dev && core.trusts(&taking.expect) => {
                    Origin::Renamed
                }
                How::Move => Origin::Moved,
            };
            let slot = u16::try_from(index).unwrap_or(u16::MAX);
            let brought = match origin {
                Origin::Renamed => Ok(()),
                _ => copy(&*core.fs, taking, &tail.part_path(slot)).map(drop),
            };
            match brought {
                Ok(()) => {
                    index += 1;
                    coming.push(Incoming {
                        at,
                        taking,
                        origin,
                        index: slot,
                    });
                }
                Err(error) => answer(answers, at, Err(error)),
            }
        }
        Ok(coming)
    }

    /// Makes all contents durable: file by file for a few, in one go for many.
    fn flush_contents(
        &mut self,
        lane: &str,
        coming: &[Incoming<'_>],
        answers: &mut [Option<Result<EntryId, TakeError>>],
    ) -> Result<(), SpoolError> {
        if coming.len() > FLUSH_EACH_MAX {
            // A flush of this filesystem that fails concerns the spool as well.
            let dir = self.core.dir.clone();
            let done = flushed(self.core.fs.sync_fs(&dir));
            return self.core.written(done, "flush", &dir);
        }
        let (core, lane) = self.parts(lane)?;
        let tail = lane.current(core)?;
        for c in coming {
            let part = tail.part_path(c.index);
            let path = match c.origin {
                Origin::Renamed => &c.taking.source,
                _ => &part,
            };
            if let Err(e) = core.fs.open(path).and_then(|file| file.sync()) {
                // The source itself is no worse for a copy of it that failed.
                if c.origin == Origin::Renamed {
                    core.distrust(&c.taking.expect);
                }
                answer(answers, c.at, Err(TakeError::source_error(e)));
            }
        }
        Ok(())
    }

    /// Appends the batch to the log, and flushes it.
    fn record_intents(&mut self, lane: &str, coming: &[Incoming<'_>]) -> Result<(), SpoolError> {
        let queued_ns = self.core.clock.wall().0;
        let (core, lane) = self.parts(lane)?;
        let tail = lane.current(core)?;
        let path = tail.log_path();
        let Some(index) = tail.index.as_mut() else {
            return Err(SpoolError::ReadOnly);
        };
        let done = u16::try_from(index.slots.len()).unwrap_or(u16::MAX);
        let encode = SpoolError::io("write a record to", &path);
        let (bytes, offsets) = intents(coming, done, queued_ns).map_err(encode)?;
        let base = index.log.append(&bytes);
        let base = core.written(base, "write to", &path)?;
        let synced = index.log.sync();
        core.written(synced, "flush", &path)?;
        tail.oldest_ns = tail.oldest_ns.min(queued_ns);
        for (c, offset) in coming.iter().zip(offsets) {
            // Void until it is fulfilled: nobody may see it yet.
            index.set(c.index, State::Void, Some(base + offset));
        }
        Ok(())
    }

    /// Puts the blobs in their places, and lets the sources go.
    fn fulfil(
        &mut self,
        lane: &str,
        coming: &[Incoming<'_>],
        answers: &mut [Option<Result<EntryId, TakeError>>],
    ) -> Result<(), SpoolError> {
        let fs = self.core.fs.clone();
        let tag = self.core.tag;
        let (core, lane) = self.parts(lane)?;
        let lane_no = lane.no;
        let tail = lane.current(core)?;
        let (blob_dir, log_path) = (tail.blob_dir(), tail.log_path());
        let mut voids = Vec::new();
        let mut there = Vec::new();
        for c in coming {
            let part = tail.part_path(c.index);
            match place(&*fs, c, &part, &tail.blob_path(c.index)) {
                Ok(source_left) => there.push((c, source_left)),
                Err(error) => {
                    let void = Record::Void { index: c.index };
                    frame::encode(&void, &mut voids).map_err(SpoolError::io("write", &log_path))?;
                    answer(answers, c.at, Err(error));
                }
            }
        }
        if let Some(index) = tail.index.as_mut() {
            // Before the next batch says that this one came to its end.
            index.log.owe(&voids);
        }
        let synced = sync_dir(&*fs, &blob_dir);
        core.written(synced, "flush", &blob_dir)?;
        let stay = let_sources_go(&*fs, &there);
        for (c, _) in there {
            if let Some(index) = tail.index.as_mut() {
                index.set(c.index, State::Waiting, None);
            }
            tail.waiting.add(c.taking.expect.size);
            let id = EntryId {
                tag,
                lane: lane_no,
                segment: tail.no,
                index: c.index,
            };
            answer(answers, c.at, Ok(id));
        }
        for c in coming.iter().filter(|c| c.origin == Origin::Copied) {
            let taken = answers.get(c.at).is_some_and(|a| matches!(a, Some(Ok(_))));
            if let Some(seen) = lane.seen.as_mut().filter(|_| taken) {
                seen.insert(
                    &c.taking.path,
                    c.taking.expect.size,
                    c.taking.expect.mtime_ns,
                );
            }
        }
        core.remember_stays(lane, &stay)
    }
}

pub(super) fn answer(
    answers: &mut [Option<Result<EntryId, TakeError>>],
    at: usize,
    result: Result<EntryId, TakeError>,
) {
    if let Some(slot) = answers.get_mut(at) {
        *slot = Some(result);
    }
}

/// The frames of a batch, and where each add record stands in them.
fn intents(coming: &[Incoming<'_>], done: u16, queued_ns: i64) -> io::Result<(Vec<u8>, Vec<u64>)> {
    let mut bytes = Vec::new();
    let mut offsets = Vec::with_capacity(coming.len());
    frame::encode(&Record::Batch { done }, &mut bytes)?;
    for c in coming {
        offsets.push(bytes.len() as u64);
        let source = match c.taking.how {
            How::Move => c.taking.source.as_os_str().as_bytes().to_vec(),
            How::Copy => Vec::new(),
        };
        let add = Add {
            index: c.index,
            path: c.taking.path.clone(),
            size: c.taking.expect.size,
            mtime_ns: c.taking.expect.mtime_ns,
            queued_ns,
            origin: c.origin,
            source,
        };
        frame::encode(&Record::Add(add), &mut bytes)?;
    }
    Ok((bytes, offsets))
}

/// Renames what came in to its place. `true` when the source is still to be
/// removed.
fn place(fs: &dyn Fs, c: &Incoming<'_>, part: &Path, blob: &Path) -> Result<bool, TakeError> {
    if c.origin != Origin::Renamed {
        fs.rename(part, blob).map_err(TakeError::source_error)?;
        return Ok(c.origin == Origin::Moved);
    }
    match fs.rename(&c.taking.source, blob) {
        // One device number, and still not one filesystem: a bind mount.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let copy = copy(fs, c.taking, part)?;
            copy.sync().map_err(TakeError::source_error)?;
            fs.rename(part, blob).map_err(TakeError::source_error)?;
            Ok(true)
        }
        // An error that came after the deed: the file is here, and nowhere else.
        Err(_) if fs.meta(blob).is_ok() => Ok(false),
        renamed => {
            renamed.map_err(TakeError::source_error)?;
            is_it(fs, c.taking, blob).map(|()| false)
        }
    }
}

/// Sees to it that the file which was renamed is the one that was looked at and
/// flushed, and finished. Another one goes back.
fn is_it(fs: &dyn Fs, taking: &Taking, blob: &Path) -> Result<(), TakeError> {
    let meta = fs.meta(blob).map_err(TakeError::source_error)?;
    if is_still(fs, taking, blob, &meta) || is_on(Sabotage::KeepWhatCame) {
        return Ok(());
    }
    match source::give_back_or_drop(fs, blob, &taking.source) {
        Ok(()) => Err(TakeError::Changed),
        // Then it is delivered as it is.
        Err(e) => {
            let shown = taking.source.display();
            log::warn!("{shown} changed while it was taken, and cannot be given back: {e}");
            Ok(())
        }
    }
}

/// Whether a file that stands at `held` now is the one that was looked at, and
/// still finished. Nobody opens it there; who opened it before may still write.
pub(super) fn is_still(fs: &dyn Fs, taking: &Taking, held: &Path, meta: &Meta) -> bool {
    is_same(meta, &taking.expect) && !(taking.closed && source::is_written(fs, held))
}

/// Removes the sources of copies, and makes it durable that sources are gone.
/// Gives the files whose sources stay, or may be there again after a power cut.
fn let_sources_go<'a>(fs: &dyn Fs, there: &[(&'a Incoming<'a>, bool)]) -> Vec<&'a Taking> {
    let mut dirs = BTreeSet::new();
    let mut stay = Vec::new();
    for (c, source_left) in there {
        let source = &c.taking.source;
        let is_copied = |held: &Path, meta: &Meta| is_still(fs, c.taking, held, meta);
        if *source_left && let Err(e) = source::let_go(fs, source, &is_copied) {
            log::warn!("cannot remove {} after it was taken: {e}", source.display());
            stay.push(c.taking);
        }
        if c.taking.how == How::Move {
            dirs.extend(source.parent());
        }
    }
    for dir in dirs {
        if let Err(e) = fs.sync_dir(dir) {
            log::debug!("cannot flush {}: {e}", dir.display());
            let copied = there.iter().filter(|(_, source_left)| *source_left);
            let copied = copied.map(|(c, _)| c.taking);
            stay.extend(copied.filter(|taking| taking.source.parent() == Some(dir)));
        }
    }
    stay
}

/// Copies a source to `part`, if it is and stays the file expected. The copy
/// is not flushed yet.
fn copy(fs: &dyn Fs, taking: &Taking, part: &Path) -> Result<Box<dyn File>, TakeError> {
    let from = fs.open(&taking.source).map_err(TakeError::source_error)?;
    let copied = (|| {
        let to = fs.create(part, Create::Keep)?;
        to.set_len(0)?;
        let mut chunk = vec![0; COPY_CHUNK];
        let mut at = 0;
        loop {
            let got = from.read_at(&mut chunk, at)?;
            if got == 0 || at > taking.expect.size {
                break;
            }
            to.write_at(chunk.get(..got).unwrap_or_default(), at)?;
            at += got as u64;
        }
        Ok((at, from.meta()?, to))
    })();
    let checked = match copied {
        Ok((size, meta, to)) if size == taking.expect.size && is_same(&meta, &taking.expect) => {
            Ok(to)
        }
        Ok(_) => Err(TakeError::Changed),
        Err(e) => Err(TakeError::source_error(e)),
    };
    if checked.is_err() {
        // If it stays, the next copy overwrites it or the next start removes it.
        let _best_effort = fs.unlink(part);
    }
    checked
}

/// Whether a file is still the one that was looked at.
pub(super) fn is_same(now: &Meta, expect: &Meta) -> bool {
    (now.dev, now.ino, now.size, now.mtime_ns)
        == (expect.dev, expect.ino, expect.size, expect.mtime_ns)
}

/// Checks one file before anything is done with it.
pub(super) fn check(fs: &dyn Fs, taking: &Taking) -> Result<(), TakeError> {
    if !is_uploadable(&taking.path) {
        return Err(TakeError::BadName);
    }
    let meta = fs.meta(&taking.source).map_err(TakeError::source_error)?;
    match meta.kind {
        Kind::File if is_same(&meta, &taking.expect) => Ok(()),
        Kind::File => Err(TakeError::Changed),
        _ => Err(TakeError::NotAFile),
    }
}

/// Whether a path can be sent in an FTP command and stays below its directory.
fn is_uploadable(path: &[u8]) -> bool {
    let part = |p: &[u8]| !p.is_empty() && p != b"." && p != b".." && p.len() <= NAME_MAX;
    path.len() <= PATH_MAX
        && !path.iter().any(|b| b"\r\n\0".contains(b))
        && path.split(|&b| b == b'/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_do_harm_are_refused() {
        let long = [b'a'; 256];
        for bad in [
            &b""[..],
            b"/a",
            b"a/",
            b"a//b",
            b".",
            b"a/../b",
            b"a\rb",
            b"a\nb",
            b"a\0b",
            &long,
        ] {
            assert!(!is_uploadable(bad), "{}", bad.escape_ascii());
        }
        for good in [
            &b"a"[..],
            b"-rf",
            b"a b/c",
            b"\xff\xfe",
            b"..a",
            &long[..255],
        ] {
            assert!(is_uploadable(good), "{}", good.escape_ascii());
        }
    }
}
