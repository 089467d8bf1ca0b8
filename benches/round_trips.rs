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
mod peers;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use common::content;
use common::servers::{Certificate, Kind, Server, Variant};
use peers::{Client, Errand, age, demand, measure};

fn main() -> ExitCode {
    if std::env::var_os(INSIDE).is_none() {
        let me = std::env::current_exe().unwrap();
        let error = Command::new("unshare")
            .arg("--net")
            .arg(me)
            .env(INSIDE, "1")
            .exec();
        panic!("cannot make a network namespace (are you root?): {error}");
    }
    demand(&CLIENTS);
    let _link = Link::up();
    println!(
        "round trips a file, {FEW} to {MANY} files of {SIZE} bytes, round trip {ROUND_TRIP:?}\n"
    );
    let header = CLIENTS.map(Client::name).join(" | ");
    println!(
        "| server | {header} | budget |\n|---|---|{}",
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
    let mut failed = false;
    for row in rows.collect::<Vec<_>>() {
        let (row, is_whole) = row.join().unwrap();
        println!("{row}");
        failed |= !is_whole;
    }
    ExitCode::from(u8::from(failed))
}

/// All clients on one server, one after the other; and whether all worked.
fn row(kind: Kind, variant: Variant) -> (String, bool) {
    let near = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1));
    let server = Server::start_at(near, kind, variant, Certificate::Good);
    let results = CLIENTS.map(|client| slope(client, &server));
    let budget = if variant.is_tls() { 4.1 } else { 3.1 };
    let verdict = match results[0] {
        Ok(round_trips) if round_trips <= budget => "OK",
        _ => "MISSED",
    };
    let cells = results.each_ref().map(|result| match result {
        Ok(round_trips) => format!("{round_trips:.2}"),
        Err(why) => why.clone(),
    });
    let row = format!(
        "| {} {variant:?} | {} | <= {budget}: {verdict} |",
        kind.name(),
        cells.join(" | ")
    );
    (row, results.iter().all(Result::is_ok))
}

fn slope(client: Client, server: &Server) -> Result<f64, String> {
    let few = upload(client, server, FEW)?;
    let many = upload(client, server, MANY)?;
    let files = f64::from(MANY - FEW);
    Ok((many.as_secs_f64() - few.as_secs_f64()) / files / ROUND_TRIP.as_secs_f64())
}

/// Uploads so many new files and checks that they arrived.
fn upload(client: Client, server: &Server, count: u32) -> Result<Duration, String> {
    let world = tempfile::tempdir().unwrap();
    let files = world.path().join("files");
    fs::create_dir(&files).unwrap();
    let names: Vec<String> = (0..count)
        .map(|n| format!("{client:?}-{count}-{n}"))
        .collect();
    for (seed, name) in (0..).zip(&names) {
        fs::write(files.join(name), content(seed, SIZE)).unwrap();
    }
    age(&files);
    let errand = Errand {
        server,
        at: SocketAddr::new(IpAddr::V4(FAR), server.port),
        files,
    };
    let run = measure(&mut client.command(&errand));
    let arrived = (0..)
        .zip(&names)
        .all(|(seed, name)| server.get(name) == Some(content(seed, SIZE)));
    if arrived {
        return Ok(run.wall);
    }
    let last = run.stderr.lines().last().unwrap_or("files are missing");
    Err(format!("FAILED, {}: {last}", run.status))
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
    Client::Once,
    Client::LftpTemporary,
    Client::Lftp,
    Client::Curl,
];
/// Where the link takes one to a server that listens at this machine's end.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const ROUND_TRIP: Duration = Duration::from_millis(200);
const FEW: u32 = 5;
const MANY: u32 = 15;
const SIZE: usize = 4096;
const INSIDE: &str = "EDGESPOOL_BENCH_INSIDE";
