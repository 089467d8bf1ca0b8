//! Flushes that fail: the memory never claims more than the disk has.

use std::collections::BTreeSet;

use super::*;

/// Long enough that a segment is full after some hundred of them.
fn long_path(name: &str) -> Vec<u8> {
    let mut path = "directory-with-a-long-name/".repeat(148).into_bytes();
    path.extend_from_slice(name.as_bytes());
    path
}

fn name_of(path: &[u8]) -> String {
    let last = path.rsplit(|&b| b == b'/').next().unwrap();
    String::from_utf8(last.to_vec()).unwrap()
}

/// An agent that starts again whenever its spool fails.
struct Stubborn<'a> {
    fs: &'a MemoryFs,
    sys: &'a Sys,
    spool: Option<Spool>,
    /// What was claimed to be in the spool, and out of it.
    taken: BTreeSet<String>,
    settled: BTreeSet<String>,
}

impl Stubborn<'_> {
    fn spool(&mut self) -> &mut Spool {
        for _ in 0..3 {
            if self.spool.is_none() {
                self.spool = open(self.sys).ok();
            }
        }
        self.spool.as_mut().expect("the spool opens again")
    }

    fn take(&mut self, how: How, names: &[String]) {
        for _ in 0..3 {
            let takings: Vec<Taking> = names
                .iter()
                .filter(|name| !self.taken.contains(*name))
                .filter(|name| self.fs.content(&source(name)).is_some())
                .map(|name| Taking {
                    path: long_path(name),
                    ..ready(self.fs, name, how)
                })
                .collect();
            let results = self.spool().take("cam", &takings);
            // A copy whose record was stored before the failure is there already.
            let is_there = |result: &Result<EntryId, TakeError>| {
                matches!(result, Ok(_) | Err(TakeError::Twice))
            };
            for (taking, result) in takings.iter().zip(&results) {
                if is_there(result) {
                    self.taken.insert(name_of(&taking.path));
                }
            }
            if results.iter().all(is_there) {
                return;
            }
            self.spool = None;
        }
        panic!("{names:?} cannot be taken");
    }

    fn settle(&mut self, wanted: &dyn Fn(&str) -> bool) {
        for _ in 0..3 {
            let mut settlements = Vec::new();
            self.spool()
                .list(&mut |entry| {
                    if wanted(&name_of(&entry.path)) {
                        let (id, receipt) = (entry.id, entry.receipt(1, Proof::Hash));
                        settlements.push(Settlement { id, receipt });
                    }
                    true
                })
                .unwrap();
            let names: Vec<String> = settlements
                .iter()
                .map(|s| name_of(&s.receipt.path))
                .collect();
            if self.spool().settle(&settlements).is_ok() {
                self.settled.extend(names);
                return;
            }
            self.spool = None;
        }
        panic!("settling never succeeds");
    }
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(format!("/src/{name}"))
}

fn names(letter: char, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{letter}{n}")).collect()
}

/// Fills one segment and begins another, settles the first, and copies.
fn work(fs: &MemoryFs, sys: &Sys) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut agent = Stubborn {
        fs,
        sys,
        spool: None,
        taken: BTreeSet::new(),
        settled: BTreeSet::new(),
    };
    agent.take(How::Move, &names('a', 3));
    agent.settle(&|name| name == "a1");
    agent.take(How::Move, &names('b', 270));
    agent.take(How::Copy, &names('c', 12));
    agent.settle(&|name| name.starts_with(['a', 'b']));
    agent.spool().set_paused("cam", true).ok();
    (agent.taken, agent.settled)
}

fn sources(fs: &MemoryFs) {
    for name in [names('a', 3), names('b', 270), names('c', 12)].concat() {
        fs.put(&format!("/src/{name}"), name.as_bytes());
    }
}

#[test]
fn whichever_flush_fails_nothing_that_was_claimed_is_lost_or_doubled() {
    let (fs, sys) = world();
    sources(&fs);
    let before = fs.syncs();
    work(&fs, &sys);
    let total = fs.syncs() - before;
    assert!(total > 20, "only {total} flushes");
    for fail in 0..total {
        let (fs, sys) = world();
        sources(&fs);
        fs.fail_sync_after(fail);
        let (taken, settled) = work(&fs, &sys);
        // All that was not stored is lost, above all what the failed flush left.
        fs.restart(&mut || false);
        let mut spool = open(&sys).unwrap();
        let mut receipts = Vec::new();
        spool
            .history(None, &mut |r| {
                receipts.push(name_of(&r.path));
                true
            })
            .unwrap();
        let queued: BTreeMap<String, Vec<u8>> = waiting(&mut spool)
            .into_iter()
            .map(|(path, content)| (name_of(path.as_bytes()), content))
            .collect();
        for (name, content) in &queued {
            assert_eq!(content, name.as_bytes(), "flush {fail}");
        }
        for name in &taken {
            let entered = receipts.iter().filter(|r| *r == name).count();
            let places = entered + usize::from(queued.contains_key(name));
            assert_eq!(places, 1, "flush {fail}: {name}");
            assert!(
                entered == 1 || !settled.contains(name),
                "flush {fail}: {name}"
            );
        }
        for name in [names('a', 3), names('b', 270)].concat() {
            let source = fs.content(&source(&name)).is_some();
            let there = queued.contains_key(&name) || receipts.contains(&name);
            assert!(source || there, "flush {fail}: {name} is lost");
        }
    }
}

#[test]
fn a_source_whose_flush_failed_is_copied_when_it_comes_again() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let taking = ready(&fs, "a", How::Move);
    // The content is the first thing that is flushed; the lane is there.
    spool.set_paused("cam", false).unwrap();
    let file = fs.create(&taking.source, crate::sys::Create::Keep).unwrap();
    file.write_at(b"A", 0).unwrap();
    fs.fail_sync_after(0);
    let refused = spool.take("cam", std::slice::from_ref(&taking)).remove(0);
    assert!(matches!(refused, Err(TakeError::Source(_))), "{refused:?}");
    spool.take("cam", &[taking])[0].as_ref().unwrap();
    fs.restart(&mut || false);
    assert_eq!(waiting(&mut open(&sys).unwrap())["a"], b"A");
}

#[test]
fn an_attempt_that_a_full_disk_cut_short_is_taken_up_again() {
    for room in 0..8 {
        let (fs, sys) = world();
        let options = Options {
            min_free: 0,
            ..Options::default()
        };
        let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
        let taking = ready(&fs, "a", How::Copy);
        fs.set_room(room * 4096);
        if let Err(error) = &spool.take("cam", std::slice::from_ref(&taking))[0] {
            assert!(error.is_full(), "room {room}: {error:?}");
        }
        fs.set_room(1 << 30);
        spool.take("cam", &[ready(&fs, "b", How::Move)])[0]
            .as_ref()
            .unwrap();
        drop(spool);
        let spool = open(&sys).unwrap();
        assert_eq!(spool.stats().lanes.len(), 1, "room {room}");
    }
}
