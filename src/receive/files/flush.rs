//! Many finished files, one flush.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use smol::channel::{Receiver, Sender, bounded};

use super::FileError;
use super::place::{Place, Turn};
use crate::sys::{File, Pool, Tree};

/// Collects files that are to become durable while a flush is under way; the
/// next one is for all of them.
#[derive(Default)]
pub(super) struct Flusher {
    waiting: Mutex<Vec<Job>>,
    leading: smol::lock::Mutex<()>,
}

type Flushed = Result<(), FileError>;

struct Job {
    file: Arc<dyn File>,
    path: Vec<u8>,
    /// The right to change the file.
    turn: Turn,
    done: Sender<Flushed>,
}

impl Place {
    /// Marks a file as finished, and makes it and its name durable. A file whose
    /// flush failed is removed: nobody knows what of it is on the disk.
    pub(super) async fn finish(
        self: &Arc<Place>,
        pool: &Pool,
        file: Arc<dyn File>,
        path: Vec<u8>,
        turn: Turn,
    ) -> Result<(), FileError> {
        let (done, result): (_, Receiver<Flushed>) = bounded(1);
        self.flusher.push(Job {
            file,
            path,
            turn,
            done,
        });
        let _leading = self.flusher.leading.lock().await;
        if let Ok(result) = result.try_recv() {
            return result;
        }
        let batch = self.flusher.take();
        let place = self.clone();
        // Each is answered from the pool, so that whoever leads may be dropped.
        pool.run(move || flush(&*place.tree, batch)).await;
        let lost = Err(FileError::Disk(io::ErrorKind::Other));
        result.recv().await.unwrap_or(lost)
    }
}

impl Flusher {
    fn push(&self, job: Job) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(job);
    }

    fn take(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut waiting)
    }
}

fn flush(tree: &dyn Tree, batch: Vec<Job>) {
    let marked: Vec<Flushed> = batch.iter().map(|job| mark_finished(tree, job)).collect();
    let flushed = if batch.len() > FLUSH_EACH_MAX {
        let all = tree.sync_fs();
        batch.iter().map(|_| copy_of(&all)).collect()
    } else {
        flush_each(tree, &batch)
    };
    for ((job, marked), flushed) in batch.into_iter().zip(marked).zip(flushed) {
        if flushed.is_err()
            && let Some(_still_ours) = job.turn.hold()
        {
            let _best_effort = tree.unlink(&job.path);
        }
        let result = marked.and(flushed.map_err(FileError::from));
        let _nobody_waits_any_more = job.done.try_send(result);
    }
}

/// Flushes the files, then the directories that lead to them.
fn flush_each(tree: &dyn Tree, batch: &[Job]) -> Vec<io::Result<()>> {
    let mut results: Vec<_> = batch.iter().map(|job| job.file.sync()).collect();
    let mut dirs = BTreeSet::new();
    for job in batch {
        let ends = job.path.iter().enumerate().filter(|(_, b)| **b == b'/');
        dirs.extend(ends.filter_map(|(end, _)| job.path.get(..end)));
        dirs.insert(b"".as_slice());
    }
    for dir in dirs {
        let Err(e) = tree.sync_dir(dir) else { continue };
        for (job, result) in batch.iter().zip(&mut results) {
            if dir.is_empty()
                || job
                    .path
                    .strip_prefix(dir)
                    .is_some_and(|r| r.starts_with(b"/"))
            {
                *result = Err(e.kind().into());
            }
        }
    }
    results
}

/// Clears the mark of an unfinished file, where the filesystem keeps one.
fn mark_finished(tree: &dyn Tree, job: &Job) -> Flushed {
    let _still_ours = job.turn.hold().ok_or(FileError::Busy)?;
    match job.file.meta()?.mode & UNFINISHED {
        0 => Ok(()),
        _ => Ok(tree.set_mode(&job.path, FINISHED)?),
    }
}

fn copy_of(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(e) => Err(e.kind().into()),
    }
}

/// Up to so many files are flushed one by one; for more, the filesystem is.
const FLUSH_EACH_MAX: usize = 8;

/// The sticky bit means nothing on a file; here, that it is unfinished.
pub(super) const UNFINISHED: u32 = 0o1000;
/// The permissions of a finished file: the group may read it.
pub(super) const FINISHED: u32 = 0o640;
