//! Nobody gets out of the root: not by `..`, absolute or encoded paths, not
//! through symbolic links that somebody else makes in it, and no name smuggles a
//! command or a reply in.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::dialogue::Dialogue;
use common::receiver::Receiver;

/// A receiver, and beside its root what nobody may see or touch.
struct Fort {
    receiver: Receiver,
    outside: PathBuf,
}

/// What must stay as it is, of everything outside.
type Snapshot = Vec<(PathBuf, Vec<u8>, u32, i64, u64)>;

impl Fort {
    fn new() -> Fort {
        let receiver = Receiver::start();
        let outside = receiver.scratch("outside");
        fs::create_dir(outside.join("dir")).unwrap();
        fs::write(outside.join(SECRET_NAME), SECRET).unwrap();
        fs::write(outside.join("dir").join(SECRET_NAME), SECRET).unwrap();
        let fort = Fort { receiver, outside };
        fort.lay_links();
        // The system itself follows them.
        for link in ["link-dir", "link-relative", "a/b/link-far", "a/link-link"] {
            let way = fort.receiver.root().join(link).join(SECRET_NAME);
            assert!(way.exists(), "{link}");
        }
        fort
    }

    /// What another user could have left in the root.
    fn lay_links(&self) {
        let root = self.receiver.root();
        fs::create_dir_all(root.join("a/b")).unwrap();
        let relative = Path::new("../scratch/outside");
        for (name, target) in [
            ("link-dir", self.outside.clone()),
            ("link-file", self.outside.join(SECRET_NAME)),
            ("link-relative", relative.to_owned()),
            ("link-root", PathBuf::from("/")),
            ("link-up", PathBuf::from("..")),
            ("link-proc", PathBuf::from("/proc/self/cwd")),
            ("link-new", self.outside.join("new")),
            (
                "a/b/link-far",
                Path::new("../../..").join("scratch/outside"),
            ),
            ("a/link-link", PathBuf::from("../link-dir")),
        ] {
            let _ = fs::remove_file(root.join(name));
            symlink(target, root.join(name)).unwrap();
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut all = Vec::new();
        let mut dirs = vec![self.outside.clone()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                let meta = fs::symlink_metadata(&entry).unwrap();
                let content = fs::read(&entry).unwrap_or_default();
                if meta.is_dir() {
                    dirs.push(entry.clone());
                }
                all.push((entry, content, meta.mode(), meta.mtime(), meta.ino()));
            }
        }
        all.sort();
        all
    }

    fn session(&self) -> Dialogue {
        let receiver = &self.receiver;
        Dialogue::logged_in(receiver.addr, &receiver.user, &receiver.password)
    }

    /// Ways out, to a file and to a directory that are there, and to a new name.
    fn ways_out(&self) -> Vec<Vec<u8>> {
        let outside = self.outside.to_str().unwrap();
        let mut ways = Vec::new();
        for to in [SECRET_NAME, "dir", "dir/new", "new", ""] {
            for way in [
                "../scratch/outside/",
                "/../../../../../scratch/outside/",
                "a/../../scratch/outside/",
                "a/b/../../../scratch/outside/",
                "./.././scratch/outside/",
                "..//scratch//outside//",
                "....//scratch/outside/",
                ".../scratch/outside/",
                "..\\scratch\\outside\\",
                "%2e%2e/scratch/outside/",
                "..%2fscratch%2foutside%2f",
                "%2e%2e%2fscratch%2foutside%2f",
                "..%c0%afscratch%c0%afoutside%c0%af",
                "..%00/scratch/outside/",
                "link-dir/",
                "/link-dir/",
                "link-relative/",
                "link-up/scratch/outside/",
                "link-up/../scratch/outside/",
                "a/b/link-far/",
                "a/link-link/",
                "a/../link-dir/../outside/",
            ] {
                ways.push(format!("{way}{to}").into_bytes());
            }
            ways.push(format!("{outside}/{to}").into_bytes());
            ways.push(format!("/{outside}/{to}").into_bytes());
            ways.push(format!("link-root{outside}/{to}").into_bytes());
            // Overlong and raw.
            let overlong = b"..\xc0\xafscratch\xc0\xafoutside\xc0\xaf";
            ways.push([&overlong[..], to.as_bytes()].concat());
            let telnet = b"..\xff\xff/scratch/outside/";
            ways.push([&telnet[..], to.as_bytes()].concat());
        }
        for name in [
            "link-file",
            "link-dir",
            "link-new",
            "link-up",
            "link-root",
            "link-proc",
        ] {
            ways.push(name.into());
        }
        ways.push(b"~/../scratch/outside/new".to_vec());
        ways.push(b"-la ../scratch/outside".to_vec());
        ways
    }
}

