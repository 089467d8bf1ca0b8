//! The power fails at every single operation.

use std::collections::BTreeSet;

use super::*;

const FILES: [&str; 3] = ["a", "b", "c"];

/// Takes three files and delivers the first; stops at the first failure.
fn work(fs: &MemoryFs, sys: &Sys) -> Option<()> {
    let mut spool = open(sys).ok()?;
    let takings = FILES.map(|name| ready(fs, name, How::Move));
    let ids: Vec<EntryId> = spool
        .take("cam", &takings)
        .into_iter()
        .collect::<Result<_, _>>()
        .ok()?;
    let settlement = delivered(&mut spool, ids[0]);
    spool.settle(&[settlement]).ok()
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_and_delivers_nothing_twice() {
    let (fs, sys) = world();
    let _at_the_source = FILES.map(|name| ready(&fs, name, How::Move));
    let before = fs.calls();
    work(&fs, &sys).unwrap();
    let total = fs.calls() - before;
    for cut in 0..total {
        for seed in 0..8 {
            let (fs, sys) = world();
            let _at_the_source = FILES.map(|name| ready(&fs, name, How::Move));
            fs.cut_after(cut);
            // Late cuts only keep blobs from being removed, which is no failure.
            let _cut_short = work(&fs, &sys);
            let mut random = fastrand::Rng::with_seed(seed);
            fs.restart(&mut || random.bool());
            let mut spool = open(&sys).unwrap_or_else(|e| panic!("cut {cut} seed {seed}: {e:?}"));
            let queued = waiting(&mut spool);
            let mut receipts = BTreeSet::new();
            spool
                .history(None, &mut |r| {
                    receipts.insert(String::from_utf8(r.path.clone()).unwrap())
                })
                .unwrap();
            for name in FILES {
                let source = fs.content(Path::new(&format!("/src/{name}"))).is_some();
                let places = [source, queued.contains_key(name), receipts.contains(name)];
                let count = places.iter().filter(|&&there| there).count();
                assert_eq!(count, 1, "cut {cut} seed {seed}: {name} at {places:?}");
            }
            for (name, content) in queued {
                assert_eq!(content, name.as_bytes(), "cut {cut} seed {seed}");
            }
        }
    }
}

#[test]
fn a_failed_flush_ends_all_writing_until_the_spool_is_opened_anew() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    spool.take("cam", &[ready(&fs, "a", How::Move)])[0]
        .as_ref()
        .unwrap();
    let b = ready(&fs, "b", How::Copy);
    fs.fail_sync(true);
    assert!(spool.set_paused("cam", true).is_err());
    fs.fail_sync(false);
    let again = spool.take("cam", std::slice::from_ref(&b)).remove(0);
    assert!(
        matches!(again, Err(TakeError::Spool(SpoolError::Poisoned { .. }))),
        "{again:?}"
    );
    drop(spool);
    open(&sys).unwrap().take("cam", &[b])[0].as_ref().unwrap();
}

#[test]
fn a_damaged_record_costs_its_name_only() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let takings = FILES.map(|name| ready(&fs, name, How::Move));
    spool.take("cam", &takings);
    drop(spool);
    let log = Path::new("/spool/lanes/0000-cam/00000000.log");
    let bytes = fs.content(log).unwrap();
    let middle = bytes.windows(2).position(|w| w == [1, b'b']).unwrap();
    fs.rot(log, middle + 1);
    let mut spool = open(&sys).unwrap();
    assert!(
        spool
            .findings()
            .iter()
            .any(|f| matches!(f, Finding::Damaged { .. }))
    );
    let queued = waiting(&mut spool);
    assert_eq!(queued.len(), 3);
    assert_eq!(queued["recovered/0000-cam-00000000-0001"], b"b");
}

#[test]
fn a_dead_letter_whose_record_is_damaged_does_not_keep_the_spool_shut() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let taken = spool.take("cam", &FILES.map(|name| ready(&fs, name, How::Move)));
    let id = *taken[1].as_ref().unwrap();
    spool.failed(id, "553 never", true).unwrap();
    drop(spool);
    let log = Path::new("/spool/lanes/0000-cam/00000000.log");
    let bytes = fs.content(log).unwrap();
    let middle = bytes.windows(2).position(|w| w == [1, b'b']).unwrap();
    fs.rot(log, middle + 1);
    for _ in 0..2 {
        let mut spool = open(&sys).unwrap();
        let queued = waiting(&mut spool);
        assert_eq!(queued.len(), 3);
        assert_eq!(queued["recovered/0000-cam-00000000-0001"], b"b");
    }
}
