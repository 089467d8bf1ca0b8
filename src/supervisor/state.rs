//! Decides what the agent does next. Pure: it is told what happened and what time
//! it is, and says what to do; it opens, sends and sleeps nothing itself.
//!
//! Call order: [`handle`](State::handle) or [`entry_failed`](State::entry_failed)
//! for each thing that happens; then [`poll`](State::poll) until it returns `None`,
//! obeying each action; then sleep until [`next_wakeup`](State::next_wakeup) or the
//! next event. A session that can take a further entry while it finishes one asks
//! [`pull`](State::pull).
//!
//! What holds at all times:
//! - lanes of higher priority go first; within one priority each lane has its turn,
//!   in proportion to its weight;
//! - a server never has more than its `connections` sessions;
//! - a lane that is paused, closed, refused or bound to a server that is down takes
//!   nothing from the others;
//! - only refusals of one entry by a healthy server, in a lane that delivers others,
//!   make a dead letter;
//! - once faults stop, everything is delivered.

use std::time::Duration;

use heapless::Vec as Few;

use super::events::{Action, Assignment, Event, LaneId, Rules, ServerId, SessionId};
use super::health::{Fault, LaneHealth};
use super::lanes::{Lane, LaneView};
use super::servers::{Availability, Server, ServerMemory, ServerView};
use crate::schedule::{Budget, Decision, Moment, Schedule, Spent, Waiting};
use crate::sys::Mono;

/// The engine's state.
#[derive(Clone, Debug)]
pub struct State {
    pub(super) lanes: Vec<Lane>,
    pub(super) servers: Vec<Server>,
    schedules: Vec<Scheduled>,
    always: Schedule,
    sessions: Vec<Session>,
    next_session: u64,
    pub(super) file_attempts: u32,
    idle_timeout: Duration,
    stopping: bool,
    polled: Mono,
}

/// What outlives a state: the refusals of a lane.
#[derive(Clone, Debug)]
pub struct LaneMemory(LaneHealth);

#[derive(Clone, Debug)]
struct Scheduled {
    schedule: Schedule,
    budget: Option<Budget>,
}

#[derive(Clone, Debug)]
struct Session {
    id: SessionId,
    server: ServerId,
    phase: Phase,
    /// The lanes of the entries in its hands.
    in_flight: Few<LaneId, IN_FLIGHT_MAX>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Open { idle_since: Mono },
    Closing,
}

/// Entries that one session has in its hands: one whose data flows, those before
/// it whose last replies are on their way, and those that were fetched ahead.
const IN_FLIGHT_MAX: usize = 20;

impl State {
    /// Nothing queued, nothing open. `started` is the agent's start.
    #[must_use]
    pub fn new(rules: Rules, started: Mono) -> State {
        let lane = |(index, lane)| Lane::new(LaneId(index), lane, rules.retry, started);
        let scheduled = |(schedule, spent): (Schedule, Spent)| Scheduled {
            budget: schedule.daily_budget.map(|limit| Budget::new(limit, spent)),
            schedule,
        };
        let server = |server| Server::new(server, rules.retry);
        State {
            lanes: rules.lanes.into_iter().enumerate().map(lane).collect(),
            servers: rules.servers.into_iter().map(server).collect(),
            schedules: rules.schedules.into_iter().map(scheduled).collect(),
            always: Schedule::always(),
            sessions: Vec::new(),
            next_session: 0,
            file_attempts: rules.file_attempts,
            idle_timeout: rules.idle_timeout,
            stopping: false,
            polled: started,
        }
    }

