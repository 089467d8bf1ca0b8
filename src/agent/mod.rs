//! The agent: joins the watching, the spool and the uploading, and obeys what
//! [`crate::supervisor`] decides.
//!
//! [`Agent::open`] opens the spool; [`Agent::run`] is the service, until it is
//! told to stop, [`Agent::once`] one round. Everything is one thread's async
//! code: an intake for each watch (`intake.rs`), a task for each session
//! (`session.rs`), one for settling (`settling.rs`), one for what is kept
//! afterwards (`archiving.rs`), the receiver (`receiving.rs`), and the loop that
//! asks the supervisor what to do next (`engine.rs`).

mod answers;
mod archiving;
mod budgets;
mod delivery;
mod engine;
mod intake;
mod lately;
mod memory;
mod outcome;
mod pulse;
#[cfg(feature = "receive")]
mod receiving;
#[cfg(not(feature = "receive"))]
#[path = "receiving_absent.rs"]
mod receiving;
mod session;
mod settling;
pub mod setup;
mod signal;
mod spooler;
mod trouble;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::Duration;

use jiff::tz::TimeZone;
use smol::LocalExecutor;

use crate::base::ByteSize;
use crate::schedule::{Bucket, Moment, Schedule, Trust};
use crate::spool::{EntryId, Spool, SpoolError};
use crate::supervisor::{
    Event, LaneId, LaneRules, Order, Rules, SCHEDULE_NONE, ServerId, ServerRules, SessionId, State,
};
use crate::sys::{Mono, Sys, Wall};
use crate::upload::{Profile, Server};
use crate::watch::Said;

use archiving::Archiving;
use delivery::Tries;
use lately::Lately;
pub use memory::Memory;
pub use outcome::Outcome;
use pulse::Pulse;
use receiving::Receiving;
use session::Transfer;
use settling::Settling;
use setup::Setup;
use signal::{Signal, Stopped};
use spooler::Spooler;

/// One agent on one spool.
pub struct Agent {
    sys: Sys,
    setup: Setup,
    spool: Spooler,
    state: RefCell<State>,
    servers: Vec<ServerSlot>,
    buckets: Vec<RefCell<Option<Bucket>>>,
    tz: TimeZone,
    floor: Cell<Option<Wall>>,
    /// Entries that are being uploaded or settled: nobody else may take them.
    in_hand: RefCell<BTreeMap<EntryId, InHand>>,
    /// Names on the servers that got a file lately.
    lately: RefCell<Lately>,
    /// Entries up to here may have been tried before this agent started.
    inherited: BTreeMap<String, EntryId>,
    /// So may those up to here, by the number of their lane: what they cost was
    /// forgotten.
    forgotten: RefCell<BTreeMap<u64, EntryId>>,
    transfers: RefCell<BTreeMap<SessionId, Transfer>>,
    settling: Settling,
    archiving: Archiving,
    receiving: Receiving,
    /// Files and bytes since the start.
    delivered: Cell<(u64, u64)>,
    /// What was spent on entries that failed and wait again.
    tries: RefCell<BTreeMap<EntryId, Tries>>,
    outcome: RefCell<Outcome>,
    /// When something last went well; `once` is patient from there on.
    progress: Cell<Mono>,
    /// Since when servers had no room; bytes on the way are no progress then.
    full_since: Cell<Option<Mono>>,
    started: Mono,
    signal: Signal,
    stopping: Cell<bool>,
    draining: Cell<bool>,
    stopped: Stopped,
    pulse: Pulse,
    /// Watches whose directory nobody has looked for yet.
    unwatched: Cell<usize>,
    /// Closed when there are none of these any more.
    watching: Stopped,
    /// Lanes whose files the spool has no room for, as was said.
    without_room: RefCell<BTreeSet<LaneId>>,
    /// What was said of files that could not be taken.
    said: RefCell<Said>,
    /// Directories that a round has not looked through yet.
    scans_left: Cell<usize>,
    /// Whether a round has looked through all directories.
    scanned: Cell<bool>,
    /// Weak, because the tasks hold the agent.
    tasks: Weak<LocalExecutor<'static>>,
}

/// An entry that somebody has.
#[derive(Clone)]
struct InHand {
    session: SessionId,
    lane: LaneId,
    path: Vec<u8>,
}

/// A server, and what is known of it.
struct ServerSlot {
    /// What was learned before this start.
    profile: Profile,
    ready: RefCell<Option<Rc<Server>>>,
    last_error: RefCell<Option<String>>,
    /// When it is tried again, as was said last; `None` while it works.
    said: Cell<Option<Mono>>,
}

