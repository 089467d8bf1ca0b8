//! The relay whole: a camera pushes to the agent's receiver, and what it pushes
//! goes through the spool to a real server. The camera is Python's ftplib.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use common::servers::{Kind, Server, Variant};
use common::{Agent, Output, edgespool, server_section, wait_until};

/// An agent that receives for the watch `camera`, which has no directory.
struct Relay {
    agent: Agent,
    port: u16,
}

impl Relay {
    /// Uploads to `server`; `spool` and `receive` are more keys of those tables.
    fn new(server: &Server, spool: &str, receive: &str) -> Relay {
        let mut relay = Relay {
            agent: Agent::new(),
            port: 0,
        };
        relay.configure(server, spool, receive);
        relay
    }

    /// Writes a config with another port.
    fn configure(&mut self, server: &Server, spool: &str, receive: &str) {
        // Free until a moment ago, and nobody else asks for this very one.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        self.port = free.local_addr().unwrap().port();
        let section = server_section("central", server, None);
        let (port, password) = (self.port, hash());
        self.agent.write_config(&format!(
            "device = \"test\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n{spool}\n{section}\n\
             [[watch]]\nname = \"camera\"\nserver = \"central\"\nremote = \"/{{path}}\"\n\
             [retry]\nfirst = \"200ms\"\nmax = \"1s\"\n\
             [receive]\nlisten = \"127.0.0.1:{port}\"\n{receive}\n\
             [[receive.user]]\nname = \"cam\"\npassword_hash = \"{password}\"\nwatch = \"camera\"\n"
        ));
    }

    fn start(&mut self) {
        self.agent.start(&["run"]);
        self.listens();
    }

    fn listens(&self) {
        let line = format!("receive: listening on 127.0.0.1:{}", self.port);
        wait_until("it listens", || self.agent.stderr().contains(&line));
    }

    fn stop(&mut self) -> Output {
        self.agent.signal("TERM");
        self.agent.wait().expect(0)
    }

    /// Runs a script of the camera, which is logged in as `ftp`.
    fn camera(&self, script: &str) -> String {
        let output = Command::new("timeout")
            .args(["-k", "5", "240", "python3", "-c"])
            .arg(format!("{PRELUDE}\n{script}"))
            .env("PORT", self.port.to_string())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{err}\n{}", self.agent.stderr());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn status(&self) -> serde_json::Value {
        let status = self.agent.command(&["status", "--json"]).expect(0);
        serde_json::from_str(&status.stdout).unwrap()
    }
}

const PRELUDE: &str = r#"
import ftplib, io, os, socket, sys
def connect():
    ftp = ftplib.FTP(timeout=60)
    ftp.connect("127.0.0.1", int(os.environ["PORT"]))
    ftp.login("cam", "secret")
    return ftp
def put(name, data, how="STOR", rest=None):
    return ftp.storbinary(how + " " + name, io.BytesIO(data), rest=rest)
def cut(name, data):
    "Sends a part, and is gone like a camera that lost its power."
    other = connect()
    other.voidcmd("TYPE I")
    ftp.voidcmd("TYPE I")
    conn = ftp.transfercmd("STOR " + name)
    conn.sendall(data)
    def came():
        try:
            return other.size(name)
        except ftplib.error_perm:
            return 0
    while not came(): pass
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    conn.close()
    try:
        ftp.voidresp()
        raise AssertionError("a cut upload was confirmed")
    except ftplib.Error:
        pass
def refused(code, call, *args):
    try:
        answer = call(*args)
    except ftplib.Error as error:
        assert str(error).startswith(str(code)), (code, str(error))
        return
    raise AssertionError((code, answer))
ftp = connect()
"#;

