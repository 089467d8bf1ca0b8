//! The agent as a service: signals in the middle of a backlog, with nothing
//! lost and nothing hung.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::Path;

use common::servers::{Kind, Server, Variant};
use common::{Agent, wait_until};

const BACKLOG: usize = 400;

/// Puts files of a few bytes where the agent takes them.
fn fill(dir: &Path) {
    for n in 0..BACKLOG {
        fs::write(dir.join(format!("f{n:04}")), format!("file {n}")).unwrap();
    }
}

fn arrived(server: &Server) -> usize {
    let names = fs::read_dir(server.root()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('f')).count()
}

/// An agent in the middle of its backlog.
fn busy(server: &Server) -> Agent {
    let mut agent = Agent::for_server(server, None, "");
    fill(&agent.watched());
    agent.start(&["run"]);
    wait_until("it delivers", || arrived(server) > 10);
    agent
}

#[test]
fn a_stop_in_the_middle_of_a_backlog_ends_the_agent() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    // Whether a file was just fetched decides what could hang, so: several times.
    for _ in 0..5 {
        let mut agent = busy(&server);
        agent.signal("TERM");
        let output = agent.wait().expect(0);
        assert!(output.stderr.contains("stopping"), "{output:#?}");
        for entry in fs::read_dir(server.root()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn a_reload_in_the_middle_of_a_backlog_loses_no_file() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut agent = busy(&server);
    for _ in 0..3 {
        agent.signal("HUP");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    wait_until("all have arrived", || arrived(&server) == BACKLOG);
    agent.signal("TERM");
    agent.wait().expect(0);
}
