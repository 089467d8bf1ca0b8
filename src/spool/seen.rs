//! Which versions of which files a lane with `take = "copy"` has taken.
//!
//! Two files: `seen`, a sorted table, and `seen.log`, frames of what came
//! since. When the log is long the two are merged into a new table, which is
//! renamed over the old one. In memory are only the log's rows and, during a
//! scan, one bit per row of the table. What the last segment took is not even
//! in the log: its own records say so, and are read at the start. The log is
//! written when that segment is sealed.
//!
//! The table is a row of pages of 4096 bytes:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of the rest of the page, little endian |
//! | 4 | 4 | rows in the page, little endian |
//! | 8 | 16 each | path and version, 8 bytes each, big endian, ascending |
//!
//! Path and version are the first 8 bytes of SHA-256 over the path, and over
//! size and mtime (8 bytes each, little endian). A damaged page counts as
//! empty: its files are taken once more, never missed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::sys::{Create, File, Fs};

use super::frame::{self, Piece, Scan};
use super::log::{Log, WriteError, flushed, sync_dir};
use super::record::Origin;
use super::segment::State;
use super::{Spool, SpoolError};

const PAGE: usize = 4096;
const ROWS: usize = 255;
/// Rows in memory before they are merged into the table.
const RECENT_MAX: usize = 4096;

/// The versions that a lane has taken.
pub(super) struct Seen {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    table: Option<Box<dyn File>>,
    pages: u64,
    log: Option<Log>,
    /// Rows in the table, once they were counted.
    rows: Option<usize>,
    recent: BTreeMap<u64, Recent>,
    /// One bit per row of the table that the running scan met.
    met: Option<Vec<u8>>,
}

/// A path's version that is not in the table.
struct Recent {
    version: u64,
    /// The running scan met it.
    met: bool,
    logged: bool,
}