/// The hash of `secret`, made by the program itself.
fn hash() -> String {
    let mut passwd = Command::new(env!("CARGO_BIN_EXE_edgespool"))
        .args(["receive", "passwd"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(passwd.stdin.as_mut().unwrap(), b"secret\n").unwrap();
    let output = passwd.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn what_a_camera_pushes_arrives_at_a_server_that_requires_reuse() {
    let server = Server::start(Kind::Vsftpd, Variant::ExplicitReuse);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera(
        "for n in range(30): put(f'small{n}', f'file {n}'.encode())\n\
         put('big', bytes(range(256)) * 8000)\n\
         assert ftp.size('big') == 256 * 8000\n\
         ftp.mkd('day'); ftp.cwd('day'); put('in-day', b'x')\n\
         ftp.cwd('/'); put('.later.part', b'later'); ftp.rename('.later.part', 'later')\n\
         put('empty', b'')",
    );
    let arrived = |name: &str| server.get(name);
    let big: Vec<u8> = (0..=255).cycle().take(256 * 8000).collect();
    wait_until("all has arrived", || {
        relay.status()["delivered"]["files"] == 34
    });
    for n in 0..30 {
        assert_eq!(
            arrived(&format!("small{n}")).unwrap(),
            format!("file {n}").as_bytes()
        );
    }
    assert!(arrived("big") == Some(big));
    assert_eq!(arrived("day/in-day").unwrap(), b"x");
    assert_eq!(arrived("later").unwrap(), b"later");
    assert_eq!(arrived("empty").unwrap(), b"");
    let receiver = &relay.status()["receiver"];
    assert_eq!(
        (&receiver["files"], &receiver["sessions"]),
        (&34.into(), &0.into())
    );
    assert!(receiver["fingerprint"].is_string());
    relay.agent.command(&["queue", "verify"]).expect(0);
    relay.stop();
}

#[test]
fn a_cut_upload_is_not_taken_and_is_gone_on_with_after_a_restart() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera("cut('a', b'x' * 100000)");
    relay.agent.kill();
    relay.start();
    let from: usize = relay
        .camera(
            "ftp.voidcmd('TYPE I'); at = ftp.size('a'); assert 0 < at <= 100000, at\n\
             put('a', b'x' * (100000 - at) + b'end', rest=at); print(at)",
        )
        .trim()
        .parse()
        .unwrap();
    assert!(from > 0);
    wait_until("it has arrived", || server.get("a").is_some());
    let whole = [&[b'x'; 100_000][..], b"end"].concat();
    assert!(server.get("a").unwrap() == whole);
    assert_eq!(relay.status()["delivered"]["files"], 1);
    relay.stop();
}

#[test]
fn what_was_confirmed_survives_a_kill_while_the_server_is_away() {
    let mut server = Server::start(Kind::Vsftpd, Variant::Plain);
    server.stop();
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera("for n in range(40): put(f'f{n:02}', f'file {n}'.encode())");
    relay.agent.kill();
    let queued = relay.agent.command(&["queue", "list", "--json"]).expect(0);
    assert_eq!(queued.stdout.matches("\"path\"").count(), 40, "{queued:#?}");
    server.start_again();
    relay.start();
    wait_until("all have arrived", || server.get("f39").is_some());
    for n in 0..40 {
        let expected = format!("file {n}");
        assert_eq!(
            server.get(&format!("f{n:02}")).unwrap(),
            expected.as_bytes()
        );
    }
    relay.stop();
}

#[test]
fn a_full_spool_answers_452_until_there_is_room() {
    let mut server = Server::start(Kind::Vsftpd, Variant::Plain);
    server.stop();
    let mut relay = Relay::new(&server, "max_size = \"100KiB\"", "");
    relay.start();
    relay.camera(
        "put('first', b'x' * 60000)\n\
         refused(452, put, 'second', b'y' * 60000)\n\
         put('small', b'z' * 1000)",
    );
    let said = relay.agent.stderr();
    assert!(said.contains("452 no space left"), "{said}");
    server.start_again();
    wait_until("there is room", || server.get("first").is_some());
    wait_until("its room is free", || relay.status()["spool"]["files"] == 0);
    relay.camera("put('second', b'y' * 60000)");
    wait_until("it has arrived", || server.get("second").is_some());
    assert_eq!(server.get("second").unwrap(), [b'y'; 60_000]);
    relay.stop();
}

#[test]
fn a_full_spool_that_drops_the_oldest_makes_room() {
    let mut server = Server::start(Kind::Vsftpd, Variant::Plain);
    server.stop();
    let spool = "max_size = \"100KiB\"\nwhen_full = \"drop-oldest\"";
    let mut relay = Relay::new(&server, spool, "");
    relay.start();
    relay.camera("for n in range(5): put(f'f{n}', b'x' * 60000)");
    server.start_again();
    wait_until("the newest has arrived", || server.get("f4").is_some());
    assert!(server.get("f0").is_none());
    let history = relay.agent.command(&["history", "--json"]).expect(0);
    assert_eq!(history.stdout.matches("evicted").count(), 4);
    relay.stop();
}

#[test]
fn a_reload_moves_the_receiver_and_a_bad_config_keeps_it() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    let good = fs::read_to_string(relay.agent.config()).unwrap();
    relay
        .agent
        .write_config(&good.replace("max = \"1s\"", "max = 1"));
    relay.agent.signal("HUP");
    wait_until("it keeps the old config", || {
        relay.agent.stderr().contains("the old one stays in force")
    });
    relay.camera("put('before', b'x')");
    relay.configure(&server, "", "max_sessions = 3");
    relay.agent.signal("HUP");
    relay.listens();
    relay.camera("put('after', b'y')");
    wait_until("both have arrived", || {
        server.get("before").is_some() && server.get("after").is_some()
    });
    wait_until("it counts on", || relay.status()["receiver"]["files"] == 2);
    relay.stop();
}

#[test]
fn a_reload_lets_an_upload_under_way_come_to_its_end() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    let old = relay.port;
    let pid = relay.agent.pid();
    relay.configure(&server, "", "");
    let new = std::mem::replace(&mut relay.port, old);
    relay.camera(&format!(
        "conn = ftp.transfercmd('STOR slow'); conn.sendall(b'a' * 1000)\n\
         os.kill({pid}, 1)\n\
         import time; time.sleep(1)\n\
         conn.sendall(b'b' * 1000); conn.close()\n\
         assert ftp.voidresp().startswith('226')"
    ));
    relay.port = new;
    relay.listens();
    wait_until("it has arrived", || server.get("slow").is_some());
    assert_eq!(server.get("slow").unwrap().len(), 2000);
    relay.stop();
}

