//! `kill -9` of a running agent at random moments, while files are written and
//! uploaded: nothing is lost, nothing unfinished stands under a final name, and
//! no file is delivered twice. And SIGTERM, which parks a transfer.
//!
//! `EDGESPOOL_CRASHES` is the number of kills, `EDGESPOOL_SEED` repeats the
//! random choices of a run (its moments still depend on the machine).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::proxy::{Channel, End, Proxy, Way};
use common::servers::{Kind, Server, Variant};
use common::{Agent, SmallDisk, Tree, content, number, seed, wait_until};

/// A file that was begun: its content's seed and size.
type Shot = (u64, usize);

/// Every file that was begun, by its path below the watched directory.
type Shots = BTreeMap<PathBuf, Shot>;

/// A program that writes files as cameras do, until told to stop.
struct Camera {
    shots: Arc<Mutex<Shots>>,
    arrived: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    fn start(dir: PathBuf, seed: u64) -> Self {
        let mut camera = Self {
            shots: Arc::default(),
            arrived: Arc::default(),
            stop: Arc::default(),
            thread: None,
        };
        let (shots, arrived) = (Arc::clone(&camera.shots), Arc::clone(&camera.arrived));
        let stop = Arc::clone(&camera.stop);
        camera.thread = Some(thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                // A slow machine gets no more to do than it can.
                if n < arrived.load(Ordering::Relaxed) as u64 + AHEAD_MAX {
                    n += 1;
                    shoot(&dir, n, &mut rng, &shots);
                }
                thread::sleep(Duration::from_millis(rng.u64(0..150)));
            }
        }));
        camera
    }

    fn stop(mut self) -> Shots {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        std::mem::take(&mut *self.shots.lock().unwrap())
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes one file: under a temporary name that is changed, or in place.
fn shoot(dir: &Path, n: u64, rng: &mut fastrand::Rng, shots: &Mutex<Shots>) {
    let sizes = [0, 1, 3_000, 60_000, 200_000, 400_000];
    let size = sizes[rng.usize(..sizes.len())];
    let bytes = content(n, size);
    let day = format!("day-{}", n / 100);
    fs::create_dir_all(dir.join(&day)).unwrap();
    let path = Path::new(&day).join(format!("image-{n}.jpg"));
    shots.lock().unwrap().insert(path.clone(), (n, size));
    let (target, temporary) = (dir.join(&path), dir.join(path.with_extension("tmp")));
    if rng.bool() {
        fs::write(&temporary, &bytes).unwrap();
        fs::rename(&temporary, &target).unwrap();
        return;
    }
    let mut file = File::create(&target).unwrap();
    for piece in bytes.chunks(bytes.len() / 3 + 1) {
        file.write_all(piece).unwrap();
        thread::sleep(Duration::from_millis(rng.u64(0..20)));
    }
}

/// What stands on the server under final names, and that it stays the same file.
#[derive(Default)]
struct Arrivals {
    inodes: BTreeMap<PathBuf, u64>,
    /// Looks that met an unfinished upload.
    partial: usize,
}

impl Arrivals {
    /// Looks at everything that is new, and at whether the old is untouched.
    fn look(&mut self, server: &Server, camera: &Mutex<Shots>, when: &str) {
        let (root, mut partial) = (server.root(), false);
        for dir in fs::read_dir(&root).unwrap() {
            for entry in fs::read_dir(dir.unwrap().path()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if name.starts_with('.') && name.ends_with(".part") {
                    partial = true;
                    continue;
                }
                let below = path.strip_prefix(&root).unwrap().to_owned();
                // An upload of the same again would be another file here: it is
                // made under its temporary name while this one stands.
                let identity = fs::metadata(&path).unwrap().ino();
                let first = *self.inodes.entry(below.clone()).or_insert_with(|| {
                    let there = fs::read(&path).unwrap();
                    let shot = camera.lock().unwrap().get(&below).copied();
                    let (n, size) = shot.unwrap_or_else(|| panic!("{when}: {below:?} is nobody's"));
                    let count = there.len();
                    assert!(
                        there == content(n, size),
                        "{when}: {below:?} has {count} of {size} bytes"
                    );
                    identity
                });
                assert_eq!(first, identity, "{when}: {below:?} was delivered twice");
            }
        }
        self.partial += usize::from(partial);
    }
}

/// A moment to kill at: after some time, or when some bytes are on their way.
fn wait_for_the_moment(proxy: &Proxy, rng: &mut fastrand::Rng) {
    if rng.bool() {
        return thread::sleep(Duration::from_millis(rng.u64(5..600)));
    }
    let sent = || proxy.delivered(Channel::Data, Way::ToServer);
    let (enough, deadline) = (sent() + rng.u64(1..600_000), Instant::now() + MOMENT_MAX);
    while sent() < enough && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// How the files come into the spool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    /// By a rename on one filesystem.
    Rename,
    /// By a copy from another filesystem, after which the source goes.
    Across,
    /// By a copy of a source that stays.
    Copy,
}

/// The spool on another disk, where the intake asks for it.
fn set_up(agent: &Agent, intake: Intake) -> Option<SmallDisk> {
    let config = std::fs::read_to_string(agent.config()).unwrap();
    match intake {
        Intake::Rename => None,
        Intake::Across => {
            let disk = SmallDisk::new(64 << 20);
            let dir = format!("dir = \"{}\"", disk.path().join("spool").display());
            agent.write_config(&config.replace("dir = \"spool\"", &dir));
            Some(disk)
        }
        Intake::Copy => {
            agent.write_config(&config.replace("quiet =", "take = \"copy\"\nquiet ="));
            None
        }
    }
}

fn crash_often(kind: Kind, variant: Variant, intake: Intake, crashes: usize) {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = Server::start(kind, variant);
    let proxy = Proxy::before(&server);
    // Slow enough that a kill often meets an upload.
    proxy.limit(3_000_000);
    let mut agent = Agent::for_server(&server, Some(proxy.addr()), "stall_timeout = \"10s\"\n");
    let _disk = set_up(&agent, intake);
    let camera = Camera::start(agent.watched(), seed);
    let mut arrivals = Arrivals::default();
    for n in 0..crashes {
        agent.start(&["-v", "run"]);
        wait_for_the_moment(&proxy, &mut rng);
        let output = agent.kill();
        let when = format!("seed {seed}, kill {n}");
        assert_eq!(output.signal, Some(9), "{when}: {output:#?}");
        arrivals.look(&server, &camera.shots, &when);
        let arrived = arrivals.inodes.len();
        camera.arrived.store(arrived, Ordering::Relaxed);
    }
    let (early, partial) = (arrivals.inodes.len(), arrivals.partial);
    let shots = camera.stop();
    proxy.limit(0);
    let output = agent.command(&["-v", "once", "--patience", "100s"]);
    let all = shots.len();
    println!("{all} files, {early} there at the last kill; {partial} kills met an upload");
    assert!(early > 0 && partial > 0, "the kills met no work");
    let bytes = |path: &Path| path.to_str().unwrap().as_bytes().to_vec();
    let expected = shots
        .iter()
        .map(|(p, (n, size))| (bytes(p), content(*n, *size)));
    Tree::read(&server.root()).assert_same(&Tree(expected.collect()));
    arrivals.look(&server, &Mutex::new(shots.clone()), "at the end");
    output.expect(0);
    let left = Tree::read(&agent.watched()).0.len();
    let expected = if intake == Intake::Copy { all } else { 0 };
    assert_eq!(left, expected, "files at the source");
    assert_receipts(&agent, &shots);
}

/// Panics unless the ledger has one receipt for each file, and no other.
fn assert_receipts(agent: &Agent, shots: &Shots) {
    let history = agent.command(&["history", "--json"]).expect(0).stdout;
    let mut receipts = BTreeMap::new();
    for line in history.lines() {
        let receipt: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = PathBuf::from(receipt["path"].as_str().unwrap());
        let size = receipt["size"].as_u64().unwrap() as usize;
        assert_eq!(receipt["remote"], format!("/{}", path.display()));
        assert!(receipts.insert(path, size).is_none(), "twice: {line}");
    }
    let expected = shots.iter().map(|(path, (_, size))| (path.clone(), *size));
    assert_eq!(receipts, expected.collect());
}

/// How often to kill.
fn crashes() -> usize {
    number("EDGESPOOL_CRASHES").unwrap_or(200) as usize
}

#[test]
fn nothing_is_lost_or_doubled_by_two_hundred_kills() {
    crash_often(Kind::Vsftpd, Variant::Plain, Intake::Rename, crashes());
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_with_tls() {
    crash_often(
        Kind::Proftpd,
        Variant::ExplicitReuse,
        Intake::Rename,
        crashes() / 4,
    );
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_with_a_spool_on_another_filesystem() {
    crash_often(Kind::Vsftpd, Variant::Plain, Intake::Across, crashes() / 4);
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_while_sources_stay() {
    crash_often(Kind::Vsftpd, Variant::Plain, Intake::Copy, crashes() / 4);
}

#[test]
fn sigterm_parks_a_transfer_that_goes_on_later() {
    for (kind, variant) in [
        (Kind::Vsftpd, Variant::Plain),
        (Kind::Pyftpdlib, Variant::Explicit),
    ] {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        // All of it would take half a minute.
        proxy.limit(100_000);
        let mut agent = Agent::for_server(&server, Some(proxy.addr()), "");
        let bytes = content(1, 3_000_000);
        fs::write(agent.watched().join("large.bin"), &bytes).unwrap();
        agent.start(&["-v", "run"]);
        let sent = || proxy.delivered(Channel::Data, Way::ToServer);
        wait_until("some of it is sent", || sent() > 300_000);
        agent.signal("TERM");
        agent.wait().expect(0);
        assert_eq!(server.get("large.bin"), None, "{server:?}");
        // What the kernel still held for the slow link is lost with it.
        proxy.cut(End::Close);
        proxy.limit(0);
        // The last records of TLS come to nothing.
        let stored = || {
            Tree::read(&server.root())
                .0
                .values()
                .map(Vec::len)
                .sum::<usize>()
        };
        wait_until("the rest is stored", || stored() as u64 + 40_000 > sent());
        let output = agent.command(&["-v", "once"]).expect(0);
        assert!(
            server.get("large.bin").as_ref() == Some(&bytes),
            "{server:?}"
        );
        assert_eq!(Tree::read(&server.root()).0.len(), 1, "{server:?}");
        let (sent, most) = (sent(), 3_100_000);
        assert!(sent <= most, "{sent} bytes sent; log:\n{}", output.stderr);
    }
}

/// Files that may wait for their delivery.
const AHEAD_MAX: u64 = 100;

/// The longest wait for a moment; the kill comes then, whatever was met.
const MOMENT_MAX: Duration = Duration::from_secs(2);
