//! Everything that runs during the demo, from the first picture to the end.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::central::Central;
use super::compare::Arrival;
use super::facts::{Look, Watcher};
use super::link::{Cut, Link, Traffic, Victims};
use super::made::{Ledger, Made};
use super::view::View;
use super::world::World;
use super::{CUT_AFTER_MAX, Trouble, camera, sensor};
use crate::agent::{Agent, Outcome};
use crate::cli::assemble;
use crate::config::{self, Env};
use crate::schedule::Rate;
use crate::spool::{Receipt, Spool};
use crate::status::report::Report;
use crate::status::{Answer, Request};
use crate::sys::{Mono, Pool, Sys};

/// The devices, the agent, the link and the receiver.
pub(super) struct Stage<'a> {
    sys: &'a Sys,
    world: &'a World,
    total: Duration,
    start: Mono,
    ledger: Rc<Ledger>,
    link: Arc<Link>,
    central: Central,
    agent: Rc<Agent>,
    running: Task<Outcome>,
    /// What the agent said last.
    report: RefCell<Report>,
}

/// What the play came to.
pub(super) struct Played {
    pub(super) made: Vec<Made>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) traffic: Traffic,
    pub(super) elapsed: Duration,
    pub(super) spool_failed: Option<String>,
}

impl<'a> Stage<'a> {
    /// Starts the receiver, and the agent with a config for it.
    pub(super) async fn build(
        sys: &'a Sys,
        world: &'a World,
        total: Duration,
        tasks: &Rc<LocalExecutor<'static>>,
    ) -> Result<Stage<'a>, Trouble> {
        let (central, destination) = Central::start(sys, world, tasks).await?;
        world.write_config(&destination).map_err(Trouble::World)?;
        let loaded = Env::with_os(sys, |env| config::load(&world.config(), env));
        let config = loaded.map_err(Trouble::Config)?.config;
        let start = sys.clock.mono();
        let link = Arc::new(Link::new(
            sys.net.clone(),
            sys.clock.clone(),
            destination.addr,
            Rate(LINK_RATE),
            plan(start, total),
        ));
        let device = Sys {
            net: link.clone(),
            ..sys.clone()
        };
        let setup = assemble::setup(&config, &sys.pool);
        let agent = Agent::open(&device, setup, tasks)
            .await
            .map_err(Trouble::Spool)?;
        let (runs, socket) = (agent.clone(), world.socket());
        let running = tasks.spawn(async move { runs.run(socket.as_deref()).await });
        Ok(Stage {
            sys,
            world,
            total,
            start,
            ledger: Rc::default(),
            link,
            central,
            agent,
            running,
            report: RefCell::default(),
        })
    }

    /// Lets the devices work, and waits until everything has arrived, or
    /// nothing moves any more.
    pub(super) async fn play(&self, view: &mut View) -> Result<(), Trouble> {
        let working = async {
            self.devices().await?;
            self.deliver_rest().await;
            Ok::<(), Trouble>(())
        };
        let mut watcher = Watcher::new(self.start);
        let every = view.every();
        let showing = async {
            loop {
                self.show(&mut watcher, view).await?;
                self.sys
                    .clock
                    .sleep_until(self.sys.clock.mono().after(every))
                    .await;
            }
        };
        smol::future::or(working, showing).await?;
        self.show(&mut watcher, view).await
    }

    /// Ends everything.
    pub(super) async fn clear(self) -> Played {
        let elapsed = self.sys.clock.mono().since(self.start);
        self.agent.stop();
        let outcome = self.running.await;
        let arrivals = self.central.arrivals();
        self.central.stop().await;
        Played {
            made: self.ledger.all(),
            arrivals,
            traffic: self.link.traffic(),
            elapsed,
            spool_failed: outcome.spool_failed,
        }
    }

    /// Both devices, for as long as they work.
    async fn devices(&self) -> Result<(), Trouble> {
        let end = self.start.after(self.total);
        // They are machines of their own, and no disk work of the agent's waits for them.
        let hardware = Pool::new(1).map_err(Trouble::World)?;
        let dirs = [camera::WATCH, sensor::WATCH].map(|watch| self.world.device(watch));
        let [pictures, tables] = &dirs;
        let camera = async {
            camera::run(self.sys, &hardware, pictures, &self.ledger, end)
                .await
                .map_err(|e| Trouble::Device(camera::WATCH, e))
        };
        let sensor = async {
            sensor::run(self.sys, &hardware, tables, &self.ledger, end)
                .await
                .map_err(|e| Trouble::Device(sensor::WATCH, e))
        };
        smol::future::try_zip(camera, sensor).await.map(|_| ())
    }

    /// Waits until nothing is on its way any more. When nothing moves for long,
    /// nothing ever will, and the comparison says what is missing.
    async fn deliver_rest(&self) {
        let made = self.ledger.all().len() as u64;
        let (mut moved, mut before) = (self.sys.clock.mono(), (0, 0));
        loop {
            let delivered = self.report.borrow().delivered.files;
            let now = self.sys.clock.mono();
            let seen = (delivered, self.link.traffic().carried);
            if seen != before {
                (moved, before) = (now, seen);
            }
            let ended = delivered >= made || self.running.is_finished();
            if ended || now.since(moved) > PATIENCE {
                return;
            }
            self.sys.clock.sleep_until(now.after(LOOK_EVERY)).await;
        }
    }

    async fn show(&self, watcher: &mut Watcher, view: &mut View) -> Result<(), Trouble> {
        let response = self.agent.answer(Request::Status).await;
        if let Ok(report) = serde_json::from_value(response.data) {
            self.report.replace(report);
        }
        let made = [camera::WATCH, sensor::WATCH].map(|watch| {
            let (files, bytes) = self.ledger.count(watch);
            (watch, files, bytes)
        });
        let (facts, told) = watcher.look(&Look {
            now: self.sys.clock.mono(),
            made: &made,
            report: &self.report.borrow(),
            traffic: &self.link.traffic(),
            arrivals: &self.central.arrivals(),
        });
        view.show(&facts, told).map_err(Trouble::Output)
    }
}

