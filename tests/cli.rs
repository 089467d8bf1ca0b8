//! What a person and a script see of the queue: the built binary, on a spool
//! that the library made.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::fs;

use common::{Agent, Output};
use edgespool::spool::{EntryId, How, Options, Proof, Settlement, Spool, Taking};
use edgespool::status::report::{CurrentReport, Report};
use edgespool::status::{Answer, Request, Response, bind, serve};
use edgespool::sys::{LocalFuture, Sys};
use serde_json::Value;

/// A spool with three entries: `a` waits, `b/c` is a dead letter, and `d` was
/// delivered.
fn world() -> (Agent, BTreeMap<&'static str, EntryId>) {
    let agent = Agent::new();
    agent.write_config(
        "device = \"test\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n\
         [[server]]\nname = \"central\"\nhost = \"localhost\"\nuser = \"anonymous\"\n\
         [[watch]]\nname = \"camera\"\ndir = \"watched\"\n",
    );
    let sys = Sys::os().unwrap();
    let mut spool = Spool::open(&sys, &agent.spool(), Options::default()).unwrap();
    let mut ids = BTreeMap::new();
    for name in ["a", "b/c", "d"] {
        let source = agent.watched().join(name);
        fs::create_dir_all(source.parent().unwrap()).unwrap();
        fs::write(&source, format!("content of {name}")).unwrap();
        let taking = Taking {
            expect: sys.fs.meta(&source).unwrap(),
            source,
            path: name.into(),
            how: How::Move,
            closed: true,
        };
        let taken = spool.take("camera", &[taking]).pop().unwrap();
        ids.insert(name, taken.unwrap());
    }
    let refused = "550 no \u{1b}[31mway";
    spool.failed(ids["b/c"], refused, true).unwrap();
    let mut receipt = spool
        .entry(ids["d"])
        .unwrap()
        .receipt(1_735_682_645_000_000_000, Proof::Size);
    receipt.server = "central".into();
    receipt.remote = b"/test/d".to_vec();
    let settlement = Settlement {
        id: ids["d"],
        receipt,
    };
    spool.settle(&[settlement]).unwrap();
    (agent, ids)
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap()
}

fn states(agent: &Agent) -> Vec<(String, String)> {
    let list = json(&agent.command(&["queue", "list", "--json"]).expect(0));
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = list.as_array().unwrap().iter();
    rows.map(|row| (text(row, "path"), text(row, "state")))
        .collect()
}

fn state(path: &str, state: &str) -> (String, String) {
    (path.into(), state.into())
}

#[test]
fn the_list_has_the_keys_that_scripts_rely_on() {
    let (agent, ids) = world();
    let list = json(&agent.command(&["queue", "list", "--json"]).expect(0));
    assert_eq!(list.as_array().unwrap().len(), 2);
    let dead = &list[1];
    assert_eq!(dead["id"], ids["b/c"].to_string());
    assert_eq!(dead["watch"], "camera");
    assert_eq!(dead["path"], "b/c");
    assert_eq!(dead["size"], 14);
    assert!(dead["queued"].as_str().unwrap().ends_with('Z'));
    assert_eq!(dead["attempts"], 1);
    assert_eq!(dead["state"], "dead");
    assert_eq!(dead["last_error"], "550 no \u{1b}[31mway");
    assert_eq!(list[0]["state"], "waiting");
    assert_eq!(list[0]["last_error"], Value::Null);
    let only = json(
        &agent
            .command(&["queue", "list", "--dead", "--json"])
            .expect(0),
    );
    assert_eq!(only.as_array().unwrap(), std::slice::from_ref(dead));
}

#[test]
fn a_servers_words_cannot_steer_the_terminal() {
    let (agent, ids) = world();
    let id = ids["b/c"].to_string();
    for args in [&["queue", "list"][..], &["queue", "show", &id]] {
        let output = agent.command(args).expect(0);
        assert!(output.stdout.contains("550 no \\x1b[31mway"), "{output:?}");
        assert!(!output.stdout.contains('\u{1b}'));
    }
}

