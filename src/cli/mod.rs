//! The command line: one file per command.

mod args;
mod assemble;
pub mod check_offline;
mod exit;
pub mod init;
mod logging;
mod service;

use std::io::Write;
use std::path::Path;

use clap::Parser;
use log::LevelFilter;

use crate::config::{self, Config, Env};
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
        Command::Run => with_config(&sys, &cli.config, |config| service::run(&sys, config)),
        Command::Once(once) => with_config(&sys, &cli.config, |config| {
            service::once(&sys, config, once.respect_schedule, once.patience)
        }),
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

/// Runs a command that needs a configuration without mistakes; lists them otherwise.
fn with_config(sys: &Sys, file: &Path, command: impl FnOnce(&Config) -> Exit) -> Exit {
    match Env::with_os(sys, |env| config::load(file, env)) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                log::warn!("{warning}");
            }
            command(&loaded.config)
        }
        Err(invalid) => {
            for finding in &invalid.findings {
                complain(&finding.to_string());
            }
            Exit::Config
        }
    }
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
