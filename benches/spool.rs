//! The spool's budgets, measured in one run on one disk:
//!
//! * durable intake, files a second, against a loop that writes, flushes,
//!   renames and flushes the directory for each file;
//! * bytes written per taken file, by this process and, where a filesystem of
//!   its own can be mounted, on the device;
//! * start and memory with a long queue: of the spool, and of the whole agent
//!   until it connects to its server.
//!
//! `cargo bench --bench spool [-- DIR]`; DIR is where the disk is, the temporary
//! directory by default. Root and mkfs.ext4 are needed for the bytes on the
//! device only. The queue of a million files is made on the real disk, with
//! flushes left out, and takes some minutes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::any::Any;
use std::fs;
use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edgespool::spool::{How, Options, Order, Spool, Taking};
use edgespool::sys::{Create, DirEntry, File, Fs, Meta, Space, Sys, Writers};

/// Files that the watching offers at a time.
const BATCH: usize = edgespool::watch::BATCH_MAX;
/// Bytes of each file.
const SIZE: usize = 1000;
/// Files of one round of intake, and of the loop that is slower.
const FILES: usize = 2048;
const FILES_NAIVE: usize = 256;
const ROUNDS: usize = 3;
/// Queues to start with.
const QUEUES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [command, dir] = &args[..]
        && command == "--start"
    {
        return start(Path::new(dir));
    }
    let base = args.iter().find(|arg| !arg.starts_with('-'));
    let base = base.map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(base).unwrap();
    intake(dir.path());
    writes(dir.path());
    queues(dir.path());
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

fn queues(dir: &Path) {
    println!("start with a queue");
    println!("| files | open ms | next 8 ms | spool RSS MiB | agent connects ms | agent RSS MiB |");
    println!("|---|---|---|---|---|---|");
    let mut queue = Queue::new(dir);
    for files in QUEUES {
        queue.grow(files);
        let me = std::env::current_exe().unwrap();
        let output = Command::new(me).arg("--start").arg(&queue.spool).output();
        let output = String::from_utf8(output.unwrap().stdout).unwrap();
        let (connects, agent) = queue.run_agent();
        println!("| {files} | {} | {connects} | {agent:.1} |", output.trim());
    }
}

/// A spool with one lane that only grows.
struct Queue {
    dir: PathBuf,
    spool: PathBuf,
    files: usize,
}

impl Queue {
    fn new(dir: &Path) -> Queue {
        let queue = Queue {
            dir: dir.join("queue"),
            spool: dir.join("queue/spool"),
            files: 0,
        };
        fs::create_dir_all(queue.dir.join("source")).unwrap();
        queue
    }

    fn grow(&mut self, files: usize) {
        let mut sys = Sys::os().unwrap();
        sys.fs = Arc::new(Unflushed(sys.fs.clone()));
        let mut spool = Spool::open(&sys, &self.spool, options()).unwrap();
        while self.files < files {
            let next = (self.files + 8 * BATCH).min(files);
            let source = self.dir.join("source");
            take(&mut spool, &produce(&sys, &source, self.files..next, 0));
            self.files = next;
        }
    }

    /// Milliseconds until the agent connects, and its memory a while later.
    fn run_agent(&self) -> (u128, f64) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let config = self.dir.join("edgespool.toml");
        let text = format!(
            "[spool]\ndir = \"spool\"\nmin_free = \"0\"\nmax_size = \"100GiB\"\n\
             [[server]]\nname = \"s\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
             user = \"u\"\npassword = \"p\"\n\
             [[watch]]\nname = \"camera\"\ndir = \"source\"\nserver = \"s\"\n"
        );
        fs::write(&config, text).unwrap();
        let begun = Instant::now();
        let mut agent = Command::new(env!("CARGO_BIN_EXE_edgespool"))
            .arg("-c")
            .arg(&config)
            .arg("run")
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let connection = server.accept().unwrap();
        let connects = begun.elapsed().as_millis();
        std::thread::sleep(Duration::from_secs(1));
        let memory = peak_mib(&agent.id().to_string());
        drop(connection);
        agent.kill().unwrap();
        agent.wait().unwrap();
        (connects, memory)
    }
}

/// Opens a spool in a process of its own; prints times and memory.
fn start(dir: &Path) {
    let sys = Sys::os().unwrap();
    let begun = Instant::now();
    let mut spool = Spool::open(&sys, dir, options()).unwrap();
    let opened = begun.elapsed().as_secs_f64() * 1e3;
    let window = spool.window("camera", Order::Oldest, 8, &|_| false);
    let read = begun.elapsed().as_secs_f64() * 1e3 - opened;
    assert_eq!(window.unwrap().len(), 8);
    println!("{opened:.1} | {read:.1} | {:.1}", peak_mib("self"));
}

/// The most memory that a process ever had.
fn peak_mib(pid: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<f64>().unwrap() / 1024.0
}

/// The disk without its flushes, to make a long queue in less than an hour.
struct Unflushed(Arc<dyn Fs>);

struct UnflushedFile(Box<dyn File>);

impl File for UnflushedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
    fn meta(&self) -> io::Result<Meta> {
        self.0.meta()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Fs for Unflushed {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(UnflushedFile(self.0.open(path)?)))
    }
    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        Ok(Box::new(UnflushedFile(self.0.create(path, create)?)))
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.0.meta(path)
    }
    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        self.0.read_dir(path, each)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_fs(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.0.lock(path)
    }
    fn writers(&self, path: &Path) -> io::Result<Writers> {
        self.0.writers(path)
    }
}
