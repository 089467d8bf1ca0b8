//! What the benchmarks measure `edgespool` beside: the field's FTP clients, each
//! in the fastest form of its own manual, and one way to run and measure all.

#![allow(
    dead_code,
    unsafe_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use crate::common::server_section;
use crate::common::servers::Server;

/// A client to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `edgespool once`: durable intake, upload to a temporary name, check,
    /// rename, receipt.
    Once,
    /// `edgespool send`: the same without the spool.
    Send,
    /// `mput` to the final name, no check.
    Lftp,
    /// `mput` to a temporary name and a rename, no check.
    LftpTemporary,
    /// `mirror -R`: lists the target, then sends to the final name.
    LftpMirror,
    /// One invocation, many files, to the final name, no check.
    Curl,
    /// To the final name, no check; no TLS.
    Ncftpput,
    /// `copy --transfers 1` of files known to be new; asks about each before and
    /// after. It cannot resume TLS sessions.
    Rclone,
}

/// What to send and where to.
pub struct Errand<'a> {
    pub server: &'a Server,
    /// Where the server is reached, if not at its own address.
    pub at: SocketAddr,
    /// A directory with nothing in it but the files, and room beside it.
    pub files: PathBuf,
}

/// How a run went.
pub struct Run {
    pub status: ExitStatus,
    pub wall: Duration,
    /// User and system time of the process and of the children it waited for.
    pub cpu: Duration,
    /// The most memory it held at once, in KiB.
    pub rss_max: u64,
    pub stderr: String,
}

impl Client {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Once => "edgespool once",
            Self::Send => "edgespool send",
            Self::Lftp => "lftp mput",
            Self::LftpTemporary => "lftp mput, temporary name",
            Self::LftpMirror => "lftp mirror -R",
            Self::Curl => "curl",
            Self::Ncftpput => "ncftpput",
            Self::Rclone => "rclone",
        }
    }

    /// Whether it is not ours.
    pub fn is_peer(self) -> bool {
        !matches!(self, Self::Once | Self::Send)
    }

    /// Whether it can talk to this server at all.
    pub fn can_reach(self, server: &Server) -> bool {
        !(server.variant.is_tls() && matches!(self, Self::Ncftpput | Self::Rclone))
    }

    /// The command that runs the errand.
    pub fn command(self, errand: &Errand<'_>) -> Command {
        match self {
            Self::Once => once(errand),
            Self::Send => send(errand),
            Self::Lftp => lftp(errand, "mput {}/*"),
            Self::LftpTemporary => lftp(errand, "set xfer:use-temp-file yes; mput {}/*"),
            Self::LftpMirror => lftp(errand, "mirror -R --no-perms {} /"),
            Self::Curl => curl(errand),
            Self::Ncftpput => ncftpput(errand),
            Self::Rclone => rclone(errand),
        }
    }

    fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Once | Self::Send => None,
            Self::Lftp | Self::LftpTemporary | Self::LftpMirror => Some(("lftp", "lftp")),
            Self::Curl => Some(("curl", "curl")),
            Self::Ncftpput => Some(("ncftpput", "ncftp")),
            Self::Rclone => Some(("rclone", "rclone")),
        }
    }
}

/// Panics, saying what to install, unless all of these clients are here.
pub fn demand(clients: &[Client]) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here =
        |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    let mut missing: Vec<_> = clients
        .iter()
        .filter_map(|client| client.program())
        .filter(|(program, _)| !is_here(program))
        .map(|(_, package)| package)
        .collect();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "to compare with, install: apt-get install {}",
        missing.join(" ")
    );
}

/// Runs a command to its end and measures it.
pub fn measure(command: &mut Command) -> Run {
    let log = tempfile::NamedTempFile::new().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.reopen().unwrap());
    let begun = Instant::now();
    #[expect(clippy::zombie_processes, reason = "`wait` below does it")]
    let child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (status, usage) = wait(child.id()).unwrap();
    let wall = begun.elapsed();
    Run {
        status,
        wall,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
        rss_max: usage.ru_maxrss.try_into().unwrap(),
        stderr: fs::read_to_string(log.path()).unwrap_or_default(),
    }
}

/// Waits for a child and learns what it used.
fn wait(pid: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    let pid = libc::pid_t::try_from(pid).unwrap();
    // SAFETY: both pointers are to room of the right type that outlives the call,
    // and all-zero bytes are a valid `rusage` should the kernel write none.
    let (done, usage) = unsafe {
        let done = libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        (done, usage.assume_init())
    };
    if done == pid {
        return Ok((ExitStatus::from_raw(status), usage));
    }
    Err(io::Error::last_os_error())
}