impl Seen {
    fn open(fs: &Arc<dyn Fs>, dir: &Path, writable: bool) -> Result<Seen, WriteError> {
        let mut seen = Seen {
            fs: fs.clone(),
            dir: dir.to_owned(),
            table: None,
            pages: 0,
            log: None,
            rows: None,
            recent: BTreeMap::new(),
            met: None,
        };
        seen.open_table()?;
        match Log::open(&**fs, &dir.join("seen.log"), writable) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            opened => seen.read_log(opened?, writable)?,
        }
        Ok(seen)
    }

    fn open_table(&mut self) -> io::Result<()> {
        match self.fs.open(&self.dir.join("seen")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => self.table = Some(opened?),
        }
        let size = self
            .table
            .as_ref()
            .map_or(Ok(0), |t| t.meta().map(|m| m.size))?;
        self.pages = size / PAGE as u64;
        Ok(())
    }

    fn read_log(&mut self, mut log: Log, writable: bool) -> Result<(), WriteError> {
        let mut torn = None;
        let mut scan = Scan::new(log.file());
        while let Some(piece) = scan.next::<(u64, u64)>()? {
            match piece {
                Piece::Record(_, (path, version)) => {
                    let recent = Recent {
                        version,
                        met: false,
                        logged: true,
                    };
                    self.recent.insert(path, recent);
                }
                Piece::Torn { from, .. } => torn = Some(from),
                Piece::Damaged { from, to } => {
                    let log = self.dir.join("seen.log");
                    let bytes = to - from;
                    // What is forgotten is taken once more, never missed.
                    log::warn!("{}: {bytes} bytes at {from} are damaged", log.display());
                }
            }
        }
        if let Some(from) = torn.filter(|_| writable) {
            log.cut(from)?;
        }
        self.log = Some(log);
        Ok(())
    }

    /// Whether this version was taken.
    pub(super) fn contains(&mut self, path: &[u8], size: u64, mtime_ns: i64) -> io::Result<bool> {
        let (path, version) = row_of(path, size, mtime_ns);
        if let Some(recent) = self.recent.get_mut(&path) {
            recent.met = true;
            return Ok(recent.version == version);
        }
        let found = self.find(path).inspect_err(|_| {
            // What this scan met is not known any more: it forgets nothing.
            self.met = None;
        });
        let Some((at, found)) = found? else {
            return Ok(false);
        };
        if let Some(byte) = self.met.as_mut().and_then(|met| met.get_mut(at / 8)) {
            *byte |= 1 << (at % 8);
        }
        Ok(found == version)
    }

    /// Notes a version as taken. It is durable with the next [`Seen::sync`];
    /// until then the record of the entry stands for it.
    pub(super) fn insert(&mut self, path: &[u8], size: u64, mtime_ns: i64) {
        let (path, version) = row_of(path, size, mtime_ns);
        let old = self.recent.get(&path);
        let logged = old.is_some_and(|old| old.logged && old.version == version);
        let met = true;
        self.recent.insert(
            path,
            Recent {
                version,
                met,
                logged,
            },
        );
    }

    /// Makes all that was noted durable.
    pub(super) fn sync(&mut self) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        for (path, recent) in self.recent.iter().filter(|(_, recent)| !recent.logged) {
            frame::encode(&(path, recent.version), &mut bytes)?;
        }
        if !bytes.is_empty() {
            if self.log.is_none() {
                let log = Log::open(&*self.fs, &self.dir.join("seen.log"), true)?;
                sync_dir(&*self.fs, &self.dir)?;
                self.log = Some(log);
            }
            if let Some(log) = &mut self.log {
                log.append(&bytes)?;
                log.sync()?;
            }
            self.recent.values_mut().for_each(|r| r.logged = true);
        }
        match self.recent.len() >= RECENT_MAX {
            true => self.merge(false),
            false => Ok(()),
        }
    }

    /// A whole scan of the source begins.
    fn begin_scan(&mut self) {
        let bytes = usize::try_from(self.pages)
            .unwrap_or(0)
            .saturating_mul(ROWS)
            .div_ceil(8);
        self.met = Some(vec![0; bytes]);
        self.recent.values_mut().for_each(|r| r.met = false);
    }

    /// The scan met all files that there are: the others are forgotten, at once
    /// where they are many or the table is small, else with a later scan, because
    /// rewriting a big table for a few rows would wear the flash.
    fn end_scan(&mut self) -> Result<(), WriteError> {
        // None after a merge in between: the bits were of the old table.
        let Some(met) = self.met.take() else {
            return Ok(());
        };
        let known: usize = met.iter().map(|b| b.count_ones() as usize).sum();
        let rows = self.count_rows()?;
        let recent = self.recent.values().filter(|recent| !recent.met).count();
        let (gone, all) = (rows - known.min(rows) + recent, rows + self.recent.len());
        if gone > 0 && (all <= RECENT_MAX || gone > all / 8) {
            self.met = Some(met);
            self.merge(true)?;
        }
        Ok(())
    }

    fn count_rows(&mut self) -> io::Result<usize> {
        if let Some(rows) = self.rows {
            return Ok(rows);
        }
        let counts = (0..self.pages).map(|no| Ok(self.page(no)?.len()));
        let rows = counts.sum::<io::Result<usize>>()?;
        self.rows = Some(rows);
        Ok(rows)
    }

    /// Where a path stands in the table, and with which version.
    fn find(&self, path: u64) -> io::Result<Option<(usize, u64)>> {
        let (mut low, mut high) = (0, self.pages);
        while low < high {
            let middle = low + (high - low) / 2;
            let page = self.page(middle)?;
            match page.binary_search_by_key(&path, |row| row.0) {
                Ok(at) => {
                    let row = usize::try_from(middle).unwrap_or(0) * ROWS + at;
                    return Ok(page.get(at).map(|found| (row, found.1)));
                }
                Err(0) if !page.is_empty() => high = middle,
                Err(_) => low = middle + 1,
            }
        }
        Ok(None)
    }

    fn page(&self, no: u64) -> io::Result<Vec<(u64, u64)>> {
        let mut page = [0; PAGE];
        let Some(table) = &self.table else {
            return Ok(Vec::new());
        };
        let mut have = 0;
        while let Some(rest) = page.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match table.read_at(rest, no * PAGE as u64 + have as u64)? {
                0 => break,
                got => have += got,
            }
        }
        let (crc, rest) = page.split_at(4);
        if crc != crc32c::crc32c(rest).to_le_bytes() {
            return Ok(Vec::new());
        }
        let (count, rows) = rest.split_at(4);
        let count = count.first_chunk().map_or(0, |c| u32::from_le_bytes(*c));
        let count = usize::try_from(count).unwrap_or(0).min(ROWS);
        let (rows, _) = rows.as_chunks::<16>();
        let row = |bytes: &[u8; 16]| {
            let both = u128::from_be_bytes(*bytes);
            let low = u64::try_from(both & u128::from(u64::MAX)).unwrap_or(0);
            (u64::try_from(both >> 64).unwrap_or(0), low)
        };
        Ok(rows.iter().take(count).map(row).collect())
    }

    /// Writes a new table of the old one and what came since.
    fn merge(&mut self, forget: bool) -> Result<(), WriteError> {
        let new = self.dir.join("seen.new");
        let mut out = TableWriter::new(self.fs.create(&new, Create::Keep)?)?;
        let mut recent = self
            .recent
            .iter()
            .filter(|(_, r)| r.met || !forget)
            .map(|(&path, r)| (path, r.version))
            .peekable();
        for no in 0..self.pages {
            for (at, row) in self.page(no)?.into_iter().enumerate() {
                while let Some(first) = recent.next_if(|r| r.0 < row.0) {
                    out.push(first)?;
                }
                let at = usize::try_from(no).unwrap_or(0) * ROWS + at;
                let met = self.met.as_ref().and_then(|met| met.get(at / 8));
                let met = met.is_none_or(|byte| byte & (1 << (at % 8)) != 0);
                if !self.recent.contains_key(&row.0) && (met || !forget) {
                    out.push(row)?;
                }
            }
        }
        recent.try_for_each(|row| out.push(row))?;
        out.finish()?;
        self.fs.rename(&new, &self.dir.join("seen"))?;
        sync_dir(&*self.fs, &self.dir)?;
        if let Some(log) = &mut self.log {
            log.cut(0)?;
        }
        self.recent.clear();
        self.met = None;
        self.rows = None;
        Ok(self.open_table()?)
    }
}

