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
    /// Run the agent in the foreground, until SIGTERM; SIGHUP reloads the config
    #[command(after_help = "\
SIGTERM and SIGINT finish or park the transfer, sync the spool and exit within 5 s.
SIGHUP reads the config again without dropping a transfer; a config with mistakes
is reported and the old one stays in force.")]
    Run,
    /// Take what is ready, upload everything, and exit
    #[command(after_help = "\
Schedules are ignored unless --respect-schedule is given. Files that were written a
moment ago are waited for once (the watch's `quiet`). Exits with 75 when something
stays queued, 69 when no server could be reached, 77 when the login was refused, 65
when a file was refused for good.")]
    Once(Once),
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
pub(crate) struct Once {
    /// Upload only what its schedule allows now
    #[arg(long)]
    pub(crate) respect_schedule: bool,
    /// How long a server that is away is tried again before giving up with 75
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = crate::base::parse_span)]
    pub(crate) patience: std::time::Duration,
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
