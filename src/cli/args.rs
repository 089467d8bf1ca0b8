//! The command line as clap reads it.

use std::ffi::OsString;
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
    /// Upload files with no configuration
    #[command(after_help = "\
URL: ftp:// is plain FTP, ftpes:// explicit TLS, ftps:// implicit TLS, as in
  edgespool send photo.jpg ftpes://user@ftp.example.com/incoming/
A path that ends in / is a directory that the files go into; otherwise it is the
name of the one file. The password comes from the URL or $EDGESPOOL_PASSWORD.")]
    Send(Send),
    /// Check the config, the directories, and every server step by step
    #[command(after_help = "\
Each server is resolved, connected to, logged in to, and asked for its features; a
test file is uploaded, resumed, verified, renamed and deleted again. One line per
step: ok, or what failed and what to do about it.")]
    Check(Check),
    /// Write a commented config to start from
    Init(Init),
    /// Say what the agent does now, or what the spool holds when none runs
    Status(Status),
    /// Look into the queue and act on it
    #[command(subcommand)]
    Queue(Queue),
    /// List what was delivered
    History(History),
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
pub(crate) struct Send {
    /// FILE... URL: the files, and where they go
    #[arg(required = true, num_args = 2.., value_names = ["FILE", "URL"])]
    pub(crate) files_and_url: Vec<OsString>,
    /// Trust the roots in this PEM file as well
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Accept the server with this SHA-256 of its certificate or key (hex or base64)
    #[arg(long, value_name = "SHA256")]
    pub(crate) pin: Vec<String>,
    /// How long a server that is away is tried again before giving up with 69
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

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Again every second, until interrupted
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// List the entries, oldest first
    List(List),
    /// Show all that is known about one entry
    Show(OneId),
    /// Try dead letters again: the ones named, or all
    Retry(Ids),
    /// Drop entries for good; their bytes are deleted
    Drop(Ids),
    /// Stop uploading: the watches named, or all
    Pause(Watches),
    /// Go on uploading: the watches named, or all
    Resume(Watches),
    /// Upload what waits now, whatever the schedule says
    Flush(Watches),
    /// Check the spool, read-only, and say what recovery would do
    Verify,
    /// Copy the waiting files out of the spool into DIR
    Export(Export),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Only dead letters
    #[arg(long)]
    pub(crate) dead: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneId {
    /// The entry's id, as `queue list` shows it
    pub(crate) id: String,
    /// One JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Ids {
    /// The entries' ids, as `queue list` shows them
    #[arg(required_unless_present = "all")]
    pub(crate) ids: Vec<String>,
    /// All dead letters
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Watches {
    /// The watches' names; default: all
    pub(crate) watches: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Where to; made if it does not exist
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// One JSON document per line
    #[arg(long)]
    pub(crate) json: bool,
    /// Only what was delivered in this time before now, as in 1d or 6h
    #[arg(long, value_name = "SPAN", value_parser = crate::base::parse_span)]
    pub(crate) since: Option<std::time::Duration>,
}
