//! The loop that asks the supervisor what to do, and does it.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::{Sender, bounded};

use super::session::Transfer;
use super::{Agent, Outcome};
use crate::base::format_span;
use crate::status;
use crate::supervisor::{Action, Assignment, LaneId, LaneView, LaneWaits, SessionId};
use crate::sys::{Mono, Wall};
use crate::upload::Class;

/// Orders that may wait for a session.
const ORDERS_WAITING: usize = 4;
/// How long the end waits for transfers and receipts.
const STOP_LIMIT: Duration = Duration::from_millis(4000);
/// How often the clock floor is moved up.
const FLOOR_EVERY: Duration = Duration::from_secs(3600);

impl Agent {
    /// The service: watches, takes and uploads until [`Agent::stop`].
    /// Other commands are answered at `control`, if one is given and that
    /// socket can be had.
    pub async fn run(self: &Rc<Self>, control: Option<&Path>) -> Outcome {
        if let Some(control) = control {
            self.listen(control);
        }
        let lanes = self.setup.lanes.len();
        self.unwatched.set(lanes);
        if lanes == 0 {
            self.watching.close();
        }
        for lane in 0..lanes {
            self.spawn(self.clone().watch_lane(LaneId(lane)));
        }
        self.start_receiving();
        self.spawn(self.clone().settle_all());
        self.spawn(self.clone().archive_all());
        self.spawn(self.clone().move_floor());
        self.spawn(self.clone().keep_budgets());
        self.drive(&|| false).await;
        self.finish().await
    }

    fn listen(self: &Rc<Self>, control: &Path) {
        match status::bind(control) {
            Ok(listener) => {
                let agent = self.clone();
                let serving = async move { status::serve(&listener, &*agent).await };
                self.spawn(serving);
            }
            Err(e) => log::warn!(
                "control socket {}: {e} (status and queue will not reach this agent)",
                control.display()
            ),
        }
    }

    /// One round: takes what is ready, uploads everything, and ends. A server
    /// that is away is tried for `patience` after the last thing that went well.
    pub async fn once(self: &Rc<Self>, patience: Duration) -> Outcome {
        self.spawn(self.clone().settle_all());
        self.spawn(self.clone().archive_all());
        let lanes = self.setup.lanes.len();
        self.scans_left.set(lanes);
        self.scanned.set(lanes == 0);
        // Side by side, so that `quiet` is waited for once.
        for lane in 0..lanes {
            self.spawn(self.clone().scan(LaneId(lane)));
        }
        let done = || self.scanned.get() && (self.is_drained() || self.gives_up(patience));
        self.drive(&done).await;
        self.outcome.borrow_mut().interrupted = !self.scanned.get();
        self.say_closed();
        self.finish().await
    }

    /// One lane's part of a round.
    async fn scan(self: Rc<Self>, lane: LaneId) {
        if let Err(e) = self.scan_lane(lane).await {
            let cause = std::error::Error::source(&e);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            log::error!("{e}{cause}");
            self.outcome.borrow_mut().not_taken += 1;
        }
        let left = self.scans_left.get().saturating_sub(1);
        self.scans_left.set(left);
        self.scanned.set(left == 0);
        self.progressed();
        self.signal.wake();
    }

    /// Whether nothing is left to do, receipts included.
    fn is_drained(&self) -> bool {
        self.state.borrow().is_drained() && !self.settling.is_busy()
    }

    /// Whether waiting longer is of no use: nobody is connected, and either the
    /// patience is over or the reason is none that passes by itself.
    fn gives_up(&self, patience: Duration) -> bool {
        let hopeless = match &self.outcome.borrow().last_failure {
            Some((class, _)) => matches!(class, Class::Login | Class::Tls),
            None => false,
        };
        let busy = self
            .transfers
            .borrow()
            .values()
            .any(|t| t.sending.is_some());
        let progress = self.full_since.get().unwrap_or(self.progress.get());
        let since = self.sys.clock.mono().since(progress);
        (hopeless && self.transfers.borrow().is_empty())
            || (!busy && (since >= patience || self.all_closed(patience)))
    }

    /// Whether all that waits is paused, or its schedule opens later than anybody
    /// has patience for.
    fn all_closed(&self, patience: Duration) -> bool {
        let (state, now) = (self.state.borrow(), self.sys.clock.mono());
        let views = (0..self.setup.lanes.len()).filter_map(|lane| state.lane(LaneId(lane), now));
        let closed = |view: LaneView| match view.waits {
            _ if view.in_flight > 0 => false,
            LaneWaits::Paused => true,
            LaneWaits::Schedule(_) => view.next_try.is_none_or(|at| at > now.after(patience)),
            _ => view.waiting == 0,
        };
        views.into_iter().all(closed)
    }

