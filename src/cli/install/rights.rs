//! What the unit's sandbox must let through for a config, as a drop-in, and what
//! only the owner of a directory can change, as advice.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{Config, Take};

/// What the agent needs beyond its unit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    writable: BTreeSet<PathBuf>,
    home: BTreeSet<PathBuf>,
    groups: BTreeSet<u32>,
    tmp: bool,
    /// For the owners of directories, a line each.
    pub(super) advice: Vec<String>,
}

/// Who may do what in a directory.
#[derive(Clone, Copy)]
struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// What this config needs; `agent` is the numbers of its user and group.
pub(super) fn needed(config: &Config, agent: Option<(u32, u32)>) -> Rights {
    let mut rights = Rights::default();
    rights.open(&config.spool.dir);
    for watch in &config.watches {
        // One that cameras push into has no directory.
        if let Some(dir) = &watch.dir {
            rights.watch(dir, watch.take, &config.spool.dir, agent);
        }
        if let Some(archive) = &watch.archive {
            rights.open(&archive.dir);
        }
    }
    rights
}

impl Rights {
    /// The drop-in; `None` when the unit is enough.
    pub(super) fn drop_in(&self) -> Option<String> {
        let mut lines = String::new();
        for path in &self.writable {
            lines += &format!("ReadWritePaths={}\n", quoted(path));
        }
        if !self.home.is_empty() {
            lines += "ProtectHome=tmpfs\n";
        }
        for path in &self.home {
            lines += &format!("BindPaths={}\n", quoted(path));
        }
        if self.tmp {
            lines += "PrivateTmp=no\n";
        }
        for group in &self.groups {
            lines += &format!("SupplementaryGroups={group}\n");
        }
        (!lines.is_empty()).then(|| {
            format!(
                "# What the config needs, as `edgespool install` found it. A file that was changed \
                 by\n# hand is not replaced.\n[Service]\n{lines}"
            )
        })
    }

    /// What a watched directory needs.
    fn watch(&mut self, dir: &Path, take: Take, spool: &Path, agent: Option<(u32, u32)>) {
        let bits = match take {
            Take::Move => {
                self.open_beside(dir, spool);
                0o7
            }
            Take::Copy => {
                self.open_home(dir);
                0o5
            }
        };
        if let Ok(meta) = std::fs::metadata(dir) {
            let owner = Owner {
                uid: meta.uid(),
                gid: meta.gid(),
                mode: meta.mode(),
            };
            self.judge(dir, owner, bits, agent);
        }
    }

    /// Lets a directory be written.
    fn open(&mut self, dir: &Path) {
        if !self.open_home(dir) && !IN_THE_UNIT.iter().any(|known| dir.starts_with(known)) {
            self.writable.insert(dir.to_owned());
        }
    }

    /// Lets a watched directory be written. Each path is a mount of its own, and a
    /// rename does not cross mounts: with the spool below one path, files are
    /// renamed, else copied.
    fn open_beside(&mut self, dir: &Path, spool: &Path) {
        let common = dir.ancestors().find(|ancestor| spool.starts_with(ancestor));
        match common.filter(|common| !is_of_the_system(common)) {
            Some(common) => {
                self.writable.retain(|path| !path.starts_with(common));
                self.open(common);
            }
            None => self.open(dir),
        }
    }

    /// Shows a directory that the unit hides; `false` for others.
    fn open_home(&mut self, dir: &Path) -> bool {
        if ["/home", "/root", "/run/user"]
            .iter()
            .any(|home| dir.starts_with(home))
        {
            self.home.insert(dir.to_owned());
            return true;
        }
        let in_tmp = ["/tmp", "/var/tmp"].iter().any(|tmp| dir.starts_with(tmp));
        self.tmp |= in_tmp;
        in_tmp
    }