    /// Takes note of what happened. `random` is uniform over all values.
    pub fn handle(&mut self, event: Event, now: &Moment<'_>, random: u64) {
        match event {
            Event::EntriesQueued { lane, count } => self.queued(lane, count, now),
            Event::EntriesDropped { lane, count } => {
                if let Some(lane) = self.lanes.get_mut(lane.0) {
                    lane.waiting = lane.waiting.saturating_sub(count);
                    lane.drain_if_empty();
                }
            }
            Event::SessionOpened(id) => self.opened(id, now.mono),
            Event::SessionFailed(id, fault) => self.closed(id, Some(fault), now.mono, random),
            Event::SessionClosed(id, fault) => self.closed(id, fault, now.mono, random),
            Event::EntryDelivered { session, lane, key } => {
                self.delivered(session, lane, key, now.mono);
            }
            Event::EntryReturned { session, lane } => {
                self.take_back(session, lane, now.mono);
            }
            Event::NothingToSend { session, lane } => self.nothing(session, lane, now.mono),
            Event::BytesSent { lane, bytes } => self.charge(lane, bytes, now),
            Event::Paused(lane) => self.set_paused(lane, true),
            Event::Resumed(lane) => self.set_paused(lane, false),
            Event::Flushed(lane) => self.flush(lane),
            Event::Stopping => self.stopping = true,
        }
    }

    /// The next thing to do. Call again until there is none.
    pub fn poll(&mut self, now: &Moment<'_>) -> Option<Action> {
        self.polled = now.mono;
        self.decide(now);
        if self.stopping {
            return self.close_idle(|_| true);
        }
        // First, or a trickle of files to a server that stands in would never let
        // the first one be asked again.
        if let Some(server) = self.server_to_probe(now.mono) {
            return Some(self.open(server));
        }
        if let Some(assignment) = self.assign_idle(now.mono) {
            return Some(Action::Assign(assignment));
        }
        if let Some(server) = self.server_to_open(now.mono) {
            return Some(self.open(server));
        }
        let limit = self.idle_timeout;
        self.close_idle(|idle_since| now.mono.since(idle_since) >= limit)
    }

    /// One more entry for a session that is about to finish what it has, if there
    /// is one for it.
    pub fn pull(&mut self, session: SessionId, now: &Moment<'_>) -> Option<Assignment> {
        self.decide(now);
        let index = self.sessions.iter().position(|s| s.id == session)?;
        self.assign(index, now.mono)
    }

    /// When to [`poll`](State::poll) even if nothing happens. `None`: not before
    /// the next event.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Mono> {
        let now = self.polled;
        let lanes = self.lanes.iter().flat_map(|lane| lane.wakeups(now));
        let any_waiting = self.lanes.iter().any(|lane| lane.waiting > 0);
        let servers = self.servers.iter().filter(|_| any_waiting);
        let servers = servers.filter_map(Server::wakeup);
        let idle = self.sessions.iter().filter_map(Session::idle_since);
        let idle = idle.map(|since| since.after(self.idle_timeout));
        lanes
            .chain(servers)
            .chain(idle)
            .filter(|at| *at > now)
            .min()
    }

    /// Whether an entry is held back: others of its lane go first.
    #[must_use]
    pub fn holds(&self, lane: LaneId, key: u64, now: Mono) -> bool {
        self.lanes
            .get(lane.0)
            .is_some_and(|lane| lane.health.holds(key, now))
    }

    /// Whether nothing is queued and nothing is in flight.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.lanes
            .iter()
            .all(|lane| lane.waiting == 0 && lane.in_flight == 0)
    }

    /// A lane, for `status`.
    #[must_use]
    pub fn lane(&self, lane: LaneId, now: Mono) -> Option<LaneView> {
        Some(self.lanes.get(lane.0)?.view(now))
    }

    /// A server, for `status`.
    #[must_use]
    pub fn server(&self, server: ServerId, now: Mono) -> Option<ServerView> {
        let in_flight = self.in_flight_to(server);
        Some(self.servers.get(server.0)?.view(now, in_flight))
    }

    /// What is known of a lane's refusals, for [`State::recall_lane`].
    #[must_use]
    pub fn lane_memory(&self, lane: LaneId) -> Option<LaneMemory> {
        Some(LaneMemory(self.lanes.get(lane.0)?.health.clone()))
    }

    /// Goes on with what an earlier state knew of the lane.
    pub fn recall_lane(&mut self, lane: LaneId, memory: LaneMemory) {
        if let Some(lane) = self.lanes.get_mut(lane.0) {
            lane.recall(memory.0);
        }
    }

    /// What is known of a server's health, for [`State::recall_server`].
    #[must_use]
    pub fn server_memory(&self, server: ServerId) -> Option<ServerMemory> {
        Some(self.servers.get(server.0)?.memory())
    }

    /// Goes on with what an earlier state knew of the server: a login that was
    /// refused is not tried the sooner for it.
    pub fn recall_server(&mut self, server: ServerId, memory: ServerMemory) {
        if let Some(server) = self.servers.get_mut(server.0) {
            server.recall(memory);
        }
    }

    /// What is spent of a schedule's budget, to be kept on disk.
    #[must_use]
    pub fn spent(&self, schedule: usize) -> Option<Spent> {
        let budget = self.schedules.get(schedule)?.budget.as_ref()?;
        Some(budget.spent())
    }
}