/// A session without work is closed after so long: well before servers do it
/// (a minute on the strictest that is common), and with it the NAT's entry.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl Agent {
    /// Opens the spool and gets ready. `tasks` is the executor that the agent's
    /// tasks run on; drop it to let the spool go.
    ///
    /// # Errors
    /// What the spool says: locked by another agent, written by a newer
    /// program, or a disk that fails.
    pub async fn open(
        sys: &Sys,
        setup: Setup,
        tasks: &Rc<LocalExecutor<'static>>,
    ) -> Result<Rc<Agent>, SpoolError> {
        let opening = {
            let (sys, dir, options) = (sys.clone(), setup.spool_dir.clone(), setup.spool);
            move || Spool::open(&sys, &dir, options)
        };
        let mut spool = sys.pool.run(opening).await?;
        for finding in spool.findings() {
            log::warn!("spool: {finding}");
        }
        archiving::set_archives(&mut spool, &setup)?;
        let agent = Rc::new(Agent::with_spool(sys, setup, spool, Rc::downgrade(tasks))?);
        if let Some(memory) = &agent.setup.memory {
            agent.recall(memory);
        }
        Ok(agent)
    }

    /// An agent that goes on with what is in the spool.
    fn with_spool(
        sys: &Sys,
        setup: Setup,
        mut spool: Spool,
        tasks: Weak<LocalExecutor<'static>>,
    ) -> Result<Agent, SpoolError> {
        let now = sys.clock.mono();
        let started = setup.memory.as_ref().map_or(now, Memory::started);
        let mut state = State::new(rules(&setup, &spool), started);
        let inherited = inherit(&mut spool, &setup)?;
        let servers = server_slots(&setup, &spool);
        let tz = TimeZone::system();
        let floor = spool.clock_floor();
        let lately = Lately::recall(&spool, now)?;
        let moment = Moment {
            mono: now,
            wall: sys.clock.wall(),
            trust: Trust::judge(sys.clock.wall(), floor),
            tz: &tz,
        };
        load_lanes(&mut state, &spool, &setup, &moment, sys.rng.next_u64());
        let buckets = setup
            .schedules
            .iter()
            .map(|schedule| RefCell::new(schedule.rate.map(|rate| Bucket::new(rate, now))));
        Ok(Agent {
            sys: sys.clone(),
            buckets: buckets.collect(),
            setup,
            spool: Spooler::new(spool, sys.pool.clone()),
            state: RefCell::new(state),
            servers,
            tz,
            floor: Cell::new(floor),
            in_hand: RefCell::default(),
            lately: RefCell::new(lately),
            inherited,
            forgotten: RefCell::default(),
            transfers: RefCell::default(),
            settling: Settling::new(),
            archiving: Archiving::new(),
            receiving: Receiving::new(),
            delivered: Cell::default(),
            tries: RefCell::default(),
            scanned: Cell::new(false),
            scans_left: Cell::default(),
            stopped: Stopped::new(),
            pulse: Pulse::new(),
            unwatched: Cell::default(),
            watching: Stopped::new(),
            without_room: RefCell::default(),
            said: RefCell::default(),
            outcome: RefCell::default(),
            progress: Cell::new(now),
            full_since: Cell::new(None),
            started,
            signal: Signal::new(),
            stopping: Cell::new(false),
            draining: Cell::new(false),
            tasks,
        })
    }

    /// Ends when this agent is gone and its spool can be opened by the next one.
    pub fn spool_released(&self) -> impl Future<Output = ()> + use<> {
        self.spool.released()
    }

    /// The server of that name, if there is one.
    fn server_named(&self, name: &str) -> Option<&ServerSlot> {
        let named = |setup: &setup::ServerSetup| setup.options.name == name;
        self.servers.get(self.setup.servers.iter().position(named)?)
    }

    /// This instant, on both clocks.
    fn moment(&self) -> Moment<'_> {
        let wall = self.sys.clock.wall();
        Moment {
            mono: self.sys.clock.mono(),
            wall,
            trust: Trust::judge(wall, self.floor.get()),
            tz: &self.tz,
        }
    }

    /// Runs a task beside the others, until the executor is dropped.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.spawn(task).detach();
        }
    }

    /// Tells the supervisor what happened, and wakes the loop.
    fn tell(&self, event: Event) {
        let random = self.sys.rng.next_u64();
        self.state
            .borrow_mut()
            .handle(event, &self.moment(), random);
        self.signal.wake();
    }

    /// Something went well.
    fn progressed(&self) {
        self.progress.set(self.sys.clock.mono());
    }

    fn lane(&self, lane: LaneId) -> Option<&setup::LaneSetup> {
        self.setup.lanes.get(lane.0)
    }

    fn lane_id(&self, name: &str) -> Option<LaneId> {
        let at = self
            .setup
            .lanes
            .iter()
            .position(|lane| lane.watch.name == name);
        at.map(LaneId)
    }

    /// One line on what runs and what waits.
    pub async fn say_hello(&self) {
        let waiting = self.spool.with(|spool| spool.stats().waiting).await;
        let queued = match waiting.files {
            0 => "nothing is queued".to_owned(),
            1 => format!("1 file ({}) is queued", ByteSize(waiting.bytes)),
            n => format!("{n} files ({}) are queued", ByteSize(waiting.bytes)),
        };
        let version = env!("CARGO_PKG_VERSION");
        log::info!(
            "edgespool {version} runs on {}; {queued}",
            self.setup.device
        );
    }

    /// Tells the agent to stop soon: what is under way is finished or parked.
    pub fn stop(&self) {
        self.draining.set(false);
        self.stopping.set(true);
        self.stopped.close();
        self.tell(Event::Stopping);
    }

    /// Tells the agent to begin nothing new and to end when what is under way
    /// is finished, however long that takes.
    pub fn drain(&self) {
        if !self.stopping.replace(true) {
            self.draining.set(true);
            self.tell(Event::Stopping);
        }
    }
}

