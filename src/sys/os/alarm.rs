//! One timer of the reactor for all short sleeps of the process.
//!
//! Most sleeps are time limits that never come: every reply and every buffer has
//! one. A timer of its own for each costs some six system calls, because the
//! reactor is woken to learn of it. Here the one timer is set when a sleep ends
//! earlier than all others, and left alone when a sleep is given up: it then goes
//! off once in vain.

use std::collections::BTreeMap;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use smol::Timer;

/// A sleep until an instant of the monotonic clock, which does not count suspended
/// time.
pub(super) fn sleep(span: Duration) -> impl Future<Output = ()> {
    Sleep {
        alarm: ALARM.clone(),
        end: Instant::now() + span,
        id: None,
    }
}

static ALARM: LazyLock<Arc<Alarm>> = LazyLock::new(Arc::default);

/// The timer, and who waits for it.
#[derive(Default)]
struct Alarm(Mutex<State>);

#[derive(Default)]
struct State {
    /// By the end of the sleep; the number tells those with the same end apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    /// When the timer goes off.
    set_to: Option<Instant>,
    timer: Option<Timer>,
}

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can be half done: no panic in a holder breaks it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the timer for the next end, unless it goes off before. Gives back who
    /// is to be woken now; not under the lock, for a waker may run anything.
    #[must_use]
    fn set(self: &Arc<Alarm>, state: &mut State) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some((&(end, _), _)) = state.sleepers.first_key_value() {
            if state.set_to.is_some_and(|set_to| set_to <= end) {
                break;
            }
            if self.goes_off_later(state, end) {
                state.set_to = Some(end);
            } else {
                state.set_to = None;
                due.extend(state.take_due(end));
            }
        }
        due
    }

    /// Sets the timer; false when that instant is over.
    fn goes_off_later(self: &Arc<Alarm>, state: &mut State, at: Instant) -> bool {
        let timer = state.timer.get_or_insert_with(Timer::never);
        timer.set_at(at);
        let waker = Waker::from(self.clone());
        let went_off = Pin::new(timer).poll(&mut Context::from_waker(&waker));
        went_off.is_pending()
    }
}

impl State {
    /// Takes out those whose sleep ends at `now` or before.
    fn take_due(&mut self, now: Instant) -> impl Iterator<Item = Waker> {
        let later = self.sleepers.split_off(&(now, u64::MAX));
        mem::replace(&mut self.sleepers, later).into_values()
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        state.set_to = None;
        let mut due: Vec<Waker> = state.take_due(Instant::now()).collect();
        due.extend(self.set(&mut state));
        drop(state);
        due.into_iter().for_each(Waker::wake);
    }
}

/// One sleep.
struct Sleep {
    alarm: Arc<Alarm>,
    end: Instant,
    /// Its number, while it is among the sleepers.
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.end <= Instant::now() {
            return Poll::Ready(());
        }
        let alarm = self.alarm.clone();
        let mut state = alarm.lock();
        let id = *self.id.get_or_insert_with(|| {
            state.next_id += 1;
            state.next_id
        });
        match state.sleepers.get_mut(&(self.end, id)) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                state
                    .sleepers
                    .insert((self.end, id), context.waker().clone());
            }
        }
        let due = alarm.set(&mut state);
        drop(state);
        due.into_iter().for_each(Waker::wake);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.alarm.lock().sleepers.remove(&(self.end, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smol::future::{or, poll_once, zip};

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(3600);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        smol::block_on(or(async { Some(future.await) }, async {
            Timer::after(Duration::from_secs(60)).await;
            None
        }))
        .expect("it ends in time")
    }

    #[test]
    fn no_sleep_ends_early() {
        let begun = Instant::now();
        block_on(sleep(SHORT));
        assert!(begun.elapsed() >= SHORT);
    }

    #[test]
    fn a_sleep_that_began_last_can_end_first() {
        block_on(async {
            let mut long = Box::pin(sleep(LONG));
            assert!(poll_once(&mut long).await.is_none());
            sleep(SHORT).await;
            sleep(SHORT).await;
            assert!(poll_once(&mut long).await.is_none());
        });
    }

    #[test]
    fn sleeps_go_on_when_the_first_one_is_given_up() {
        block_on(async {
            let mut first = Box::pin(sleep(SHORT));
            assert!(poll_once(&mut first).await.is_none());
            let mut second = Box::pin(sleep(SHORT * 3));
            assert!(poll_once(&mut second).await.is_none());
            drop(first);
            second.await;
        });
    }

    #[test]
    fn sleeps_with_one_end_all_end() {
        let end = Instant::now() + SHORT;
        let until_end = || Sleep {
            alarm: ALARM.clone(),
            end,
            id: None,
        };
        block_on(zip(until_end(), zip(until_end(), until_end())));
    }

    #[test]
    fn threads_share_the_timer() {
        let threads: Vec<_> = (1..8)
            .map(|n| std::thread::spawn(move || (0..20).for_each(|_| block_on(sleep(SHORT / n)))))
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn who_gave_up_is_forgotten() {
        let alarm = Arc::<Alarm>::default();
        let mut one = Box::pin(Sleep {
            alarm: alarm.clone(),
            end: Instant::now() + LONG,
            id: None,
        });
        assert!(block_on(poll_once(&mut one)).is_none());
        assert_eq!(alarm.lock().sleepers.len(), 1);
        drop(one);
        assert!(alarm.lock().sleepers.is_empty());
    }
}