/// What events do.
impl State {
    fn queued(&mut self, id: LaneId, count: u64, now: &Moment<'_>) {
        // A lane that had nothing does not make up for turns it did not need.
        let least_pass = |priority| {
            let busy = |lane: &&Lane| lane.waiting > 0 && lane.rules.priority == priority;
            self.lanes.iter().filter(busy).map(|lane| lane.pass).min()
        };
        let Some(lane) = self.lanes.get(id.0) else {
            return;
        };
        let pass = match least_pass(lane.rules.priority) {
            Some(least) if lane.waiting == 0 => lane.pass.max(least),
            _ => lane.pass,
        };
        let scheduled = self.schedules.get(lane.rules.schedule);
        let schedule = scheduled.map_or(&self.always, |scheduled| &scheduled.schedule);
        if let Some(lane) = self.lanes.get_mut(id.0) {
            lane.pass = pass;
            lane.fill(count, schedule, now);
        }
    }

    fn opened(&mut self, id: SessionId, now: Mono) {
        let Some(session) = self.sessions.iter_mut().find(|s| s.id == id) else {
            return;
        };
        if session.phase != Phase::Opening {
            return;
        }
        session.phase = Phase::Open { idle_since: now };
        if let Some(server) = self.servers.get_mut(session.server.0) {
            server.opening = server.opening.saturating_sub(1);
            server.open = server.open.saturating_add(1);
            server.opened();
        }
    }

    fn closed(&mut self, id: SessionId, fault: Option<Fault>, now: Mono, random: u64) {
        let Some(index) = self.sessions.iter().position(|s| s.id == id) else {
            return;
        };
        let session = self.sessions.swap_remove(index);
        for lane in &session.in_flight {
            if let Some(lane) = self.lanes.get_mut(lane.0) {
                lane.take_back();
            }
        }
        if let Some(server) = self.servers.get_mut(session.server.0) {
            if session.phase == Phase::Opening {
                server.opening = server.opening.saturating_sub(1);
            } else {
                server.open = server.open.saturating_sub(1);
            }
            if let Some(fault) = fault {
                server.failed(fault, now, random);
            }
        }
    }

    fn delivered(&mut self, session: SessionId, lane: LaneId, key: u64, now: Mono) {
        let Some(server) = self.release(session, lane, now) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(lane.0) {
            if lane.health.delivered(key) {
                lane.all_held_until = None;
            }
            lane.settle();
        }
        if let Some(server) = self.servers.get_mut(server.0) {
            server.delivered();
        }
    }

