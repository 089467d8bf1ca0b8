//! A directory that nobody gets out of: by openat2(2), or by a walk.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, fchmod, fstatvfs,
    fsync, mkdirat, openat, openat2, renameat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::fs::{OsDir, OsFile, meta_of};
use crate::sys::{Create, Dir, File, Kind, Meta, Space, Tree};

/// How paths are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolve {
    /// By the kernel, which keeps to what is beneath (Linux 5.6).
    Kernel,
    /// One part at a time, following no link at all.
    Walk,
}

/// A directory of this machine.
pub(super) struct OsTree {
    root: OwnedFd,
    resolve: Resolve,
}

impl OsTree {
    /// Opens the directory, and finds out what the kernel can do.
    pub(super) fn open(path: &Path) -> io::Result<OsTree> {
        let root = open_root(path)?;
        let resolve = match openat2(&root, c".", DIRECTORY, Mode::empty(), BENEATH) {
            Ok(_) => Resolve::Kernel,
            // An old kernel, or a sandbox that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => Resolve::Walk,
            Err(e) => return Err(e.into()),
        };
        Ok(OsTree { root, resolve })
    }

    /// Opens the directory and walks, whatever the kernel can do.
    #[cfg(test)]
    fn open_to_walk(path: &Path) -> io::Result<OsTree> {
        Ok(OsTree {
            root: open_root(path)?,
            resolve: Resolve::Walk,
        })
    }

    /// Opens what `path` leads to; the last part is followed unless `flags` say
    /// otherwise.
    fn resolve(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        check(path)?;
        match self.resolve {
            Resolve::Kernel => self.resolve_by_kernel(path, flags, mode),
            Resolve::Walk => self.walk(path, flags, mode),
        }
    }

    fn resolve_by_kernel(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        for _ in 1..ATTEMPTS_MAX {
            match openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, BENEATH) {
                // Something was renamed meanwhile, and the kernel is not sure.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn walk(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if path.is_empty() {
            return Ok(openat(&self.root, c".", flags, mode)?);
        }
        let mut dir: Option<OwnedFd> = None;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(part) = parts.next() {
            let base = dir.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            if parts.peek().is_none() {
                return Ok(openat(base, part, flags, mode)?);
            }
            let next = openat(base, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
            dir = Some(next);
        }
        Err(io::ErrorKind::InvalidInput.into())
    }

    /// The directory that holds the last part of `path`, and that part: for
    /// calls that act on a name.
    fn parent<'p>(&self, path: &'p [u8]) -> io::Result<(OwnedFd, &'p [u8])> {
        check(path)?;
        let (dir, name) = match path.iter().rposition(|b| *b == b'/') {
            Some(at) => path.split_at_checked(at).unwrap_or_default(),
            None => (b"".as_slice(), path),
        };
        let name = name.strip_prefix(b"/").unwrap_or(name);
        if name.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok((self.resolve(dir, DIRECTORY, Mode::empty())?, name))
    }

    /// Opens a regular file; anything else is refused, and nothing hangs on it.
    fn file(&self, path: &[u8], flags: OFlags, mode: Mode) -> io::Result<Box<dyn File>> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = fs::File::from(self.resolve(path, flags, mode)?);
        match meta_of(&file.metadata()?).kind {
            Kind::File => Ok(Box::new(OsFile(file))),
            Kind::Dir => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Tree for OsTree {
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn File>> {
        self.file(path, OFlags::RDONLY, Mode::empty())
    }

    fn create(&self, path: &[u8], create: Create) -> io::Result<Box<dyn File>> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let flags = match create {
            Create::New => flags | OFlags::EXCL,
            Create::Keep => flags,
        };
        self.file(path, flags, Mode::SVTX | Mode::RUSR | Mode::WUSR)
    }

    fn meta(&self, path: &[u8]) -> io::Result<Meta> {
        // A descriptor of the object itself, a link included.
        let fd = self.resolve(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(meta_of(&fs::File::from(fd).metadata()?))
    }

    fn open_dir(&self, path: &[u8]) -> io::Result<Box<dyn Dir>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.resolve(path, flags, Mode::empty())?;
        Ok(Box::new(OsDir(rustix::fs::Dir::new(fd)?)))
    }

    fn create_dir(&self, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP;
        Ok(mkdirat(dir, name, mode)?)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        Ok(renameat(from_dir, from_name, to_dir, to_name)?)
    }

    fn unlink(&self, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(unlinkat(dir, name, AtFlags::empty())?)
    }

    fn remove_dir(&self, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }

    fn set_mtime(&self, path: &[u8], unix_secs: i64) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: unix_secs,
                tv_nsec: 0,
            },
        };
        Ok(utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_mode(&self, path: &[u8], mode: u32) -> io::Result<()> {
        // By descriptor, because a change by name would follow a link.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.resolve(path, flags, Mode::empty())?;
        Ok(fchmod(fd, Mode::from_raw_mode(mode & 0o1777))?)
    }

    fn sync_dir(&self, path: &[u8]) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        Ok(fsync(self.resolve(path, flags, Mode::empty())?)?)
    }

    fn sync_fs(&self) -> io::Result<()> {
        // The root is held by a descriptor that is only a place.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(syncfs(openat(&self.root, c".", flags, Mode::empty())?)?)
    }

    fn space(&self) -> io::Result<Space> {
        let s = fstatvfs(&self.root)?;
        Ok(Space {
            total: s.f_blocks.saturating_mul(s.f_frsize),
            free: s.f_bavail.saturating_mul(s.f_frsize),
        })
    }
}

fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// Refuses what is not a relative path in its plainest form. The kernel would
/// keep `..` beneath as well; the walk would not.
fn check(path: &[u8]) -> io::Result<()> {
    let is_plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    let plain = path.is_empty() || path.split(|b| *b == b'/').all(is_plain);
    if plain && !path.contains(&0) {
        return Ok(());
    }
    Err(io::ErrorKind::InvalidInput.into())
}

/// A directory as a place to resolve names in; needs no right to read it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// How often the kernel is asked when others rename directories meanwhile.
const ATTEMPTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A root with something beside it that nobody may reach.
    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Place {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("root/sub")).unwrap();
            fs::create_dir(dir.path().join("outside")).unwrap();
            fs::write(dir.path().join("outside/secret"), "secret").unwrap();
            Place { dir }
        }

        fn root(&self) -> std::path::PathBuf {
            self.dir.path().join("root")
        }

        /// The tree, in both ways to resolve.
        fn trees(&self) -> [OsTree; 2] {
            [
                OsTree::open(&self.root()).unwrap(),
                OsTree::open_to_walk(&self.root()).unwrap(),
            ]
        }

        fn secret(&self) -> String {
            fs::read_to_string(self.dir.path().join("outside/secret")).unwrap()
        }
    }

    /// Every operation with `path` fails.
    fn assert_unreachable(tree: &OsTree, path: &[u8]) {
        let shown = path.escape_ascii();
        assert!(tree.open(path).is_err(), "open {shown}");
        assert!(tree.create(path, Create::Keep).is_err(), "create {shown}");
        assert!(tree.create(path, Create::New).is_err(), "create {shown}");
        assert!(tree.create_dir(path).is_err(), "mkdir {shown}");
        assert!(tree.rename(b"mine", path).is_err(), "rename to {shown}");
        assert!(tree.rename(path, b"stolen").is_err(), "rename {shown}");
        assert!(tree.unlink(path).is_err(), "unlink {shown}");
        assert!(tree.remove_dir(path).is_err(), "rmdir {shown}");
        assert!(tree.set_mtime(path, 1).is_err(), "mtime {shown}");
        assert!(tree.set_mode(path, 0o777).is_err(), "chmod {shown}");
        assert!(tree.sync_dir(path).is_err(), "sync {shown}");
        assert!(tree.open_dir(path).is_err(), "list {shown}");
    }

    #[test]
    fn paths_that_are_not_plain_are_refused() {
        let place = Place::new();
        for tree in place.trees() {
            fs::write(place.root().join("mine"), "x").unwrap();
            let absolute = place.dir.path().join("outside/secret");
            for path in [
                b"../outside/secret".as_slice(),
                b"..",
                b"sub/../../outside/secret",
                b"./sub",
                b"sub//x",
                b"/etc/passwd",
                b"sub/",
                b"a\0b",
                absolute.as_os_str().as_encoded_bytes(),
            ] {
                assert_unreachable(&tree, path);
                assert!(tree.meta(path).is_err());
            }
            assert_eq!(place.secret(), "secret");
        }
    }

    #[test]
    fn links_that_lead_out_are_refused_by_every_operation() {
        let place = Place::new();
        let outside = place.dir.path().join("outside");
        symlink(&outside, place.root().join("absolute")).unwrap();
        symlink("../outside", place.root().join("relative")).unwrap();
        symlink("sub/../../outside", place.root().join("winding")).unwrap();
        symlink("/proc/self/cwd", place.root().join("magic")).unwrap();
        for tree in place.trees() {
            fs::write(place.root().join("mine"), "x").unwrap();
            for link in ["absolute", "relative", "winding", "magic"] {
                for name in ["secret", "new"] {
                    let path = format!("{link}/{name}");
                    assert_unreachable(&tree, path.as_bytes());
                    assert!(tree.meta(path.as_bytes()).is_err());
                }
                assert!(tree.open_dir(link.as_bytes()).is_err());
            }
            assert_eq!(place.secret(), "secret");
            assert!(!outside.join("new").exists());
        }
    }

    #[test]
    fn a_link_in_the_last_part_is_never_followed_to_a_file() {
        let place = Place::new();
        fs::write(place.root().join("sub/inner"), "inner").unwrap();
        symlink("sub/inner", place.root().join("within")).unwrap();
        symlink("../outside/secret", place.root().join("out")).unwrap();
        symlink("../outside/new", place.root().join("dangling")).unwrap();
        for tree in place.trees() {
            for link in [b"within".as_slice(), b"out", b"dangling"] {
                assert!(tree.open(link).is_err());
                assert!(tree.create(link, Create::Keep).is_err());
                assert!(tree.create(link, Create::New).is_err());
                assert!(tree.set_mode(link, 0o777).is_err());
                assert_eq!(tree.meta(link).unwrap().kind, Kind::Symlink);
                // The time of the link itself is nobody's secret.
                tree.set_mtime(link, 1).unwrap();
            }
            assert!(!place.dir.path().join("outside/new").exists());
        }
        let secret = fs::metadata(place.dir.path().join("outside/secret")).unwrap();
        assert_ne!(secret.permissions().mode() & 0o777, 0o777);
        assert!(secret.modified().unwrap().elapsed().unwrap().as_secs() < 86_400);
    }

    #[test]
    fn links_to_directories_within_are_followed_where_the_kernel_keeps_watch() {
        let place = Place::new();
        fs::write(place.root().join("sub/inner"), "inner").unwrap();
        symlink("sub", place.root().join("link")).unwrap();
        let [kernel, walk] = place.trees();
        if kernel.resolve == Resolve::Kernel {
            assert!(kernel.open(b"link/inner").is_ok());
            assert!(kernel.open_dir(b"link").is_ok());
        }
        assert!(walk.open(b"link/inner").is_err());
        assert!(walk.open_dir(b"link").is_err());
    }

    #[test]
    fn a_directory_moved_out_during_use_is_not_reached_by_its_old_path() {
        let place = Place::new();
        for tree in place.trees() {
            fs::rename(place.root().join("sub"), place.dir.path().join("moved")).unwrap();
            symlink("../moved", place.root().join("sub")).unwrap();
            assert_unreachable(&tree, b"sub/x");
            fs::remove_file(place.root().join("sub")).unwrap();
            fs::rename(place.dir.path().join("moved"), place.root().join("sub")).unwrap();
        }
    }

    #[test]
    fn a_directory_exchanged_with_a_link_again_and_again_never_lets_anyone_out() {
        let place = Place::new();
        let (sub, aside) = (place.root().join("sub"), place.root().join("aside"));
        symlink("../outside", &aside).unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let flags = rustix::fs::RenameFlags::EXCHANGE;
                    rustix::fs::renameat_with(CWD, &sub, CWD, &aside, flags).unwrap();
                }
            });
            for tree in place.trees() {
                for n in 0..500 {
                    let name = format!("sub/new-{n}");
                    let _either = tree.create(name.as_bytes(), Create::Keep).map(drop);
                    let _either = tree.create_dir(b"sub/dir");
                    let _either = tree.rename(name.as_bytes(), b"sub/renamed");
                    let _either = tree.unlink(b"sub/secret");
                    assert!(tree.open(b"sub/secret").is_err());
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let outside = place.dir.path().join("outside");
        let names: Vec<_> = fs::read_dir(outside)
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
    }

    #[test]
    fn what_is_no_regular_file_is_neither_opened_nor_waited_for() {
        let place = Place::new();
        rustix::fs::mknodat(
            CWD,
            place.root().join("fifo"),
            rustix::fs::FileType::Fifo,
            Mode::RWXU,
            0,
        )
        .unwrap();
        for tree in place.trees() {
            assert!(tree.open(b"fifo").is_err());
            assert!(tree.create(b"fifo", Create::Keep).is_err());
            assert!(tree.open(b"sub").is_err());
            assert!(tree.create(b"sub", Create::Keep).is_err());
        }
    }

    #[test]
    fn ordinary_work_is_done_below_the_root() {
        let place = Place::new();
        for tree in place.trees() {
            tree.create_dir(b"sub/deep").unwrap();
            let file = tree.create(b"sub/deep/a", Create::New).unwrap();
            file.write_at(b"hello", 0).unwrap();
            assert!(tree.create(b"sub/deep/a", Create::New).is_err());
            tree.rename(b"sub/deep/a", b"b").unwrap();
            tree.set_mtime(b"b", 1_000_000_000).unwrap();
            tree.set_mode(b"b", 0o640).unwrap();
            let meta = tree.meta(b"b").unwrap();
            assert_eq!((meta.size, meta.mode & 0o7777), (5, 0o640));
            assert_eq!(meta.mtime_ns, 1_000_000_000_000_000_000);
            assert_eq!(tree.meta(b"").unwrap().kind, Kind::Dir);
            tree.sync_dir(b"").unwrap();
            tree.sync_dir(b"sub").unwrap();
            tree.sync_fs().unwrap();
            assert!(tree.space().unwrap().total > 0);
            tree.unlink(b"b").unwrap();
            tree.remove_dir(b"sub/deep").unwrap();
            let mut names = Vec::new();
            let mut dir = tree.open_dir(b"").unwrap();
            while let Some(entry) = dir.next_entry().unwrap() {
                names.push(entry.name);
            }
            assert_eq!(names, ["sub"]);
        }
    }
}
