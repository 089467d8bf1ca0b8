//! `history`: what left the spool, when, and how surely it arrived.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use super::Exit;
use super::args::History;
use super::context::{Context, Trouble};
use super::text;
use crate::base::ByteSize;
use crate::spool::{Proof, Receipt};
use crate::sys::Wall;

/// One receipt, as `--json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    time: String,
    watch: &'a str,
    path: String,
    server: &'a str,
    remote: String,
    size: u64,
    proof: Proof,
    attempts: u32,
    sent_bytes: u64,
    seconds: f64,
}

/// Prints the receipts, oldest first, each as it is read.
pub(super) fn run(context: &Context, args: &History, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let Some(spool) = context.look()? else {
        return Ok(Exit::Done);
    };
    let since = args
        .since
        .map(|span| before(context.sys.clock.wall(), span));
    let mut written = Ok(());
    spool.history(since, &mut |receipt| {
        written = match args.json {
            true => json(receipt, out),
            false => line(receipt, out),
        };
        written.is_ok()
    })?;
    written?;
    Ok(Exit::Done)
}

fn before(now: Wall, span: Duration) -> Wall {
    let span_ns = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Wall(now.0.saturating_sub(span_ns))
}

fn json(receipt: &Receipt, out: &mut dyn Write) -> io::Result<()> {
    let row = Row {
        time: text::time(receipt.time_ns),
        watch: &receipt.watch,
        path: String::from_utf8_lossy(&receipt.path).into_owned(),
        server: &receipt.server,
        remote: String::from_utf8_lossy(&receipt.remote).into_owned(),
        size: receipt.size,
        proof: receipt.proof,
        attempts: receipt.attempts,
        sent_bytes: receipt.sent_bytes,
        seconds: receipt.seconds,
    };
    serde_json::to_writer(&mut *out, &row)?;
    out.write_all(b"\n")
}

fn line(receipt: &Receipt, out: &mut dyn Write) -> io::Result<()> {
    let proof = match receipt.proof {
        Proof::Hash => "hash",
        Proof::Size => "size",
        Proof::Reply => "reply",
        Proof::Evicted => "evicted",
        Proof::Dropped => "dropped",
        Proof::Skipped => "skipped",
    };
    write!(
        out,
        "{}  {proof:<7}  {:>9}  {}: {}",
        text::short_time(receipt.time_ns),
        ByteSize(receipt.size).to_string(),
        receipt.watch,
        text::safe(&receipt.path),
    )?;
    if !receipt.server.is_empty() {
        write!(
            out,
            " -> {}: {}",
            receipt.server,
            text::safe(&receipt.remote)
        )?;
    }
    out.write_all(b"\n")
}
