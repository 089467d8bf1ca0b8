//! Spools of other versions: this program reads every older one, of which
//! `tests/data` keeps one each, and leaves a newer one alone.
//!
//! A kept spool has in lane `camera` the files `a.txt` (waiting), `b/c.txt`
//! (refused twice), `d.txt` (a dead letter), `e.txt` (delivered) and `f.txt`
//! (dropped), and in lane `copies`, which is paused, `g.txt`. Each holds its own
//! name and a line break.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::servers::{Kind, Server, Variant};
use common::{Agent, Tree};
use serde_json::Value;

/// The formats that were ever written.
const FORMATS: [u32; 1] = [1];

fn agent_with(format: u32, server: &Server) -> Agent {
    let agent = Agent::for_server(server, None, "");
    let config = fs::read_to_string(agent.config()).unwrap();
    agent.write_config(&format!(
        "{config}[[watch]]\nname = \"copies\"\ndir = \"originals\"\nserver = \"central\"\n\
         take = \"copy\"\nremote = \"/{{path}}\"\n"
    ));
    fs::create_dir(agent.dir().join("originals")).unwrap();
    let kept = format!("tests/data/spool-{format}");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(kept);
    Tree::read(&kept).write(&agent.spool());
    agent
}

fn files(names: &[&str]) -> Tree {
    let file = |name: &&str| (name.as_bytes().to_vec(), format!("{name}\n").into_bytes());
    Tree(names.iter().map(file).collect())
}

#[test]
fn a_spool_of_every_older_format_is_read() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    for format in FORMATS {
        let agent = agent_with(format, &server);
        let listed = agent.command(&["queue", "list", "--json"]).expect(0).stdout;
        let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
        let entries: Vec<(&str, &str, u64)> = listed
            .iter()
            .map(|entry| {
                let text = |key: &str| entry[key].as_str().unwrap();
                let attempts = entry["attempts"].as_u64().unwrap();
                (text("path"), text("state"), attempts)
            })
            .collect();
        let expected = [
            ("a.txt", "waiting", 0),
            ("b/c.txt", "waiting", 2),
            ("d.txt", "dead", 1),
            ("g.txt", "waiting", 0),
        ];
        assert_eq!(entries, expected, "format {format}");
        assert_eq!(listed[1]["last_error"], "451 not now");
        let history = agent.command(&["history", "--json"]).expect(0).stdout;
        let receipts = history.lines().map(|line| {
            let receipt: Value = serde_json::from_str(line).unwrap();
            (receipt["path"].clone(), receipt["proof"].clone())
        });
        let expected = [("e.txt", "hash"), ("f.txt", "dropped")];
        let expected = expected.map(|(path, proof)| (path.into(), proof.into()));
        assert_eq!(receipts.collect::<Vec<(Value, Value)>>(), expected);
    }
}

#[test]
fn a_spool_of_every_older_format_is_exported_and_delivered() {
    for format in FORMATS {
        let server = Server::start(Kind::Vsftpd, Variant::Plain);
        let agent = agent_with(format, &server);
        let out = agent.dir().join("out");
        agent
            .command(&["queue", "export", out.to_str().unwrap()])
            .expect(0);
        let exported = Tree::read(&out).0;
        for (path, bytes) in files(&["a.txt", "b/c.txt", "g.txt"]).0 {
            let there =
                |(name, content): (&Vec<u8>, &Vec<u8>)| name.ends_with(&path) && *content == bytes;
            assert!(exported.iter().any(there), "{}", path.escape_ascii());
        }
        agent.command(&["queue", "retry", "--all"]).expect(0);
        agent.command(&["queue", "resume", "copies"]).expect(0);
        agent.command(&["once"]).expect(0);
        let names = ["a.txt", "b/c.txt", "d.txt", "g.txt"];
        files(&names).assert_same(&Tree::read(&server.root()));
    }
}

#[test]
fn a_spool_of_a_newer_format_is_left_alone() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = agent_with(1, &server);
    fs::write(agent.spool().join("format"), "edgespool spool 2 5f1c2a90\n").unwrap();
    fs::write(agent.watched().join("new.txt"), "new").unwrap();
    let before = Tree::read(&agent.spool());
    for command in [&["once"][..], &["run"], &["queue", "list"], &["status"]] {
        let output = agent.command(command);
        assert_ne!(output.code, Some(0), "{command:?}: {output:#?}");
        for words in ["has format 2", "none newer than 1", "use the newer program"] {
            assert!(output.stderr.contains(words), "{command:?}: {output:#?}");
        }
    }
    let mut after = Tree::read(&agent.spool());
    after.0.remove(&b"lock"[..]);
    let mut before = before;
    before.0.remove(&b"lock"[..]);
    before.assert_same(&after);
    assert!(agent.watched().join("new.txt").exists());
    Tree::default().assert_same(&Tree::read(&server.root()));
}
