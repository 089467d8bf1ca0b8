//! The spool's budgets, measured in one run on one disk:
//!
//! * durable intake, files a second, against a loop that writes, flushes,
//!   renames and flushes the directory for each file;
//! * bytes written per taken file, by this process and, where a filesystem of
//!   its own can be mounted, on the device.
//!
//! `cargo bench --bench spool [-- DIR]`; DIR is where the disk is, the temporary
//! directory by default. Root and mkfs.ext4 are needed for the bytes on the
//! device only. What a long queue costs is measured by `backlog`; after that, and
//! after any deletion of many files, ext4 makes new ones slowly for five minutes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use edgespool::spool::{How, Options, Spool, Taking};
use edgespool::sys::Sys;

/// Files that the watching offers at a time.
const BATCH: usize = edgespool::watch::BATCH_MAX;
/// Bytes of each file.
const SIZE: usize = 1000;
/// Files of one round of intake, and of the loop that is slower.
const FILES: usize = 2048;
const FILES_NAIVE: usize = 256;
const ROUNDS: usize = 3;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let base = args.iter().find(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).unwrap();
    intake(dir.path());
    writes(dir.path());
}

fn options() -> Options {
    Options {
        max_size: 1 << 40,
        min_free: 0,
        ..Options::default()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Writes files as a producer does: without a flush.
fn produce(sys: &Sys, dir: &Path, names: impl Iterator<Item = usize>, size: usize) -> Vec<Taking> {
    let content = vec![b'x'; size];
    names
        .map(|n| {
            let source = dir.join(format!("{n:07}.jpg"));
            fs::write(&source, &content).unwrap();
            Taking {
                path: format!("2026/11/{n:07}.jpg").into_bytes(),
                how: How::Move,
                closed: true,
                expect: sys.fs.meta(&source).unwrap(),
                source,
            }
        })
        .collect()
}

fn take(spool: &mut Spool, takings: &[Taking]) {
    for batch in takings.chunks(BATCH) {
        let taken = spool.take("camera", batch);
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    }
}

fn intake(dir: &Path) {
    let sys = Sys::os().unwrap();
    let source = dir.join("source");
    fs::create_dir(&source).unwrap();
    let mut spool = Spool::open(&sys, &dir.join("intake"), options()).unwrap();
    let (mut ours, mut naive) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        for batch in 0..FILES / BATCH {
            let first = round * FILES + batch * BATCH;
            let takings = produce(&sys, &source, first..first + BATCH, SIZE);
            take(&mut spool, &takings);
        }
        ours.push(FILES as f64 / begun.elapsed().as_secs_f64());
        naive.push(naive_round(dir, round));
    }
    let (ours, naive) = (median(ours), median(naive));
    println!("durable intake, files of {SIZE} bytes, median of {ROUNDS} rounds");
    println!("| | files a second |\n|---|---|");
    println!("| edgespool, batches of {BATCH} | {ours:.0} |");
    println!("| write, fsync, rename, fsync the directory | {naive:.0} |");
    println!("| ratio (budget 5) | {:.1} |\n", ours / naive);
}

fn naive_round(dir: &Path, round: usize) -> f64 {
    let (from, to) = (dir.join("naive-in"), dir.join("naive-out"));
    for dir in [&from, &to] {
        fs::create_dir_all(dir).unwrap();
    }
    let content = vec![b'x'; SIZE];
    let out = fs::File::open(&to).unwrap();
    let begun = Instant::now();
    for n in 0..FILES_NAIVE {
        let name = format!("{round}-{n}.jpg");
        let mut file = fs::File::create(from.join(&name)).unwrap();
        file.write_all(&content).unwrap();
        file.sync_all().unwrap();
        fs::rename(from.join(&name), to.join(&name)).unwrap();
        out.sync_all().unwrap();
    }
    FILES_NAIVE as f64 / begun.elapsed().as_secs_f64()
}

/// A filesystem of its own on a loop device, unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(dir: &Path) -> Option<Mounted> {
        let (image, at) = (dir.join("image"), dir.join("mounted"));
        fs::create_dir(&at).ok()?;
        fs::File::create(&image).ok()?.set_len(1 << 30).ok()?;
        let run = |command: &mut Command| {
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success()).then_some(())
        };
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop,noatime"])
            .arg(&image)
            .arg(&at))?;
        Some(Mounted(at))
    }

    /// Bytes that the device was given.
    fn written(&self) -> u64 {
        let at = fs::canonicalize(&self.0).unwrap();
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let device = mounts
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(_, rest)| rest.split(' ').next() == at.to_str())
            .map(|(device, _)| device.trim_start_matches("/dev/").to_owned());
        let stat = format!("/sys/block/{}/stat", device.unwrap());
        let stat = fs::read_to_string(stat).unwrap();
        stat.split_whitespace()
            .nth(6)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 512
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg(&self.0).status();
    }
}

/// Bytes that this process caused to be written.
fn process_written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

fn writes(dir: &Path) {
    let mounted = Mounted::new(dir);
    let dir = mounted
        .as_ref()
        .map_or(dir, |mounted| &mounted.0)
        .to_owned();
    let sys = Sys::os().unwrap();
    let (source, elsewhere) = (dir.join("from"), dir.join("elsewhere"));
    fs::create_dir(&source).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let mut spool = Spool::open(&sys, &dir.join("writes"), options()).unwrap();
    take(&mut spool, &produce(&sys, &source, 0..BATCH, SIZE));
    let takings = produce(&sys, &source, BATCH..BATCH + FILES, SIZE);
    let device = || {
        sys.fs.sync_fs(&dir).unwrap();
        mounted.as_ref().map(Mounted::written)
    };
    let (process_before, device_before) = (process_written(), device());
    take(&mut spool, &takings);
    let (process, after) = (process_written() - process_before, device());
    let per_file = |bytes: u64| format!("{:.0}", bytes as f64 / FILES as f64);
    // What the filesystem itself writes for two renames, one flush a batch.
    let renames = produce(&sys, &source, BATCH + FILES..BATCH + 2 * FILES, SIZE);
    let before_renames = device();
    for batch in renames.chunks(BATCH) {
        for taking in batch {
            let to = elsewhere.join(taking.source.file_name().unwrap());
            fs::rename(&taking.source, to).unwrap();
        }
        sys.fs.sync_dir(&elsewhere).unwrap();
    }
    let after_renames = device();
    let shown = |after: Option<u64>, before: Option<u64>| match (after, before) {
        (Some(after), Some(before)) => per_file(after - before),
        _ => "not root".to_owned(),
    };
    println!("bytes written per taken file, content written before, batches of {BATCH}");
    println!("| | bytes |\n|---|---|");
    println!("| by this process (budget 512) | {} |", per_file(process));
    println!(
        "| on the device, all of the filesystem's | {} |",
        shown(after, device_before)
    );
    println!(
        "| on the device for the renames alone | {} |\n",
        shown(after_renames, before_renames)
    );
}
