//! Damage to a real spool, made and read by the real program: whatever file it
//! hits and wherever, the next start says so, and everything else is delivered.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::servers::{Kind, Server, Variant};
use common::{Agent, Output, Tree, content};

/// Files of the queue that is damaged, half of them moved, half of them copied.
const FILES: u64 = 24;
/// Of these, taken last.
const LAST: u64 = 4;
/// Delivered before, so that there is a history.
const EARLIER: u64 = 4;

/// A spool that holds a queue and a history, and what is in it.
struct World {
    server: Server,
    agent: Agent,
    /// What the server is to have in the end.
    files: Tree,
    /// The spool as it was before any damage.
    sound: Tree,
}

impl World {
    fn new() -> World {
        let mut server = Server::start(Kind::Vsftpd, Variant::Plain);
        let agent = Agent::for_server(&server, None, "");
        let mut config = fs::read_to_string(agent.config()).unwrap();
        config = config.replace("remote =", "order = \"oldest\"\nremote =");
        config += "[[watch]]\nname = \"copies\"\ndir = \"originals\"\nserver = \"central\"\n\
                   quiet = \"200ms\"\ntake = \"copy\"\nremote = \"/{path}\"\n";
        agent.write_config(&config);
        fs::create_dir(agent.dir().join("originals")).unwrap();
        let mut files = Tree::default();
        write(&agent, &mut files, 0..EARLIER);
        agent.command(&["once"]).expect(0);
        server.stop();
        // Of the last batch nothing says yet that it was taken whole, and its
        // files are judged otherwise: none of them is harmed here.
        let last = EARLIER + FILES - LAST;
        for batch in [EARLIER..last, last..EARLIER + FILES] {
            write(&agent, &mut files, batch);
            agent.command(&["once", "--patience", "1s"]).expect(75);
        }
        let sound = Tree::read(&agent.spool());
        World {
            server,
            agent,
            files,
            sound,
        }
    }

    /// Puts the spool and the server back to where they were.
    fn reset(&mut self) {
        self.server.stop();
        for dir in [self.agent.spool(), self.server.root()] {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => fs::remove_dir_all(path).unwrap(),
                    false => fs::remove_file(path).unwrap(),
                }
            }
        }
        self.sound.write(&self.agent.spool());
        self.age_blobs();
        for (n, (path, bytes)) in self.files.0.iter().enumerate() {
            if n < EARLIER as usize {
                self.server.put(std::str::from_utf8(path).unwrap(), bytes);
            }
        }
        self.server.start_again();
    }

    /// What a copy of a spool does not keep: when its files were written.
    fn age_blobs(&self) {
        for n in EARLIER..EARLIER + FILES {
            let (at, path) = (self.blob(n), self.path(&self.blob(n)));
            if at.contains("camera") {
                let file = fs::File::options().write(true).open(path).unwrap();
                file.set_modified(common_time(n)).unwrap();
            }
        }
    }

    /// A file of the spool; lanes go by the names of their watches.
    fn path(&self, below: &str) -> PathBuf {
        let spool = self.agent.spool();
        let Some((watch, rest)) = below.split_once('/') else {
            return spool.join(below);
        };
        let lanes = fs::read_dir(spool.join("lanes")).unwrap();
        let mut dirs = lanes.map(|entry| entry.unwrap().path());
        let lane = dirs.find(|dir| dir.to_str().unwrap().ends_with(&format!("-{watch}")));
        lane.map_or_else(|| spool.join(below), |lane| lane.join(rest))
    }

    /// Where the bytes of a file are, below the spool.
    fn blob(&self, n: u64) -> String {
        let wanted = content(n, size(n));
        let mut found = self.sound.0.iter().filter(|(_, bytes)| **bytes == wanted);
        let (path, _) = found.next().unwrap();
        String::from_utf8(path.clone()).unwrap()
    }

    fn deliver(&self) -> Output {
        self.agent.command(&["-v", "once"])
    }

    /// Panics unless the server has each file but these, under its own name or
    /// under `recovered/`, and nothing else.
    fn assert_arrived(&self, but: &[u64], what: &str, output: &Output) {
        let mut there: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut expected = there.clone();
        for (path, bytes) in &Tree::read(&self.server.root()).0 {
            let own = self.files.0.get(path).is_some_and(|file| file == bytes);
            let recovered = path.starts_with(b"recovered/");
            let name = path.escape_ascii();
            assert!(own || recovered, "{what}: {name} is wrong: {output:#?}");
            *there.entry(bytes.clone()).or_default() += 1;
        }
        for (path, bytes) in &self.files.0 {
            if !but.iter().any(|&n| name(n).as_bytes() == path) {
                *expected.entry(bytes.clone()).or_default() += 1;
            }
        }
        let missing = expected.keys().filter(|bytes| !there.contains_key(*bytes));
        assert_eq!(missing.count(), 0, "{what}: files are missing: {output:#?}");
        // A copy whose record is lost is recovered, and its source taken anew.
        let most = if what.ends_with("copies/00000000.log") {
            2
        } else {
            1
        };
        let twice = there.values().filter(|&&count| count > most);
        assert_eq!(
            twice.count(),
            0,
            "{what}: files are there twice: {output:#?}"
        );
        let left = self.agent.command(&["queue", "list"]).expect(0).stdout;
        assert!(!left.contains("file-"), "{what}: {left}");
    }
}

