//! What the logs of a segment say. The order of the variants is the format:
//! postcard writes them as numbers, so new ones go to the end.

use serde::{Deserialize, Serialize};

/// A record of a segment's `.log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// A batch begins, and every batch before it was finished: the blobs of
    /// all indices below `done` stand in the blob directory, durably.
    Batch { done: u16 },
    /// The intent to take one file.
    Add(Add),
    /// The file of this index was not taken after all.
    Void { index: u16 },
    /// The segment is full; nothing follows.
    Seal(Seal),
}

/// The intent to take one file; fulfilled when its blob stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Add {
    /// Its number within the segment, which is also the name of its blob.
    pub(super) index: u16,
    /// The path below the watched directory.
    pub(super) path: Vec<u8>,
    /// Bytes of content when it was taken.
    pub(super) size: u64,
    /// Modification time of the source, nanoseconds since 1970.
    pub(super) mtime_ns: i64,
    /// Wall clock at the taking, nanoseconds since 1970.
    pub(super) queued_ns: i64,
    /// How its bytes came here.
    pub(super) origin: Origin,
    /// Where it was, if it is to go from there; else empty.
    pub(super) source: Vec<u8>,
}

/// How an entry's bytes came into the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The source file itself was renamed into the spool.
    Renamed,
    /// A copy from another filesystem, after which the source was removed.
    Moved,
    /// A copy; the source stays.
    Copied,
    /// Found as a blob whose record was lost.
    Recovered,
}

/// What a sealed segment held, so that a start need not read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    /// Entries that were really taken.
    pub(super) entries: u32,
    /// The sum of their sizes.
    pub(super) bytes: u64,
    /// When the first of them was queued.
    pub(super) oldest_ns: i64,
}

/// A record of a segment's `.chg`: what became of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Change {
    /// It left the spool; `size` as the add record had it.
    Settled { index: u16, size: u64 },
    /// The server refused it, for the `attempts`th time.
    Failed {
        index: u16,
        attempts: u32,
        error: String,
    },
    /// The server refused it for good.
    Dead {
        index: u16,
        size: u64,
        attempts: u32,
        error: String,
    },
    /// A dead letter goes back to the queue.
    Retry { index: u16, size: u64 },
    /// The blob of this index has lost its record.
    Recovered(Add),
}
