//! What an idle agent costs: memory, wake-ups, and the size of the binary.
//!
//! `cargo bench --bench footprint [-- BINARY...]` measures the bench's own
//! binary, or those that are named, for instance static ones:
//!
//! ```text
//! RUSTFLAGS="-C target-feature=+crt-static" \
//!   cargo build --release --target x86_64-unknown-linux-gnu
//! cargo build --release --target x86_64-unknown-linux-musl
//! ```
//!
//! `--queued N` first lets each agent take N files. Its server never says a word,
//! so they stay queued; the wake-ups are then those of its retries. No root needed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

fn main() -> ExitCode {
    let mut queued = 0;
    let mut binaries = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {}
            "--queued" => queued = args.next().unwrap().parse().unwrap(),
            binary => binaries.push(PathBuf::from(binary)),
        }
    }
    if binaries.is_empty() {
        binaries.push(PathBuf::from(env!("CARGO_BIN_EXE_edgespool")));
    }
    println!(
        "{queued} files queued, idle for {} s\n\n\
         | binary | size MB | RSS MiB | of it private | threads | wake-ups |\n\
         |---|---|---|---|---|---|",
        WATCHED.as_secs()
    );
    let mut failed = false;
    // Side by side: they sleep.
    let agents: Vec<_> = binaries
        .iter()
        .map(|binary| Idle::start(binary, queued))
        .collect();
    for agent in &agents {
        agent.wait_for_queue(queued);
    }
    sleep(SETTLES);
    let before: Vec<_> = agents.iter().map(Idle::wake_ups).collect();
    sleep(WATCHED);
    for ((agent, before), binary) in agents.iter().zip(before).zip(&binaries) {
        let (Some(before), Some(after), Some(memory)) = (before, agent.wake_ups(), agent.memory())
        else {
            println!("| {} | FAILED: it ended |", binary.display());
            failed = true;
            continue;
        };
        report(binary, after.1 - before.1, after.0, &memory, queued);
    }
    ExitCode::from(u8::from(failed))
}

fn report(binary: &Path, wake_ups: u64, threads: usize, memory: &Memory, queued: u64) {
    let size = fs::metadata(binary).unwrap().len();
    println!(
        "| {} | {:.2} | {:.2} | {:.2} | {threads} | {wake_ups} |",
        binary.display(),
        size as f64 / 1e6,
        memory.rss_kib as f64 / 1024.0,
        memory.private_kib as f64 / 1024.0,
    );
    let verdict = |held| if held { "OK" } else { "MISSED" };
    let rss_max_mib = if queued == 0 { 5 } else { 10 };
    println!(
        "- RSS budget <= {rss_max_mib} MiB: {}",
        verdict(memory.rss_kib <= rss_max_mib * 1024)
    );
    if queued == 0 {
        let wake_ups_max = WATCHED.as_secs() / 10;
        println!(
            "- wake-ups budget <= {wake_ups_max}: {}",
            verdict(wake_ups <= wake_ups_max)
        );
    }
}

struct Memory {
    rss_kib: u64,
    private_kib: u64,
}

/// A running agent with nothing to do; killed when dropped.
struct Idle {
    child: Child,
    world: tempfile::TempDir,
    /// Takes connections and never says a word.
    _server: TcpListener,
}

impl Idle {
    fn start(binary: &Path, files: u64) -> Self {
        let world = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        for n in 0..files {
            let dir = world.path().join(format!("watched/{}", n / 1000));
            if n % 1000 == 0 {
                fs::create_dir_all(&dir).unwrap();
            }
            fs::write(dir.join(format!("{n}.jpg")), [0; 100]).unwrap();
        }
        fs::create_dir_all(world.path().join("watched")).unwrap();
        let config = world.path().join("edgespool.toml");
        let text = format!(
            "device = \"bench\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n\
             [[server]]\nname = \"central\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"explicit\"\n\
             user = \"u\"\npassword = \"p\"\n\
             [[watch]]\nname = \"camera\"\ndir = \"watched\"\nserver = \"central\"\n\
             remote = \"/{{path}}\"\n",
            server.local_addr().unwrap().port(),
        );
        fs::write(&config, text).unwrap();
        let child = Command::new(binary)
            .arg("-c")
            .arg(&config)
            .arg("run")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(world.path().join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        Self {
            child,
            world,
            _server: server,
        }
    }

    /// Waits until so many files are in the spool.
    fn wait_for_queue(&self, files: u64) {
        let mut taken = 0;
        while taken < files {
            sleep(Duration::from_millis(500));
            let status = Command::new(env!("CARGO_BIN_EXE_edgespool"))
                .arg("-c")
                .arg(self.world.path().join("edgespool.toml"))
                .args(["status", "--json"])
                .output()
                .unwrap();
            let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
            taken = status["spool"]["files"].as_u64().unwrap();
        }
    }

    /// How many threads there are, and how often all of them went to sleep of
    /// their own accord; each time something had woken them.
    fn wake_ups(&self) -> Option<(usize, u64)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let counts: Option<Vec<u64>> = tasks
            .map(|task| {
                let status = fs::read_to_string(task.ok()?.path().join("status")).ok()?;
                field(&status, "voluntary_ctxt_switches:")
            })
            .collect();
        let counts = counts.filter(|counts| !counts.is_empty())?;
        Some((counts.len(), counts.iter().sum()))
    }

    fn memory(&self) -> Option<Memory> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.child.id()));
        let rollup = read("smaps_rollup").ok()?;
        Some(Memory {
            rss_kib: field(&rollup, "Rss:")?,
            private_kib: field(&rollup, "Private_Dirty:")?,
        })
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The number after a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

const SETTLES: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(60);
