//! The end of the demo: does everything hold that was promised?
//!
//! [`judge`] looks at the disks of both sides, the agent's receipts, what the
//! receiver saw and when the link broke, and says for each promise whether it
//! holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::link::Broken;
use super::made::Made;
use crate::base::ByteSize;
use crate::cli::text::{count, safe};
use crate::spool::{Proof, Receipt};

/// All that there is to judge by.
pub(super) struct Evidence<'a> {
    /// What the devices made.
    pub(super) made: &'a [Made],
    /// The devices' directory.
    pub(super) devices: &'a Path,
    /// Everything that the server keeps.
    pub(super) server: &'a Path,
    /// Where below it the watches' directories are.
    pub(super) below: &'a str,
    /// What the agent wrote down.
    pub(super) receipts: &'a [Receipt],
    /// What the receiver saw.
    pub(super) arrivals: &'a [Arrival],
    /// When the link broke.
    pub(super) cuts: &'a [Broken],
}

/// A file that the receiver had as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// As [`Made::path`].
    pub(super) path: String,
    /// Size in bytes.
    pub(super) size: u64,
    /// Where the upload that completed it began.
    pub(super) from: u64,
}

/// One promise, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) holds: bool,
    /// One line.
    pub(super) text: String,
}

/// Judges every promise.
///
/// # Errors
/// What the disk says; nothing is known then.
pub(super) fn judge(evidence: &Evidence<'_>) -> io::Result<Vec<Finding>> {
    let there = files_below(evidence.server)?;
    let mut findings = vec![arrived(evidence, &there)?];
    findings.push(nothing_else(evidence, &there));
    findings.push(once(evidence));
    findings.push(resumed(evidence));
    findings.push(nothing_left(&files_below(evidence.devices)?));
    Ok(findings)
}

/// Every file is there, with the bytes that the device made.
fn arrived(evidence: &Evidence<'_>, there: &BTreeMap<String, PathBuf>) -> io::Result<Finding> {
    let mut wrong = Vec::new();
    let mut bytes = 0;
    for made in evidence.made {
        match there.get(&final_name(evidence, made)) {
            None => wrong.push(format!("{} is missing", made.path)),
            Some(file) if hash(file)? != (made.size, made.sha256) => {
                wrong.push(format!("{} has other bytes than were made", made.path));
            }
            Some(_) => bytes += made.size,
        }
    }
    if evidence.made.is_empty() {
        wrong.push("nothing was made".to_owned());
    }
    let files = count(evidence.made.len() as u64, "file");
    let good = format!(
        "all {files} are on the server under their final names, equal in every one of {}",
        count(bytes, "byte")
    );
    Ok(finding(&wrong, good, "not everything arrived whole"))
}

/// The server has no partial file, no second copy, nothing foreign.
fn nothing_else(evidence: &Evidence<'_>, there: &BTreeMap<String, PathBuf>) -> Finding {
    let expected: BTreeMap<String, &Made> = (evidence.made.iter())
        .map(|made| (final_name(evidence, made), made))
        .collect();
    let others = there.keys().filter(|path| !expected.contains_key(*path));
    let wrong: Vec<String> = others.map(|path| safe(path.as_bytes())).collect();
    let good = "nothing else is there: no partial file, no second copy".to_owned();
    finding(&wrong, good, "the server has what nobody made")
}

/// The agent has exactly one receipt for each file, and the receiver had it
/// complete once.
fn once(evidence: &Evidence<'_>) -> Finding {
    let mut wrong = Vec::new();
    for made in evidence.made {
        let of_file = |receipt: &&Receipt| receipt_path(receipt) == made.path.as_bytes();
        let receipts: Vec<_> = evidence.receipts.iter().filter(of_file).collect();
        let of_file = |arrival: &&Arrival| arrival.path == made.path;
        let arrivals = evidence.arrivals.iter().filter(of_file).count();
        let proven = |receipt: &&Receipt| matches!(receipt.proof, Proof::Hash | Proof::Size);
        match receipts.as_slice() {
            [one] if proven(one) && arrivals == 1 => {}
            [one] if proven(one) => {
                wrong.push(format!("{} came {}", made.path, times(arrivals)));
            }
            [_] => wrong.push(format!("{} was delivered without proof", made.path)),
            other => wrong.push(format!("{} has {} receipts", made.path, other.len())),
        }
    }
    let good = "each came once, and the agent has one receipt for it".to_owned();
    finding(&wrong, good, "not everything came once")
}