    /// Says what a round leaves behind because it may not be sent now.
    fn say_closed(&self) {
        let (state, now) = (self.state.borrow(), self.sys.clock.mono());
        for (place, setup) in self.setup.lanes.iter().enumerate() {
            let Some(view) = state.lane(LaneId(place), now).filter(|v| v.waiting > 0) else {
                continue;
            };
            let watch = &setup.watch.name;
            match (view.waits, view.next_try) {
                (LaneWaits::Paused, _) => {
                    log::warn!("watch {watch:?} is paused (queue resume {watch})");
                }
                (LaneWaits::Schedule(_), Some(at)) => {
                    let wait = format_span(at.since(now));
                    log::info!("watch {watch:?}: its schedule opens in {wait}");
                }
                (LaneWaits::Schedule(_), None) => {
                    log::warn!("watch {watch:?}: its schedule waits for a clock that is set");
                }
                _ => {}
            }
        }
    }

    async fn drive(self: &Rc<Self>, done: &dyn Fn() -> bool) {
        let mut sessions = Sessions::default();
        while !self.stopping.get() && !done() {
            self.pulse.engine.turn();
            loop {
                let action = self.state.borrow_mut().poll(&self.moment());
                match action {
                    Some(action) => self.obey(action, &mut sessions),
                    None => break,
                }
            }
            if self.stopping.get() || done() {
                break;
            }
            let wakeup = self.state.borrow().next_wakeup();
            let limit = self.sys.clock.mono().after(self.rest());
            let wakeup = wakeup.map_or(limit, |at| at.min(limit));
            let sleep = self.sys.clock.sleep_until(wakeup);
            smol::future::or(self.signal.wait(), sleep).await;
        }
    }

    /// How long to sleep when nothing is due: a round looks at its patience.
    fn rest(&self) -> Duration {
        match self.scanned.get() {
            true => Duration::from_millis(250),
            false => FLOOR_EVERY,
        }
    }

    fn obey(self: &Rc<Self>, action: Action, sessions: &mut Sessions) {
        match action {
            Action::OpenSession { session, server } => {
                let (orders, receiver) = bounded(ORDERS_WAITING);
                sessions.open.retain(|(_, orders)| !orders.is_closed());
                sessions.open.push((session, orders));
                let transfer = Transfer {
                    server,
                    sending: None,
                    quiet_looks: 0,
                    cut: None,
                };
                self.transfers.borrow_mut().insert(session, transfer);
                let task = self.clone().session(session, server, receiver);
                self.spawn(task);
            }
            Action::Assign(assignment) => {
                if !sessions.order(assignment) {
                    let Assignment { session, lane, .. } = assignment;
                    self.tell(crate::supervisor::Event::EntryReturned { session, lane });
                }
            }
            Action::CloseIdle(session) => sessions.open.retain(|(id, _)| *id != session),
        }
    }

    /// Waits for what is under way, keeps the time, and counts what is left.
    async fn finish(self: &Rc<Self>) -> Outcome {
        if !self.draining.get() {
            self.stop();
        }
        let mut limit = self.sys.clock.mono().after(STOP_LIMIT);
        while (self.is_delivering() || self.receiving.is_busy()) && self.sys.clock.mono() < limit {
            self.pulse.engine.turn();
            if !self.draining.get() || !self.is_delivering() {
                // At a reload it receives until nothing else is waited for.
                self.stop_receiving();
            }
            let soon = self.sys.clock.mono().after(Duration::from_millis(20));
            self.sys.clock.sleep_until(soon).await;
            if self.draining.get() {
                limit = soon.after(STOP_LIMIT);
            }
        }
        self.keep_floor().await;
        self.note_budgets().await;
        let stats = self.spool.with(|spool| spool.stats()).await;
        let mut outcome = self.outcome.borrow().clone();
        outcome.queued = stats.waiting.files;
        outcome
    }

    fn is_delivering(&self) -> bool {
        !self.transfers.borrow().is_empty() || self.settling.is_busy() || self.archiving.is_busy()
    }

    /// Notes now and then that time has passed, for devices without a clock.
    async fn move_floor(self: Rc<Self>) {
        loop {
            self.keep_floor().await;
            let next: Mono = self.sys.clock.mono().after(FLOOR_EVERY);
            self.sys.clock.sleep_until(next).await;
        }
    }

    async fn keep_floor(&self) {
        let now = self.moment();
        if !now.trust.is_sane() {
            log::warn!(
                "the clock says a time that has passed already; schedules with windows wait \
                 until it is set"
            );
            return;
        }
        let wall: Wall = now.wall;
        if let Err(e) = self
            .spool
            .with(move |spool| spool.put_clock_floor(wall))
            .await
        {
            log::warn!("spool: {e}");
            return;
        }
        self.floor.set(Some(wall));
    }
}

/// The sessions that take orders. Dropping one's sender ends it.
#[derive(Default)]
struct Sessions {
    open: Vec<(SessionId, Sender<Assignment>)>,
}

impl Sessions {
    fn order(&self, assignment: Assignment) -> bool {
        let session = self.open.iter().find(|(id, _)| *id == assignment.session);
        session.is_some_and(|(_, orders)| orders.try_send(assignment).is_ok())
    }
}
