//! The command line: one file per command.

mod args;
mod assemble;
mod check;
pub mod check_offline;
mod context;
mod demo;
mod exit;
mod history;
pub mod init;
mod install;
mod logging;
mod notify;
mod passwd;
mod queue;
mod receive;
mod send;
mod service;
mod status;
mod text;

use std::io::{BufWriter, Write};
use std::path::Path;

use clap::{CommandFactory, Parser};
use log::LevelFilter;

use crate::config::{self, Config, Env};
use crate::sys::Sys;
use args::{Cli, Command};
use context::{Context, Trouble};

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

/// The definition of the command line, for man pages and completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the arguments, runs the command, and says how it ended. Usage mistakes
/// end the process with 2, `--help` and `--version` with 0.
#[must_use]
pub fn main() -> Exit {
    let cli = Cli::parse();
    logging::start(log_level(&cli.command), cli.verbose);
    let sys = match Sys::os() {
        Ok(sys) => sys,
        Err(e) => {
            complain(&format!("no thread for disk work: {e}"));
            return Exit::Failed;
        }
    };
    let file = &*cli.config;
    match cli.command {
        Command::Run => with_config(&sys, &cli, |config| {
            service::run(&sys, file, cli.verbose, config)
        }),
        Command::Once(ref once) => with_config(&sys, &cli, |config| {
            service::once(&sys, &config, once.respect_schedule, once.patience)
        }),
        Command::Send(send) => send::run(&sys, &send),
        Command::Receive(args) => match args.command {
            Some(args::ReceiveCommand::Passwd) => passwd::run(&sys),
            None => receive::run(&sys, &args),
        },
        Command::Demo(args) => demo::run(&sys, &args, cli.verbose),
        Command::Init(init) => show(&init::init(&*sys.fs, &init.dir)),
        Command::Install(args) => show(&install::install(&sys, &args)),
        Command::Uninstall(args) => show(&install::uninstall(&sys, &args)),
        Command::Check(check) if check.offline => show(&offline(&sys, file)),
        Command::Check(_) => print(|out| check::run(&sys, file, out)),
        Command::Status(args) => in_context(&sys, file, |c, out| status::run(c, &args, out)),
        Command::Queue(args) => in_context(&sys, file, |c, out| queue::run(c, &args, out)),
        Command::History(args) => in_context(&sys, file, |c, out| history::run(c, &args, out)),
    }
}

/// What goes to the log without `-v`: the results of these commands are on
/// stdout, and only what is wrong besides belongs on stderr.
fn log_level(command: &Command) -> LevelFilter {
    match command {
        Command::Run | Command::Once(_) | Command::Send(_) | Command::Receive(_) => {
            LevelFilter::Info
        }
        Command::Check(_)
        | Command::Init(_)
        | Command::Install(_)
        | Command::Uninstall(_)
        | Command::Status(_)
        | Command::Queue(_)
        | Command::History(_) => LevelFilter::Warn,
        // It tells the story itself, and breaks the link itself.
        Command::Demo(_) => LevelFilter::Error,
    }
}

/// Runs a command that needs the configuration.
fn in_context(
    sys: &Sys,
    file: &Path,
    command: impl FnOnce(&Context, &mut dyn Write) -> Result<Exit, Trouble>,
) -> Exit {
    print(|out| command(&Context::load(sys, file)?, out))
}

/// Runs a command whose results go to stdout; what kept it from them goes to
/// stderr.
fn print(command: impl FnOnce(&mut dyn Write) -> Result<Exit, Trouble>) -> Exit {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let ended = command(&mut out);
    let flushed = out.flush().map_err(Trouble::Output);
    match ended.and_then(|exit| flushed.map(|()| exit)) {
        Ok(exit) => exit,
        Err(trouble) => {
            match &trouble {
                Trouble::Config(invalid) => eprint_lines(invalid),
                quiet if quiet.exit() == Exit::Done => {}
                other => complain(&other.to_string()),
            }
            trouble.exit()
        }
    }
}

fn offline(sys: &Sys, file: &Path) -> Outcome {
    Env::with_os(sys, |env| check_offline::check_offline(file, env))
}

/// Runs a command that needs a configuration without mistakes; lists them otherwise.
fn with_config(sys: &Sys, cli: &Cli, command: impl FnOnce(Config) -> Exit) -> Exit {
    match Env::with_os(sys, |env| config::load(&cli.config, env)) {
        Ok(loaded) => {
            logging::set_level(logging::filter(loaded.config.log.level), cli.verbose);
            for warning in &loaded.warnings {
                log::warn!("{}", warning.unmarked());
            }
            command(loaded.config)
        }
        Err(invalid) => {
            eprint_lines(&invalid);
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

/// Findings, each of which names its file already.
fn eprint_lines(findings: &dyn std::fmt::Display) {
    // Nothing can be said where stderr itself is gone.
    let _gone = writeln!(std::io::stderr().lock(), "{findings}");
}

/// One line of results, on stdout.
fn say(line: &str) {
    // Who reads no results does not end the work.
    let _gone = writeln!(std::io::stdout().lock(), "{line}");
}

/// One line for a person, on stderr.
fn complain(message: &str) {
    // Nothing can be said where stderr itself is gone.
    let _gone = writeln!(std::io::stderr().lock(), "edgespool: {message}");
}
