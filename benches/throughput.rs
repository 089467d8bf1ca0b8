//! Small files a second with one session, and one big file, for `edgespool`
//! beside lftp, ncftpput, curl and rclone, on loopback.
//!
//! `cargo bench --bench throughput [-- small|big]`. Needs root (for the test
//! servers) and the clients. In each round every client sends new files of the
//! same content to the same server, one after the other, and begins at another
//! place, so that what else the machine does meets all alike. Files are checked
//! on the server after each run. The server's disk is a RAM disk, because it
//! stands for another machine; ours, where `once` has its spool, is real, and
//! `once` pays for its flushes.
//!
//! The exit code is 1 when a client failed; a missed budget is only said.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

#[path = "../tests/common/mod.rs"]
mod common;
mod peers;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use common::content;
use common::servers::{Kind, Server, Variant};
use peers::{Client, Errand, age, demand, measure, median};

fn main() -> ExitCode {
    demand(&CLIENTS);
    // Only if it is there; then all servers are in it.
    if Path::new(RAM_DISK).is_dir() {
        tempfile::env::override_temp_dir(Path::new(RAM_DISK)).unwrap();
    }
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut failed = false;
    if wanted("small") {
        for variant in [Variant::Plain, Variant::ExplicitReuse] {
            failed |= small_files(variant);
        }
    }
    if wanted("big") {
        failed |= big_file();
    }
    ExitCode::from(u8::from(failed))
}

/// All runs of one client in one experiment.
struct Row {
    client: Client,
    wall_s: Vec<f64>,
    cpu_s: Vec<f64>,
    rss_kib: u64,
    failure: Option<String>,
}

fn small_files(variant: Variant) -> bool {
    let server = Server::start(Kind::Vsftpd, variant);
    let bytes = content(1, SMALL_SIZE);
    let rows = rounds(&CLIENTS, &server, SMALL_ROUNDS, |dir| {
        for n in 0..SMALL_COUNT {
            fs::write(dir.join(format!("{n:05}.jpg")), &bytes).unwrap();
        }
    });
    println!(
        "\n## Small files a second, {variant:?} vsftpd, one session, {SMALL_COUNT} files of \
         {SMALL_SIZE} bytes, {SMALL_ROUNDS} rounds\n\n\
         | client | files/s, median | lowest .. highest | CPU ms a file | RSS MiB |\n\
         |---|---|---|---|---|"
    );
    let rate = |row: &Row| {
        median(
            &row.wall_s
                .iter()
                .map(|s| SMALL_COUNT as f64 / s)
                .collect::<Vec<_>>(),
        )
    };
    print_rows(&rows, |row| {
        let (middle, low, high) = rate(row);
        let cpu = median(&row.cpu_s).0 * 1000.0 / SMALL_COUNT as f64;
        format!(
            "{middle:.0} | {low:.0} .. {high:.0} | {cpu:.3} | {:.1}",
            row.rss_kib as f64 / 1024.0
        )
    });
    budgets(&rows, |ours, peer| {
        let ratio = rate(ours).0 / rate(peer).0;
        (
            ratio,
            vec![("files a second", ratio, ratio >= 1.5, ">= 1.5")],
        )
    });
    rows.iter().any(|row| row.failure.is_some())
}

fn big_file() -> bool {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let master = tempfile::tempdir_in(DISK).unwrap();
    let master = master.path().join("master");
    // In pieces: what this process holds counts as the child's, until it runs.
    let block = content(2, BLOCK_SIZE);
    let mut file = fs::File::create(&master).unwrap();
    for _ in 0..BIG_SIZE / BLOCK_SIZE {
        file.write_all(&block).unwrap();
    }
    let rows = rounds(&BIG_CLIENTS, &server, BIG_ROUNDS, |dir| {
        let path = dir.join("big.mp4");
        fs::copy(&master, &path).unwrap();
    });
    println!(
        "\n## One file of {} MiB, Plain vsftpd, {BIG_ROUNDS} rounds\n\n\
         | client | MB/s, median | lowest .. highest | CPU s | RSS MiB |\n|---|---|---|---|---|",
        BIG_SIZE >> 20
    );
    let rate = |row: &Row| {
        median(
            &row.wall_s
                .iter()
                .map(|s| BIG_SIZE as f64 / 1e6 / s)
                .collect::<Vec<_>>(),
        )
    };
    print_rows(&rows, |row| {
        let (middle, low, high) = rate(row);
        format!(
            "{middle:.0} | {low:.0} .. {high:.0} | {:.3} | {:.1}",
            median(&row.cpu_s).0,
            row.rss_kib as f64 / 1024.0
        )
    });
    budgets(&rows, |ours, peer| {
        let speed = rate(ours).0 / rate(peer).0;
        let cpu = median(&ours.cpu_s).0 / median(&peer.cpu_s).0;
        (
            speed,
            vec![
                ("speed", speed, speed >= 1.0, ">= 1"),
                ("CPU time", cpu, cpu <= 0.5, "<= 0.5"),
            ],
        )
    });
    rows.iter().any(|row| row.failure.is_some())
}

