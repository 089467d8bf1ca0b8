//! Round trips for one small file on one warm session, over a link of 200 ms,
//! for `edgespool` beside lftp and curl, on every server.
//!
//! `cargo bench --bench round_trips`. Needs root, curl, lftp, python3 and ip.
//! The link (`link.py`) delays every packet, handshakes too, and lives in a
//! network namespace of its own. Each client uploads few and then more files of
//! 4 KiB; the slope between the two, in round trips, is what one file costs.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::servers::{Certificate, Kind, Server, Variant};
use common::{Agent, content};

/// A client to measure.
#[derive(Clone, Copy, Debug)]
enum Client {
    Edgespool,
    /// To a temporary name and renamed; no check.
    LftpTemporary,
    /// Straight to the final name.
    Lftp,
    /// Straight to the final name.
    Curl,
}

fn main() {
    if std::env::var_os(INSIDE).is_none() {
        let me = std::env::current_exe().unwrap();
        let error = Command::new("unshare")
            .arg("--net")
            .arg(me)
            .env(INSIDE, "1")
            .exec();
        panic!("cannot make a network namespace (are you root?): {error}");
    }
    let _link = Link::up();
    println!(
        "round trips a file, {FEW} to {MANY} files of {SIZE} bytes, round trip {ROUND_TRIP:?}"
    );
    let header = CLIENTS.map(|client| format!("{client:?}")).join(" | ");
    println!(
        "| server | {header} |\n|---|{}",
        "---|".repeat(CLIENTS.len())
    );
    // The clients mostly wait, so the servers can be measured side by side.
    let rows = Kind::ALL.into_iter().flat_map(|kind| {
        let tls = if kind.supports(Variant::ExplicitReuse) {
            Variant::ExplicitReuse
        } else {
            Variant::Explicit
        };
        [Variant::Plain, tls].map(|variant| thread::spawn(move || row(kind, variant)))
    });
    for row in rows.collect::<Vec<_>>() {
        println!("{}", row.join().unwrap());
    }
}

/// All clients on one server, one after the other.
fn row(kind: Kind, variant: Variant) -> String {
    let near = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
    let server = Server::start_at(near, kind, variant, Certificate::Good);
    let cells = CLIENTS.map(|client| match slope(client, &server) {
        Ok(round_trips) => format!("{round_trips:.2}"),
        Err(why) => why,
    });
    format!("| {} {variant:?} | {} |", kind.name(), cells.join(" | "))
}

fn slope(client: Client, server: &Server) -> Result<f64, String> {
    let few = upload(client, server, FEW)?;
    let many = upload(client, server, MANY)?;
    let files = f64::from(MANY - FEW);
    Ok((many.as_secs_f64() - few.as_secs_f64()) / files / ROUND_TRIP.as_secs_f64())
}

/// Uploads so many new files and checks that they arrived.
fn upload(client: Client, server: &Server, count: u32) -> Result<Duration, String> {
    let far = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)), server.port);
    let agent = Agent::for_server(server, Some(far), "");
    let files: Vec<(PathBuf, Vec<u8>)> = (0..count)
        .map(|n| {
            let name = format!("{client:?}-{count}-{n}");
            let bytes = content(u64::from(n), SIZE);
            let path = agent.watched().join(name);
            fs::write(&path, &bytes).unwrap();
            (path, bytes)
        })
        .collect();
    let begun = Instant::now();
    let output = match client {
        Client::Edgespool => agent.command(&["once"]),
        Client::LftpTemporary => run(&mut lftp(server, far, true, &agent.watched())),
        Client::Lftp => run(&mut lftp(server, far, false, &agent.watched())),
        Client::Curl => run(&mut curl(server, far, &agent.watched())),
    };
    let time = begun.elapsed();
    let arrived = files.iter().all(|(path, bytes)| {
        server
            .get(path.file_name().unwrap().to_str().unwrap())
            .as_ref()
            == Some(bytes)
    });
    if arrived {
        return Ok(time);
    }
    let why = output
        .stderr
        .lines()
        .last()
        .unwrap_or("files are missing")
        .to_owned();
    Err(format!("failed, exit {:?}: {why}", output.code))
}

fn lftp(server: &Server, at: SocketAddr, temporary: bool, dir: &Path) -> Command {
    let ca = server
        .ca
        .as_ref()
        .map(|ca| format!("set ssl:ca-file {};", ca.display()));
    let script = format!(
        "set net:max-retries 2; set cmd:fail-exit yes; set ftp:prefer-epsv yes; \
         set ftp:ssl-force {}; set ftp:ssl-allow {0}; set ftp:ssl-protect-data yes; {} \
         set xfer:use-temp-file {temporary}; set ftp:sync-mode no; \
         open -u {},{} ftp://{at}; mput {}/*; bye",
        server.variant.is_tls(),
        ca.unwrap_or_default(),
        server.user,
        server.password,
        dir.display(),
    );
    let mut command = Command::new("lftp");
    command.args(["--norc", "-c", &script]);
    command
}

fn curl(server: &Server, at: SocketAddr, dir: &Path) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error"]);
    if let Some(ca) = &server.ca {
        // With TLS 1.3 it closes on unread tickets, and some files are cut.
        command
            .args(["--ssl-reqd", "--tls-max", "1.2", "--cacert"])
            .arg(ca);
    }
    let url = format!("ftp://{}:{}@{at}/", server.user, server.password);
    for entry in fs::read_dir(dir).unwrap() {
        command
            .arg("--upload-file")
            .arg(entry.unwrap().path())
            .arg(&url);
    }
    command
}

fn run(command: &mut Command) -> common::Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    common::Output {
        code: output.status.code(),
        signal: None,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The slow link; goes when dropped.
struct Link(Child);

impl Link {
    fn up() -> Self {
        let mut child = Command::new("python3")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/link.py"))
            .arg((ROUND_TRIP / 2).as_secs_f64().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "the link does not come up");
        Self(child)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const CLIENTS: [Client; 4] = [
    Client::Edgespool,
    Client::LftpTemporary,
    Client::Lftp,
    Client::Curl,
];
const ROUND_TRIP: Duration = Duration::from_millis(200);
const FEW: u32 = 5;
const MANY: u32 = 15;
const SIZE: usize = 4096;
const INSIDE: &str = "EDGESPOOL_BENCH_INSIDE";
