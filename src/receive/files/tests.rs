//! What users can and cannot do, on the real disk.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smol::block_on;

use super::*;
use crate::receive::inbox::InboxError;
use crate::receive::options::{Folder, Permissions, Quota, Target, User};
use crate::receive::tests::{MemoryInbox, user};
use crate::sys::{Kind, Sys};

/// A user with a root directory, and a lane as its folder `lane`.
struct World {
    dir: tempfile::TempDir,
    inbox: Rc<MemoryInbox>,
    places: Arc<Places>,
    account: Account,
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut User)) -> World {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        fs::create_dir(dir.path().join("staging")).unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        let mut user = user("camera", &dir.path().join("root"));
        user.folders.push(Folder {
            name: b"lane".to_vec(),
            target: Target::Lane("lane".to_owned()),
        });
        change(&mut user);
        let inbox = Rc::new(MemoryInbox::new(&dir.path().join("staging")));
        let places = Arc::new(Places::default());
        let account = open(&user, &inbox, &places);
        World {
            dir,
            inbox,
            places,
            account,
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Starts an upload and writes to it.
    fn begin(&self, name: &str, mode: Upload, data: &[u8]) -> Result<Incoming, FileError> {
        let mut incoming = block_on(self.account.open_upload(&path(name), mode))?;
        incoming.write(data)?;
        Ok(incoming)
    }

    fn complete(&self, incoming: Incoming) -> Result<Received, FileError> {
        block_on(self.account.complete(incoming))
    }

    fn put(&self, name: &str, data: &[u8]) -> Result<Received, FileError> {
        self.complete(self.begin(name, Upload::Store, data)?)
    }

    fn size(&self, name: &str) -> Result<u64, FileError> {
        block_on(self.account.meta(&path(name))).map(|meta| meta.size)
    }

    fn rename(&self, from: &str, to: &str) -> Result<Option<Received>, FileError> {
        block_on(self.account.rename(&path(from), &path(to)))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap()
    }

    fn names(&self, name: &str) -> Result<Vec<String>, FileError> {
        let mut listing = block_on(self.account.list(&path(name)))?;
        let mut names = Vec::new();
        loop {
            let some = listing.next(2)?;
            if some.is_empty() {
                names.sort();
                return Ok(names);
            }
            names.extend(some.into_iter().map(|(n, _)| String::from_utf8(n).unwrap()));
        }
    }
}

fn open(user: &User, inbox: &Rc<MemoryInbox>, places: &Arc<Places>) -> Account {
    let sys = Sys::os().unwrap();
    block_on(Account::open(&sys, user, inbox.clone(), places)).unwrap()
}

fn path(text: &str) -> VirtualPath {
    VirtualPath::root().join(text.as_bytes()).unwrap()
}

fn code<T>(result: Result<T, FileError>) -> u16 {
    result.err().map_or(0, |e| e.code())
}

#[test]
fn an_upload_is_finished_only_by_its_completion() {
    let world = World::new();
    let incoming = world.begin("a", Upload::Store, b"half").unwrap();
    let mode = |name| {
        fs::metadata(world.root().join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode("a") & 0o7777, 0o1600);
    let received = world.complete(incoming).unwrap();
    assert_eq!(mode("a") & 0o7777, 0o640);
    assert_eq!((received.size, received.watch), (4, None));
    assert_eq!(received.file, Some(world.root().join("a")));
}

#[test]
fn a_cut_upload_can_be_gone_on_with_cut_shorter_or_begun_again() {
    let world = World::new();
    for name in ["a", "lane/a"] {
        world
            .begin(name, Upload::Store, b"0123456789")
            .unwrap()
            .cut();
        // One byte less than what came, so that nobody takes it for whole.
        assert_eq!(world.size(name), Ok(9));
        world.begin(name, Upload::Append, b"9ab").unwrap().cut();
        assert_eq!(world.size(name), Ok(11));
        world.begin(name, Upload::StoreAt(3), b"cd").unwrap().cut();
        assert_eq!(world.size(name), Ok(4));
        let beyond = world.begin(name, Upload::StoreAt(6), b"x");
        assert_eq!(code(beyond), 554);
        world.put(name, b"anew").unwrap();
        assert_eq!(world.size(name), Ok(4));
    }
    assert_eq!(world.read("a"), "anew");
    assert_eq!(
        *world.inbox.taken.borrow(),
        [("a".to_owned(), b"anew".to_vec())]
    );
}

#[test]
fn a_finished_file_is_replaced_only_by_who_may_overwrite() {
    let world = World::new();
    world.put("a", b"old").unwrap();
    for mode in [Upload::Store, Upload::StoreAt(2), Upload::Append] {
        assert!(matches!(code(world.begin("a", mode, b"new")), 550 | 553));
    }
    assert_eq!(world.read("a"), "old");
    let world = World::with(|user| user.permissions.overwrite = true);
    world.put("a", b"old").unwrap();
    world.put("a", b"new").unwrap();
    let more = world.begin("a", Upload::Append, b"er").unwrap();
    world.complete(more).unwrap();
    assert_eq!(world.read("a"), "newer");
}

#[test]
fn uploading_alone_gives_no_list_no_read_no_delete_no_rename_and_no_directory() {
    let world = World::new();
    fs::write(world.root().join("theirs"), "x").unwrap();
    fs::create_dir(world.root().join("dir")).unwrap();
    let account = &world.account;
    let theirs = path("theirs");
    assert_eq!(code(world.names("/")), 550);
    assert_eq!(code(world.names("dir")), 550);
    assert_eq!(code(world.names("lane")), 550);
    assert_eq!(code(block_on(account.open_download(&theirs))), 550);
    assert_eq!(code(block_on(account.delete(&theirs))), 550);
    assert_eq!(code(block_on(account.remove_dir(&path("dir")))), 550);
    assert_eq!(code(block_on(account.make_dir(&path("new")))), 550);
    assert_eq!(code(block_on(account.rename_from(&theirs))), 550);
    assert_eq!(code(world.rename("theirs", "mine")), 550);
    assert_eq!(code(block_on(account.set_mtime(&theirs, 1))), 550);
    assert_eq!(code(block_on(account.set_mode(&theirs, 0o777))), 550);
    assert_eq!(world.read("theirs"), "x");
    // What an upload needs goes all the same.
    assert!(block_on(account.enter(&path("dir"))).is_ok());
    world.put("dir/up.tmp", b"up").unwrap();
    block_on(account.set_mtime(&path("dir/up.tmp"), 1_000_000_000)).unwrap();
    world.rename("dir/up.tmp", "dir/up").unwrap();
    assert_eq!(world.read("dir/up"), "up");
    assert_eq!(code(world.rename("dir/up", "theirs")), 553);
}

#[test]
fn who_may_do_everything_can() {
    let world = World::with(|user| user.permissions = Permissions::ALL);
    let account = &world.account;
    block_on(account.make_dir(&path("a"))).unwrap();
    world.put("a/b", b"content").unwrap();
    world.rename("a/b", "a/c").unwrap();
    assert_eq!(world.names("a").unwrap(), ["c"]);
    let file = block_on(account.open_download(&path("a/c"))).unwrap();
    let mut buf = [0; 16];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 7);
    block_on(account.set_mode(&path("a/c"), 0o644)).unwrap();
    block_on(account.delete(&path("a/c"))).unwrap();
    block_on(account.remove_dir(&path("a"))).unwrap();
    assert_eq!(world.names("/").unwrap(), ["lane"]);
    assert_eq!(code(block_on(account.delete(&path("lane")))), 550);
    assert_eq!(code(block_on(account.remove_dir(&path("lane")))), 550);
    assert_eq!(code(world.rename("lane", "x")), 550);
    assert_eq!(code(block_on(account.remove_dir(&path("/")))), 550);
}

#[test]
fn nobody_gets_out_of_a_folder() {
    let world = World::with(|user| user.permissions = Permissions::ALL);
    let secret = world.dir.path().join("secret");
    symlink(&secret, world.root().join("link")).unwrap();
    symlink("..", world.root().join("up")).unwrap();
    symlink(world.dir.path(), world.root().join("far")).unwrap();
    let account = &world.account;
    let ways = [
        "../secret",
        "/../../secret",
        "lane/../../secret",
        "up/secret",
        "far/secret",
        "link",
        "lane/up/secret",
        "..%2fsecret",
        "lane/../../staging/x",
        "\\..\\secret",
    ];
    world.put("mine", b"mine").unwrap();
    for way in ways {
        let to = path(way);
        assert!(block_on(account.open_download(&to)).is_err(), "{way}");
        assert!(block_on(account.open_for_digest(&to)).is_err(), "{way}");
        assert!(block_on(account.set_mode(&to, 0o777)).is_err(), "{way}");
        assert!(world.names(way).is_err(), "{way}");
        let _wherever_it_goes = world.put(way, b"overwritten");
        let _wherever_it_goes = block_on(account.make_dir(&to));
        let _wherever_it_goes = world.rename("mine", way);
        let _wherever_it_goes = block_on(account.set_mtime(&to, 1));
        let _wherever_it_goes = block_on(account.delete(&to));
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret", "{way}");
    }
    let mut names: Vec<_> = fs::read_dir(world.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["root", "secret", "staging"]);
}

#[test]
fn names_with_control_characters_or_without_end_are_refused() {
    let root = VirtualPath::root();
    for bad in [&b"a\rb"[..], b"a\nb", b"a\0b", &[b'a'; 256]] {
        assert_eq!(code(root.join(bad)), 553);
    }
    let long = b"abcdefg/".repeat(1000);
    assert_eq!(code(root.join(&long)), 553);
    let deep = format!("lane/{}x", "d/".repeat(33));
    assert_eq!(code(World::new().put(&deep, b"x")), 553);
}

#[test]
fn paths_are_resolved_as_they_are_written_and_stop_at_the_root() {
    let cwd = path("a/b");
    for (text, expected) in [
        ("c", "/a/b/c"),
        ("../c", "/a/c"),
        ("../../../../c", "/c"),
        ("/c/./d//e/", "/c/d/e"),
        ("", "/a/b"),
        ("..", "/a"),
        ("/..", "/"),
    ] {
        let joined = cwd.join(text.as_bytes()).unwrap();
        assert_eq!(joined.to_bytes(), expected.as_bytes(), "{text}");
    }
    assert_eq!(cwd.parent(), path("a"));
    assert_eq!(cwd.name(), b"b");
    assert_eq!(VirtualPath::root().parent(), VirtualPath::root());
}

#[test]
fn a_second_upload_of_the_same_file_takes_it_over_from_the_first() {
    let world = World::new();
    for name in ["a", "lane/a"] {
        let mut first = world.begin(name, Upload::Store, b"first").unwrap();
        let second = world.begin(name, Upload::Append, b" second").unwrap();
        assert_eq!(code(first.write(b" more")), 450);
        assert_eq!(code(world.complete(first)), 450);
        let mut third = world.begin(name, Upload::Store, b"third").unwrap();
        assert_eq!(code(world.complete(second)), 450);
        third.write(b" alone").unwrap();
        world.complete(third).unwrap();
    }
    assert_eq!(world.read("a"), "third alone");
    assert_eq!(world.inbox.taken.borrow()[0].1, b"third alone");
}

#[test]
fn a_lane_takes_complete_files_only_and_in_their_order() {
    let world = World::new();
    world
        .begin("lane/cut", Upload::Store, b"half")
        .unwrap()
        .cut();
    for n in 0..20 {
        let name = format!("lane/day/{n}");
        let received = world.put(&name, name.as_bytes()).unwrap();
        assert_eq!(received.watch.as_deref(), Some("lane"));
        assert_eq!(received.file, None);
    }
    let taken = world.inbox.taken.borrow();
    let names: Vec<_> = taken.iter().map(|(name, _)| name.clone()).collect();
    let expected: Vec<_> = (0..20).map(|n| format!("day/{n}")).collect();
    assert_eq!(names, expected);
    assert_eq!(taken[7].1, b"lane/day/7");
}

#[test]
fn what_a_lane_took_is_still_known_by_size_and_time() {
    let world = World::new();
    world.put("lane/a", b"12345").unwrap();
    let meta = block_on(world.account.meta(&path("lane/a"))).unwrap();
    assert_eq!((meta.kind, meta.size), (Kind::File, 5));
    block_on(world.account.set_mtime(&path("lane/a"), 1_000_000_000)).unwrap();
    let meta = block_on(world.account.meta(&path("lane/a"))).unwrap();
    assert_eq!(meta.mtime_ns, 1_000_000_000_000_000_000);
    for n in 0..256 {
        world.put(&format!("lane/more-{n}"), b"x").unwrap();
    }
    assert_eq!(world.size("lane/a"), Err(FileError::NotFound));
    assert_eq!(world.size("lane/more-0"), Ok(1));
}

#[test]
fn a_file_that_the_lane_does_not_take_waits_for_its_final_name() {
    let world = World::new();
    let received = world.put("lane/.a.part", b"content").unwrap();
    assert!(received.waits());
    assert!(world.inbox.taken.borrow().is_empty());
    assert!(
        world
            .rename("lane/.a.part", "lane/.b.part")
            .unwrap()
            .is_none()
    );
    let received = world.rename("lane/.b.part", "lane/a").unwrap().unwrap();
    assert!(!received.waits());
    assert_eq!((received.size, received.path), (7, path("lane/a")));
    assert_eq!(world.inbox.taken.borrow().len(), 1);
    assert_eq!(world.size("lane/.b.part"), Err(FileError::NotFound));
    assert_eq!(code(world.rename("lane/.b.part", "lane/a")), 550);
}

#[test]
fn a_file_that_was_not_taken_stays_and_can_be_sent_again() {
    let world = World::new();
    world.inbox.refusal.replace(Some(InboxError::Full));
    assert_eq!(code(world.put("lane/a", b"content")), 452);
    // Nobody heard 226, so it does not look whole.
    assert_eq!(world.size("lane/a"), Ok(6));
    world.inbox.refusal.replace(None);
    let more = world.begin("lane/a", Upload::StoreAt(6), b"t").unwrap();
    world.complete(more).unwrap();
    assert_eq!(world.inbox.taken.borrow()[0].1, b"content");
    let staging = world.dir.path().join("staging");
    assert_eq!(fs::read_dir(staging).unwrap().count(), 0);
}

#[test]
fn a_lane_without_room_is_full_to_the_byte() {
    let world = World::new();
    world.inbox.room.0.store(10, Ordering::Relaxed);
    let mut incoming = world.begin("lane/a", Upload::Store, b"0123456789").unwrap();
    assert_eq!(code(incoming.write(b"x")), 452);
    drop(incoming);
    assert_eq!(world.size("lane/a"), Ok(9));
}

#[test]
fn quotas_follow_what_is_stored_replaced_cut_and_deleted() {
    let world = World::with(|user| {
        user.permissions = Permissions::ALL;
        user.quota = Quota {
            max_bytes: Some(100),
            max_files: Some(3),
            warn_percent: Some(80),
        };
    });
    world.put("a", &[0; 60]).unwrap();
    world.put("b", &[0; 40]).unwrap();
    assert_eq!(code(world.put("c", b"x")), 552);
    block_on(world.account.delete(&path("c"))).unwrap();
    world.put("a", &[0; 10]).unwrap();
    world.put("c", &[0; 50]).unwrap();
    assert_eq!(code(world.put("d", b"")), 552);
    assert_eq!(code(block_on(world.account.make_dir(&path("d")))), 552);
    world.rename("c", "b").unwrap();
    block_on(world.account.make_dir(&path("d"))).unwrap();
    world.begin("b", Upload::StoreAt(1), b"").unwrap().cut();
    world.begin("b", Upload::Append, &[0; 89]).unwrap().cut();
    assert_eq!(code(world.begin("b", Upload::Append, b"x")), 552);
}

#[test]
fn what_a_lane_takes_frees_its_staging_in_the_quota() {
    let world = World::with(|user| user.quota.max_bytes = Some(10));
    for n in 0..5 {
        world.put(&format!("lane/{n}"), &[0; 10]).unwrap();
    }
    assert_eq!(code(world.put("lane/x", &[0; 11])), 552);
}

#[test]
fn stou_makes_names_that_nobody_has() {
    let world = World::new();
    let mut seen = std::collections::BTreeSet::new();
    for folder in ["/", "lane"] {
        let unique = block_on(world.account.open_upload(&path(folder), Upload::Unique)).unwrap();
        assert!(seen.insert(unique.path().clone()));
        world.complete(unique).unwrap();
    }
    assert_eq!(world.inbox.taken.borrow().len(), 1);
}

#[test]
fn many_completions_at_once_share_their_flushes_and_all_succeed() {
    let world = World::new();
    let uploads: Vec<_> = (0..40)
        .map(|n| world.begin(&format!("f{n}"), Upload::Store, b"x").unwrap())
        .collect();
    let tasks = smol::LocalExecutor::new();
    let account = &world.account;
    let completing: Vec<_> = uploads
        .into_iter()
        .map(|incoming| tasks.spawn(account.complete(incoming)))
        .collect();
    block_on(tasks.run(async {
        for task in completing {
            task.await.unwrap();
        }
    }));
    for n in 0..40 {
        let meta = fs::metadata(world.root().join(format!("f{n}"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    }
}

#[test]
fn users_of_one_lane_share_what_is_under_way_in_it() {
    let world = World::new();
    let mut other = user("other", &world.root());
    other.folders[0].target = Target::Lane("lane".to_owned());
    let other = open(&other, &world.inbox, &world.places);
    let mut first = world.begin("lane/a", Upload::Store, b"first").unwrap();
    let second = block_on(other.open_upload(&path("a"), Upload::Store)).unwrap();
    assert_eq!(code(first.write(b"x")), 450);
    block_on(other.complete(second)).unwrap();
}

#[test]
fn without_a_root_of_its_own_the_root_is_its_folders() {
    let world = World::with(|user| {
        user.permissions.list = true;
        user.folders.remove(0);
    });
    assert_eq!(world.names("/").unwrap(), ["lane"]);
    assert!(block_on(world.account.enter(&path("/"))).is_ok());
    assert!(block_on(world.account.enter(&path("lane"))).is_ok());
    assert_eq!(code(block_on(world.account.enter(&path("other")))), 550);
    assert_eq!(code(world.put("a", b"x")), 550);
    assert_eq!(
        block_on(world.account.meta(&path("/"))).unwrap().kind,
        Kind::Dir
    );
}
