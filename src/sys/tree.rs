//! A directory that nobody gets out of, for paths that strangers choose.

use std::io;

use super::{Create, Dir, File, Meta, Space};

/// An open directory and what is below it. Paths are relative, in bytes,
/// separated by slashes, without `.`, `..` and empty parts; `b""` is the
/// directory itself where that makes sense. Anything else is `InvalidInput`.
///
/// Whatever others do meanwhile, no path reaches an object outside: symbolic
/// links that lead out are refused (`CrossesDevices`, as openat2(2) has it, or
/// `NotADirectory`), and one in the last part of a path is not followed, but
/// by [`Tree::open_dir`] and [`Tree::sync_dir`].
pub trait Tree: Send + Sync {
    /// Opens an existing regular file for reading.
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn File>>;
    /// Opens a regular file for reading and writing, making it with mode 01600
    /// if need be: the sticky bit, which means nothing on a file, marks it as
    /// unfinished until [`Tree::set_mode`] clears it.
    fn create(&self, path: &[u8], create: Create) -> io::Result<Box<dyn File>>;
    /// `lstat`.
    fn meta(&self, path: &[u8]) -> io::Result<Meta>;
    /// Opens a directory for reading in steps.
    fn open_dir(&self, path: &[u8]) -> io::Result<Box<dyn Dir>>;
    /// Makes a directory with mode 0750.
    fn create_dir(&self, path: &[u8]) -> io::Result<()>;
    /// Renames; replaces a file that stands at `to`.
    fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()>;
    /// Removes a file's name.
    fn unlink(&self, path: &[u8]) -> io::Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &[u8]) -> io::Result<()>;
    /// Sets when the content changed last, in seconds since 1970.
    fn set_mtime(&self, path: &[u8], unix_secs: i64) -> io::Result<()>;
    /// Sets the permission bits and the sticky bit (0o1777 at most) of a file or
    /// directory, and clears the others.
    fn set_mode(&self, path: &[u8], mode: u32) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &[u8]) -> io::Result<()>;
    /// Makes all that was written to the filesystem durable (`syncfs`).
    fn sync_fs(&self) -> io::Result<()>;
    /// Room on the filesystem.
    fn space(&self) -> io::Result<Space>;
}
