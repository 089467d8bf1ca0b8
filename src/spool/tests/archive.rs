//! Delivered files that are kept.

use super::*;
use crate::sys::{Kind, Wall};

const DAY: i64 = 86_400;
const TODAY: Wall = Wall(1_790_000_000_000_000_000);

fn archive(max_size: Option<u64>, max_age_s: Option<u64>) -> Archive {
    Archive {
        dir: PathBuf::from("/kept/sent"),
        max_size,
        max_age_s,
    }
}

fn later(days: i64) -> Wall {
    Wall::from_secs(TODAY.secs() + days * DAY)
}

/// Takes and delivers files of 1 kB, one after the other.
fn deliver(fs: &MemoryFs, spool: &mut Spool, names: &[&str]) {
    for name in names {
        fs.put(&format!("/src/{name}"), &[7; 1000]);
        let taking = ready(fs, name, How::Move);
        let id = *spool.take("cam", &[taking])[0].as_ref().unwrap();
        let settlement = delivered(spool, id);
        spool.settle(&[settlement]).unwrap();
    }
}

fn carry(archiver: &mut Archiver, now: Option<Wall>) {
    while archiver.step(now).unwrap() {}
}

/// The names in the archive behind the ids, sorted by shelf and id.
fn kept(fs: &MemoryFs) -> Vec<String> {
    let mut names = Vec::new();
    for shelf in fs.names(Path::new("/kept/sent")) {
        assert_eq!(
            fs.meta(&Path::new("/kept/sent").join(&shelf)).unwrap().kind,
            Kind::Dir
        );
        for name in fs.names(&Path::new("/kept/sent").join(shelf)) {
            names.push(name.splitn(3, '-').nth(2).unwrap().to_owned());
        }
    }
    names
}

fn open_with(sys: &Sys, archive: &Archive) -> Spool {
    let mut spool = open(sys).unwrap();
    spool.set_archive("cam", Some(archive)).unwrap();
    spool
}

#[test]
fn a_delivered_file_is_kept_in_an_archive_that_is_made_for_it() {
    let (fs, sys) = world();
    let mut spool = open_with(&sys, &archive(None, None));
    deliver(&fs, &mut spool, &["a", "b"]);
    let mut archiver = spool.archiver();
    assert!(archiver.has_work());
    carry(&mut archiver, Some(TODAY));
    assert!(!archiver.has_work());
    assert_eq!(kept(&fs), ["a", "b"]);
    assert!(fs.names(Path::new("/spool/outbox")).is_empty());
}

#[test]
fn files_of_one_name_are_kept_apart() {
    let (fs, sys) = world();
    let mut spool = open_with(&sys, &archive(None, None));
    deliver(&fs, &mut spool, &["a", "a", "a"]);
    carry(&mut spool.archiver(), Some(TODAY));
    assert_eq!(kept(&fs), ["a", "a", "a"]);
}

#[test]
fn an_archive_on_another_filesystem_gets_a_whole_copy() {
    let (fs, sys) = world();
    fs.mount("/kept");
    let mut spool = open_with(&sys, &archive(None, None));
    deliver(&fs, &mut spool, &["a"]);
    carry(&mut spool.archiver(), Some(TODAY));
    assert_eq!(kept(&fs), ["a"]);
    let shelf = Path::new("/kept/sent").join(&fs.names(Path::new("/kept/sent"))[0]);
    let file = shelf.join(&fs.names(&shelf)[0]);
    assert_eq!(fs.content(&file).unwrap(), [7; 1000]);
    assert!(fs.names(Path::new("/spool/outbox")).is_empty());
}

#[test]
fn the_oldest_files_make_way_when_the_archive_is_over_its_size() {
    let (fs, sys) = world();
    let mut spool = open_with(&sys, &archive(Some(3000), None));
    let mut archiver = spool.archiver();
    deliver(&fs, &mut spool, &["a", "b", "c", "d"]);
    carry(&mut archiver, Some(TODAY));
    assert_eq!(kept(&fs), ["b", "c", "d"]);
    // Another process knows only what the directory shows.
    deliver(&fs, &mut spool, &["e"]);
    carry(&mut spool.archiver(), Some(later(2)));
    assert_eq!(kept(&fs), ["c", "d", "e"]);
}