    /// Finds out by which right the agent may work in a watched directory.
    fn judge(&mut self, dir: &Path, owner: Owner, bits: u32, agent: Option<(u32, u32)>) {
        let has = |shift: u32| (owner.mode >> shift) & bits == bits;
        let owns = agent.is_some_and(|(uid, _)| uid == owner.uid);
        let in_group = agent.is_some_and(|(_, gid)| gid == owner.gid);
        let sticky = owner.mode & 0o1000 != 0 && bits == 0o7;
        if owns && has(6) || in_group && has(3) && !sticky || has(0) && !sticky {
            return;
        }
        // The group root can do more than this is worth.
        if has(3) && !sticky && owner.gid != 0 {
            self.groups.insert(owner.gid);
            return;
        }
        let dir = dir.display();
        self.advice.push(if sticky {
            format!("{dir} is sticky: only the owner of a file may take it away (see User= in watched.conf.example)")
        } else {
            format!("the agent may not work in {dir}: chgrp edgespool {dir} && chmod g+rwxs {dir}")
        });
    }
}

/// What the unit opens by itself.
const IN_THE_UNIT: [&str; 2] = ["/var/lib/edgespool", "/var/spool/edgespool"];

/// Too much to be opened as a whole.
fn is_of_the_system(dir: &Path) -> bool {
    let known = ["/var/lib/edgespool", "/var/spool/edgespool"];
    let system = [
        "/",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/media",
        "/mnt",
        "/opt",
        "/proc",
        "/root",
        "/run",
        "/srv",
        "/sys",
        "/tmp",
        "/usr",
        "/usr/local",
        "/var",
        "/var/lib",
        "/var/spool",
        "/var/tmp",
    ];
    !known.iter().any(|own| dir.starts_with(own))
        && system.iter().any(|path| dir == Path::new(path))
}

/// A path as systemd.syntax(7) wants it.
fn quoted(path: &Path) -> String {
    let mut text = String::from("\"");
    for c in path.to_string_lossy().chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            '\n' => text.push_str("\\n"),
            _ => text.push(c),
        }
    }
    text + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drop_in(spool: &str, dirs: &[&str]) -> String {
        let mut rights = Rights::default();
        rights.open(Path::new(spool));
        for dir in dirs {
            rights.open_beside(Path::new(dir), Path::new(spool));
        }
        let text = rights.drop_in().unwrap_or_default();
        let lines = text.lines().skip_while(|line| *line != "[Service]").skip(1);
        lines.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn watched_directories_are_opened_each_for_itself() {
        let opened = drop_in("/var/lib/edgespool", &["/data/a", "/srv/b c%"]);
        assert_eq!(
            opened,
            "ReadWritePaths=\"/data/a\" ReadWritePaths=\"/srv/b c%%\""
        );
        assert_eq!(drop_in("/var/lib/edgespool", &["/var/spool/edgespool"]), "");
    }

    #[test]
    fn a_spool_beside_its_watch_is_on_one_mount_with_it() {
        let opened = drop_in("/data/spool", &["/data/camera"]);
        assert_eq!(opened, "ReadWritePaths=\"/data\"");
    }

    #[test]
    fn homes_and_temporary_directories_are_shown() {
        let opened = drop_in("/var/lib/edgespool", &["/home/camera/out", "/tmp/x"]);
        let expected = "ProtectHome=tmpfs BindPaths=\"/home/camera/out\" PrivateTmp=no";
        assert_eq!(opened, expected);
    }

    #[test]
    fn a_group_that_may_work_there_is_joined_and_else_the_owner_is_asked() {
        let judged = |uid, gid, mode| {
            let mut rights = Rights::default();
            let owner = Owner { uid, gid, mode };
            rights.judge(Path::new("/data"), owner, 0o7, Some((900, 901)));
            (
                rights.groups.into_iter().collect::<Vec<_>>(),
                rights.advice.len(),
            )
        };
        assert_eq!(judged(900, 0, 0o700), (vec![], 0));
        assert_eq!(judged(0, 901, 0o770), (vec![], 0));
        assert_eq!(judged(1000, 1000, 0o777), (vec![], 0));
        assert_eq!(judged(1000, 1000, 0o775), (vec![1000], 0));
        assert_eq!(judged(1000, 1000, 0o755), (vec![], 1));
        assert_eq!(judged(0, 0, 0o775), (vec![], 1));
        assert_eq!(judged(0, 0, 0o1777), (vec![], 1));
    }
}
