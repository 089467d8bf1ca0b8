//! `check` against real servers.

#![allow(clippy::unwrap_used)]

mod common;

use common::Agent;
use common::servers::{Kind, Server, Variant};

fn checked(kind: Kind, variant: Variant) -> (String, Option<i32>, Server) {
    let server = Server::start(kind, variant);
    let agent = Agent::for_server(&server, None, "");
    let output = agent.command(&["check"]);
    println!("{}{}", output.stdout, output.stderr);
    (output.stdout, output.code, server)
}

#[test]
fn every_server_passes_each_step_and_keeps_nothing() {
    for kind in Kind::ALL {
        for variant in [Variant::Plain, Variant::Explicit] {
            let (said, code, server) = checked(kind, variant);
            assert_eq!(code, Some(0), "{said}");
            for step in ["logged in", "resumed", "verified", "renamed", "deleted"] {
                assert!(said.contains(step), "{step}: {said}");
            }
            drop(server);
        }
    }
}
