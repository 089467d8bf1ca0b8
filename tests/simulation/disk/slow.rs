//! Operations that take their time. The world beside the agent goes on
//! meanwhile: producers write, the server waits no longer, clocks are set.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use edgespool::sys::{Clock, Mono};
use smol::LocalExecutor;

use super::SimFs;
use crate::time::Dice;

/// How slow a disk is.
#[derive(Clone)]
pub struct Slowness {
    /// One in so many operations takes its time; 0: none.
    pub one_in: u64,
    /// From here on the disk is quick.
    pub until: Mono,
    pub dice: Dice,
}

/// How long an operation takes: worn flash that moves its blocks about, a
/// network disk that is away for a while.
const SPANS: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(30),
    Duration::from_millis(700),
    Duration::from_secs(5),
    Duration::from_secs(40),
];

thread_local! {
    /// What goes on beside the agent in this thread's world.
    static BESIDE: RefCell<Weak<LocalExecutor<'static>>> = RefCell::default();
}

/// From now on this is what goes on beside the agent.
pub fn goes_on_beside(others: &Rc<LocalExecutor<'static>>) {
    BESIDE.set(Rc::downgrade(others));
}

impl SimFs {
    pub fn set_slowness(&self, slowness: Slowness) {
        self.state().slowness = Some(slowness);
    }

    /// Whether it ever was slow.
    pub fn is_slow(&self) -> bool {
        self.state().slowness.is_some()
    }

    /// What each operation of the agent begins with.
    pub(super) fn linger(&self) {
        let Some(span) = self.slow_by() else { return };
        let Some(beside) = BESIDE.with_borrow(Weak::upgrade) else {
            return;
        };
        log::debug!("a slow operation: {span:?}");
        let clock = self.state().clock.clone();
        clock.linger(span, &beside);
    }

    fn slow_by(&self) -> Option<Duration> {
        let state = self.state();
        let slowness = state.slowness.as_ref().filter(|_| !state.crashed)?;
        let is_slow = state.clock.mono() < slowness.until && slowness.dice.one_in(slowness.one_in);
        is_slow.then(|| slowness.dice.pick(&SPANS))
    }
}
