//! What a service manager hears of the agent, and what it must not hear when the
//! agent hangs.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;
mod frozen;

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use common::{Agent, WAIT_MAX};
use frozen::Frozen;

/// The service manager's end of `NOTIFY_SOCKET`, and the agent that it started.
struct Manager {
    socket: UnixDatagram,
    agent: Agent,
}

impl Manager {
    /// Starts an agent that has nothing to do; its watchdog has to be fed three
    /// times in so long.
    fn start(watchdog: Duration) -> Manager {
        let mut agent = Agent::new();
        // Nothing is ever sent, so nobody needs to be there.
        agent.write_config(
            "device = \"test\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n\
             [[server]]\nname = \"s\"\nhost = \"127.0.0.1\"\nuser = \"anonymous\"\ntls = \"none\"\n\
             [[watch]]\nname = \"w\"\ndir = \"watched\"\n",
        );
        let path = agent.dir().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        agent.set_variable("NOTIFY_SOCKET", path);
        agent.set_variable("WATCHDOG_USEC", watchdog.as_micros().to_string());
        agent.start(&["run"]);
        Manager { socket, agent }
    }

    /// The next message, unless none comes for so long.
    fn hear(&self, patience: Duration) -> Option<String> {
        let mut message = [0; 4096];
        self.socket.set_read_timeout(Some(patience)).unwrap();
        match self.socket.recv(&mut message) {
            Ok(length) => Some(String::from_utf8(message[..length].to_vec()).unwrap()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// Waits for a message with this line in it.
    fn hear_of(&self, line: &str) -> String {
        loop {
            let message = self.hear(WAIT_MAX);
            let message = message.unwrap_or_else(|| panic!("{line} never came"));
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    }

    /// Counts the watchdog's messages in so long.
    fn count_signs(&self, span: Duration) -> usize {
        let end = Instant::now() + span;
        let mut signs = 0;
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            let message = self.hear(left.max(Duration::from_millis(1)));
            signs += usize::from(message.is_some_and(|m| m.contains(SIGN)));
        }
        signs
    }

    fn stop(mut self) {
        self.agent.signal("TERM");
        self.hear_of("STOPPING=1");
        self.agent.wait().expect(0);
    }
}

const SIGN: &str = "WATCHDOG=1";
/// Short, so that the tests are; the unit's is in minutes.
const OFTEN: Duration = Duration::from_millis(300);
const NEVER: Duration = Duration::from_secs(3600);

/// The inodes that a process watches with inotify, as its descriptors tell.
fn watched_inodes(pid: u32) -> Vec<u64> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let lines = descriptors
        .filter_map(|fd| fs::read_to_string(fd.unwrap().path()).ok())
        .collect::<String>();
    let inodes = lines.lines().filter(|line| line.starts_with("inotify "));
    let inode = |line: &str| {
        let field = line.split(' ').find_map(|field| field.strip_prefix("ino:"));
        u64::from_str_radix(field.unwrap(), 16).unwrap()
    };
    inodes.map(inode).collect()
}

#[test]
fn ready_comes_when_the_spool_is_open_and_the_directory_watched() {
    let manager = Manager::start(NEVER);
    let ready = manager.hear_of("READY=1");
    assert!(ready.contains("STATUS=0 queued"), "{ready}");
    let (agent, pid) = (&manager.agent, manager.agent.pid());
    let lock = fs::metadata(agent.spool().join("lock")).unwrap();
    let held = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let held = held.filter_map(|fd| fs::metadata(fd.unwrap().path()).ok());
    assert!(held.map(|meta| meta.ino()).any(|ino| ino == lock.ino()));
    let watched = fs::metadata(agent.watched()).unwrap().ino();
    assert!(watched_inodes(pid).contains(&watched));
    manager.stop();
}

#[test]
fn a_reload_is_announced_and_ends_with_ready() {
    let manager = Manager::start(NEVER);
    manager.hear_of("READY=1");
    manager.agent.signal("HUP");
    let reloading = manager.hear_of("RELOADING=1");
    let stamp = reloading
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(stamp.unwrap().parse::<u64>().unwrap() > 0);
    manager.hear_of("READY=1");
    // With mistakes in it the old one stays in force, and that is said as well.
    manager.agent.write_config("nonsense = 1\n");
    manager.agent.signal("HUP");
    manager.hear_of("RELOADING=1");
    let refused = manager.hear_of("READY=1");
    assert!(refused.contains("the old one is in force"), "{refused}");
    manager.stop();
}

#[test]
fn an_idle_agent_feeds_its_watchdog() {
    let manager = Manager::start(OFTEN);
    manager.hear_of("READY=1");
    for _ in 0..3 {
        manager.hear_of(SIGN);
    }
    manager.stop();
}

#[test]
fn without_a_watchdog_nothing_is_said_in_vain() {
    let manager = Manager::start(NEVER);
    manager.hear_of("READY=1");
    assert_eq!(manager.hear(4 * OFTEN), None);
    manager.stop();
}

/// Threads that hang, as in a disk that never answers: nothing may claim then
/// that the agent lives.
#[track_caller]
fn no_sign_of_life_while_frozen(threads: &str) {
    let manager = Manager::start(OFTEN);
    manager.hear_of(SIGN);
    let frozen = Frozen::threads_of(manager.agent.pid(), threads);
    // One may be on its way, and one may stand on what happened before.
    let signs = manager.count_signs(10 * OFTEN);
    assert!(signs <= 2, "{signs} signs of life with {threads} frozen");
    assert_eq!(manager.count_signs(5 * OFTEN), 0, "{threads} are frozen");
    drop(frozen);
    manager.hear_of(SIGN);
    manager.stop();
}

#[test]
fn a_pool_that_hangs_starves_the_watchdog() {
    no_sign_of_life_while_frozen("disk-");
}

#[test]
fn an_executor_that_hangs_starves_the_watchdog() {
    no_sign_of_life_while_frozen("edgespool");
}
