//! `queue list` and `queue show`.

use std::io::{self, Write};

use serde::Serialize;

use super::super::Exit;
use super::super::args::{List, OneId};
use super::super::context::{Context, Trouble};
use super::super::text;
use super::act::parse_id;
use crate::base::ByteSize;
use crate::spool::{Entry, Origin, SpoolError, Standing};
use crate::status::report::CurrentReport;

/// One entry, as `--json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    id: String,
    watch: &'a str,
    path: String,
    size: u64,
    queued: String,
    attempts: u32,
    state: &'static str,
    last_error: Option<&'a str>,
    mtime: String,
}

/// Prints every entry as it is read; the list is never held in memory.
pub(super) fn list(context: &Context, args: &List, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let current = current(context);
    let Some(mut spool) = context.look()? else {
        if args.json {
            out.write_all(b"[]\n")?;
        }
        return Ok(Exit::Done);
    };
    let lanes = spool.stats().lanes;
    let width = lanes.iter().map(|lane| lane.name.len()).max().unwrap_or(0);
    let mut printer = Printer {
        out,
        json: args.json,
        width,
        any: false,
    };
    let mut written = Ok(());
    spool.list(&mut |entry| {
        if args.dead && entry.standing != Standing::Dead {
            return true;
        }
        written = printer.entry(entry, state(entry, &current));
        written.is_ok()
    })?;
    written?;
    printer.end()?;
    Ok(Exit::Done)
}

/// Prints all that is known about one entry.
pub(super) fn show(context: &Context, args: &OneId, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let id = parse_id(&args.id)?;
    let unknown = SpoolError::UnknownEntry(id);
    let mut spool = context.look()?.ok_or(unknown)?;
    let entry = spool.entry(id)?;
    let state = state(&entry, &current(context));
    if args.json {
        serde_json::to_writer(&mut *out, &row(&entry, state))?;
        out.write_all(b"\n")?;
        return Ok(Exit::Done);
    }
    let origin = match entry.origin {
        Origin::Renamed | Origin::Moved => "moved from the watched directory",
        Origin::Copied => "copied; the source stays",
        Origin::Recovered => "found in the spool without its record",
    };
    writeln!(out, "id          {id}")?;
    writeln!(out, "state       {state}")?;
    writeln!(out, "watch       {}", entry.lane)?;
    writeln!(out, "path        {}", text::safe(&entry.path))?;
    let size = ByteSize(entry.size);
    writeln!(out, "size        {} bytes ({size})", entry.size)?;
    writeln!(out, "modified    {}", text::time(entry.mtime_ns))?;
    writeln!(out, "queued      {}", text::time(entry.queued.0))?;
    writeln!(out, "taken       {origin}")?;
    writeln!(out, "refusals    {}", entry.attempts)?;
    if let Some(error) = &entry.last_error {
        writeln!(out, "last error  {}", text::safe(error.as_bytes()))?;
    }
    Ok(Exit::Done)
}

/// What the agent is uploading now; nothing where it cannot be asked.
fn current(context: &Context) -> Vec<CurrentReport> {
    let report = context.report().unwrap_or_default();
    report.unwrap_or_default().current
}

fn state(entry: &Entry, current: &[CurrentReport]) -> &'static str {
    let path = String::from_utf8_lossy(&entry.path);
    let mine = |current: &CurrentReport| current.watch == entry.lane && current.path == path;
    match entry.standing {
        Standing::Dead => "dead",
        Standing::Waiting if current.iter().any(mine) => "uploading",
        Standing::Waiting => "waiting",
    }
}

fn row<'a>(entry: &'a Entry, state: &'static str) -> Row<'a> {
    Row {
        id: entry.id.to_string(),
        watch: &entry.lane,
        path: String::from_utf8_lossy(&entry.path).into_owned(),
        size: entry.size,
        queued: text::time(entry.queued.0),
        attempts: entry.attempts,
        state,
        last_error: entry.last_error.as_deref(),
        mtime: text::time(entry.mtime_ns),
    }
}

struct Printer<'a> {
    out: &'a mut dyn Write,
    json: bool,
    /// Of the column of watches.
    width: usize,
    any: bool,
}

impl Printer<'_> {
    fn entry(&mut self, entry: &Entry, state: &'static str) -> io::Result<()> {
        match self.json {
            true => self.element(entry, state),
            false => self.line(entry, state),
        }?;
        self.any = true;
        Ok(())
    }

    fn element(&mut self, entry: &Entry, state: &'static str) -> io::Result<()> {
        let before: &[u8] = if self.any { b",\n" } else { b"[\n" };
        self.out.write_all(before)?;
        Ok(serde_json::to_writer(&mut *self.out, &row(entry, state))?)
    }

    fn line(&mut self, entry: &Entry, state: &'static str) -> io::Result<()> {
        let width = self.width.max("WATCH".len());
        if !self.any {
            writeln!(
                self.out,
                "{:<22}  {:<9}  {:>9}  {:<20}  {:>5}  {:<width$}  PATH",
                "ID", "STATE", "SIZE", "QUEUED", "TRIES", "WATCH"
            )?;
        }
        write!(
            self.out,
            "{:<22}  {state:<9}  {:>9}  {:<20}  {:>5}  {:<width$}  {}",
            entry.id.to_string(),
            ByteSize(entry.size).to_string(),
            text::short_time(entry.queued.0),
            entry.attempts,
            entry.lane,
            text::safe(&entry.path),
        )?;
        if let Some(error) = &entry.last_error {
            write!(self.out, "  ({})", text::safe(error.as_bytes()))?;
        }
        self.out.write_all(b"\n")
    }

    fn end(&mut self) -> io::Result<()> {
        match (self.json, self.any) {
            (true, true) => self.out.write_all(b"\n]\n"),
            (true, false) => self.out.write_all(b"[]\n"),
            (false, _) => Ok(()),
        }
    }
}
