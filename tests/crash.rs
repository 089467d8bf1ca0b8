//! `kill -9` of a running agent at random moments, while files are written and
//! uploaded: nothing is lost, nothing unfinished stands under a final name, and
//! no file is delivered twice. And SIGTERM, which parks a transfer.
//!
//! `EDGESPOOL_CRASHES` is the number of kills, `EDGESPOOL_SEED` repeats the
//! random choices of a run (its moments still depend on the machine).

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::proxy::{Channel, End, Proxy, Way};
use common::servers::{Kind, Server, Variant};
use common::{Agent, Tree, content, wait_until};

/// Every file that was begun, by its path below the watched directory.
type Written = Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>;

/// A program that writes files as cameras do, until told to stop.
struct Camera {
    written: Written,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Camera {
    fn start(dir: PathBuf, seed: u64) -> Self {
        let (written, stop) = (Written::default(), Arc::new(AtomicBool::new(false)));
        let (all, ended) = (Arc::clone(&written), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut n = 0;
            while !ended.load(Ordering::Relaxed) {
                n += 1;
                shoot(&dir, n, &mut rng, &all);
                thread::sleep(Duration::from_millis(rng.u64(0..150)));
            }
        });
        Self {
            written,
            stop,
            thread,
        }
    }

    fn stop(self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut *self.written.lock().unwrap())
    }
}

/// Writes one file: under a temporary name that is changed, or in place.
fn shoot(dir: &Path, n: u64, rng: &mut fastrand::Rng, written: &Written) {
    let sizes = [0, 1, 3_000, 60_000, 200_000, 400_000];
    let bytes = content(n, sizes[rng.usize(..sizes.len())]);
    let day = format!("day-{}", n / 100);
    fs::create_dir_all(dir.join(&day)).unwrap();
    let path = Path::new(&day).join(format!("image-{n}.jpg"));
    written.lock().unwrap().insert(path.clone(), bytes.clone());
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
struct Arrivals(BTreeMap<PathBuf, u64>);

impl Arrivals {
    /// Looks at everything that is new, and at whether the old is untouched.
    fn look(&mut self, server: &Server, written: &BTreeMap<PathBuf, Vec<u8>>, when: &str) {
        let root = server.root();
        for dir in fs::read_dir(&root).unwrap() {
            for entry in fs::read_dir(dir.unwrap().path()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap();
                if name.starts_with('.') && name.ends_with(".part") {
                    continue;
                }
                let below = path.strip_prefix(&root).unwrap().to_owned();
                // An upload of the same again would be another file here: it is
                // made under its temporary name while this one stands.
                let identity = fs::metadata(&path).unwrap().ino();
                let first = *self.0.entry(below.clone()).or_insert_with(|| {
                    let there = fs::read(&path).unwrap();
                    let expected = written.get(&below);
                    assert!(
                        expected == Some(&there),
                        "{when}: {below:?} has {} bytes, written were {:?}",
                        there.len(),
                        expected.map(Vec::len)
                    );
                    identity
                });
                assert_eq!(first, identity, "{when}: {below:?} was delivered twice");
            }
        }
    }
}

fn crash_often(kind: Kind, variant: Variant, crashes: u64) {
    let seed = number("EDGESPOOL_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("EDGESPOOL_SEED={seed} repeats this");
    let mut rng = fastrand::Rng::with_seed(seed);
    let server = Server::start(kind, variant);
    let proxy = Proxy::before(&server);
    // Slow enough that a kill often meets an upload.
    proxy.limit(3_000_000);
    let mut agent = Agent::for_server(&server, Some(proxy.addr()), "stall_timeout = \"5s\"\n");
    let camera = Camera::start(agent.watched(), seed);
    let mut arrivals = Arrivals::default();
    let begun = Instant::now();
    for n in 0..crashes {
        if begun.elapsed() > TIME_MAX {
            println!("{n} kills in {TIME_MAX:?}; the machine is too slow for {crashes}");
            break;
        }
        agent.start(&["-v", "run"]);
        thread::sleep(Duration::from_millis(rng.u64(5..600)));
        let output = agent.kill();
        let when = format!("seed {seed}, kill {n}");
        assert_eq!(output.signal, Some(9), "{when}: {output:#?}");
        arrivals.look(&server, &camera.written.lock().unwrap(), &when);
    }
    let early = arrivals.0.len();
    let written = camera.stop();
    proxy.limit(0);
    let output = agent.command(&["-v", "once", "--patience", "60s"]);
    println!(
        "{} files, {early} of them before the last kill",
        written.len()
    );
    arrivals.look(&server, &written, &format!("seed {seed}, at the end"));
    let bytes = |path: &Path| path.to_str().unwrap().as_bytes().to_vec();
    let expected = Tree(written.iter().map(|(p, c)| (bytes(p), c.clone())).collect());
    Tree::read(&server.root()).assert_same(&expected);
    output.expect(0);
    assert!(
        Tree::read(&agent.watched()).0.is_empty(),
        "all files were taken"
    );
}

#[test]
fn nothing_is_lost_or_doubled_by_two_hundred_kills() {
    let crashes = number("EDGESPOOL_CRASHES").unwrap_or(200);
    crash_often(Kind::Vsftpd, Variant::Plain, crashes);
}

#[test]
fn nothing_is_lost_or_doubled_by_kills_with_tls() {
    let crashes = number("EDGESPOOL_CRASHES").unwrap_or(200) / 5;
    crash_often(Kind::Proftpd, Variant::ExplicitReuse, crashes);
}

#[test]
fn sigterm_parks_a_transfer_that_goes_on_later() {
    for (kind, variant) in [
        (Kind::Vsftpd, Variant::Plain),
        (Kind::Pyftpdlib, Variant::Explicit),
    ] {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        proxy.limit(300_000);
        let mut agent = Agent::for_server(&server, Some(proxy.addr()), "");
        let bytes = content(1, 3_000_000);
        fs::write(agent.watched().join("large.bin"), &bytes).unwrap();
        agent.start(&["-v", "run"]);
        let sent = || proxy.delivered(Channel::Data, Way::ToServer);
        wait_until("some of it is sent", || sent() > 500_000);
        let told = Instant::now();
        agent.signal("TERM");
        let output = agent.wait().expect(0);
        let took = told.elapsed();
        assert!(
            took < Duration::from_secs(5),
            "took {took:?}; its log:\n{}",
            output.stderr
        );
        assert_eq!(server.get("large.bin"), None, "{server:?}");
        // What the kernel still held for the slow link is lost with it.
        proxy.cut(End::Close);
        proxy.limit(0);
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

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|e| panic!("{variable}={text}: {e}")),
    )
}

/// After this the kills end, however many there were.
const TIME_MAX: Duration = Duration::from_secs(90);
