//! Watching that goes on.

use super::*;

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
