//! What is there of a file already, and how the rest comes to it.

use super::super::{Profile, Resuming};
use super::host::{Does, Rule};
use super::world::{Outcomes, World, job, tried};
use super::{always_says, count, place, rule};

/// A world that has the first bytes of `/a`.
fn with_part(part: &[u8]) -> World {
    let world = World::new();
    world
        .host()
        .files
        .insert("/.a.t1.part".into(), part.to_vec());
    world
}

/// The first upload breaks after four bytes.
fn cut_after_4() -> Rule {
    rule("STOR", 1, Does::Cut(4, "426 lost"))
}

/// A world in which REST is known to be refused.
fn without_rest() -> World {
    let mut world = World::new();
    world.profile.resuming = Resuming::Appe;
    world
}

fn assert_delivered(world: &World, outcomes: &Outcomes, content: &[u8]) {
    outcomes.only().as_ref().unwrap();
    let host = world.host();
    assert!(host.files["/a"] == content);
    assert_eq!(host.files.len(), 1, "{:?}", host.files.keys());
}

#[test]
fn only_the_rest_is_sent() {
    let world = with_part(b"0123");
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"0123456789")]);
    assert_delivered(&world, &outcomes, b"0123456789");
    assert_eq!(outcomes.done[0].1, 6, "bytes on the wire");
}

#[test]
fn a_server_that_refuses_rest_is_appended_to() {
    let world = without_rest();
    world.host().rules = vec![cut_after_4()];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"0123456789")]);
    assert_delivered(&world, &outcomes, b"0123456789");
    assert_eq!(count(&world.host().log, "APPE"), 1);
}

#[test]
fn nothing_is_appended_before_the_next_life_would_know() {
    let world = World::new();
    world.host().rules = vec![cut_after_4(), always_says("REST", "502 no")];
    world.run(World::options(), async |session, server| {
        for appended in 0..2 {
            let mut outcomes = Outcomes::of(vec![job(1, "/a", b"0123456789")]);
            session.run(&mut outcomes).await.unwrap();
            assert_delivered(&world, &outcomes, b"0123456789");
            assert_eq!(count(&world.host().log, "APPE"), appended);
            assert_eq!(server.profile().resuming, Resuming::Appe);
            server.kept(&server.profile());
            world.host().files.clear();
            world.host().rules = vec![cut_after_4()];
        }
    });
}

#[test]
fn what_may_be_an_appended_tail_is_no_beginning_for_the_next_life() {
    for resuming in [Resuming::Appe, Resuming::Never] {
        let mut world = with_part(b"89");
        world.profile = Profile {
            resuming,
            ..Profile::default()
        };
        let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"0123456789")]);
        assert_delivered(&world, &outcomes, b"0123456789");
    }
}

#[test]
fn what_an_earlier_life_left_is_not_appended_to() {
    let world = with_part(b"0123");
    world.host().rules = vec![always_says("REST", "502 no")];
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"0123456789")]);
    assert_delivered(&world, &outcomes, b"0123456789");
    assert_eq!(count(&world.host().log, "APPE"), 0);
}

#[test]
fn nothing_comes_between_a_rest_and_its_stor() {
    let world = with_part(b"0123");
    world.deliver(
        World::options(),
        vec![tried(1, "/a", b"0123456789"), tried(2, "/b", b"b")],
    );
    let host = world.host();
    assert_eq!(place(&host.log, "STOR /.a"), place(&host.log, "REST") + 1);
}

#[test]
fn a_server_that_refuses_both_gets_it_anew() {
    let world = without_rest();
    world.host().rules = vec![cut_after_4(), always_says("APPE", "502 no")];
    let learned = world.run(World::options(), async |session, server| {
        let mut outcomes = Outcomes::of(vec![job(1, "/a", b"0123456789")]);
        session.run(&mut outcomes).await.unwrap();
        assert_delivered(&world, &outcomes, b"0123456789");
        server.profile().resuming
    });
    assert_eq!(learned, Resuming::Never);
}

#[test]
fn an_append_that_replaced_the_file_is_found_out_and_made_good() {
    let world = without_rest();
    world.host().append_replaces = true;
    world.host().rules = vec![cut_after_4()];
    let learned = world.run(World::options(), async |session, server| {
        let mut outcomes = Outcomes::of(vec![job(1, "/a", b"0123456789")]);
        session.run(&mut outcomes).await.unwrap();
        assert_delivered(&world, &outcomes, b"0123456789");
        server.profile().resuming
    });
    assert_eq!(count(&world.host().log, "APPE"), 1);
    assert_eq!(learned, Resuming::Never);
}

#[test]
fn a_server_that_is_known_to_replace_is_never_appended_to() {
    let world = with_part(b"0123");
    world.host().greeting = "Welcome to Pure-FTPd";
    world.host().append_replaces = true;
    world.host().rules = vec![always_says("REST", "502 no")];
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"0123456789")]);
    assert_delivered(&world, &outcomes, b"0123456789");
    assert_eq!(count(&world.host().log, "APPE"), 0);
}

#[test]
fn a_longer_file_of_another_version_is_deleted_first() {
    let world = with_part(b"the longer older version");
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"new")]);
    assert_delivered(&world, &outcomes, b"new");
    let host = world.host();
    assert!(place(&host.log, "DELE /.a") < place(&host.log, "STOR /.a"));
}

#[test]
fn a_whole_file_is_never_deleted_to_be_sent_anew() {
    let world = with_part(b"0123456789");
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"0123456789")]);
    assert_delivered(&world, &outcomes, b"0123456789");
    assert_eq!(count(&world.host().log, "DELE"), 0);
    assert_eq!(outcomes.done[0].1, 0, "bytes on the wire");
}

#[test]
fn another_version_of_the_same_length_is_told_by_its_hash() {
    let world = with_part(b"987654321");
    world.host().features = vec!["EPSV", "XCRC"];
    // Of what is there first, then of what it should be.
    world.host().rules = vec![
        super::says("XCRC", "213 015F0201"),
        always_says("XCRC", "213 CBF43926"),
    ];
    let outcomes = world.deliver(World::options(), vec![tried(1, "/a", b"123456789")]);
    assert_delivered(&world, &outcomes, b"123456789");
}
