//! The relay over bad links: a camera (Python's ftplib) pushes to the agent's
//! receiver, which is cut off and killed again and again; the agent pushes on to
//! vsftpd, which requires TLS and session reuse, and is cut off as well.
//!
//! `EDGESPOOL_CRASHES` is the number of kills, `EDGESPOOL_SEED` repeats the
//! random choices of a run (its moments still depend on the machine).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use common::dialogue::Dialogue;
use common::gateway::Gateway;
use common::proxy::{Act, Channel, End, Fault, Proxy, Way};
use common::servers::{self, Kind, Server, Variant};
use common::{Tree, content, number, seed, server_section, wait_until};

const USER: &str = "[[receive.user]]\nname = \"camera\"\npassword = \"secret\"\n\
                    watch = \"camera\"\n";

/// A camera that pushes each file of a directory until it has heard 226.
struct Camera {
    child: Child,
    dir: tempfile::TempDir,
}

impl Camera {
    fn start(files: &Tree, to: SocketAddr) -> Camera {
        let dir = tempfile::tempdir().unwrap();
        files.write(&dir.path().join("files"));
        let path = |name: &str| dir.path().join(name);
        let mut command = servers::client("python3", "python3", Duration::from_secs(1200));
        command.args(["-u", "-c", CAMERA]).arg(path("files"));
        command.args([to.ip().to_string(), to.port().to_string()]);
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(path("stdout")).unwrap())
            .stderr(File::create(path("stderr")).unwrap())
            .spawn()
            .unwrap();
        Camera { child, dir }
    }

    /// The files that had their 226, in this order, each with how often all of
    /// it was sent before in vain.
    fn confirmed(&self) -> Vec<(String, usize)> {
        let said = fs::read_to_string(self.dir.path().join("stdout")).unwrap();
        let line = |line: &str| {
            let (name, vain) = line.split_once(' ')?;
            Some((name.to_owned(), vain.parse().unwrap()))
        };
        said.lines().filter_map(line).collect()
    }

    fn ended(&mut self) -> bool {
        let Some(status) = self.child.try_wait().unwrap() else {
            return false;
        };
        let said = fs::read_to_string(self.dir.path().join("stderr")).unwrap();
        assert!(status.success(), "{status}: {said}");
        true
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Goes on where the receiver is, and begins again when that does not go.
const CAMERA: &str = r#"
import ftplib, io, os, sys, time
root, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
ftp = None
def connect():
    global ftp
    while ftp is None:
        try:
            new = ftplib.FTP(timeout=120)
            new.connect(host, port)
            new.login("camera", "secret")
            new.voidcmd("TYPE I")
            ftp = new
        except (OSError, EOFError, ftplib.Error):
            time.sleep(0.1)

class Counted(io.BytesIO):
    at_end = False
    def read(self, *args):
        data = super().read(*args)
        self.at_end = self.at_end or not data
        return data

def push(name, body):
    global ftp
    vain, begun = 0, False
    while True:
        connect()
        source = Counted(body)
        try:
            rest = None
            if begun:
                try:
                    rest = min(ftp.size(name) or 0, len(body)) or None
                except ftplib.error_perm:
                    pass
            begun = True
            source.seek(rest or 0)
            try:
                ftp.storbinary("STOR " + name, source, rest=rest)
                return vain
            except ftplib.error_perm:
                # What was there is gone, or is received already.
                begun = False
                continue
        except ftplib.error_temp:
            vain += source.at_end
        except (OSError, EOFError, ftplib.Error):
            vain += source.at_end
            ftp = None

for name in sorted(os.listdir(os.path.join(root))):
    with open(os.path.join(root, name), "rb") as file:
        body = file.read()
    print(name, push(name, body))
"#;

/// The server, the agent, and a bad link on either side of it.
struct Relay {
    server: Server,
    gateway: Gateway,
    from_camera: Proxy,
    to_server: Proxy,
}

impl Relay {
    fn new() -> Relay {
        let server = Server::start(Kind::Vsftpd, Variant::ExplicitReuse);
        let to_server = Proxy::before(&server);
        let section = server_section("central", &server, Some(to_server.addr()));
        let mut gateway = Gateway::new(&section, USER);
        let from_camera = Proxy::start(gateway.addr(), gateway.passive());
        gateway.start();
        Relay {
            server,
            gateway,
            from_camera,
            to_server,
        }
    }

    /// The files that are on the server under final names.
    fn arrived(&self) -> usize {
        let entries = fs::read_dir(self.server.root()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_encoded_bytes());
        names.filter(|name| !name.ends_with(b".part")).count()
    }

    /// The paths that the ledger says were delivered, in order.
    fn receipts(&self) -> Vec<String> {
        let history = self.gateway.agent.command(&["history", "--json"]).expect(0);
        let path = |line: &str| {
            let receipt: serde_json::Value = serde_json::from_str(line).unwrap();
            receipt["path"].as_str().unwrap().to_owned()
        };
        history.stdout.lines().map(path).collect()
    }

    /// Files in the spool.
    fn queued(&self) -> usize {
        let list = self.gateway.agent.command(&["queue", "list", "--json"]);
        list.expect(0).stdout.matches("\"path\"").count()
    }
}

/// Something that happens to a link.
fn harm(proxy: &Proxy, rng: &mut fastrand::Rng) {
    let fault = |on, after, end| {
        let (way, act) = (Way::ToServer, Act::End(end));
        proxy.inject(Fault {
            on,
            way,
            after,
            act,
        });
    };
    match rng.u8(..5) {
        0 => fault(Channel::Data, rng.u64(0..1000), End::Reset),
        1 => fault(Channel::Data, rng.u64(0..300_000), End::Reset),
        2 => fault(Channel::Control, rng.u64(60..400), End::Reset),
        3 => fault(Channel::Control, rng.u64(60..400), End::Close),
        _ => proxy.cut(End::Reset),
    }
}

#[test]
fn what_had_its_226_arrives_whole_over_bad_links_and_kills() {
    let seed = seed();
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut relay = Relay::new();
    let file = |n: u64| {
        let size = [0, 1, 4_000, 70_000, 300_000, 1_000_000][n as usize % 6];
        (format!("image-{n:04}.jpg").into_bytes(), content(n, size))
    };
    let kills = number("EDGESPOOL_CRASHES").unwrap_or(8);
    let files = Tree((0..10 * kills).map(file).collect());
    let mut camera = Camera::start(&files, relay.from_camera.addr());
    let mut confirmed = 0;
    for _ in 0..kills {
        // As much must have gone on before each kill, however slow that is.
        wait_until("another file is received", || {
            for proxy in [&relay.from_camera, &relay.to_server] {
                if proxy.faults_left() < 2 {
                    harm(proxy, &mut rng);
                }
            }
            thread::sleep(Duration::from_millis(rng.u64(0..150)));
            camera.ended() || camera.confirmed().len() > confirmed
        });
        confirmed = camera.confirmed().len();
        relay.gateway.agent.kill();
        relay.gateway.start();
    }
    for proxy in [&relay.from_camera, &relay.to_server] {
        proxy.heal();
    }
    wait_until("the camera has its 226 for everything", || camera.ended());
    let confirmed = camera.confirmed();
    assert_eq!(confirmed.len(), files.0.len());
    wait_until("all has arrived", || {
        relay.arrived() == files.0.len() && relay.queued() == 0
    });
    files.assert_same(&Tree::read(&relay.server.root()));
    let vain: usize = confirmed.iter().map(|(_, vain)| vain).sum();
    let cuts = relay.gateway.agent.stderr().matches(": 426 ").count();
    println!("{kills} kills; {vain} uploads without an answer, {cuts} cut since the last kill");
    let mut delivered = BTreeMap::<_, usize>::new();
    for path in relay.receipts() {
        *delivered.entry(path).or_default() += 1;
    }
    // The camera sends again what it does not know to be received.
    for (name, vain) in confirmed {
        let count = delivered[&name];
        assert!((1..=1 + vain).contains(&count), "{name}: {count}, {vain}");
    }
    relay.gateway.agent.command(&["queue", "verify"]).expect(0);
}

#[test]
fn a_cut_upload_is_not_taken_and_goes_on_by_rest() {
    let relay = Relay::new();
    let bytes = content(1, 200_000);
    let mut camera = Dialogue::logged_in(relay.from_camera.addr(), "camera", "secret");
    relay.from_camera.inject(Fault {
        on: Channel::Data,
        way: Way::ToServer,
        after: 70_000,
        act: Act::End(End::Reset),
    });
    let reply = camera.store("STOR image.jpg", &bytes);
    assert!(reply.starts_with("426"), "{reply}");
    // What comes behind it overtakes it.
    assert!(camera.store("STOR next.jpg", b"next").starts_with("226"));
    wait_until("the next one has arrived", || {
        relay.receipts() == ["next.jpg"]
    });
    assert_eq!(relay.arrived(), 1);
    let said = camera.say("SIZE image.jpg");
    let there: usize = said.trim().strip_prefix("213 ").unwrap().parse().unwrap();
    assert!(there <= 70_000, "{there}");
    assert!(camera.say(format!("REST {there}")).starts_with("350"));
    let reply = camera.store("STOR image.jpg", &bytes[there..]);
    assert!(reply.starts_with("226"), "{reply}");
    // It has gone on, and is not there any more to be gone on with.
    assert_eq!(camera.say("SIZE image.jpg"), "213 200000\r\n");
    wait_until("it has arrived", || relay.receipts().len() == 2);
    assert!(relay.server.get("image.jpg").unwrap() == bytes);
}

#[test]
fn many_small_files_keep_their_order() {
    let relay = Relay::new();
    let files: Vec<_> = (0..1000_u64)
        .map(|n| {
            // The order of names is another one.
            let name = format!("{:x}.txt", n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            (name, content(n, n as usize % 500))
        })
        .collect();
    let mut camera = Dialogue::logged_in(relay.gateway.addr(), "camera", "secret");
    for (name, bytes) in &files {
        let reply = camera.store(format!("STOR {name}"), bytes);
        assert!(reply.starts_with("226"), "{reply}");
    }
    wait_until("all have arrived", || relay.receipts().len() == files.len());
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    assert!(relay.receipts() == names, "{:?}", relay.receipts());
    let sent = files
        .into_iter()
        .map(|(name, bytes)| (name.into_bytes(), bytes));
    Tree(sent.collect()).assert_same(&Tree::read(&relay.server.root()));
}