    fn nothing(&mut self, session: SessionId, lane: LaneId, now: Mono) {
        if self.take_back(session, lane, now).is_none() {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(lane.0) {
            let due = lane.health.first_due(now);
            lane.all_held_until = Some(due.unwrap_or(now.after(NOTHING_TO_SEND_WAIT)));
        }
    }

    fn charge(&mut self, lane: LaneId, bytes: u64, now: &Moment<'_>) {
        let Some(lane) = self.lanes.get(lane.0) else {
            return;
        };
        let scheduled = self.schedules.get_mut(lane.rules.schedule);
        if let Some(budget) = scheduled.and_then(|scheduled| scheduled.budget.as_mut()) {
            budget.charge(bytes, now);
        }
    }

    fn set_paused(&mut self, lane: LaneId, paused: bool) {
        if let Some(lane) = self.lanes.get_mut(lane.0) {
            lane.paused = paused;
        }
    }

    fn flush(&mut self, id: LaneId) {
        let Some(lane) = self.lanes.get_mut(id.0) else {
            return;
        };
        lane.flush();
        let servers: Vec<ServerId> = match self.lanes.get(id.0) {
            Some(lane) => self.servers_of(lane).collect(),
            None => Vec::new(),
        };
        for server in servers {
            if let Some(server) = self.servers.get_mut(server.0) {
                server.flush();
            }
        }
    }

    /// Takes an entry back from a session into its lane; the session's server.
    pub(super) fn take_back(
        &mut self,
        session: SessionId,
        lane: LaneId,
        now: Mono,
    ) -> Option<ServerId> {
        let server = self.release(session, lane, now)?;
        self.lanes.get_mut(lane.0)?.take_back();
        Some(server)
    }

    /// Takes an entry out of a session's hands; the session's server.
    fn release(&mut self, session: SessionId, lane: LaneId, now: Mono) -> Option<ServerId> {
        let session = self.sessions.iter_mut().find(|s| s.id == session)?;
        let index = session.in_flight.iter().position(|held| *held == lane)?;
        session.in_flight.swap_remove(index);
        if let Phase::Open { idle_since } = &mut session.phase {
            *idle_since = now;
        }
        Some(session.server)
    }
}

/// What to do next.
impl State {
    fn decide(&mut self, now: &Moment<'_>) {
        for lane in &mut self.lanes {
            let Some(scheduled) = self.schedules.get_mut(lane.rules.schedule) else {
                lane.decide(&self.always, Decision::Open { until: None }, now);
                continue;
            };
            let budget = match scheduled.budget.as_mut() {
                Some(budget) if lane.waiting > 0 => budget_decision(budget, now),
                _ => Decision::Open { until: None },
            };
            lane.decide(&scheduled.schedule, budget, now);
        }
    }

    fn assign_idle(&mut self, now: Mono) -> Option<Assignment> {
        (0..self.sessions.len()).find_map(|index| {
            let idle = self.sessions.get(index)?.idle_since().is_some();
            idle.then(|| self.assign(index, now)).flatten()
        })
    }

    /// Gives the session at `index` an entry, if it can take one.
    fn assign(&mut self, index: usize, now: Mono) -> Option<Assignment> {
        let session = self.sessions.get(index)?;
        let open = matches!(session.phase, Phase::Open { .. });
        if !open || session.in_flight.is_full() || self.stopping {
            return None;
        }
        let server = self.servers.get(session.server.0)?;
        if server.one_at_a_time() && self.in_flight_to(session.server) > 0 {
            return None;
        }
        let lane = self.best_lane_for(session.server, now)?;
        let session = self.sessions.get_mut(index)?;
        // Cannot fail: it was not full.
        session.in_flight.push(lane).ok()?;
        let pick = self.lanes.get_mut(lane.0)?.hand_out();
        Some(Assignment {
            session: session.id,
            lane,
            pick,
        })
    }

    fn best_lane_for(&self, server: ServerId, now: Mono) -> Option<LaneId> {
        let fits = |lane: &&Lane| lane.is_ready(now) && self.route(lane, now) == Some(server);
        let lanes = self.lanes.iter().filter(fits);
        lanes.min_by_key(|lane| lane.turn()).map(|lane| lane.id)
    }

    /// The server that takes the lane's entries now.
    fn route(&self, lane: &Lane, now: Mono) -> Option<ServerId> {
        for id in self.servers_of(lane) {
            match self.servers.get(id.0)?.availability(now) {
                Availability::Ready => return Some(id),
                Availability::Resting => return None,
                Availability::Away => {}
            }
        }
        None
    }

