//! `[[watch]]`: one source directory with its rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choice::{After, Ready};
use super::env::Env;
use super::files;
use super::names::check_name;
use super::remote::Remote;
use super::section::{Places, Section};
use super::types::{Archive, Watch};
use crate::sys::Kind;
use crate::watch::DEFAULT_EXCLUDE;

/// Reads one `[[watch]]`; after a mistake the values mean nothing.
pub(super) fn read(mut section: Section<'_>, env: &Env<'_>) -> Option<(Watch, Places)> {
    let s = &mut section;
    let name = s.required("name", "camera");
    check_name(s, &name);
    let dir = dir(s, env);
    let (after, archive) = archive(s);
    let ready = s.get("ready").unwrap_or_default();
    let remote = remote(s);
    let watch = Watch {
        name,
        dir,
        server: s.get("server").unwrap_or_default(),
        include: globs(s, "include", &["**"]),
        exclude: globs(s, "exclude", &DEFAULT_EXCLUDE),
        recursive: s.get("recursive").unwrap_or(true),
        ready,
        quiet: s.get("quiet").unwrap_or(QUIET),
        marker: marker(s, ready),
        take: s.get("take").unwrap_or_default(),
        priority: s.number("priority", 0..=9).unwrap_or(5),
        order: s.get("order").unwrap_or_default(),
        schedule: s.get("schedule"),
        after,
        archive,
        remote: remote?,
    };
    Some((watch, section.finish()))
}

/// The directory. That it is missing is a mistake only where the receiver
/// brings no files either, which the checks across tables find out.
fn dir(section: &mut Section<'_>, env: &Env<'_>) -> Option<PathBuf> {
    let text: String = section.get("dir").unwrap_or_default();
    let dir = section.path("dir")?;
    match files::meta(env.fs, &dir) {
        Ok(meta) if meta.kind == Kind::Dir => check_readable(section, env, &text, &dir),
        Ok(_) => section.bad("dir", &text, "is not a directory (correct the path)"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => section.bad(
            "dir",
            &text,
            "does not exist (create it, or correct the path)",
        ),
        Err(e) => section.bad("dir", &text, &format!("cannot be reached: {e}")),
    }
    // The disk follows no link in the last part of a path; a dir may be one.
    Some(files::follow(env.fs, &dir).unwrap_or(dir))
}

fn check_readable(section: &Section<'_>, env: &Env<'_>, text: &str, dir: &Path) {
    // The dot makes the disk look behind a symbolic link.
    if let Err(e) = env.fs.read_dir(&dir.join("."), &mut |_| false) {
        section.bad(
            "dir",
            text,
            &format!("cannot be read: {e} (give the agent's user the right)"),
        );
    }
}

fn globs(section: &mut Section<'_>, key: &'static str, default: &[&str]) -> Vec<String> {
    let default = || default.iter().map(|&glob| glob.to_owned()).collect();
    let globs: Vec<String> = section.get(key).unwrap_or_else(default);
    if key == "include" && globs.is_empty() {
        section.mistake(
            key,
            "is an empty list: nothing would be taken (leave it out for all)",
        );
    }
    for glob in &globs {
        if let Err(e) = fast_glob::validate(glob) {
            section.bad(key, glob, &format!("is not a valid pattern: {e}"));
        } else if glob.starts_with('/') {
            section.bad(
                key,
                glob,
                "begins with a slash, but patterns are for the path below dir (remove the slash)",
            );
        }
    }
    globs
}

fn marker(section: &mut Section<'_>, ready: Ready) -> String {
    let Some(marker) = section.get::<String>("marker") else {
        return MARKER.to_owned();
    };
    if ready != Ready::Marker {
        section.warning("marker", "has no effect (it needs ready = \"marker\")");
    }
    if marker.matches("{name}").count() != 1 {
        section.bad(
            "marker",
            &marker,
            "must contain {name} once (as in \"{name}.done\")",
        );
    } else if marker == "{name}" {
        section.bad(
            "marker",
            &marker,
            "is the file's own name (as in \"{name}.done\")",
        );
    } else if marker.contains(['/', '\0']) {
        section.bad(
            "marker",
            &marker,
            "must be a file name without slashes (markers stand beside their files)",
        );
    }
    marker
}

fn remote(section: &mut Section<'_>) -> Option<Remote> {
    let text = section
        .get::<String>("remote")
        .unwrap_or_else(|| REMOTE.to_owned());
    match Remote::parse(&text) {
        Ok(remote) => {
            if !remote.tells_files_apart() {
                section.warning(
                    "remote",
                    &format!(
                        "{text:?} gives every file the same name (add {{path}} or {{name}} \
                         unless only the newest matters)"
                    ),
                );
            }
            Some(remote)
        }
        Err(problem) => {
            section.bad("remote", &text, &problem.to_string());
            // The other keys are still to be read; the result is thrown away.
            Remote::parse(REMOTE).ok()
        }
    }
}

fn archive(section: &mut Section<'_>) -> (After, Option<Archive>) {
    let after = section.get("after").unwrap_or_default();
    let table = section.table("archive");
    match (after, &table) {
        (After::Archive, None) if !section.has("archive") => section.mistake(
            "after",
            "\"archive\" needs a place (write archive = { dir = \"/data/sent\" })",
        ),
        (After::Delete, Some(_)) => {
            section.mistake(
                "archive",
                "has no effect (write after = \"archive\" with it)",
            );
        }
        _ => {}
    }
    let archive = table.map(|mut table| {
        table.required("dir", "/data/sent");
        let archive = Archive {
            dir: table.path("dir").unwrap_or_default(),
            max_size: table.get("max_size"),
            max_age: table.span("max_age"),
        };
        if !table.has("max_size") && !table.has("max_age") {
            table.warning("dir", "grows without end (set max_size or max_age)");
        }
        table.finish();
        archive
    });
    (after, archive)
}

const QUIET: Duration = Duration::from_secs(2);
const MARKER: &str = "{name}.done";
const REMOTE: &str = "/{device}/{watch}/{year}/{month}/{day}/{path}";
