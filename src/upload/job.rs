//! What the supervisor hands in and gets back.

use std::sync::Arc;

use super::failure::Failure;
use crate::ftp::verify::Algorithm;
use crate::sys::{File, LocalFuture};

/// One entry to deliver.
#[derive(Clone)]
pub struct Job {
    /// The caller's name for it.
    pub id: u64,
    /// What makes the temporary name unique: the same for every try of this
    /// entry, and of no other entry of any device.
    pub tag: String,
    /// The final name on the server, bytes with `/` between the names.
    pub path: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change in seconds since 1970, to be set on the server.
    pub mtime: Option<i64>,
    /// The bytes.
    pub content: Arc<dyn File>,
    /// Whether any try may have reached a server before, also before a crash:
    /// then the server is asked what it has before anything is sent.
    pub tried: bool,
    /// Whether an earlier version may have been delivered under this name lately:
    /// then a file there is this one only if its hash or its time says so.
    pub is_later_version: bool,
}

/// How surely the server has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The hash of the whole file is right.
    Hash(Algorithm),
    /// The size is right.
    Size,
    /// The server said so.
    Reply,
}

/// What became of an entry that is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The name it has on the server.
    pub path: Vec<u8>,
    /// How that is known.
    pub proof: Proof,
    /// Not sent, because the name was taken and `if_exists = "skip"`.
    pub skipped: bool,
}

/// Where a session gets its work from and reports to. All calls are short;
/// none may wait.
pub trait Feed {
    /// The next entry that is ready now. The session asks for it while the one
    /// before is still being checked, so that both share round trips.
    fn try_next(&mut self) -> Option<Job>;

    /// So many bytes of the file are on their way to the server or there,
    /// those of earlier tries included.
    fn progress(&mut self, id: u64, position: u64);

    /// Called before `bytes` are sent; what it returns is waited for first.
    fn throttle(&mut self, bytes: usize) -> Option<LocalFuture<'static, ()>>;

    /// The end of one job; each job that was taken gets exactly one, unless
    /// the run is dropped. `sent` are the bytes put on data connections for it.
    fn done(&mut self, id: u64, sent: u64, result: Result<Delivered, Failure>);
}
