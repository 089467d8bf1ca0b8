//! Hints from the kernel (inotify), by way of the `notify` crate.
//!
//! notify calls back on a thread of its own. The callback sorts out the few
//! events that matter and hands them over through a queue of fixed size; when
//! that is full, or the kernel's own queue overflowed, a flag asks for a scan
//! instead.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, Flag, ModifyKind, RenameMode};
use notify::{
    Config, ErrorKind, Event, EventKind, EventKindMask, INotifyWatcher, RecursiveMode, Watcher,
};
use smol::channel::{Receiver, Sender, TrySendError, bounded};

use crate::sys::{LocalFuture, Pool};

use super::hints::{Hint, HintSource, Hints, NoHints};

/// Hints that may wait for us to look.
const QUEUE: usize = 512;

/// Opens inotify for each directory.
pub struct Inotify {
    pool: Pool,
}

impl Inotify {
    /// The source of this machine's kernel. Watching a tree walks it, which is
    /// done on the pool.
    #[must_use]
    pub fn new(pool: Pool) -> Inotify {
        Inotify { pool }
    }
}

impl HintSource for Inotify {
    fn open<'a>(
        &'a self,
        dir: &'a Path,
        recursive: bool,
    ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>> {
        Box::pin(async move {
            let dir = dir.to_owned();
            let started = self.pool.run(move || start(dir, mode(recursive)));
            let (watcher, receiver, lost, dir) = started.await.map_err(|e| refusal(&e))?;
            Ok(Box::new(Notices {
                watcher: Arc::new(Mutex::new(watcher)),
                receiver,
                lost,
                dir,
                mode: mode(recursive),
                pool: self.pool.clone(),
            }) as Box<dyn Hints>)
        })
    }
}

fn mode(recursive: bool) -> RecursiveMode {
    if recursive {
        RecursiveMode::Recursive
    } else {
        RecursiveMode::NonRecursive
    }
}

type Started = (INotifyWatcher, Receiver<Hint>, Arc<AtomicBool>, PathBuf);

fn start(dir: PathBuf, mode: RecursiveMode) -> notify::Result<Started> {
    // Removals are of no use to us, but notify needs them to forget directories
    // that went. Everything else (opens, reads, writes, attributes) stays masked
    // in the kernel.
    let kinds = EventKindMask::CREATE
        | EventKindMask::REMOVE
        | EventKindMask::MODIFY_NAME
        | EventKindMask::ACCESS_CLOSE;
    let config = Config::default()
        .with_event_kinds(kinds)
        .with_follow_symlinks(false);
    let (sender, receiver) = bounded(QUEUE);
    let lost = Arc::new(AtomicBool::new(false));
    let desk = Desk {
        dir: dir.clone(),
        sender,
        lost: lost.clone(),
    };
    let mut watcher = INotifyWatcher::new(move |event| desk.hand_over(event), config)?;
    watcher.watch(&dir, mode)?;
    Ok((watcher, receiver, lost, dir))
}

fn refusal(error: &notify::Error) -> NoHints {
    match &error.kind {
        ErrorKind::PathNotFound => NoHints::Missing,
        ErrorKind::Io(e) if e.kind() == std::io::ErrorKind::NotFound => NoHints::Missing,
        ErrorKind::MaxFilesWatch => NoHints::Refused(OUT_OF_WATCHES.to_owned()),
        ErrorKind::Io(e) if e.raw_os_error() == Some(EMFILE) => {
            NoHints::Refused(OUT_OF_INSTANCES.to_owned())
        }
        _ => NoHints::Refused(error.to_string()),
    }
}

/// What inotify_init(2) says beyond its limit of instances for a user.
const EMFILE: i32 = rustix::io::Errno::MFILE.raw_os_error();
const OUT_OF_INSTANCES: &str = "this user may have no more inotify instances \
     (raise fs.inotify.max_user_instances)";
const OUT_OF_WATCHES: &str = "the kernel is out of inotify watches \
     (raise fs.inotify.max_user_watches)";

/// The notify thread's end of the queue.
struct Desk {
    dir: PathBuf,
    sender: Sender<Hint>,
    lost: Arc<AtomicBool>,
}

impl Desk {
    fn hand_over(&self, event: notify::Result<Event>) {
        let hint = match event {
            Ok(event) => hint_of(event, &self.dir),
            Err(e) => failure(&e),
        };
        let Some(hint) = hint else { return };
        if hint == Hint::Rescan {
            self.lost.store(true, Ordering::Release);
        }
        // The flag is read only after something was received: on a full queue
        // there is enough to receive, and a rescan is sent as well.
        if let Err(TrySendError::Full(_)) = self.sender.try_send(hint) {
            self.lost.store(true, Ordering::Release);
        }
    }
}

fn failure(error: &notify::Error) -> Option<Hint> {
    let path = error.paths.first().map(|path| path.display().to_string());
    match &error.kind {
        ErrorKind::MaxFilesWatch => Some(Hint::Lost(OUT_OF_WATCHES.into())),
        ErrorKind::Io(e) if path.is_none() => Some(Hint::Lost(e.to_string().into())),
        _ => {
            // One directory that cannot be watched (it went again, or is not ours
            // to read): scans still cover it.
            log::debug!("no notices from {path:?}: {error}");
            None
        }
    }
}

/// The hint in an event, if any.
fn hint_of(event: Event, root: &Path) -> Option<Hint> {
    if event.attrs.flag() == Some(Flag::Rescan) {
        return Some(Hint::Rescan);
    }
    let path = event.paths.into_iter().next()?;
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Hint::Finished(path)),
        EventKind::Create(CreateKind::Folder) => Some(Hint::CreatedDir(path)),
        EventKind::Create(_) => Some(Hint::CreatedFile(path)),
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
            if path == root =>
        {
            Some(Hint::RootGone)
        }
        _ => None,
    }
}

struct Notices {
    watcher: Arc<Mutex<INotifyWatcher>>,
    receiver: Receiver<Hint>,
    lost: Arc<AtomicBool>,
    dir: PathBuf,
    mode: RecursiveMode,
    pool: Pool,
}

impl Notices {
    fn after_receipt(&self, hint: Hint) -> Hint {
        match hint {
            Hint::Lost(_) | Hint::RootGone => hint,
            // The scan finds what this hint is about as well.
            _ if self.lost.swap(false, Ordering::AcqRel) => Hint::Rescan,
            _ => hint,
        }
    }
}

impl Hints for Notices {
    fn next(&mut self) -> LocalFuture<'_, Hint> {
        Box::pin(async {
            match self.receiver.recv().await {
                Ok(hint) => self.after_receipt(hint),
                Err(_) => Hint::Lost("the notify thread ended".into()),
            }
        })
    }

    fn try_next(&mut self) -> Option<Hint> {
        let hint = self.receiver.try_recv().ok()?;
        Some(self.after_receipt(hint))
    }

    fn barrier(&self) -> LocalFuture<'_, ()> {
        let watcher = self.watcher.clone();
        let (dir, mode) = (self.dir.clone(), self.mode);
        Box::pin(self.pool.run(move || {
            // Watching again what is watched changes nothing, but notify's thread
            // answers only after it has dealt with the events it has read, and
            // watches the directories they named.
            let mut watcher = watcher.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(e) = watcher.watch(&dir, mode) {
                log::debug!("watching {} again: {e}", dir.display());
            }
        }))
    }
}
