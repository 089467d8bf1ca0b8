//! The spool in service.

use super::*;

#[test]
fn a_taken_file_leaves_the_source_and_comes_back_after_a_restart() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    spool.take("cam", &[ready(&fs, "a", How::Move)])[0]
        .as_ref()
        .unwrap();
    assert!(fs.content(Path::new("/src/a")).is_none());
    drop(spool);
    assert_eq!(waiting(&mut open(&sys).unwrap())["a"], b"a");
}

#[test]
fn many_segments_keep_their_tallies_and_are_deleted_whole() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let takings: Vec<Taking> = (0..9000)
        .map(|n| ready(&fs, &format!("f{n}"), How::Move))
        .collect();
    let ids: Vec<EntryId> = spool
        .take("cam", &takings)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let stats = spool.stats();
    assert_eq!(stats.waiting.files, 9000);
    drop(spool);
    let mut spool = open(&sys).unwrap();
    assert_eq!(spool.stats().waiting, stats.waiting);
    let first = spool.window("cam", Order::Oldest, 2, &|_| false).unwrap();
    assert_eq!(first.iter().map(|e| e.id).collect::<Vec<_>>(), ids[..2]);
    let last = spool.window("cam", Order::Newest, 1, &|_| false).unwrap();
    assert_eq!(last[0].id, ids[8999]);
    let settlements: Vec<Settlement> = ids.iter().map(|&id| delivered(&mut spool, id)).collect();
    spool.settle(&settlements).unwrap();
    assert_eq!(spool.stats().waiting, Tally::default());
    assert!(
        fs.content(Path::new("/spool/lanes/0000-cam/00000000.log"))
            .is_none()
    );
    drop(spool);
    assert_eq!(open(&sys).unwrap().stats().waiting, Tally::default());
}

#[test]
fn who_looks_beside_an_agent_misses_only_what_is_deleted_meanwhile() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let takings: Vec<Taking> = (0..5000)
        .map(|n| ready(&fs, &format!("f{n}"), How::Move))
        .collect();
    let ids: Vec<EntryId> = spool
        .take("cam", &takings)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let mut reader = Spool::open_read_only(&sys, Path::new(DIR), Options::default()).unwrap();
    let first = ids.iter().filter(|id| id.segment == 0);
    let settlements: Vec<Settlement> = first.map(|&id| delivered(&mut spool, id)).collect();
    spool.settle(&settlements).unwrap();
    let log = Path::new("/spool/lanes/0000-cam/00000000.log");
    assert!(fs.content(log).is_none(), "the segment is deleted whole");
    assert_eq!(waiting(&mut reader).len(), 5000 - settlements.len());
    let mut receipts = 0;
    let mut count = |_: &Receipt| {
        receipts += 1;
        true
    };
    reader.history(None, &mut count).unwrap();
    assert_eq!(receipts, settlements.len());
}

#[test]
fn a_dead_letter_is_kept_over_a_restart_and_waits_again_when_asked() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let id = *spool.take("cam", &[ready(&fs, "a", How::Move)])[0]
        .as_ref()
        .unwrap();
    spool.failed(id, "550 no", false).unwrap();
    spool.failed(id, "553 never", true).unwrap();
    drop(spool);
    let mut spool = open(&sys).unwrap();
    let entry = spool.entry(id).unwrap();
    assert_eq!((entry.attempts, entry.standing), (2, Standing::Dead));
    assert_eq!(entry.last_error.as_deref(), Some("553 never"));
    assert!(
        spool
            .window("cam", Order::Oldest, 9, &|_| false)
            .unwrap()
            .is_empty()
    );
    spool.retry(id).unwrap();
    assert_eq!(
        spool.window("cam", Order::Oldest, 9, &|_| false).unwrap()[0].attempts,
        0
    );
}

#[test]
fn a_copied_version_is_seen_until_its_file_is_gone() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let (a, b) = (ready(&fs, "a", How::Copy), ready(&fs, "b", How::Copy));
    spool
        .take("cam", &[a.clone(), b.clone()])
        .into_iter()
        .for_each(|r| assert!(r.is_ok()));
    let seen = |spool: &mut Spool, t: &Taking| {
        spool
            .is_seen("cam", &t.path, t.expect.size, t.expect.mtime_ns)
            .unwrap()
    };
    drop(spool);
    let mut spool = open(&sys).unwrap();
    assert!(seen(&mut spool, &a) && seen(&mut spool, &b));
    spool.begin_scan("cam");
    assert!(seen(&mut spool, &a));
    spool.end_scan("cam").unwrap();
    assert!(seen(&mut spool, &a) && !seen(&mut spool, &b));
}

#[test]
fn a_full_spool_does_what_its_policy_says() {
    for (when_full, expected) in [
        (WhenFull::Pause, vec!["a", "b"]),
        (WhenFull::DropOldest, vec!["b", "c"]),
        (WhenFull::DropNewest, vec!["a", "b"]),
    ] {
        let (fs, sys) = world();
        let options = Options {
            max_size: 2,
            when_full,
            ..Options::default()
        };
        let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
        for name in ["a", "b", "c"] {
            spool.take("cam", &[ready(&fs, name, How::Move)]);
        }
        assert_eq!(
            waiting(&mut spool).into_keys().collect::<Vec<_>>(),
            expected
        );
        let mut evicted = 0;
        spool
            .history(None, &mut |_| {
                evicted += 1;
                true
            })
            .unwrap();
        assert_eq!(evicted, u32::from(when_full != WhenFull::Pause));
        let left = fs.content(Path::new("/src/c")).is_some();
        assert_eq!(left, when_full == WhenFull::Pause);
    }
}

