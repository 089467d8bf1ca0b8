//! Looks at files and collects the finished ones. Blocks: it runs on the pool.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::sabotage::{Sabotage, is_on};
use crate::spool::own_name;
use crate::sys::{Clock, Fs, Kind, Meta, Sys, Writers};

use super::rules::{Rules, dir, is_unsafe, join, name, parents};
use super::said::Said;
use super::settle::{Beside, Now, Settling, Sign, Verdict};
use super::{BATCH_MAX, OptionsError, Ready, Take, WatchOptions};

/// What was taken before; asked with [`Take::Copy`], on a thread of the pool.
pub trait TakenBefore: Send + Sync {
    /// Whether this version of a file (path below the watched directory) was.
    fn contains(&self, path: &[u8], meta: &Meta) -> bool;

    /// A scan of the whole tree begins: [`TakenBefore::contains`] is going to be
    /// asked about every file that there is.
    fn begin_scan(&self) {}

    /// It saw everything: what it did not ask about is gone. Not called after a
    /// scan that was broken off or that could not read something.
    fn end_scan(&self) {}

    /// A file stands there under a name that only the taking gives
    /// ([`own_name`]); asked with [`Take::Move`].
    fn return_aside(&self, _path: &Path) {}
}

/// Nothing was.
impl TakenBefore for () {
    fn contains(&self, _path: &[u8], _meta: &Meta) -> bool {
        false
    }
}

/// What was taken before, shared.
pub type AlreadyTaken = Arc<dyn TakenBefore>;

/// What a look at a path brought, besides finished files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// Nothing more to do.
    Done,
    /// This directory must be gone through.
    Scan(Vec<u8>),
}

/// Everything that a look at a file needs.
pub(super) struct Finder {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    root: PathBuf,
    watch: String,
    take: Take,
    already_taken: AlreadyTaken,
    refusals: Said,
    /// The watch's rules.
    pub(super) rules: Rules,
    /// The files that are not finished yet.
    pub(super) settling: Settling,
    /// The finished files that were not handed on yet.
    pub(super) found: Vec<Ready>,
    /// Files that were left because somebody is writing them; for the report of
    /// a single round.
    pub(super) left_open: usize,
    /// Something that is there could not be looked at by the running scan.
    pub(super) unseen: bool,
}

impl Finder {
    pub(super) fn new(
        sys: &Sys,
        options: &WatchOptions,
        already_taken: AlreadyTaken,
    ) -> Result<Finder, OptionsError> {
        Ok(Finder {
            fs: sys.fs.clone(),
            clock: sys.clock.clone(),
            root: options.dir.clone(),
            watch: options.name.clone(),
            take: options.take,
            already_taken,
            refusals: Said::default(),
            rules: Rules::new(options)?,
            settling: Settling::new(options.ready, options.quiet),
            found: Vec::new(),
            left_open: 0,
            unseen: false,
        })
    }

    pub(super) fn watch(&self) -> &str {
        &self.watch
    }

    pub(super) fn fs(&self) -> &dyn Fs {
        self.fs.as_ref()
    }

    /// Where a path below the watched directory stands. The directory itself may
    /// be a symbolic link: `.` leads into it.
    pub(super) fn place(&self, path: &[u8]) -> PathBuf {
        let below = if path.is_empty() { b"." } else { path };
        self.root.join(OsStr::from_bytes(below))
    }

    /// The path below the watched directory of a hint's path.
    pub(super) fn below(&self, path: &Path) -> Option<Vec<u8>> {
        let below = path.strip_prefix(&self.root).ok()?;
        Some(below.as_os_str().as_bytes().to_vec())
    }

    /// The time, taken note of.
    pub(super) fn now(&mut self) -> Now {
        let now = Now {
            mono: self.clock.mono(),
            wall: self.clock.wall(),
        };
        self.settling.observe(now);
        now
    }

