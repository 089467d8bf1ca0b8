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
SIGTERM and SIGINT finish or park the transfer, sync the spool and exit within 5 s;
the next start goes on where the transfer was parked.
SIGHUP reads the config again. It comes into force when the transfers under way have
ended; a config with mistakes is reported, and the old one stays in force.
One agent runs on a spool; a second one says so and exits with 1.
Look at it with `edgespool status --watch`, act on it with `edgespool queue`.")]
    Run,
    /// Take what is ready, upload everything, and exit
    #[command(after_help = "\
Takes the files of every watch that are finished, waiting once (the watch's `quiet`)
for those written a moment ago, uploads everything that is queued, and prints one line
of what came of it. Schedules are ignored unless --respect-schedule is given.

Exit codes: 0 all delivered; 75 something stays queued (the server is away or full, a
watch is paused or its schedule closed) or could not be taken; 69 the server's TLS or
certificate is not acceptable; 77 the login was refused; 65 a file was refused for
good (see queue list --dead); 78 bad config. Run it again to go on where it ended.")]
    Once(Once),
    /// Upload files with no configuration
    #[command(override_usage = "edgespool send [OPTIONS] FILE... URL")]
    #[command(after_help = "\
URL: ftp:// is plain FTP, ftpes:// explicit TLS, ftps:// implicit TLS, as in
  edgespool send photo.jpg ftpes://user@ftp.example.com/incoming/
A path that ends in / is a directory that the files go into, and is made if it is
missing; otherwise it is the name of the one file. Paths start at the login's root.
The password comes from the URL or $EDGESPOOL_PASSWORD. A FILE that begins with a dash
goes after `--`, or as ./-name. The same command again resumes what was cut.

Exit codes: 0 all arrived; 65 a file was refused; 69 the server is away, or its TLS is
not acceptable; 75 the server is full; 77 the login was refused; 2 bad usage.")]
    Send(Send),
    /// Receive files over FTP and FTPS into a directory, with no configuration
    #[command(after_help = "\
The one user may list, read and write everything below --root, and nothing beyond it.
The password comes from $EDGESPOOL_PASSWORD; what is not given is made up. Standard
output has the URL, the user, the password if it was made up, the SHA-256 fingerprint
of the certificate, and then one line for each file received, which is on stable
storage by then.

Clients may log in without TLS unless it is required, because few cameras have it: a
warning says so. The certificate is made at the first start and kept in --state.
SIGTERM and SIGINT end it; a file that is cut can be continued.

  edgespool receive --user camera --root /srv/images
  curl --ssl-reqd -k -T photo.jpg ftp://camera@gateway:2121/")]
    Receive(Receive),
    /// Check the config, the directories, and every server step by step
    #[command(after_help = "\
Each server is resolved, connected to, logged in to, and asked for its features; a
test file is uploaded, resumed, verified, renamed and deleted again. One line per
step: ok, or what failed and what to do about it.")]
    Check(Check),
    /// Write a commented config to start from
    #[command(after_help = "\
Writes edgespool.toml, a password file to fill in and the directory that is watched.
Nothing that exists is changed.")]
    Init(Init),
    /// Put the program, its service and a config in place on a systemd machine
    #[command(after_help = "\
Copies this program to /usr/local/bin, writes the service with its user and directories,
and a config to start from if there is none; starts nothing, and says what is to be done
next. A second time, with a config, it also lets the service's sandbox through to the
watched directories. Files that were changed by hand stay as they are. Takes root.")]
    Install(Installation),
    /// Remove what `install` put in place
    #[command(after_help = "\
Stops the service first. A config that was changed, a spool in which files wait, and
whatever else is not as it was installed, stays and is named.")]
    Uninstall(Installation),
    /// Say what the agent does now, or what the spool holds when none runs
    #[command(after_help = "\
Exits with 0 whether an agent runs or not; `state` of --json is running or stopped.")]
    Status(Status),
    /// Look into the queue and act on it
    #[command(subcommand)]
    Queue(Queue),
    /// List what was delivered
    #[command(after_help = "\
Oldest first; times are UTC. The word after the time says how surely a file arrived:
hash or size (the server's copy was checked), reply (the server said so), skipped (it
was there already); or that it did not: evicted (the spool was full), dropped (by hand).

  edgespool history --since 1d
  edgespool history --json | jq -r 'select(.attempts > 1) | .path'")]
    History(History),
    /// Show all of it on this machine: fake devices, a link that breaks, a receiver
    #[command(after_help = "\
A fake camera draws pictures, a fake sensor writes tables, the agent takes both into its
spool and uploads them, with TLS, to a receiver in the same process, over a link that is
slow and breaks in the middle of files. It needs no root and no network: everything
happens below $TMPDIR and on the loopback interface, and is removed at the end.

On a terminal it is shown live, elsewhere (and with -v, beside the log) line by line.
At the end both sides are compared, byte by byte. Exit code 0 means that all of this
holds: every file arrived once, whole, under its final name; at least one was cut in the
middle and then resumed, not sent anew; the server has nothing else, and the devices
have nothing left. Anything else, Ctrl-C too, is 1.

  edgespool demo
  edgespool demo --seconds 60 --keep")]
    Demo(Demo),
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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Receive {
    #[command(subcommand)]
    pub(crate) command: Option<ReceiveCommand>,
    /// Where to listen; may be given several times
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:2121")]
    pub(crate) listen: Vec<std::net::SocketAddr>,
    /// Where to listen with TLS from the first byte on; may be given several times
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen_implicit: Vec<std::net::SocketAddr>,
    /// The directory that the user sees as /
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) root: PathBuf,
    /// Who may log in
    #[arg(long, value_name = "NAME", default_value = "edgespool")]
    pub(crate) user: String,
    /// Whether clients use TLS
    #[arg(long, value_enum, default_value_t = TlsUse::Optional)]
    pub(crate) tls: TlsUse,
    /// Ports of passive data connections, for a firewall
    #[arg(long, value_name = "FIRST-LAST", value_parser = ports)]
    pub(crate) passive_ports: Option<(u16, u16)>,
    /// Where the certificate and a journal are kept [default: $STATE_DIRECTORY, else
    /// ~/.local/state/edgespool]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
}

