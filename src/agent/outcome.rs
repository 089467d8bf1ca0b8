//! What an agent's life came to, for the exit code.

use crate::upload::Class;

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files that were delivered.
    pub delivered: u64,
    /// Dead letters that were made.
    pub dead: u64,
    /// Files that stay queued.
    pub queued: u64,
    /// Files that were found but could not be taken.
    pub not_taken: u64,
    /// A round was told to stop before it had looked everywhere.
    pub interrupted: bool,
    /// The class of the last failure, and what it said.
    pub last_failure: Option<(Class, String)>,
    /// The spool failed: nothing can be promised any more.
    pub spool_failed: Option<String>,
}
