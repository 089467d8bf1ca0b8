//! Exit codes (sysexits).

/// How a command ended, as its exit code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, everything delivered.
    Done = 0,
    /// Anything that has no code of its own.
    Failed = 1,
    /// Bad usage.
    Usage = 2,
    /// A dead letter was made.
    DeadLetter = 65,
    /// No server could be reached.
    Unavailable = 69,
    /// Something stays queued; try later.
    Queued = 75,
    /// The login was refused.
    Login = 77,
    /// The configuration is wrong.
    Config = 78,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
