//! `check` against real servers.

#![allow(clippy::unwrap_used)]

mod common;

use common::servers::{Kind, Server, Variant};
use common::{Agent, Tree};

#[test]
fn every_server_passes_each_step_and_keeps_nothing() {
    for kind in Kind::ALL {
        for variant in [Variant::Plain, Variant::Explicit] {
            let server = Server::start(kind, variant);
            let agent = Agent::for_server(&server, None, "");
            let said = agent.command(&["check"]).expect(0).stdout;
            for step in ["logged in", "resumed", "verified", "renamed", "deleted"] {
                assert!(said.contains(step), "{step}: {said}");
            }
            assert!(Tree::read(&server.root()).0.is_empty(), "{server:?}");
        }
    }
}

#[test]
fn a_refused_login_and_a_refused_upload_say_what_to_do() {
    let server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    let config = std::fs::read_to_string(agent.config()).unwrap();
    let password = format!("password = \"{}\"", server.password);
    agent.write_config(&config.replace(&password, "password = \"wrong\""));
    let said = agent.command(&["check"]).expect(77).stdout;
    assert!(said.contains("check user and password"), "{said}");

    let server = Server::start(Kind::Vsftpd, Variant::Readonly);
    let agent = Agent::for_server(&server, None, "");
    let said = agent.command(&["check"]).expect(1).stdout;
    assert!(
        said.contains("FAILED server \"central\": cannot upload"),
        "{said}"
    );
}

#[test]
fn a_server_that_is_away_is_unavailable() {
    let mut server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    server.stop();
    let agent = Agent::for_server(&server, None, "");
    let said = agent.command(&["check"]).expect(69).stdout;
    assert!(said.contains("cannot connect"), "{said}");
}