#[test]
fn an_upload_may_grow_as_far_as_it_could_be_taken() {
    for (when_full, makes_room) in [
        (WhenFull::Pause, false),
        (WhenFull::DropOldest, true),
        (WhenFull::DropNewest, false),
    ] {
        let (fs, sys) = world();
        let options = Options {
            max_size: 10,
            when_full,
            ..Options::default()
        };
        let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
        let takings = ["a", "b", "c", "d"].map(|name| ready(&fs, name, How::Move));
        spool.take("cam", &takings);
        assert_eq!(spool.free_room(2).unwrap(), 4);
        assert!(spool.has_room("cam", 2, 4).unwrap());
        assert_eq!(spool.lane_tally("cam").files, 4);
        assert_eq!(spool.has_room("cam", 2, 5).unwrap(), makes_room);
        assert_eq!(spool.lane_tally("cam").files, 4 - u64::from(makes_room));
        assert!(!spool.has_room("cam", 0, 11).unwrap());
        fs.set_room(1 << 20);
        assert_eq!(spool.free_room(0).unwrap(), 0);
    }
}

#[test]
fn a_disk_below_its_reserve_takes_nothing() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    fs.set_room(1 << 20);
    let refused = spool.take("cam", &[ready(&fs, "a", How::Move)]).remove(0);
    assert!(refused.unwrap_err().is_full());
    assert!(fs.content(Path::new("/src/a")).is_some());
}

#[test]
fn a_second_agent_is_refused_and_a_reader_is_not() {
    let (_, sys) = world();
    let spool = open(&sys).unwrap();
    let error = open(&sys).err().unwrap().to_string();
    assert!(error.contains(DIR), "{error}");
    let mut reader = Spool::open_read_only(&sys, Path::new(DIR), Options::default()).unwrap();
    assert!(matches!(
        reader.set_paused("x", true),
        Err(SpoolError::ReadOnly)
    ));
    drop(spool);
    open(&sys).unwrap();
}

#[test]
fn a_newer_format_is_refused() {
    let (fs, sys) = world();
    drop(open(&sys).unwrap());
    fs.unlink(Path::new("/spool/format")).unwrap();
    fs.put("/spool/format", b"edgespool spool 2 00000001\n");
    assert!(matches!(
        open(&sys),
        Err(SpoolError::Newer { found: 2, .. })
    ));
}

#[test]
fn a_pause_holds_over_a_restart() {
    let (_, sys) = world();
    let mut spool = open(&sys).unwrap();
    spool.set_paused("cam", true).unwrap();
    drop(spool);
    assert!(open(&sys).unwrap().stats().lanes[0].paused);
}

#[test]
fn a_real_disk_takes_and_settles() {
    let dir = tempfile::tempdir().unwrap();
    let sys = Sys::os().unwrap();
    let mut spool = Spool::open(
        &sys,
        &dir.path().join("spool"),
        Options {
            min_free: 0,
            ..Options::default()
        },
    )
    .unwrap();
    let source = dir.path().join("x");
    std::fs::write(&source, b"content").unwrap();
    let expect = sys.fs.meta(&source).unwrap();
    let taking = Taking {
        source: source.clone(),
        path: b"x".to_vec(),
        how: How::Move,
        expect,
        closed: true,
    };
    let id = *spool.take("cam", &[taking])[0].as_ref().unwrap();
    assert!(!source.exists());
    assert_eq!(waiting(&mut spool)["x"], b"content");
    let settlement = delivered(&mut spool, id);
    spool.settle(&[settlement]).unwrap();
    assert!(spool.open_blob(id).is_err());
}

#[test]
fn a_note_outlives_a_restart_and_is_replaced_as_a_whole() {
    let (_, sys) = world();
    let mut spool = open(&sys).unwrap();
    assert_eq!(spool.note("budget night"), None);
    spool.put_note("budget night", b"one").unwrap();
    spool.put_note("budget night", b"2").unwrap();
    drop(spool);
    assert_eq!(open(&sys).unwrap().note("budget night").unwrap(), b"2");
}

#[test]
fn each_version_is_copied_once_over_restarts_and_full_segments() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let files: Vec<Taking> = (0..5000)
        .map(|n| ready(&fs, &format!("f{n}"), How::Copy))
        .collect();
    let seen = |spool: &mut Spool, t: &Taking| {
        let (size, mtime_ns) = (t.expect.size, t.expect.mtime_ns);
        spool.is_seen("cam", &t.path, size, mtime_ns).unwrap()
    };
    for some in files.chunks(1700) {
        assert!(spool.take("cam", some).iter().all(Result::is_ok));
        drop(spool);
        spool = open(&sys).unwrap();
    }
    assert!(files.iter().all(|file| seen(&mut spool, file)));
    spool.begin_scan("cam");
    assert!(files[1000..].iter().all(|file| seen(&mut spool, file)));
    spool.end_scan("cam").unwrap();
    for _ in 0..2 {
        assert!(files[1000..].iter().all(|file| seen(&mut spool, file)));
        assert!(!files[..1000].iter().any(|file| seen(&mut spool, file)));
        drop(spool);
        spool = open(&sys).unwrap();
    }
}

#[test]
fn a_version_that_is_offered_twice_is_copied_once() {
    let (fs, sys) = world();
    let mut spool = open(&sys).unwrap();
    let copy = ready(&fs, "a", How::Copy);
    let taken = spool.take("cam", &[copy.clone(), copy.clone()]);
    assert!(
        matches!(taken[..], [Ok(_), Err(TakeError::Twice)]),
        "{taken:?}"
    );
    let again = spool.take("cam", &[copy]);
    assert!(matches!(again[..], [Err(TakeError::Twice)]), "{again:?}");
}
