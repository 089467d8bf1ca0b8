//! What the engine's state is told, and what it says to do.

use std::time::Duration;

use super::health::Fault;
use super::lanes::LaneRules;
use super::servers::ServerRules;
use crate::schedule::{RetryOptions, Schedule, Spent};

/// A lane: its place in [`Rules::lanes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub usize);

/// A server: its place in [`Rules::servers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub usize);

/// A session; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// For [`LaneRules::schedule`]: send whenever something is queued.
pub const SCHEDULE_NONE: usize = usize::MAX;

/// What the configuration says.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The lanes.
    pub lanes: Vec<LaneRules>,
    /// The servers.
    pub servers: Vec<ServerRules>,
    /// The schedules, each with what was spent of its daily budget.
    pub schedules: Vec<(Schedule, Spent)>,
    /// First and longest wait.
    pub retry: RetryOptions,
    /// Refusals of one entry before it is a dead letter.
    pub file_attempts: u32,
    /// A session without work is closed after so long.
    pub idle_timeout: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Entries were taken into a lane (or found there at the start).
    EntriesQueued {
        /// Where.
        lane: LaneId,
        /// How many.
        count: u64,
    },
    /// Waiting entries left a lane without being sent: dropped or evicted.
    EntriesDropped {
        /// Where.
        lane: LaneId,
        /// How many.
        count: u64,
    },
    /// A session has logged in.
    SessionOpened(SessionId),
    /// A session could not be opened.
    SessionFailed(SessionId, Fault),
    /// A session ended, asked to or not. Report its entries first.
    SessionClosed(SessionId, Option<Fault>),
    /// The entry that was assigned is delivered and settled.
    EntryDelivered {
        /// By which session.
        session: SessionId,
        /// From which lane.
        lane: LaneId,
        /// The entry.
        key: u64,
    },
    /// The entry goes back unsent, through no fault: the transfer was parked.
    EntryReturned {
        /// By which session.
        session: SessionId,
        /// To which lane.
        lane: LaneId,
    },
    /// Every entry that the lane had to offer for an assignment is
    /// [held back](super::State::holds).
    NothingToSend {
        /// The session of the assignment.
        session: SessionId,
        /// The lane.
        lane: LaneId,
    },
    /// Bytes went over the wire for a lane.
    BytesSent {
        /// For which lane.
        lane: LaneId,
        /// How many.
        bytes: u64,
    },
    /// The user paused a lane; what is in flight is finished.
    Paused(LaneId),
    /// The user resumed it.
    Resumed(LaneId),
    /// The user wants a lane sent now, whatever its schedule says: the waits of
    /// its servers are over too, except after refused logins.
    Flushed(LaneId),
    /// The agent ends: nothing new is begun.
    Stopping,
}

/// A failed entry, for [`State::entry_failed`](super::State::entry_failed).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedEntry {
    /// By which session.
    pub session: SessionId,
    /// From which lane.
    pub lane: LaneId,
    /// The entry.
    pub key: u64,
    /// The class of the failure.
    pub fault: Fault,
    /// How often it has been [refused](super::Verdict::Refused) before.
    pub refusals_before: u32,
    /// Whether the server now has more of the file than before this try.
    pub progressed: bool,
}

/// Which entry of a lane to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The oldest that is not held back.
    Oldest,
    /// The newest that is not held back.
    Newest,
}

/// One entry for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Who sends.
    pub session: SessionId,
    /// From which lane.
    pub lane: LaneId,
    /// Which of its entries.
    pub pick: Pick,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect and log in; then [`Event::SessionOpened`] or
    /// [`Event::SessionFailed`].
    OpenSession {
        /// The name of the new session.
        session: SessionId,
        /// Where to.
        server: ServerId,
    },
    /// Send an entry; then [`Event::EntryDelivered`], [`State::entry_failed`](super::State::entry_failed),
    /// [`Event::EntryReturned`] or [`Event::NothingToSend`].
    Assign(Assignment),
    /// Say goodbye; then [`Event::SessionClosed`].
    CloseIdle(SessionId),
}