/// Writes a table page by page.
struct TableWriter {
    file: Box<dyn File>,
    pages: u64,
    rows: Vec<u8>,
}

impl TableWriter {
    fn new(file: Box<dyn File>) -> io::Result<TableWriter> {
        file.set_len(0)?;
        Ok(TableWriter {
            file,
            pages: 0,
            rows: Vec::with_capacity(PAGE),
        })
    }

    fn push(&mut self, (path, version): (u64, u64)) -> io::Result<()> {
        self.rows.extend_from_slice(&path.to_be_bytes());
        self.rows.extend_from_slice(&version.to_be_bytes());
        if self.rows.len() == ROWS * 16 {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let count = u32::try_from(self.rows.len() / 16).unwrap_or(0);
        let mut page = count.to_le_bytes().to_vec();
        page.append(&mut self.rows);
        page.resize(PAGE - 4, 0);
        let crc = crc32c::crc32c(&page).to_le_bytes();
        let at = self.pages * PAGE as u64;
        self.pages += 1;
        self.file.write_at(&[&crc[..], &page].concat(), at)
    }

    fn finish(mut self) -> Result<(), WriteError> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        flushed(self.file.sync())
    }
}

impl Spool {
    /// Whether a lane has already taken this version of a file, by copy.
    /// During a scan it also notes that the file still exists.
    ///
    /// # Errors
    /// What the disk says.
    pub fn is_seen(
        &mut self,
        lane: &str,
        path: &[u8],
        size: u64,
        mtime_ns: i64,
    ) -> Result<bool, SpoolError> {
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Ok(false);
        };
        let Some(seen) = &mut lane.seen else {
            return Ok(false);
        };
        let seen = seen.contains(path, size, mtime_ns);
        seen.map_err(SpoolError::io("read the seen files of", &lane.dir))
    }

    /// A scan of all of a lane's source begins: [`Spool::is_seen`] is going to
    /// be asked about every file that there is.
    pub fn begin_scan(&mut self, lane: &str) {
        if let Some(seen) = self.lanes.get_mut(lane).and_then(|l| l.seen.as_mut()) {
            seen.begin_scan();
        }
    }

    /// The scan is complete: files that it did not meet are forgotten. Not to
    /// be called after a scan that an error cut short.
    ///
    /// # Errors
    /// What the disk says.
    pub fn end_scan(&mut self, lane: &str) -> Result<(), SpoolError> {
        self.core.check_writable()?;
        let Some(lane) = self.lanes.get_mut(lane) else {
            return Ok(());
        };
        let ended = lane.seen.as_mut().map_or(Ok(()), Seen::end_scan);
        self.core
            .written(ended, "write the seen files of", &lane.dir)
    }

    pub(super) fn open_seen(&mut self, lane: &str) -> Result<(), SpoolError> {
        let (core, lane) = self.parts(lane)?;
        let seen = Seen::open(&core.fs, &lane.dir, false);
        let seen = core.written(seen, "read the seen files of", &lane.dir)?;
        lane.seen = Some(seen);
        Ok(())
    }

    /// Opens the seen files of all lanes. What the last segments took counts
    /// as seen, whether or not that was noted before a crash.
    pub(super) fn reopen_seen(&mut self) -> Result<(), SpoolError> {
        let writable = self.core.writable;
        for lane in self.lanes.values_mut() {
            let error = || SpoolError::io("read the seen files of", &lane.dir);
            let exists = self.core.fs.meta(&lane.dir.join("seen.log")).is_ok();
            let seen = Seen::open(&self.core.fs, &lane.dir, writable && exists);
            let mut seen = self
                .core
                .written(seen, "read the seen files of", &lane.dir)?;
            let no = lane.tail_no();
            let index = lane.segments.get(&no).and_then(|s| s.index.as_ref());
            for at in 0..index.map_or(0, |i| u16::try_from(i.slots.len()).unwrap_or(0)) {
                let copied = index
                    .filter(|i| !matches!(i.state(at), State::Void | State::Absent))
                    .and_then(|i| i.add_of(at).ok())
                    .filter(|add| add.origin == Origin::Copied && writable);
                if let Some(add) = copied {
                    let known = seen.contains(&add.path, add.size, add.mtime_ns);
                    if !known.map_err(error())? {
                        seen.insert(&add.path, add.size, add.mtime_ns);
                    }
                }
            }
            lane.seen = Some(seen);
        }
        Ok(())
    }
}

fn row_of(path: &[u8], size: u64, mtime_ns: i64) -> (u64, u64) {
    let version = [size.to_le_bytes(), mtime_ns.to_le_bytes()].concat();
    (head(path), head(&version))
}

fn head(bytes: &[u8]) -> u64 {
    let hash = Sha256::digest(bytes);
    hash.first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}
