//! `queue verify`: what recovery would do, without doing it.

use std::io::Write;

use super::super::context::{Context, Trouble};
use super::super::text::count;
use super::super::{Exit, complain};
use crate::base::ByteSize;
use crate::spool::Tally;

/// Reads every record that the spool holds, looks for every blob, and says
/// what is wrong.
pub(super) fn run(context: &Context, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let dir = context.config.spool.dir.display();
    let Some(mut spool) = context.look()? else {
        writeln!(out, "ok {dir}: there is no spool yet")?;
        return Ok(Exit::Done);
    };
    if !matches!(context.report(), Ok(None)) {
        complain("an agent is running; what it changes meanwhile may look damaged");
    }
    let stats = spool.stats();
    let promised = stats.waiting.files + stats.dead.files;
    let mut read = Tally::default();
    spool.list(&mut |entry| {
        read.files += 1;
        read.bytes += entry.size;
        true
    })?;
    let mut exit = Exit::Done;
    for finding in spool.findings() {
        writeln!(out, "FAILED {finding}")?;
        exit = Exit::Failed;
    }
    if read.files < promised {
        let missing = count(promised - read.files, "record");
        writeln!(out, "FAILED {missing} cannot be read (the log says which)")?;
        exit = Exit::Failed;
    }
    let word = if exit == Exit::Done { "ok" } else { "left" };
    let (files, bytes) = (count(read.files, "file"), ByteSize(read.bytes));
    writeln!(out, "{word} {dir}: {files}, {bytes}")?;
    Ok(exit)
}