/// The link broke in the middle of a file at least once, and the file went on
/// from there.
fn resumed(evidence: &Evidence<'_>) -> Finding {
    let resumed: Vec<&Arrival> = (evidence.arrivals.iter())
        .filter(|arrival| went_on(arrival, evidence.receipts))
        .collect();
    let cuts = count(evidence.cuts.len() as u64, "time");
    let good = match resumed.as_slice() {
        [] => None,
        [one, others @ ..] if !evidence.cuts.is_empty() => Some(format!(
            "the link broke {cuts}, and {} went on at {} of {}{}",
            one.path,
            ByteSize(one.from),
            ByteSize(one.size),
            match others.len() {
                0 => String::new(),
                n => format!(" ({n} more did the like)"),
            }
        )),
        _ => None,
    };
    Finding {
        holds: good.is_some(),
        text: good.unwrap_or_else(|| {
            format!("the link broke {cuts}, but no file was cut in the middle and then resumed")
        }),
    }
}

/// Whether a file was cut in the middle, and only the rest was sent then: the
/// upload that completed it began where another had ended, and fewer bytes were
/// sent than the part that had arrived and all of it again.
fn went_on(arrival: &Arrival, receipts: &[Receipt]) -> bool {
    let of_file = |receipt: &&Receipt| receipt_path(receipt) == arrival.path.as_bytes();
    let receipt = receipts.iter().find(of_file);
    let saved = |receipt: &Receipt| {
        (arrival.size..arrival.size + arrival.from).contains(&receipt.sent_bytes)
    };
    (1..arrival.size).contains(&arrival.from) && receipt.is_some_and(saved)
}

/// The devices' directories are empty: what was taken is gone there.
fn nothing_left(there: &BTreeMap<String, PathBuf>) -> Finding {
    let wrong: Vec<String> = there.keys().map(|path| safe(path.as_bytes())).collect();
    let good = "nothing stays behind on the devices".to_owned();
    finding(&wrong, good, "files stay behind on the devices")
}

fn final_name(evidence: &Evidence<'_>, made: &Made) -> String {
    format!("{}/{}", evidence.below, made.path)
}

/// As [`Made::path`].
fn receipt_path(receipt: &Receipt) -> Vec<u8> {
    [receipt.watch.as_bytes(), b"/", &receipt.path].concat()
}

fn times(n: usize) -> String {
    match n {
        0 => "never".to_owned(),
        n => count(n as u64, "time"),
    }
}

/// Good, or the first few of what is wrong.
fn finding(wrong: &[String], good: String, bad: &str) -> Finding {
    let holds = wrong.is_empty();
    let shown = wrong.iter().take(WRONG_SHOWN).cloned().collect::<Vec<_>>();
    let text = match (holds, wrong.len().saturating_sub(WRONG_SHOWN)) {
        (true, _) => good,
        (_, 0) => format!("{bad}: {}", shown.join(", ")),
        (_, more) => format!("{bad}: {}, and {more} more", shown.join(", ")),
    };
    Finding { holds, text }
}

/// All that is not a directory, by its path below `root`.
fn files_below(root: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                dirs.push(path);
                continue;
            }
            let below = path.strip_prefix(root).unwrap_or(&path);
            found.insert(below.to_string_lossy().into_owned(), path);
        }
    }
    Ok(found)
}

/// Size and SHA-256 of what is on the disk.
fn hash(path: &Path) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        let got = file.read(&mut piece)?;
        if got == 0 {
            return Ok((size, digest.finalize().into()));
        }
        digest.update(piece.get(..got).unwrap_or_default());
        size += got as u64;
    }
}

