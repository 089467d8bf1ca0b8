//! Deliveries to a server that does what it should.

use super::super::{IfExists, Proof, Publish, ServerOptions, VerifyMode};
use super::host::Does;
use super::world::{Outcomes, World, job, tried};
use super::{count, place, rule};

#[test]
fn a_file_is_uploaded_checked_and_only_then_renamed() {
    let world = World::new();
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"bytes")]);
    assert_eq!(outcomes.only().as_ref().unwrap().proof, Proof::Size);
    let host = world.host();
    assert_eq!(host.files.len(), 1);
    assert_eq!(host.files["/a"], b"bytes");
    let stor = place(&host.log, "STOR /.a.t1.part");
    let check = place(&host.log, "SIZE /.a.t1.part");
    let rename = place(&host.log, "RNFR /.a.t1.part");
    assert!(stor < check && check < rename, "{:#?}", host.log);
}

#[test]
fn every_rename_follows_its_own_check_also_when_files_share_round_trips() {
    let world = World::new();
    let jobs = (1..=9).map(|n| job(n, &format!("/f{n}"), b"x")).collect();
    let outcomes = world.deliver(World::options(), jobs);
    assert!(outcomes.done.iter().all(|(_, _, result)| result.is_ok()));
    let host = world.host();
    assert_eq!(host.files.len(), 9);
    for n in 1..=9 {
        let check = place(&host.log, &format!("SIZE /.f{n}.t{n}.part"));
        let rename = place(&host.log, &format!("RNTO /f{n}"));
        assert!(check < rename, "{:#?}", host.log);
        assert_eq!(count(&host.log, &format!("STOR /.f{n}.")), 1);
    }
    assert_eq!(host.logins, 1);
}

#[test]
fn an_empty_file_arrives() {
    let world = World::new();
    let outcomes = world.deliver(World::options(), vec![job(1, "/empty", b"")]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(world.host().files["/empty"], b"");
}

#[test]
fn a_missing_directory_is_made_once_and_remembered() {
    let world = World::new();
    let jobs = vec![job(1, "/d/e/a", b"1"), job(2, "/d/e/b", b"2")];
    let outcomes = world.deliver(World::options(), jobs);
    assert!(outcomes.done.iter().all(|(_, _, result)| result.is_ok()));
    let host = world.host();
    assert_eq!(host.files["/d/e/a"], b"1");
    assert_eq!(host.files["/d/e/b"], b"2");
    assert_eq!(count(&host.log, "MKD /d"), 2, "{:#?}", host.log); // /d, /d/e
}

#[test]
fn a_large_file_is_not_sent_before_its_directory_is_known_to_be_there() {
    let world = World::new();
    let content = vec![7; 300_000];
    let outcomes = world.deliver(World::options(), vec![job(1, "/d/big", &content)]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(outcomes.done[0].1, 300_000, "bytes on the wire");
    assert!(world.host().files["/d/big"] == content);
}

#[test]
fn both_files_are_kept_where_the_user_says_so() {
    let world = World::new();
    world.host().files.insert("/a.jpg".into(), b"old".to_vec());
    let options = ServerOptions {
        if_exists: IfExists::KeepBoth,
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a.jpg", b"new")]);
    assert_eq!(outcomes.only().as_ref().unwrap().path, b"/a-1.jpg");
    let host = world.host();
    assert_eq!(host.files["/a.jpg"], b"old");
    assert_eq!(host.files["/a-1.jpg"], b"new");
}

#[test]
fn nothing_is_sent_to_a_taken_name_where_the_user_says_so() {
    let world = World::new();
    world.host().files.insert("/a".into(), b"old".to_vec());
    let options = ServerOptions {
        if_exists: IfExists::Skip,
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a", b"new")]);
    assert!(outcomes.only().as_ref().unwrap().skipped);
    assert_eq!(outcomes.done[0].1, 0, "bytes on the wire");
    assert_eq!(world.host().files["/a"], b"old");
}

#[test]
fn a_taken_name_is_never_overwritten_unseen_on_a_server_without_size() {
    for if_exists in [IfExists::Skip, IfExists::KeepBoth] {
        let world = World::new();
        world.host().features = vec!["EPSV"];
        world.host().rules = vec![super::always_says("SIZE", "500 what?")];
        world.host().files.insert("/a".into(), b"old".to_vec());
        let options = ServerOptions {
            if_exists,
            ..World::options()
        };
        let outcomes = world.deliver(options, vec![job(1, "/a", b"new")]);
        assert!(outcomes.failure().message.contains("if_exists"));
        assert_eq!(world.host().files["/a"], b"old");
    }
}

#[test]
fn size_is_asked_for_once_where_there_is_none() {
    let world = World::new();
    world.host().features = vec!["EPSV"];
    world.host().rules = vec![super::always_says("SIZE", "500 what?")];
    let jobs = (1..=4).map(|n| tried(n, &format!("/f{n}"), b"x")).collect();
    let outcomes = world.deliver(World::options(), jobs);
    for (_, _, result) in &outcomes.done {
        assert_eq!(result.as_ref().unwrap().proof, Proof::Reply);
    }
    let host = world.host();
    assert_eq!(host.files.len(), 4);
    assert!(count(&host.log, "SIZE") <= 2, "{:#?}", host.log); // one look, two names
}

#[test]
fn a_hash_that_cannot_be_had_is_a_refusal_and_never_a_size() {
    let world = World::new();
    let options = ServerOptions {
        verify: VerifyMode::Hash,
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a", b"bytes")]);
    let failure = outcomes.failure();
    assert!(failure.message.contains("no hash"), "{failure}");
    assert!(failure.ends_session(), "the file is not to blame");
    assert_eq!(count(&world.host().log, "STOR"), 0);
}

#[test]
fn a_hash_of_the_file_is_proof_and_of_another_is_none() {
    for (reply, proven) in [("213 CBF43926", true), ("213 00000000", false)] {
        let world = World::new();
        world.host().features = vec!["EPSV", "XCRC"];
        world.host().rules = vec![super::always_says("XCRC", reply)];
        let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"123456789")]);
        assert_eq!(outcomes.only().is_ok(), proven, "{:?}", outcomes.done);
        assert_eq!(world.host().files.contains_key("/a"), proven);
    }
}

#[test]
fn a_direct_upload_needs_no_rename() {
    let world = World::new();
    let options = ServerOptions {
        publish: Publish::Direct,
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a", b"bytes")]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(world.host().files["/a"], b"bytes");
    assert_eq!(count(&world.host().log, "RN"), 0);
}

#[test]
fn a_kept_session_that_the_server_ended_is_opened_again_unnoticed() {
    // Closed while idle; and found out only by the first command.
    for by_command in [false, true] {
        let world = World::new();
        let ended = world.run(World::options(), async |session, _| {
            let mut first = Outcomes::of(vec![job(1, "/a", b"1")]);
            session.run(&mut first).await.unwrap();
            let mut second = Outcomes::of(vec![job(2, "/b", b"2")]);
            if by_command {
                world.host().rules = vec![rule("EPSV", 1, Does::HangUp)];
            } else {
                world.host().say(0, b"421 idle for too long\r\n");
                world.host().hang_up(0);
            }
            session.run(&mut second).await.unwrap();
            second
        });
        assert_eq!(ended.only().as_ref().unwrap().path, b"/b");
        assert_eq!(world.host().files["/b"], b"2");
        assert_eq!(world.host().logins, 2);
        assert_eq!(world.elapsed().as_secs(), 0, "no time was lost");
    }
}
