//! The spool on a real filesystem without a byte left: a small tmpfs in a mount
//! namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::servers::{Kind, Server, Variant};
use common::{Agent, SmallDisk, Tree, content, wait_until};
use edgespool::spool::{How, Options, Proof, Settlement, Spool, Taking};
use edgespool::sys::Sys;

/// Tells the test that it runs in its namespace; where the tmpfs is to be.
const INSIDE: &str = "EDGESPOOL_TEST_TMPFS";
const FILES: usize = 120;

#[test]
fn delivered_entries_leave_a_full_disk_with_one_receipt_each() {
    if let Some(dir) = std::env::var_os(INSIDE) {
        return on_a_full_disk(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=1m none \"$0\" && exec \"$@\"",
        ])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "delivered_entries_leave_a_full_disk_with_one_receipt_each",
        ])
        .env(INSIDE, dir.path())
        .status()
        .unwrap();
    assert!(
        status.success(),
        "failed, or not run as root, who may make a mount namespace"
    );
}

fn on_a_full_disk(dir: &Path) {
    let sys = Sys::os().unwrap();
    let options = Options {
        min_free: 0,
        ..Options::default()
    };
    let open = || Spool::open(&sys, &dir.join("spool"), options).unwrap();
    let mut spool = open();
    let taking = |name: &str| {
        let source = dir.join(name);
        fs::write(&source, name).unwrap();
        Taking {
            path: name.as_bytes().to_vec(),
            how: How::Move,
            closed: true,
            expect: sys.fs.meta(&source).unwrap(),
            source,
        }
    };
    let takings: Vec<Taking> = (0..FILES).map(|n| taking(&format!("file-{n}"))).collect();
    let taken = spool.take("camera", &takings);
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    // Records too long for what is left of the log's last block.
    let long = vec!["x".repeat(250); 15].join("/");
    let late = ["late-1", "late-2"].map(|name| Taking {
        path: format!("{long}/{name}").into_bytes(),
        ..taking(name)
    });

    fill(dir);
    for refused in spool.take("camera", &late) {
        assert!(refused.unwrap_err().is_full());
    }
    assert!(late.iter().all(|late| late.source.exists()));
    for id in taken.into_iter().map(Result::unwrap) {
        let receipt = spool.entry(id).unwrap().receipt(1, Proof::Hash);
        spool.settle(&[Settlement { id, receipt }]).unwrap();
        fill(dir);
    }
    drop(spool);

    let mut spool = open();
    assert_eq!(spool.stats().waiting.files, 0);
    let mut receipts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    spool
        .history(None, &mut |receipt| {
            *receipts.entry(receipt.path.clone()).or_default() += 1;
            true
        })
        .unwrap();
    assert_eq!(receipts.len(), FILES);
    assert!(receipts.values().all(|&count| count == 1), "{receipts:?}");

    fs::remove_file(dir.join("filler")).unwrap();
    let taken = spool.take("camera", &late);
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
}

/// Takes every byte that is left, as another process may at any time.
fn fill(dir: &Path) {
    let filler = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("filler"));
    // No room for its name even: full already.
    let Ok(mut filler) = filler else { return };
    while filler.write_all(&[1; 4096]).is_ok() {}
    while filler.write_all(&[1; 64]).is_ok() {}
}

/// Files that are moved from another filesystem, and as many that are copied.
const EACH: u64 = 4;

/// The spool on a small disk, the sources on another one.
fn on_a_small_disk() -> (Server, Agent, Tree, SmallDisk) {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    let disk = SmallDisk::new(1 << 20);
    let spool = disk.path().join("spool");
    let config = fs::read_to_string(agent.config()).unwrap();
    let config = config.replace("dir = \"spool\"", &format!("dir = \"{}\"", spool.display()));
    agent.write_config(&format!(
        "{config}[[watch]]\nname = \"copies\"\ndir = \"originals\"\nserver = \"central\"\n\
         quiet = \"200ms\"\ntake = \"copy\"\nremote = \"/copies/{{path}}\"\n"
    ));
    let mut files = Tree::default();
    for n in 0..EACH {
        for (at, dir) in [(0, ""), (1, "copies/")] {
            let bytes = content(2 * n + at, 5_000 + 9_000 * n as usize);
            files.0.insert(format!("{dir}file-{n}.bin").into(), bytes);
        }
    }
    fs::create_dir(agent.dir().join("originals")).unwrap();
    (server, agent, files, disk)
}