const WRONG_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::link::Victims;
    use crate::sys::Mono;
    use std::time::Duration;

    /// Two files that arrived, the first of them with a cut at byte 4000.
    struct World {
        dir: tempfile::TempDir,
        made: Vec<Made>,
        receipts: Vec<Receipt>,
        arrivals: Vec<Arrival>,
        cuts: Vec<Broken>,
    }

    impl World {
        fn new() -> World {
            let dir = tempfile::tempdir().unwrap();
            for name in ["camera", "sensor"] {
                fs::create_dir_all(dir.path().join("devices").join(name)).unwrap();
                fs::create_dir_all(dir.path().join("server/demo").join(name)).unwrap();
            }
            let mut world = World {
                dir,
                made: Vec::new(),
                receipts: Vec::new(),
                arrivals: Vec::new(),
                cuts: vec![Broken {
                    at: Mono::default(),
                    what: Victims::Data,
                    outage: Duration::ZERO,
                    carried: 4500,
                    transfers: 1,
                }],
            };
            world.deliver("camera", "a.jpg", &[1; 10_000], 4000);
            world.deliver("sensor", "b.csv", b"1,2\n", 0);
            world
        }

        fn deliver(&mut self, watch: &str, name: &str, content: &[u8], from: u64) {
            let path = format!("{watch}/{name}");
            fs::write(self.at(&path), content).unwrap();
            let made = Made::of(path.clone(), content);
            self.receipts.push(Receipt {
                id: None,
                time_ns: 0,
                watch: watch.into(),
                path: name.into(),
                server: "central".into(),
                remote: format!("/demo/{path}").into_bytes(),
                size: made.size,
                proof: Proof::Hash,
                attempts: if from > 0 { 2 } else { 1 },
                sent_bytes: made.size + from / 10,
                seconds: 1.0,
            });
            self.arrivals.push(Arrival {
                path,
                size: made.size,
                from,
            });
            self.made.push(made);
        }

        /// Where the server has a file.
        fn at(&self, path: &str) -> PathBuf {
            self.dir.path().join("server/demo").join(path)
        }

        /// What does not hold.
        fn failures(&self) -> Vec<String> {
            let evidence = Evidence {
                made: &self.made,
                devices: &self.dir.path().join("devices"),
                server: &self.dir.path().join("server"),
                below: "demo",
                receipts: &self.receipts,
                arrivals: &self.arrivals,
                cuts: &self.cuts,
            };
            let findings = judge(&evidence).unwrap().into_iter();
            let failed = findings.filter(|finding| !finding.holds);
            failed.map(|finding| finding.text).collect()
        }
    }

    #[test]
    fn a_good_demo_holds() {
        assert_eq!(World::new().failures(), [""; 0]);
    }

    #[test]
    fn a_changed_byte_is_found() {
        let world = World::new();
        let mut content = vec![1; 10_000];
        content[9_999] = 2;
        fs::write(world.at("camera/a.jpg"), content).unwrap();
        let expected = "not everything arrived whole: camera/a.jpg has other bytes than were made";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn a_missing_file_is_found() {
        let world = World::new();
        fs::remove_file(world.at("sensor/b.csv")).unwrap();
        let expected = "not everything arrived whole: sensor/b.csv is missing";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn a_second_copy_is_found() {
        let world = World::new();
        fs::copy(world.at("sensor/b.csv"), world.at("sensor/b.csv.1")).unwrap();
        let expected = "the server has what nobody made: demo/sensor/b.csv.1";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn a_partial_file_that_was_left_is_found() {
        let world = World::new();
        fs::write(world.at("camera/.a.jpg.0001.part"), [1; 4000]).unwrap();
        let expected = "the server has what nobody made: demo/camera/.a.jpg.0001.part";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn a_file_that_came_twice_is_found() {
        let mut world = World::new();
        world.arrivals.push(world.arrivals[1].clone());
        let expected = "not everything came once: sensor/b.csv came 2 times";
        assert_eq!(world.failures(), [expected]);
        let mut world = World::new();
        world.receipts.push(world.receipts[1].clone());
        let expected = "not everything came once: sensor/b.csv has 2 receipts";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn a_file_that_was_not_delivered_has_no_proof() {
        let mut world = World::new();
        world.receipts[1].proof = Proof::Evicted;
        let expected = "not everything came once: sensor/b.csv was delivered without proof";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn without_a_resumed_file_it_does_not_hold() {
        let spoil: [fn(&mut World); 3] = [
            |world| world.cuts.clear(),
            |world| world.arrivals[0].from = 0,
            // Sent anew after 4000 bytes had arrived.
            |world| world.receipts[0].sent_bytes = 14_000,
        ];
        for spoil in spoil {
            let mut world = World::new();
            spoil(&mut world);
            let failures = world.failures();
            assert!(failures[0].contains("but no file was cut"), "{failures:?}");
        }
    }

    #[test]
    fn a_file_that_stays_on_a_device_is_found() {
        let world = World::new();
        fs::write(world.dir.path().join("devices/sensor/c.csv"), "3,4\n").unwrap();
        let expected = "files stay behind on the devices: sensor/c.csv";
        assert_eq!(world.failures(), [expected]);
    }

    #[test]
    fn only_the_first_few_mistakes_are_named() {
        let mut world = World::new();
        for number in 0..5 {
            world.made.push(Made::of(format!("camera/{number}"), b""));
        }
        let failures = world.failures();
        assert!(
            failures[0].ends_with("camera/2 is missing, and 2 more"),
            "{failures:?}"
        );
    }
}
