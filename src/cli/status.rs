//! `status`: what the agent does now, or what the spool holds when none runs.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::Exit;
use super::args::Status;
use super::context::{Context, Trouble};
use super::text::{self, count};
use crate::base::ByteSize;
use crate::spool::{Spool, Stats, Tally};
use crate::status::report::{LaneReport, ReceiverReport, Report, ServerReport, SpoolReport};
use crate::upload::Profile;

/// Prints the report, with `--watch` again and again.
pub(super) fn run(context: &Context, args: &Status, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let clears = args.watch && !args.json && io::stdout().is_terminal();
    loop {
        let report = match context.report()? {
            Some(report) => report,
            None => stopped(context)?,
        };
        if clears {
            out.write_all(b"\x1b[H\x1b[2J")?;
        }
        if args.json {
            serde_json::to_writer(&mut *out, &report)?;
            out.write_all(b"\n")?;
        } else {
            show(&report, out)?;
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        if !args.json && !clears {
            out.write_all(b"\n")?;
        }
        out.flush()?;
        let clock = &context.sys.clock;
        smol::block_on(clock.sleep_until(clock.mono().after(AGAIN)));
    }
}

const AGAIN: Duration = Duration::from_secs(1);

/// What there is to say when no agent runs.
fn stopped(context: &Context) -> Result<Report, Trouble> {
    let spool = context.look()?;
    let config = &context.config;
    let stats = spool.as_ref().map_or_else(nothing, Spool::stats);
    let now = context.sys.clock.wall();
    let age = |queued: crate::sys::Wall| u64::try_from(now.secs() - queued.secs()).unwrap_or(0);
    let mut lanes: Vec<LaneReport> = (config.watches.iter())
        .filter(|watch| stats.lanes.iter().all(|lane| lane.name != watch.name))
        .map(|watch| LaneReport {
            watch: watch.name.clone(),
            ..LaneReport::default()
        })
        .collect();
    lanes.extend(stats.lanes.iter().map(|lane| LaneReport {
        watch: lane.name.clone(),
        files: lane.waiting.files,
        bytes: lane.waiting.bytes,
        paused: lane.paused,
        ..LaneReport::default()
    }));
    lanes.sort_by(|a, b| a.watch.cmp(&b.watch));
    let oldest = stats.lanes.iter().filter(|lane| lane.waiting.files > 0);
    Ok(Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        device: config.device.clone(),
        state: "stopped".to_owned(),
        spool: SpoolReport {
            files: stats.waiting.files,
            bytes: stats.waiting.bytes,
            max_bytes: config.spool.max_size.0,
            oldest_age_s: oldest.filter_map(|lane| lane.oldest).min().map(age),
            dead_letters: stats.dead.files,
        },
        lanes,
        servers: servers(context, spool.as_ref()),
        ..Report::default()
    })
}

fn nothing() -> Stats {
    Stats {
        waiting: Tally::default(),
        dead: Tally::default(),
        lanes: Vec::new(),
    }
}

fn servers(context: &Context, spool: Option<&Spool>) -> Vec<ServerReport> {
    let profile = |name: &str| spool.and_then(|spool| spool.profile(name));
    (context.config.servers.iter())
        .map(|server| ServerReport {
            name: server.name.clone(),
            state: "idle".to_owned(),
            learned: profile(&server.name)
                .map(|bytes| Profile::decode(&bytes).facts())
                .unwrap_or_default(),
            ..ServerReport::default()
        })
        .collect()
}

/// The report for a person.
fn show(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let running = report.state == "running";
    write!(out, "edgespool {} on {}: ", report.version, report.device)?;
    match running {
        true => writeln!(out, "running for {}", text::span(report.uptime_s))?,
        false => writeln!(out, "no agent is running")?,
    }
    show_spool(&report.spool, out)?;
    if running {
        let (files, bytes) = (report.delivered.files, report.delivered.bytes);
        writeln!(
            out,
            "delivered  {}, {} since the start",
            count(files, "file"),
            ByteSize(bytes)
        )?;
    }
    for lane in &report.lanes {
        show_lane(lane, out)?;
    }
    for server in &report.servers {
        show_server(server, running, out)?;
    }
    if let Some(receiver) = &report.receiver {
        show_receiver(receiver, out)?;
    }
    for current in &report.current {
        let percent = (current.sent.saturating_mul(100))
            .checked_div(current.size)
            .unwrap_or(100);
        writeln!(
            out,
            "uploading  {}: {}, {percent} % of {}",
            current.watch,
            text::safe(current.path.as_bytes()),
            ByteSize(current.size)
        )?;
    }
    Ok(())
}

fn show_receiver(receiver: &ReceiverReport, out: &mut dyn Write) -> io::Result<()> {
    let received = count(receiver.files, "file");
    let bytes = ByteSize(receiver.bytes);
    let sessions = count(receiver.sessions as u64, "session");
    match &receiver.last_error {
        Some(error) => writeln!(out, "receiver   {error}"),
        None => writeln!(
            out,
            "receiver   {}: {sessions}, {received} received ({bytes})",
            receiver.addresses.join(", ")
        ),
    }
}

fn show_spool(spool: &SpoolReport, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "spool      {}, {} of {}",
        count(spool.files, "file"),
        ByteSize(spool.bytes),
        ByteSize(spool.max_bytes)
    )?;
    if let Some(age) = spool.oldest_age_s {
        write!(out, ", the oldest for {}", text::span(age))?;
    }
    if spool.dead_letters > 0 {
        write!(
            out,
            "; {} (queue list --dead)",
            count(spool.dead_letters, "dead letter")
        )?;
    }
    out.write_all(b"\n")
}

fn show_lane(lane: &LaneReport, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "watch      {}: {}, {}",
        lane.watch,
        count(lane.files, "file"),
        ByteSize(lane.bytes)
    )?;
    if lane.paused {
        write!(out, ", paused (queue resume {})", lane.watch)?;
    }
    if let Some(reason) = &lane.waits_for {
        write!(out, ", waits for {}", text::safe(reason.as_bytes()))?;
    }
    if let Some(next) = lane.next_try_s {
        write!(out, ", next try in {}", text::span(next))?;
    }
    out.write_all(b"\n")
}

fn show_server(server: &ServerReport, running: bool, out: &mut dyn Write) -> io::Result<()> {
    write!(out, "server     {}", server.name)?;
    if running {
        write!(out, ": {}", server.state)?;
    }
    if let Some(next) = server.next_try_s {
        write!(out, ", next try in {}", text::span(next))?;
    }
    out.write_all(b"\n")?;
    if let Some(error) = &server.last_error {
        writeln!(out, "           {}", text::safe(error.as_bytes()))?;
    }
    for fact in &server.learned {
        writeln!(out, "           learned: {}", text::safe(fact.as_bytes()))?;
    }
    Ok(())
}
