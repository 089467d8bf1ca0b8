//! What can go wrong with a user's file, and the reply for it.

use std::fmt;
use std::io;

/// Why a file operation failed. Shown, it is one line without names, fit for a
/// reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is no such file or directory.
    NotFound,
    /// The user has no permission for this.
    NotAllowed(&'static str),
    /// The system refuses it, or the path leads out of the folder.
    Refused,
    /// There is something of this name already.
    Exists,
    /// It is a directory where a file is needed.
    IsDirectory,
    /// It is a file where a directory is needed.
    NotDirectory,
    /// The directory is not empty.
    NotEmpty,
    /// No file can have this name.
    BadName(&'static str),
    /// REST or APPE from a place behind the end of the file.
    BadOffset,
    /// Another session has taken this upload over, or the file is in use.
    Busy,
    /// The upload of this file has not come to its end.
    Unfinished,
    /// The disk or the spool has no room now.
    Full,
    /// The user's quota has no room.
    OverQuota,
    /// Rename from one folder to another.
    OtherFolder,
    /// Anything else that the disk says.
    Disk(io::ErrorKind),
    /// Anything else that the spool says.
    Spool(String),
}

impl FileError {
    /// The reply code: 450, 451, 452, 550, 551, 552, 553 or 554 (RFC 959 §4.2.2,
    /// RFC 1123 §4.1.2.11).
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            FileError::Busy => 450,
            FileError::Disk(_) | FileError::Spool(_) => 451,
            FileError::Full => 452,
            FileError::OverQuota => 552,
            FileError::BadName(_) | FileError::Exists | FileError::OtherFolder => 553,
            FileError::BadOffset => 554,
            FileError::NotFound
            | FileError::NotAllowed(_)
            | FileError::Refused
            | FileError::IsDirectory
            | FileError::NotDirectory
            | FileError::NotEmpty
            | FileError::Unfinished => 550,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NotFound => f.write_str("no such file or directory"),
            FileError::NotAllowed(what) => write!(f, "permission denied: no right to {what}"),
            FileError::Refused => f.write_str("permission denied"),
            FileError::Exists => f.write_str("there is something of this name already"),
            FileError::IsDirectory => f.write_str("is a directory"),
            FileError::NotDirectory => f.write_str("not a directory"),
            FileError::NotEmpty => f.write_str("the directory is not empty"),
            FileError::BadName(why) => write!(f, "not a usable name: {why}"),
            FileError::BadOffset => f.write_str("the restart offset lies behind the end"),
            FileError::Busy => f.write_str("another session writes this file"),
            FileError::Unfinished => f.write_str("its upload was cut and has to go on first"),
            FileError::Full => f.write_str("no space left, try again later"),
            FileError::OverQuota => f.write_str("the quota is used up"),
            FileError::OtherFolder => f.write_str("the two names are in different folders"),
            FileError::Disk(kind) => write!(f, "local error: {kind}"),
            FileError::Spool(why) => write!(f, "local error: {why}"),
        }
    }
}

impl std::error::Error for FileError {}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> FileError {
        match error.kind() {
            io::ErrorKind::NotFound => FileError::NotFound,
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            // openat2(2): the path leads out.
            | io::ErrorKind::CrossesDevices => FileError::Refused,
            io::ErrorKind::AlreadyExists => FileError::Exists,
            io::ErrorKind::IsADirectory => FileError::IsDirectory,
            io::ErrorKind::NotADirectory => FileError::NotDirectory,
            io::ErrorKind::DirectoryNotEmpty => FileError::NotEmpty,
            io::ErrorKind::InvalidFilename => FileError::BadName("too long"),
            io::ErrorKind::InvalidInput => FileError::BadName("not a path"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::Full,
            kind => FileError::Disk(kind),
        }
    }
}
