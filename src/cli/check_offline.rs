//! `check --offline`: the configuration, its directories and their permissions.

use std::net::TcpListener;
use std::path::Path;

use rustix::fs::{Access, access};

use super::{Exit, Outcome};
use crate::config::{self, Config, Env, Loaded, Take, Watch};
use crate::receive::{ReceiveOptions, Target};
use crate::sys::Kind;

/// Checks the file and the directories it names; one line for each, beginning
/// with `ok`, `warning` or `FAILED`. The first step of the online check, too.
pub fn check_offline(file: &Path, env: &Env<'_>) -> Outcome {
    let Loaded { config, warnings } = match config::load(file, env) {
        Ok(loaded) => loaded,
        Err(invalid) => {
            return Outcome {
                out: invalid.findings.iter().map(ToString::to_string).collect(),
                code: Exit::Config,
            };
        }
    };
    let mut outcome = Outcome::default();
    outcome.out.extend(warnings.iter().map(ToString::to_string));
    outcome.out.push(summary(file, &config));
    for watch in &config.watches {
        check_watch(&mut outcome, env, watch);
    }
    if let Some(receive) = &config.receive {
        check_receive(&mut outcome, receive);
    }
    let what = format!("spool: {}", config.spool.dir.display());
    step(
        &mut outcome,
        &what,
        "can be written",
        writable(env, &config.spool.dir),
    );
    outcome
}

fn check_watch(outcome: &mut Outcome, env: &Env<'_>, watch: &Watch) {
    match &watch.dir {
        Some(dir) => {
            let what = format!("watch {:?}: {}", watch.name, dir.display());
            let (needed, can) = match watch.take {
                Take::Move => (
                    Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
                    "can be read and emptied",
                ),
                Take::Copy => (Access::READ_OK | Access::EXEC_OK, "can be read"),
            };
            step(outcome, &what, can, rights(dir, needed));
        }
        None => {
            let line = format!("ok watch {:?}: its files come by the receiver", watch.name);
            outcome.out.push(line);
        }
    }
    if let Some(archive) = &watch.archive {
        let what = format!("watch {:?}: archive {}", watch.name, archive.dir.display());
        let can = writable(env, &archive.dir);
        step(outcome, &what, "can be written", can);
    }
}

/// The addresses, and the directories of the users.
fn check_receive(outcome: &mut Outcome, receive: &ReceiveOptions) {
    for address in receive.listen.iter().chain(&receive.listen_implicit) {
        // Any port: the right one may be an agent's that runs.
        let bound = TcpListener::bind((address.ip(), 0)).map(drop).map_err(|e| {
            format!("{e} (write an address of this machine, or 0.0.0.0 or [::] for all)")
        });
        let what = format!("receive: {address}");
        step(outcome, &what, "is an address of this machine", bound);
    }
    for user in receive.users.iter().chain(&receive.anonymous) {
        for folder in &user.folders {
            let Target::Dir(dir) = &folder.target else {
                continue;
            };
            let needed = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            let what = format!("receive: user {:?}: {}", user.name, dir.display());
            step(outcome, &what, "can be written", rights(dir, needed));
        }
    }
}

fn summary(file: &Path, config: &Config) -> String {
    let count = |n: usize, one: &str, many: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    };
    format!(
        "ok {}: {}, {}, {}",
        file.display(),
        count(config.servers.len(), "server", "servers"),
        count(config.watches.len(), "watch", "watches"),
        count(config.schedules.len(), "schedule", "schedules"),
    )
}

fn step(outcome: &mut Outcome, what: &str, good: &str, result: Result<(), String>) {
    match result {
        Ok(()) => outcome.out.push(format!("ok {what} {good}")),
        Err(problem) => {
            outcome.out.push(format!("FAILED {what}: {problem}"));
            outcome.code = Exit::Config;
        }
    }
}

fn rights(dir: &Path, needed: Access) -> Result<(), String> {
    access(dir, needed).map_err(|e| {
        format!(
            "{} (give the agent's user the right to read and write the directory)",
            std::io::Error::from(e)
        )
    })
}

/// Whether the directory can be written, or made where it does not exist yet.
fn writable(env: &Env<'_>, dir: &Path) -> Result<(), String> {
    let mut existing = dir;
    loop {
        match env.fs.meta(existing) {
            Ok(meta) if matches!(meta.kind, Kind::Dir | Kind::Symlink) => break,
            Ok(_) => return Err(format!("{} is not a directory", existing.display())),
            Err(_) => {}
        }
        match existing.parent() {
            Some(parent) => existing = parent,
            None => break,
        }
    }
    rights(existing, Access::WRITE_OK | Access::EXEC_OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsFs;

    fn check(dir: &Path, text: &str) -> Outcome {
        let file = dir.join("edgespool.toml");
        std::fs::write(&file, text).unwrap();
        let env = Env {
            fs: &OsFs,
            var: &|_| None,
            host_name: "gw-1".into(),
            current_dir: dir,
        };
        let mut outcome = check_offline(&file, &env);
        let prefix = format!("{}/", dir.display());
        for line in &mut outcome.out {
            *line = line.replace(&prefix, "");
        }
        outcome
    }

    const FILE: &str = "[spool]\ndir = \"a/spool\"\n\
        [[server]]\nname = \"s\"\nhost = \"h\"\nuser = \"anonymous\"\n\
        [[watch]]\nname = \"w\"\ndir = \"in\"\n";

    #[test]
    fn each_directory_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        let outcome = check(dir.path(), FILE);
        assert_eq!(outcome.code, Exit::Done);
        assert_eq!(
            outcome.out,
            [
                "ok edgespool.toml: 1 server, 1 watch, 0 schedules",
                "ok watch \"w\": in can be read and emptied",
                "ok spool: a/spool can be written",
            ]
        );
    }

    #[test]
    fn a_file_in_the_spools_way_fails_the_check() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let outcome = check(dir.path(), FILE);
        assert_eq!(outcome.code, Exit::Config);
        assert_eq!(
            outcome.out.last().unwrap(),
            "FAILED spool: a/spool: a is not a directory"
        );
    }

    #[test]
    fn a_broken_file_fails_with_its_findings() {
        let dir = tempfile::tempdir().unwrap();
        let outcome = check(dir.path(), FILE);
        assert_eq!(outcome.code, Exit::Config);
        let missing = "edgespool.toml:9: watch \"w\": dir \"in\" does not exist \
                       (create it, or correct the path)";
        assert_eq!(outcome.out, [missing]);
    }
}
