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

#[test]
fn a_log_that_nobody_reads_ends_no_delivery() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    fill(&agent.watched());
    let mut once = std::process::Command::new(env!("CARGO_BIN_EXE_edgespool"))
        .arg("-c")
        .arg(agent.config())
        .args(["-v", "once"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop((once.stdout.take(), once.stderr.take()));
    wait_until("it has ended", || once.try_wait().unwrap().is_some());
    assert_eq!(once.wait().unwrap().code(), Some(0));
    assert_eq!(arrived(&server), BACKLOG);
}

#[test]
fn what_is_paused_is_not_waited_for() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    fill(&agent.watched());
    agent.command(&["queue", "pause", "camera"]).expect(0);
    let once = agent.command(&["once", "--patience", "1h"]).expect(75);
    assert!(once.stderr.contains("queue resume camera"), "{once:#?}");
    assert_eq!(arrived(&server), 0);
}

#[test]
fn a_flush_opens_a_closed_schedule() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut agent = Agent::for_server(&server, None, "");
    let config = fs::read_to_string(agent.config()).unwrap();
    let closed = config.replace("[[watch]]", "[[watch]]\nschedule = \"rare\"")
        + "[[schedule]]\nname = \"rare\"\nevery = \"30d\"\nsplay = \"30d\"\n";
    agent.write_config(&closed);
    fs::write(agent.watched().join("f"), "content").unwrap();
    agent.start(&["run"]);
    wait_until("status says what the file waits for", || {
        let status = agent.command(&["status"]).stdout;
        status.contains("1 file, 7 B, waits for its schedule")
    });
    agent.command(&["queue", "flush", "camera"]).expect(0);
    wait_until("it has arrived", || arrived(&server) == 1);
    agent.signal("TERM");
    agent.wait().expect(0);
}

#[test]
fn a_refused_login_is_not_tried_again_by_a_reload() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let mut agent = Agent::for_server(&server, None, "");
    let config = fs::read_to_string(agent.config()).unwrap();
    let right = format!("password = \"{}\"", server.password);
    agent.write_config(
        &config
            .replace(&right, "password = \"wrong-word\"")
            .replace("max = \"2s\"", "max = \"1h\""),
    );
    fs::write(agent.watched().join("f"), "content").unwrap();
    agent.start(&["run"]);
    let refused = |agent: &Agent| agent.stderr().matches("cannot log in").count();
    let ran = |agent: &Agent| agent.stderr().matches(" runs on test").count();
    wait_until("the login is refused", || refused(&agent) == 1);
    agent.signal("HUP");
    wait_until("it runs with the config again", || ran(&agent) == 2);
    agent.command(&["queue", "flush"]).expect(0);
    let status = agent.command(&["status"]).expect(0).stdout;
    assert!(status.contains("central: down, next try in"), "{status}");
    assert!(status.contains("Login incorrect"), "{status}");
    assert_eq!(refused(&agent), 1);
    // With the right password it is another login.
    agent.write_config(&config);
    agent.signal("HUP");
    wait_until("it has arrived", || arrived(&server) == 1);
    agent.signal("TERM");
    agent.wait().expect(0);
}

#[test]
fn the_level_of_the_config_counts_unless_asked_for_more() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let agent = Agent::for_server(&server, None, "");
    let config = fs::read_to_string(agent.config()).unwrap();
    agent.write_config(&format!("{config}[log]\nlevel = \"error\"\n"));
    fs::write(agent.watched().join("f1"), "content").unwrap();
    let quiet = agent.command(&["once"]).expect(0);
    assert_eq!(quiet.stderr, "");
    fs::write(agent.watched().join("f2"), "content").unwrap();
    let asked = agent.command(&["-v", "once"]).expect(0);
    assert!(asked.stderr.contains("PASS ****"), "{asked:#?}");
    assert!(!asked.stderr.contains(server.password), "{asked:#?}");
}
