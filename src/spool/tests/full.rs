//! A disk that has no byte left.

use std::collections::BTreeMap;

use super::*;

fn receipts(spool: &Spool) -> BTreeMap<String, usize> {
    let mut receipts = BTreeMap::new();
    let mut count = |receipt: &Receipt| {
        let path = String::from_utf8(receipt.path.clone()).unwrap();
        *receipts.entry(path).or_default() += 1;
        true
    };
    spool.history(None, &mut count).unwrap();
    receipts
}

fn settlements(spool: &mut Spool) -> Vec<Settlement> {
    let mut settlements = Vec::new();
    spool
        .list(&mut |entry| {
            let (id, receipt) = (entry.id, entry.receipt(1, Proof::Hash));
            settlements.push(Settlement { id, receipt });
            true
        })
        .unwrap();
    settlements
}

fn fill(fs: &MemoryFs, spool: &mut Spool, count: usize) -> Vec<Settlement> {
    let takings: Vec<Taking> = (0..count)
        .map(|n| ready(fs, &format!("f{n}"), How::Move))
        .collect();
    let taken = spool.take("cam", &takings);
    assert!(taken.iter().all(Result::is_ok));
    settlements(spool)
}

#[test]
fn entries_leave_with_one_receipt_each_while_there_is_no_byte_left() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let settlements = fill(&fs, &mut spool, 100);
    for settlement in &settlements {
        // Somebody else takes every block at once that a blob gave back.
        fs.set_room(0);
        spool.settle(std::slice::from_ref(settlement)).unwrap();
    }
    assert_eq!(spool.stats().waiting, Tally::default());
    for round in ["full", "full, after a restart", "with room"] {
        let receipts = receipts(&spool);
        assert_eq!(receipts.len(), 100, "{round}");
        assert!(receipts.values().all(|&count| count == 1), "{round}");
        drop(spool);
        if round != "full" {
            fs.set_room(1 << 40);
        }
        spool = open(&sys).unwrap();
        assert_eq!(spool.stats().waiting, Tally::default(), "{round}");
        assert!(spool.findings().is_empty(), "{round}");
    }
    assert!(spool.reserve.is_free());
}

#[test]
fn what_the_reserve_cannot_hold_waits_and_is_entered_once() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let settlements = fill(&fs, &mut spool, 400);
    let mut refused = 0;
    for settlement in &settlements {
        fs.set_room(0);
        if let Err(error) = spool.settle(std::slice::from_ref(settlement)) {
            assert!(error.is_full(), "{error:?}");
            refused += 1;
        }
    }
    assert!((1..400).contains(&refused), "{refused} refused");
    fs.set_room(1 << 40);
    spool.settle(&settlements[400 - refused..]).unwrap();
    let receipts = receipts(&spool);
    assert_eq!(receipts.len(), 400);
    assert!(receipts.values().all(|&count| count == 1));
}

#[test]
fn nothing_is_taken_without_room_and_work_goes_on_with_it() {
    for how in [How::Move, How::Copy] {
        let (fs, sys) = world();
        let options = Options {
            min_free: 0,
            ..Options::default()
        };
        let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
        let taking = ready(&fs, "a", how);
        fs.set_room(0);
        let refused = spool.take("cam", std::slice::from_ref(&taking)).remove(0);
        assert!(refused.unwrap_err().is_full());
        assert_eq!(fs.content(&taking.source).unwrap(), b"a");
        fs.set_room(1 << 20);
        spool.take("cam", &[taking])[0].as_ref().unwrap();
        assert_eq!(waiting(&mut spool)["a"], b"a");
    }
}

#[test]
fn copies_that_found_no_room_for_their_record_do_not_stay() {
    let (fs, sys) = world();
    let options = Options {
        min_free: 0,
        ..Options::default()
    };
    let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
    spool.set_paused("cam", false).unwrap();
    let log = Path::new("/spool/lanes/0000-cam/00000000.log");
    let long = vec![b'x'; 250];
    let mut first = ready(&fs, "first", How::Copy);
    first.path = long.clone();
    spool.take("cam", &[first])[0].as_ref().unwrap();
    let used = fs.content(log).unwrap().len();
    // Room for the copy, and none for a second block of the log.
    let mut taking = ready(&fs, "a", How::Copy);
    taking.path = [&long[..], b"/"].concat().repeat(16);
    taking.path.pop();
    assert!(used + taking.path.len() > 4096);
    fs.set_room(4096);
    assert!(
        spool.take("cam", &[taking])[0]
            .as_ref()
            .unwrap_err()
            .is_full()
    );
    assert_eq!(
        fs.names(Path::new("/spool/lanes/0000-cam/00000000")),
        ["0000"]
    );
}

#[test]
fn a_power_cut_on_a_full_disk_neither_loses_nor_doubles() {
    const FILES: usize = 6;
    let start = || {
        let (fs, sys) = world();
        let mut spool = open(&sys).unwrap();
        let settlements = fill(&fs, &mut spool, FILES);
        (fs, sys, spool, settlements)
    };
    let work = |fs: &MemoryFs, spool: &mut Spool, settlements: &[Settlement]| {
        for (at, settlement) in settlements.iter().enumerate().take(FILES - 1) {
            fs.set_room(if at == 3 { 1 << 40 } else { 0 });
            spool.settle(std::slice::from_ref(settlement))?;
        }
        Ok::<_, SpoolError>(())
    };
    let (fs, _, mut spool, settlements) = start();
    let before = fs.calls();
    work(&fs, &mut spool, &settlements).unwrap();
    for cut in 0..fs.calls() - before {
        for seed in 0..4 {
            let (fs, sys, mut spool, settlements) = start();
            fs.cut_after(cut);
            let _cut_short = work(&fs, &mut spool, &settlements);
            drop(spool);
            let mut random = fastrand::Rng::with_seed(seed);
            fs.restart(&mut || random.bool());
            fs.set_room(if seed % 2 == 0 { 1 << 40 } else { 0 });
            for _ in 0..2 {
                let mut spool = open(&sys).unwrap();
                let queued = waiting(&mut spool);
                let receipts = receipts(&spool);
                for n in 0..FILES {
                    let name = format!("f{n}");
                    let count = receipts.get(&name).copied().unwrap_or(0);
                    let count = count + usize::from(queued.contains_key(&name));
                    assert_eq!(count, 1, "cut {cut} seed {seed}: {name}");
                }
                fs.set_room(1 << 40);
            }
        }
    }
}
