//! Uploads over a link that breaks: one run of `once` for each case, on a
//! server and behind a proxy that the cases share.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::proxy::{Channel, Fault, Proxy, Way};
use super::servers::{Kind, Server, Variant};
use super::{Agent, Output, Tree, content};

/// One upload and what happens to the link meanwhile.
pub struct Case {
    pub name: String,
    pub faults: Vec<Fault>,
    /// What `Act::Settle` waits for.
    pub settle: Settle,
    /// All faults must have happened; else the point may lie behind the end.
    pub certain: bool,
    /// The sizes of the files.
    pub files: Vec<usize>,
    /// Bytes that may be sent beyond the files: what the server had not stored.
    pub twice_max: usize,
    /// How long the agent waits on a silent link.
    pub patience: Patience,
}

/// When a link that is held goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// The server has stored what was delivered to it, but for one buffer. What
    /// it has not read yet a reset would take away, by chance.
    Delivered,
    /// The server has all of the files.
    Whole,
}

/// How long the agent waits on a silent link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Longer than any machine keeps it waiting.
    Long,
    /// So short that a test can wait for the end of it. A busy machine may trip
    /// it wrongly, so what is sent twice must be allowed for.
    Short,
}

/// A server and the bad link before it.
pub struct Scene {
    server: Server,
    proxy: Proxy,
}

