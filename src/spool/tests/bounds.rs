//! What stays bounded under a producer that never stops.

use super::*;
use crate::sys::Wall;

/// Files that the producer writes, far more than there is room for.
const FILES: usize = 3000;
/// Bytes of each.
const SIZE: u64 = 100;
/// Files for which there is room.
const ROOM: u64 = 50;

fn full(when_full: WhenFull, ledger: LedgerLimits) -> (MemoryFs, Sys, Spool) {
    let (fs, sys) = world();
    let options = Options {
        max_size: ROOM * SIZE,
        when_full,
        ledger,
        ..Options::default()
    };
    let spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
    (fs, sys, spool)
}

/// What the producer writes next; the spool may take it or leave it.
fn next(fs: &MemoryFs, n: usize) -> Taking {
    let name = format!("f{n:05}");
    let source = PathBuf::from(format!("/src/{name}"));
    let expect = fs.put(&format!("/src/{name}"), &[1; SIZE as usize]);
    Taking {
        source,
        path: name.into_bytes(),
        how: How::Move,
        expect,
        closed: true,
    }
}

/// Lets everything the producer writes come, and at times delivers one.
fn produce(fs: &MemoryFs, spool: &mut Spool) -> (usize, usize) {
    let (mut delivered_count, mut refused) = (0, 0);
    for n in 0..FILES {
        let taken = spool.take("cam", &[next(fs, n)]).remove(0);
        refused += usize::from(taken.is_err());
        assert!(spool.stats().waiting.bytes <= ROOM * SIZE, "file {n}");
        if n % 7 == 0 {
            let window = spool.window("cam", Order::Oldest, 1, &|_| false).unwrap();
            let settlement = delivered(spool, window[0].id);
            spool.settle(&[settlement]).unwrap();
            delivered_count += 1;
        }
    }
    (delivered_count, refused)
}

fn paths(spool: &mut Spool) -> Vec<String> {
    waiting(spool).into_keys().collect()
}

fn proofs(spool: &Spool, proof: Proof) -> usize {
    let mut count = 0;
    spool
        .history(None, &mut |receipt| {
            count += usize::from(receipt.proof == proof);
            true
        })
        .unwrap();
    count
}

#[test]
fn drop_oldest_keeps_the_newest_files_and_records_each_eviction() {
    let (fs, _, mut spool) = full(WhenFull::DropOldest, LedgerLimits::default());
    let (sent, refused) = produce(&fs, &mut spool);
    assert_eq!(refused, 0);
    let left = paths(&mut spool);
    let expected: Vec<String> = (FILES - left.len()..FILES)
        .map(|n| format!("f{n:05}"))
        .collect();
    assert_eq!(left, expected);
    assert_eq!(proofs(&spool, Proof::Evicted) + sent + left.len(), FILES);
}

#[test]
fn drop_newest_keeps_the_oldest_files_and_records_each_drop() {
    let (fs, _, mut spool) = full(WhenFull::DropNewest, LedgerLimits::default());
    let (sent, refused) = produce(&fs, &mut spool);
    assert_eq!(proofs(&spool, Proof::Evicted), refused);
    assert_eq!(refused + sent + paths(&mut spool).len(), FILES);
    assert!(fs.names(Path::new("/src")).is_empty());
}

#[test]
fn pause_leaves_at_the_source_what_finds_no_room() {
    let (fs, _, mut spool) = full(WhenFull::Pause, LedgerLimits::default());
    let (sent, refused) = produce(&fs, &mut spool);
    assert_eq!(fs.names(Path::new("/src")).len(), refused);
    assert_eq!(proofs(&spool, Proof::Evicted), 0);
    assert_eq!(refused + sent + paths(&mut spool).len(), FILES);
}

#[test]
fn the_ledger_stays_within_its_size_and_each_receipt_is_entered_at_once() {
    let limits = LedgerLimits {
        max_bytes: 16 << 10,
        ..LedgerLimits::default()
    };
    let (fs, _, mut spool) = full(WhenFull::DropOldest, limits);
    for n in 0..FILES {
        let id = spool.take("cam", &[next(&fs, n)]).remove(0).unwrap();
        let settlement = delivered(&mut spool, id);
        spool.settle(&[settlement]).unwrap();
        let ledger = Path::new("/spool/ledger");
        let bytes: usize = fs
            .names(ledger)
            .iter()
            .map(|name| fs.content(&ledger.join(name)).unwrap().len())
            .sum();
        // One log more than the permitted size, and one receipt.
        assert!(bytes <= (17 << 10) + 200, "{bytes} bytes after file {n}");
        let mut last = None;
        let mut note = |receipt: &Receipt| {
            last = Some(receipt.path.clone());
            true
        };
        if n % 50 == 0 {
            spool.history(None, &mut note).unwrap();
            assert_eq!(last, Some(format!("f{n:05}").into_bytes()));
        }
    }
    assert!(proofs(&spool, Proof::Hash) > 50);
}

#[test]
fn the_ledger_forgets_what_is_too_old_however_little_there_is() {
    let limits = LedgerLimits {
        max_age_s: 16 * 3600,
        ..LedgerLimits::default()
    };
    let (fs, sys, mut spool) = full(WhenFull::DropOldest, limits);
    let now = sys.clock.wall();
    spool
        .put_clock_floor(Wall::from_secs(now.secs() - 1))
        .unwrap();
    let mut deliver = |n: usize, age_s: i64| {
        let id = spool.take("cam", &[next(&fs, n)]).remove(0).unwrap();
        let mut settlement = delivered(&mut spool, id);
        settlement.receipt.time_ns = now.0 - age_s * 1_000_000_000;
        spool.settle(&[settlement]).unwrap();
        proofs(&spool, Proof::Hash)
    };
    // The times of this disk's files are long past, so that a log goes as soon as
    // there is a next one.
    assert_eq!(deliver(0, 7200), 1);
    assert_eq!(deliver(1, 600), 1, "the first log spans two hours and goes");
    assert_eq!(deliver(2, 0), 2, "the second one spans ten minutes");
}
