//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Gets finished files off this device, whole, over FTP and FTPS.
#[derive(Debug, Parser)]
#[command(name = "edgespool", version, disable_help_subcommand = true)]
#[command(after_help = "\
Exit codes: 0 done, everything delivered; 2 bad usage; 65 a dead letter was made;
69 server unavailable; 75 something stays queued, try later; 77 login refused;
78 bad config; 1 anything else. Results go to stdout, logs and progress to stderr.")]
pub(crate) struct Cli {
    /// The configuration file
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "EDGESPOOL_CONFIG",
        default_value = "/etc/edgespool/edgespool.toml"
    )]
    pub(crate) config: PathBuf,

    /// Say more: -v shows the FTP dialogue (passwords masked), -vv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the config, the directories, and every server step by step
    #[command(after_help = "\
Each server is resolved, connected to, logged in to, and asked for its features; a
test file is uploaded, resumed, verified, renamed and deleted again. One line per
step: ok, or what failed and what to do about it.")]
    Check(Check),
    /// Write a commented config to start from
    Init(Init),
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Only the config, the directories and permissions; ask no server
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The directory to write edgespool.toml into
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}
