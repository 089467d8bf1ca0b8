//! `edgespool demo` as somebody sees it who tries the program for the first time:
//! the built binary, without a terminal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::wait_until;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Whoever that is, it is not root.
const NOBODY: u32 = 65534;

/// A place for temporary files that everyone may write to, and a copy of the
/// binary that everyone may run.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let everyone = fs::Permissions::from_mode(0o777);
        fs::set_permissions(place.0.path(), everyone.clone()).unwrap();
        fs::create_dir(place.tmp()).unwrap();
        fs::set_permissions(place.tmp(), everyone).unwrap();
        // By a process of its own: a child that another test forks while this one
        // writes would hold the file open, and nobody could run it.
        let mut copy = Command::new("cp");
        copy.arg(env!("CARGO_BIN_EXE_edgespool"))
            .arg(place.binary());
        assert!(copy.status().unwrap().success());
        place
    }

    fn tmp(&self) -> PathBuf {
        self.0.path().join("tmp")
    }

    fn binary(&self) -> PathBuf {
        self.0.path().join("edgespool")
    }

    /// A command of the binary, never as root.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.binary());
        command
            .args(args)
            .current_dir("/")
            .env_clear()
            .env("TMPDIR", self.tmp())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What was left among the temporary files.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.tmp()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Its lines, if it ended with this code.
#[track_caller]
fn lines(output: &Output, code: i32) -> Vec<String> {
    assert_eq!(output.status.code(), Some(code), "{output:#?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn without_root_and_without_a_terminal_everything_holds() {
    let place = Place::new();
    let output = place.run(&["demo", "--seconds", "3"]);
    let lines = lines(&output, 0);
    let has = |begin: &str, part: &str| {
        let found = |line: &String| line.starts_with(begin) && line.contains(part);
        assert!(lines.iter().any(found), "{begin}, {part}: {lines:#?}");
    };
    has("ok    all ", "on the server under their final names");
    has("ok    nothing else is there", "no partial file");
    has("ok    each came once", "receipt");
    has("ok    the link broke", "went on at");
    has("ok    nothing stays behind", "devices");
    has("", " s  cut      ");
    has("", " s  arrived  sensor/readings-0000.csv, ");
    has("", " s  resumed  camera/wide-0000.jpg is there: ");
    assert!(!output.stdout.contains(&0x1b), "it steers no terminal");
    assert!(output.stderr.is_empty(), "{output:#?}");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

#[test]
fn a_kept_demo_can_be_looked_into() {
    let place = Place::new();
    let lines = lines(&place.run(&["demo", "--seconds", "1", "--keep"]), 0);
    let [dir] = &place.left()[..] else {
        panic!("one directory: {lines:#?}")
    };
    let kept = format!("kept in {}: edgespool.toml", dir.display());
    assert!(
        lines.iter().any(|line| line.starts_with(&kept)),
        "{lines:#?}"
    );
    let config = dir.join("edgespool.toml");
    let config = config.to_str().unwrap();
    let history = place.run(&["-c", config, "history", "--json"]);
    let history: Vec<Value> = (self::lines(&history, 0).iter())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sums = fs::read_to_string(dir.join("made.sha256")).unwrap();
    assert_eq!(history.len(), sums.lines().count());
    for line in sums.lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        assert_eq!(sum, sha256(&dir.join("server").join(path)), "{path}");
    }
    let is_cut = |row: &&Value| row["path"] == "wide-0000.jpg";
    let cut = history.iter().find(is_cut).unwrap();
    assert!(cut["sent_bytes"].as_u64() >= cut["size"].as_u64(), "{cut}");
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let place = Place::new();
    let child = place.command(&["demo", "--seconds", "600"]).spawn();
    let mut child: Child = child.unwrap();
    let begun = || {
        let left = place.left();
        left.iter().any(|dir| dir.join("spool/format").exists())
    };
    wait_until("the demo plays", begun);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    wait_until("it has ended", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:#?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "edgespool: interrupted: nothing was compared\n");
    assert!(place.left().is_empty(), "{:?}", place.left());
}

fn sha256(path: &Path) -> String {
    let digest = Sha256::digest(fs::read(path).unwrap());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
