//! A user who has logged in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Files, Right, is_unfinished};
use super::flush::{FINISHED, UNFINISHED};
use super::place::{Key, Lane, Place, Places, Turn};
use super::quota::{Book, Usage};
use super::{FileError, Incoming, Listing, Received, Upload, VirtualPath};
use crate::receive::inbox::{Inbox, InboxError};
use crate::receive::options::{Permissions, Target, User};
use crate::sys::{File, Kind, Meta, Pool, Sys};

/// A user who has logged in. All sessions of the user share it. Every method
/// runs its file work on the pool.
pub struct Account {
    files: Arc<Files>,
    inbox: Rc<dyn Inbox>,
    pool: Pool,
}

impl Account {
    /// Opens the folders of a user, and counts what is in them if there is a
    /// quota. Directories must be there; those of lanes are made.
    pub(in crate::receive) async fn open(
        sys: &Sys,
        user: &User,
        inbox: Rc<dyn Inbox>,
        places: &Arc<Places>,
    ) -> Result<Account, String> {
        let mut folders = Vec::new();
        for folder in &user.folders {
            let place = place_of(sys, &folder.target, &*inbox, places).await?;
            folders.push((folder.name.clone(), place));
        }
        let (clock, rng) = (sys.clock.clone(), sys.rng.clone());
        let book = Book::new(user.quota);
        let files = Files::new(&user.name, user.permissions, book, folders, clock, rng);
        let account = Account {
            files: Arc::new(files),
            inbox,
            pool: sys.pool.clone(),
        };
        account.recount(Duration::ZERO).await?;
        Ok(account)
    }

    /// Counts what is in the folders of a user with a quota, if the last time
    /// was so long ago.
    pub(in crate::receive) async fn recount(&self, every: Duration) -> Result<(), String> {
        let counted = self.with(move |files| files.count_if_due(every)).await;
        counted.map_err(|e| format!("the folders cannot be counted: {e}"))
    }

    /// Whether all folders are still what stands at their places on disk.
    pub(in crate::receive) async fn stands(&self, sys: &Sys) -> bool {
        let fs = sys.fs.clone();
        let check = move |files: &Arc<Files>| {
            let mut places = files.folders.iter();
            places.all(|(_, place)| super::place::stands_there(&*fs, place))
        };
        self.with(check).await
    }

