//! The program that is run on each received file.
//!
//! Without a shell: the arguments are those of the configuration, with
//! `{path}`, `{user}` and `{size}` replaced within them, so that no file name
//! can become a command. At most two run at once; what comes while many wait
//! is left out, and said so.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::Stdio;
use std::time::Duration;

use smol::channel::{Receiver, Sender, bounded};
use smol::process::Command;

use super::files::Received;
use crate::ftp::text::printable;
use crate::sys::{Sys, timeout};

/// See the module's description.
pub(super) struct Hook {
    sys: Sys,
    command: Vec<String>,
    queue: (Sender<Received>, Receiver<Received>),
}

impl Hook {
    /// Runs this program with these arguments; nothing if there is none.
    pub(super) fn new(sys: &Sys, command: Option<Vec<String>>) -> Hook {
        Hook {
            sys: sys.clone(),
            command: command.unwrap_or_default(),
            queue: bounded(QUEUE_MAX),
        }
    }

    /// Has the program run on a file, soon.
    pub(super) fn add(&self, received: &Received) {
        if !self.command.is_empty() && self.queue.0.try_send(received.clone()).is_err() {
            let path = printable(&received.path.to_bytes(), 300);
            log::warn!("on_received is not run on {path}: {QUEUE_MAX} files wait for it");
        }
    }

    /// Runs the program on what comes, one after the other; never ends. Two of
    /// these make two at once.
    pub(super) async fn work(&self) {
        while let Ok(received) = self.queue.1.recv().await {
            self.run(&received).await;
        }
    }

    async fn run(&self, received: &Received) {
        let Some((program, arguments)) = self.command.split_first() else {
            return;
        };
        let child = Command::new(program)
            .args(arguments.iter().map(|argument| fill_in(argument, received)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let ended = match child {
            Ok(mut child) => timeout(&*self.sys.clock, TIME_MAX, child.status()).await,
            Err(error) => return log::warn!("on_received: {program}: {error}"),
        };
        match ended {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => log::warn!("on_received: {program}: {status}"),
            Ok(Err(error)) => log::warn!("on_received: {program}: {error}"),
            Err(_) => log::warn!(
                "on_received: {program} was ended after {} s",
                TIME_MAX.as_secs()
            ),
        }
    }
}

/// One argument with its words replaced, in one pass: what is put in is not
/// looked at again.
fn fill_in(argument: &str, received: &Received) -> OsString {
    let mut filled = Vec::new();
    let mut rest = argument;
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        filled.extend_from_slice(before.as_bytes());
        let words = [
            ("{path}", path(received)),
            ("{user}", received.user.clone().into_bytes()),
            ("{size}", received.size.to_string().into_bytes()),
        ];
        let found = words.into_iter().find(|(word, _)| from.starts_with(word));
        let (word, value) = found.unwrap_or(("{", b"{".to_vec()));
        filled.extend(value);
        rest = from.get(word.len()..).unwrap_or_default();
    }
    filled.extend_from_slice(rest.as_bytes());
    OsString::from_vec(filled)
}

/// On disk, or as the client knows it when the spool has it.
fn path(received: &Received) -> Vec<u8> {
    let on_disk = received.file.as_ref().map(|file| file.as_os_str());
    on_disk.map_or_else(
        || received.path.to_bytes(),
        |path: &OsStr| path.as_bytes().to_vec(),
    )
}

/// Files that wait for the program at most.
const QUEUE_MAX: usize = 256;
/// The program is ended after so long.
const TIME_MAX: Duration = Duration::from_secs(60);
/// So many programs run at once.
pub(super) const WORKERS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::VirtualPath;

    fn received(path: &[u8]) -> Received {
        Received {
            user: "{size}".to_owned(),
            path: VirtualPath::root().join(path).unwrap(),
            watch: None,
            file: None,
            size: 7,
            from: 0,
        }
    }

    #[test]
    fn words_are_replaced_once_and_names_stay_one_argument() {
        let received = received(b"a {user}; rm -rf $HOME\xff");
        for (argument, filled) in [
            ("--file={path}", &b"--file=/a {user}; rm -rf $HOME\xff"[..]),
            ("{user}{size}", b"{size}7"),
            ("{{path", b"{{path"),
            ("{}", b"{}"),
            ("plain", b"plain"),
        ] {
            assert_eq!(
                fill_in(argument, &received).as_bytes(),
                filled,
                "{argument}"
            );
        }
    }

    #[test]
    fn the_program_runs_and_failures_end_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let script = format!("printf %s \"$1\" > {}", mark.display());
        let sys = Sys::os().unwrap();
        let command = ["sh", "-c", &script, "sh", "{path}"].map(str::to_owned);
        let hook = Hook::new(&sys, Some(command.to_vec()));
        smol::block_on(hook.run(&received(b"x y")));
        assert_eq!(std::fs::read(mark).unwrap(), b"/x y");
        let missing = Hook::new(&sys, Some(vec!["/no/such/program".to_owned()]));
        smol::block_on(missing.run(&received(b"x")));
    }
}
