//! The built binary delivers files to real servers, each compared byte for byte.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use common::servers::{Kind, Server, Variant};
use common::{Agent, Tree, content, edgespool};

/// The ways that every file is sent on, where the server can be set up so. With
/// `ExplicitReuse` a data connection must resume the session of its control
/// connection.
const WAYS: [Variant; 6] = [
    Variant::Plain,
    Variant::Explicit,
    Variant::ExplicitReuse,
    Variant::ExplicitTls12,
    Variant::Implicit,
    Variant::Ipv6,
];

/// Small and large files, odd names and nested directories.
fn all_sorts(kind: Kind) -> Tree {
    let mut tree = Tree::default();
    let mut add = |path: &[u8], size: usize| {
        let bytes = content(path.len() as u64 * 31 + size as u64, size);
        tree.0.insert(path.to_vec(), bytes);
    };
    add(b"empty.dat", 0);
    add(b"one.dat", 1);
    add(b"image.raw", 3_000_000);
    add(b"with some  spaces .txt", 10);
    add("grüße aus 東京.txt".as_bytes(), 11);
    add(b"-rf", 12);
    add(b"-a dir/-b", 13);
    add(b"quote\"quote\"\".txt", 14);
    add(b"100% %s {path} [1] *?.txt", 15);
    add(b"semi;colon'and&.txt", 16);
    add(&[&[b'n'; 251][..], b".txt"].concat(), 18);
    add(&["ü".repeat(125).as_bytes(), b".jpeg"].concat(), 19);
    add(b"2026/11/21/camera 1/a.jpg", 20);
    add(b"2026/11/21/camera 1/b.jpg", 21);
    add(b"2026/11/22/c.jpg", 22);
    add(b"d/e/e/p/e/r/file", 23);
    if takes_any_bytes(kind) {
        add(b"latin-\xe9t\xe9.txt", 24);
        add(b"\xfc\xfe/\xfe", 25);
        // Telnet's IAC, which some servers want doubled and some do not.
        add(b"\xff\xfe/\xff\xff\xf4", 26);
    }
    // Pure-FTPd replaces it.
    if kind != Kind::PureFtpd {
        add(b"tab\there.txt", 17);
    }
    tree
}

/// pyftpdlib speaks UTF-8 only.
fn takes_any_bytes(kind: Kind) -> bool {
    kind != Kind::Pyftpdlib
}

fn each_way(kind: Kind) {
    for way in WAYS.into_iter().filter(|way| kind.supports(*way)) {
        let server = Server::start(kind, way);
        let agent = Agent::for_server(&server, None, "");
        let sent = all_sorts(kind);
        sent.write(&agent.watched());
        let output = agent.command(&["-v", "once"]).expect(0);
        assert_eq!(
            output.stdout,
            format!("{} delivered\n", sent.0.len()),
            "{server:?} {output:#?}"
        );
        sent.assert_same(&Tree::read(&server.root()));
        Tree::default().assert_same(&Tree::read(&agent.watched()));
        assert_receipts(&agent, &sent, &server, &output.stderr);
    }
}

/// Panics unless the ledger has one receipt for each file, with proof.
fn assert_receipts(agent: &Agent, sent: &Tree, server: &Server, log: &str) {
    let history = agent.command(&["history", "--json"]).expect(0).stdout;
    let mut sizes: Vec<u64> = sent.0.values().map(|bytes| bytes.len() as u64).collect();
    let mut receipts = Vec::new();
    for line in history.lines() {
        let receipt: serde_json::Value = serde_json::from_str(line).unwrap();
        // Only ProFTPD has hash commands; an empty file needs no hash.
        let (size, sent) = (&receipt["size"], &receipt["sent_bytes"]);
        let (size, sent) = (size.as_u64().unwrap(), sent.as_u64().unwrap());
        let hashed = server.kind == Kind::Proftpd && size > 0;
        let proof = if hashed { "hash" } else { "size" };
        assert_eq!(receipt["proof"], proof, "{server:?}: {line}\n{log}");
        // Small files are sent before it is known that a directory is missing.
        let most = if size < 64 << 10 { 2 * size } else { size };
        assert!((size..=most).contains(&sent), "{server:?}: {line}\n{log}");
        receipts.push(size);
    }
    sizes.sort_unstable();
    receipts.sort_unstable();
    assert_eq!(receipts, sizes, "{server:?}");
}

