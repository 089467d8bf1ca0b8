//! Small files that the configuration names, and the directories it speaks of.

use std::io;
use std::path::{Component, Path, PathBuf};

use zeroize::Zeroizing;

use crate::sys::{Fs, Kind, Meta};

/// Reads a file of at most `limit` bytes into memory that is overwritten when
/// it is dropped. Symbolic links are followed: systems that rotate secrets
/// and certificates hand out links.
///
/// # Errors
/// What the disk says; `InvalidData` when the file is longer, `InvalidInput`
/// when it is no regular file.
pub(super) fn read(
    fs: &dyn Fs,
    path: &Path,
    limit: usize,
) -> io::Result<(Zeroizing<Vec<u8>>, Meta)> {
    let file = fs.open(&follow(fs, path)?)?;
    let meta = file.meta()?;
    if meta.kind != Kind::File {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    if meta.size > limit as u64 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too long",
        ));
    }
    // One buffer of the full size: growing it would leave copies behind.
    let mut content = Zeroizing::new(vec![0; usize::try_from(meta.size).unwrap_or(limit)]);
    let mut filled = 0;
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, filled as u64)? {
            0 => break,
            got => filled += got,
        }
    }
    content.truncate(filled);
    Ok((content, meta))
}

/// What stands at `path`, behind symbolic links.
pub(super) fn meta(fs: &dyn Fs, path: &Path) -> io::Result<Meta> {
    fs.meta(&follow(fs, path)?)
}

/// Whether anyone on the machine may read the file.
pub(super) fn is_public(meta: &Meta) -> bool {
    meta.mode & 0o004 != 0
}

/// Whether `inner` is `outer` or lies below it: by name, and where both exist
/// also by identity, which sees through symbolic links and bind mounts.
pub(super) fn is_within(fs: &dyn Fs, inner: &Path, outer: &Path) -> bool {
    if normal(inner).starts_with(normal(outer)) {
        return true;
    }
    let identity = |path: &Path| meta(fs, path).map(|meta| (meta.dev, meta.ino)).ok();
    let Some(wanted) = identity(outer) else {
        return false;
    };
    let Ok(mut here) = follow(fs, inner) else {
        return false;
    };
    let mut last = None;
    for _ in 0..DEPTH_MAX {
        let found = identity(&here);
        if found == Some(wanted) {
            return true;
        }
        if found.is_none() || found == last {
            return false;
        }
        last = found;
        here.push("..");
    }
    false
}

/// The path without `.` and `..`, as far as names alone can tell.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// Follows symbolic links in the last part of a path, which the disk does not.
///
/// # Errors
/// What the disk says; also when nothing stands there.
pub(super) fn follow(fs: &dyn Fs, path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if fs.meta(&path)?.kind != Kind::Symlink {
            return Ok(path);
        }
        let target = fs.read_link(&path)?;
        path.pop();
        path.push(target);
    }
    Err(io::Error::other("too many symbolic links"))
}

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;

/// Deeper paths than the system allows do not exist.
const DEPTH_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::os::OsFs;

    #[test]
    fn a_directory_lies_within_another_also_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, alias) = (dir.path().join("real"), dir.path().join("alias"));
        std::fs::create_dir_all(real.join("deep/er")).unwrap();
        symlink("real", &alias).unwrap();
        assert!(is_within(&OsFs, &alias.join("deep/er"), &real));
        assert!(is_within(&OsFs, &real.join("not/there"), &real));
        assert!(is_within(
            &OsFs,
            &real.join("x/../deep"),
            &real.join("deep")
        ));
        assert!(!is_within(&OsFs, &real, &real.join("deep")));
        assert!(!is_within(&OsFs, &dir.path().join("really"), &real));
    }

    #[test]
    fn a_linked_file_is_read_and_a_long_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), b"secret").unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let (content, _) = read(&OsFs, &dir.path().join("b"), 6).unwrap();
        assert_eq!(content.as_slice(), b"secret");
        let refused = read(&OsFs, &dir.path().join("b"), 5).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
}