/// What `receive` does besides receiving.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ReceiveCommand {
    /// Make the hash of a password for the config
    #[command(after_help = "\
Asks for the password on a terminal, else reads one line of standard input, and prints
an Argon2id hash for `password_hash` in [[receive.user]].

  edgespool receive passwd
  printf 'the password\\n' | edgespool receive passwd")]
    Passwd,
}

/// Whether clients of the receiver use TLS.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum TlsUse {
    /// No login without it
    Required,
    /// As each client likes
    Optional,
    /// There is none
    None,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |digits: &str| digits.parse().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err("two ports, the first one not above the last".to_owned()),
    }
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
pub(crate) struct Installation {
    /// Below this directory, as for an image; no service is started or stopped
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    pub(crate) root: PathBuf,
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
    /// Try dead letters again: the ones named, or --all
    Retry(Ids),
    /// Drop entries for good; their bytes are deleted
    Drop(Ids),
    /// Stop uploading: the watches named, or all
    #[command(after_help = "\
Files are still taken into the spool. A pause lasts until `queue resume`, over restarts.")]
    Pause(Watches),
    /// Go on uploading: the watches named, or all
    Resume(Watches),
    /// Upload what waits now, whatever the schedule says
    #[command(after_help = "\
Needs a running agent. Waits after failures are over too, except after a refused login,
so that asking often locks no account. A paused watch stays paused.")]
    Flush(Watches),
    /// Check the spool, read-only, and say what recovery would do
    Verify,
    /// Copy the waiting files out of the spool into DIR
    #[command(after_help = "\
Each goes to DIR/WATCH/PATH. The spool is only read, nothing in DIR is overwritten, and
the files stay queued.")]
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
pub(crate) struct Demo {
    /// How long the devices work; what then waits is still delivered
    #[arg(long, value_name = "N", default_value = "20", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// Leave the directory, and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
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