    /// The lane's server and those that stand in for it.
    fn servers_of<'a>(&'a self, lane: &Lane) -> impl Iterator<Item = ServerId> + 'a {
        let main = lane.rules.server;
        let server = self.servers.get(main.0);
        let fallback = server.map_or(&[][..], |server| &server.rules.fallback);
        std::iter::once(main).chain(fallback.iter().copied())
    }

    /// A server that was away, may be back, and stands before the one that takes a
    /// lane's entries now.
    fn server_to_probe(&self, now: Mono) -> Option<ServerId> {
        self.lanes
            .iter()
            .filter(|l| l.is_ready(now))
            .find_map(|lane| {
                let route = self.route(lane, now);
                let mut before = self.servers_of(lane).take_while(|id| Some(*id) != route);
                before.find(|id| {
                    let server = self.servers.get(id.0);
                    server.is_some_and(|server| server.may_be_probed(now))
                })
            })
    }

    fn server_to_open(&self, now: Mono) -> Option<ServerId> {
        let mut ready: Vec<&Lane> = self.lanes.iter().filter(|l| l.is_ready(now)).collect();
        ready.sort_unstable_by_key(|lane| lane.turn());
        ready.into_iter().find_map(|lane| {
            let route = self.route(lane, now);
            route.filter(|id| self.needs_session(*id, now))
        })
    }

    fn needs_session(&self, id: ServerId, now: Mono) -> bool {
        let Some(server) = self.servers.get(id.0) else {
            return false;
        };
        let on_hand = self.sessions.iter().filter(|session| {
            session.server == id
                && (session.phase == Phase::Opening || session.idle_since().is_some())
        });
        let on_hand = u64::try_from(on_hand.count()).unwrap_or(u64::MAX);
        let wanted = self.lanes.iter().filter(|lane| lane.is_ready(now));
        let wanted = wanted.filter(|lane| self.route(lane, now) == Some(id));
        let wanted = wanted.fold(0u64, |sum, lane| sum.saturating_add(lane.waiting));
        server.may_open(now) && on_hand < wanted
    }

    fn open(&mut self, server: ServerId) -> Action {
        let session = SessionId(self.next_session);
        self.next_session = self.next_session.wrapping_add(1);
        if let Some(server) = self.servers.get_mut(server.0) {
            server.opening = server.opening.saturating_add(1);
        }
        self.sessions.push(Session {
            id: session,
            server,
            phase: Phase::Opening,
            in_flight: Few::new(),
        });
        Action::OpenSession { session, server }
    }

    fn close_idle(&mut self, due: impl Fn(Mono) -> bool) -> Option<Action> {
        let session = self
            .sessions
            .iter_mut()
            .find(|session| session.idle_since().is_some_and(&due))?;
        session.phase = Phase::Closing;
        Some(Action::CloseIdle(session.id))
    }

    fn in_flight_to(&self, server: ServerId) -> usize {
        let sessions = self.sessions.iter().filter(|s| s.server == server);
        sessions.map(|session| session.in_flight.len()).sum()
    }
}

impl Session {
    /// Since when it has nothing to do, if so.
    fn idle_since(&self) -> Option<Mono> {
        match self.phase {
            Phase::Open { idle_since } if self.in_flight.is_empty() => Some(idle_since),
            _ => None,
        }
    }
}

fn budget_decision(budget: &mut Budget, now: &Moment<'_>) -> Decision {
    if budget.left(now) > 0 {
        return Decision::Open { until: None };
    }
    Decision::Closed {
        opens: budget.renewed(now).map(|wall| now.mono_at(wall)),
        why: Waiting::Budget,
    }
}

/// How long a lane is left alone that had nothing to send although nothing of it
/// is held back: its entries are being settled.
const NOTHING_TO_SEND_WAIT: Duration = Duration::from_secs(1);
