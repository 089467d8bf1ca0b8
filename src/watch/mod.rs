//! Watching: finds the finished files of one directory tree and offers them.
//!
//! * Kernel notices ([`Hints`]) make it quick; a scan at the start, after lost
//!   notices and every few minutes makes it sure. Where notices do not work,
//!   scans alone do the job at a shorter interval, and one log line says so.
//! * A file is offered once its rule holds: its writer closed it, it stayed
//!   unchanged, or its marker appeared ([`ReadyWhen`]). See `settle` for how.
//! * Memory is bounded: directories are read in steps, offers go out in batches
//!   of at most [`BATCH_MAX`] through a bounded channel, and the next batch is
//!   looked for when the last was accepted.
//! * Symbolic links are never followed (but `dir` itself may be one); devices,
//!   FIFOs and sockets are left alone. A name that could smuggle an FTP command
//!   in is refused, said so once, and left where it is.
//!
//! An offer is no claim: the same file may be offered again while an earlier
//! offer is still under way, and it may have changed or gone. Whoever takes it
//! compares [`Ready::meta`]. What could not be taken is found again by a later
//! scan ([`Control::rescan_in`]).
//!
//! Call order: [`Watcher::start`], then run the future on the executor; dropping
//! it, or [`Control::stop`], ends the watching. [`scan_once`] does a single
//! round. After a file with a marker was taken for good, call [`remove_marker`].

mod find;
mod hints;
mod inotify;
mod marker;
mod once;
mod rules;
mod run;
mod said;
mod scan;
mod settle;
mod stretch;

pub use find::{AlreadyTaken, TakenBefore};
pub use hints::{Hint, HintSource, Hints, NoHints};
pub use inotify::Inotify;
pub use marker::MarkerError;
pub use once::{OnceError, OnceReport, scan_once};
pub use rules::{OptionsError, Selection};
pub use run::{Control, Watcher};
pub use said::Said;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::{Fs, Kind, Meta};

/// Offers in one batch, at most.
pub const BATCH_MAX: usize = 256;

/// What to watch, and when its files are finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchOptions {
    /// The watch's name, for messages.
    pub name: String,
    /// The directory.
    pub dir: PathBuf,
    /// Globs on the path below `dir`; empty takes all files.
    pub include: Vec<String>,
    /// Globs on the path below `dir` of files and directories to leave alone.
    pub exclude: Vec<String>,
    /// Whether subdirectories are watched.
    pub recursive: bool,
    /// When a file is finished.
    pub ready: ReadyWhen,
    /// For how long a file must be unchanged where its closing was not seen.
    pub quiet: Duration,
    /// The marker's name, with `{name}` or `{stem}` in it.
    pub marker: String,
    /// What taking a file does to it.
    pub take: Take,
}

impl WatchOptions {
    /// The defaults, for a directory.
    #[must_use]
    pub fn new(name: &str, dir: impl Into<PathBuf>) -> WatchOptions {
        WatchOptions {
            name: name.to_owned(),
            dir: dir.into(),
            include: Vec::new(),
            exclude: DEFAULT_EXCLUDE.map(str::to_owned).to_vec(),
            recursive: true,
            ready: ReadyWhen::Close,
            quiet: Duration::from_secs(2),
            marker: "{name}.done".to_owned(),
            take: Take::Move,
        }
    }

    /// Checks the globs and, where it is used, the marker.
    ///
    /// # Errors
    /// The first that cannot be.
    pub fn check(&self) -> Result<(), OptionsError> {
        rules::Rules::new(self).map(|_| ())
    }
}

/// Hidden names, and the names that writers give to unfinished files.
pub const DEFAULT_EXCLUDE: [&str; 7] = [
    "**/.*",
    "**/*.tmp",
    "**/*.temp",
    "**/*.part",
    "**/*.partial",
    "**/*.swp",
    "**/*~",
];

/// When a file is finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Its writer closed it, or it was renamed into the tree. A file found by a
    /// scan: it was unchanged for `quiet`, and nobody has it open for writing.
    #[default]
    Close,
    /// It was unchanged for `quiet`, and nobody has it open for writing.
    Quiet,
    /// Its marker stands beside it and is not older than the file. A file with an
    /// older marker is finished as with [`ReadyWhen::Quiet`].
    Marker,
}

/// What taking a file does to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Take {
    /// The source goes.
    #[default]
    Move,
    /// The source stays, and each of its versions is taken once.
    Copy,
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Where it stands.
    pub source: PathBuf,
    /// Its path below the watched directory, as bytes.
    pub path: Vec<u8>,
    /// What it was when it was found finished.
    pub meta: Meta,
    /// The marker to remove once the file is taken for good ([`Take::Move`] only).
    pub marker: Option<PathBuf>,
}

/// Removes a taken file's marker, unless a sibling of the same stem still needs
/// it. Blocks; call it on the pool once the taking is durable. A crash before it
/// leaves a marker behind that is older than any later file of the name, and
/// does not make that one look finished.
///
/// # Errors
/// What the disk says; a marker that is gone already is no error.
pub fn remove_marker(fs: &dyn Fs, options: &WatchOptions, ready: &Ready) -> io::Result<()> {
    let Some(marker) = &ready.marker else {
        return Ok(());
    };
    if sibling_waits(fs, options, ready)? {
        return Ok(());
    }
    match fs.unlink(marker) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sibling_waits(fs: &dyn Fs, options: &WatchOptions, ready: &Ready) -> io::Result<bool> {
    use std::os::unix::ffi::OsStrExt;

    let Ok(rules) = rules::Rules::new(options) else {
        return Ok(false);
    };
    let Some(marker) = rules.marker.as_ref().filter(|marker| marker.is_shared()) else {
        return Ok(false);
    };
    let dir = rules::dir(&ready.path);
    let wanted = marker.of(rules::name(&ready.path));
    let mut waits = false;
    let parent = ready.source.parent().unwrap_or(Path::new("."));
    fs.read_dir(&parent.join("."), &mut |entry| {
        let name = entry.name.as_bytes();
        let path = rules::join(dir, name);
        waits = matches!(entry.kind, Some(Kind::File) | None)
            && path != ready.path
            && !marker.is_one(name)
            && marker.of(name) == wanted
            && rules.wants_name(&path);
        !waits
    })?;
    Ok(waits)
}

#[cfg(test)]
mod tests;
