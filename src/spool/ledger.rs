//! The ledger: what left the spool, when, and how surely.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::schedule::BUILD_FLOOR;
use crate::sys::{Fs, Wall};

use super::EntryId;
use super::error::is_full;
use super::finding::Finding;
use super::frame::{self, Piece, Scan};
use super::log::{Log, WriteError, sync_dir};

/// Receipts are settled in batches of at most so many; a crash leaves at most
/// one such batch with receipts but not settled.
pub(super) const SETTLE_BATCH: usize = 256;

/// Damaged places that are told of.
const FINDINGS_MAX: usize = 16;

/// How surely an entry was delivered, or why else it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// A hash of the whole file held.
    Hash,
    /// The size held.
    Size,
    /// The server's reply alone.
    Reply,
    /// Not delivered: evicted to make room.
    Evicted,
    /// Not delivered: dropped by a person.
    Dropped,
    /// Not delivered: the target existed and `if_exists = "skip"`.
    Skipped,
}

impl Proof {
    /// Whether the bytes reached their goal, so that an archive wants them.
    pub fn is_delivery(self) -> bool {
        !matches!(self, Proof::Evicted | Proof::Dropped)
    }
}

/// The durable record that an entry left the spool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The entry; `None` for a file that was never let in.
    pub id: Option<EntryId>,
    /// Wall clock, nanoseconds since 1970.
    pub time_ns: i64,
    /// The watch, whose lane it was in.
    pub watch: String,
    /// The path below the watched directory; bytes.
    pub path: Vec<u8>,
    /// The server's name in the configuration; empty if it went nowhere.
    pub server: String,
    /// The final name on the server; bytes.
    pub remote: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// How surely it was delivered.
    pub proof: Proof,
    /// Tries, the last one included.
    pub attempts: u32,
    /// Bytes on the wire for this file, over all tries.
    pub sent_bytes: u64,
    /// Seconds on the wire, over all tries.
    pub seconds: f64,
}

/// How much history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerLimits {
    /// Bytes; the oldest sixteenth goes when they are exceeded.
    pub max_bytes: u64,
    /// Age in seconds, by a sane wall clock; what is older goes by sixteenths of
    /// that time, with the next receipt.
    pub max_age_s: u64,
}

/// Segments that the limits are shared among.
const SHARES: u64 = 16;

impl Default for LedgerLimits {
    fn default() -> LedgerLimits {
        LedgerLimits {
            max_bytes: 8 << 20,
            max_age_s: 90 * 86_400,
        }
    }
}

/// The segmented log of receipts.
pub(super) struct Ledger {
    dir: PathBuf,
    limits: LedgerLimits,
    /// Length of each older segment.
    older: BTreeMap<u32, u64>,
    last_no: u32,
    last: Option<Log>,
    /// The time of the first receipt in the last segment.
    begun_ns: Option<i64>,
    findings: Vec<Finding>,
}

impl Ledger {
    /// Opens the ledger, cutting a torn end off.
    pub(super) fn open(
        fs: &dyn Fs,
        dir: &Path,
        limits: LedgerLimits,
        writable: bool,
    ) -> Result<Ledger, WriteError> {
        let (mut numbers, mut segments) = (Vec::new(), BTreeMap::new());
        let read = fs.read_dir(dir, &mut |entry| {
            let name = entry.name.to_str().and_then(|n| n.strip_suffix(".log"));
            if let Some(no) = name.and_then(|n| u32::from_str_radix(n, 16).ok()) {
                numbers.push(no);
            }
            true
        });
        match read {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !writable => {}
            read => read?,
        }
        for no in numbers {
            match fs.meta(&path_of(dir, no)) {
                // The agent, beside which we only look, has dropped it meanwhile.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !writable => {}
                meta => drop(segments.insert(no, meta?.size)),
            }
        }
        let last_no = segments.pop_last().map_or(0, |(no, _)| no);
        let mut ledger = Ledger {
            dir: dir.to_owned(),
            limits,
            older: segments,
            last_no,
            last: None,
            begun_ns: None,
            findings: Vec::new(),
        };
        ledger.open_last(fs, writable)?;
        Ok(ledger)
    }

