//! The command line: one file per command.

pub mod check_offline;
pub mod init;

/// What a command that only looks or writes a file has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Results, for stdout.
    pub out: Vec<String>,
    /// The exit status (sysexits).
    pub code: u8,
}

/// Exit status: bad configuration.
pub const EX_CONFIG: u8 = 78;
