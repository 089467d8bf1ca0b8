//! One world: a device with its disk and clock, a network, a server, and the
//! agent, which may end at any instant and is started again.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use edgespool::agent::Memory;
use edgespool::agent::setup::{LaneSetup, Naming, ServerSetup, Setup};
use edgespool::agent::{Agent, Outcome};
use edgespool::schedule::RetryOptions;
use edgespool::spool::{self, LedgerLimits, Spool};
use edgespool::sys::{Clock, Job, Pool, Sys};
use edgespool::upload::{ServerOptions, TlsMode};
use edgespool::watch::WatchOptions;
use smol::LocalExecutor;
use smol::channel::Receiver;

use super::disk::{self, SimFs};
use super::hints::Kernel;
use super::net::{SERVER, SimNet};
use super::options::Options;
use super::producer::{Book, Producer, WATCHED};
use super::server::{Manners, Server};
use super::time::{Dice, SimClock};

/// Where the queue is.
pub const SPOOL: &str = "/spool";
/// Polls of tasks in one life of the agent: more is going round in circles.
const STEPS_MAX: u64 = 4_000_000;
/// Threads for the disk, as the program has them.
const DISK_THREADS: usize = 2;

/// A life that came to its end.
pub struct Life {
    pub outcome: Outcome,
    /// For the agent that goes on after a reload.
    memory: Memory,
}

/// How a life of the agent ended.
pub enum End {
    /// By itself.
    Outcome(Box<Life>),
    /// It could not even begin.
    NotOpened(String),
    /// The power failed at an operation on the disk.
    PowerCut,
    /// Its time was over.
    Stopped,
    /// Nothing can happen any more, though it has not ended.
    Stuck,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Outcome(life) => write!(f, "{:?}", life.outcome),
            End::NotOpened(why) => write!(f, "not opened: {why}"),
            End::PowerCut => f.write_str("power cut"),
            End::Stopped => f.write_str("killed"),
            End::Stuck => f.write_str("stuck"),
        }
    }
}

/// What an agent is started for.
#[derive(Clone, Copy, Debug)]
pub enum Plan {
    /// One round, with so much patience.
    Once(Duration),
    /// The service, told to stop after a while; with `reload`, told to end what
    /// is under way, and followed by another.
    Run { stop: Duration, reload: bool },
}

async fn one_agent(sys: Sys, setup: Setup, clock: &SimClock, plan: Plan) -> End {
    // Ends with the agent, as in the program.
    let own = Rc::new(LocalExecutor::new());
    let opened = Agent::open(&sys, setup, &own).await;
    let agent = match opened {
        Ok(agent) => agent,
        Err(e) => return End::NotOpened(format!("{e:?}")),
    };
    let work = async {
        match plan {
            Plan::Once(patience) => agent.once(patience).await,
            Plan::Run { stop, reload } => {
                let telling = async {
                    clock.sleep(stop).await;
                    if reload {
                        agent.drain();
                    } else {
                        agent.stop();
                    }
                    std::future::pending().await
                };
                smol::future::or(agent.run(None), telling).await
            }
        }
    };
    let outcome = own.run(work).await;
    let memory = agent.memory();
    End::Outcome(Box::new(Life { outcome, memory }))
}

/// Does one job after the other, and takes its time before some.
async fn busy_thread(jobs: Receiver<Job>, clock: SimClock, dice: Dice) {
    while let Ok(job) = jobs.recv().await {
        if dice.one_in(3) {
            let waits = Duration::from_millis(dice.pick(&[1, 50, 3000]));
            clock.sleep(waits).await;
        }
        job();
    }
}

pub struct World {
    pub clock: SimClock,
    pub dice: Dice,
    pub disk: SimFs,
    pub net: SimNet,
    pub server: Rc<Server>,
    pub kernel: Kernel,
    pub book: Rc<RefCell<Book>>,
    pub options: Options,
    /// Work on the disk waits for a thread that has time for it; else it is done
    /// at once.
    pub busy_threads: Option<Dice>,
    /// Runs all but the agent.
    others: Rc<LocalExecutor<'static>>,
}

impl World {
    pub fn new(seed: u64, options: Options, manners: Manners) -> World {
        let dice = Dice::new(seed);
        let clock = SimClock::new(options.wall);
        let disk = SimFs::new(dice.fork(), clock.clone());
        for lane in options.lanes {
            disk.raw().make_dirs(&Path::new(WATCHED).join(lane));
        }
        if options.mounted {
            disk.mount(Path::new(WATCHED));
        }
        let net = SimNet::new(dice.fork(), clock.clone());
        let others = Rc::new(LocalExecutor::new());
        disk::goes_on_beside(&others);
        let server = Server::start(&net, &clock, &dice, manners, &others);
        World {
            clock,
            disk,
            net,
            server,
            kernel: Kernel::new(dice.fork()),
            book: Rc::default(),
            options,
            busy_threads: None,
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
            kernel: self.kernel.clone(),
            lanes: self.options.lanes,
            book: self.book.clone(),
            actions,
            pause_max,
            careful,
            len_max: usize::try_from(self.options.max_size / 2).unwrap(),
            dawdles: None,
        }
    }