/// Whether something tells of what is outside. A reply that repeats the path
/// that it was asked for tells nothing.
fn tells(bytes: &[u8], asked: &[u8]) -> bool {
    let bytes = bytes.to_ascii_lowercase();
    let holds = |what: &str| {
        bytes
            .windows(what.len())
            .any(|window| window == what.as_bytes())
    };
    let named = asked
        .windows(SECRET_NAME.len())
        .any(|w| w == SECRET_NAME.as_bytes());
    holds(SECRET) || holds(SECRET_HASH) || (!named && holds(SECRET_NAME))
}

#[test]
fn no_path_leads_out_of_the_root_whatever_the_command() {
    let fort = Fort::new();
    let before = fort.snapshot();
    let mut session = fort.session();
    session.say("OPTS HASH SHA-256");
    for way in fort.ways_out() {
        let with = |verb: &str| [verb.as_bytes(), b" ", &way].concat();
        let shown = String::from_utf8_lossy(&way).into_owned();
        for verb in ["RETR", "LIST", "NLST", "MLSD"] {
            let (bytes, reply) = session.fetch(with(verb));
            let seen = [&bytes[..], reply.as_bytes()].concat();
            assert!(!tells(&seen, &way), "{verb} {shown}: {seen:?}");
        }
        for verb in [
            "SIZE", "MDTM", "MLST", "STAT", "HASH", "XCRC", "XMD5", "XSHA256", "CWD", "PWD",
        ] {
            let reply = session.say(with(verb));
            assert!(!tells(reply.as_bytes(), &way), "{verb} {shown}: {reply}");
            session.say("CWD /");
        }
        for verb in ["STOR", "APPE", "STOU"] {
            session.store(with(verb), b"changed");
            session.say(format!("REST {}", SECRET.len()));
            session.store(with(verb), b"changed");
        }
        for verb in [
            "MFMT 20200101000000",
            "MDTM 20200101000000",
            "SITE UTIME 20200101000000",
            "SITE CHMOD 777",
            "MKD",
        ] {
            session.say(with(verb));
        }
        session.say(with("RNFR"));
        session.say("RNTO got-out");
        fs::write(fort.receiver.root().join("inside"), b"x").unwrap();
        session.say("RNFR inside");
        session.say(with("RNTO"));
        session.say(with("DELE"));
        session.say(with("RMD"));
        assert!(fort.snapshot() == before, "{shown}: {:?}", fort.snapshot());
        fort.lay_links();
    }
    assert!(session.say("NOOP").starts_with("200"));
}