    /// No more fits in this batch.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= BATCH_MAX
    }

    /// A file was just made.
    pub(super) fn handle_created(&mut self, path: &[u8]) {
        if !is_unsafe(path) && self.rules.wants(path) {
            let now = self.now();
            self.settling.handle_created(now, path);
        }
    }

    /// Looks at a path that a hint named.
    pub(super) fn look(&mut self, path: &[u8], sign: Sign) -> Looked {
        let real = !path.is_empty() && self.on_real_dirs(path);
        let meta = real.then(|| self.fs.meta(&self.place(path)));
        match meta {
            Some(Ok(meta)) if meta.kind == Kind::File && !self.refuses(path, Kind::File) => {
                self.look_at_file(path, sign, &meta)
            }
            Some(Ok(meta)) if meta.kind == Kind::Dir && self.enters(path) => {
                self.settling.forget(path);
                Looked::Scan(path.to_vec())
            }
            // Gone again, or nothing that is ever taken.
            _ => {
                self.settling.forget(path);
                Looked::Done
            }
        }
    }

    fn look_at_file(&mut self, path: &[u8], sign: Sign, meta: &Meta) -> Looked {
        if self.rules.is_marker(path) {
            return self.look_at_marked(path);
        }
        if self.rules.wants(path) {
            self.consider(path, sign, meta);
        } else {
            self.settling.forget(path);
        }
        Looked::Done
    }

    /// A marker appeared: its file is looked at, or the directory if there may be
    /// several.
    fn look_at_marked(&mut self, marker: &[u8]) -> Looked {
        self.settling.forget(marker);
        let rule = self.rules.marker.as_ref();
        let Some(file) = rule.and_then(|rule| rule.file_of(name(marker))) else {
            return Looked::Scan(dir(marker).to_vec());
        };
        let path = join(dir(marker), file);
        let wanted = self.rules.wants(&path) && !self.rules.is_marker(&path);
        if let Ok(meta) = self.fs.meta(&self.place(&path))
            && wanted
            && meta.kind == Kind::File
        {
            self.consider(&path, Sign::Seen, &meta);
        }
        Looked::Done
    }

    /// Looks at a file that a scan found in a directory that it entered.
    pub(super) fn look_scanned(&mut self, path: &[u8]) {
        if let Some(own) = own_name(name(path)).filter(|_| self.take == Take::Move) {
            self.already_taken.return_aside(&self.place(path));
            self.look_scanned(&join(dir(path), own));
            return;
        }
        if !self.rules.wants_name(path) || self.rules.is_marker(path) {
            return;
        }
        match self.fs.meta(&self.place(path)) {
            Ok(meta) if meta.kind == Kind::File => self.consider(path, Sign::Seen, &meta),
            looked => {
                self.unseen |= looked.is_err_and(|e| e.kind() != io::ErrorKind::NotFound);
                self.settling.forget(path);
            }
        }
    }

    /// A scan of the whole tree begins.
    pub(super) fn begin_scan(&mut self) {
        self.unseen = false;
        if self.take == Take::Copy {
            self.already_taken.begin_scan();
        }
    }

    /// A scan of the whole tree came to its end.
    pub(super) fn end_scan(&mut self) {
        if self.take == Take::Copy && !self.unseen {
            self.already_taken.end_scan();
        }
    }

    /// Looks again at the files whose time has come. `false` if the batch is full
    /// before all were.
    pub(super) fn look_due(&mut self) -> bool {
        let now = self.now();
        while let Some(path) = self.settling.poll_due(now) {
            if self.is_full() {
                return false;
            }
            // Afterwards it waits for longer, or no more.
            self.look(&path, Sign::Seen);
        }
        true
    }

    fn consider(&mut self, path: &[u8], sign: Sign, meta: &Meta) {
        if self.take == Take::Copy && self.already_taken.contains(path, meta) {
            self.settling.forget(path);
            return;
        }
        let marker = self.marker_of(path);
        let beside = self.beside(marker.as_deref(), meta);
        let now = self.now();
        let source = self.place(path);
        let fs = self.fs.clone();
        // A file that cannot be asked about is about to be found gone, or is not
        // ours to read, which the taking reports.
        let writers = || match is_on(Sabotage::TakeOpenFiles) {
            true => Writers::None,
            false => fs.writers(&source).unwrap_or(Writers::Unknown),
        };
        let verdict = self.settling.judge(now, path, sign, meta, beside, writers);
        match verdict {
            Verdict::Ready => self.found.push(Ready {
                source,
                path: path.to_vec(),
                meta: *meta,
                marker: marker.filter(|_| self.take == Take::Move),
            }),
            Verdict::NotYet => {}
            Verdict::Open => self.left_open = self.left_open.saturating_add(1),
        }
    }

    fn marker_of(&self, path: &[u8]) -> Option<PathBuf> {
        let marker = self.rules.marker.as_ref()?;
        Some(self.place(&join(dir(path), &marker.of(name(path)))))
    }

    fn beside(&self, marker: Option<&Path>, meta: &Meta) -> Beside {
        let Some(marker) = marker else {
            return Beside::Nothing;
        };
        match self.fs.meta(marker) {
            Ok(marker) if marker.kind != Kind::File => Beside::NoMarker,
            Ok(marker) if marker.mtime_ns >= meta.mtime_ns => Beside::Marker,
            Ok(_) => Beside::OldMarker,
            Err(_) => Beside::NoMarker,
        }
    }

    /// Whether a directory is looked into; says so when its name forbids it.
    pub(super) fn enters(&mut self, dir: &[u8]) -> bool {
        self.rules.enters(dir) && !self.refuses(dir, Kind::Dir)
    }

    /// Whether the path may not reach a server because of a name in it; said once.
    pub(super) fn refuses(&mut self, path: &[u8], kind: Kind) -> bool {
        if !is_unsafe(path) {
            return false;
        }
        // Of what is excluded anyway nothing needs to be said.
        let matters = kind == Kind::Dir || self.rules.wants(path);
        if matters && self.refusals.is_news(path, self.clock.mono()) {
            let what = if kind == Kind::Dir {
                "directory"
            } else {
                "file"
            };
            log::warn!(
                "watch {:?}: the {what} {} has a line end or NUL in its name, which FTP cannot \
                 carry; it is left where it is (rename it to have it delivered)",
                self.watch,
                shown(path)
            );
        }
        true
    }

    /// Whether every directory on the way is one, and not a link to one.
    fn on_real_dirs(&self, path: &[u8]) -> bool {
        parents(path).all(|dir| {
            let meta = self.fs.meta(&self.place(dir));
            meta.is_ok_and(|meta| meta.kind == Kind::Dir)
        })
    }

    /// The watched directory's identity.
    pub(super) fn root_id(&self) -> io::Result<(u64, u64)> {
        let meta = self.fs.meta(&self.place(b""))?;
        if meta.kind == Kind::Dir {
            Ok((meta.dev, meta.ino))
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }
}

/// A path for a message, with everything in it made visible.
pub(super) fn shown(path: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(path))
}
