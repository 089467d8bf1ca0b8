//! What a start may find wrong, in words.

use std::fmt;

/// Something that was found wrong, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The end of a log was half written, as a power cut leaves it; cut off.
    TornEnd {
        /// The log, below the spool directory.
        log: String,
        /// Bytes that were cut.
        bytes: u64,
    },
    /// Bytes within a log are damaged; the records in them are lost.
    Damaged {
        /// The log.
        log: String,
        /// Where the damage begins.
        offset: u64,
        /// How long it is.
        bytes: u64,
    },
    /// An entry whose bytes are gone; it was dropped.
    Lost {
        /// Its path, as far as it is known.
        path: String,
    },
    /// An entry without its bytes that was perhaps never taken: a crash came
    /// first, and its source is where it was.
    NotTaken {
        /// Its path.
        path: String,
    },
    /// A blob whose record is lost; it is queued under `recovered/`.
    Recovered {
        /// The path that it was given.
        path: String,
    },
    /// An entry whose blob cannot be what was taken; it is delivered under
    /// another name.
    Harmed {
        /// Its path.
        path: String,
        /// Bytes when it was taken.
        size: u64,
        /// Bytes that are there.
        found: u64,
        /// The path that it was given.
        given: String,
    },
    /// An entry whose file was written to after it was taken, or is another one
    /// of the same size; it is delivered as it is.
    Changed {
        /// Its path.
        path: String,
    },
    /// The same, and it has its name at its source again.
    Returned {
        /// Its path.
        path: String,
    },
    /// The file that names the format was missing or damaged; it was written anew.
    Format,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::TornEnd { log, bytes } => {
                write!(
                    f,
                    "{log}: the last {bytes} bytes were half written and are cut off"
                )
            }
            Finding::Damaged { log, offset, bytes } => write!(
                f,
                "{log}: {bytes} bytes at {offset} are damaged; the records in them are lost"
            ),
            Finding::Lost { path } => {
                write!(
                    f,
                    "{}: its bytes are not here any more; the entry is dropped",
                    path.escape_debug()
                )
            }
            Finding::NotTaken { path } => write!(
                f,
                "{}: its bytes are not here; if a crash came first it was never taken and is still at its source",
                path.escape_debug()
            ),
            Finding::Recovered { path } => write!(
                f,
                "a file whose record is lost is delivered as {}",
                path.escape_debug()
            ),
            Finding::Harmed {
                path,
                size,
                found,
                given,
            } => write!(
                f,
                "{}: {found} bytes are there of {size} that were taken; delivered as {}",
                path.escape_debug(),
                given.escape_debug()
            ),
            Finding::Changed { path } => write!(
                f,
                "{}: it is not quite the file that was taken; it is delivered as it is",
                path.escape_debug()
            ),
            Finding::Returned { path } => write!(
                f,
                "{}: it is not quite the file that was taken; it is back at its source",
                path.escape_debug()
            ),
            Finding::Format => f.write_str(
                "the file that names the format was missing or damaged; it is written anew",
            ),
        }
    }
}
