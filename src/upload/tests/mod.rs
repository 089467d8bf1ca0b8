//! The whole client against a server in memory: what a user cares about, in
//! each case that real servers and broken links bring about.

mod broken;
mod host;
mod hostile;
mod ordinary;
mod resuming;
mod world;

use host::{Does, Rule};

/// One deviation.
fn rule(on: &'static str, times: usize, does: Does) -> Rule {
    Rule { on, times, does }
}

/// One reply in the place of another.
fn says(on: &'static str, reply: &str) -> Rule {
    rule(on, 1, Does::Say(format!("{reply}\r\n").into_bytes()))
}

/// The same whenever it is asked.
fn always_says(on: &'static str, reply: &str) -> Rule {
    let does = Does::Say(format!("{reply}\r\n").into_bytes());
    rule(on, usize::MAX, does)
}

/// The place of the first command that begins so.
fn place(log: &[String], command: &str) -> usize {
    log.iter()
        .position(|line| line.starts_with(command))
        .unwrap_or_else(|| panic!("no {command:?} in {log:#?}"))
}

/// How many commands begin so.
fn count(log: &[String], command: &str) -> usize {
    log.iter().filter(|line| line.starts_with(command)).count()
}