#[test]
fn without_a_spool_there_is_nothing_to_list() {
    let (agent, _) = world();
    fs::remove_dir_all(agent.spool()).unwrap();
    let empty = agent.command(&["queue", "list", "--json"]).expect(0);
    assert_eq!(json(&empty), Value::Array(Vec::new()));
    agent.command(&["history"]).expect(0);
    agent.command(&["queue", "verify"]).expect(0);
    let status = json(&agent.command(&["status", "--json"]).expect(0));
    assert_eq!(status["spool"]["files"], 0);
    assert_eq!(status["lanes"][0]["watch"], "camera");
    assert!(!agent.spool().exists());
}

#[test]
fn a_dead_letter_is_tried_again_or_dropped_when_asked() {
    let (agent, ids) = world();
    let dead = ids["b/c"].to_string();
    agent.command(&["queue", "retry", &dead]).expect(0);
    assert_eq!(
        states(&agent),
        [state("a", "waiting"), state("b/c", "waiting")]
    );
    // It is none any more.
    agent.command(&["queue", "retry", &dead]).expect(1);
    agent.command(&["queue", "drop", &dead]).expect(0);
    assert_eq!(states(&agent), [state("a", "waiting")]);
    agent.command(&["queue", "drop", "nonsense"]).expect(2);
}

#[test]
fn all_means_all_dead_letters_and_no_waiting_file() {
    let (agent, _) = world();
    agent.command(&["queue", "drop", "--all"]).expect(0);
    assert_eq!(states(&agent), [state("a", "waiting")]);
}

#[test]
fn a_pause_outlives_the_command() {
    let (agent, _) = world();
    let paused = |agent: &Agent| {
        let status = json(&agent.command(&["status", "--json"]).expect(0));
        status["lanes"][0]["paused"].as_bool().unwrap()
    };
    agent.command(&["queue", "pause"]).expect(0);
    assert!(paused(&agent));
    agent.command(&["queue", "resume", "camera"]).expect(0);
    assert!(!paused(&agent));
    agent.command(&["queue", "pause", "camra"]).expect(2);
}

#[test]
fn nothing_can_be_flushed_without_an_agent() {
    let (agent, _) = world();
    agent.command(&["queue", "flush"]).expect(75);
}

#[test]
fn the_status_of_a_stopped_agent_is_what_the_spool_holds() {
    let (agent, _) = world();
    let status = json(&agent.command(&["status", "--json"]).expect(0));
    assert_eq!(status["state"], "stopped");
    assert_eq!(status["device"], "test");
    assert_eq!(status["uptime_s"], 0);
    assert_eq!(status["spool"]["files"], 1);
    assert_eq!(status["spool"]["bytes"], 12);
    assert_eq!(status["spool"]["max_bytes"], 1 << 30);
    assert_eq!(status["spool"]["dead_letters"], 1);
    assert!(status["spool"]["oldest_age_s"].is_u64());
    assert_eq!(status["lanes"][0]["files"], 1);
    assert_eq!(status["lanes"][0]["next_try_s"], Value::Null);
    assert_eq!(status["servers"][0]["name"], "central");
    assert_eq!(status["servers"][0]["state"], "idle");
    assert_eq!(status["current"], Value::Array(Vec::new()));
    assert_eq!(status["delivered"]["files"], 0);
}

