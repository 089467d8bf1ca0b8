//! Whether the agent lives: a look that only a working agent lets end.
//!
//! A service manager's watchdog must not be fed by a timer of its own, which ticks
//! on while everything else hangs. [`Agent::pulse`] ends when the engine's and the
//! settling's loop have each gone round, the disk has answered, and no transfer
//! stands still. That it runs at all shows that the executor does.

use std::cell::Cell;
use std::time::Duration;

use super::Agent;
use super::session::Transfer;
use super::signal::Signal;
use crate::supervisor::LaneId;

/// What the loops leave behind for the next look.
pub(super) struct Pulse {
    /// The loop of `engine.rs`.
    pub(super) engine: Round,
    /// The loop of `settling.rs`.
    pub(super) settling: Round,
    /// Writes of the disk at the last look.
    writes: Cell<u64>,
}

impl Pulse {
    pub(super) fn new() -> Pulse {
        Pulse {
            engine: Round::new(),
            settling: Round::new(),
            writes: Cell::default(),
        }
    }
}

/// Counts how often a loop goes round.
pub(super) struct Round {
    turns: Cell<u64>,
    turned: Signal,
}

impl Round {
    fn new() -> Round {
        Round {
            turns: Cell::default(),
            turned: Signal::new(),
        }
    }

    /// The loop begins another turn.
    pub(super) fn turn(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
        self.turned.wake();
    }

    /// Ends when the loop that waits for `wake` has begun another turn.
    async fn next(&self, wake: &Signal) {
        let seen = self.turns.get();
        wake.wake();
        while self.turns.get() == seen {
            self.turned.wait().await;
        }
    }
}

/// A transfer that neither moves nor ends over so many looks stands still for good:
/// every wait of a session has a limit of its own, and none is so long. Looks are
/// counted, not hours, because a device that slept is not to blame.
const QUIET_LOOKS_MAX: u32 = 60;
/// A server that hashes a big file is silent for longer: one look for so much.
const BYTES_PER_QUIET_LOOK: u64 = 256 << 20;
/// How often to look whether a copy gets on, while it is waited for.
const COPY_LOOK: Duration = Duration::from_secs(10);

impl Agent {
    /// Ends when everything that must move has moved since it was asked. What
    /// hangs keeps it from ending, so the caller decides how long to wait. Ask at
    /// intervals of a minute or so, and no two at once.
    pub async fn pulse(&self) {
        self.disk_answers().await;
        self.pulse.engine.next(&self.signal).await;
        let settling = self.pulse.settling.next(self.settling.signal());
        self.or_copying(settling).await;
        if let Some(path) = self.count_quiet() {
            log::error!("the transfer of {path} stands still, and does not end by itself");
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the spool answers on the pool. While the disk writes, it is not
    /// asked: behind a long copy the question would keep a thread from the uploads.
    async fn disk_answers(&self) {
        let writes = self.sys.fs.writes();
        if self.pulse.writes.replace(writes) == writes {
            self.or_copying(self.spool.with(|_| ())).await;
        }
    }

    /// Ends when `answer` does, or when a copy that it waits behind gets on.
    async fn or_copying(&self, answer: impl Future<Output = ()>) {
        let before = self.sys.fs.writes();
        let copying = async {
            while self.sys.fs.writes() == before {
                let later = self.sys.clock.mono().after(COPY_LOOK);
                self.sys.clock.sleep_until(later).await;
            }
        };
        smol::future::or(answer, copying).await;
    }

    /// Counts this look for every transfer, and names one that stands still.
    fn count_quiet(&self) -> Option<String> {
        let mut transfers = self.transfers.borrow_mut();
        let stuck = transfers.values_mut().filter_map(Transfer::look);
        stuck.last()
    }

    /// One line for a service manager's display. It waits for nothing.
    pub fn in_brief(&self) -> String {
        let (state, now) = (self.state.borrow(), self.sys.clock.mono());
        let lanes = (0..self.setup.lanes.len()).filter_map(|lane| state.lane(LaneId(lane), now));
        let queued: u64 = lanes
            .map(|lane| lane.waiting + u64::from(lane.in_flight))
            .sum();
        let delivered = self.delivered.get().0;
        let dead = match self.outcome.borrow().dead {
            0 => String::new(),
            dead => format!(", {dead} refused for good"),
        };
        format!("{queued} queued, {delivered} delivered since the start{dead}")
    }

    /// Ends when every watched directory is watched, or turned out not to be there.
    pub async fn watching(&self) {
        self.watching.wait_closed().await;
    }

    /// One watch more is looked after.
    pub(super) fn watch_begun(&self) {
        let left = self.unwatched.get().saturating_sub(1);
        self.unwatched.set(left);
        if left == 0 {
            self.watching.close();
        }
    }
}

impl Transfer {
    /// Counts a look at which nothing had moved; names the file that stands still.
    fn look(&mut self) -> Option<String> {
        let sending = self.sending.as_ref()?;
        self.quiet_looks = self.quiet_looks.saturating_add(1);
        let more = sending.size / BYTES_PER_QUIET_LOOK;
        let most = u64::from(QUIET_LOOKS_MAX).saturating_add(more);
        (u64::from(self.quiet_looks) > most).then(|| sending.path.escape_ascii().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::session::Sending;
    use crate::supervisor::ServerId;

    fn quiet_until(size: u64) -> Option<u32> {
        let sending = Sending {
            watch: "w".into(),
            path: b"f".to_vec(),
            size,
            sent: 0,
        };
        let mut transfer = Transfer {
            server: ServerId(0),
            sending: Some(sending),
            quiet_looks: 0,
            cut: None,
        };
        (1..1000).find(|_| transfer.look().is_some())
    }

    #[test]
    fn a_transfer_stands_still_after_so_many_looks_and_a_big_one_after_more() {
        assert_eq!(quiet_until(1), Some(QUIET_LOOKS_MAX + 1));
        assert_eq!(quiet_until(5 << 30), Some(QUIET_LOOKS_MAX + 21));
    }

    #[test]
    fn a_session_without_a_file_is_no_transfer_that_stands_still() {
        let mut idle = Transfer {
            server: ServerId(0),
            sending: None,
            quiet_looks: QUIET_LOOKS_MAX,
            cut: None,
        };
        assert_eq!(idle.look(), None);
    }
}