/// Runs all cases, some at a time, and panics with all that went wrong.
pub fn play(kind: Kind, variant: Variant, cases: Vec<Case>) {
    let count = cases.len();
    let cases: VecDeque<_> = cases.into_iter().enumerate().collect();
    let (cases, wrong) = (Mutex::new(cases), Mutex::new(Vec::new()));
    let take = || cases.lock().unwrap().pop_front();
    thread::scope(|scope| {
        // A run waits more than it works.
        for _ in 0..SCENES_MAX.min(count) {
            scope.spawn(|| {
                let scene = Scene::new(kind, variant);
                while let Some((seed, case)) = take() {
                    if let Err(problem) = scene.play_one(&case, seed as u64) {
                        let name = &case.name;
                        let problem = format!("== {:?}, {name}: {problem}", scene.server);
                        wrong.lock().unwrap().push(problem);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    let shown = &wrong[..wrong.len().min(SHOWN_MAX)];
    assert!(
        wrong.is_empty(),
        "{} of {count} went wrong:\n{}",
        wrong.len(),
        shown.join("\n")
    );
}

impl Scene {
    pub fn new(kind: Kind, variant: Variant) -> Self {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        Self { server, proxy }
    }

    /// What is said on the control connection when nothing happens to it.
    pub fn dialogue(&self, files: &[usize]) -> [Vec<u8>; 2] {
        let case = Case {
            name: String::new(),
            faults: Vec::new(),
            settle: Settle::Whole,
            certain: true,
            files: files.to_vec(),
            twice_max: 0,
            patience: Patience::Long,
        };
        self.play_one(&case, 0).unwrap();
        [Way::ToServer, Way::ToClient].map(|way| self.proxy.heard(way).concat())
    }

    fn play_one(&self, case: &Case, seed: u64) -> Result<(), String> {
        self.empty_the_server();
        self.proxy.heal();
        let tree = files(seed, &case.files);
        let patience = match case.patience {
            Patience::Long => "stall_timeout = \"60s\"\nconnect_timeout = \"60s\"\n",
            Patience::Short => "stall_timeout = \"3s\"\nconnect_timeout = \"4s\"\n",
        };
        let agent = Agent::for_server(&self.server, Some(self.proxy.addr()), patience);
        tree.write(&agent.watched());
        self.settle_when(case);
        case.faults.iter().for_each(|f| self.proxy.inject(*f));
        let connections_before = self.proxy.traffic().len();
        let output = thread::scope(|scope| {
            let (ended, end) = mpsc::channel::<()>();
            scope.spawn(move || self.give_dead_connections_up(&end));
            let output = agent.command(&["-v", "once", "--patience", "100s"]);
            drop(ended);
            output
        });
        self.judge(case, &tree, &output, connections_before)
            .map_err(|what| {
                let traffic = self.proxy.traffic().split_off(connections_before);
                format!("{what}\n{traffic:?}\n{}\n{}", output.stdout, output.stderr)
            })
    }

    /// What is wrong with how it ended.
    fn judge(
        &self,
        case: &Case,
        tree: &Tree,
        output: &Output,
        connections_before: usize,
    ) -> Result<(), String> {
        if output.code != Some(0) {
            return Err(format!("exit {:?}", output.code));
        }
        if let Some(difference) = difference(tree, &Tree::read(&self.server.root())) {
            return Err(difference);
        }
        if case.certain && self.proxy.faults_left() > 0 {
            return Err("the fault did not happen".into());
        }
        if case.files.len() == 1 {
            goes_on_where_the_server_is(&output.stderr)?;
        }
        let (sent, most) = self.sent(connections_before, case);
        if sent > most {
            return Err(format!("{sent} bytes sent, {most} at most"));
        }
        Ok(())
    }

    fn settle_when(&self, case: &Case) {
        let root = self.server.root();
        let size: usize = case.files.iter().sum();
        let (variant, settle) = (self.server.variant, case.settle);
        let data = self.proxy.data_traffic();
        let before = data().len();
        self.proxy.settle_when(move || {
            let stored = stored(&root);
            if settle == Settle::Whole {
                return stored == size as u64;
            }
            let data = data().split_off(before);
            let delivered: u64 = data.iter().sum();
            stored + BUFFER as u64 + overhead(variant, data.len(), delivered) >= delivered
        });
    }

    /// A server waits for minutes before it takes a silent link for dead, and
    /// vsftpd keeps the file locked so long. Here it takes seconds.
    fn give_dead_connections_up(&self, end: &mpsc::Receiver<()>) {
        while end.recv_timeout(SERVER_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            self.proxy.cut_silent();
        }
    }

    /// Bytes on all data connections since then, and how many are allowed.
    fn sent(&self, connections_before: usize, case: &Case) -> (u64, u64) {
        let data = self.proxy.traffic().split_off(connections_before);
        let data: Vec<_> = data
            .iter()
            .filter(|t| t.channel == Channel::Data)
            .map(|t| t.to_server)
            .collect();
        let most = (case.files.iter().sum::<usize>() + case.twice_max) as u64;
        let overhead = overhead(self.server.variant, data.len(), most);
        (data.iter().sum(), most + overhead)
    }

    fn empty_the_server(&self) {
        for entry in fs::read_dir(self.server.root()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// Bytes that TLS adds, at most.
fn overhead(variant: Variant, connections: usize, bytes: u64) -> u64 {
    match variant.is_tls() {
        true => connections as u64 * TLS_HANDSHAKE_MAX + bytes / 256,
        false => 0,
    }
}

/// Bytes in all files of a directory.
fn stored(root: &Path) -> u64 {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

/// Whether each upload of the one file goes on where the server said it was, as
/// its log tells.
fn goes_on_where_the_server_is(log: &str) -> Result<(), String> {
    let (mut asked, mut said, mut offset) = (VecDeque::new(), 0, 0);
    for line in log.lines() {
        let Some((_, line)) = line.split_once("] ") else {
            continue;
        };
        if line.starts_with("< 220") {
            asked.clear();
        } else if let Some(path) = line.strip_prefix("> SIZE ") {
            asked.push_back(path.ends_with(".part"));
        } else if let Some(at) = line.strip_prefix("> REST ") {
            offset = at.parse::<u64>().map_err(|e| e.to_string())?;
        } else if line.starts_with("> DELE") {
            said = 0;
        } else if line.starts_with("> STOR") {
            if offset != said {
                return Err(format!("began at {offset}, the server had {said}"));
            }
            offset = 0;
        } else if let Some(size) = line.strip_prefix("< 213 ").and_then(|s| s.parse().ok())
            && asked.pop_front() == Some(true)
        {
            said = size;
        } else if line.starts_with("< 550") && asked.pop_front() == Some(true) {
            said = 0;
        }
    }
    Ok(())
}

fn files(seed: u64, sizes: &[usize]) -> Tree {
    let file = |(n, size): (usize, &usize)| {
        let name = format!("image-{n}.jpg").into_bytes();
        (name, content(seed * 100 + n as u64, *size))
    };
    Tree(sizes.iter().enumerate().map(file).collect())
}

/// What differs, in one line.
fn difference(sent: &Tree, there: &Tree) -> Option<String> {
    if sent == there {
        return None;
    }
    let sizes = |tree: &Tree| -> BTreeMap<String, usize> {
        let name = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        tree.0.iter().map(|(p, c)| (name(p), c.len())).collect()
    };
    Some(format!(
        "the server has {:?} for {:?}",
        sizes(there),
        sizes(sent)
    ))
}

/// A server's buffer; what it had not stored of that is sent twice.
pub const BUFFER: usize = 64 << 10;

/// Beside the file, on each data connection.
const TLS_HANDSHAKE_MAX: u64 = 8 << 10;

/// More than the agent's, so that the agent comes back too early.
const SERVER_PATIENCE: Duration = Duration::from_secs(8);

/// Servers at a time, each with one upload.
const SCENES_MAX: usize = 4;

/// Of those that went wrong.
const SHOWN_MAX: usize = 5;