/// What the agent wrote down.
///
/// # Errors
/// What the spool says.
pub(super) fn receipts(sys: &Sys, world: &World) -> Result<Vec<Receipt>, Trouble> {
    let loaded = Env::with_os(sys, |env| config::load(&world.config(), env));
    let config = loaded.map_err(Trouble::Config)?.config;
    let options = assemble::spool_options(&config.spool);
    let spool = Spool::open_read_only(sys, &config.spool.dir, options).map_err(Trouble::Spool)?;
    let mut receipts = Vec::new();
    let each = &mut |receipt: &Receipt| {
        receipts.push(receipt.clone());
        true
    };
    spool.history(None, each).map_err(Trouble::Spool)?;
    Ok(receipts)
}

/// The breaks: the first in the first picture, the others later, a few in each
/// stretch of a long demo.
fn plan(start: Mono, total: Duration) -> Vec<Cut> {
    let kinds = [
        (CUT_AFTER_MAX, Victims::Data, Duration::ZERO),
        (120_000, Victims::All, Duration::from_millis(1500)),
        (120_000, Victims::Control, Duration::ZERO),
    ];
    let rounds = total.as_secs() / ROUND.as_secs() + 1;
    let step = total.min(ROUND) / 4;
    let cuts = (0..).zip(kinds.into_iter().cycle());
    let count = usize::try_from(rounds).unwrap_or(1) * kinds.len();
    let cuts = cuts.take(count).map(|(number, (after, what, outage))| Cut {
        after,
        not_before: start.after(step * number),
        what,
        outage,
    });
    cuts.collect()
}

/// A slow uplink.
const LINK_RATE: std::num::NonZeroU64 = std::num::NonZeroU64::new(256 << 10).unwrap();
/// The plan's cuts come once in so long.
const ROUND: Duration = Duration::from_secs(20);
/// Longer than any pause that is planned, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(100);
