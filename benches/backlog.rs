//! What a long queue costs, at 1,000, 10,000, 100,000 and 1,000,000 files:
//!
//! * recovery: the time to open the spool and to find the next eight files, and
//!   the memory that this takes;
//! * the agent: the time from its start to its first file on a server, and its
//!   memory;
//! * delivery: processor time and I/O per file, at 1,000 and at 1,000,000, in
//!   turns;
//! * `queue list`: the memory that it takes.
//!
//! `cargo bench --bench backlog [-- DIR]`; DIR is where the disk is, the temporary
//! directory by default. Needs root, for the test server. The queue is made on the
//! real disk, with flushes left out, and takes some minutes. The exit code is 1
//! when a budget is missed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "backlog/queue.rs"]
mod queue;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::servers::{Kind, Server, Variant};
use edgespool::spool::{Order, Spool};
use edgespool::sys::Sys;
use queue::Queue;

/// Queues to start with.
const QUEUES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// Turns of delivery from a short and from a long queue.
const ROUNDS: usize = 8;
/// Files that are delivered before and until the end of what is measured.
const DELIVERED: [usize; 2] = [100, 900];
/// The longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, dir] = &args[..]
        && command == "--start"
    {
        start(Path::new(dir));
        return ExitCode::SUCCESS;
    }
    let base = args.iter().find(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).unwrap();
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut queue = Queue::new(&dir.path().join("long"));
    let mut held = starts(&mut queue, &server);
    held &= deliveries(dir.path(), &queue, &server);
    held &= list(&queue);
    ExitCode::from(u8::from(!held))
}

fn starts(queue: &mut Queue, server: &Server) -> bool {
    println!("start with a queue");
    println!(
        "| files | open ms | next 8 ms | spool RSS MiB | agent stores after ms | agent RSS MiB |"
    );
    println!("|---|---|---|---|---|---|");
    let mut held = true;
    for files in QUEUES {
        queue.grow(files);
        let me = std::env::current_exe().unwrap();
        let output = Command::new(me).arg("--start").arg(&queue.spool).output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        let run = Run::of(queue, server);
        let (stores, rss) = (run.stores.as_millis(), run.rss_mib);
        println!("| {files} | {} | {stores} | {rss:.1} |", output.trim());
        held &= stores <= 1_000 && rss <= 10.0;
    }
    println!("- budgets 1000 ms and 10 MiB: {}\n", verdict(held));
    held
}

/// Processor time and I/O of a process so far.
#[derive(Clone, Copy, Default)]
struct Cost {
    files: f64,
    cpu_ms: f64,
    calls: f64,
    written: f64,
    to_disk: f64,
}

impl Cost {
    fn of(pid: u32, files: usize) -> Cost {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let field = |n: usize| fields.split_whitespace().nth(n).unwrap();
        let ticks = |n| field(n).parse::<f64>().unwrap();
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let count = |name: &str| {
            let line = io.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse::<f64>().unwrap()
        };
        Cost {
            files: files as f64,
            // Ticks of a hundredth of a second, user and system.
            cpu_ms: (ticks(11) + ticks(12)) * 10.0,
            calls: count("syscr:") + count("syscw:"),
            written: count("wchar:"),
            to_disk: count("write_bytes:"),
        }
    }

    fn with(self, other: Cost, sign: f64) -> Cost {
        Cost {
            files: self.files + sign * other.files,
            cpu_ms: self.cpu_ms + sign * other.cpu_ms,
            calls: self.calls + sign * other.calls,
            written: self.written + sign * other.written,
            to_disk: self.to_disk + sign * other.to_disk,
        }
    }
}

/// What one run of an agent showed.
struct Run {
    stores: Duration,
    rss_mib: f64,
    cost: Cost,
}