    fn sys(&self, pool: Pool) -> Sys {
        Sys {
            fs: Arc::new(self.disk.clone()),
            clock: Arc::new(self.clock.clone()),
            rng: Arc::new(self.dice.fork()),
            net: Arc::new(self.net.clone()),
            pool,
        }
    }

    fn spool_options(&self) -> spool::Options {
        spool::Options {
            max_size: self.options.max_size,
            when_full: self.options.when_full,
            min_free: 0,
            ledger: LedgerLimits {
                // The judge wants them all, also when the clock jumps by years.
                max_age_s: u64::MAX,
                ..LedgerLimits::default()
            },
        }
    }

    fn setup(&self, memory: Option<Memory>) -> Setup {
        let mut server = ServerOptions::new("central", SERVER, TlsMode::None);
        server.user = b"gw".to_vec();
        server.publish = self.options.publish;
        server.if_exists = self.options.if_exists;
        let servers = vec![ServerSetup {
            options: server,
            connections: self.options.connections,
            fallback: Vec::new(),
        }];
        let lanes = self.options.lanes.iter().enumerate();
        Setup {
            device: "gw".into(),
            spool_dir: SPOOL.into(),
            spool: self.spool_options(),
            servers,
            lanes: lanes.map(|(at, name)| self.lane(at, name)).collect(),
            schedules: self.options.schedule.iter().cloned().collect(),
            retry: RetryOptions {
                first: Duration::from_secs(5),
                max: Duration::from_secs(900),
            },
            file_attempts: 10,
            receive: None,
            memory,
            hints: Rc::new(self.kernel.clone()),
        }
    }

    fn lane(&self, at: usize, name: &'static str) -> LaneSetup {
        let mut watch = WatchOptions::new(name, Path::new(WATCHED).join(name));
        watch.take = self.options.take;
        LaneSetup {
            watch,
            watched: true,
            server: 0,
            namer: Rc::new(move |naming: &Naming<'_>| {
                Ok([b"/", name.as_bytes(), b"/", naming.path].concat())
            }),
            priority: if at == 0 { 5 } else { 7 },
            newest_first: self.options.newest_first,
            schedule: self.options.schedule.as_ref().map(|_| 0),
            archive: None,
        }
    }

    /// The spool, as a command would open it.
    pub fn open_spool(&self) -> Result<Spool, spool::SpoolError> {
        Spool::open(
            &self.sys(Pool::inline()),
            Path::new(SPOOL),
            self.spool_options(),
        )
    }

    /// Where the work on the disk of one life is done.
    fn pool(&self, tasks: &LocalExecutor<'_>) -> Pool {
        let Some(dice) = &self.busy_threads else {
            return Pool::inline();
        };
        let (pool, jobs) = Pool::queue(4 * DISK_THREADS);
        for _ in 0..DISK_THREADS {
            let thread = busy_thread(jobs.clone(), self.clock.clone(), dice.clone());
            tasks.spawn(thread).detach();
        }
        pool
    }

    /// One life of the agent, for at most `span`.
    pub fn live(&self, plan: Plan, span: Duration) -> End {
        let tasks = LocalExecutor::new();
        let pool = self.pool(&tasks);
        let ended: Rc<RefCell<Option<End>>> = Rc::default();
        let life = {
            let setup = |memory| (self.sys(pool.clone()), self.setup(memory));
            let (first, second) = (setup(None), setup(None));
            let ended = ended.clone();
            let clock = self.clock.clone();
            async move {
                let mut end = one_agent(first.0, first.1, &clock, plan).await;
                if let (End::Outcome(life), Plan::Run { reload: true, .. }) = (&end, plan)
                    && life.outcome.spool_failed.is_none()
                {
                    // As `run` does after SIGHUP.
                    let setup = Setup {
                        memory: Some(life.memory.clone()),
                        ..second.1
                    };
                    end = one_agent(second.0, setup, &clock, plan).await;
                }
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
            "{:?}: life ends after {steps} steps: {end}",
            self.clock.mono().0
        );
        if matches!(end, End::PowerCut) {
            // Nobody is told that the device is gone.
            self.net.cut_all(true);
        }
        drop(tasks);
        match end {
            End::PowerCut => {
                self.disk.come_back();
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
