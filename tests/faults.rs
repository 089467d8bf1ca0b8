//! Uploads over a link that breaks: at every point the file arrives whole,
//! once, under its final name, nothing else is left on the server, and what the
//! server already has is not sent again.
//!
//! Each cut is preceded by a short pause of the link, so that the server has
//! stored what was delivered before it; what it had not read yet a reset would
//! take away, by chance.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use common::proxy::{Act, Channel, End, Fault, Proxy, Way};
use common::servers::{Kind, Server, Variant};
use common::{Agent, Tree, content};

/// One upload and what happens to the link meanwhile.
struct Case {
    name: String,
    faults: Vec<Fault>,
    /// All faults must have happened; else the point may lie behind the end.
    certain: bool,
    files: Vec<usize>,
    /// What may be sent twice: what a server had received and not stored.
    dropped_max: usize,
}

/// A server and the bad link before it.
struct Scene {
    server: Server,
    proxy: Proxy,
}

impl Scene {
    fn new(kind: Kind, variant: Variant) -> Self {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        Self { server, proxy }
    }

    /// Runs all cases and reports all that went wrong.
    fn play(&self, cases: &[Case]) {
        let mut wrong = String::new();
        for (seed, case) in cases.iter().enumerate() {
            if let Err(problem) = self.play_one(case, seed as u64) {
                let _ = writeln!(wrong, "== {:?}, {}: {problem}", self.server, case.name);
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }

    fn play_one(&self, case: &Case, seed: u64) -> Result<(), String> {
        self.empty_the_server();
        self.proxy.heal();
        let tree = files(seed, &case.files);
        let agent = Agent::for_server(&self.server, Some(self.proxy.addr()), PATIENCE);
        tree.write(&agent.watched());
        case.faults.iter().for_each(|f| self.proxy.inject(*f));
        let connections_before = self.proxy.traffic().len();
        let output = thread::scope(|scope| {
            let (ended, end) = mpsc::channel::<()>();
            scope.spawn(move || self.give_dead_connections_up(&end));
            let output = agent.command(&["-v", "once", "--patience", "60s"]);
            drop(ended);
            output
        });
        let describe = |what: &str| {
            let traffic = self.proxy.traffic().split_off(connections_before);
            format!("{what}\n{traffic:?}\n{}\n{}", output.stdout, output.stderr)
        };
        if output.code != Some(0) {
            return Err(describe(&format!("exit {:?}", output.code)));
        }
        if let Some(difference) = difference(&tree, &Tree::read(&self.server.root())) {
            return Err(describe(&difference));
        }
        if case.certain && self.proxy.faults_left() > 0 {
            return Err(describe("the fault did not happen"));
        }
        let (sent, most) = self.sent(connections_before, case);
        if sent > most {
            return Err(describe(&format!("{sent} bytes sent, {most} at most")));
        }
        Ok(())
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
        let size = case.files.iter().sum::<usize>() as u64;
        let mut most = size + case.dropped_max as u64;
        if self.server.variant.is_tls() {
            most += data.len() as u64 * TLS_HANDSHAKE_MAX + size / 256;
        }
        (data.iter().sum(), most)
    }

    fn empty_the_server(&self) {
        for entry in fs::read_dir(self.server.root()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
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

fn fault(on: Channel, way: Way, after: u64, act: Act) -> Fault {
    Fault {
        on,
        way,
        after,
        act,
    }
}

/// The data connection ends, in every way and at many points, also twice.
fn data_cuts() -> Vec<Case> {
    let cut = |after, end| {
        let fault = |act| fault(Channel::Data, Way::ToServer, after, act);
        [fault(Act::Stall(SETTLE)), fault(Act::End(end))]
    };
    let mut cases = Vec::new();
    for end in [End::Reset, End::Close, End::Silence] {
        let points: &[u64] = match end {
            // Each costs the time that a silent link is borne.
            End::Silence => &[0, 1_500_001],
            _ => &[0, 1, 70_000, 262_144, 1_500_001, 2_999_999],
        };
        cases.extend(points.iter().map(|&after| Case {
            name: format!("data ends by {end:?} after {after}"),
            faults: cut(after, end).to_vec(),
            certain: true,
            files: vec![SIZE],
            dropped_max: BUFFER,
        }));
    }
    cases.push(Case {
        name: "data cut twice".into(),
        faults: [cut(800_000, End::Close), cut(1_000_000, End::Reset)].concat(),
        certain: true,
        files: vec![SIZE],
        // Of one control connection's third data connection ProFTPD may want a
        // TLS session that is spent, and says so when some data has come.
        dropped_max: SOCKET_BUFFERS + BUFFER,
    });
    cases
}

/// The reply to the upload is lost, and the link stalls.
fn lost_replies_and_stalls() -> Vec<Case> {
    let mut cases = Vec::new();
    for end in [End::Reset, End::Close, End::Silence] {
        let lose = fault(
            Channel::Data,
            Way::ToServer,
            SIZE as u64,
            Act::LoseReply(end),
        );
        cases.push(Case {
            name: format!("226 lost by {end:?}"),
            faults: vec![lose],
            certain: true,
            files: vec![SIZE],
            dropped_max: BUFFER,
        });
    }
    // What the link held is delivered when it goes on, to nobody any more.
    let late = SIZE / 2;
    for (name, time, dropped_max) in [
        ("a stall that is borne", Duration::from_millis(800), 0),
        ("a stall too long", Duration::from_secs(7), late),
    ] {
        cases.push(Case {
            name: name.into(),
            faults: vec![fault(
                Channel::Data,
                Way::ToServer,
                1_500_000,
                Act::Stall(time),
            )],
            certain: true,
            files: vec![SIZE],
            dropped_max: dropped_max + BUFFER,
        });
    }
    cases
}

/// The control connection ends at points spread over a session of three files.
fn control_cuts(way: Way, points: impl Iterator<Item = u64>) -> Vec<Case> {
    let ends = [End::Reset, End::Close];
    let case = |(n, after): (usize, u64)| {
        let end = ends[n % ends.len()];
        let fault = |act| fault(Channel::Control, way, after, act);
        Case {
            name: format!("control {way:?} ends by {end:?} after {after}"),
            faults: vec![fault(Act::Stall(SETTLE)), fault(Act::End(end))],
            certain: false,
            files: vec![SIZE / 3; 3],
            // The data of a small file is on its way while its STOR is lost.
            dropped_max: SIZE / 3 + BUFFER,
        }
    };
    points.enumerate().map(case).collect()
}

fn data_connection(kind: Kind, variant: Variant) {
    let scene = Scene::new(kind, variant);
    scene.play(&data_cuts());
    scene.play(&lost_replies_and_stalls());
}

fn control_connection(kind: Kind, variant: Variant) {
    let scene = Scene::new(kind, variant);
    // TLS spends some thousand bytes on its handshake.
    let (first, step) = match variant.is_tls() {
        true => (100, 331),
        false => (3, 97),
    };
    let points = |count| (0..count).map(move |n| first + n * step);
    scene.play(&control_cuts(Way::ToClient, points(14)));
    scene.play(&control_cuts(Way::ToServer, points(8)));
}

#[test]
fn vsftpd_data_connection_breaks() {
    data_connection(Kind::Vsftpd, Variant::Plain);
}

#[test]
fn proftpd_data_connection_breaks() {
    data_connection(Kind::Proftpd, Variant::Plain);
}

#[test]
fn pure_ftpd_data_connection_breaks() {
    data_connection(Kind::PureFtpd, Variant::Plain);
}

#[test]
fn pyftpdlib_data_connection_breaks() {
    data_connection(Kind::Pyftpdlib, Variant::Plain);
}

#[test]
fn vsftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::Vsftpd, Variant::ExplicitReuse);
}

#[test]
fn proftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::Proftpd, Variant::ExplicitReuse);
}

#[test]
fn pure_ftpd_data_connection_breaks_with_tls() {
    data_connection(Kind::PureFtpd, Variant::Explicit);
}

#[test]
fn pyftpdlib_data_connection_breaks_with_tls() {
    data_connection(Kind::Pyftpdlib, Variant::Explicit);
}

#[test]
fn control_connections_break() {
    for kind in Kind::ALL {
        control_connection(kind, Variant::Plain);
    }
}

#[test]
fn control_connections_break_with_tls() {
    for kind in Kind::ALL {
        control_connection(kind, Variant::Explicit);
    }
}

/// Of the server's section: what is waited for, in seconds that a test has.
const PATIENCE: &str = "stall_timeout = \"3s\"\nconnect_timeout = \"4s\"\n";

/// Of a file that is cut.
const SIZE: usize = 3_000_000;

/// A server's buffer; what it had not stored of that is sent twice.
const BUFFER: usize = 64 << 10;

/// What may be on its way on one connection when the server refuses it.
const SOCKET_BUFFERS: usize = 512 << 10;

/// Beside the file, on each data connection.
const TLS_HANDSHAKE_MAX: u64 = 8 << 10;

/// More than the agent's, so that the agent comes back too early.
const SERVER_PATIENCE: Duration = Duration::from_secs(8);

/// Time for a server to store what it was sent.
const SETTLE: Duration = Duration::from_millis(200);
