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
//!   for some hundred bytes per 1024 entries.
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
//! lock                    locked (flock) by the agent that has the spool; empty
//! format                  "edgespool spool FORMAT TAG CRC\n" (`format.rs`)
//! clock                   the latest sane wall clock, seconds since 1970, decimal
//! profiles/<server>       what was learned about a server (opaque here)
//! notes/<name>            small values that outlive a restart (opaque here)
//! ledger/<n>.log          frames of Receipt
//! reserve                 frames of (u32, Receipt): room for receipts on a full
//!                         disk, 64 KiB (`reserve.rs`)
//! suspect                 there after a failed flush (`renew.rs`)
//! damaged/                logs in which records were lost, the newest 16 MiB
//! outbox/<id>-<name>      delivered, on the way to an archive (`archive`)
//! incoming/<name>/        uploads to that lane which are not complete: not the
//!                         spool's, and never looked at here
//! lanes/<no>-<name>/      one lane
//!   archive               a frame of Archive: where delivered files are kept
//!   paused                there while the lane is paused; empty
//!   seen, seen.log        versions taken with `take = "copy"` (`seen.rs`), and
//!                         those whose sources could not be removed (`stay.rs`)
//!   <n>.log               frames of Record: what was taken
//!   <n>.chg               frames of Change: what became of it
//!   <n>/<index>           blobs, the bytes as they were; <index>.part while one
//!                         is copied in
//! ```
//!
//! `<no>` is 4 lower-case hexadecimal digits, as is `<index>`; `<n>` is 8, rising
//! from 00000000, and never used twice. Names of lanes, servers and notes have
//! all bytes but ASCII letters, digits, `_` and `-` written as `%XX`; those of
//! servers and notes are preceded by `0000-`. A name with `.new` at its end is a
//! small file half written and is ignored. `<id>` is an entry's name
//! ([`EntryId`]): the tag, a `-`, and lane, segment and index as one number.
//! Files with other names are nobody's: they are never read and never removed,
//! but in a blob directory, which is emptied with its segment.
//!
//! ## Frames
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 2 | marker E5 FB |
//! | 2 | 2 | length n of the payload, little endian, at most 12288 |
//! | 4 | 4 | checksum, little endian |
//! | 8 | n | one record |
//!
//! The checksum is CRC-32C (Castagnoli: polynomial 1EDC6F41, reflected 82F63B78,
//! all ones before and complemented after; "123456789" gives E3069283) over
//! bytes 2 and 3 and the payload. Frames stand without a gap from the start of
//! the file. Where none can be read, the reader looks for the next one byte by
//! byte. What lies between is damage; without a next one it is a torn end, which
//! the owner of the spool cuts off and all others pass over.
//!
//! ## Records
//!
//! In the encoding of postcard 1: integers of more than one byte are varints (7
//! bits a byte, the low ones first, the top bit set on all but the last); signed
//! ones are zigzag before that; `f64` is 8 bytes, little endian; a string, and a
//! row of bytes, is its length as a varint and then the bytes; an option is 00,
//! or 01 and the value; of an enum the number of the variant comes first, as a
//! varint. Fields stand one after the other in the order given here.
//!
//! | record | no. | fields |
//! | --- | --- | --- |
//! | Record: Batch | 0 | done u16 |
//! | Add | 1 | index u16, path bytes, size u64, mtime_ns i64, queued_ns i64, origin, source bytes |
//! | Void | 2 | index u16 |
//! | Seal | 3 | entries u32, bytes u64, oldest_ns i64 |
//! | Change: Settled | 0 | index u16, size u64 |
//! | Failed | 1 | index u16, attempts u32, error string |
//! | Dead | 2 | index u16, size u64, attempts u32, error string |
//! | Retry | 3 | index u16, size u64 |
//! | Recovered | 4 | the fields of Add |
//! | Receipt | | id option of (tag u32, lane u16, segment u32, index u16), time_ns i64, watch string, path bytes, server string, remote bytes, size u64, proof, attempts u32, sent_bytes u64, seconds f64 |
//! | Archive | | dir string, max_size option of u64, max_age_s option of u64 |
//! | row of `seen.log` | | path u64, version u64; of a source that stays, the path begins with NUL |
//!
//! origin: 0 renamed, 1 moved (copied and then removed), 2 copied, 3 recovered.
//! proof: 0 hash, 1 size, 2 reply, 3 evicted, 4 dropped, 5 skipped. Times are
//! nanoseconds since 1970. What each field means stands at its definition, in
//! `record.rs` and at [`Receipt`]. A record that decodes to less than its payload
//! is no damage; one that does not decode is.
//!
//! ## Segments
//!
//! A segment is `<n>.log`, `<n>.chg` and `<n>/`. It takes 1024 entries, and ends
//! earlier when its log has 1 MiB; a reader is to expect up to 4096, indices 0 to
//! 4095. Only the last segment of a lane takes entries. The log is a row of batches, each `Batch { done }` and
//! its `Add`s, indices rising without a gap, then a `Seal` that ends it.
//! `Void` takes one index back. Of two `Add`s of one index the first counts.
//! The change log is read after the log, from front to back; each change
//! overrides what was before.
//!
//! A file is taken by: its content flushed; the batch appended and flushed; the
//! source renamed, or its copy, to the blob; the blob directory flushed; the
//! source of a copy that was to go removed; the source's directory flushed.
//! Whoever writes there may put another version under the name meanwhile. So a
//! file that was renamed is looked at once more, and given back by another rename
//! when it is not what `Add` says, or open for writing; `Void` follows. The source
//! of a copy is renamed to `.edgespool-taken-<name>` beside it, looked at there, and
//! removed or given back. A file is not given back over a newer one: it goes when
//! that one is flushed, because its own writer has replaced it.
//! `done` in the next batch says that all this came to its end for all indices
//! below it, and a `Seal` says so for all, so that a missing blob means an intent
//! that never finished in the last batch, and a loss in every other one. What a
//! sealed segment holds is `Seal` less the `Settled`s of the change log, plus its
//! `Recovered`s.
//!
//! An entry leaves by: receipt appended and flushed; `Settled` appended to the
//! `.chg` and flushed; blob unlinked or renamed to the outbox. A sealed segment
//! without entries is deleted whole: blob directory emptied and flushed, log
//! unlinked (moved to `damaged` if it had lost records), lane directory flushed,
//! `.chg` and blob directory removed.
//!
//! ## Ledger
//!
//! Receipts are appended to the last log. When that has a sixteenth of the
//! permitted size, or its first receipt is older than a sixteenth of the permitted
//! age, and no receipt lacks its `Settled`, a new one is begun, and whole logs go from the front while all of them together are too long, or the
//! first was last written too long ago by a clock that can be trusted. A batch of
//! at most 256 receipts may lack their marks after a crash, all of them in the
//! last log or in the reserve; so the newest 256 of the last log, and those that
//! count in the reserve, are compared with the entries at the start.
//!
//! ## Recovery
//!
//! 1. The format is checked, then the logs are written anew if `suspect` is
//!    there.
//! 2. The last log of the ledger is read and its torn end cut; then the reserve.
//! 3. In each lane, `.chg` files and empty blob directories without a log are
//!    what a deletion left. A blob directory that is not empty counts as a
//!    segment whose log is lost altogether.
//! 4. The last segment of a lane is read whole, as is each other one that has no
//!    seal at its end, whose change log is damaged, or that holds entries with
//!    one of the newest receipts. Of all others the seal and the change log are
//!    read now and the log only when its entries are wanted.
//!    In the last batch, blobs that were renamed and written to since are given
//!    back where `source` names a free place, and the sources of copies removed.
//! 5. A segment that is read is weighed index by index, by the table in
//!    `recover.rs`. A blob that cannot be what was taken is delivered under
//!    `recovered/`, as is one without a record.
//!
//! # Versions
//!
//! A program refuses a format newer than its own and reads every older one;
//! `tests/data` keeps a spool of each. New kinds of records and new fields make a
//! new format, since an older program would take them for damage. New files do
//! not: an older program passes over them.

mod archive;
mod core;
mod damaged;
mod error;
mod evict;
mod finding;
mod format;
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
mod source;
mod stay;
mod take;
#[cfg(test)]
mod tests;
mod unfinished;
mod view;

pub use self::archive::{Archive, Archiver};
pub use self::error::{SpoolError, TakeError};
pub use self::finding::Finding;
pub use self::id::{EntryId, ParseIdError};
pub use self::leave::Settlement;
pub use self::ledger::{LedgerLimits, Proof, Receipt};
pub use self::open::{incoming_dir, make_incoming};
pub use self::record::Origin;
pub use self::segment::Tally;
pub use self::source::{is_aside, own_name};
pub use self::take::{How, Taking};
pub use self::view::{Entry, LaneStats, Order, Standing, Stats};

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};

use self::core::Core;
use self::lane::Lane;
use self::ledger::Ledger;
use self::reserve::Reserve;

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