fn name(n: u64) -> String {
    format!("file-{n:02}.bin")
}

fn size(n: u64) -> usize {
    2000 + 100 * n as usize
}

/// When a file was written last.
fn common_time(n: u64) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_760_000_000 + n)
}

fn write(agent: &Agent, files: &mut Tree, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let dir = match n % 2 {
            0 => agent.watched(),
            _ => agent.dir().join("originals"),
        };
        let (path, bytes) = (dir.join(name(n)), content(n, size(n)));
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(common_time(n)).unwrap();
        files.0.insert(name(n).into_bytes(), bytes);
    }
}

/// What happens to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Missing,
    Empty,
    /// Cut in the middle of a record.
    Half,
    /// Zeros, at so many sixteenths of its length.
    Zeros(usize),
    /// One bit, at so many sixteenths of its length.
    Bit(usize),
    /// Something that was never in it, at its end.
    Longer,
}

impl Harm {
    const ALL: [Harm; 11] = [
        Harm::Missing,
        Harm::Empty,
        Harm::Half,
        Harm::Zeros(0),
        Harm::Zeros(8),
        Harm::Zeros(15),
        Harm::Bit(0),
        Harm::Bit(5),
        Harm::Bit(11),
        Harm::Bit(15),
        Harm::Longer,
    ];

    fn befall(self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let len = bytes.len();
        match self {
            Harm::Missing => return fs::remove_file(path).unwrap(),
            Harm::Empty => bytes.clear(),
            Harm::Half => bytes.truncate(len * 2 / 3 + 1),
            Harm::Zeros(at) => {
                let at = len * at / 16;
                let end = (at + 20).min(len);
                bytes[at..end].fill(0);
            }
            Harm::Bit(at) => bytes[len * at / 16] ^= 4,
            Harm::Longer => bytes.extend([7; 50]),
        }
        fs::write(path, bytes).unwrap();
    }
}

/// Every log and every small file of the spool, by what it is for, and whether
/// a start must say that it is damaged, wherever.
const TARGETS: [(&str, bool); 9] = [
    ("camera/00000000.log", true),
    ("camera/00000000.chg", true),
    ("copies/00000000.log", true),
    ("copies/00000000.chg", true),
    ("ledger/00000000.log", true),
    ("format", true),
    ("reserve", false),
    ("clock", false),
    ("lock", false),
];

#[test]
fn damage_to_any_file_of_the_spool_costs_no_other_file() {
    let mut world = World::new();
    for (target, said) in TARGETS {
        for harm in Harm::ALL {
            world.reset();
            let path = world.path(target);
            let empty = fs::metadata(&path).map_or(true, |meta| meta.len() == 0);
            if empty && !matches!(harm, Harm::Missing | Harm::Longer) {
                continue;
            }
            if path.exists() {
                harm.befall(&path);
            }
            let what = format!("{harm:?} of {target}");
            let output = world.deliver();
            world.assert_arrived(&[], &what, &output);
            assert_eq!(output.code, Some(0), "{what}: {output:#?}");
            // Of an end that is gone at the border of a record nothing tells.
            let tells = !matches!(harm, Harm::Missing | Harm::Empty) || target == "format";
            if said && tells && !empty {
                assert_said(&output, &what);
            }
        }
    }
}

