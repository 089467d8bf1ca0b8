//! One world: a device with its disk and clock, a network, a server, and the
//! agent, which may end at any instant and is started again.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use edgespool::agent::setup::{LaneSetup, Naming, ServerSetup, Setup};
use edgespool::agent::{Agent, Outcome};
use edgespool::schedule::RetryOptions;
use edgespool::spool::{self, Spool};
use edgespool::sys::{Clock, Pool, Sys, Wall};
use edgespool::upload::{ServerOptions, TlsMode};
use edgespool::watch::{Take, WatchOptions};
use smol::LocalExecutor;

use super::disk::SimFs;
use super::net::{SERVER, SimNet};
use super::producer::{Book, Producer, WATCHED};
use super::server::{Manners, Server};
use super::time::{Dice, SimClock};

/// Where the queue is.
pub const SPOOL: &str = "/spool";
/// Polls of tasks in one life of the agent: more is going round in circles.
const STEPS_MAX: u64 = 4_000_000;

/// What can differ between two devices.
#[derive(Clone, Debug)]
pub struct Options {
    pub take: Take,
    pub connections: u8,
    pub newest_first: bool,
    pub lanes: usize,
    pub wall: Wall,
    pub max_size: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            take: Take::Move,
            connections: 1,
            newest_first: false,
            lanes: 1,
            wall: Wall::from_secs(1_790_000_000),
            max_size: 1 << 30,
        }
    }
}

/// How a life of the agent ended.
#[derive(Debug)]
pub enum End {
    /// By itself.
    Outcome(Outcome),
    /// It could not even begin.
    NotOpened(String),
    /// The power failed at an operation on the disk.
    PowerCut,
    /// Its time was over.
    Stopped,
    /// Nothing can happen any more, though it has not ended.
    Stuck,
}

pub struct World {
    pub clock: SimClock,
    pub dice: Dice,
    pub disk: SimFs,
    pub net: SimNet,
    pub server: Rc<Server>,
    pub book: Rc<RefCell<Book>>,
    pub options: Options,
    /// Runs all but the agent.
    others: Rc<LocalExecutor<'static>>,
}

impl World {
    pub fn new(seed: u64, options: Options, manners: Manners) -> World {
        let dice = Dice::new(seed);
        let clock = SimClock::new(options.wall);
        let disk = SimFs::new(dice.fork(), clock.clone());
        disk.raw().make_dirs(Path::new(WATCHED));
        let net = SimNet::new(dice.fork(), clock.clone());
        let others = Rc::new(LocalExecutor::new());
        let server = Server::start(&net, &clock, &dice, manners, &others);
        World {
            clock,
            disk,
            net,
            server,
            book: Rc::default(),
            options,
            others,
            dice,
        }
    }

    /// Lets something happen beside the agent.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.others.spawn(task).detach();
    }

    pub fn producer(&self, actions: u64, pause_max: Duration, careful: bool) -> Producer {
        Producer {
            disk: self.disk.clone(),
            clock: self.clock.clone(),
            dice: self.dice.fork(),
            book: self.book.clone(),
            actions,
            pause_max,
            careful,
        }
    }

    fn sys(&self) -> Sys {
        Sys {
            fs: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            rng: Arc::new(self.dice.fork()),
            net: Arc::new(self.net.clone()),
            pool: Pool::inline(),
        }
    }

    fn spool_options(&self) -> spool::Options {
        spool::Options {
            max_size: self.options.max_size,
            min_free: 0,
            ..spool::Options::default()
        }
    }

    fn setup(&self) -> Setup {
        let mut server = ServerOptions::new("central", SERVER, TlsMode::None);
        server.user = b"gw".to_vec();
        let servers = vec![ServerSetup {
            options: server,
            connections: self.options.connections,
            fallback: Vec::new(),
        }];
        let mut watch = WatchOptions::new("camera", WATCHED);
        watch.take = self.options.take;
        let lane = LaneSetup {
            watch,
            server: 0,
            namer: Rc::new(|naming: &Naming<'_>| Ok([b"/", naming.path].concat())),
            priority: 5,
            newest_first: self.options.newest_first,
            schedule: None,
            archive: None,
        };
        Setup {
            device: "gw".into(),
            spool_dir: SPOOL.into(),
            spool: self.spool_options(),
            servers,
            lanes: vec![lane],
            schedules: Vec::new(),
            retry: RetryOptions {
                first: Duration::from_secs(5),
                max: Duration::from_secs(900),
            },
            file_attempts: 10,
            memory: None,
        }
    }

    /// The spool, as a command would open it.
    pub fn open_spool(&self) -> Result<Spool, spool::SpoolError> {
        Spool::open(&self.sys(), Path::new(SPOOL), self.spool_options())
    }

    /// One life of the agent: `once`, for at most `span`.
    pub fn live(&self, patience: Duration, span: Duration) -> End {
        let tasks = Rc::new(LocalExecutor::new());
        let ended: Rc<RefCell<Option<End>>> = Rc::default();
        let life = {
            let (sys, setup) = (self.sys(), self.setup());
            let (ended, weak) = (ended.clone(), Rc::downgrade(&tasks));
            async move {
                let Some(tasks) = weak.upgrade() else { return };
                let opened = Agent::open(&sys, setup, &tasks).await;
                drop(tasks);
                let end = match opened {
                    Ok(agent) => End::Outcome(agent.once(patience).await),
                    Err(e) => End::NotOpened(format!("{e:?}")),
                };
                *ended.borrow_mut() = Some(end);
            }
        };
        tasks.spawn(life).detach();
        let until = self.clock.mono().after(span);
        let mut steps = 0;
        let end = loop {
            if self.disk.is_crashed() {
                break End::PowerCut;
            }
            if let Some(end) = ended.borrow_mut().take() {
                break end;
            }
            if self.clock.mono() >= until {
                break End::Stopped;
            }
            steps += 1;
            if steps > STEPS_MAX {
                break End::Stuck;
            }
            if tasks.try_tick() || self.others.try_tick() {
                continue;
            }
            if !self.clock.advance() {
                break End::Stuck;
            }
        };
        log::info!(
            "{:?}: life ends after {steps} steps: {end:?}",
            self.clock.mono().0
        );
        if matches!(end, End::PowerCut) {
            // Nobody is told that the device is gone.
            self.net.cut_all(true);
        }
        drop(tasks);
        match end {
            End::PowerCut => {
                self.disk.power_cut();
                self.book.borrow_mut().note_damage(&self.disk);
            }
            _ => self.disk.kill(),
        }
        end
    }

    /// Lets the world go on for a while without the agent.
    pub fn pass(&self, span: Duration) {
        let until = self.clock.mono().after(span);
        let clock = self.clock.clone();
        self.spawn(async move { clock.sleep(span).await });
        while self.clock.mono() < until {
            if !self.others.try_tick() && !self.clock.advance() {
                break;
            }
        }
    }
}
