//! The crash-safe queue between the watched directories and the servers.
//!
//! # Promises
//!
//! * An entry is visible only once its bytes and its record are on stable
//!   storage, and it leaves only behind a durable receipt.
//! * A crash at any instant costs nothing: an intent that never finished is
//!   forgotten and its source is still where it was, a receipt without its
//!   settling is settled. Damage costs at most the records that it hits; a blob
//!   whose record is lost is queued under `recovered/`.
//! * Nothing is rewritten in place. A failed flush ends all writing until the
//!   spool is opened anew; the rule that all writing keeps is in `log.rs`. On a
//!   disk without a byte left entries still leave, with one receipt each
//!   (`leave.rs`), and nothing is taken. Memory does not grow with the backlog but
//!   for some hundred bytes per 4096 entries.
//!
//! # Calling order
//!
//! [`Spool::open`], then [`Spool::take`] for batches of finished files,
//! [`Spool::window`] for what to upload next, [`Spool::open_blob`] for its
//! bytes, and [`Spool::settle`] or [`Spool::failed`] for what became of it. All
//! calls block; async code runs them on the pool behind a mutex.
//!
//! # On disk, format 1
//!
//! ```text
//! lock                    locked by the agent that has the spool
//! format                  "edgespool spool FORMAT TAG\n": decimal, 8 hex digits
//! clock                   the latest sane wall clock, seconds, decimal
//! profiles/<server>       what was learned about a server (opaque here)
//! ledger/<n>.log          frames of Receipt
//! reserve                 room for receipts on a full disk (`reserve.rs`)
//! suspect                 there after a failed flush (`renew.rs`)
//! notes/<name>            small values that outlive a restart (opaque here)
//! damaged/                logs in which records were lost, the newest 16 MiB
//! outbox/<id>-<name>      delivered, on the way to an archive
//! incoming/<name>/        uploads to that lane which are not complete: not the
//!                         spool's, and never looked at here
//! lanes/<no>-<name>/      one lane; no: 4 hex digits, name: %XX-escaped
//!   archive               a frame of Archive: where delivered files are kept
//!   paused                there while the lane is paused
//!   seen, seen.log        versions taken with `take = "copy"`
//!   <n>.log               frames of Record: what was taken
//!   <n>.chg               frames of Change: what became of it
//!   <n>/<index>           blobs; <index>.part while one is copied in
//! ```
//!
//! `<n>` is 8 hex digits, rising and never used twice; `<index>` is 4. A frame:
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 2 | marker E5 FB |
//! | 2 | 2 | length n of the payload, little endian, at most 12288 |
//! | 4 | 4 | CRC-32C over the length and the payload, little endian |
//! | 8 | n | the record, in postcard |
//!
//! Records are the enums of `record.rs` and [`Receipt`]; their variants are
//! numbered and their fields stand in the order of the source. A segment's log
//! is a row of batches, each `Batch { done }` and its `Add`s, then a `Seal` that
//! ends it. A file is taken by: its content flushed; the batch appended and
//! flushed; the source renamed to the blob; the blob directory flushed, then
//! the source's. `done` in the next batch says that all this came to its end
//! for all indices below it, so that a missing blob means an intent that never
//! finished in the last batch, and a loss in every other one. What is found at
//! the start is weighed by the table in `recover.rs`.
//!
//! An entry leaves by: receipt appended and flushed; `Settled` appended to the
//! `.chg` and flushed; blob unlinked or renamed
//! to the outbox. A sealed segment without entries is
//! deleted whole: blob directory flushed, log unlinked, lane directory flushed,
//! `.chg` and blob directory removed.

mod archive;
mod core;
mod damaged;
mod error;
mod evict;
mod frame;
mod id;
mod lane;
mod leave;
mod ledger;
mod log;
mod open;
mod record;
mod recover;
mod renew;
mod reserve;
mod seen;
mod segment;
mod settle;
mod take;
#[cfg(test)]
mod tests;
mod view;

pub use self::archive::{Archive, Archiver};
pub use self::error::{SpoolError, TakeError};
pub use self::id::{EntryId, ParseIdError};
pub use self::leave::Settlement;
pub use self::ledger::{LedgerLimits, Proof, Receipt};
pub use self::open::{incoming_dir, make_incoming};
pub use self::record::Origin;
pub use self::recover::Finding;
pub use self::segment::Tally;
pub use self::take::{How, Taking};
pub use self::view::{Entry, LaneStats, Order, Standing, Stats};

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use self::core::Core;
use self::lane::Lane;
use self::ledger::Ledger;
use self::reserve::Reserve;

/// The format that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// What to do with new files when there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Leave them at the source.
    #[default]
    Pause,
    /// Evict the oldest entries.
    DropOldest,
    /// Drop the new files.
    DropNewest,
}

/// How a spool is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of blobs at most.
    pub max_size: u64,
    /// Bytes of the filesystem to keep free.
    pub min_free: u64,
    /// What to do with new files when there is no room.
    pub when_full: WhenFull,
    /// How much history is kept.
    pub ledger: LedgerLimits,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_size: 1 << 30,
            min_free: 64 << 20,
            when_full: WhenFull::Pause,
            ledger: LedgerLimits::default(),
        }
    }
}

/// The queue. See the module's documentation.
pub struct Spool {
    core: Core,
    options: Options,
    lanes: BTreeMap<String, Lane>,
    ledger: Ledger,
    reserve: Reserve,
    /// Of the reserve's receipts, those that are in the ledger already.
    entered: BTreeSet<EntryId>,
    /// Device number of the spool's filesystem.
    dev: u64,
    /// Held for as long as the spool is open.
    _lock: Option<Box<dyn Any + Send + Sync>>,
}
