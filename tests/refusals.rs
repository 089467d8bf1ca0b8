//! What the binary says and does when it is refused: the message, the exit
//! code, and that every file arrives as soon as it is let in.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

use common::proxy::{Proxy, Way};
use common::servers::{Certificate, Kind, Server, Variant};
use common::{Agent, Output, SmallDisk, Tree, content, wait_until};

/// A few files, to be lost if something is done wrong.
fn some_files() -> Tree {
    let mut tree = Tree::default();
    for (path, size) in [("a.jpg", 1000), ("dir/b.jpg", 70_000), ("empty", 0)] {
        tree.0.insert(path.into(), content(size as u64, size));
    }
    tree
}

/// An agent that has these files to send.
fn agent_with_files(server: &Server, more: &str) -> (Agent, Tree) {
    let agent = Agent::for_server(server, None, more);
    let files = some_files();
    files.write(&agent.watched());
    (agent, files)
}

fn change_config(agent: &Agent, from: &str, to: &str) {
    let text = fs::read_to_string(agent.config()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    agent.write_config(&text.replace(from, to));
}

/// Panics unless everything arrives now.
#[track_caller]
fn assert_delivered(agent: &Agent, server: &Server, files: &Tree) {
    let output = agent.command(&["once"]).expect(0);
    let expected = format!("{} delivered\n", files.0.len());
    assert_eq!(output.stdout, expected, "{output:#?}");
    files.assert_same(&Tree::read(&server.root()));
    Tree::default().assert_same(&Tree::read(&agent.watched()));
}

/// Panics unless the last line says what is wrong and what to do.
#[track_caller]
fn assert_says(output: &Output, words: &[&str]) {
    let last = output.stderr.lines().last().unwrap_or_default();
    for word in words {
        assert!(last.contains(word), "{word:?} is not said: {output:#?}");
    }
}

#[test]
fn a_wrong_password_is_tried_once_and_loses_nothing() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Variant::Plain);
        let (agent, files) = agent_with_files(&server, "");
        change_config(&agent, "\"testpass\"", "\"wrong-word\"");
        let output = agent.command(&["-v", "once"]).expect(77);
        assert_says(&output, &["log in", "check user and password"]);
        assert!(!output.stderr.contains("wrong-word"), "the password shows");
        let tries = output.stderr.matches("> PASS").count();
        assert_eq!(tries, 1, "{server:?}: {output:#?}");
        Tree::default().assert_same(&Tree::read(&server.root()));
        change_config(&agent, "\"wrong-word\"", "\"testpass\"");
        assert_delivered(&agent, &server, &files);
    }
}

#[test]
fn a_certificate_that_cannot_be_trusted_is_refused() {
    for kind in Kind::ALL {
        for (bad, words) in [
            (Certificate::SelfSigned, ["ca_file", "pin_sha256"]),
            (Certificate::Expired, ["expired", "new certificate"]),
            (Certificate::WrongHost, ["other.invalid", "set host"]),
        ] {
            let server = Server::start_with(kind, Variant::Explicit, bad);
            let (agent, files) = agent_with_files(&server, "");
            let output = agent.command(&["-v", "once"]).expect(69);
            assert_says(&output, &words);
            assert!(!output.stderr.contains("> USER"), "{server:?}: {output:#?}");
            // Pinned it is good, whatever it says of itself.
            let pin = hex(&Sha256::digest(server.certificate.as_ref().unwrap()));
            if bad == Certificate::SelfSigned {
                assert_says(&output, &["SHA-256", &pin]);
            }
            change_config(
                &agent,
                "tls = \"explicit\"",
                &format!("tls = \"explicit\"\npin_sha256 = [\"{pin}\"]"),
            );
            assert_delivered(&agent, &server, &files);
        }
    }
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused() {
    let server = Server::start(Kind::Vsftpd, Variant::Explicit);
    let pin = hex(&Sha256::digest(b"another"));
    let (agent, _files) = agent_with_files(&server, &format!("pin_sha256 = [\"{pin}\"]\n"));
    let output = agent.command(&["-v", "once"]).expect(69);
    let shown = hex(&Sha256::digest(server.certificate.as_ref().unwrap()));
    assert_says(&output, &["no pin matches", &shown]);
    assert!(!output.stderr.contains("> USER"), "{output:#?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_server_without_tls_gets_no_login() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Variant::Plain);
        let proxy = Proxy::before(&server);
        let agent = Agent::for_server(&server, Some(proxy.addr()), "");
        let files = some_files();
        files.write(&agent.watched());
        change_config(&agent, "tls = \"none\"", "tls = \"explicit\"");
        let output = agent.command(&["-v", "once"]).expect(69);
        assert_says(&output, &["the server must offer TLS"]);
        let heard = proxy.heard(Way::ToServer);
        assert!(!heard.is_empty(), "{server:?}: {output:#?}");
        for heard in heard {
            assert_eq!(heard, b"AUTH TLS\r\n", "{server:?}: {output:#?}");
        }
        change_config(&agent, "tls = \"explicit\"", "tls = \"none\"");
        assert_delivered(&agent, &server, &files);
    }
}

/// Somebody on the way who answers AUTH so; tells all that the agent sent.
fn stripper(answer: &'static str) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let talk = move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 Welcome.\r\n").unwrap();
        let mut heard = Vec::new();
        let mut input = BufReader::new(stream.try_clone().unwrap());
        // After the answer whatever comes is heard to its end.
        while input.read_until(b'\n', &mut heard).is_ok_and(|n| n > 0) {
            let _ = stream.write_all(answer.as_bytes());
        }
        heard
    };
    (addr, thread::spawn(talk))
}