fn assert_said(output: &Output, what: &str) {
    let words = ["damaged", "half written", "record is lost"];
    let said = words.iter().any(|word| output.stderr.contains(word));
    assert!(said, "{what}: nothing is said: {output:#?}");
}

#[test]
fn a_log_that_is_gone_costs_the_names_and_not_the_files() {
    let mut world = World::new();
    for target in [TARGETS[0].0, TARGETS[2].0] {
        world.reset();
        fs::remove_file(world.path(target)).unwrap();
        let output = world.deliver();
        assert_said(&output, target);
        let there = Tree::read(&world.server.root());
        let recovered = there
            .0
            .keys()
            .filter(|path| path.starts_with(b"recovered/"));
        assert_eq!(recovered.count() as u64, FILES / 2, "{output:#?}");
    }
}

#[test]
fn a_blob_that_is_gone_is_said_so_and_costs_nothing_else() {
    let mut world = World::new();
    // The first, one in the middle, and one of the copies.
    for n in [EARLIER, EARLIER + 10, EARLIER + 11] {
        world.reset();
        fs::remove_file(world.path(&world.blob(n))).unwrap();
        let output = world.deliver();
        let said = format!("{}: its bytes are not here", name(n));
        assert!(output.stderr.contains(&said), "{output:#?}");
        world.assert_arrived(&[n], &said, &output);
    }
}

#[test]
fn a_blob_that_was_cut_takes_nobodys_name() {
    let mut world = World::new();
    for n in [EARLIER, EARLIER + 1] {
        world.reset();
        let blob = fs::File::options()
            .write(true)
            .open(world.path(&world.blob(n)))
            .unwrap();
        blob.set_len(1000).unwrap();
        let output = world.deliver();
        let said = format!("{}: 1000 bytes are there of {}", name(n), size(n));
        assert!(output.stderr.contains(&said), "{output:#?}");
        assert_eq!(world.server.get(&name(n)), None, "{output:#?}");
        world.assert_arrived(&[n], &said, &output);
        let there = Tree::read(&world.server.root());
        let rest = there.0.values().find(|bytes| bytes.len() == 1000);
        assert_eq!(rest.unwrap(), &content(n, size(n))[..1000]);
    }
}

#[test]
fn blobs_that_were_swapped_are_said_so() {
    let mut world = World::new();
    for first in [EARLIER, EARLIER + 1] {
        world.reset();
        let (a, b) = (first, first + 2);
        let paths = [a, b].map(|n| world.path(&world.blob(n)));
        let aside = world.path("aside");
        fs::rename(&paths[0], &aside).unwrap();
        fs::rename(&paths[1], &paths[0]).unwrap();
        fs::rename(&aside, &paths[1]).unwrap();
        let output = world.deliver();
        for n in [a, b] {
            let said = output.stderr.lines().any(|line| {
                line.contains(&name(n))
                    && (line.contains("not quite") || line.contains("are there of"))
            });
            assert!(said, "{}: {output:#?}", name(n));
        }
        let there = Tree::read(&world.server.root());
        for n in EARLIER..EARLIER + FILES {
            let bytes = content(n, size(n));
            let count = there.0.values().filter(|there| **there == bytes).count();
            assert_eq!(count, 1, "{}: {output:#?}", name(n));
        }
    }
}

#[test]
fn a_foreign_blob_is_delivered_and_other_strangers_are_left_alone() {
    let mut world = World::new();
    world.reset();
    fs::write(world.path("camera/00000000/0abc"), b"whose?").unwrap();
    let strangers = ["camera/00000000/readme.txt", "lanes/other/x", "y"];
    for stranger in strangers {
        fs::create_dir_all(world.path(stranger).parent().unwrap()).unwrap();
        fs::write(world.path(stranger), b"mine").unwrap();
    }
    let output = world.deliver();
    assert_said(&output, "a foreign blob");
    let there = Tree::read(&world.server.root());
    let recovered = there
        .0
        .iter()
        .filter(|(path, _)| path.starts_with(b"recovered/"));
    let recovered: Vec<_> = recovered.map(|(_, bytes)| bytes.clone()).collect();
    assert_eq!(recovered, [b"whose?"]);
    for n in 0..EARLIER + FILES {
        assert_eq!(world.server.get(&name(n)), Some(content(n, size(n))));
    }
    for stranger in strangers {
        assert_eq!(
            fs::read(world.path(stranger)).unwrap(),
            b"mine",
            "{stranger}"
        );
    }
}
