//! `queue export`: the waiting files, copied out of the spool.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::super::context::{Context, Trouble};
use super::super::text::{self, count};
use super::super::{Exit, complain};
use crate::spool::{Entry, Spool, Standing};

/// Copies every waiting file to `<dir>/<watch>/<path>`. What stands there
/// already stays as it is.
pub(super) fn run(context: &Context, dir: &Path, out: &mut dyn Write) -> Result<Exit, Trouble> {
    // One to walk and one to read from: the walk borrows its own.
    let (Some(mut walked), Some(read)) = (context.look()?, context.look()?) else {
        writeln!(out, "0 files copied: there is no spool yet")?;
        return Ok(Exit::Done);
    };
    let made = fs::create_dir_all(dir).and_then(|()| dir.canonicalize());
    let cannot = |e: io::Error| Trouble::Other(format!("{}: {e}", dir.display()));
    let root = made.map_err(cannot)?;
    let (mut copied, mut failed) = (0, 0);
    walked.list(&mut |entry| {
        if entry.standing == Standing::Waiting {
            match copy(&read, entry, &root) {
                Ok(()) => copied += 1,
                Err(problem) => {
                    failed += 1;
                    let path = text::safe(&entry.path);
                    complain(&format!("{}: {path}: {problem}", entry.lane));
                }
            }
        }
        true
    })?;
    // One flush for all: the spool may be thrown away next.
    File::open(&root)
        .and_then(|dir| rustix::fs::syncfs(dir).map_err(io::Error::from))
        .map_err(cannot)?;
    writeln!(out, "{} copied to {}", count(copied, "file"), dir.display())?;
    Ok(if failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn copy(spool: &Spool, entry: &Entry, root: &Path) -> io::Result<()> {
    let blob = spool.open_blob(entry.id).map_err(io::Error::other)?;
    let target = target(entry, root)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&target)?;
    let modified = modified(entry.mtime_ns);
    let done = copy_bytes(&*blob, &mut file).and_then(|()| file.set_modified(modified));
    if done.is_err() {
        // Half a file would look like a whole one.
        let _kept_if_the_disk_is_gone = fs::remove_file(&target);
    }
    done
}

fn copy_bytes(blob: &dyn crate::sys::File, file: &mut File) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    loop {
        let got = blob.read_at(&mut chunk, offset)?;
        if got == 0 {
            return Ok(());
        }
        file.write_all(chunk.get(..got).unwrap_or_default())?;
        offset += got as u64;
    }
}

/// Where an entry goes, below `root` whatever its name; the directories on the
/// way are made, and none of them may be a symbolic link.
fn target(entry: &Entry, root: &Path) -> io::Result<PathBuf> {
    let below = Path::new(&entry.lane).join(OsStr::from_bytes(&entry.path));
    let mut target = root.to_owned();
    let mut parts = below.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            let why = "the path would leave the directory";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        };
        target.push(name);
        if parts.peek().is_some() {
            make_dir(&target)?;
        }
    }
    Ok(target)
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    match fs::symlink_metadata(dir)?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn modified(mtime_ns: i64) -> SystemTime {
    let span = Duration::from_nanos(mtime_ns.unsigned_abs());
    let time = match mtime_ns >= 0 {
        true => SystemTime::UNIX_EPOCH.checked_add(span),
        false => SystemTime::UNIX_EPOCH.checked_sub(span),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

const CHUNK: usize = 64 << 10;
