//! What cut uploads left in a lane's staging directory.

use std::io;
use std::path::Path;

use super::core::is_unfinished;
use crate::sys::{Fs, Kind, Tree};

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Unfinished files that were too old, and were removed.
    pub removed: Cuts,
    /// Unfinished files that stay for now.
    pub unfinished: Cuts,
    /// Files that were received under a name that the lane does not take.
    pub waiting: u64,
}

/// Uploads that were cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cuts {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first of them: the path below the lane, and the bytes that came.
    pub named: Vec<(Vec<u8>, u64)>,
}

impl Cuts {
    fn add(&mut self, path: Vec<u8>, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.named.len() < NAMED_MAX {
            self.named.push((path, bytes));
        }
    }
}

/// Removes unfinished uploads that were written last before `before_ns`
/// (nanoseconds since 1970), and directories that are empty and as old. What
/// was received stays, however old. Blocks.
///
/// # Errors
/// What the disk says; a directory that is not there is no error.
pub fn sweep(fs: &dyn Fs, staging: &Path, before_ns: i64) -> io::Result<Swept> {
    let tree = match fs.open_tree(staging) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Swept::default()),
        tree => tree?,
    };
    let mut swept = Swept::default();
    let mut dirs = vec![Vec::new()];
    let mut seen = 0;
    // Grows as directories are found; a name is looked at once.
    while let Some(dir) = dirs.get(seen).cloned() {
        seen += 1;
        sweep_dir(&*tree, &dir, before_ns, &mut swept, &mut dirs)?;
    }
    // Below first, so that what is empty by then goes too.
    for dir in dirs.iter().skip(1).rev() {
        let old = tree.meta(dir).is_ok_and(|meta| meta.mtime_ns < before_ns);
        if old {
            let _not_empty = tree.remove_dir(dir);
        }
    }
    Ok(swept)
}

fn sweep_dir(
    tree: &dyn Tree,
    dir: &[u8],
    before_ns: i64,
    swept: &mut Swept,
    dirs: &mut Vec<Vec<u8>>,
) -> io::Result<()> {
    let mut names = tree.open_dir(dir)?;
    while let Some(entry) = names.next_entry()? {
        let name = entry.name.as_encoded_bytes();
        let path = match dir {
            b"" => name.to_vec(),
            dir => [dir, b"/", name].concat(),
        };
        let Ok(meta) = tree.meta(&path) else { continue };
        match meta.kind {
            Kind::Dir if dirs.len() < DIRS_MAX => dirs.push(path),
            Kind::File if is_unfinished(&meta) && meta.mtime_ns < before_ns => {
                tree.unlink(&path)?;
                swept.removed.add(path, meta.size);
            }
            Kind::File if is_unfinished(&meta) => swept.unfinished.add(path, meta.size),
            Kind::File => swept.waiting += 1,
            _ => {}
        }
    }
    Ok(())
}

/// Cut uploads that one sweep tells by name.
const NAMED_MAX: usize = 32;
/// Directories that one sweep looks into.
const DIRS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::sys::os::OsFs;

    #[test]
    fn only_old_unfinished_uploads_go() {
        let dir = tempfile::tempdir().unwrap();
        let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        fs::create_dir_all(dir.path().join("day/empty")).unwrap();
        for (name, mode, old) in [
            ("day/cut", 0o1600, true),
            ("day/new", 0o1600, false),
            ("received.part", 0o640, true),
        ] {
            let path = dir.path().join(name);
            let file = fs::File::create(&path).unwrap();
            file.set_permissions(fs::Permissions::from_mode(mode))
                .unwrap();
            if old {
                file.set_modified(long_ago).unwrap();
            }
        }
        let empty = fs::File::open(dir.path().join("day/empty")).unwrap();
        empty.set_modified(long_ago).unwrap();
        let before_ns = 2_000_000 * 1_000_000_000;
        let swept = sweep(&OsFs, dir.path(), before_ns).unwrap();
        assert_eq!(swept.removed.named, [(b"day/cut".to_vec(), 0)]);
        assert_eq!(swept.unfinished.named, [(b"day/new".to_vec(), 0)]);
        assert_eq!(swept.waiting, 1);
        assert!(dir.path().join("day/new").exists());
        assert!(dir.path().join("received.part").exists());
        assert!(!dir.path().join("day/cut").exists());
        assert!(!dir.path().join("day/empty").exists());
        let none = sweep(&OsFs, &dir.path().join("gone"), before_ns).unwrap();
        assert_eq!(none, Swept::default());
    }
}
