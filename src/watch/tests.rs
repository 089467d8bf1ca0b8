//! Whole watchers on real directories. Nothing here depends on how long anything
//! takes: each test waits for what must come, for as long as `PATIENCE`.

use std::cell::RefCell;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::rc::Rc;
use std::sync::Arc;

use smol::LocalExecutor;
use smol::channel::{Receiver, Sender, bounded};
use tempfile::TempDir;

use super::*;
use crate::sys::{LocalFuture, Sys, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// A quiet that no test waits for.
const LONG: Duration = Duration::from_secs(3600);

struct World {
    sys: Sys,
    dir: TempDir,
}

impl World {
    fn new() -> World {
        World {
            sys: Sys::os().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> WatchOptions {
        WatchOptions {
            quiet: LONG,
            ..WatchOptions::new("test", self.dir.path())
        }
    }

    fn write(&self, path: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }

    async fn once(&self, options: &WatchOptions) -> (OnceReport, Vec<String>) {
        let (out, offers) = bounded::<Vec<Ready>>(1);
        let collected = RefCell::new(Vec::new());
        let collect = async {
            while let Ok(batch) = offers.recv().await {
                assert!(batch.len() <= BATCH_MAX);
                collected.borrow_mut().extend(batch.iter().map(shown));
            }
        };
        let scan = scan_once(&self.sys, options, never_taken(), out);
        let (report, ()) = smol::future::zip(scan, collect).await;
        let mut found = collected.into_inner();
        found.sort();
        (report.unwrap(), found)
    }
}

fn shown(ready: &Ready) -> String {
    String::from_utf8_lossy(&ready.path).into_owned()
}

fn never_taken() -> AlreadyTaken {
    Arc::new(())
}

/// Runs `test` beside a watcher; `test` gets what the watcher offers.
fn watching<F>(
    world: &World,
    options: WatchOptions,
    source: Rc<dyn HintSource>,
    test: impl FnOnce(Offers, Control) -> F,
) where
    F: Future<Output = ()>,
{
    let (out, offers) = bounded(1);
    let (watcher, control) =
        Watcher::start_with(&world.sys, source, options, never_taken(), out).unwrap();
    let executor = LocalExecutor::new();
    let watching = executor.spawn(watcher.run());
    let offers = Offers {
        sys: world.sys.clone(),
        offers,
        seen: Vec::new(),
    };
    smol::block_on(executor.run(async {
        test(offers, control).await;
        drop(watching);
    }));
}

struct Offers {
    sys: Sys,
    offers: Receiver<Vec<Ready>>,
    seen: Vec<Ready>,
}

impl Offers {
    async fn wait_for(&mut self, path: &[u8]) -> Ready {
        loop {
            if let Some(at) = self.seen.iter().position(|ready| ready.path == path) {
                return self.seen.remove(at);
            }
            let next = timeout(self.sys.clock.as_ref(), PATIENCE, self.offers.recv());
            let batch = next.await.expect("the file is offered in time");
            self.seen.extend(batch.unwrap());
        }
    }
}

/// Hints from the test.
struct Script(RefCell<Option<Receiver<Hint>>>);

impl Script {
    fn new() -> (Sender<Hint>, Rc<Script>) {
        let (sender, receiver) = bounded(64);
        (sender, Rc::new(Script(RefCell::new(Some(receiver)))))
    }
}

impl HintSource for Script {
    fn open<'a>(
        &'a self,
        _: &'a Path,
        _: bool,
    ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>> {
        let receiver = self.0.borrow().clone();
        Box::pin(async move {
            let receiver = receiver.ok_or(NoHints::Missing)?;
            Ok(Box::new(Scripted(receiver)) as Box<dyn Hints>)
        })
    }
}

struct Scripted(Receiver<Hint>);

impl Hints for Scripted {
    fn next(&mut self) -> LocalFuture<'_, Hint> {
        Box::pin(async { self.0.recv().await.unwrap() })
    }

    fn try_next(&mut self) -> Option<Hint> {
        self.0.try_recv().ok()
    }

    fn barrier(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn inotify(world: &World) -> Rc<dyn HintSource> {
    Rc::new(Inotify::new(world.sys.pool.clone()))
}

/// Options under which a file found by a scan is finished a moment later.
fn at_once(world: &World) -> WatchOptions {
    WatchOptions {
        quiet: Duration::from_millis(1),
        ..world.options()
    }
}

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

#[test]
fn files_that_are_written_or_moved_in_are_offered_at_once() {
    let world = World::new();
    let source = inotify(&world);
    watching(
        &world,
        world.options(),
        source,
        async |mut offers, _control| {
            // The hour of quiet is over for no file: only notices bring them. The
            // first ones may come before the notices begin, so they are repeated.
            let dir = world.dir.path();
            offers.until_watching(&world).await;
            world.write("written");
            assert_eq!(
                offers.wait_for(b"written").await.source,
                dir.join("written")
            );
            fs::write(dir.join("early.tmp"), "x").unwrap();
            fs::rename(dir.join("early.tmp"), dir.join("moved")).unwrap();
            assert_eq!(offers.wait_for(b"moved").await.meta.size, 1);
            let name = std::ffi::OsStr::from_bytes(b"\xFF\xFE name");
            fs::write(dir.join(name), "x").unwrap();
            offers.wait_for(b"\xFF\xFE name").await;
        },
    );
}

#[test]
fn new_and_renamed_directories_are_watched() {
    let world = World::new();
    let source = inotify(&world);
    watching(
        &world,
        world.options(),
        source,
        async |mut offers, _control| {
            let dir = world.dir.path();
            offers.until_watching(&world).await;
            fs::create_dir_all(dir.join("a/b")).unwrap();
            offers.until_watched(&world, "a/b").await;
            fs::rename(dir.join("a"), dir.join("c")).unwrap();
            offers.until_watched(&world, "c/b").await;
            fs::create_dir_all(dir.join("a/b")).unwrap();
            offers.until_watched(&world, "a/b").await;
        },
    );
}

#[test]
fn a_directory_that_comes_with_files_is_gone_through() {
    let world = World::new();
    let source = inotify(&world);
    watching(
        &world,
        at_once(&world),
        source,
        async |mut offers, _control| {
            offers.until_watching(&world).await;
            let outside = tempfile::tempdir_in(world.dir.path().parent().unwrap()).unwrap();
            fs::create_dir_all(outside.path().join("in/deep")).unwrap();
            fs::write(outside.path().join("in/deep/file"), "x").unwrap();
            fs::rename(outside.path().join("in"), world.dir.path().join("in")).unwrap();
            offers.wait_for(b"in/deep/file").await;
        },
    );
}

#[test]
fn lost_hints_are_made_up_for_by_a_scan() {
    let world = World::new();
    let (hints, source) = Script::new();
    watching(
        &world,
        at_once(&world),
        source,
        async |mut offers, _control| {
            world.write("first");
            hints.send(Hint::Rescan).await.unwrap();
            offers.wait_for(b"first").await;
            world.write("x/second");
            hints.send(Hint::Rescan).await.unwrap();
            offers.wait_for(b"x/second").await;
        },
    );
}

#[test]
fn a_hint_through_a_link_out_of_the_tree_is_ignored() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(outside.path(), world.dir.path().join("link")).unwrap();
    let (hints, source) = Script::new();
    watching(
        &world,
        world.options(),
        source,
        async |mut offers, _control| {
            let dir = world.dir.path();
            world.write("ours");
            for path in ["link/secret", "../ours", "link", "ours"] {
                hints.send(Hint::Finished(dir.join(path))).await.unwrap();
            }
            offers.wait_for(b"ours").await;
            assert!(offers.seen.is_empty(), "{:?}", offers.seen);
        },
    );
}

#[test]
fn a_file_that_could_not_be_taken_is_offered_again_when_asked() {
    let world = World::new();
    let (_hints, source) = Script::new();
    world.write("a");
    watching(
        &world,
        at_once(&world),
        source,
        async |mut offers, control| {
            offers.wait_for(b"a").await;
            control.rescan_in(Duration::from_millis(1));
            offers.wait_for(b"a").await;
        },
    );
}

#[test]
fn other_options_take_effect_and_a_stop_ends_it() {
    let world = World::new();
    let (_hints, source) = Script::new();
    let options = WatchOptions {
        include: vec!["*.jpg".to_owned()],
        ..at_once(&world)
    };
    world.write("a.jpg");
    world.write("a.png");
    watching(&world, options, source, async |mut offers, control| {
        offers.wait_for(b"a.jpg").await;
        assert!(offers.seen.is_empty());
        let bad = WatchOptions {
            include: vec!["[".to_owned()],
            ..at_once(&world)
        };
        assert!(control.reconfigure(bad).await.is_err());
        control.reconfigure(at_once(&world)).await.unwrap();
        offers.wait_for(b"a.png").await;
        control.stop().await;
        while offers.offers.recv().await.is_ok() {}
    });
}

#[test]
fn a_directory_that_was_replaced_is_watched_again() {
    let world = World::new();
    let root = world.dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let options = WatchOptions {
        dir: root.clone(),
        ..at_once(&world)
    };
    let source = inotify(&world);
    watching(&world, options, source, async |mut offers, control| {
        fs::write(root.join("before"), "x").unwrap();
        offers.wait_for(b"before").await;
        fs::rename(&root, world.dir.path().join("away")).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(root.join("after"), "x").unwrap();
        // Spares the test the wait until the next look.
        control.rescan_in(Duration::ZERO);
        offers.wait_for(b"after").await;
    });
}

#[test]
fn where_hints_end_scans_go_on() {
    let world = World::new();
    let (hints, source) = Script::new();
    watching(
        &world,
        at_once(&world),
        source,
        async |mut offers, _control| {
            hints.send(Hint::Lost("a test".into())).await.unwrap();
            world.write("a");
            offers.wait_for(b"a").await;
        },
    );
}

#[test]
fn where_there_are_no_hints_scans_find_the_files() {
    struct Refusing;
    impl HintSource for Refusing {
        fn open<'a>(
            &'a self,
            _: &'a Path,
            _: bool,
        ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>> {
            Box::pin(async { Err(NoHints::Refused("a test".to_owned())) })
        }
    }
    let world = World::new();
    world.write("x/a");
    watching(
        &world,
        at_once(&world),
        Rc::new(Refusing),
        async |mut offers, _control| {
            offers.wait_for(b"x/a").await;
        },
    );
}

#[test]
fn without_recursion_subdirectories_are_left_alone() {
    let world = World::new();
    let options = WatchOptions {
        recursive: false,
        ..at_once(&world)
    };
    world.write("x/below");
    world.write("old");
    let source = inotify(&world);
    watching(&world, options, source, async |mut offers, _control| {
        offers.wait_for(b"old").await;
        offers.until_watching(&world).await;
        world.write("y/below");
        world.write("new");
        offers.wait_for(b"new").await;
        assert!(offers.seen.iter().all(|ready| ready.path == b"probe"));
    });
}

#[test]
fn a_burst_that_nobody_accepts_for_a_while_is_offered_whole() {
    let world = World::new();
    let source = inotify(&world);
    watching(
        &world,
        at_once(&world),
        source,
        async |mut offers, _control| {
            offers.until_watching(&world).await;
            // More than fits in a batch, in the queue of hints, and in the waiting files.
            for n in 0..3000 {
                fs::write(world.dir.path().join(format!("{n}")), "x").unwrap();
            }
            for n in 0..3000 {
                offers.wait_for(format!("{n}").as_bytes()).await;
            }
        },
    );
}

impl Offers {
    /// Waits until notices from the watched directory arrive.
    async fn until_watching(&mut self, world: &World) {
        self.until_watched(world, "").await;
    }

    /// Writes into a directory until a notice of it arrives: when that begins
    /// cannot be seen from outside.
    async fn until_watched(&mut self, world: &World, dir: &str) {
        let probe = Path::new(dir).join("probe");
        let path = probe.as_os_str().as_bytes().to_vec();
        let clock = world.sys.clock.clone();
        let writing = async {
            loop {
                fs::write(world.dir.path().join(&probe), "p").unwrap();
                let pause = clock.mono().after(Duration::from_millis(20));
                clock.sleep_until(pause).await;
            }
        };
        let seen = async {
            self.wait_for(&path).await;
        };
        smol::future::or(seen, writing).await;
    }
}
