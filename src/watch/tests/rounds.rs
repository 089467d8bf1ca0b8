//! Single rounds, and what is taken in them.

use super::*;

#[test]
fn once_finds_what_is_there_and_leaves_what_is_not_ours() {
    let world = World::new();
    for path in [
        "a.jpg",
        "x/y/b.jpg",
        ".hidden",
        "c.tmp",
        ".git/d",
        "-rf",
        "ö ü",
    ] {
        world.write(path);
    }
    let dir = world.dir.path();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), dir.join("link")).unwrap();
    symlink(outside.path().join("secret"), dir.join("file-link")).unwrap();
    std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
    fs::write(dir.join("evil\r\nDELE x"), "e").unwrap();
    let (report, found) = smol::block_on(world.once(&at_once(&world)));
    assert_eq!(found, ["-rf", "a.jpg", "x/y/b.jpg", "ö ü"]);
    assert_eq!((report.offered, report.unfinished), (4, 0));
    assert!(dir.join("evil\r\nDELE x").exists());
}

#[test]
fn once_leaves_a_file_that_is_being_written_and_counts_it() {
    let world = World::new();
    world.write("done");
    let open = fs::File::create(world.dir.path().join("open")).unwrap();
    let (report, found) = smol::block_on(world.once(&at_once(&world)));
    assert_eq!(found, ["done"]);
    assert_eq!(report.unfinished, 1);
    drop(open);
}

#[test]
fn once_offers_more_files_than_fit_in_a_batch_or_may_wait() {
    let world = World::new();
    for n in 0..1500 {
        world.write(&format!("d{}/{n}", n % 3));
    }
    let (report, found) = smol::block_on(world.once(&at_once(&world)));
    assert_eq!(found.len(), 1500);
    assert_eq!(report.offered, 1500);
}

#[test]
fn a_scan_goes_through_the_names_of_a_directory_in_order() {
    let world = World::new();
    let long_ago = std::time::SystemTime::now() - LONG * 2;
    let path = |n: usize| format!("shot-{n:04}.jpg");
    for n in (0..300).rev() {
        world.write(&path(n));
        let file = fs::File::open(world.dir.path().join(path(n)));
        file.unwrap().set_modified(long_ago).unwrap();
    }
    let (_, found) = smol::block_on(world.once_in_order(&WatchOptions {
        quiet: Duration::ZERO,
        ..world.options()
    }));
    assert_eq!(found, (0..300).map(path).collect::<Vec<_>>());
}

#[test]
fn once_in_a_directory_that_is_a_link_works_and_in_none_it_says_so() {
    let world = World::new();
    world.write("real/a");
    let link = world.dir.path().join("link");
    symlink(world.dir.path().join("real"), &link).unwrap();
    let options = WatchOptions {
        dir: link,
        ..at_once(&world)
    };
    assert_eq!(smol::block_on(world.once(&options)).1, ["a"]);
    let options = WatchOptions {
        dir: world.dir.path().join("none"),
        ..options
    };
    let (out, _offers) = bounded(1);
    let refused = smol::block_on(scan_once(&world.sys, &options, never_taken(), out));
    assert!(matches!(refused, Err(OnceError::Dir { .. })));
}

#[test]
fn copies_are_offered_only_until_they_are_taken() {
    let world = World::new();
    world.write("new");
    world.write("taken");
    let options = WatchOptions {
        take: Take::Copy,
        ..at_once(&world)
    };
    let taken = Arc::new(OneTaken::default());
    let (out, offers) = bounded(4);
    let report = smol::block_on(scan_once(&world.sys, &options, taken, out)).unwrap();
    assert_eq!(report.offered, 1);
    assert_eq!(offers.try_recv().unwrap()[0].path, b"new");
}

/// The file `taken` was taken before; what is asked is written down.
#[derive(Default)]
struct OneTaken(std::sync::Mutex<Vec<String>>);

impl TakenBefore for OneTaken {
    fn contains(&self, path: &[u8], _meta: &Meta) -> bool {
        let path = String::from_utf8(path.to_vec()).unwrap();
        let taken = path == "taken";
        self.0.lock().unwrap().push(path);
        taken
    }

    fn begin_scan(&self) {
        self.0.lock().unwrap().push("begin".to_owned());
    }

    fn end_scan(&self) {
        self.0.lock().unwrap().push("end".to_owned());
    }
}

#[test]
fn a_scan_of_the_whole_tree_asks_about_every_copy_between_its_ends() {
    let world = World::new();
    world.write("below/taken");
    world.write("taken");
    let options = WatchOptions {
        take: Take::Copy,
        ..at_once(&world)
    };
    let taken = Arc::new(OneTaken::default());
    let (out, _offers) = bounded(4);
    smol::block_on(scan_once(&world.sys, &options, taken.clone(), out)).unwrap();
    let asked = taken.0.lock().unwrap().clone();
    assert_eq!(asked.first().unwrap(), "begin");
    assert!(asked.contains(&"taken".to_owned()) && asked.contains(&"below/taken".to_owned()));
    assert_eq!(asked.iter().filter(|word| *word == "end").count(), 1);
}

#[test]
fn a_scan_that_could_not_read_everything_does_not_say_that_it_did() {
    let world = World::new();
    let deep = vec!["d"; 40].join("/");
    world.write(&format!("{deep}/file"));
    let options = WatchOptions {
        take: Take::Copy,
        ..at_once(&world)
    };
    let taken = Arc::new(OneTaken::default());
    let (out, _offers) = bounded(4);
    smol::block_on(scan_once(&world.sys, &options, taken.clone(), out)).unwrap();
    assert_eq!(*taken.0.lock().unwrap(), ["begin"]);
}

#[test]
fn a_marker_releases_its_file_and_goes_with_it() {
    let world = World::new();
    let options = WatchOptions {
        ready: ReadyWhen::Marker,
        ..world.options()
    };
    world.write("a.jpg");
    world.write("b.jpg");
    world.write("a.jpg.done");
    let (out, offers) = bounded(4);
    let scan = scan_once(&world.sys, &options, never_taken(), out);
    assert_eq!(smol::block_on(scan).unwrap().offered, 1);
    let ready = offers.try_recv().unwrap().remove(0);
    assert_eq!(ready.path, b"a.jpg");
    remove_marker(world.sys.fs.as_ref(), &options, &ready).unwrap();
    assert!(!world.dir.path().join("a.jpg.done").exists());
    remove_marker(world.sys.fs.as_ref(), &options, &ready).unwrap();
}

#[test]
fn a_shared_marker_stays_until_its_last_file_is_taken() {
    let world = World::new();
    let options = WatchOptions {
        ready: ReadyWhen::Marker,
        marker: "{stem}.ok".to_owned(),
        ..world.options()
    };
    for path in ["x/a.jpg", "x/a.xml", "x/a.ok"] {
        world.write(path);
    }
    let (out, offers) = bounded(4);
    let scan = scan_once(&world.sys, &options, never_taken(), out);
    assert_eq!(smol::block_on(scan).unwrap().offered, 2);
    let marker = world.dir.path().join("x/a.ok");
    for (ready, stays) in offers.try_recv().unwrap().iter().zip([true, false]) {
        fs::remove_file(&ready.source).unwrap();
        remove_marker(world.sys.fs.as_ref(), &options, ready).unwrap();
        assert_eq!(marker.exists(), stays);
    }
}