#[test]
fn nobody_on_the_way_gets_the_agent_to_speak_in_clear_text() {
    for answer in [
        "502 AUTH not understood.\r\n",
        "530 Please log in first.\r\n",
        "331 Password required.\r\n",
        "230 Logged in.\r\n",
        "200 OK.\r\n",
        "234 Go ahead.\r\n230 Logged in already.\r\n",
        "234 Go ahead.\r\nThis is no TLS.\r\n",
    ] {
        let (addr, heard) = stripper(answer);
        let server = Server::start(Kind::Pyftpdlib, Variant::Explicit);
        let agent = Agent::for_server(&server, Some(addr), "");
        let files = some_files();
        files.write(&agent.watched());
        let output = agent.command(&["once", "--patience", "1s"]);
        assert!(
            matches!(output.code, Some(69 | 75)),
            "{answer}: {output:#?}"
        );
        let heard = heard.join().unwrap();
        assert!(heard.starts_with(b"AUTH TLS\r\n"), "{answer}: {heard:?}");
        for secret in [server.user, server.password, "USER", "STOR"] {
            let seen = heard.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!seen, "{answer}: {secret} in {heard:?}");
        }
    }
}

#[test]
fn a_read_only_server_keeps_everything_queued() {
    for kind in Kind::ALL {
        let mut server = Server::start(kind, Variant::Readonly);
        let (agent, files) = agent_with_files(&server, "");
        let output = agent.command(&["once", "--patience", "2s"]).expect(75);
        assert_eq!(output.stdout, "0 delivered, 3 still queued\n", "{server:?}");
        assert_says(&output, &["the account may write there"]);
        server.stop();
        server.variant = Variant::Plain;
        server.start_again();
        assert_delivered(&agent, &server, &files);
    }
}

#[test]
fn a_full_disk_at_the_server_is_waited_for() {
    for kind in [Kind::Vsftpd, Kind::Proftpd, Kind::PureFtpd] {
        let server = Server::start(kind, Variant::DiskFull);
        server.put("filler", &[0; 900_000]);
        let agent = Agent::for_server(&server, None, "");
        let mut files = Tree::default();
        files.0.insert(b"large.jpg".to_vec(), content(1, 500_000));
        files.write(&agent.watched());
        let output = agent.command(&["once", "--patience", "2s"]).expect(75);
        assert_eq!(output.stdout, "0 delivered, 1 still queued\n", "{server:?}");
        assert_says(&output, &["make room on the server"]);
        assert_eq!(server.get("large.jpg"), None, "a partial file is in sight");
        fs::remove_file(server.root().join("filler")).unwrap();
        assert_delivered(&agent, &server, &files);
    }
}

#[test]
fn a_quota_that_is_used_up_is_waited_for() {
    for kind in [Kind::Proftpd, Kind::PureFtpd] {
        let mut server = Server::start(kind, Variant::Quota);
        let agent = Agent::for_server(&server, None, "");
        let mut files = Tree::default();
        files.0.insert(b"large.jpg".to_vec(), content(1, 1_500_000));
        files.write(&agent.watched());
        let output = agent.command(&["once", "--patience", "2s"]).expect(75);
        assert_eq!(output.stdout, "0 delivered, 1 still queued\n", "{server:?}");
        assert_says(&output, &["quota"]);
        assert_eq!(server.get("large.jpg"), None, "a partial file is in sight");
        server.stop();
        server.variant = Variant::Plain;
        server.start_again();
        let _ = fs::remove_file(server.root().join(".ftpquota"));
        assert_delivered(&agent, &server, &files);
    }
}

/// An agent with room for two of its five files, and a server that is away.
fn full_spool() -> (Server, Agent, Tree) {
    let mut server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    change_config(&agent, "[spool]", "[spool]\nmax_size = \"250k\"");
    let mut files = Tree::default();
    for n in 0..5 {
        files
            .0
            .insert(format!("{n}.jpg").into(), content(n, 100_000));
    }
    files.write(&agent.watched());
    server.stop();
    (server, agent, files)
}

