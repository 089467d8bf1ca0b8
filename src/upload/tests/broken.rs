//! Links that break, and servers that refuse.

use std::rc::Rc;
use std::time::Duration;

use super::super::{Class, IfGone, Job, Proof, ServerOptions, Session};
use super::host::Does;
use super::world::{NOW_S, Outcomes, World, job, tried};
use super::{always_says, count, rule, says};
use crate::ftp::time::FtpTime;

/// Delivers, then, as the agent would, what failed once more.
fn deliver_twice(world: &World, content: &[u8]) -> (Outcomes, Outcomes) {
    let first = world.deliver(World::options(), vec![job(1, "/a", content)]);
    let second = world.deliver(World::options(), vec![tried(1, "/a", content)]);
    (first, second)
}

#[test]
fn a_file_whose_226_was_lost_is_found_and_not_sent_again() {
    let world = World::new();
    world.host().rules = vec![rule("STOR", 1, Does::Lose)];
    let (first, second) = deliver_twice(&world, b"bytes");
    assert_eq!(first.failure().class, Class::Network);
    second.only().as_ref().unwrap();
    assert_eq!(second.done[0].1, 0, "bytes on the wire");
    assert_eq!(world.host().files["/a"], b"bytes");
    assert_eq!(world.host().files.len(), 1);
}

#[test]
fn a_file_whose_rename_was_answered_to_nobody_is_settled_by_looking() {
    let world = World::new();
    world.host().features = vec!["EPSV", "XCRC"];
    world.host().rules = vec![
        rule("RNTO", 1, Does::Lose),
        always_says("XCRC", "213 B19943CE"),
    ];
    let (first, second) = deliver_twice(&world, b"bytes");
    assert_eq!(first.failure().class, Class::Network);
    second.only().as_ref().unwrap();
    assert_eq!(second.done[0].1, 0, "bytes on the wire");
    assert_eq!(count(&world.host().log, "STOR"), 1);
    assert_eq!(world.host().files["/a"], b"bytes");
}

#[test]
fn a_file_that_nothing_tells_from_an_earlier_version_is_sent_again() {
    let world = World::new();
    world.host().files.insert("/a".into(), b"older".to_vec());
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"newer")]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(world.host().files["/a"], b"newer");
}

#[test]
fn a_question_that_is_not_answered_now_is_no_proof_of_anything() {
    let world = World::new();
    world.host().files.insert("/a".into(), b"bytes".to_vec());
    world.host().rules = vec![always_says("SIZE /a", "450 not now")];
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"bytes")]);
    assert!(outcomes.only().is_err());
    assert_eq!(count(&world.host().log, "STOR"), 0);
}

#[test]
fn a_421_in_the_midst_is_the_servers_fault_and_every_job_is_told() {
    let world = World::new();
    world.host().rules = vec![says("SIZE", "421 shutting down")];
    let jobs = vec![job(1, "/a", b"1"), job(2, "/b", b"2")];
    let outcomes = world.deliver(World::options(), jobs);
    assert_eq!(outcomes.done.len(), outcomes.taken.get());
    for (_, _, result) in &outcomes.done {
        assert_eq!(result.as_ref().unwrap_err().class, Class::Network);
    }
    assert!(!world.host().files.contains_key("/a"), "unchecked");
}

#[test]
fn a_refused_data_connection_is_made_another_way_and_that_is_kept() {
    let world = World::new();
    world.host().rules = vec![always_says("EPSV", "500 what?")];
    let learned = world.run(World::options(), async |session, server| {
        let mut outcomes = Outcomes::of(vec![job(1, "/a", b"1"), job(2, "/b", b"2")]);
        session.run(&mut outcomes).await.unwrap();
        assert!(outcomes.done.iter().all(|(_, _, result)| result.is_ok()));
        server.profile().data
    });
    assert_eq!(learned, Some(super::super::DataMode::Pasv));
    assert_eq!(count(&world.host().log, "EPSV"), 1, "asked once");
}

#[test]
fn a_425_is_met_with_another_way_in_the_same_run() {
    let world = World::new();
    world.host().rules = vec![says("STOR", "425 no connection")];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(count(&world.host().log, "PASV"), 1);
    assert_eq!(world.host().files["/a"], b"1");
}

#[test]
fn a_transfer_that_was_reset_goes_on_where_it_was_cut() {
    for reply in ["426 reset", "451 reset"] {
        let world = World::new();
        world.host().rules = vec![rule("STOR", 1, Does::Cut(40_000, reply))];
        let content: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let outcomes = world.deliver(World::options(), vec![job(1, "/a", &content)]);
        outcomes.only().as_ref().unwrap();
        assert_eq!(count(&world.host().log, "REST 40000"), 1);
        assert!(world.host().files["/a"] == content);
        assert!(outcomes.done[0].1 < 102_000, "bytes on the wire");
    }
}