#[test]
fn old_files_go_once_the_clock_can_be_trusted() {
    let (fs, sys) = world();
    let mut spool = open_with(&sys, &archive(None, Some(30 * DAY as u64)));
    let mut archiver = spool.archiver();
    deliver(&fs, &mut spool, &["before"]);
    carry(&mut archiver, None);
    deliver(&fs, &mut spool, &["a"]);
    carry(&mut archiver, Some(TODAY));
    deliver(&fs, &mut spool, &["b"]);
    carry(&mut archiver, Some(later(10)));
    carry(&mut archiver, None);
    assert_eq!(kept(&fs), ["before", "a", "b"]);
    carry(&mut archiver, Some(later(29)));
    assert_eq!(kept(&fs), ["before", "a", "b"]);
    carry(&mut archiver, Some(later(35)));
    assert_eq!(kept(&fs), ["b"]);
    carry(&mut spool.archiver(), Some(later(60)));
    assert!(kept(&fs).is_empty());
}

#[test]
fn other_files_in_the_directory_are_left_alone() {
    let (fs, sys) = world();
    for dir in ["/kept", "/kept/sent", "/kept/sent/holiday"] {
        fs.create_dir(Path::new(dir)).unwrap();
    }
    fs.put("/kept/sent/holiday/beach.jpg", &[1; 9000]);
    let mut spool = open_with(&sys, &archive(Some(0), Some(60)));
    deliver(&fs, &mut spool, &["a", "b"]);
    carry(&mut spool.archiver(), Some(TODAY));
    carry(&mut spool.archiver(), Some(later(100)));
    assert!(
        fs.content(Path::new("/kept/sent/holiday/beach.jpg"))
            .is_some()
    );
}

#[test]
fn what_was_evicted_or_dropped_is_not_archived() {
    let (fs, sys) = world();
    let mut spool = open_with(&sys, &archive(None, None));
    let taken = spool.take("cam", &[ready(&fs, "a", How::Move)]);
    spool.drop_entry(*taken[0].as_ref().unwrap()).unwrap();
    assert!(!spool.archiver().has_work());
}

#[test]
fn a_power_cut_at_any_operation_keeps_a_delivered_file_in_spool_or_archive() {
    let run = |fs: &MemoryFs, sys: &Sys| -> Option<()> {
        let mut spool = open(sys).ok()?;
        let archive = archive(None, None);
        spool.set_archive("cam", Some(&archive)).ok()?;
        let taken = spool.take("cam", &[ready(fs, "a", How::Move)]).remove(0);
        let settlement = delivered(&mut spool, taken.ok()?);
        spool.settle(&[settlement]).ok()?;
        let mut archiver = spool.archiver();
        while archiver.step(Some(TODAY)).ok()? {}
        Some(())
    };
    for mounted in [false, true] {
        let start = || {
            let (fs, sys) = world();
            if mounted {
                fs.mount("/kept");
            }
            drop(ready(&fs, "a", How::Move));
            (fs, sys)
        };
        let (fs, sys) = start();
        let before = fs.calls();
        run(&fs, &sys).unwrap();
        for cut in 0..fs.calls() - before {
            for seed in 0..4 {
                let (fs, sys) = start();
                fs.cut_after(cut);
                let _cut_short = run(&fs, &sys);
                let mut random = fastrand::Rng::with_seed(seed);
                fs.restart(&mut || random.bool());
                let mut spool = open(&sys).unwrap();
                carry(&mut spool.archiver(), Some(TODAY));
                let kept = match fs.meta(Path::new("/kept/sent")) {
                    Ok(_) => kept(&fs),
                    Err(_) => Vec::new(),
                };
                let source = fs.content(Path::new("/src/a")).is_some();
                let places = (source || !waiting(&mut spool).is_empty(), !kept.is_empty());
                assert!(places.0 != places.1, "cut {cut} seed {seed}: {places:?}");
                assert!(kept.iter().all(|name| name == "a"), "{kept:?}");
            }
        }
    }
}

#[test]
fn bytes_on_the_way_to_the_archive_count_against_the_room() {
    let (fs, sys) = world();
    let options = Options {
        max_size: 2500,
        ..Options::default()
    };
    let mut spool = Spool::open(&sys, Path::new(DIR), options).unwrap();
    let archive = archive(None, None);
    spool.set_archive("cam", Some(&archive)).unwrap();
    deliver(&fs, &mut spool, &["a", "b"]);
    fs.put("/src/c", &[7; 1000]);
    let refused = spool.take("cam", &[ready(&fs, "c", How::Move)]).remove(0);
    assert!(refused.unwrap_err().is_full());
    carry(&mut spool.archiver(), Some(TODAY));
    deliver(&fs, &mut spool, &["d"]);
}
