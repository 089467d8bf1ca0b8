//! The name at the source: nothing is removed by it that was not taken.

use std::os::unix::ffi::OsStrExt;

use super::super::source::{aside, is_aside, let_go, let_go_again};
use super::*;
use crate::sys::Meta;

const SOURCE: &str = "/src/a.jpg";
const ASIDE: &str = "/src/.edgespool-taken-a.jpg";

fn path(name: &str) -> &Path {
    Path::new(name)
}

fn stands(fs: &MemoryFs, name: &str) -> bool {
    fs.meta(path(name)).is_ok()
}

/// What was copied: the file that stands at the source now.
fn copied(fs: &MemoryFs) -> impl Fn(&Path, &Meta) -> bool + use<> {
    let ino = fs.meta(path(SOURCE)).unwrap().ino;
    move |_, meta| meta.ino == ino
}

#[test]
fn the_source_that_was_copied_goes() {
    let (fs, _) = world();
    fs.put(SOURCE, b"1");
    let_go(&fs, path(SOURCE), &copied(&fs)).unwrap();
    assert!(!stands(&fs, SOURCE) && !stands(&fs, ASIDE));
    // Whoever removed it first did what was wanted.
    let_go(&fs, path(SOURCE), &|_, _| true).unwrap();
}

#[test]
fn another_file_under_its_name_stays() {
    let (fs, _) = world();
    fs.put(SOURCE, b"1");
    let is_copied = copied(&fs);
    fs.unlink(path(SOURCE)).unwrap();
    fs.put(SOURCE, b"2");
    let_go(&fs, path(SOURCE), &is_copied).unwrap();
    assert_eq!(fs.content(path(SOURCE)).unwrap(), b"2");
    assert!(!stands(&fs, ASIDE));
}

#[test]
fn what_a_crash_left_aside_goes_or_comes_back() {
    for is_it in [true, false] {
        let (fs, _) = world();
        fs.put(SOURCE, b"1");
        fs.rename(path(SOURCE), path(ASIDE)).unwrap();
        let_go_again(&fs, path(SOURCE), &|_, _| is_it).unwrap();
        assert_eq!(stands(&fs, SOURCE), !is_it);
        assert!(!stands(&fs, ASIDE));
    }
}

#[test]
fn what_was_overwritten_meanwhile_goes_when_the_newer_one_is_durable() {
    let (fs, _) = world();
    fs.put(ASIDE, b"1");
    fs.put(SOURCE, b"2");
    let_go_again(&fs, path(SOURCE), &|_, _| false).unwrap();
    assert!(!stands(&fs, ASIDE));
    fs.restart(&mut || false);
    assert_eq!(fs.content(path(SOURCE)).unwrap(), b"2");
}

#[test]
fn a_leftover_of_the_same_name_does_not_keep_the_source_there() {
    let (fs, _) = world();
    fs.put(ASIDE, b"1");
    fs.put(SOURCE, b"2");
    let_go(&fs, path(SOURCE), &copied(&fs)).unwrap();
    assert!(!stands(&fs, SOURCE) && !stands(&fs, ASIDE));
}

#[test]
fn the_longest_name_has_one_for_aside_too() {
    let long = aside(Path::new(&format!("/src/{}", "n".repeat(255))));
    let name = long.file_name().unwrap().as_bytes();
    assert!(name.len() <= 255 && is_aside(name));
}

#[test]
fn a_file_whose_source_cannot_be_removed_is_taken_once() {
    let (fs, sys) = world();
    fs.mount("/card");
    fs.put("/card/a.jpg", b"1");
    let mut spool = open(&sys).unwrap();
    let offer = |spool: &mut Spool| {
        let source = PathBuf::from("/card/a.jpg");
        let expect = fs.meta(&source).unwrap();
        let path = b"a.jpg".to_vec();
        let taking = Taking {
            source,
            path,
            how: How::Move,
            expect,
            closed: true,
        };
        spool.take("cam", &[taking]).remove(0)
    };
    fs.freeze(Some("/card"));
    assert!(offer(&mut spool).is_ok());
    for _ in 0..2 {
        assert!(matches!(offer(&mut spool), Err(TakeError::Stays(_))));
        drop(spool);
        spool = open(&sys).unwrap();
    }
    fs.freeze(None);
    assert!(matches!(offer(&mut spool), Err(TakeError::Gone)));
    assert!(!stands(&fs, "/card/a.jpg"));
    // Whoever puts it there again wants it sent again.
    fs.put("/card/a.jpg", b"1");
    assert!(offer(&mut spool).is_ok());
    assert_eq!(spool.lane_waiting("cam"), 2);
}

#[test]
fn what_was_left_aside_gets_its_name_again() {
    let (fs, sys) = world();
    let spool = open(&sys).unwrap();
    fs.put(ASIDE, b"1");
    spool.return_aside(path(ASIDE));
    assert_eq!(fs.content(path(SOURCE)).unwrap(), b"1");
    assert!(!stands(&fs, ASIDE));
}
