//! The spool on a real filesystem without a byte left: a small tmpfs in a mount
//! namespace of its own.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

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
