//! What the agent says of itself: the document of `status --json`.

use serde::{Deserialize, Serialize};

/// The whole document. Bytes and seconds throughout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// This program's version.
    pub version: String,
    /// The device's name.
    pub device: String,
    /// `running` or `stopped`.
    pub state: String,
    /// Seconds since the agent started; 0 when none runs.
    pub uptime_s: u64,
    /// The whole spool.
    pub spool: SpoolReport,
    /// Each watch's queue.
    pub lanes: Vec<LaneReport>,
    /// Each server.
    pub servers: Vec<ServerReport>,
    /// What is being uploaded now.
    pub current: Vec<CurrentReport>,
    /// What was delivered since the start.
    pub delivered: Delivered,
    /// The embedded receiver, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<ReceiverReport>,
}

/// The embedded receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReceiverReport {
    /// Where it listens; empty while it cannot.
    pub addresses: Vec<String>,
    /// Sessions now.
    pub sessions: usize,
    /// Files received since the start.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The SHA-256 of its certificate, if it has one.
    pub fingerprint: Option<String>,
    /// Why it does not listen.
    pub last_error: Option<String>,
}

/// The whole spool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpoolReport {
    /// Waiting files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The configured limit.
    pub max_bytes: u64,
    /// How long the oldest has waited; null when nothing waits.
    pub oldest_age_s: Option<u64>,
    /// Files that the server refused for good.
    pub dead_letters: u64,
}

/// One watch's queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneReport {
    /// The watch's name.
    pub watch: String,
    /// Waiting files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether it was paused by hand.
    pub paused: bool,
    /// Seconds until something is tried again; null when nothing is waited for.
    pub next_try_s: Option<u64>,
    /// Why it waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// One server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerReport {
    /// Its name.
    pub name: String,
    /// `idle`, `uploading`, `waiting` or `down`.
    pub state: String,
    /// The last failure, if the server has not worked since.
    pub last_error: Option<String>,
    /// Seconds until it is tried again.
    pub next_try_s: Option<u64>,
    /// What was learned about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<String>,
}

/// One upload that goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CurrentReport {
    /// The watch's name.
    pub watch: String,
    /// The path below the watch's directory.
    pub path: String,
    /// The file's size.
    pub size: u64,
    /// How much of it the server has.
    pub sent: u64,
}

/// What was delivered since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}