fn time(of: libc::timeval) -> Duration {
    let secs = Duration::from_secs(of.tv_sec.try_into().unwrap());
    secs + Duration::from_micros(of.tv_usec.try_into().unwrap())
}

fn edgespool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edgespool"));
    command.env_remove("EDGESPOOL_CONFIG");
    command
}

fn once(errand: &Errand<'_>) -> Command {
    let dir = errand.files.parent().unwrap();
    let section = server_section("central", errand.server, Some(errand.at));
    let config = dir.join("edgespool.toml");
    let text = format!(
        "device = \"bench\"\n[spool]\ndir = \"spool\"\nmax_size = \"8GiB\"\nmin_free = \"0\"\n\
         {section}[[watch]]\nname = \"camera\"\ndir = \"{}\"\nserver = \"central\"\n\
         quiet = \"200ms\"\nremote = \"/{{path}}\"\n",
        errand.files.display(),
    );
    fs::write(&config, text).unwrap();
    let mut command = edgespool();
    command.arg("-c").arg(config).arg("once");
    command
}

fn send(errand: &Errand<'_>) -> Command {
    let mut command = edgespool();
    command.arg("send");
    if let Some(ca) = &errand.server.ca {
        command.arg("--ca-file").arg(ca);
    }
    command
        .args(paths(&errand.files))
        .arg(errand.server.url(Some(errand.at)));
    command
}

fn lftp(errand: &Errand<'_>, action: &str) -> Command {
    let server = errand.server;
    let ca = server.ca.as_ref();
    let ca = ca.map(|ca| format!("set ssl:ca-file {};", ca.display()));
    let script = format!(
        "set net:max-retries 2; set cmd:fail-exit yes; set ftp:prefer-epsv yes; \
         set ftp:ssl-force {0}; set ftp:ssl-allow {0}; set ftp:ssl-protect-data yes; {1} \
         set ftp:sync-mode no; open -u {2},{3} ftp://{4}; {5}; bye",
        server.variant.is_tls(),
        ca.unwrap_or_default(),
        server.user,
        server.password,
        errand.at,
        action.replace("{}", &errand.files.display().to_string()),
    );
    let mut command = Command::new("lftp");
    command.args(["--norc", "-c", &script]);
    command
}

fn curl(errand: &Errand<'_>) -> Command {
    let server = errand.server;
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error"]);
    if let Some(ca) = &server.ca {
        // With TLS 1.3 it closes on unread tickets, and some files are cut.
        command
            .args(["--ssl-reqd", "--tls-max", "1.2", "--cacert"])
            .arg(ca);
    }
    let url = format!("ftp://{}:{}@{}/", server.user, server.password, errand.at);
    for file in paths(&errand.files) {
        command.arg("--upload-file").arg(file).arg(&url);
    }
    command
}

fn ncftpput(errand: &Errand<'_>) -> Command {
    let server = errand.server;
    let mut command = Command::new("ncftpput");
    command
        .args(["-V", "-u", server.user, "-p", server.password])
        .args(["-P", &errand.at.port().to_string()])
        .arg(errand.at.ip().to_string())
        .arg("/")
        .args(paths(&errand.files));
    command
}

fn rclone(errand: &Errand<'_>) -> Command {
    let server = errand.server;
    let password = Command::new("rclone")
        .args(["obscure", server.password])
        .output()
        .unwrap();
    let mut command = Command::new("rclone");
    command
        .args([
            "copy",
            "--config",
            "",
            "--transfers",
            "1",
            "--checkers",
            "1",
        ])
        .args(["--no-check-dest", "--no-traverse", "--ftp-concurrency", "1"])
        .args(["--ftp-host", &errand.at.ip().to_string()])
        .args(["--ftp-port", &errand.at.port().to_string()])
        .args(["--ftp-user", server.user, "--ftp-pass"])
        .arg(String::from_utf8_lossy(&password.stdout).trim())
        .arg(&errand.files)
        .arg(":ftp:/");
    command
}

/// The files of a directory, in order.
pub fn paths(dir: &Path) -> Vec<OsString> {
    let entries = fs::read_dir(dir).unwrap();
    let mut paths: Vec<_> = entries
        .map(|e| e.unwrap().path().into_os_string())
        .collect();
    paths.sort();
    paths
}

/// Makes the files of a directory last written a minute ago and long on the
/// disk, as those that a camera finished before the upload began.
pub fn age(dir: &Path) {
    let then = SystemTime::now() - Duration::from_secs(60);
    for path in paths(dir) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
    rustix::fs::syncfs(File::open(dir).unwrap()).unwrap();
}

/// The middle value, and the lowest and the highest.
pub fn median(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    (middle, sorted[0], sorted[sorted.len() - 1])
}