/// Panics unless all files but two stand at the source as they were.
fn assert_left(agent: &Agent, files: &Tree) {
    let left = Tree::read(&agent.watched());
    assert_eq!(left.0.len(), files.0.len() - 2);
    for (path, bytes) in &left.0 {
        assert!(files.0[path] == *bytes, "the source changed");
    }
}

#[test]
fn a_full_spool_leaves_the_source_untouched() {
    let (mut server, agent, files) = full_spool();
    let output = agent.command(&["once", "--patience", "1s"]).expect(75);
    assert!(output.stdout.contains("2 still queued"), "{output:#?}");
    assert!(output.stdout.contains("3 not taken"), "{output:#?}");
    assert_left(&agent, &files);
    server.start_again();
    // Each round makes room for the next one.
    let rounds = (0..5).take_while(|_| agent.command(&["once"]).code != Some(0));
    assert!(rounds.count() < 4);
    files.assert_same(&Tree::read(&server.root()));
}

#[test]
fn a_running_agent_goes_on_by_itself_when_its_spool_has_room() {
    let (mut server, mut agent, files) = full_spool();
    agent.start(&["run"]);
    wait_until("two files are taken", || {
        Tree::read(&agent.watched()).0.len() == 3
    });
    wait_until("it says that the spool is full", || {
        agent.stderr().contains("left at the source")
    });
    assert_left(&agent, &files);
    server.start_again();
    wait_until("all files have arrived", || {
        (0..5).all(|n| server.root().join(format!("{n}.jpg")).exists())
    });
    agent.signal("TERM");
    agent.wait().expect(0);
    files.assert_same(&Tree::read(&server.root()));
}

/// An agent with its spool on a disk that has room for two of its five files,
/// and a server that is away.
fn small_spool() -> (Server, Agent, Tree, SmallDisk) {
    let (server, agent, files) = full_spool();
    change_config(&agent, "max_size = \"250k\"\n", "");
    let disk = SmallDisk::new(ROOM_FOR_TWO);
    let spool = disk.path().join("spool");
    let dir = format!("dir = \"{}\"", spool.display());
    change_config(&agent, "dir = \"spool\"", &dir);
    (server, agent, files, disk)
}

#[test]
fn a_spool_on_a_full_disk_leaves_the_source_untouched() {
    let (mut server, mut agent, files, disk) = small_spool();
    let output = agent.command(&["once", "--patience", "1s"]).expect(75);
    assert!(output.stdout.contains("2 still queued"), "{output:#?}");
    assert!(output.stdout.contains("3 not taken"), "{output:#?}");
    let said = output.stderr.contains("no room in the spool");
    assert!(said, "{output:#?}");
    assert_left(&agent, &files);
    // Two files and the spool's reserve of 64 KiB; nothing is left of the attempts.
    let held: usize = Tree::read(&disk.path().join("spool"))
        .0
        .values()
        .map(Vec::len)
        .sum();
    assert!(held < 280_000, "{held} bytes");
    agent.start(&["run"]);
    server.start_again();
    wait_until("all files have arrived", || {
        (0..5).all(|n| server.root().join(format!("{n}.jpg")).exists())
    });
    agent.signal("TERM");
    agent.wait().expect(0);
    files.assert_same(&Tree::read(&server.root()));
    Tree::default().assert_same(&Tree::read(&agent.watched()));
}

#[test]
fn a_disk_with_no_byte_left_is_waited_for() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut agent = Agent::for_server(&server, None, "");
    let disk = SmallDisk::new(1 << 20);
    for dir in ["spool", "watched"] {
        let there = disk.path().join(dir);
        let to = format!("dir = \"{}\"", there.display());
        change_config(&agent, &format!("dir = \"{dir}\""), &to);
        fs::create_dir(there).unwrap();
    }
    let watched = disk.path().join("watched");
    // The spool is there before the disk is full.
    agent.command(&["once"]).expect(0);
    let files = some_files();
    files.write(&watched);
    let filler = disk.fill("filler");
    agent.start(&["-v", "run"]);
    wait_until("it says that the disk is full", || {
        agent.stderr().contains("No space left on device")
    });
    files.assert_same(&Tree::read(&watched));
    fs::remove_file(filler).unwrap();
    wait_until("all files have arrived", || {
        Tree::read(&server.root()).0.len() == files.0.len() && Tree::read(&watched).0.is_empty()
    });
    agent.signal("TERM");
    agent.wait().expect(0);
    files.assert_same(&Tree::read(&server.root()));
}

/// Two files of 100 kB, and what the spool itself needs.
const ROOM_FOR_TWO: u64 = 290 << 10;
