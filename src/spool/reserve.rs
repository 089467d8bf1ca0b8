//! The reserve: room for receipts on a disk that has none left.
//!
//! A file of fixed length whose blocks were written when there was room. While
//! the ledger cannot grow, receipts are written over it, which needs no new
//! block; that lets the delivered blobs go, and their blocks make room again.
//! Then the receipts move to the ledger and the reserve is free once more.
//!
//! The file `reserve` holds frames of (generation, [`Receipt`]) from its start.
//! Those that bear the generation of the first one count, up to the first that
//! does not; what follows was left by earlier ones. Without a whole frame at
//! the start it is free.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{Create, File, Fs};

use super::frame::{self, HEADER, Piece, Scan};
use super::ledger::{Receipt, SETTLE_BATCH};
use super::log::{WriteError, flushed, sync_dir};

/// Bytes of the reserve.
pub(super) const SIZE: u64 = 64 << 10;
/// How much is written at a time when it is made.
const CHUNK: usize = 4 << 10;

/// Where the reserve stands.
pub(super) struct Reserve {
    path: PathBuf,
    /// `None` as long as there was no room for it.
    file: Option<Box<dyn File>>,
    generation: u32,
    /// Bytes and receipts in use.
    len: u64,
    count: usize,
}

impl Reserve {
    /// Finds the reserve, and what it holds.
    pub(super) fn open(fs: &dyn Fs, spool: &Path, writable: bool) -> io::Result<Reserve> {
        let mut reserve = Reserve {
            path: spool.join("reserve"),
            file: None,
            generation: 0,
            len: 0,
            count: 0,
        };
        let file = match fs.meta(&reserve.path) {
            Ok(meta) if meta.size < SIZE => return Ok(reserve),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(reserve),
            Err(e) => return Err(e),
            Ok(_) if writable => fs.create(&reserve.path, Create::Keep)?,
            Ok(_) => fs.open(&reserve.path)?,
        };
        let (mut count, mut generation) = (0, None);
        let len = read(&*file, &mut |of, _| {
            generation = Some(of);
            count += 1;
            true
        })?;
        reserve.generation = generation.unwrap_or(0);
        (reserve.file, reserve.len, reserve.count) = (Some(file), len, count);
        Ok(reserve)
    }

    /// Makes the reserve if it is not there and there is room for it.
    pub(super) fn provide(&mut self, fs: &dyn Fs) -> Result<(), WriteError> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        let new = Path::new(&new);
        let filled = fill(fs, new).and_then(|file| {
            fs.rename(new, &self.path)?;
            Ok(file)
        });
        match filled {
            Ok(file) => self.file = Some(file),
            Err(error) => {
                // Half a reserve would only take room.
                let _best_effort = fs.unlink(new);
                return Err(error);
            }
        }
        sync_dir(fs, self.path.parent().unwrap_or(Path::new(".")))
    }

    /// Whether it holds no receipts.
    pub(super) fn is_free(&self) -> bool {
        self.count == 0
    }

    /// Writes receipts over the reserve, durably. `Undone` with
    /// [`io::ErrorKind::StorageFull`] when they do not fit.
    pub(super) fn put(&mut self, receipts: &[&Receipt]) -> Result<(), WriteError> {
        let full = || WriteError::Undone(io::ErrorKind::StorageFull.into());
        if self.count == 0 {
            self.generation = self.generation.wrapping_add(1);
        }
        let mut bytes = Vec::new();
        for receipt in receipts {
            frame::encode(&(self.generation, receipt), &mut bytes)?;
        }
        let end = self.len + bytes.len() as u64;
        let fits = end <= SIZE && self.count + receipts.len() <= SETTLE_BATCH;
        let file = self.file.as_ref().filter(|_| fits).ok_or_else(full)?;
        // Half a write needs no undoing: what is whole of it is true.
        file.write_at(&bytes, self.len)?;
        flushed(file.sync())?;
        self.len = end;
        self.count += receipts.len();
        Ok(())
    }

    /// Calls `each` for every receipt that it holds, until it answers `false`.
    pub(super) fn each(&self, each: &mut dyn FnMut(&Receipt) -> bool) -> io::Result<()> {
        if let Some(file) = self.file.as_ref().filter(|_| self.count > 0) {
            read(&**file, &mut |_, receipt| each(receipt))?;
        }
        Ok(())
    }

    /// Frees the reserve, durably: its receipts are elsewhere.
    pub(super) fn free(&mut self) -> Result<(), WriteError> {
        if let Some(file) = self.file.as_ref().filter(|_| self.count > 0) {
            file.write_at(&[0; HEADER], 0)?;
            flushed(file.sync())?;
            (self.len, self.count) = (0, 0);
        }
        Ok(())
    }
}

/// Reads the receipts that count; gives where they end.
fn read(file: &dyn File, each: &mut dyn FnMut(u32, &Receipt) -> bool) -> io::Result<u64> {
    let mut scan = Scan::new(file);
    let mut generation = None;
    while let Some(piece) = scan.next::<(u32, Receipt)>()? {
        match piece {
            Piece::Record(at, (of, receipt)) => {
                if *generation.get_or_insert(of) != of || !each(of, &receipt) {
                    return Ok(at);
                }
            }
            Piece::Damaged { from, .. } | Piece::Torn { from, .. } => return Ok(from),
        }
    }
    Ok(file.meta()?.size)
}

/// A new file of the reserve's length, every block written with something that
/// no filesystem leaves out or shrinks.
fn fill(fs: &dyn Fs, path: &Path) -> Result<Box<dyn File>, WriteError> {
    let file = fs.create(path, Create::Keep)?;
    file.set_len(0)?;
    let mut seed = fastrand::Rng::with_seed(SIZE);
    let mut chunk = [0; CHUNK];
    let mut at = 0;
    while at < SIZE {
        seed.fill(&mut chunk);
        file.write_at(&chunk, at)?;
        at += CHUNK as u64;
    }
    flushed(file.sync())?;
    Ok(file)
}
