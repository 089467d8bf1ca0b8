//! Time that moves only when nothing else can happen, and randomness from a seed.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use edgespool::sys::{Clock, LocalFuture, Mono, Rng, Wall};
use smol::LocalExecutor;

/// Where the monotonic clock of a simulated boot begins.
const BOOT: Duration = Duration::from_secs(10);
const SECOND_NS: i64 = 1_000_000_000;

struct Time {
    now: Duration,
    wall_ns: i64,
    timers: BTreeMap<(Duration, u64), Waker>,
    timers_set: u64,
}

/// Both clocks of one world.
#[derive(Clone)]
pub struct SimClock(Arc<Mutex<Time>>);

thread_local! {
    /// The newest clock of this thread, for the log.
    static SHOWN: RefCell<Option<SimClock>> = const { RefCell::new(None) };
}

/// What becomes of what is logged in this thread.
#[derive(Default)]
enum Sink {
    #[default]
    Nothing,
    Printed,
    /// The newest of it is kept.
    Kept(VecDeque<String>, usize),
}

thread_local! {
    static SINK: RefCell<Sink> = RefCell::default();
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        SINK.with_borrow(|sink| !matches!(sink, Sink::Nothing))
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = SHOWN.with_borrow(|clock| clock.as_ref().map(|clock| clock.mono().0));
        let now = now.unwrap_or_default().as_secs_f64();
        let (level, target, said) = (record.level(), record.target(), record.args());
        let line = format!("{now:10.3} {level:5} {target}: {said}");
        SINK.with_borrow_mut(|sink| match sink {
            Sink::Nothing => {}
            Sink::Printed => println!("{line}"),
            Sink::Kept(lines, most) => {
                if lines.len() >= *most {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        });
    }

    fn flush(&self) {}
}

fn listen(sink: Sink) {
    // Whoever was first made it the logger of all threads.
    let _first = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Debug);
    SINK.set(sink);
}

/// Prints all that is logged in this thread, with the simulated time.
pub fn print_log() {
    listen(Sink::Printed);
}

/// The newest events of what `work` logs.
pub fn with_last_events<T>(most: usize, work: impl FnOnce() -> T) -> (T, VecDeque<String>) {
    listen(Sink::Kept(VecDeque::new(), most));
    let done = work();
    match SINK.take() {
        Sink::Kept(lines, _) => (done, lines),
        _ => (done, VecDeque::new()),
    }
}

impl SimClock {
    /// A clock whose wall shows `wall`.
    pub fn new(wall: Wall) -> SimClock {
        let clock = SimClock(Arc::new(Mutex::new(Time {
            now: BOOT,
            wall_ns: wall.0,
            timers: BTreeMap::new(),
            timers_set: 0,
        })));
        SHOWN.set(Some(clock.clone()));
        clock
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap()
    }

    /// Moves on to the next timer and wakes whoever waits for it; `false` when
    /// nobody waits for anything.
    pub fn advance(&self) -> bool {
        self.advance_within(Duration::MAX)
    }

    /// The same, but to no timer behind `end`.
    fn advance_within(&self, end: Duration) -> bool {
        let mut woken = Vec::new();
        {
            let mut time = self.time();
            let first = time.timers.first_key_value();
            let Some(next) = first.map(|(key, _)| key.0).filter(|next| *next <= end) else {
                return false;
            };
            let span = next.saturating_sub(time.now);
            time.pass(span);
            while let Some(entry) = time.timers.first_entry() {
                if entry.key().0 > next {
                    break;
                }
                woken.push(entry.remove());
            }
        }
        woken.into_iter().for_each(Waker::wake);
        true
    }

    /// So much time goes by for whoever calls, and all that `beside` holds goes
    /// on meanwhile.
    pub fn linger(&self, span: Duration, beside: &LocalExecutor<'_>) {
        let end = self.mono().0 + span;
        while beside.try_tick() || self.advance_within(end) {}
        let mut time = self.time();
        let rest = end.saturating_sub(time.now);
        time.pass(rest);
    }

    /// The wall clock shows a second twice, or leaves one out.
    pub fn leap(&self, is_twice: bool) {
        self.time().wall_ns += if is_twice { -SECOND_NS } else { SECOND_NS };
    }

    /// Sets the wall clock, as NTP or a dead battery does.
    pub fn set_wall(&self, wall: Wall) {
        self.time().wall_ns = wall.0;
    }

    /// The device slept: both clocks jump, and timers are late.
    pub fn suspend(&self, span: Duration) {
        self.time().pass(span);
    }

    pub fn sleep(&self, span: Duration) -> Sleep {
        self.timer(self.mono().0 + span)
    }

    pub fn timer(&self, deadline: Duration) -> Sleep {
        Sleep {
            clock: self.clone(),
            deadline,
            timer: None,
        }
    }
}

impl Time {
    fn pass(&mut self, span: Duration) {
        self.now += span;
        self.wall_ns += i64::try_from(span.as_nanos()).unwrap();
    }
}

impl Clock for SimClock {
    fn mono(&self) -> Mono {
        Mono(self.time().now)
    }

    fn wall(&self) -> Wall {
        Wall(self.time().wall_ns)
    }

    fn sleep_until(&self, deadline: Mono) -> LocalFuture<'static, ()> {
        Box::pin(self.timer(deadline.0))
    }
}

/// A timer; dropped, it wakes nobody.
pub struct Sleep {
    clock: SimClock,
    deadline: Duration,
    timer: Option<(Duration, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut time = clock.time();
        if let Some(timer) = self.timer.take() {
            time.timers.remove(&timer);
        }
        if time.now >= self.deadline {
            return Poll::Ready(());
        }
        time.timers_set += 1;
        let timer = (self.deadline, time.timers_set);
        time.timers.insert(timer, context.waker().clone());
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.clock.time().timers.remove(&timer);
        }
    }
}

/// Dice of one world. Each part of the world has its own, so that one more
/// throw in one of them does not change all the others.
#[derive(Clone)]
pub struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// Other dice, thrown in no common order with these.
    pub fn fork(&self) -> Dice {
        Dice(Arc::new(Mutex::new(self.0.lock().unwrap().fork())))
    }

    pub fn below(&self, end: u64) -> u64 {
        self.0.lock().unwrap().u64(..end.max(1))
    }

    pub fn between(&self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    pub fn size(&self, end: usize) -> usize {
        self.0.lock().unwrap().usize(..end.max(1))
    }

    /// True once in so many throws; never for 0.
    pub fn one_in(&self, n: u64) -> bool {
        n > 0 && self.below(n) == 0
    }

    pub fn percent(&self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub fn pick<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.size(choices.len())]
    }
}

impl Rng for Dice {
    fn next_u64(&self) -> u64 {
        self.0.lock().unwrap().u64(..)
    }
}
