//! Checks across tables: names that must exist, places that must not meet.

use std::collections::HashMap;
use std::path::Path;

use super::choice::{Publish, Verify};
use super::files;
use super::receive::Read;
use super::report::{Report, nearest};
use super::section::{Places, in_context};
use super::types::{Schedule, Server, Spool, Watch};
use crate::receive::Target;
use crate::sys::Fs;

/// Everything that was read, with the lines it was read from.
pub(super) struct Tables<'a> {
    pub(super) report: &'a Report,
    pub(super) fs: &'a dyn Fs,
    pub(super) spool: &'a (Spool, Places),
    pub(super) servers: &'a [(Server, Places)],
    pub(super) watches: &'a [(Watch, Places)],
    pub(super) schedules: &'a [(Schedule, Places)],
    /// `[receive]`, a source of files besides the watched directories.
    pub(super) receive: Option<&'a Read>,
}

impl Tables<'_> {
    /// Reports every mistake across tables.
    pub(super) fn check(&self) {
        self.unique("server", self.servers.iter().map(|(s, at)| (&*s.name, at)));
        self.unique("watch", self.watches.iter().map(|(w, at)| (&*w.name, at)));
        self.unique(
            "schedule",
            self.schedules.iter().map(|(s, at)| (&*s.name, at)),
        );
        for (watch, at) in self.watches {
            self.watch_names(watch, at);
            self.watch_places(watch, at);
        }
        for (server, at) in self.servers {
            self.fallbacks(server, at);
            if server.publish == Publish::Direct && server.verify == Verify::None {
                let text =
                    "\"none\" with publish = \"direct\": a cut upload may pass for a whole file";
                self.warning(at, "verify", text);
            }
        }
        self.shared_dirs();
        if let Some(receive) = self.receive {
            for (folder, at) in &receive.folders {
                self.folder(&folder.target, at);
            }
        }
        if self.watches.is_empty() && self.receive.is_none() {
            let text = "no [[watch]] and no [receive]: there is nothing to upload".to_owned();
            self.report.warning(None, text);
        }
    }

    fn unique<'n>(&self, kind: &str, names: impl Iterator<Item = (&'n str, &'n Places)>) {
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (name, at) in names.filter(|(name, _)| !name.is_empty()) {
            if let Some(first) = seen.get(name) {
                let text = format!("{name:?} is taken by the {kind} in line {first} (rename one)");
                self.mistake(at, "name", &text);
            } else {
                seen.insert(name, at.line);
            }
        }
    }

    fn watch_names(&self, watch: &Watch, at: &Places) {
        if at.has("server") {
            self.exists(at, "server", &watch.server, "server", self.server_names());
        } else if self.servers.is_empty() {
            let text = "is missing, and there is no [[server]] (add one)";
            self.mistake(at, "server", text);
        } else if self.servers.len() > 1 {
            let names: Vec<_> = self.server_names().collect();
            let text = format!("is missing (write one of {})", names.join(", "));
            self.mistake(at, "server", &text);
        }
        if let Some(schedule) = &watch.schedule {
            let known = self.schedules.iter().map(|(s, _)| &*s.name);
            self.exists(at, "schedule", schedule, "schedule", known);
        }
    }

    fn server_names(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|(server, _)| &*server.name)
    }

    fn exists<'n>(
        &self,
        at: &Places,
        key: &str,
        name: &str,
        kind: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        let known: Vec<_> = known.filter(|known| !known.is_empty()).collect();
        if name.is_empty() || known.contains(&name) {
            return;
        }
        let remedy = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None if known.is_empty() => format!("add a [[{kind}]] of that name"),
            None => format!("known are {}", known.join(", ")),
        };
        self.mistake(
            at,
            key,
            &format!("{name:?} is no {kind} of this file ({remedy})"),
        );
    }

    fn fallbacks(&self, server: &Server, at: &Places) {
        for (index, name) in server.fallback.iter().enumerate() {
            if *name == server.name {
                let text = format!("{name:?} is this server itself (name another one)");
                self.mistake(at, "fallback", &text);
            } else if server.fallback.iter().take(index).any(|n| n == name) {
                let text = format!("{name:?} is listed twice (remove one)");
                self.mistake(at, "fallback", &text);
            } else if self.leads_to(name, &server.name) {
                let text = format!("{name:?} leads back to this server (break the circle)");
                self.mistake(at, "fallback", &text);
            } else {
                self.exists(at, "fallback", name, "server", self.server_names());
            }
        }
    }

    /// Whether the fallbacks of `from`, and theirs, name `to`.
    fn leads_to(&self, from: &str, to: &str) -> bool {
        let mut open = vec![from];
        let mut seen = Vec::new();
        while let Some(name) = open.pop() {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let found = self.servers.iter().find(|(s, _)| s.name == name);
            for next in found.iter().flat_map(|(s, _)| &s.fallback) {
                // A server that names itself is another mistake.
                if next == to {
                    return true;
                }
                open.push(next);
            }
        }
        false
    }

    fn watch_places(&self, watch: &Watch, at: &Places) {
        let spool = &self.spool.0.dir;
        match &watch.dir {
            Some(dir) => self.apart_from_spool(dir, at),
            None if at.has("dir") => {}
            None if self.is_fed(&watch.name) => {
                for key in ["ready", "quiet", "marker", "take"]
                    .iter()
                    .filter(|k| at.has(k))
                {
                    self.warning(at, key, "has no effect without a dir");
                }
            }
            None => {
                let or = match self.receive {
                    Some(_) => ", or name the watch in a [[receive.user]]",
                    None => "",
                };
                let text = format!("is missing (write dir = \"/data/camera\"{or})");
                self.mistake(at, "dir", &text);
            }
        }
        let within = |inner, outer| files::is_within(self.fs, inner, outer);
        let Some(archive) = watch.archive.as_ref().map(|archive| &archive.dir) else {
            return;
        };
        if archive.as_os_str().is_empty() {
            return;
        }
        if within(archive, spool) {
            let text = format!("{archive:?} lies in the spool {spool:?} (keep them apart)");
            self.mistake(at, "archive", &text);
        }
        let watched = self.watches.iter();
        for (other, dir) in watched.filter_map(|(w, _)| Some((w, w.dir.as_ref()?))) {
            if within(archive, dir) || within(dir, archive) {
                let text = format!(
                    "{archive:?} and the dir of watch {:?} lie in each other: \
                     delivered files would be taken again (keep them apart)",
                    other.name
                );
                self.mistake(at, "archive", &text);
            }
        }
    }

    fn apart_from_spool(&self, dir: &Path, at: &Places) {
        let spool = &self.spool.0.dir;
        if files::is_within(self.fs, dir, spool) {
            let text = format!("{dir:?} lies in the spool {spool:?} (keep them apart)");
            self.mistake(at, "dir", &text);
        } else if files::is_within(self.fs, spool, dir) {
            let text = format!("{dir:?} holds the spool {spool:?} (keep them apart)");
            self.mistake(at, "dir", &text);
        }
    }

    /// Whether the receiver brings files for a watch.
    fn is_fed(&self, watch: &str) -> bool {
        let folders = self.receive.iter().flat_map(|receive| &receive.folders);
        let mut targets = folders.map(|(folder, _)| &folder.target);
        targets.any(|target| matches!(target, Target::Lane(lane) if lane == watch))
    }

    /// A folder of one of the receiver's users.
    fn folder(&self, target: &Target, at: &Places) {
        let dir = match target {
            Target::Lane(watch) => {
                let known = self.watches.iter().map(|(watch, _)| &*watch.name);
                return self.exists(at, "watch", watch, "watch", known);
            }
            Target::Dir(dir) => dir,
        };
        self.apart_from_spool(dir, at);
        for (watch, watched) in self
            .watches
            .iter()
            .filter_map(|(w, _)| Some((w, w.dir.as_ref()?)))
        {
            if files::is_within(self.fs, dir, watched) {
                let text = format!(
                    "{dir:?} lies in the dir of watch {:?}, which may take what a cut upload \
                     leaves (write watch = {:?} instead)",
                    watch.name, watch.name
                );
                self.warning(at, "dir", &text);
            }
        }
    }

    fn shared_dirs(&self) {
        for (index, (watch, at)) in self.watches.iter().enumerate() {
            for (other, _) in self.watches.iter().take(index) {
                if self.share_files(watch, other) {
                    let text = format!(
                        "and include match files of watch {:?} too: each file goes to \
                         whichever sees it first (make their patterns differ)",
                        other.name
                    );
                    self.warning(at, "dir", &text);
                }
            }
        }
    }

    fn share_files(&self, a: &Watch, b: &Watch) -> bool {
        let (Some(a_dir), Some(b_dir)) = (&a.dir, &b.dir) else {
            return false;
        };
        let a_in_b = files::is_within(self.fs, a_dir, b_dir);
        let b_in_a = files::is_within(self.fs, b_dir, a_dir);
        let reach = match (a_in_b, b_in_a) {
            (true, true) => true,
            (true, false) => b.recursive,
            (false, true) => a.recursive,
            (false, false) => false,
        };
        reach && !kept_apart_by_extension(&a.include, &b.include)
    }

    fn mistake(&self, at: &Places, key: &str, text: &str) {
        let text = in_context(&at.context, &format!("{key} {text}"));
        self.report.mistake(at.line(key), text);
    }

    fn warning(&self, at: &Places, key: &str, text: &str) {
        let text = in_context(&at.context, &format!("{key} {text}"));
        self.report.warning(at.line(key), text);
    }
}

/// Whether both lists name plain extensions and have none in common. Whether
/// other patterns overlap cannot be told without the files.
fn kept_apart_by_extension(a: &[String], b: &[String]) -> bool {
    let extensions = |globs: &[String]| {
        globs
            .iter()
            .map(|glob| {
                let (_, extension) = glob.rsplit_once('.')?;
                let plain = extension.bytes().all(|b| b.is_ascii_alphanumeric());
                (plain && !glob.starts_with('!')).then(|| extension.to_owned())
            })
            .collect::<Option<Vec<_>>>()
    };
    match (extensions(a), extensions(b)) {
        (Some(a), Some(b)) => a.iter().all(|extension| !b.contains(extension)),
        _ => false,
    }
}
