//! Servers that mean harm, or are broken beyond sense.

use std::net::SocketAddr;
use std::time::Duration;

use super::super::{Class, DataChoice, DataMode, ServerOptions};
use super::host::Does;
use super::world::{ADDRESS, World, job};
use super::{always_says, count, rule};

#[test]
fn of_a_foreign_passive_address_only_the_port_is_believed() {
    let world = World::new();
    let options = ServerOptions {
        data: DataChoice::Only(DataMode::Pasv),
        ..World::options()
    };
    let outcomes = world.deliver(options, vec![job(1, "/a", b"1")]);
    outcomes.only().as_ref().unwrap();
    let server: SocketAddr = ADDRESS.parse().unwrap();
    let connects = world.connects.lock().unwrap();
    assert_eq!(connects.len(), 2);
    assert!(connects.iter().all(|to| to.ip() == server.ip()));
}

#[test]
fn an_address_in_an_extended_passive_reply_is_not_believed_either() {
    let world = World::new();
    world.host().rules = vec![always_says("EPSV", "229 ok (|1|8.8.8.8|80|)")];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
    outcomes.only().as_ref().unwrap(); // by another way
    let server: SocketAddr = ADDRESS.parse().unwrap();
    let connects = world.connects.lock().unwrap();
    assert!(connects.iter().all(|to| to.ip() == server.ip()));
}

#[test]
fn a_passive_reply_that_makes_no_sense_connects_nowhere() {
    for reply in ["229 ok (|||99999|)", "229 ", "229 (|||0|)"] {
        let world = World::new();
        let options = ServerOptions {
            data: DataChoice::Only(DataMode::Epsv),
            ..World::options()
        };
        world.host().rules = vec![always_says("EPSV", reply)];
        let outcomes = world.deliver(options, vec![job(1, "/a", b"1")]);
        assert_eq!(outcomes.failure().class, Class::Data, "{reply}");
        assert_eq!(world.connects.lock().unwrap().len(), 1, "{reply}");
    }
}

#[test]
fn an_endless_reply_ends_the_session_and_fills_no_memory() {
    let world = World::new();
    let endless = b"550-more\r\n".repeat(200_000);
    world.host().rules = vec![rule("STOR", 1, Does::Say(endless))];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
    assert_eq!(outcomes.failure().class, Class::Network);
}

#[test]
fn a_huge_line_is_cut_and_its_code_believed() {
    let world = World::new();
    let line = [b"550 ".as_slice(), &vec![b'x'; 100_000], b"\r\n"].concat();
    world.host().rules = vec![rule("STOR", usize::MAX, Does::Say(line))];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
    let failure = outcomes.failure();
    assert_eq!((failure.class, failure.code), (Class::File, Some(550)));
    assert!(failure.message.len() < 2000);
}

#[test]
fn a_reply_that_cannot_be_the_answer_ends_the_session() {
    for (on, reply) in [
        ("EPSV", "350 ok"),
        ("STOR", "229 ok (|||1|)"),
        ("SIZE", "150 go"),
    ] {
        let world = World::new();
        world.host().rules = vec![always_says(on, reply)];
        let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
        assert_eq!(outcomes.failure().class, Class::Network, "{on} {reply}");
        assert!(!world.host().files.contains_key("/a"));
    }
}

#[test]
fn garbage_ends_the_session() {
    let world = World::new();
    let garbage = b"\x16\x03\x01\x00\xff\r\nhello\r\n".to_vec();
    world.host().rules = vec![rule("STOR", 1, Does::Say(garbage))];
    let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
    assert_eq!(outcomes.failure().class, Class::Network);
}

#[test]
fn silence_ends_after_the_stall_timeout() {
    for on in ["EPSV", "STOR", "SIZE", "RNTO"] {
        let world = World::new();
        world.host().rules = vec![rule(on, usize::MAX, Does::Say(Vec::new()))];
        let outcomes = world.deliver(World::options(), vec![job(1, "/a", b"1")]);
        assert_eq!(outcomes.failure().class, Class::Network, "{on}");
        let limit = World::options().stall_timeout;
        assert!(world.elapsed() >= limit, "{on} {:?}", world.elapsed());
        assert!(
            world.elapsed() < 2 * limit + Duration::from_secs(10),
            "{on}"
        );
    }
}

#[test]
fn a_name_cannot_smuggle_a_command() {
    let world = World::new();
    let outcomes = world.deliver(World::options(), vec![job(1, "/a\r\nDELE /b", b"1")]);
    assert_eq!(outcomes.failure().class, Class::File);
    assert_eq!(count(&world.host().log, ""), 0, "nothing was said");
}
