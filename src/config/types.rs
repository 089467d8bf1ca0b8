//! The configuration, resolved: every value typed and checked, every default
//! filled in, every path absolute.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::CertificateDer;

use super::choice::{
    After, DataMode, IfExists, IfGone, Level, MinTls, Order, Publish, Ready, Take, Tls, Verify,
    WhenFull,
};
use super::remote::Remote;
use crate::base::{ByteSize, Secret};
use crate::receive::ReceiveOptions;
use crate::schedule::{Cron, Rate, Window};

/// A whole configuration without mistakes.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it was read from; absolute.
    pub file: PathBuf,
    /// `{device}` in remote paths.
    pub device: String,
    /// `[spool]`.
    pub spool: Spool,
    /// `[[server]]`, in the order of the file; names are unique.
    pub servers: Vec<Server>,
    /// `[[watch]]`, in the order of the file; names are unique.
    pub watches: Vec<Watch>,
    /// `[[schedule]]`, in the order of the file; names are unique.
    pub schedules: Vec<Schedule>,
    /// `[retry]`.
    pub retry: Retry,
    /// `[status]`.
    pub status: Status,
    /// `[receive]`, if written.
    pub receive: Option<ReceiveOptions>,
    /// `[log]`.
    pub log: Log,
}

impl Config {
    /// The server of that name.
    #[must_use]
    pub fn server(&self, name: &str) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == name)
    }

    /// The watch of that name.
    #[must_use]
    pub fn watch(&self, name: &str) -> Option<&Watch> {
        self.watches.iter().find(|watch| watch.name == name)
    }

    /// The schedule of that name.
    #[must_use]
    pub fn schedule(&self, name: &str) -> Option<&Schedule> {
        self.schedules.iter().find(|schedule| schedule.name == name)
    }
}

/// Where entries wait, and how much room they may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The spool's directory; it need not exist yet.
    pub dir: PathBuf,
    /// Bytes of blobs at most.
    pub max_size: ByteSize,
    /// Bytes of the filesystem that are kept free.
    pub min_free: ByteSize,
    /// What happens when there is no room.
    pub when_full: WhenFull,
}

/// A destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// How the rest of the file, the log and the status call it.
    pub name: String,
    /// A host name, or an address without brackets.
    pub host: String,
    /// 21, or 990 with implicit TLS, unless set.
    pub port: u16,
    /// How the connection is secured.
    pub tls: Tls,
    /// The account; without CR, LF and NUL.
    pub user: String,
    /// `None` for `anonymous`, and where a client certificate stands for it.
    pub password: Option<Secret>,
    /// More roots than the system's, from `ca_file`.
    pub roots: Option<Roots>,
    /// SHA-256 of the server's certificate or of its public key (SPKI).
    pub pins: Vec<[u8; 32]>,
    /// For mutual TLS.
    pub client_cert: Option<ClientCert>,
    /// The oldest TLS version that is accepted.
    pub min_tls: MinTls,
    /// How data connections are opened.
    pub data: DataMode,
    /// Sessions at most; from 1.
    pub connections: u8,
    /// How a file gets its final name.
    pub publish: Publish,
    /// How an upload is checked.
    pub verify: Verify,
    /// What happens when the final name is taken.
    pub if_exists: IfExists,
    /// What it means when the file is gone before the check.
    pub if_gone: IfGone,
    /// Whether the file's time is set on the server.
    pub mtime: bool,
    /// For one connection to open; not zero.
    pub connect_timeout: Duration,
    /// Without a byte or a reply for so long, a try is given up; not zero.
    pub stall_timeout: Duration,
    /// Names of servers to use, in order, while this one is down.
    pub fallback: Vec<String>,
}

/// More roots, as they were when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// Where they came from.
    pub file: PathBuf,
    /// At least one.
    pub certs: Vec<CertificateDer<'static>>,
}

/// A certificate of ours and its key, as they were when the configuration was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// Where the certificate came from.
    pub cert_file: PathBuf,
    /// Where the key came from.
    pub key_file: PathBuf,
    /// Our certificate first, then those that lead to its root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key as PEM; it parses.
    pub key_pem: Secret,
}

/// A source directory with its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// The name of its lane; fit for a file name.
    pub name: String,
    /// An existing directory; `None`: only the receiver brings files.
    pub dir: Option<PathBuf>,
    /// The name of a server.
    pub server: String,
    /// Valid globs on the path below `dir`; at least one.
    pub include: Vec<String>,
    /// Valid globs on the path below `dir`.
    pub exclude: Vec<String>,
    /// Whether directories below `dir` count.
    pub recursive: bool,
    /// How a file shows that it is finished.
    pub ready: Ready,
    /// Unchanged for so long, where that decides.
    pub quiet: Duration,
    /// The marker's file name; contains `{name}` once.
    pub marker: String,
    /// How a file gets into the spool.
    pub take: Take,
    /// The name on the server.
    pub remote: Remote,
    /// 0 last to 9 first.
    pub priority: u8,
    /// Which entries go first.
    pub order: Order,
    /// The name of a schedule; `None`: at once.
    pub schedule: Option<String>,
    /// What becomes of the bytes once delivered.
    pub after: After,
    /// Set exactly where `after` is [`After::Archive`].
    pub archive: Option<Archive>,
}

/// Where delivered files are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The directory; it need not exist yet.
    pub dir: PathBuf,
    /// Beyond so many bytes the oldest go; `None`: no limit.
    pub max_size: Option<ByteSize>,
    /// Older files go; `None`: no limit.
    pub max_age: Option<Duration>,
}

/// When uploads may happen, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How watches call it.
    pub name: String,
    /// `22:00-06:00`, `sat 00:00-24:00`; empty: always.
    pub windows: Vec<Window>,
    /// The time between two runs; never set together with `cron`.
    pub every: Option<Duration>,
    /// Five fields, as cron has them.
    pub cron: Option<Cron>,
    /// The longest random delay of a run.
    pub splay: Duration,
    /// The bandwidth cap; `None`: no limit.
    pub rate: Option<Rate>,
    /// Bytes on the wire a day; `None`: no limit. Not zero.
    pub daily_budget: Option<ByteSize>,
}

/// How failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The first delay; then doubling.
    pub first: Duration,
    /// The longest delay; not less than `first`.
    pub max: Duration,
    /// Refusals of one file by a healthy server before it is a dead letter.
    pub file_attempts: u32,
}

/// How the running agent can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The control socket; short enough for a socket address.
    pub socket: PathBuf,
    /// The web page and the metrics; `None`: off.
    pub listen: Option<SocketAddr>,
}

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: Level,
}
