//! What the start after a failed flush does differently.
//!
//! What a failed flush did not write stays in the kernel's cache as if it had
//! been, and a new process reads it from there. So the failure leaves the file
//! `suspect` behind; the next start writes every log that may be concerned to a
//! new file, flushes that, and puts it in the old one's place. Sources are
//! copied, not renamed, until the start after that: they may be concerned too.
//!
//! Should the power fail in between, the cache is gone with it and with `suspect`,
//! and the disk tells the truth again.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Create, Fs};

use super::log::{WriteError, flushed, sync_dir};

/// The file that says that a flush failed.
const SUSPECT: &str = "suspect";
/// How much is copied at a time.
const CHUNK: usize = 64 << 10;

/// Leaves word for the next start.
pub(super) fn mark(fs: &dyn Fs, spool: &Path) {
    if let Err(e) = fs.create(&spool.join(SUSPECT), Create::Keep) {
        // The disk refuses everything; what is in the cache ends with the power.
        log::warn!("cannot leave word of the failed flush: {e}");
    }
}

/// Whether the last run ended with a failed flush.
pub(super) fn is_marked(fs: &dyn Fs, spool: &Path) -> bool {
    fs.meta(&spool.join(SUSPECT)).is_ok()
}

/// The logs are as they seem again.
pub(super) fn unmark(fs: &dyn Fs, spool: &Path) -> io::Result<()> {
    fs.unlink(&spool.join(SUSPECT))
}

/// Writes all logs anew that may have been written to by the last run.
pub(super) fn renew(fs: &dyn Fs, spool: &Path, lanes: &[PathBuf]) -> Result<(), WriteError> {
    renew_dir(fs, &spool.join("ledger"))?;
    for lane in lanes {
        renew_dir(fs, lane)?;
    }
    sync_dir(fs, &spool.join("lanes"))
}

/// Of the logs only the last: an older one was flushed before it was begun.
fn renew_dir(fs: &dyn Fs, dir: &Path) -> Result<(), WriteError> {
    let mut last = None;
    let mut paths = Vec::new();
    fs.read_dir(dir, &mut |entry| {
        let name = entry.name.to_str().unwrap_or_default();
        if name.ends_with(".chg") || name == "seen.log" {
            paths.push(dir.join(name));
        } else if name.ends_with(".log") && last.as_deref().is_none_or(|last| last < name) {
            last = Some(name.to_owned());
        }
        true
    })?;
    paths.extend(last.map(|name| dir.join(name)));
    for path in paths {
        renew_file(fs, &path)?;
    }
    sync_dir(fs, dir)
}

fn renew_file(fs: &dyn Fs, path: &Path) -> Result<(), WriteError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let (from, to) = (fs.open(path)?, fs.create(new, Create::Keep)?);
    to.set_len(0)?;
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let got = from.read_at(&mut chunk, at)?;
        if got == 0 {
            break;
        }
        to.write_at(chunk.get(..got).unwrap_or_default(), at)?;
        at += got as u64;
    }
    flushed(to.sync())?;
    Ok(fs.rename(new, path)?)
}
