//! The tables that exist once, and `[[schedule]]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::env::Env;
use super::files;
use super::names::{check_name, problem_of};
use super::section::{Places, Section};
use super::types::{Log, Retry, Schedule, Spool, Status};
use crate::base::ByteSize;
use crate::schedule::{Cron, Window};

/// The `device` key of the top level; the host name by default.
pub(super) fn device(top: &mut Section<'_>, env: &Env<'_>) -> String {
    let written = top.get::<String>("device");
    let device = written.unwrap_or_else(|| env.host_name.clone());
    if let Some(problem) = problem_of(&device) {
        top.bad("device", &device, problem);
    } else if device.is_empty() && !top.has("device") {
        top.mistake("device", "is missing, and this machine has no host name");
    }
    device
}

pub(super) fn spool(section: Option<Section<'_>>, env: &Env<'_>) -> (Spool, Places) {
    let mut spool = Spool {
        dir: PathBuf::from("/var/lib/edgespool"),
        max_size: ByteSize(1 << 30),
        min_free: ByteSize(64 << 20),
        when_full: super::choice::WhenFull::default(),
    };
    let Some(mut s) = section else {
        return (spool, Places::default());
    };
    spool.dir = s.path("dir").unwrap_or(spool.dir);
    // The spool need not exist yet; where it is a link, its target counts.
    spool.dir = files::follow(env.fs, &spool.dir).unwrap_or(spool.dir);
    spool.max_size = s.get("max_size").unwrap_or(spool.max_size);
    spool.min_free = s.get("min_free").unwrap_or(spool.min_free);
    spool.when_full = s.get("when_full").unwrap_or_default();
    if spool.max_size == ByteSize(0) {
        s.mistake("max_size", "must be larger than 0");
    }
    (spool, s.finish())
}

pub(super) fn schedule(mut section: Section<'_>) -> (Schedule, Places) {
    let s = &mut section;
    let name = s.required("name", "night");
    check_name(s, &name);
    let schedule = Schedule {
        name,
        windows: windows(s),
        every: s.span("every"),
        cron: cron(s),
        splay: s.get("splay").unwrap_or_default(),
        rate: s.get("rate"),
        daily_budget: s.get("daily_budget"),
    };
    if s.has("every") && s.has("cron") {
        s.mistake("cron", "and every are both set (keep one of them)");
    }
    if schedule.daily_budget == Some(ByteSize(0)) {
        s.mistake("daily_budget", "must be larger than 0");
    }
    (schedule, section.finish())
}

fn windows(section: &mut Section<'_>) -> Vec<Window> {
    let mut windows = Vec::new();
    for text in section.get::<Vec<String>>("windows").unwrap_or_default() {
        match Window::parse(&text) {
            Ok(window) => windows.push(window),
            Err(problem) => section.mistake("windows", &format!("is wrong: {problem}")),
        }
    }
    windows
}

fn cron(section: &mut Section<'_>) -> Option<Cron> {
    let text: String = section.get("cron")?;
    match Cron::parse(&text) {
        Ok(cron) => Some(cron),
        Err(problem) => {
            section.bad("cron", &text, &format!("is wrong: {problem}"));
            None
        }
    }
}

pub(super) fn retry(section: Option<Section<'_>>) -> Retry {
    let mut retry = Retry {
        first: Duration::from_secs(5),
        max: Duration::from_secs(15 * 60),
        file_attempts: 10,
    };
    let Some(mut s) = section else {
        return retry;
    };
    retry.first = s.span("first").unwrap_or(retry.first);
    retry.max = s.span("max").unwrap_or(retry.max);
    retry.file_attempts = s
        .number("file_attempts", 1..=1_000_000)
        .unwrap_or(retry.file_attempts);
    if retry.first > retry.max {
        let key = if s.has("max") { "max" } else { "first" };
        s.mistake(
            key,
            "is wrong: first is longer than max (make max the longer one)",
        );
    }
    s.finish();
    retry
}

pub(super) fn status(section: Option<Section<'_>>, env: &Env<'_>, spool: &Path) -> Status {
    let mut status = Status {
        socket: default_socket(env, spool),
        listen: None,
    };
    let Some(mut s) = section else {
        return status;
    };
    status.socket = s.path("socket").unwrap_or(status.socket);
    status.listen = s.get("listen");
    if status.listen.is_some() {
        s.warning(
            "listen",
            "has no effect: this version has no web page and no /metrics yet (`edgespool status` \
             shows the same)",
        );
    }
    if status.socket.as_os_str().len() > SOCKET_MAX {
        let socket = &status.socket;
        s.mistake(
            "socket",
            &format!("{socket:?} is too long for a socket (107 bytes at most)"),
        );
    }
    s.finish();
    status
}

pub(super) fn log(section: Option<Section<'_>>) -> Log {
    let level = section.map(|mut s| {
        let level = s.get("level").unwrap_or_default();
        s.finish();
        level
    });
    Log {
        level: level.unwrap_or_default(),
    }
}

fn default_socket(env: &Env<'_>, spool: &Path) -> PathBuf {
    // systemd separates several directories by colons; the first is ours.
    let runtime = (env.var)("RUNTIME_DIRECTORY").and_then(|dirs| {
        let first = dirs.to_str()?.split(':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(first))
    });
    let dir = runtime.unwrap_or_else(|| spool.to_owned());
    dir.join("control.sock")
}

/// Linux has 108 bytes for a socket's path, with the NUL at its end.
const SOCKET_MAX: usize = 107;