    fn open_last(&mut self, fs: &dyn Fs, writable: bool) -> Result<(), WriteError> {
        let mut log = match Log::open(fs, &path_of(&self.dir, self.last_no), writable) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !writable => return Ok(()),
            opened => opened?,
        };
        let mut torn = None;
        let mut scan = Scan::new(log.file());
        let name = || path_of(&self.dir, self.last_no).display().to_string();
        while let Some(piece) = scan.next::<Receipt>()? {
            match piece {
                Piece::Record(_, receipt) => {
                    self.begun_ns.get_or_insert(receipt.time_ns);
                }
                Piece::Damaged { from, to } if self.findings.len() < FINDINGS_MAX => {
                    self.findings.push(Finding::Damaged {
                        log: name(),
                        offset: from,
                        bytes: to - from,
                    });
                }
                Piece::Damaged { .. } => {}
                Piece::Torn { from, to } => {
                    torn = Some(from);
                    self.findings.push(Finding::TornEnd {
                        log: name(),
                        bytes: to - from,
                    });
                }
            }
        }
        match torn {
            Some(from) if writable => log.cut(from)?,
            Some(from) => log.believe(from),
            None => {}
        }
        if writable {
            sync_dir(fs, &self.dir)?;
        }
        self.last = Some(log);
        Ok(())
    }

    /// Takes what was found wrong when it was opened.
    pub(super) fn findings(&mut self) -> impl Iterator<Item = Finding> + use<> {
        std::mem::take(&mut self.findings).into_iter()
    }

    /// Appends receipts and makes them durable.
    pub(super) fn append<'a>(
        &mut self,
        receipts: impl Iterator<Item = &'a Receipt>,
    ) -> Result<(), WriteError> {
        let mut bytes = Vec::new();
        let mut first_ns = None;
        for receipt in receipts {
            frame::encode(receipt, &mut bytes)?;
            first_ns.get_or_insert(receipt.time_ns);
        }
        let Some(log) = self.last.as_mut() else {
            return Err(WriteError::Undone(io::ErrorKind::NotFound.into()));
        };
        log.append(&bytes)?;
        self.begun_ns = self.begun_ns.or(first_ns);
        log.sync()
    }

    /// Begins a new segment when the last one is long or old enough, and drops whole
    /// segments that are too old or too many. Called when no batch is open,
    /// so that a batch never spans two segments. On a full disk the last one
    /// just grows longer.
    pub(super) fn rotate(&mut self, fs: &dyn Fs, now: Option<Wall>) -> Result<(), WriteError> {
        let len = self.last.as_ref().map_or(0, Log::len);
        if len < self.limits.max_bytes / SHARES && !self.began_long_ago(now) {
            return Ok(());
        }
        let no = self.last_no.wrapping_add(1);
        let log = match Log::open(fs, &path_of(&self.dir, no), true) {
            Err(e) if is_full(&e) => return Ok(()),
            opened => opened?,
        };
        sync_dir(fs, &self.dir)?;
        self.older.insert(self.last_no, len);
        self.last_no = no;
        self.last = Some(log);
        self.begun_ns = None;
        if let Err(e) = self.drop_oldest(fs, now) {
            // History that stays too long is no reason to hold a receipt up.
            log::warn!("cannot shorten {}: {e}", self.dir.display());
        }
        Ok(())
    }

    /// Whether the last segment spans its share of the permitted age.
    fn began_long_ago(&self, now: Option<Wall>) -> bool {
        let (Some(now), Some(begun_ns)) = (now, self.begun_ns) else {
            return false;
        };
        age_s(begun_ns, now).is_some_and(|age| age > self.limits.max_age_s / SHARES)
    }

    fn drop_oldest(&mut self, fs: &dyn Fs, now: Option<Wall>) -> io::Result<()> {
        while let Some((&no, &len)) = self.older.first_key_value() {
            let total = self.older.values().sum::<u64>();
            if total <= self.limits.max_bytes && !self.is_too_old(fs, no, now)? {
                break;
            }
            log::debug!("the ledger drops its oldest {len} bytes");
            fs.unlink(&path_of(&self.dir, no))?;
            self.older.remove(&no);
        }
        Ok(())
    }

    fn is_too_old(&self, fs: &dyn Fs, no: u32, now: Option<Wall>) -> io::Result<bool> {
        let Some(now) = now else {
            return Ok(false);
        };
        let written = fs.meta(&path_of(&self.dir, no))?.mtime_ns;
        Ok(age_s(written, now).is_some_and(|age| age > self.limits.max_age_s))
    }

    /// Calls `each` for every receipt, oldest first, until it answers `false`.
    pub(super) fn history(
        &self,
        fs: &dyn Fs,
        each: &mut dyn FnMut(&Receipt) -> bool,
    ) -> io::Result<()> {
        self.read(fs, self.older.keys().copied(), each)
    }

    /// The same for the last two segments.
    pub(super) fn recent(
        &self,
        fs: &dyn Fs,
        each: &mut dyn FnMut(&Receipt) -> bool,
    ) -> io::Result<()> {
        self.read(fs, self.older.keys().copied().rev().take(1), each)
    }

    fn read(
        &self,
        fs: &dyn Fs,
        older: impl Iterator<Item = u32>,
        each: &mut dyn FnMut(&Receipt) -> bool,
    ) -> io::Result<()> {
        for no in older.chain([self.last_no]) {
            let file = match fs.open(&path_of(&self.dir, no)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let mut scan = Scan::new(&*file);
            while let Some(piece) = scan.next::<Receipt>()? {
                if let Piece::Record(_, receipt) = piece
                    && !each(&receipt)
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The entries of the newest receipts: those that may not be settled yet.
    /// `true` for those that were delivered.
    pub(super) fn newest(&self) -> io::Result<BTreeMap<EntryId, bool>> {
        let mut newest = std::collections::VecDeque::new();
        if let Some(log) = &self.last {
            let mut scan = Scan::new(log.file());
            while let Some(piece) = scan.next::<Receipt>()? {
                if let Piece::Record(_, receipt) = piece
                    && let Some(id) = receipt.id
                {
                    if newest.len() == SETTLE_BATCH {
                        newest.pop_front();
                    }
                    newest.push_back((id, receipt.proof.is_delivery()));
                }
            }
        }
        Ok(newest.into_iter().collect())
    }
}

/// How long ago that was; `None` for a time by a clock that was wrong then, or is
/// now.
fn age_s(then_ns: i64, now: Wall) -> Option<u64> {
    let then = Some(Wall(then_ns)).filter(|then| *then >= BUILD_FLOOR)?;
    u64::try_from(now.secs().saturating_sub(then.secs())).ok()
}

fn path_of(dir: &Path, no: u32) -> PathBuf {
    dir.join(format!("{no:08x}.log"))
}