#[test]
fn vsftpd_gets_all_sorts_of_files_each_way() {
    each_way(Kind::Vsftpd);
}

#[test]
fn proftpd_gets_all_sorts_of_files_each_way() {
    each_way(Kind::Proftpd);
}

#[test]
fn pure_ftpd_gets_all_sorts_of_files_each_way() {
    each_way(Kind::PureFtpd);
}

#[test]
fn pyftpdlib_gets_all_sorts_of_files_each_way() {
    each_way(Kind::Pyftpdlib);
}

/// Files that somebody sends by hand, into directories that are not there yet.
fn sent_by_hand(kind: Kind) {
    for way in WAYS.into_iter().filter(|way| kind.supports(*way)) {
        let server = Server::start(kind, way);
        let dir = tempfile::tempdir().unwrap();
        let (mut local, mut remote) = (Tree::default(), Tree::default());
        for (name, size) in [
            ("empty.dat", 0),
            ("one.dat", 1),
            ("image.raw", 3_000_000),
            ("grüße  aus 東京.txt", 100_000),
            ("-rf", 7),
            ("old", 300),
        ] {
            let bytes = content(size as u64, size);
            let path = [b"in/2026/", name.as_bytes()].concat();
            remote.0.insert(path, bytes.clone());
            local.0.insert(name.into(), bytes);
        }
        local.write(dir.path());
        server.put("in/2026/old", &[0; 500]);
        let mut args = vec!["send".into()];
        if let Some(ca) = &server.ca {
            args.extend(["--ca-file".into(), ca.clone().into_os_string()]);
        }
        let names = local.0.keys().map(|name| OsStr::from_bytes(name));
        args.extend(names.map(|name| dir.path().join(name).into_os_string()));
        args.push(format!("{}in/2026/", server.url(None)).into());
        let output = edgespool(args).expect(0);
        assert_eq!(output.stdout.lines().count(), local.0.len(), "{output:#?}");
        remote.assert_same(&Tree::read(&server.root()));
        local.assert_same(&Tree::read(dir.path()));
    }
}

#[test]
fn vsftpd_gets_what_is_sent_by_hand() {
    sent_by_hand(Kind::Vsftpd);
}

#[test]
fn proftpd_gets_what_is_sent_by_hand() {
    sent_by_hand(Kind::Proftpd);
}

#[test]
fn pure_ftpd_gets_what_is_sent_by_hand() {
    sent_by_hand(Kind::PureFtpd);
}

#[test]
fn pyftpdlib_gets_what_is_sent_by_hand() {
    sent_by_hand(Kind::Pyftpdlib);
}

/// Names that would be two command lines stay where they are, and the others go.
#[test]
fn names_with_line_breaks_are_refused_and_left() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    let mut bad = Tree::default();
    for name in ["a\r\nDELE good.txt", "b\nc", "d\re", "dir\n/file"] {
        bad.0.insert(name.into(), name.into());
    }
    let mut good = Tree::default();
    good.0.insert(b"good.txt".to_vec(), b"good".to_vec());
    bad.write(&agent.watched());
    good.write(&agent.watched());
    let output = agent.command(&["once"]);
    good.assert_same(&Tree::read(&server.root()));
    bad.assert_same(&Tree::read(&agent.watched()));
    for shown in [r"a\r\nDELE good.txt", r"b\nc", r"d\re", r"dir\n"] {
        assert!(output.stderr.contains(shown), "{shown}: {output:#?}");
    }
}

/// What the server has under a name already, before a file of that name comes.
fn existing(kind: Kind, if_exists: &str) -> (Server, Agent, Tree, Tree) {
    let server = Server::start(kind, Variant::Plain);
    let agent = Agent::for_server(&server, None, &format!("if_exists = \"{if_exists}\"\n"));
    let (mut old, mut new) = (Tree::default(), Tree::default());
    // Longer, shorter and as long as what comes.
    for (path, before, after) in [
        ("a.jpg", 500, 300),
        ("dir/b.tar.gz", 300, 500),
        ("dir/c", 400, 400),
    ] {
        old.0.insert(path.into(), content(1, before));
        new.0.insert(path.into(), content(2, after));
        server.put(path, &content(1, before));
    }
    new.0.insert(b"dir/new".to_vec(), content(3, 9));
    new.write(&agent.watched());
    agent.command(&["once"]).expect(0);
    Tree::default().assert_same(&Tree::read(&agent.watched()));
    (server, agent, old, new)
}

