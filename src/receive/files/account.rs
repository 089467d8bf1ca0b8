//! A user who has logged in.

use std::sync::Arc;

use super::{FileError, Incoming, Received, Upload, VirtualPath};
use crate::receive::options::Permissions;
use crate::sys::{File, Meta};

/// A user who has logged in. All sessions of the user share it. Every method
/// runs its file work on the pool.
pub struct Account {
    name: String,
    permissions: Permissions,
}

/// A directory being listed, in steps. Blocking: it goes to the pool and back.
pub struct Listing {
    _private: (),
}

impl Listing {
    /// The next names with what `lstat` says of them, at most `count`; empty at
    /// the end. What disappears meanwhile is left out.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next(&mut self, count: usize) -> Result<Vec<(Vec<u8>, Meta)>, FileError> {
        todo!("{count}")
    }
}

#[allow(clippy::unused_async)]
impl Account {
    /// The user's name, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the user may do.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Begins an upload. If another session has the same file under way, that
    /// one ends: it is a connection that its client has given up.
    ///
    /// `Upload::Unique` takes `path` as the directory.
    ///
    /// # Errors
    /// Why not.
    pub async fn open_upload(
        &self,
        path: &VirtualPath,
        mode: Upload,
    ) -> Result<Incoming, FileError> {
        todo!("{path:?} {mode:?}")
    }

    /// Finishes an upload: when it answers, the file is durable, in its
    /// directory or in the spool. Many at once share one flush.
    ///
    /// # Errors
    /// Why not. What is there stays as a cut upload.
    pub async fn complete(&self, incoming: Incoming) -> Result<Received, FileError> {
        todo!("{:?}", incoming.path())
    }

    /// Opens a file for RETR.
    ///
    /// # Errors
    /// Why not.
    pub async fn open_download(&self, path: &VirtualPath) -> Result<Arc<dyn File>, FileError> {
        todo!("{path:?}")
    }

    /// Opens a file for a digest (HASH, XCRC and the like), which whoever may
    /// upload may ask for.
    ///
    /// # Errors
    /// Why not.
    pub async fn open_for_digest(&self, path: &VirtualPath) -> Result<Arc<dyn File>, FileError> {
        todo!("{path:?}")
    }

    /// What is known of a file or directory: for SIZE, MDTM, MLST. A file that a
    /// lane took lately is still known.
    ///
    /// # Errors
    /// Why not.
    pub async fn meta(&self, path: &VirtualPath) -> Result<Meta, FileError> {
        todo!("{path:?}")
    }

    /// Whether CWD may go there.
    ///
    /// # Errors
    /// Why not.
    pub async fn enter(&self, path: &VirtualPath) -> Result<(), FileError> {
        todo!("{path:?}")
    }

    /// Begins to list a directory.
    ///
    /// # Errors
    /// Why not.
    pub async fn list(&self, path: &VirtualPath) -> Result<Listing, FileError> {
        todo!("{path:?}")
    }

    /// MKD.
    ///
    /// # Errors
    /// Why not.
    pub async fn make_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        todo!("{path:?}")
    }

    /// RMD.
    ///
    /// # Errors
    /// Why not.
    pub async fn remove_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        todo!("{path:?}")
    }

    /// DELE.
    ///
    /// # Errors
    /// Why not.
    pub async fn delete(&self, path: &VirtualPath) -> Result<(), FileError> {
        todo!("{path:?}")
    }

    /// Whether RNFR names something that may be renamed.
    ///
    /// # Errors
    /// Why not.
    pub async fn rename_from(&self, path: &VirtualPath) -> Result<(), FileError> {
        todo!("{path:?}")
    }

    /// RNTO. In a lane's folder a file that gets a name which the lane takes is
    /// received with it: then it is told.
    ///
    /// # Errors
    /// Why not.
    pub async fn rename(
        &self,
        from: &VirtualPath,
        to: &VirtualPath,
    ) -> Result<Option<Received>, FileError> {
        todo!("{from:?} {to:?}")
    }

    /// MFMT: seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_mtime(&self, path: &VirtualPath, unix_secs: i64) -> Result<(), FileError> {
        todo!("{path:?} {unix_secs}")
    }

    /// SITE CHMOD: 0o777 at most.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), FileError> {
        todo!("{path:?} {mode}")
    }
}
