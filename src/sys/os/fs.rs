//! The real disk.

use std::any::Any;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{
    CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, fdatasync, flock, fsync, openat,
    renameat_with, statfs, statvfs, syncfs,
};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use crate::sys::{self, Create, DirEntry, File, Fs, Kind, Meta, Space, Tree, Writers};

/// The filesystems of this machine.
pub struct OsFs;

impl Fs for OsFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        // NONBLOCK: a FIFO that took a file's place must not hang us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = openat(CWD, path, flags, Mode::empty())?;
        Ok(Box::new(OsFile(fd.into())))
    }

    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).mode(0o600).custom_flags(
            i32::try_from(OFlags::NOFOLLOW.bits()).map_err(|_| io::ErrorKind::InvalidInput)?,
        );
        match create {
            Create::New => options.create_new(true),
            Create::Keep => options.create(true).truncate(false),
        };
        Ok(Box::new(OsFile(options.open(path)?)))
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        Ok(meta_of(&fs::symlink_metadata(path)?))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        fs::read_link(path)
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        let mut dir = OsDir(Dir::new(open_dir_itself(path)?)?);
        while let Some(entry) = sys::Dir::next_entry(&mut dir)? {
            if !each(entry) {
                break;
            }
        }
        Ok(())
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn sys::Dir>> {
        Ok(Box::new(OsDir(Dir::new(open_dir_itself(path)?)?)))
    }

    fn unwatchable(&self, path: &Path) -> io::Result<Option<&'static str>> {
        // The magic numbers of statfs(2); the field's type differs between
        // architectures, the low 32 bits do not.
        let magic = statfs(path)?.f_type as u64 & 0xFFFF_FFFF;
        Ok(match magic {
            0x6969 => Some("NFS"),
            0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("SMB"),
            0x6573_5546 => Some("FUSE"),
            0x0102_1997 => Some("9p"),
            0x00C3_6400 => Some("Ceph"),
            0x5346_414F | 0x6B41_4653 => Some("AFS"),
            0x7375_7245 => Some("Coda"),
            0x786F_4256 => Some("vboxsf"),
            _ => None,
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::mkdir(path, Mode::RWXU)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // This filesystem, or this kernel, does not know how.
            Err(Errno::INVAL | Errno::NOSYS) => self.rename_after_look(from, to),
            renamed => Ok(renamed?),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fsync(open_dir(path)?)?)
    }

    fn sync_fs(&self, path: &Path) -> io::Result<()> {
        Ok(syncfs(open_dir(path)?)?)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let s = statvfs(path)?;
        let bytes = |blocks: u64| blocks.saturating_mul(s.f_frsize);
        Ok(Space {
            total: bytes(s.f_blocks),
            free: bytes(s.f_bavail),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, path, flags, Mode::RUSR | Mode::WUSR)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(file))
    }

    fn writers(&self, path: &Path) -> io::Result<Writers> {
        super::lease::writers(path)
    }

    fn writes(&self) -> u64 {
        WRITES.load(Ordering::Relaxed) as u64
    }

    fn open_tree(&self, path: &Path) -> io::Result<Arc<dyn Tree>> {
        Ok(Arc::new(super::tree::OsTree::open(path)?))
    }
}

/// Writes that have ended. As wide as every processor adds to at once; only
/// whether it changes is ever asked.
static WRITES: AtomicUsize = AtomicUsize::new(0);

pub(super) struct OsFile(pub(super) fs::File);

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn read_cached(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut bufs = [io::IoSliceMut::new(buf)];
        // Old kernels and some filesystems refuse the flag: all the same.
        preadv2(&self.0, &mut bufs, offset, ReadWriteFlags::NOWAIT)
            .map_err(|_| io::ErrorKind::WouldBlock.into())
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let written = self.0.write_all_at(data, offset);
        WRITES.fetch_add(1, Ordering::Relaxed);
        written
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&self.0.metadata()?))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fdatasync(self.0.as_fd())?)
    }
}

/// An open directory.
pub(super) struct OsDir(pub(super) Dir);

impl sys::Dir for OsDir {
    fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        for entry in &mut self.0 {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => None,
                FileType::RegularFile => Some(Kind::File),
                FileType::Directory => Some(Kind::Dir),
                FileType::Symlink => Some(Kind::Symlink),
                _ => Some(Kind::Other),
            };
            return Ok(Some(DirEntry {
                name: OsStr::from_bytes(name).to_owned(),
                kind,
            }));
        }
        Ok(None)
    }
}

fn open_dir_itself(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?)
}

pub(super) fn meta_of(m: &fs::Metadata) -> Meta {
    let kind = match m.file_type() {
        t if t.is_file() => Kind::File,
        t if t.is_dir() => Kind::Dir,
        t if t.is_symlink() => Kind::Symlink,
        _ => Kind::Other,
    };
    let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
    Meta {
        kind,
        dev: m.dev(),
        ino: m.ino(),
        size: m.size(),
        mtime_ns: nanos(m.mtime(), m.mtime_nsec()),
        ctime_ns: nanos(m.ctime(), m.ctime_nsec()),
        mode: m.mode(),
        nlink: m.nlink(),
    }
}
