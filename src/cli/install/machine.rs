//! The machine that is installed on: this one, or an image that only has a root.

use std::path::Path;
use std::process::{Command, Stdio};

use super::pieces::{SYSUSERS, TMPFILES};

/// Where the installation goes.
pub(super) struct Machine {
    /// This machine runs with it; an image does not.
    this: bool,
}

impl Machine {
    /// The machine with this root.
    ///
    /// # Errors
    /// Why nothing can be done there, and what can.
    pub(super) fn at(root: &Path) -> Result<Machine, String> {
        let this = root == Path::new("/");
        let is_root = rustix::process::geteuid().is_root();
        let booted = sd_notify::booted().unwrap_or(false);
        match refusal(this, is_root, booted, root.is_dir()) {
            Some(why) => Err(why.to_owned()),
            None => Ok(Machine { this }),
        }
    }

    /// Whether it is the one that runs.
    pub(super) fn is_this(&self) -> bool {
        self.this
    }

    /// Makes the user and the directories.
    pub(super) fn prepare(&self, out: &mut Vec<String>) {
        let (users, files) = (format!("/{SYSUSERS}"), format!("/{TMPFILES}"));
        // Those of a package have been made by it.
        if Path::new(&users).exists() {
            self.call(out, &["systemd-sysusers", &users]);
        }
        if Path::new(&files).exists() {
            self.call(out, &["systemd-tmpfiles", "--create", &files]);
        }
    }

    /// Has the units read again.
    pub(super) fn reload(&self, out: &mut Vec<String>) {
        self.call(out, &["systemctl", "daemon-reload"]);
    }

    /// Ends whatever runs of it, and lets nothing start at the next boot.
    pub(super) fn stop_all(&self, out: &mut Vec<String>) {
        self.call(out, &["systemctl", "stop", "edgespool@*.service"]);
        for unit in ["edgespool.service", "edgespool-once.timer"] {
            self.call(out, &["systemctl", "disable", "--now", unit]);
        }
    }

    /// The agent's user and group, by number, where there are any yet.
    pub(super) fn agent_user(&self) -> Option<(u32, u32)> {
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let line = users
            .lines()
            .find_map(|line| line.strip_prefix("edgespool:"))?;
        let mut fields = line.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    }

    fn call(&self, out: &mut Vec<String>, words: &[&str]) {
        let Some((program, args)) = words.split_first().filter(|_| self.this) else {
            return;
        };
        let called = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        let problem = match called {
            Ok(status) if status.success() => return,
            Ok(status) => status.to_string(),
            Err(e) => e.to_string(),
        };
        out.push(format!("note: `{}`: {problem}", words.join(" ")));
    }
}

fn refusal(this: bool, is_root: bool, booted: bool, is_dir: bool) -> Option<&'static str> {
    match (this, is_root, booted, is_dir) {
        (false, _, _, false) => Some("there is no such directory"),
        (false, ..) => None,
        (true, _, false, _) => Some(
            "systemd does not run on this machine (examples for other init systems come with the \
             source, below systemd/other; --root DIR is for an image that systemd will run)",
        ),
        (true, false, true, _) => {
            Some("that takes root (as with sudo; --root DIR is for an image of your own)")
        }
        (true, true, true, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_systemd_or_rights_the_machine_is_left_alone() {
        assert!(
            refusal(true, true, false, true)
                .unwrap()
                .contains("systemd does not run")
        );
        assert!(
            refusal(true, false, true, true)
                .unwrap()
                .contains("takes root")
        );
        assert_eq!(refusal(true, true, true, true), None);
        // An image belongs to whoever can write it.
        assert_eq!(refusal(false, false, false, true), None);
        assert!(refusal(false, true, true, false).is_some());
    }
}