fn server_slots(setup: &Setup, spool: &Spool) -> Vec<ServerSlot> {
    let slots = setup.servers.iter().map(|server| ServerSlot {
        profile: spool
            .profile(&server.options.name)
            .map_or_else(Profile::default, |bytes| Profile::decode(&bytes)),
        ready: RefCell::new(None),
        last_error: RefCell::new(None),
        said: Cell::new(None),
    });
    slots.collect()
}

fn rules(setup: &Setup, spool: &Spool) -> Rules {
    let lanes = setup.lanes.iter().map(|lane| LaneRules {
        priority: lane.priority,
        weight: 1,
        server: ServerId(lane.server),
        order: if lane.newest_first {
            Order::Newest
        } else {
            Order::Oldest
        },
        schedule: lane.schedule.unwrap_or(SCHEDULE_NONE),
        dead_needs_proof: true,
    });
    let servers = setup.servers.iter().map(|server| ServerRules {
        connections: server.connections,
        fallback: server.fallback.iter().copied().map(ServerId).collect(),
    });
    let schedules = setup.schedules.iter().map(|options| {
        (
            Schedule::new(options.clone(), &setup.device),
            budgets::spent_before(spool, &options.name),
        )
    });
    Rules {
        lanes: lanes.collect(),
        servers: servers.collect(),
        schedules: schedules.collect(),
        retry: setup.retry,
        file_attempts: setup.file_attempts,
        idle_timeout: IDLE_TIMEOUT,
    }
}

/// The newest entry of each lane: whatever stands there now may have been on
/// its way when an earlier agent ended.
fn inherit(spool: &mut Spool, setup: &Setup) -> Result<BTreeMap<String, EntryId>, SpoolError> {
    let mut inherited = BTreeMap::new();
    for lane in &setup.lanes {
        let name = &lane.watch.name;
        let newest = spool.window(name, crate::spool::Order::Newest, 1, &|_| false)?;
        if let Some(entry) = newest.first() {
            inherited.insert(name.clone(), entry.id);
        }
    }
    Ok(inherited)
}

fn load_lanes(state: &mut State, spool: &Spool, setup: &Setup, now: &Moment<'_>, random: u64) {
    for stats in spool.stats().lanes {
        let Some(lane) = setup.lanes.iter().position(|l| l.watch.name == stats.name) else {
            if stats.waiting.files > 0 {
                log::warn!(
                    "watch {:?} is not in the config any more, and {} of its files wait in the \
                     spool (put the watch back, or see `queue export`)",
                    stats.name,
                    stats.waiting.files
                );
            }
            continue;
        };
        let lane = LaneId(lane);
        if stats.waiting.files > 0 {
            let count = stats.waiting.files;
            state.handle(Event::EntriesQueued { lane, count }, now, random);
        }
        if stats.paused {
            state.handle(Event::Paused(lane), now, random);
        }
    }
}
