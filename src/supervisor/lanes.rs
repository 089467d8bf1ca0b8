//! Lanes: what each has queued, and whether it may send.

use super::events::{LaneId, Pick, ServerId};
use super::health::LaneHealth;
use crate::schedule::{Decision, Gate, Moment, RetryOptions, Schedule, Waiting};
use crate::sys::Mono;

/// Which entry of a lane goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of intake.
    #[default]
    Oldest,
    /// The latest first; every fourth is the oldest, so that a backlog ends.
    Newest,
}

/// What the configuration says about a lane.
#[derive(Clone, Debug)]
pub struct LaneRules {
    /// 0 last to 9 first.
    pub priority: u8,
    /// Its share among lanes of one priority, at least 1.
    pub weight: u32,
    /// Where it sends.
    pub server: ServerId,
    /// Which entry goes first.
    pub order: Order,
    /// The index of its schedule, or [`SCHEDULE_NONE`](super::SCHEDULE_NONE).
    pub schedule: usize,
    /// Whether a refused entry becomes a dead letter only once the lane has
    /// delivered another one. `false` for files sent by hand.
    pub dead_needs_proof: bool,
}

/// What a lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneWaits {
    /// Nothing: it is empty, or its turn comes.
    Nothing,
    /// The user.
    Paused,
    /// Its schedule.
    Schedule(Waiting),
    /// Its rest, because the server refuses whatever it sends.
    Refused,
    /// The rest of those of its entries that were refused; it has no others.
    Held,
}

/// A lane as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Entries that are queued and not in a session's hands.
    pub waiting: u64,
    /// Entries in a session's hands.
    pub in_flight: u32,
    /// What it waits for.
    pub waits: LaneWaits,
    /// When it tries again, where that is known.
    pub next_try: Option<Mono>,
}

#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) rules: LaneRules,
    pub(super) waiting: u64,
    pub(super) in_flight: u32,
    pub(super) paused: bool,
    pub(super) health: LaneHealth,
    /// Grows with each entry sent, the slower the greater the weight; the lane
    /// with the least goes next.
    pub(super) pass: u64,
    /// Every entry on hand is held back until then.
    pub(super) all_held_until: Option<Mono>,
    /// The user wants it sent whatever the schedule says, until it is empty.
    flushed: bool,
    gate: Gate,
    decision: Decision,
    decide_again: Option<Mono>,
    budget: Decision,
    picks: u8,
}

/// How much [`Lane::pass`] grows for one entry at weight 1.
const STRIDE: u64 = 1 << 20;
const BACKLOG_SHARE: u8 = 4;

impl Lane {
    pub(super) fn new(id: LaneId, rules: LaneRules, retry: RetryOptions, started: Mono) -> Lane {
        Lane {
            id,
            rules,
            waiting: 0,
            in_flight: 0,
            paused: false,
            health: LaneHealth::new(retry),
            pass: 0,
            all_held_until: None,
            flushed: false,
            gate: Gate::new(started),
            decision: Decision::Open { until: None },
            decide_again: Some(started),
            budget: Decision::Open { until: None },
            picks: 0,
        }
    }

    /// `count` more entries are queued.
    pub(super) fn fill(&mut self, count: u64, schedule: &Schedule, now: &Moment<'_>) {
        self.waiting = self.waiting.saturating_add(count);
        self.gate.fill(schedule, now);
        self.decide_again = Some(now.mono);
        self.all_held_until = None;
    }

    /// Ends the turn if nothing is left.
    pub(super) fn drain_if_empty(&mut self) {
        if self.waiting == 0 && self.in_flight == 0 {
            self.gate.drain();
            self.all_held_until = None;
            self.flushed = false;
        }
    }

    /// Sends everything that waits, whatever the schedule and the refusals say.
    pub(super) fn flush(&mut self) {
        self.health.flush();
        self.all_held_until = None;
        self.flushed = self.waiting > 0;
    }

    /// Goes on with what is known of the lane's health.
    pub(super) fn recall(&mut self, health: LaneHealth) {
        self.health = health;
    }

    /// Brings the schedule's decision up to date. `budget` is what the day's budget
    /// says.
    pub(super) fn decide(&mut self, schedule: &Schedule, budget: Decision, now: &Moment<'_>) {
        self.budget = budget;
        let due = self.decide_again.is_some_and(|at| at <= now.mono);
        if self.waiting > 0 && due {
            self.decision = self.gate.decide(schedule, now);
            self.decide_again = self.decision.look_again(now.mono);
        }
    }

    /// Whether it has an entry to send now, as far as the lane goes.
    pub(super) fn is_ready(&self, now: Mono) -> bool {
        self.waiting > 0
            && !self.paused
            && (self.flushed || self.decision.is_open() && self.budget.is_open())
            && self.health.allows(self.in_flight, now)
            && self.all_held_until.is_none_or(|until| until <= now)
    }

    /// The lane with the least of these goes next.
    pub(super) fn turn(&self) -> (std::cmp::Reverse<u8>, u64, LaneId) {
        (std::cmp::Reverse(self.rules.priority), self.pass, self.id)
    }

    /// Hands one entry out.
    pub(super) fn hand_out(&mut self) -> Pick {
        self.waiting = self.waiting.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_add(1);
        self.pass = self
            .pass
            .saturating_add(STRIDE / u64::from(self.rules.weight.max(1)));
        self.picks = self.picks.wrapping_add(1) % BACKLOG_SHARE;
        match self.rules.order {
            Order::Newest if self.picks != 0 => Pick::Newest,
            Order::Newest | Order::Oldest => Pick::Oldest,
        }
    }

    /// Takes one entry back into the queue.
    pub(super) fn take_back(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.waiting = self.waiting.saturating_add(1);
    }

    /// One entry has left the lane.
    pub(super) fn settle(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.drain_if_empty();
    }

    /// The next time at which [`is_ready`](Lane::is_ready) may change by itself.
    pub(super) fn wakeups(&self, now: Mono) -> impl Iterator<Item = Mono> {
        let waits = self.waiting > 0 && !self.paused;
        let times = [
            self.decide_again,
            self.budget.look_again(now),
            self.health.resting_until(),
            self.all_held_until,
        ];
        times.into_iter().flatten().filter(move |_| waits)
    }

    pub(super) fn view(&self, now: Mono) -> LaneView {
        let decision = if self.decision.is_open() {
            self.budget
        } else {
            self.decision
        };
        let (waits, next_try) = match (decision, self.health.resting_until()) {
            _ if self.paused => (LaneWaits::Paused, None),
            _ if self.waiting == 0 => (LaneWaits::Nothing, None),
            (Decision::Closed { opens, why }, _) if !self.flushed => {
                (LaneWaits::Schedule(why), opens)
            }
            (_, Some(until)) if until > now => (LaneWaits::Refused, Some(until)),
            _ => match self.all_held_until {
                Some(until) if until > now => (LaneWaits::Held, Some(until)),
                _ => (LaneWaits::Nothing, None),
            },
        };
        LaneView {
            waiting: self.waiting,
            in_flight: self.in_flight,
            waits,
            next_try,
        }
    }
}