impl Run {
    /// Runs an agent until it delivered some files, into an empty server.
    fn of(queue: &Queue, server: &Server) -> Run {
        for entry in fs::read_dir(server.root()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        let config = queue.config(server);
        let begun = Instant::now();
        let mut agent = edgespool(&config, &["run"]);
        let there = |any: bool| {
            let names = fs::read_dir(server.root()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name());
            names
                .filter(|name| any || !name.as_encoded_bytes().starts_with(b"."))
                .count()
        };
        let until = |files: usize, any: bool| {
            while there(any) < files {
                assert!(begun.elapsed() < WAIT_MAX, "no {files} files arrived");
                sleep(Duration::from_millis(2));
            }
        };
        until(1, true);
        let stores = begun.elapsed();
        let at = DELIVERED.map(|files| {
            until(files, false);
            Cost::of(agent.id(), there(false))
        });
        let rss_mib = peak_mib(agent.id()).unwrap();
        let pid = agent.id().to_string();
        Command::new("kill").arg(pid).status().unwrap();
        agent.wait().unwrap();
        Run {
            stores,
            rss_mib,
            cost: at[1].with(at[0], -1.0),
        }
    }
}

fn deliveries(dir: &Path, long: &Queue, server: &Server) -> bool {
    let mut costs = [Cost::default(); 2];
    for round in 0..ROUNDS {
        let mut short = Queue::new(&dir.join(format!("short-{round}")));
        short.grow(QUEUES[0]);
        for turn in [round % 2, 1 - round % 2] {
            let run = Run::of([&short, long][turn], server);
            costs[turn] = costs[turn].with(run.cost, 1.0);
        }
    }
    let names = [QUEUES[0], QUEUES[QUEUES.len() - 1]];
    println!("cost of a delivered file, of 1000 bytes, {ROUNDS} rounds in turns");
    println!(
        "| files queued | CPU ms | read and write calls | bytes written | bytes to the disk |"
    );
    println!("|---|---|---|---|---|");
    for (name, cost) in names.iter().zip(costs) {
        let per = |sum: f64| sum / cost.files;
        println!(
            "| {name} | {:.3} | {:.1} | {:.0} | {:.0} |",
            per(cost.cpu_ms),
            per(cost.calls),
            per(cost.written),
            per(cost.to_disk)
        );
    }
    let of = |what: fn(&Cost) -> f64| {
        let [short, long] = costs.map(|cost| what(&cost) / cost.files);
        long / short
    };
    let ratios = [of(|c| c.cpu_ms), of(|c| c.calls), of(|c| c.to_disk)];
    let held = ratios.iter().all(|&ratio| ratio <= 1.1);
    let [cpu, calls, disk] = ratios;
    let verdict = verdict(held);
    println!("- ratios, budget 1.10: CPU {cpu:.2}, calls {calls:.2}, disk {disk:.2}: {verdict}\n");
    held
}

fn list(queue: &Queue) -> bool {
    let begun = Instant::now();
    let mut list = edgespool(&queue.dir.join("edgespool.toml"), &["queue", "list"]);
    let mut rss_mib: f64 = 0.0;
    while list.try_wait().unwrap().is_none() {
        rss_mib = rss_mib.max(peak_mib(list.id()).unwrap_or(0.0));
        sleep(Duration::from_millis(10));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let held = rss_mib <= 10.0;
    let verdict = verdict(held);
    println!("queue list of all: {seconds:.1} s, RSS {rss_mib:.1} MiB (budget 10): {verdict}");
    held
}

fn verdict(held: bool) -> &'static str {
    if held { "OK" } else { "MISSED" }
}

fn edgespool(config: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_edgespool"))
        .arg("-c")
        .arg(config)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Opens a spool in a process of its own; prints times and memory.
fn start(dir: &Path) {
    let sys = Sys::os().unwrap();
    let begun = Instant::now();
    let mut spool = Spool::open(&sys, dir, queue::options()).unwrap();
    let opened = begun.elapsed().as_secs_f64() * 1e3;
    let window = spool.window("camera", Order::Oldest, 8, &|_| false);
    let read = begun.elapsed().as_secs_f64() * 1e3 - opened;
    assert_eq!(window.unwrap().len(), 8);
    let rss = peak_mib(std::process::id()).unwrap();
    println!("{opened:.1} | {read:.1} | {rss:.1}");
}

/// The most memory that a process ever had; `None` when it is gone.
fn peak_mib(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.trim().trim_end_matches(" kB");
    Some(kib.parse::<f64>().ok()? / 1024.0)
}