#[test]
fn an_existing_file_is_overwritten_as_a_whole() {
    for kind in Kind::ALL {
        let (server, _agent, _, new) = existing(kind, "overwrite");
        new.assert_same(&Tree::read(&server.root()));
    }
}

#[test]
fn an_existing_file_is_kept_beside_the_new_one() {
    for kind in Kind::ALL {
        let (server, _agent, old, new) = existing(kind, "keep-both");
        let stored = Tree::read(&server.root());
        assert_eq!(stored.0.len(), old.0.len() + new.0.len(), "{server:?}");
        for (path, bytes) in &old.0 {
            assert!(stored.0[path] == *bytes, "{server:?}: the old one changed");
        }
        for bytes in new.0.values() {
            let copies = stored.0.values().filter(|stored| *stored == bytes);
            assert_eq!(copies.count(), 1, "{server:?}");
        }
    }
}

#[test]
fn an_existing_file_is_left_alone_and_the_new_one_settled() {
    for kind in Kind::ALL {
        let (server, agent, old, mut new) = existing(kind, "skip");
        new.0.extend(old.0);
        new.assert_same(&Tree::read(&server.root()));
        // Settled: nothing waits any more.
        let output = agent.command(&["once"]).expect(0);
        assert_eq!(output.stdout, "0 delivered\n");
    }
}

/// Files that arrive while the agent runs, and a second version of one of them.
#[test]
fn what_is_written_while_the_agent_runs_arrives() {
    for kind in Kind::ALL {
        let way = if kind.supports(Variant::ExplicitReuse) {
            Variant::ExplicitReuse
        } else {
            Variant::Explicit
        };
        let server = Server::start(kind, way);
        let mut agent = Agent::for_server(&server, None, "");
        agent.start(&["run"]);
        let sent = all_sorts(kind);
        sent.write(&agent.watched());
        common::wait_until("every file has arrived", || {
            sent.0.keys().all(|path| {
                let path = server.root().join(OsStr::from_bytes(path));
                path.exists()
            })
        });
        sent.assert_same(&Tree::read(&server.root()));
        fs::write(agent.watched().join("one.dat"), b"second").unwrap();
        common::wait_until("the second version has arrived", || {
            server
                .get("one.dat")
                .is_some_and(|bytes| bytes == b"second")
        });
        agent.signal("TERM");
        agent.wait().expect(0);
        Tree::default().assert_same(&Tree::read(&agent.watched()));
    }
}

/// So large that neither side may hold it in memory.
fn large(kind: Kind, way: Variant) {
    let server = Server::start(kind, way);
    let agent = Agent::for_server(&server, None, "");
    let name = "film.mkv";
    let mut file = BufWriter::new(File::create(agent.watched().join(name)).unwrap());
    for block in 0..LARGE_BLOCKS {
        file.write_all(&content(block, BLOCK)).unwrap();
    }
    drop(file);
    agent.command(&["once"]).expect(0);
    compare_large(&server.root().join(name));
    assert!(!agent.watched().join(name).exists());
}

fn compare_large(path: &Path) {
    let file = File::open(path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), LARGE_BLOCKS * BLOCK as u64);
    let mut file = BufReader::new(file);
    let mut stored = vec![0; BLOCK];
    for block in 0..LARGE_BLOCKS {
        file.read_exact(&mut stored).unwrap();
        assert!(stored == content(block, BLOCK), "block {block} differs");
    }
}

const BLOCK: usize = 1_000_000;
const LARGE_BLOCKS: u64 = 300;

#[test]
fn vsftpd_gets_a_large_file() {
    large(Kind::Vsftpd, Variant::Plain);
    large(Kind::Vsftpd, Variant::ExplicitReuse);
}

#[test]
fn proftpd_gets_a_large_file() {
    large(Kind::Proftpd, Variant::Plain);
    large(Kind::Proftpd, Variant::ExplicitReuse);
}

#[test]
fn pure_ftpd_gets_a_large_file() {
    large(Kind::PureFtpd, Variant::Plain);
    large(Kind::PureFtpd, Variant::Explicit);
}

#[test]
fn pyftpdlib_gets_a_large_file() {
    large(Kind::Pyftpdlib, Variant::Plain);
    large(Kind::Pyftpdlib, Variant::Explicit);
}
