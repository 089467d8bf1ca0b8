//! A binary built for another CPU, run here by qemu-user, does what the native
//! one does. Only where it is asked for, because something must be built first:
//!
//!     EDGESPOOL_FOREIGN="qemu-arm-static -cpu cortex-a7 $(cross/build.sh armv7)" \
//!         cargo test --release --test foreign

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::servers::{Kind, Server, Variant};
use common::{Agent, Program, Tree, content};

/// Empty, small, and larger than any buffer.
fn files() -> Tree {
    let mut tree = Tree::default();
    for (seed, size) in [0, 1, 4096, 70_001, 3_000_000].into_iter().enumerate() {
        let name = format!("day {seed}/image-{size}.raw").into_bytes();
        tree.0.insert(name, content(seed as u64, size));
    }
    tree
}

/// The world of a server, with the binary built for the other CPU.
fn foreign_agent(server: &Server) -> Agent {
    Agent::for_server(server, None, "").with_program(Program::foreign())
}

#[test]
fn it_says_its_version() {
    let agent = Agent::new().with_program(Program::foreign());
    let output = agent.command(&["--version"]).expect(0);
    let expected = concat!("edgespool ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(output.stdout, expected);
}

#[test]
fn it_checks_its_config() {
    let agent = foreign_agent(&Server::start(Kind::Vsftpd, Variant::Plain));
    agent.command(&["check", "--offline"]).expect(0);
    agent.write_config("[spool]\ndir = 7\n");
    let output = agent.command(&["check", "--offline"]).expect(78);
    assert!(output.stdout.contains("edgespool.toml:2"), "{output:#?}");
}

#[test]
fn files_are_delivered_over_tls() {
    for (kind, variant) in [
        (Kind::Vsftpd, Variant::ExplicitReuse),
        (Kind::Proftpd, Variant::ExplicitTls12),
    ] {
        let server = Server::start(kind, variant);
        let agent = foreign_agent(&server);
        files().write(&agent.watched());
        let output = agent.command(&["-v", "once"]).expect(0);
        assert_eq!(output.stdout, "5 delivered\n", "{server:?} {output:#?}");
        files().assert_same(&Tree::read(&server.root()));
        let history = agent.command(&["history", "--json"]).expect(0).stdout;
        assert_eq!(history.lines().count(), 5, "{history}");
    }
}

#[test]
fn a_spool_may_move_to_another_cpu_and_back() {
    let mut server = Server::start(Kind::Vsftpd, Variant::Explicit);
    let agent = foreign_agent(&server);
    files().write(&agent.watched());
    server.stop();
    agent.command(&["once", "--patience", "0s"]).expect(75);
    Tree::default().assert_same(&Tree::read(&agent.watched()));
    let agent = agent.with_program(Program::native());
    agent.command(&["queue", "verify"]).expect(0);
    agent.command(&["once", "--patience", "0s"]).expect(75);
    let agent = agent.with_program(Program::foreign());
    server.start_again();
    agent.command(&["once"]).expect(0);
    files().assert_same(&Tree::read(&server.root()));
}
