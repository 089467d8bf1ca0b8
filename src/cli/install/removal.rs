//! `uninstall`: takes away what `install` put in place, and nothing else.

use std::fs;
use std::path::Path;

use super::machine::Machine;
use super::record::{PLACE, Record, Standing};
use super::{CONFIG_DIR, DROP_IN, SPOOL_DIR, START_DIR, refused, shown};
use crate::cli::args::Installation;
use crate::cli::{Exit, Outcome};
use crate::spool::{Options, Spool};
use crate::sys::Sys;

/// Removes what was installed, except what was changed since and files that wait.
pub(in crate::cli) fn uninstall(sys: &Sys, args: &Installation) -> Outcome {
    let root = &*args.root;
    let machine = match Machine::at(root) {
        Ok(machine) => machine,
        Err(refusal) => return refused("uninstall", &refusal),
    };
    let record = Record::read(root);
    if record.is_empty() {
        return refused(
            "uninstall",
            "nothing was put in place by `edgespool install` (a package is removed by its manager)",
        );
    }
    let mut out = Vec::new();
    let mut code = Exit::Done;
    machine.stop_all(&mut out);
    for path in record.paths() {
        if let Err(problem) = remove(root, path, &record, &mut out) {
            out.push(problem);
            code = Exit::Failed;
        }
    }
    remove_spool(sys, &root.join(SPOOL_DIR), &mut out);
    let mut dirs = vec![Path::new(START_DIR), Path::new(CONFIG_DIR)];
    dirs.extend(Path::new(DROP_IN).parent());
    if code == Exit::Done {
        // Only now: what could not be removed is tried again by the next one.
        let _gone_already = fs::remove_file(root.join(PLACE));
        dirs.extend(Path::new(PLACE).parent());
    }
    for dir in dirs {
        // What holds anything stays; that is the point.
        let _holds_something = fs::remove_dir(root.join(dir));
    }
    machine.reload(&mut out);
    if machine.is_this() && machine.agent_user().is_some() {
        out.push("kept  the user edgespool (userdel edgespool)".into());
    }
    Outcome { out, code }
}

fn remove(root: &Path, path: &Path, record: &Record, out: &mut Vec<String>) -> Result<(), String> {
    let shown = shown(root, path);
    match record.standing(root, path) {
        Standing::Missing => {}
        Standing::Foreign => out.push(format!("kept  {shown}: changed since it was installed")),
        Standing::Ours => {
            fs::remove_file(root.join(path)).map_err(|e| format!("{shown}: {e}"))?;
            out.push(format!("removed {shown}"));
        }
    }
    Ok(())
}

/// Removes a spool in which nothing waits: its own files, by name. What else
/// stands there, an archive perhaps, stays.
fn remove_spool(sys: &Sys, dir: &Path, out: &mut Vec<String>) {
    if !dir.exists() {
        return;
    }
    if !dir.join("format").exists() {
        // Never used.
        let _holds_something = fs::remove_dir(dir);
        return;
    }
    if let Err(why) = is_over(sys, dir) {
        out.push(format!("kept  {}: {why}", dir.display()));
        return;
    }
    for name in FILES {
        let _not_there = fs::remove_file(dir.join(name));
    }
    for name in DIRS {
        let _not_there = fs::remove_dir_all(dir.join(name));
    }
    match fs::remove_dir(dir) {
        Ok(()) => out.push(format!(
            "removed {}, in which nothing waited",
            dir.display()
        )),
        Err(e) => out.push(format!("kept  {}: {e}", dir.display())),
    }
}

/// What a spool consists of; see its format.
const FILES: [&str; 6] = [
    "lock",
    "format",
    "clock",
    "reserve",
    "suspect",
    "control.sock",
];
const DIRS: [&str; 6] = ["profiles", "ledger", "notes", "damaged", "outbox", "lanes"];

/// Whether nothing of anybody's is in the spool; why not, otherwise.
fn is_over(sys: &Sys, dir: &Path) -> Result<(), String> {
    let _lock = sys
        .fs
        .lock(&dir.join("lock"))
        .map_err(|e| format!("in use: {e}"))?;
    let spool = Spool::open_read_only(sys, dir, Options::default())
        .map_err(|e| format!("it cannot be read: {e}"))?;
    let stats = spool.stats();
    let files = stats.waiting.files + stats.dead.files;
    if files > 0 {
        return Err(format!(
            "{files} of the files in it were not delivered (install again and let them be, or \
             `queue export`)"
        ));
    }
    let outbox = fs::read_dir(dir.join("outbox"));
    match outbox.into_iter().flatten().next() {
        Some(_) => Err("delivered files in it are on their way to an archive".to_owned()),
        None => Ok(()),
    }
}