#[test]
fn old_cut_uploads_are_swept_and_received_ones_stay() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera("put('.keep.part', b'kept'); cut('old', b'o' * 1000); cut('new', b'n' * 1000)");
    relay.stop();
    let incoming = relay.agent.spool().join("incoming/camera");
    let long_ago = SystemTime::now() - Duration::from_secs(8 * 24 * 3600);
    for name in [".keep.part", "old"] {
        let file = fs::File::open(incoming.join(name)).unwrap();
        file.set_modified(long_ago).unwrap();
    }
    relay.agent.command(&["queue", "verify"]).expect(0);
    relay.start();
    assert!(!incoming.join("old").exists());
    assert!(incoming.join("new").exists());
    assert!(relay.agent.stderr().contains("cut more than 7 days ago"));
    relay.camera("ftp.rename('.keep.part', 'kept')");
    wait_until("it has arrived", || server.get("kept").is_some());
    relay.stop();
}

#[test]
fn an_address_that_is_taken_is_tried_again_and_shown() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    let taken = TcpListener::bind(("127.0.0.1", relay.port)).unwrap();
    relay.agent.start(&["run"]);
    wait_until("it says so", || {
        relay.agent.stderr().contains("cannot listen")
    });
    let error = relay.status()["receiver"]["last_error"].to_string();
    assert!(error.contains("cannot listen"), "{error}");
    drop(taken);
    relay.listens();
    relay.camera("put('a', b'x')");
    relay.stop();
}

#[test]
fn check_offline_looks_at_the_receiver_too() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    let check = relay.agent.command(&["check", "--offline"]).expect(0);
    assert!(
        check.stdout.contains("its files come by the receiver"),
        "{check:#?}"
    );
    assert!(
        check.stdout.contains("is an address of this machine"),
        "{check:#?}"
    );
    relay.configure(&server, "", "listen_implicit = \"192.0.2.1:990\"");
    let check = relay.agent.command(&["check", "--offline"]).expect(78);
    assert!(
        check.stdout.contains("FAILED receive: 192.0.2.1:990"),
        "{check:#?}"
    );
}

#[test]
fn many_cameras_at_once_lose_nothing() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera(
        "import threading\n\
         errors = []\n\
         def one(c):\n\
         \x20   try:\n\
         \x20       own = connect()\n\
         \x20       for n in range(25): own.storbinary(f'STOR c{c}/f{n}', io.BytesIO(f'{c} {n}'.encode()))\n\
         \x20       own.quit()\n\
         \x20   except Exception as error: errors.append(error)\n\
         threads = [threading.Thread(target=one, args=(c,)) for c in range(16)]\n\
         [t.start() for t in threads]; [t.join() for t in threads]\n\
         assert not errors, errors",
    );
    wait_until("all have arrived", || {
        relay.status()["delivered"]["files"] == 400
    });
    for c in 0..16 {
        for n in 0..25 {
            let arrived = server.get(&format!("c{c}/f{n}")).unwrap();
            assert_eq!(arrived, format!("{c} {n}").as_bytes());
        }
    }
    relay.stop();
}

#[test]
fn nobody_else_reads_what_is_being_received() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut relay = Relay::new(&server, "", "");
    relay.start();
    relay.camera("put('.a.part', b'private')");
    let incoming = relay.agent.spool().join("incoming");
    let mode = fs::metadata(incoming).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0);
    relay.stop();
    let bad = edgespool(["receive", "passwd", "--user", "x"]);
    assert_eq!(bad.code, Some(2), "{bad:#?}");
}
