//! What an agent is made of: the configuration, as the parts want it.

use std::path::PathBuf;
use std::rc::Rc;

use super::Memory;
use crate::receive::ReceiveOptions;
use crate::schedule::{RetryOptions, ScheduleOptions};
use crate::spool;
use crate::upload::ServerOptions;
use crate::watch::{HintSource, WatchOptions};

/// Everything that an agent needs to know.
pub struct Setup {
    /// The device's name.
    pub device: String,
    /// The spool's directory.
    pub spool_dir: PathBuf,
    /// How the spool is kept.
    pub spool: spool::Options,
    /// The destinations.
    pub servers: Vec<ServerSetup>,
    /// The watches, each with its lane.
    pub lanes: Vec<LaneSetup>,
    /// The receiver, if there is one.
    pub receive: Option<ReceiveOptions>,
    /// When uploads may happen.
    pub schedules: Vec<ScheduleOptions>,
    /// First and longest wait after a failure.
    pub retry: RetryOptions,
    /// Refusals of one file by a healthy server before it is a dead letter.
    pub file_attempts: u32,
    /// What the agent before a reload knew.
    pub memory: Option<Memory>,
    /// Where [`Agent::run`](super::Agent::run) hears of changes in the watched
    /// directories.
    pub hints: Rc<dyn HintSource>,
}

/// A destination.
pub struct ServerSetup {
    /// How to deal with it.
    pub options: ServerOptions,
    /// Sessions at most.
    pub connections: u8,
    /// Places in [`Setup::servers`] to use, in order, while this one is down.
    pub fallback: Vec<usize>,
}

/// What a remote name is made from.
#[derive(Clone, Copy, Debug)]
pub struct Naming<'a> {
    /// The path below the watched directory; bytes.
    pub path: &'a [u8],
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Gives an entry its absolute name on the server, or says in one line why it
/// cannot have one.
pub type Namer = Rc<dyn Fn(&Naming<'_>) -> Result<Vec<u8>, String>>;

/// A watch and its lane.
pub struct LaneSetup {
    /// Where files come from; its name is the lane's.
    pub watch: WatchOptions,
    /// Whether its directory is watched; else only the receiver brings files.
    pub watched: bool,
    /// Place in [`Setup::servers`].
    pub server: usize,
    /// The name on the server.
    pub namer: Namer,
    /// 0 last to 9 first.
    pub priority: u8,
    /// Newest first, with a share for the backlog.
    pub newest_first: bool,
    /// Place in [`Setup::schedules`]; `None`: at once.
    pub schedule: Option<usize>,
    /// Where delivered files go; `None`: they are deleted.
    pub archive: Option<ArchiveSetup>,
}

/// Where delivered files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveSetup {
    /// The directory.
    pub dir: PathBuf,
    /// Beyond so many bytes the oldest go.
    pub max_size: Option<u64>,
    /// Older files (seconds) go.
    pub max_age_s: Option<u64>,
}
