//! Orders: asked of the agent, or done here when none runs.

use std::io::Write;

use super::super::Exit;
use super::super::args::Ids;
use super::super::context::{Context, Trouble};
use super::super::text::count;
use crate::spool::{EntryId, Spool, SpoolError, Standing};
use crate::status::Request;

/// Reads an id as `queue list` shows it.
pub(super) fn parse_id(text: &str) -> Result<EntryId, Trouble> {
    text.parse()
        .map_err(|e| Trouble::Usage(format!("{text:?}: {e}")))
}

/// Puts dead letters back into the queue.
pub(super) fn retry(context: &Context, args: &Ids, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let ids = args.ids.clone();
    entries(context, args, &Request::Retry { ids }, out, Spool::retry)
}

/// Drops entries for good.
pub(super) fn drop(context: &Context, args: &Ids, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let ids = args.ids.clone();
    entries(
        context,
        args,
        &Request::Drop { ids },
        out,
        Spool::drop_entry,
    )
}

/// Stops uploading for some watches.
pub(super) fn pause(
    context: &Context,
    watches: &[String],
    out: &mut dyn Write,
) -> Result<Exit, Trouble> {
    let request = Request::Pause {
        watches: watches.to_vec(),
    };
    lanes(context, watches, &request, out, true)
}

/// Goes on uploading for some watches.
pub(super) fn resume(
    context: &Context,
    watches: &[String],
    out: &mut dyn Write,
) -> Result<Exit, Trouble> {
    let request = Request::Resume {
        watches: watches.to_vec(),
    };
    lanes(context, watches, &request, out, false)
}

/// Uploads what waits, whatever the schedule says; only an agent can.
pub(super) fn flush(
    context: &Context,
    watches: &[String],
    out: &mut dyn Write,
) -> Result<Exit, Trouble> {
    check_watches(context, watches)?;
    let request = Request::Flush {
        watches: watches.to_vec(),
    };
    if let Some(exit) = ordered(context, &request, out)? {
        return Ok(exit);
    }
    super::super::complain("no agent is running to upload now (start it, or use once)");
    Ok(Exit::Queued)
}

/// Gives the order to the agent; `None` when none runs.
fn ordered(
    context: &Context,
    request: &Request,
    out: &mut dyn Write,
) -> Result<Option<Exit>, Trouble> {
    match context.ask(request)? {
        None => Ok(None),
        Some(response) if response.ok => {
            if !response.message.is_empty() {
                writeln!(out, "{}", response.message)?;
            }
            Ok(Some(Exit::Done))
        }
        Some(response) => Err(Trouble::Other(response.message)),
    }
}

fn entries(
    context: &Context,
    args: &Ids,
    request: &Request,
    out: &mut dyn Write,
    act: fn(&mut Spool, EntryId) -> Result<(), SpoolError>,
) -> Result<Exit, Trouble> {
    let ids = (args.ids.iter())
        .map(|text| parse_id(text))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(exit) = ordered(context, request, out)? {
        return Ok(exit);
    }
    let mut spool = context.own()?;
    let mut done = 0;
    if args.all {
        loop {
            let dead = some_dead(&mut spool)?;
            if dead.is_empty() {
                break;
            }
            for id in dead {
                act(&mut spool, id)?;
                done += 1;
            }
        }
    }
    for id in ids {
        act(&mut spool, id)?;
        done += 1;
    }
    let what = match request {
        Request::Drop { .. } => "dropped",
        _ => "queued again",
    };
    writeln!(out, "{} {what}", count(done, "file"))?;
    Ok(Exit::Done)
}

/// The first dead letters, a bounded number of them.
fn some_dead(spool: &mut Spool) -> Result<Vec<EntryId>, SpoolError> {
    let mut dead = Vec::new();
    spool.list(&mut |entry| {
        if entry.standing == Standing::Dead {
            dead.push(entry.id);
        }
        dead.len() < BATCH
    })?;
    Ok(dead)
}

fn lanes(
    context: &Context,
    watches: &[String],
    request: &Request,
    out: &mut dyn Write,
    paused: bool,
) -> Result<Exit, Trouble> {
    check_watches(context, watches)?;
    if let Some(exit) = ordered(context, request, out)? {
        return Ok(exit);
    }
    let mut spool = context.own()?;
    let known = match watches {
        [] => all_watches(context, &spool),
        named => named.to_vec(),
    };
    for watch in &known {
        spool.set_paused(watch, paused)?;
    }
    let what = if paused { "paused" } else { "resumed" };
    writeln!(out, "{what}: {}", known.join(", "))?;
    Ok(Exit::Done)
}

/// Those of the configuration, and those that only the spool still knows.
fn all_watches(context: &Context, spool: &Spool) -> Vec<String> {
    let configured = context
        .config
        .watches
        .iter()
        .map(|watch| watch.name.clone());
    let kept = spool.stats().lanes.into_iter().map(|lane| lane.name);
    let mut all: Vec<String> = configured.chain(kept).collect();
    all.sort();
    all.dedup();
    all
}

fn check_watches(context: &Context, watches: &[String]) -> Result<(), Trouble> {
    let unknown = |watch: &&String| context.config.watch(watch).is_none();
    let Some(strange) = watches.iter().find(unknown) else {
        return Ok(());
    };
    let lanes = context.look()?.map(|spool| spool.stats().lanes);
    if lanes.iter().flatten().any(|lane| lane.name == *strange) {
        return Ok(());
    }
    Err(Trouble::Usage(format!("there is no watch {strange:?}")))
}

/// Dead letters that are held in memory at a time.
const BATCH: usize = 256;
