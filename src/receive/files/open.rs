//! How an upload begins.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Files, Right, Spot, is_unfinished, told};
use super::incoming::{Incoming, Upload};
use super::quota::Usage;
use super::{FileError, VirtualPath};
use crate::sys::{Create, File, Kind, Meta};

impl Files {
    /// Opens a file for an upload, after whoever else uploads it lost it.
    pub(super) fn open_upload(
        self: &Arc<Files>,
        path: &VirtualPath,
        mode: Upload,
    ) -> Result<Incoming, FileError> {
        if mode != Upload::Unique {
            let spot = self.spot_below(path)?;
            return self.open_at(path.clone(), spot, mode);
        }
        for _ in 0..UNIQUE_ATTEMPTS_MAX {
            let name = format!("upload-{:016x}", self.rng.next_u64());
            let path = path.join(name.as_bytes())?;
            let spot = self.spot_below(&path)?;
            match self.open_at(path, spot, mode) {
                Err(FileError::Exists) => {}
                result => return result,
            }
        }
        Err(FileError::Exists)
    }

    fn open_at(
        self: &Arc<Files>,
        path: VirtualPath,
        spot: Spot,
        mode: Upload,
    ) -> Result<Incoming, FileError> {
        self.check(Right::Upload, &spot.place)?;
        if spot.place.lane.is_some() {
            self.make_parents(&spot)?;
        }
        let turn = spot.place.take_over(&spot.path)?;
        let held = turn.hold().ok_or(FileError::Busy)?;
        let waiting = self.waiting(&spot.place);
        let there = match mode {
            Upload::Unique => None,
            _ => self.replaceable(&spot, None)?,
        };
        let (file, size) = match (mode, there) {
            (Upload::Store | Upload::StoreAt(0), Some(there)) => {
                spot.place.tree.unlink(&spot.path)?;
                self.book.remove(Usage::file(there.size));
                (self.create(&spot, waiting)?, 0)
            }
            (Upload::StoreAt(offset), there) if offset > 0 => {
                let there = there.filter(|there| offset <= there.size);
                let there = there.ok_or(FileError::BadOffset)?;
                (self.go_on(&spot, &there, offset)?, offset)
            }
            (Upload::Append, Some(there)) => {
                // Where SIZE says that it ends.
                let offset = told(there).size;
                (self.go_on(&spot, &there, offset)?, offset)
            }
            _ => (self.create(&spot, waiting)?, 0),
        };
        drop(held);
        if mode == Upload::Append && size == 0 && spot.place.remembered(&spot.path).is_some() {
            log::warn!(
                "receive: user {:?} appends to {}, which was received and sent on: what comes now \
                 is a file of its own",
                self.user,
                path.to_bytes().escape_ascii()
            );
        }
        Ok(Incoming {
            files: self.clone(),
            place: spot.place,
            turn,
            file,
            path,
            below: spot.path,
            from: size,
            size,
            waiting,
            granted: 0,
        })
    }

    /// Makes a new file.
    fn create(&self, spot: &Spot, waiting: Usage) -> Result<Arc<dyn File>, FileError> {
        if self.book.add(Usage::file(0), waiting, &self.user).is_err() {
            // Others may have made room meanwhile.
            self.count_if_due(RECOUNT_EVERY)?;
            self.book.add(Usage::file(0), waiting, &self.user)?;
        }
        match spot.place.tree.create(&spot.path, Create::New) {
            Ok(file) => Ok(Arc::from(file)),
            Err(e) => {
                self.book.remove(Usage::file(0));
                Err(match e.kind() {
                    // What the name leads through is missing.
                    io::ErrorKind::NotFound => FileError::NotFound,
                    _ => e.into(),
                })
            }
        }
    }

    /// Opens a file to go on with it at `offset`, where it is cut.
    fn go_on(&self, spot: &Spot, there: &Meta, offset: u64) -> Result<Arc<dyn File>, FileError> {
        if !is_unfinished(there) {
            self.check(Right::Overwrite, &spot.place)?;
        }
        let file = spot.place.tree.create(&spot.path, Create::Keep)?;
        let now = file.meta()?;
        if (now.dev, now.ino, now.kind) != (there.dev, there.ino, Kind::File) {
            return Err(FileError::Busy);
        }
        if offset < now.size {
            file.set_len(offset)?;
            let bytes = now.size - offset;
            self.book.remove(Usage { bytes, files: 0 });
        }
        Ok(Arc::from(file))
    }

    /// Makes the directories of a lane's path: they are part of a name there.
    fn make_parents(&self, spot: &Spot) -> Result<(), FileError> {
        let ends = spot.path.iter().enumerate().filter(|(_, b)| **b == b'/');
        if ends.clone().count() > LANE_DEPTH_MAX {
            return Err(FileError::BadName("too many directories"));
        }
        for (end, _) in ends {
            let parent = spot.path.get(..end).unwrap_or_default();
            match spot.place.tree.create_dir(parent) {
                Ok(()) => self
                    .book
                    .add(Usage::file(0), Usage::default(), &self.user)?,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

/// Directories in a lane's path: they are made as they are named.
const LANE_DEPTH_MAX: usize = 32;
/// Names that are tried for STOU; each is 64 bits of chance.
const UNIQUE_ATTEMPTS_MAX: usize = 4;
/// A user without room is counted anew at most this often.
const RECOUNT_EVERY: Duration = Duration::from_secs(60);
