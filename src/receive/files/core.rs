//! What a user may do, and does, in the folders. Blocks: it runs on the pool.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::flush::UNFINISHED;
use super::place::Place;
use super::quota::{Book, Usage, count};
use super::{FileError, Listing, VirtualPath};
use crate::receive::options::Permissions;
use crate::sys::{Clock, File, Kind, Meta, Rng};

/// The user's virtual tree.
pub(super) struct Files {
    pub(super) user: String,
    pub(super) permissions: Permissions,
    pub(super) book: Book,
    pub(super) folders: Vec<(Vec<u8>, Arc<Place>)>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rng: Arc<dyn Rng>,
    /// What the user uploaded lately, and so may rename.
    uploaded: Mutex<VecDeque<VirtualPath>>,
}

/// What a path leads to.
pub(super) struct Spot {
    pub(super) place: Arc<Place>,
    /// Below the folder; empty for the folder itself.
    pub(super) path: Vec<u8>,
}

/// What a user may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Upload,
    Overwrite,
    List,
    Read,
    Delete,
    Rename,
    Mkdir,
}

impl Files {
    pub(super) fn new(
        user: &str,
        permissions: Permissions,
        book: Book,
        folders: Vec<(Vec<u8>, Arc<Place>)>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Files {
        Files {
            user: user.to_owned(),
            permissions,
            book,
            folders,
            clock,
            rng,
            uploaded: Mutex::default(),
        }
    }

    /// The folder that a path leads into.
    pub(super) fn spot(&self, path: &VirtualPath) -> Result<Spot, FileError> {
        let (first, rest) = path.split_first();
        let named = |name: &[u8]| self.folders.iter().find(|(n, _)| n == name);
        let (place, path) = match named(first).filter(|_| !first.is_empty()) {
            Some((_, place)) => (place, rest),
            None => match named(b"") {
                Some((_, place)) => (place, path.relative()),
                None => return Err(FileError::NotFound),
            },
        };
        Ok(Spot {
            place: place.clone(),
            path: path.to_vec(),
        })
    }

    /// A path that names something below a folder, not a folder itself.
    pub(super) fn spot_below(&self, path: &VirtualPath) -> Result<Spot, FileError> {
        let spot = self.spot(path);
        match spot {
            Ok(spot) if !spot.path.is_empty() => Ok(spot),
            Err(FileError::NotFound) if path.relative().is_empty() => Err(FileError::Refused),
            Err(e) => Err(e),
            Ok(_) => Err(FileError::Refused),
        }
    }

    /// Whether the user may. In a lane nothing has been received yet, so there
    /// whoever may upload may do what an upload needs.
    pub(super) fn check(&self, right: Right, place: &Place) -> Result<(), FileError> {
        let p = self.permissions;
        let staged = place.lane.is_some() && p.upload;
        let (may, what) = match right {
            Right::Upload => (p.upload, "upload"),
            Right::Overwrite => (p.overwrite || staged, "overwrite"),
            Right::List => (p.list, "list"),
            Right::Read => (p.read, "read"),
            Right::Delete => (p.delete || staged, "delete"),
            Right::Rename => (p.rename || staged, "rename"),
            Right::Mkdir => (p.mkdir || staged, "make directories"),
        };
        if may {
            Ok(())
        } else {
            Err(FileError::NotAllowed(what))
        }
    }

    pub(super) fn meta(&self, path: &VirtualPath) -> Result<Meta, FileError> {
        if path.relative().is_empty() && !self.has_root() {
            return Ok(ROOT);
        }
        let spot = self.spot(path)?;
        match spot.place.tree.meta(&spot.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let remembered = spot.place.remembered(&spot.path);
                remembered.ok_or(FileError::NotFound)
            }
            result => match told(result?) {
                // A client must not take the beginning of nothing for its empty file.
                meta if is_unfinished(&meta) && meta.size == 0 => Err(FileError::NotFound),
                meta => Ok(meta),
            },
        }
    }

    pub(super) fn enter(&self, path: &VirtualPath) -> Result<(), FileError> {
        if path.relative().is_empty() && !self.has_root() {
            return Ok(());
        }
        let spot = self.spot(path)?;
        // Follows a link to a directory within, as uploads do.
        spot.place.tree.open_dir(&spot.path).map(drop)?;
        Ok(())
    }