/// Every client once in each round, each with new files that `make` puts there.
fn rounds(clients: &[Client], server: &Server, rounds: usize, make: impl Fn(&Path)) -> Vec<Row> {
    let mut rows: Vec<Row> = clients
        .iter()
        .filter(|client| client.can_reach(server))
        .map(|client| Row {
            client: *client,
            wall_s: Vec::new(),
            cpu_s: Vec::new(),
            rss_kib: 0,
            failure: None,
        })
        .collect();
    let count = rows.len();
    for round in 0..rounds {
        for turn in 0..count {
            let row = &mut rows[(round + turn) % count];
            if row.failure.is_none() {
                row.failure = run(row, server, &make).err();
            }
        }
    }
    rows
}

fn run(row: &mut Row, server: &Server, make: &impl Fn(&Path)) -> Result<(), String> {
    let world = tempfile::tempdir_in(DISK).unwrap();
    let files = world.path().join("files");
    fs::create_dir(&files).unwrap();
    make(&files);
    age(&files);
    // The sources are gone after `once`; their names and bytes are kept here.
    let kept = world.path().join("kept");
    fs::create_dir(&kept).unwrap();
    for path in peers::paths(&files) {
        let name = Path::new(&path).file_name().unwrap();
        fs::hard_link(&path, kept.join(name)).unwrap();
    }
    let errand = Errand {
        server,
        at: server.addr(),
        files,
    };
    let run = measure(&mut row.client.command(&errand));
    let arrived = take_away(server, &kept);
    if !run.status.success() || arrived.is_err() {
        let last = run.stderr.lines().last().unwrap_or_default();
        let why = arrived.err().unwrap_or_default();
        return Err(format!("{}: {why} {last}", run.status));
    }
    row.wall_s.push(run.wall.as_secs_f64());
    row.cpu_s.push(run.cpu.as_secs_f64());
    row.rss_kib = row.rss_kib.max(run.rss_max);
    Ok(())
}

/// Checks that the server has these files and no others, and removes them.
fn take_away(server: &Server, kept: &Path) -> Result<(), String> {
    let mut verdict = Ok(());
    for path in peers::paths(kept) {
        let name = Path::new(&path).file_name().unwrap();
        let arrived = server.root().join(name);
        if !same(Path::new(&path), &arrived) {
            verdict = Err(format!("{} did not arrive whole.", name.display()));
        }
        let _ = fs::remove_file(arrived);
    }
    for rest in peers::paths(&server.root()) {
        verdict = Err(format!("{} was left behind.", rest.display()));
        let _ = fs::remove_file(rest);
    }
    verdict
}

fn same(one: &Path, other: &Path) -> bool {
    let (Ok(mut one), Ok(mut other)) = (fs::File::open(one), fs::File::open(other)) else {
        return false;
    };
    let (mut left, mut right) = (vec![0; BLOCK_SIZE], vec![0; BLOCK_SIZE]);
    loop {
        let n = one.read(&mut left).unwrap();
        // A file that is read to its end gives nothing more, on both sides.
        let wanted = if n == 0 { 1 } else { n };
        let mut got = 0;
        while got < wanted {
            match other.read(&mut right[got..wanted]).unwrap() {
                0 => break,
                more => got += more,
            }
        }
        if got != n || left[..n] != right[..n] {
            return false;
        }
        if n == 0 {
            return true;
        }
    }
}

fn print_rows(rows: &[Row], cells: impl Fn(&Row) -> String) {
    for row in rows {
        match &row.failure {
            None => println!("| {} | {} |", row.client.name(), cells(row)),
            Some(why) => println!("| {} | FAILED: {why} |", row.client.name()),
        }
    }
}

type Budget = (&'static str, f64, bool, &'static str);

/// Compares each of ours with the peer that it does worst against.
fn budgets(rows: &[Row], compare: impl Fn(&Row, &Row) -> (f64, Vec<Budget>)) {
    println!();
    let (peers, ours): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .filter(|row| row.failure.is_none())
        .partition(|row| row.client.is_peer());
    for ours in ours {
        let best = peers
            .iter()
            .map(|peer| (peer, compare(ours, peer)))
            .min_by(|a, b| a.1.0.total_cmp(&b.1.0));
        let Some((peer, (_, budgets))) = best else {
            continue;
        };
        for (what, ratio, held, bound) in budgets {
            println!(
                "- {}: {what} {ratio:.2} of the best peer's ({}), budget {bound}: {}",
                ours.client.name(),
                peer.client.name(),
                if held { "OK" } else { "MISSED" }
            );
        }
    }
}

const CLIENTS: [Client; 8] = [
    Client::Once,
    Client::Lftp,
    Client::Send,
    Client::LftpTemporary,
    Client::LftpMirror,
    Client::Curl,
    Client::Ncftpput,
    Client::Rclone,
];
const BIG_CLIENTS: [Client; 5] = [
    Client::Once,
    Client::Lftp,
    Client::Send,
    Client::Curl,
    Client::Ncftpput,
];
const SMALL_COUNT: usize = 500;
const SMALL_SIZE: usize = 4096;
const SMALL_ROUNDS: usize = 5;
const BIG_SIZE: usize = 1 << 30;
const BLOCK_SIZE: usize = 64 << 10;
const BIG_ROUNDS: usize = 5;
const RAM_DISK: &str = "/dev/shm";
const DISK: &str = env!("CARGO_TARGET_TMPDIR");
