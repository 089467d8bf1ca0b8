//! The name that a file has at its source. It belongs to whoever writes there, who
//! may put another version under it at any instant, also while this one is being
//! taken. So nothing is removed by that name: a file is renamed aside first, where
//! nobody else looks for it, then looked at, and given back when it is not the one
//! that was taken.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::base::sabotage::{Sabotage, is_on};
use crate::sys::{Fs, Meta, Writers};

/// How the names begin that sources have while they are looked at.
const ASIDE: &[u8] = b".edgespool-taken-";
/// The same where no more room is for the name itself.
const ASIDE_LONG: &[u8] = b".edgespool-long-";
/// The longest name of a file.
const NAME_MAX: usize = 255;

/// What became of a file that is not the one to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Returned {
    /// It has its name again.
    Back,
    /// Its name belongs to a newer one by now.
    Overtaken,
}

/// Whether a file, and where it stands now, is what was copied.
pub(super) type IsCopied<'a> = dyn Fn(&Path, &Meta) -> bool + 'a;

/// Removes the source of a copy, unless another file stands there by now. That
/// the name is gone is not durable yet.
///
/// # Errors
/// What the disk says; the file is there then, under its name or aside.
pub(super) fn let_go(fs: &dyn Fs, source: &Path, is_copied: &IsCopied<'_>) -> io::Result<()> {
    if is_on(Sabotage::RemoveWhatCame) {
        return fs.unlink(source);
    }
    let aside = aside(source);
    let mut renamed = fs.rename_new(source, &aside);
    if is(&renamed, io::ErrorKind::AlreadyExists) {
        // What an earlier version left there when its going failed.
        finish(fs, source, is_copied)?;
        renamed = fs.rename_new(source, &aside);
    }
    if !is(&renamed, io::ErrorKind::NotFound) {
        renamed?;
    }
    finish(fs, source, is_copied)
}

/// The same after a crash, which may have come at any place of it.
///
/// # Errors
/// As with [`let_go`].
pub(super) fn let_go_again(fs: &dyn Fs, source: &Path, is_copied: &IsCopied<'_>) -> io::Result<()> {
    finish(fs, source, is_copied)?;
    let meta = fs.meta(source);
    if is(&meta, io::ErrorKind::NotFound) {
        return Ok(());
    }
    match is_copied(source, &meta?) {
        true => let_go(fs, source, is_copied),
        false => Ok(()),
    }
}

/// Looks at what stands aside, if anything does, and removes it or gives it back.
fn finish(fs: &dyn Fs, source: &Path, is_copied: &IsCopied<'_>) -> io::Result<()> {
    let aside = aside(source);
    let meta = match fs.meta(&aside) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        meta => meta?,
    };
    if is_copied(&aside, &meta) {
        return fs.unlink(&aside);
    }
    give_back_or_drop(fs, &aside, source)
}

/// Renames a file to the name at its source, durably, if that name is free.
///
/// # Errors
/// What the disk says.
pub(super) fn give_back(fs: &dyn Fs, held: &Path, source: &Path) -> io::Result<Returned> {
    let renamed = fs.rename_new(held, source);
    if is(&renamed, io::ErrorKind::AlreadyExists) {
        return Ok(Returned::Overtaken);
    }
    renamed?;
    if let Some(dir) = source.parent() {
        fs.sync_dir(dir)?;
    }
    Ok(Returned::Back)
}

/// Gives a file its own name again that was set aside, and overtakes no other.
///
/// # Errors
/// What the disk says.
pub(super) fn return_aside(fs: &dyn Fs, aside: &Path) -> io::Result<()> {
    let name = aside.file_name().unwrap_or_default().as_bytes();
    let Some(name) = own_name(name) else {
        return Ok(());
    };
    if is(&fs.meta(aside), io::ErrorKind::NotFound) {
        return Ok(());
    }
    let source = aside.with_file_name(OsStr::from_bytes(name));
    give_back_or_drop(fs, aside, &source)
}

/// The same, and a version that was overtaken goes.
///
/// # Errors
/// What the disk says; then it is where it was.
pub(super) fn give_back_or_drop(fs: &dyn Fs, held: &Path, source: &Path) -> io::Result<()> {
    match give_back(fs, held, source)? {
        Returned::Back => Ok(()),
        Returned::Overtaken => drop_overtaken(fs, held, source),
    }
}

/// Removes a version that its own writer has replaced, once the newer one is
/// durable: a power cut must not leave neither.
///
/// # Errors
/// What the disk says; both are there then.
fn drop_overtaken(fs: &dyn Fs, held: &Path, source: &Path) -> io::Result<()> {
    fs.open(source)?.sync()?;
    if let Some(dir) = source.parent() {
        fs.sync_dir(dir)?;
    }
    fs.unlink(held)
}

/// Whether somebody has a file open for writing that should be finished.
pub(super) fn is_written(fs: &dyn Fs, path: &Path) -> bool {
    matches!(fs.writers(path), Ok(Writers::Some))
}

/// Whether a name is one that a source has while it is looked at, which is never
/// taken itself.
#[must_use]
pub fn is_aside(name: &[u8]) -> bool {
    name.starts_with(ASIDE) || name.starts_with(ASIDE_LONG)
}

/// The name that a file had before it was set aside, if it was.
#[must_use]
pub fn own_name(aside: &[u8]) -> Option<&[u8]> {
    aside.strip_prefix(ASIDE).filter(|name| !name.is_empty())
}

/// The name of a source while it is looked at: it follows from its own, so that it
/// is found again after a crash.
pub(super) fn aside(source: &Path) -> PathBuf {
    let name = source.file_name().unwrap_or_default().as_bytes();
    let aside = match ASIDE.len() + name.len() <= NAME_MAX {
        true => [ASIDE, name].concat(),
        false => [
            ASIDE_LONG,
            format!("{:08x}", crc32c::crc32c(name)).as_bytes(),
        ]
        .concat(),
    };
    source.with_file_name(OsStr::from_bytes(&aside))
}

fn is<T>(done: &io::Result<T>, kind: io::ErrorKind) -> bool {
    done.as_ref().is_err_and(|e| e.kind() == kind)
}
