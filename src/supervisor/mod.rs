//! Joins the parts into the agent.
//!
//! [`State`] decides, purely, what happens next: which lane's entry goes to which
//! session, when a session is opened or closed, who waits for how long.

mod events;
mod failed;
mod health;
mod lanes;
mod servers;
mod state;

#[cfg(test)]
mod simulation;

pub use events::{
    Action, Assignment, Event, FailedEntry, LaneId, Pick, Rules, SCHEDULE_NONE, ServerId, SessionId,
};
pub use health::{Fault, Verdict};
pub use lanes::{LaneRules, LaneView, LaneWaits, Order};
pub use servers::{ServerMemory, ServerRules, ServerView};
pub use state::{LaneMemory, State};