    /// The user's name, for the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.files.user
    }

    /// What the user may do.
    #[must_use]
    pub fn permissions(&self) -> Permissions {
        self.files.permissions
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
        let path = path.clone();
        let open = move |files: &Arc<Files>| files.open_upload(&path, mode);
        self.with(open).await
    }

    /// Finishes an upload: when it answers, the file is durable, in its
    /// directory or in the spool. Many at once share one flush.
    ///
    /// # Errors
    /// Why not. What is there stays as a cut upload, unless its flush failed.
    pub async fn complete(&self, incoming: Incoming) -> Result<Received, FileError> {
        let Incoming {
            files,
            place,
            turn,
            file,
            path,
            below,
            size,
            from,
            ..
        } = incoming;
        files.note_upload(&path);
        if let Some(lane) = self.taking_lane(&place, &below) {
            drop(file);
            self.take(&place, lane, turn, &below, &below).await?;
            let received = self.received(path, Some(lane), None, size);
            return Ok(Received { from, ..received });
        }
        let on_disk = place.on_disk(&below);
        place.finish(&self.pool, file, below, turn).await?;
        let received = self.received(path, place.lane.as_ref(), Some(on_disk), size);
        Ok(Received { from, ..received })
    }

    /// The lane, if it takes a file of this name.
    fn taking_lane<'p>(&self, place: &'p Place, below: &[u8]) -> Option<&'p Lane> {
        let lane = place.lane.as_ref();
        lane.filter(|lane| self.inbox.wants(&lane.name, below))
    }

    /// Hands a complete file over to its lane, under the name `to`.
    async fn take(
        &self,
        place: &Arc<Place>,
        lane: &Lane,
        turn: Turn,
        from: &[u8],
        to: &[u8],
    ) -> Result<Meta, FileError> {
        let staged = turn.seal().ok_or(FileError::Busy)?;
        let meta = self.mark(place, from, FINISHED).await?;
        match self.inbox.take(&lane.name, to, staged).await {
            Ok(()) => {
                self.files.book.remove(Usage::file(meta.size));
                place.remember(to, meta);
                Ok(meta)
            }
            Err(e) => {
                let _only_for_the_sweep = self.mark(place, from, UNFINISHED | 0o600).await;
                Err(match e {
                    InboxError::Full => FileError::Full,
                    InboxError::Name(_) => FileError::BadName("it cannot be sent on"),
                    InboxError::Changed => FileError::Busy,
                    InboxError::Failed(why) => FileError::Spool(why),
                })
            }
        }
    }

    /// Sets a file's mode, and tells what it is.
    async fn mark(&self, place: &Arc<Place>, path: &[u8], mode: u32) -> Result<Meta, FileError> {
        let (place, path) = (place.clone(), path.to_vec());
        let mark = move |_: &Arc<Files>| -> Result<Meta, FileError> {
            let meta = place.tree.meta(&path)?;
            if meta.kind != Kind::File {
                return Err(FileError::Refused);
            }
            // Some filesystems keep no modes; then nothing is marked either.
            if is_unfinished(&meta) != (mode & UNFINISHED != 0) {
                place.tree.set_mode(&path, mode)?;
            }
            Ok(meta)
        };
        self.with(mark).await
    }

    /// Opens a file for RETR.
    ///
    /// # Errors
    /// Why not.
    pub async fn open_download(&self, path: &VirtualPath) -> Result<Arc<dyn File>, FileError> {
        let path = path.clone();
        self.with(move |files| files.open(&path, Right::Read)).await
    }

    /// Opens a file for a digest (HASH, XCRC and the like), which whoever may
    /// upload may ask for.
    ///
    /// # Errors
    /// Why not. `Unfinished` for a cut upload: its digest would tell a client that
    /// the file is there, and it is not.
    pub async fn open_for_digest(&self, path: &VirtualPath) -> Result<Arc<dyn File>, FileError> {
        let path = path.clone();
        let right = match self.permissions().read {
            true => Right::Read,
            false => Right::Upload,
        };
        let open = move |files: &Arc<Files>| {
            let file = files.open(&path, right)?;
            match is_unfinished(&file.meta()?) {
                true => Err(FileError::Unfinished),
                false => Ok(file),
            }
        };
        self.with(open).await
    }

    /// What is known of a file or directory: for SIZE, MDTM, MLST. A file that a
    /// lane took lately is still known. A cut upload has one byte less than what
    /// came, so that nobody takes it for a whole file.
    ///
    /// # Errors
    /// Why not.
    pub async fn meta(&self, path: &VirtualPath) -> Result<Meta, FileError> {
        let path = path.clone();
        self.with(move |files| files.meta(&path)).await
    }

    /// Whether CWD may go there.
    ///
    /// # Errors
    /// Why not.
    pub async fn enter(&self, path: &VirtualPath) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.enter(&path)).await
    }

    /// Begins to list a directory.
    ///
    /// # Errors
    /// Why not.
    pub async fn list(&self, path: &VirtualPath) -> Result<Listing, FileError> {
        let path = path.clone();
        self.with(move |files| files.list(&path)).await
    }

    /// MKD.
    ///
    /// # Errors
    /// Why not.
    pub async fn make_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.make_dir(&path)).await
    }

    /// RMD.
    ///
    /// # Errors
    /// Why not.
    pub async fn remove_dir(&self, path: &VirtualPath) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.remove_dir(&path)).await
    }

    /// DELE.
    ///
    /// # Errors
    /// Why not.
    pub async fn delete(&self, path: &VirtualPath) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.delete(&path)).await
    }

    /// Whether RNFR names something that may be renamed.
    ///
    /// # Errors
    /// Why not.
    pub async fn rename_from(&self, path: &VirtualPath) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.rename_from(&path).map(drop))
            .await
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
        let (source, target) = (self.files.spot_below(from)?, self.files.spot_below(to)?);
        if !Arc::ptr_eq(&source.place, &target.place) {
            return Err(FileError::OtherFolder);
        }
        let what = {
            let from = from.clone();
            self.with(move |files| files.rename_from(&from)).await?
        };
        let place = source.place;
        if what.kind == Kind::File
            && let Some(lane) = self.taking_lane(&place, &target.path)
        {
            let turn = place.take_over(&source.path)?;
            let taken = self.take(&place, lane, turn, &source.path, &target.path);
            let size = taken.await?.size;
            return Ok(Some(self.received(to.clone(), Some(lane), None, size)));
        }
        let (from, to) = (from.clone(), to.clone());
        self.with(move |files| files.rename(&from, &to)).await?;
        Ok(None)
    }

    /// MFMT: seconds since 1970.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_mtime(&self, path: &VirtualPath, unix_secs: i64) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.set_mtime(&path, unix_secs))
            .await
    }

    /// SITE CHMOD: 0o777 at most.
    ///
    /// # Errors
    /// Why not.
    pub async fn set_mode(&self, path: &VirtualPath, mode: u32) -> Result<(), FileError> {
        let path = path.clone();
        self.with(move |files| files.set_mode(&path, mode)).await
    }

    fn received(
        &self,
        path: VirtualPath,
        lane: Option<&Lane>,
        file: Option<std::path::PathBuf>,
        size: u64,
    ) -> Received {
        Received {
            user: self.files.user.clone(),
            path,
            watch: lane.map(|lane| lane.name.clone()),
            file,
            size,
            from: 0,
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Files>) -> T + Send + 'static,
    ) -> T {
        let files = self.files.clone();
        self.pool.run(move || work(&files)).await
    }
}

async fn place_of(
    sys: &Sys,
    target: &Target,
    inbox: &dyn Inbox,
    places: &Arc<Places>,
) -> Result<Arc<Place>, String> {
    let (fs, places) = (sys.fs.clone(), places.clone());
    match target {
        Target::Dir(dir) => {
            let key = Key::Dir(dir.clone());
            let dir = dir.clone();
            let open = move || {
                let place = places.get(&*fs, &key, || Place::directory(&*fs, &dir));
                place.map_err(|e| format!("{} cannot be opened: {e}", dir.display()))
            };
            sys.pool.run(open).await
        }
        Target::Lane(lane) => {
            let failed = |e: std::io::Error| format!("watch {lane:?} takes no uploads: {e}");
            let staging = inbox.staging(lane).map_err(failed)?;
            let room = inbox.room(lane);
            let (key, name) = (Key::Lane(lane.clone()), lane.clone());
            let open = move || {
                let open = || Place::lane(&*fs, &name, &staging, room);
                places.get(&*fs, &key, open)
            };
            sys.pool.run(open).await.map_err(failed)
        }
    }
}