#[test]
fn history_is_one_document_a_line() {
    let (agent, _) = world();
    let history = agent.command(&["history", "--json"]).expect(0);
    assert_eq!(history.stdout.lines().count(), 1);
    let receipt = json(&history);
    assert_eq!(receipt["time"], "2024-12-31T22:04:05.000Z");
    assert_eq!(receipt["watch"], "camera");
    assert_eq!(receipt["path"], "d");
    assert_eq!(receipt["server"], "central");
    assert_eq!(receipt["remote"], "/test/d");
    assert_eq!(receipt["size"], 12);
    assert_eq!(receipt["proof"], "size");
    assert_eq!(receipt["attempts"], 0);
    assert_eq!(receipt["sent_bytes"], 0);
    assert_eq!(receipt["seconds"], 0.0);
    let recent = agent.command(&["history", "--since", "1d"]).expect(0);
    assert_eq!(recent.stdout, "");
}

#[test]
fn export_copies_what_waits_and_never_overwrites() {
    let (agent, _) = world();
    let target = agent.dir().join("out");
    let args = ["queue", "export", target.to_str().unwrap()];
    agent.command(&args).expect(0);
    let copy = target.join("camera/a");
    assert_eq!(fs::read(&copy).unwrap(), b"content of a");
    assert!(!target.join("camera/b").exists());
    fs::write(&copy, "mine").unwrap();
    agent.command(&args).expect(1);
    assert_eq!(fs::read(&copy).unwrap(), b"mine");
}

#[test]
fn export_follows_no_link_out_of_its_directory() {
    let (agent, _) = world();
    let target = agent.dir().join("out");
    fs::create_dir(&target).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), target.join("camera")).unwrap();
    let args = ["queue", "export", target.to_str().unwrap()];
    agent.command(&args).expect(1);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn verify_finds_damage_and_changes_nothing() {
    let (agent, _) = world();
    agent.command(&["queue", "verify"]).expect(0);
    let lane = fs::read_dir(agent.spool().join("lanes"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let is_log = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.len() == "00000000.log".len() && name.ends_with(".log")
    };
    let mut names = fs::read_dir(&lane).unwrap().map(|e| e.unwrap().path());
    let log = names.find(is_log).unwrap();
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, &bytes).unwrap();
    let verified = agent.command(&["queue", "verify"]).expect(1);
    assert!(verified.stdout.contains("FAILED"), "{verified:?}");
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[test]
fn a_broken_config_is_said_so_by_every_command() {
    let (agent, _) = world();
    agent.write_config("nonsense = 1\n");
    for args in [
        &["status"][..],
        &["queue", "list"],
        &["history"],
        &["check"],
    ] {
        let output = agent.command(args).expect(78);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("nonsense"), "{output:?}");
    }
}

/// An agent that is uploading `a`, and does whatever it is told.
struct Busy;

impl Answer for Busy {
    fn answer(&self, request: Request) -> LocalFuture<'_, Response> {
        let mut report = Report {
            state: "running".into(),
            ..Report::default()
        };
        report.current.push(CurrentReport {
            watch: "camera".into(),
            path: "a".into(),
            size: 12,
            sent: 6,
        });
        Box::pin(async move {
            match request {
                Request::Status => Response::with(serde_json::to_value(report).unwrap()),
                Request::Drop { .. } => Response::refused("it is being uploaded"),
                other => Response::done(format!("told: {other:?}")),
            }
        })
    }
}

#[test]
fn a_running_agent_is_asked() {
    let (agent, ids) = world();
    let socket = agent.spool().join("control.sock");
    let id = ids["a"].to_string();
    smol::block_on(async {
        let listener = bind(&socket).unwrap();
        let serving = async { serve(&listener, &Busy).await };
        let asking = smol::unblock(move || {
            assert_eq!(states(&agent)[0], state("a", "uploading"));
            let status = agent.command(&["status"]).expect(0).stdout;
            assert!(status.contains("camera: a, 50 % of 12 B"), "{status}");
            let flushed = agent.command(&["queue", "flush", "camera"]).expect(0);
            assert!(flushed.stdout.starts_with("told: Flush"), "{flushed:?}");
            let refused = agent.command(&["queue", "drop", &id]).expect(1);
            assert!(refused.stderr.contains("it is being uploaded"));
        });
        smol::future::or(serving, asking).await;
    });
}
