//! The command line: one file per command.

mod args;
pub mod check_offline;
mod exit;
pub mod init;
mod logging;

use std::io::Write;
use std::path::Path;

use clap::Parser;
use log::LevelFilter;

use crate::config::Env;
use crate::sys::Sys;
use args::{Cli, Command};

pub use exit::Exit;

/// What a command that only looks or writes a file has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Results, for stdout.
    pub out: Vec<String>,
    /// The exit status.
    pub code: Exit,
}

impl Default for Outcome {
    fn default() -> Outcome {
        Outcome {
            out: Vec::new(),
            code: Exit::Done,
        }
    }
}

/// Reads the arguments, runs the command, and says how it ended. Usage mistakes
/// end the process with 2, `--help` and `--version` with 0.
#[must_use]
pub fn main() -> Exit {
    let cli = Cli::parse();
    logging::start(LevelFilter::Info, cli.verbose);
    let sys = match Sys::os() {
        Ok(sys) => sys,
        Err(e) => {
            complain(&format!("no thread for disk work: {e}"));
            return Exit::Failed;
        }
    };
    match cli.command {
        Command::Init(init) => show(&init::init(&*sys.fs, &init.dir)),
        Command::Check(check) => match check.offline {
            true => show(&offline(&sys, &cli.config)),
            false => {
                complain("check needs --offline: no server can be asked yet");
                Exit::Usage
            }
        },
    }
}

fn offline(sys: &Sys, file: &Path) -> Outcome {
    Env::with_os(sys, |env| check_offline::check_offline(file, env))
}

/// Prints results; a reader that went away (`| head`) ends it quietly.
fn show(outcome: &Outcome) -> Exit {
    let mut out = std::io::stdout().lock();
    for line in &outcome.out {
        if writeln!(out, "{line}").is_err() {
            break;
        }
    }
    outcome.code
}

/// One line for a person, on stderr.
fn complain(message: &str) {
    // Nothing can be said where stderr itself is gone.
    let _gone = writeln!(std::io::stderr().lock(), "edgespool: {message}");
}