    pub(super) fn list(&self, path: &VirtualPath) -> Result<Listing, FileError> {
        if !path.relative().is_empty() {
            let spot = self.spot(path)?;
            self.check(Right::List, &spot.place)?;
            return Listing::of(spot.place, spot.path);
        }
        if !self.permissions.list {
            return Err(FileError::NotAllowed("list"));
        }
        let mut folders = Vec::new();
        for (name, place) in self.folders.iter().filter(|(name, _)| !name.is_empty()) {
            folders.push((name.clone(), place.tree.meta(b"")?));
        }
        let root = self.has_root().then(|| self.spot(path)).transpose()?;
        let root = root
            .map(|spot| Listing::of(spot.place, spot.path))
            .transpose()?;
        Ok(Listing::of_root(folders, root))
    }

    pub(super) fn open(
        &self,
        path: &VirtualPath,
        right: Right,
    ) -> Result<Arc<dyn File>, FileError> {
        let spot = self.spot_below(path)?;
        self.check(right, &spot.place)?;
        Ok(Arc::from(spot.place.tree.open(&spot.path)?))
    }

    pub(super) fn make_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        let spot = self.spot_below(path)?;
        self.check(Right::Mkdir, &spot.place)?;
        let dir = Usage::file(0);
        self.book.add(dir, self.waiting(&spot.place), &self.user)?;
        let made = spot.place.tree.create_dir(&spot.path);
        if made.is_err() {
            self.book.remove(dir);
        }
        Ok(made?)
    }

    pub(super) fn remove_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        let spot = self.spot_below(path)?;
        self.check(Right::Delete, &spot.place)?;
        spot.place.tree.remove_dir(&spot.path)?;
        self.book.remove(Usage::file(0));
        Ok(())
    }

    pub(super) fn delete(&self, path: &VirtualPath) -> Result<(), FileError> {
        let spot = self.spot_below(path)?;
        self.check(Right::Delete, &spot.place)?;
        let meta = spot.place.tree.meta(&spot.path)?;
        if meta.kind == Kind::Dir {
            return Err(FileError::IsDirectory);
        }
        // Nobody goes on writing what is deleted.
        let _turn = spot.place.take_over(&spot.path)?;
        spot.place.tree.unlink(&spot.path)?;
        self.book.remove(Usage::file(meta.size));
        Ok(())
    }

    /// Whether the user may rename this, and what it is.
    pub(super) fn rename_from(&self, path: &VirtualPath) -> Result<Meta, FileError> {
        let spot = self.spot_below(path)?;
        let may = self.check(Right::Rename, &spot.place);
        if may.is_err() && !(self.permissions.upload && self.has_uploaded(path)) {
            return may.map(|()| ROOT);
        }
        Ok(spot.place.tree.meta(&spot.path)?)
    }

    /// Renames within one folder; checks both sides.
    pub(super) fn rename(&self, from: &VirtualPath, to: &VirtualPath) -> Result<(), FileError> {
        let what = self.rename_from(from)?;
        let (from_spot, to_spot) = (self.spot_below(from)?, self.spot_below(to)?);
        let place = &from_spot.place;
        if !Arc::ptr_eq(place, &to_spot.place) {
            return Err(FileError::OtherFolder);
        }
        let replaced = self.replaceable(&to_spot, Some(&what))?;
        let _from = place.take_over(&from_spot.path)?;
        let _to = place.take_over(&to_spot.path)?;
        place.tree.rename(&from_spot.path, &to_spot.path)?;
        if let Some(replaced) = replaced {
            self.book.remove(Usage::file(replaced.size));
        }
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        for path in uploaded.iter_mut().filter(|path| *path == from) {
            path.clone_from(to);
        }
        Ok(())
    }

    /// What stands where a file is to be put, if the user may replace it.
    /// `what` is about to go there; it may be the very same object.
    pub(super) fn replaceable(
        &self,
        spot: &Spot,
        what: Option<&Meta>,
    ) -> Result<Option<Meta>, FileError> {
        let there = match spot.place.tree.meta(&spot.path) {
            Ok(there) => there,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let same = what.is_some_and(|what| (what.dev, what.ino) == (there.dev, there.ino));
        match there.kind {
            _ if same => Ok(None),
            Kind::Dir => Err(FileError::IsDirectory),
            Kind::File if is_unfinished(&there) => Ok(Some(there)),
            Kind::File if self.check(Right::Overwrite, &spot.place).is_ok() => Ok(Some(there)),
            Kind::File => Err(FileError::Exists),
            _ => Err(FileError::Refused),
        }
    }

    pub(super) fn set_mtime(&self, path: &VirtualPath, unix_secs: i64) -> Result<(), FileError> {
        let spot = self.changeable(path)?;
        match spot.place.tree.set_mtime(&spot.path, unix_secs) {
            // Its copy in the spool keeps the time of its arrival; an error would
            // make clients send it all again.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mtime_ns = unix_secs.saturating_mul(1_000_000_000);
                let known = spot.place.retime(&spot.path, mtime_ns);
                if known {
                    Ok(())
                } else {
                    Err(FileError::NotFound)
                }
            }
            result => Ok(result?),
        }
    }

    pub(super) fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), FileError> {
        let spot = self.changeable(path)?;
        if spot.place.lane.is_some() {
            // Nobody but the agent reads it, and the server has its own rights.
            return self.meta(path).map(drop);
        }
        if is_unfinished(&spot.place.tree.meta(&spot.path)?) {
            // For good: a client told to come back would do so for ever, since
            // it asks for the mode when it is done with the file.
            return Err(FileError::Unfinished);
        }
        Ok(spot.place.tree.set_mode(&spot.path, mode & 0o777)?)
    }

    /// What the user uploaded lately, or may overwrite.
    fn changeable(&self, path: &VirtualPath) -> Result<Spot, FileError> {
        let spot = self.spot_below(path)?;
        let may = self.check(Right::Overwrite, &spot.place);
        if may.is_err() && !(self.permissions.upload && self.has_uploaded(path)) {
            may?;
        }
        Ok(spot)
    }

    /// What waits in the lane, which the quota counts as well.
    pub(super) fn waiting(&self, place: &Place) -> Usage {
        match &place.lane {
            Some(lane) if self.book.is_limited() => {
                let (files, bytes) = lane.room.waiting();
                Usage { bytes, files }
            }
            _ => Usage::default(),
        }
    }

    /// Counts what is there, if the last time was long ago.
    pub(super) fn count_if_due(&self, every: Duration) -> io::Result<()> {
        let now = self.clock.mono();
        if !self.book.is_due(now, every) {
            return Ok(());
        }
        let mut used = Usage::default();
        for (_, place) in &self.folders {
            used = used.plus(count(&*place.tree, b"")?);
        }
        self.book.counted(used, now);
        Ok(())
    }

    /// Remembers what the user uploaded.
    pub(super) fn note_upload(&self, path: &VirtualPath) {
        let mut uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        uploaded.retain(|known| known != path);
        if uploaded.len() >= UPLOADED_MAX {
            uploaded.pop_front();
        }
        uploaded.push_back(path.clone());
    }

    fn has_uploaded(&self, path: &VirtualPath) -> bool {
        let uploaded = self.uploaded.lock().unwrap_or_else(PoisonError::into_inner);
        uploaded.contains(path)
    }

    fn has_root(&self) -> bool {
        self.folders.iter().any(|(name, _)| name.is_empty())
    }
}

/// Whether a file's upload has not come to its end.
pub(super) fn is_unfinished(meta: &Meta) -> bool {
    meta.kind == Kind::File && meta.mode & UNFINISHED != 0
}

/// What a client is told of a file. Of an unfinished one it is one byte less than
/// is there: a client whose bytes all came before its link was cut would else
/// find the full size, be content, and never end the upload, and nobody would
/// take the file. So it sends the last byte again, and hears 226.
pub(super) fn told(meta: Meta) -> Meta {
    match is_unfinished(&meta) {
        true => Meta {
            size: meta.size.saturating_sub(1),
            ..meta
        },
        false => meta,
    }
}

/// A root that exists only as the names of its folders.
const ROOT: Meta = Meta {
    kind: Kind::Dir,
    dev: 0,
    ino: 0,
    size: 0,
    mtime_ns: 0,
    ctime_ns: 0,
    mode: 0o040_750,
    nlink: 1,
};

/// Uploads that are remembered for one user.
const UPLOADED_MAX: usize = 256;