#[test]
fn a_link_that_comes_and_goes_leads_nowhere() {
    let fort = Fort::new();
    let before = fort.snapshot();
    let root = fort.receiver.root();
    fs::create_dir(root.join("swap")).unwrap();
    symlink(&fort.outside, root.join("other")).unwrap();
    fs::write(root.join("swap").join(SECRET_NAME), b"harmless").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let at = rustix::fs::CWD;
                rustix::fs::renameat_with(at, root.join("swap"), at, root.join("other"), flags)
                    .unwrap();
            }
        });
        let mut session = fort.session();
        for n in 0..300 {
            session.store(format!("STOR swap/new-{n}"), b"inside");
            session.store(format!("APPE swap/{SECRET_NAME}"), b"");
            let (bytes, _) = session.fetch(format!("RETR swap/{SECRET_NAME}"));
            assert!(!tells(&bytes, SECRET_NAME.as_bytes()));
            session.say(format!("MKD swap/dir-{n}"));
            session.say(format!("SITE CHMOD 600 swap/{SECRET_NAME}"));
            session.say(format!("MFMT 20200101000000 swap/{SECRET_NAME}"));
            session.say(format!("RNFR swap/new-{n}"));
            session.say(format!("RNTO swap/newer-{n}"));
            session.say(format!("DELE swap/dir/{SECRET_NAME}"));
            session.say("RMD swap/dir");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(fort.snapshot() == before, "{:?}", fort.snapshot());
}

#[test]
fn no_command_hides_in_another_ones_path() {
    let receiver = Receiver::start();
    let root = receiver.root();
    fs::write(root.join("precious"), b"x").unwrap();
    let mut session = Dialogue::logged_in(receiver.addr, &receiver.user, &receiver.password);
    for line in [
        &b"MKD a\rDELE precious"[..],
        b"MKD a\0DELE precious",
        b"SIZE a\0\r\0DELE precious",
        b"MKD a\xff\xf4\0\rDELE precious",
        b"RNFR precious\0",
        b"DELE precious\0",
        b"DELE precious\0.jpg",
        b"SITE CHMOD 000 precious\0a",
    ] {
        let reply = session.say(line);
        assert!(reply.starts_with('5'), "{line:?}: {reply:?}");
    }
    // Of a line with a NUL nothing was done, and each line had one reply.
    assert!(session.say("PWD").starts_with("257"));
    assert_eq!(fs::read(root.join("precious")).unwrap(), b"x");
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    // %0d%0a is no line end, and a Telnet sequence is none either.
    assert!(session.say("MKD b%0d%0aDELE precious").starts_with("257"));
    assert!(root.join("b%0d%0aDELE precious").exists());
    assert!(root.join("precious").exists());
}

#[test]
fn no_reply_hides_in_the_name_of_a_file() {
    let receiver = Receiver::start();
    let root = receiver.root();
    let names: [&[u8]; 5] = [
        b"a\r\n250 fake",
        b"b\n226 fake\n",
        b"c\r200 fake",
        b"d\x1b[2J",
        b"\xff\xf4\xff\xf2",
    ];
    for name in names {
        let path = root.join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inner"), b"x").unwrap();
    }
    let mut session = Dialogue::logged_in(receiver.addr, &receiver.user, &receiver.password);
    for line in ["STAT /", "MLST /", "STAT b", "SIZE a"] {
        let reply = session.say(line);
        let (code, lines) = (&reply[..3], reply.lines().count());
        assert!(lines <= names.len() + 4, "{line}: {reply:?}");
        for inner in reply.lines().skip(1).filter(|inner| inner.contains("fake")) {
            let starts = inner.starts_with(code) || inner.starts_with("2");
            assert!(!starts, "{line}: {reply:?}");
        }
        assert!(session.say("NOOP").starts_with("200"), "{line}");
    }
    for verb in ["LIST", "NLST", "MLSD"] {
        let (bytes, reply) = session.fetch(verb);
        assert!(reply.starts_with("226"), "{verb}: {reply}");
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        assert!(lines.count() <= names.len(), "{verb}: {bytes:?}");
        assert!(!bytes.starts_with(b"226 fake") && !bytes.windows(5).any(|w| w == b"\n226 "));
    }
}

const SECRET_NAME: &str = "nobody-sees-this";
const SECRET: &str = "nobody reads this";

/// Its SHA-256.
const SECRET_HASH: &str = "68b1eea5042ba757330a0a8c2be2afa2ee41270f7ba19f7f33920bd213db5431";