/// Writes the sources; those of copies stay, the others are moved.
fn write_sources(agent: &Agent, files: &Tree) {
    for (path, bytes) in &files.0 {
        let path = std::str::from_utf8(path).unwrap();
        let to = match path.strip_prefix("copies/") {
            Some(name) => agent.dir().join("originals").join(name),
            None => agent.watched().join(path),
        };
        fs::write(to, bytes).unwrap();
    }
}

/// Fills the disk but for so many pages.
fn fill_but(disk: &SmallDisk, pages: u64) -> PathBuf {
    let filler = disk.fill("filler");
    let file = fs::File::options().write(true).open(&filler).unwrap();
    let filled = file.metadata().unwrap().len();
    file.set_len(filled.saturating_sub(pages * 4096)).unwrap();
    filler
}

#[test]
fn a_disk_that_fills_up_at_any_step_is_waited_for() {
    // Each waits for the agent to try again.
    std::thread::scope(|scope| {
        for room in [0, 1, 2, 3, 4, 6, 8, 11, 16, 24, 40, 64] {
            scope.spawn(move || fills_up_with(room));
        }
    });
}

/// Begins with so many pages of room, and gives the rest when that is used up.
fn fills_up_with(room: u64) {
    let (server, mut agent, files, disk) = on_a_small_disk();
    // The spool is there before the disk is full.
    agent.command(&["once"]).expect(0);
    let filler = fill_but(&disk, room);
    write_sources(&agent, &files);
    agent.start(&["-v", "run"]);
    let watched = agent.watched();
    let arrived = || Tree::read(&watched).0.is_empty() && Tree::read(&server.root()) == files;
    let said = |agent: &Agent| {
        let said = agent.stderr();
        said.contains("No space left") || said.contains("no room")
    };
    wait_until("the disk is full or all is done", || {
        said(&agent) || arrived()
    });
    for (path, bytes) in &Tree::read(&agent.watched()).0 {
        // One that is looked at before it is removed has another name.
        let own = path.strip_prefix(b".edgespool-taken-").unwrap_or(path);
        assert!(files.0[own] == *bytes, "{room}: the source changed");
    }
    fs::remove_file(&filler).unwrap();
    wait_until("all files have arrived", arrived);
    let receipts = || {
        let history = agent.command(&["history", "--json"]).stdout;
        history.lines().count() >= files.0.len()
    };
    wait_until("all receipts are written", receipts);
    agent.signal("TERM");
    agent.wait().expect(0);
    files.assert_same(&Tree::read(&server.root()));
    assert_eq!(
        Tree::read(&agent.dir().join("originals")).0.len() as u64,
        EACH
    );
    let history = agent.command(&["history", "--json"]).expect(0).stdout;
    assert_eq!(history.lines().count(), files.0.len(), "{room}: {history}");
}

#[test]
fn a_spool_that_cannot_even_be_made_is_made_when_there_is_room() {
    for room in 0..6 {
        let (server, agent, files, disk) = on_a_small_disk();
        write_sources(&agent, &files);
        let filler = fill_but(&disk, room);
        let output = agent.command(&["once", "--patience", "1s"]);
        assert_ne!(output.code, Some(0), "{room}: {output:#?}");
        let said = output.stderr.contains("No space left") || output.stderr.contains("no room");
        assert!(said, "{room}: {output:#?}");
        fs::remove_file(&filler).unwrap();
        agent.command(&["once"]).expect(0);
        files.assert_same(&Tree::read(&server.root()));
    }
}
