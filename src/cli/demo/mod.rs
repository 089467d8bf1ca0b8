//! `demo`: all of it on this machine, without root and without a network.
//!
//! Two fake devices ([`camera`], [`sensor`]) write files; the agent takes them
//! and delivers them over a link that breaks ([`link`]) to a receiver with TLS
//! ([`central`]), all in this process and in one directory ([`world`]). The
//! terminal shows how it goes ([`facts`], [`view`]). When the devices have
//! stopped and everything has arrived, or nothing moves any more, both sides are
//! compared ([`compare`]), and only if every promise holds the exit code is 0.

mod camera;
mod central;
mod compare;
mod facts;
mod link;
mod made;
mod scene;
mod sensor;
mod stage;
mod view;
mod world;

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::LocalExecutor;
use smol::stream::StreamExt;

use super::text::count;
use super::{Exit, args, complain};
use crate::base::ByteSize;
use crate::config::Invalid;
use crate::spool::SpoolError;
use crate::sys::Sys;

use compare::Finding;
use stage::{Played, Stage};
use view::View;
use world::World;

/// No cut of the plan comes later in a data connection, in bytes.
const CUT_AFTER_MAX: u64 = 160_000;

/// Plays, compares, and says what came of it.
pub(super) fn run(sys: &Sys, demo: &args::Demo, verbose: u8) -> Exit {
    let total = Duration::from_secs(demo.seconds);
    let ended = World::new(&*sys.rng, demo.keep)
        .map_err(Trouble::World)
        .and_then(|world| {
            let mut view = View::new(verbose > 0, total, &world.config());
            let played = play(sys, &world, total, &mut view)?;
            drop(view);
            conclude(sys, &world, &played, demo.keep)
        });
    match ended {
        Ok(true) => Exit::Done,
        Ok(false) => Exit::Failed,
        Err(trouble) => {
            complain(&trouble.to_string());
            Exit::Failed
        }
    }
}

/// From the first picture to the last receipt.
fn play(sys: &Sys, world: &World, total: Duration, view: &mut View) -> Result<Played, Trouble> {
    let tasks = Rc::new(LocalExecutor::new());
    smol::block_on(tasks.clone().run(async {
        let mut signals =
            Signals::new([Signal::Term, Signal::Int, Signal::Hup]).map_err(Trouble::Signals)?;
        let stage = Stage::build(sys, world, total, &tasks).await?;
        let interrupted = async {
            match signals.next().await {
                Some(Err(e)) => Err(Trouble::Signals(e)),
                _ => Err(Trouble::Interrupted),
            }
        };
        let played = smol::future::or(interrupted, stage.play(view)).await;
        let ended = stage.clear().await;
        played.map(|()| ended)
    }))
}

/// Compares, and prints the summary; whether everything holds.
fn conclude(sys: &Sys, world: &World, played: &Played, keep: bool) -> Result<bool, Trouble> {
    let receipts = stage::receipts(sys, world)?;
    let evidence = compare::Evidence {
        made: &played.made,
        devices: &world.devices(),
        server: &world.server(),
        below: world::DEVICE,
        receipts: &receipts,
        arrivals: &played.arrivals,
        cuts: &played.traffic.cuts,
    };
    let findings = compare::judge(&evidence).map_err(Trouble::Compare)?;
    let size: u64 = played.made.iter().map(|made| made.size).sum();
    let tries: u64 = receipts.iter().map(|r| u64::from(r.attempts)).sum();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "\n{} of {} in {:.1} s; {} over the link in {} and {}",
        count(played.made.len() as u64, "file"),
        ByteSize(size),
        played.elapsed.as_secs_f32(),
        ByteSize(played.traffic.carried),
        count(tries, "upload"),
        count(played.traffic.sessions, "session"),
    )?;
    let failure = played.spool_failed.as_ref().map(|why| Finding {
        holds: false,
        text: format!("the spool failed: {why}"),
    });
    let mut holds = true;
    for finding in findings.iter().chain(&failure) {
        let word = if finding.holds { "ok  " } else { "FAIL" };
        writeln!(out, "{word}  {}", finding.text)?;
        holds &= finding.holds;
    }
    if keep {
        made::write_sums(&played.made, world::DEVICE, &world.sums()).map_err(Trouble::World)?;
        writeln!(out, "{}", kept(world))?;
    }
    Ok(holds)
}

/// Where everything is, and what to do with it.
fn kept(world: &World) -> String {
    let dir = world.dir().display();
    format!(
        "\nkept in {dir}: edgespool.toml (the agent's config), spool/, server/ (what arrived)\n  \
         edgespool -c {dir}/edgespool.toml history\n  \
         cd {dir}/server && sha256sum -c ../made.sha256"
    )
}

/// Why there is nothing to compare.
#[derive(Debug)]
enum Trouble {
    /// Somebody ended it.
    Interrupted,
    /// The directory, or a file in it, cannot be made.
    World(io::Error),
    /// The receiver does not run.
    Receiver(String),
    /// The config does not fit this machine.
    Config(Invalid),
    /// The spool cannot be used.
    Spool(SpoolError),
    /// A device cannot write.
    Device(&'static str, io::Error),
    /// A side cannot be looked at.
    Compare(io::Error),
    /// Signals cannot be heard.
    Signals(io::Error),
    /// Nobody reads what is shown.
    Output(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Interrupted => f.write_str("interrupted: nothing was compared"),
            Trouble::World(e) => write!(
                f,
                "the demo's files below {} cannot be made: {e} ($TMPDIR names another place)",
                std::env::temp_dir().display()
            ),
            Trouble::Receiver(why) => write!(f, "the receiver does not run: {why}"),
            Trouble::Config(invalid) => invalid.fmt(f),
            Trouble::Spool(e) => match std::error::Error::source(e) {
                Some(cause) => write!(f, "{e}: {cause}"),
                None => e.fmt(f),
            },
            Trouble::Device(name, e) => write!(f, "the {name} cannot write its files: {e}"),
            Trouble::Compare(e) => write!(f, "the two sides cannot be compared: {e}"),
            Trouble::Signals(e) => write!(f, "signals cannot be heard: {e}"),
            Trouble::Output(e) => write!(f, "the results cannot be written: {e}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}