#[test]
fn a_server_that_says_nothing_to_a_reset_does_not_cost_the_stall_time() {
    let world = World::new();
    world.host().rules = vec![rule("STOR", 1, Does::Cut(40_000, ""))];
    let content = vec![9; 100_000];
    let options = ServerOptions {
        stall_timeout: Duration::from_secs(3600),
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a", &content)]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(count(&world.host().log, "REST 40000"), 1);
    assert!(world.elapsed() < Duration::from_secs(60));
}

#[test]
fn half_a_file_with_a_226_is_never_published() {
    let world = World::new();
    world.host().rules = vec![rule("STOR", 1, Does::Cut(40_000, "226 ok"))];
    let content = vec![9; 100_000];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", &content)]);
    outcomes.only().as_ref().unwrap();
    assert!(world.host().files["/a"] == content);
}

#[test]
fn a_full_server_is_known_by_its_code() {
    for reply in [
        "452 no space",
        "552 quota exceeded",
        "451 No space left on device",
    ] {
        let world = World::new();
        world.host().rules = vec![always_says("STOR", reply)];
        let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
        assert_eq!(outcomes.failure().class, Class::ServerFull, "{reply}");
        assert_eq!(
            count(&world.host().log, "STOR"),
            1,
            "not asked again at once"
        );
    }
}

#[test]
fn a_file_that_is_taken_away_is_sent_again_or_counts_as_the_user_says() {
    for (if_gone, stors) in [(IfGone::Resend, 2), (IfGone::Delivered, 1)] {
        let world = World::new();
        world.host().rules = vec![rule("STOR", 1, Does::TakeAway)];
        let options = ServerOptions {
            if_gone,
            publish: super::super::Publish::Direct,
            ..World::options()
        };
        let outcomes = world.deliver(options, vec![job(1, "/a", b"1")]);
        outcomes.only().as_ref().unwrap();
        assert_eq!(count(&world.host().log, "STOR"), stors, "{if_gone:?}");
    }
}

#[test]
fn a_file_that_shrank_is_our_own_fault_and_never_published() {
    let world = World::new();
    let mut short = job(1, "/a", b"short");
    short.size = 100;
    let outcomes = world.deliver(World::options(), vec![short]);
    assert_eq!(outcomes.failure().class, Class::Source);
    assert!(!world.host().files.contains_key("/a"));
}

#[test]
fn a_server_that_never_renames_over_a_file_gets_the_old_one_deleted_first() {
    let world = World::new();
    world.host().files.insert("/a".into(), b"old".to_vec());
    world.host().rules = vec![says("RNTO", "553 exists")];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"new")]);
    outcomes.only().as_ref().unwrap();
    assert_eq!(world.host().files["/a"], b"new");
}

#[test]
fn one_refused_file_does_not_hold_up_the_next() {
    let world = World::new();
    world.host().rules = vec![always_says("STOR /.bad", "553 not this name")];
    let jobs = vec![job(1, "/bad", b"1"), job(2, "/good", b"2")];
    let outcomes = world.deliver(World::options(), jobs);
    let of = |id| outcomes.done.iter().find(|done| done.0 == id).unwrap();
    assert_eq!(of(1).2.as_ref().unwrap_err().class, Class::File);
    assert_eq!(of(2).2.as_ref().unwrap().proof, Proof::Size);
}

#[test]
fn a_fresh_session_that_dies_at_once_is_a_failure() {
    let world = World::new();
    world.host().rules = vec![rule("EPSV", usize::MAX, Does::HangUp)];
    let run = async |session: &mut Session, _: &Rc<_>| {
        let mut outcomes = Outcomes::of(vec![job(1, "/a", b"1")]);
        session.run(&mut outcomes).await.unwrap_err()
    };
    assert_eq!(world.run(World::options(), run).class, Class::Network);
    assert_eq!(world.host().logins, 1);
}

#[test]
fn a_refused_rename_never_gives_a_file_the_name_of_the_next() {
    let world = World::new();
    // It goes on holding what the first RNFR named.
    world.host().rules = vec![
        says("RNTO /a", "451 not now"),
        says("RNFR /.b", "450 not now"),
    ];
    let jobs = vec![job(1, "/a", b"first"), job(2, "/b", b"other")];
    let outcomes = world.deliver(World::options(), jobs);
    assert_eq!(outcomes.done.len(), 2);
    assert!(
        !world.host().files.contains_key("/b"),
        "{:?}",
        world.host().log
    );
    let jobs = vec![tried(1, "/a", b"first"), tried(2, "/b", b"other")];
    let outcomes = world.deliver(World::options(), jobs);
    assert!(outcomes.done.iter().all(|done| done.2.is_ok()));
    let files = &world.host().files;
    assert_eq!(
        (&files["/a"][..], &files["/b"][..]),
        (&b"first"[..], &b"other"[..])
    );
}

#[test]
fn of_a_name_that_just_got_another_version_a_later_time_proves_nothing() {
    for (is_later_version, sent) in [(false, 0), (true, 5)] {
        let world = World::new();
        world.host().features = vec!["EPSV", "SIZE", "MDTM", "MFMT"];
        world.host().files.insert("/a".into(), b"older".to_vec());
        let just_now = FtpTime::from_unix(NOW_S).unwrap();
        let said = format!("213 {just_now}");
        world.host().rules = vec![always_says("MDTM", &said)];
        let newer = Job {
            is_later_version,
            mtime: Some(NOW_S - 60),
            ..tried(1, "/a", b"newer")
        };
        let outcomes = world.deliver(World::options(), vec![newer]);
        outcomes.only().as_ref().unwrap();
        assert_eq!(outcomes.done[0].1, sent, "bytes on the wire");
    }
}
