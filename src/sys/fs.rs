//! The disk, as narrow as the spool, the watching and the configuration allow.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Tree;

/// What kind of object a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; it is never followed.
    Symlink,
    /// A device, FIFO or socket.
    Other,
}

/// What `lstat` and `fstat` tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// The kind of object.
    pub kind: Kind,
    /// Device number; with `ino` it names the object as long as it exists.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of the content, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Time of the last change of content or attributes, in nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Permission bits and the file type, as `st_mode` has them.
    pub mode: u32,
    /// Number of names.
    pub nlink: u64,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The last part of the path; bytes, not necessarily UTF-8.
    pub name: OsString,
    /// The kind as the directory tells it; `None` where the filesystem does not.
    pub kind: Option<Kind>,
}

/// Whether anyone has a file open for writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has.
    None,
    /// Somebody has.
    Some,
    /// This filesystem, or our rights on the file, do not let us know.
    Unknown,
}

/// Room on a filesystem, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// The filesystem's size.
    pub total: u64,
    /// What an ordinary user can still write.
    pub free: u64,
}

/// How [`Fs::create`] treats an existing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It must not exist.
    New,
    /// It is kept and opened for reading and writing.
    Keep,
}

/// An open directory, read name by name; the position survives between calls,
/// so that a directory of any size is gone through in small steps.
pub trait Dir: Send {
    /// The next name but `.` and `..`, in no particular order; `None` at the end.
    fn next_entry(&mut self) -> io::Result<Option<DirEntry>>;
}

/// An open file. Reads and writes name their offset: there is no cursor.
pub trait File: Send + Sync {
    /// Reads at `offset`; 0 means the end of the file.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Reads at `offset` what needs no waiting for the disk; `WouldBlock`, when
    /// that is nothing, or nobody can tell. Unlike all else here it does not
    /// block.
    fn read_cached(&self, _buf: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
    /// Writes all of `data` at `offset`; on failure any part of it may be there.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// `fstat`.
    fn meta(&self) -> io::Result<Meta>;
    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// The descriptor, where there is one, for copies that the kernel makes by
    /// itself ([`super::Stream::send_file`]). Nobody else may use it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Makes the content and size durable (`fdatasync`). After a failure
    /// nothing that was written since the last success may be believed.
    fn sync(&self) -> io::Result<()>;
}

/// The disk. Calls block; async code goes through [`super::Pool`]. No call
/// follows a symbolic link in the last part of its path.
pub trait Fs: Send + Sync {
    /// Opens an existing file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Opens a file for reading and writing, making it with mode 0600 if need be.
    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>>;
    /// `lstat`.
    fn meta(&self, path: &Path) -> io::Result<Meta>;
    /// What a symbolic link says; `InvalidInput` when the path is none. A disk
    /// without symbolic links need not implement it.
    fn read_link(&self, _path: &Path) -> io::Result<PathBuf> {
        Err(io::ErrorKind::InvalidInput.into())
    }
    /// Calls `each` for every name in a directory but `.` and `..`, in no
    /// particular order, until it answers `false`.
    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()>;
    /// Opens a directory for reading in steps. Unless it is overridden, the whole
    /// listing is held in memory.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Dir>> {
        let mut names = Vec::new();
        self.read_dir(path, &mut |entry| {
            names.push(entry);
            true
        })?;
        Ok(Box::new(Listing(names)))
    }
    /// The kind of filesystem that holds `path`, if others may change it without
    /// this kernel noticing (a network or user-space filesystem).
    fn unwatchable(&self, _path: &Path) -> io::Result<Option<&'static str>> {
        Ok(None)
    }
    /// Makes a directory with mode 0700.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Renames; replaces a file that stands at `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Renames to a name that must be free, else `AlreadyExists`: in one step
    /// where the filesystem can (`RENAME_NOREPLACE`), else after a look.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_after_look(from, to)
    }
    /// [`Fs::rename_new`] in two steps, between which the name may be taken.
    fn rename_after_look(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.meta(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.rename(from, to),
            Err(e) => Err(e),
        }
    }
    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes all that was written to the filesystem that holds `path` durable
    /// (`syncfs`): for a batch of many files, one flush.
    fn sync_fs(&self, path: &Path) -> io::Result<()>;
    /// Room on the filesystem that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Takes the exclusive lock on a file, making the file if need be. The
    /// lock is held until the value is dropped or the process ends.
    /// `ErrorKind::WouldBlock` means that another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// Whether anyone has the file open for writing (a read lease is refused
    /// while a writer exists).
    fn writers(&self, path: &Path) -> io::Result<Writers>;
    /// Writes to files that have ended since the process began: while it grows, a
    /// long copy is under way and the disk answers. A disk that counts none need
    /// not implement it.
    fn writes(&self) -> u64 {
        0
    }
    /// Opens a directory that nobody gets out of; a link in the last part of
    /// `path` is followed, because whoever configured it chose it. `Unsupported`
    /// on a disk that has none.
    fn open_tree(&self, _path: &Path) -> io::Result<Arc<dyn Tree>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// A directory that was read at once.
struct Listing(Vec<DirEntry>);

impl Dir for Listing {
    fn next_entry(&mut self) -> io::Result<Option<DirEntry>> {
        Ok(self.0.pop())
    }
}

/// Reads a whole file of at most `limit` bytes.
///
/// # Errors
/// What the disk says, and `InvalidData` when the file is longer.
pub fn read_all(fs: &dyn Fs, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let file = fs.open(path)?;
    let mut content = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let got = file.read_at(&mut chunk, content.len() as u64)?;
        if got == 0 {
            return Ok(content);
        }
        if content.len() + got > limit {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the file is too long",
            ));
        }
        content.extend_from_slice(chunk.get(..got).unwrap_or_default());
    }
}

/// Replaces a small file as a whole: written beside it under `<name>.new`,
/// synced, renamed over it, and the directory synced.
///
/// # Errors
/// What the disk says; the old content is then still there.
pub fn write_whole(fs: &dyn Fs, path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    let file = fs.create(new, Create::Keep)?;
    file.set_len(0)?;
    file.write_at(content, 0)?;
    file.sync()?;
    fs.rename(new, path)?;
    fs.sync_dir(dir)
}
