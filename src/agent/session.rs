//! A session's life: connect, deliver what the supervisor assigns, say goodbye.
//!
//! The session asks for its next job while the one before is being checked and
//! cannot wait for the disk then, so one job is always fetched ahead onto a
//! shelf while it works; of small files several, because a flush of the spool
//! takes as long as many of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol::channel::Receiver;

use super::delivery::{LaneFeed, lane_of};
use super::setup::Naming;
use super::signal::Signal;
use super::{Agent, InHand};
use crate::base::sabotage::{Sabotage, is_on};
use crate::spool::{Entry, EntryId, Order, Spool, SpoolError};
use crate::supervisor::{Assignment, Event, Fault, LaneId, Pick, ServerId, SessionId};
use crate::sys::{File, Wall};
use crate::upload::{Class, Failure, Job, Server, Session};

/// An entry's bytes, or why there are none.
type Opened = Result<Box<dyn File>, SpoolError>;

/// What a session is sending, for `status`.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    pub(super) server: ServerId,
    pub(super) sending: Option<Sending>,
    /// Looks of `pulse.rs` since something moved.
    pub(super) quiet_looks: u32,
    /// The file that was on its way when the session broke.
    pub(super) cut: Option<String>,
}

/// One file on its way.
#[derive(Clone, Debug)]
pub(super) struct Sending {
    pub(super) watch: String,
    pub(super) path: Vec<u8>,
    pub(super) size: u64,
    /// How much of it the server has, or has on the way.
    pub(super) sent: u64,
}

/// An entry that was fetched for a session, and the job made of it.
pub(super) struct Fetched {
    pub(super) lane: LaneId,
    pub(super) entry: Entry,
    pub(super) job: Job,
}

/// Jobs fetched ahead.
pub(super) struct Shelf {
    pub(super) jobs: RefCell<VecDeque<Fetched>>,
    /// Whether the supervisor has nothing more for the session now.
    dry: Cell<bool>,
    /// The session's work is over: nothing more is fetched.
    closed: Cell<bool>,
    /// The session took a job: there is room for another.
    pub(super) room: Signal,
    /// A job was put here, or there is nothing more.
    filled: Signal,
}

impl Shelf {
    fn wants_more(&self) -> bool {
        let jobs = self.jobs.borrow();
        let bytes: u64 = jobs.iter().map(|fetched| fetched.job.size).sum();
        jobs.is_empty() || jobs.len() < SHELF_FILES && bytes < SHELF_BYTES
    }
}

/// Files on a shelf at most.
const SHELF_FILES: usize = 16;
/// What stands on a shelf goes before anything more urgent that comes, so all but
/// the first file must be sent in little time on a slow link too.
const SHELF_BYTES: u64 = 64 << 10;
/// After the signal to stop, what is under way has so long to be finished;
/// then it is parked, and the next start resumes it.
const STOP_PATIENCE: Duration = Duration::from_millis(2500);
/// Entries that are looked through for one that is not held back.
const LOOK_AHEAD: usize = 64;

impl Agent {
    pub(super) async fn session(
        self: Rc<Self>,
        id: SessionId,
        server: ServerId,
        orders: Receiver<Assignment>,
    ) {
        let ended = self.session_until_end(id, server, &orders).await;
        // What was assigned but never begun goes back.
        while let Ok(order) = orders.try_recv() {
            self.tell(Event::EntryReturned {
                session: id,
                lane: order.lane,
            });
        }
        self.settle_first(id).await;
        let transfer = self.transfers.borrow_mut().remove(&id);
        match ended {
            Ok(()) => self.tell(Event::SessionClosed(id, None)),
            Err(End::NeverOpened(failure)) => {
                self.tell(Event::SessionFailed(id, fault_of(failure.class)));
                self.server_failed(server, &failure, None);
            }
            Err(End::Broke(failure)) => {
                self.tell(Event::SessionClosed(id, Some(fault_of(failure.class))));
                let cut = transfer.and_then(|transfer| transfer.cut);
                self.server_failed(server, &failure, cut.as_deref());
            }
        }
    }

    /// Waits until what the session delivered is noted on disk: closed before,
    /// its entries would count as waiting for ever.
    async fn settle_first(&self, id: SessionId) {
        let limit = self.sys.clock.mono().after(SETTLE_LIMIT);
        let in_hand = || {
            self.in_hand
                .borrow()
                .values()
                .any(|held| held.session == id)
        };
        while in_hand() && self.sys.clock.mono() < limit {
            let soon = self.sys.clock.mono().after(SETTLE_LOOK);
            self.sys.clock.sleep_until(soon).await;
        }
    }

    async fn session_until_end(
        self: &Rc<Self>,
        id: SessionId,
        server: ServerId,
        orders: &Receiver<Assignment>,
    ) -> Result<(), End> {
        let opening = async {
            let prepared = self.prepare(server).await?;
            Session::open(&self.sys, &prepared)
                .await
                .map(|session| (prepared, session))
        };
        let stopped = async {
            self.stopped.wait_closed().await;
            Err(cancelled())
        };
        let opened = smol::future::or(opening, stopped).await;
        let (prepared, mut session) = opened.map_err(End::NeverOpened)?;
        self.server_works(server);
        self.progressed();
        self.tell(Event::SessionOpened(id));
        while let Ok(order) = orders.recv().await {
            let worked = self.work(id, order, &mut session).await;
            self.keep_profile(&prepared).await;
            worked.map_err(End::Broke)?;
        }
        let goodbye = crate::sys::timeout(&*self.sys.clock, GOODBYE, session.quit());
        // A server that does not answer QUIT has what it needs all the same.
        let _answered = goodbye.await;
        Ok(())
    }

    /// Delivers the order and what follows it, until there is nothing more.
    async fn work(
        self: &Rc<Self>,
        id: SessionId,
        order: Assignment,
        session: &mut Session,
    ) -> Result<(), Failure> {
        let shelf = Rc::new(Shelf {
            jobs: RefCell::default(),
            dry: Cell::new(false),
            closed: Cell::new(false),
            room: Signal::new(),
            filled: Signal::new(),
        });
        let mut feed = LaneFeed::new(self.clone(), id, shelf.clone());
        let delivering = async {
            loop {
                while shelf.jobs.borrow().is_empty() && !self.stopping.get() {
                    if shelf.dry.get() {
                        return Ok(());
                    }
                    shelf.filled.wait().await;
                }
                if self.stopping.get() {
                    // The feed gives nothing more; what was fetched goes back.
                    return Ok(());
                }
                session.run(&mut feed).await?;
                shelf.dry.set(false);
                shelf.room.wake();
            }
        };
        let mut filling = pin!(self.fill(id, order, &shelf));
        let filled = async {
            filling.as_mut().await;
            std::future::pending().await
        };
        let parked = async {
            self.stopped.wait_closed().await;
            let end = self.sys.clock.mono().after(STOP_PATIENCE);
            self.sys.clock.sleep_until(end).await;
            Err(cancelled())
        };
        let delivered = smol::future::or(delivering, smol::future::or(filled, parked)).await;
        // Dropped amid a fetch, its entry would stay in hand, and never be sent.
        shelf.closed.set(true);
        shelf.room.wake();
        filling.await;
        feed.give_back();
        delivered
    }

    /// Keeps the shelf filled until that is closed.
    async fn fill(self: &Rc<Self>, id: SessionId, order: Assignment, shelf: &Shelf) {
        let mut next = Some(order);
        while !shelf.closed.get() {
            while shelf.wants_more() && !shelf.closed.get() {
                self.settling.has_room().await;
                let pulled = next.take().or_else(|| {
                    let stopping = self.stopping.get();
                    (!stopping)
                        .then(|| self.state.borrow_mut().pull(id, &self.moment()))
                        .flatten()
                });
                if let Some(assignment) = pulled {
                    match self.fetch(id, assignment).await {
                        Some(fetched) => {
                            shelf.dry.set(false);
                            shelf.jobs.borrow_mut().push_back(fetched);
                        }
                        None => {
                            let lane = assignment.lane;
                            self.tell(Event::NothingToSend { session: id, lane });
                            continue;
                        }
                    }
                    shelf.filled.wake();
                } else {
                    shelf.dry.set(true);
                    shelf.filled.wake();
                    break;
                }
            }
            shelf.room.wait().await;
        }
        if let Some(Assignment { lane, .. }) = next {
            self.tell(Event::EntryReturned { session: id, lane });
        }
    }

    /// The entry that an assignment means, opened and named.
    async fn fetch(&self, session: SessionId, order: Assignment) -> Option<Fetched> {
        loop {
            let (entry, opened) = self.pick(session, order).await?;
            let content = match opened {
                Ok(file) => Arc::from(file),
                Err(e) => {
                    let why = format!("its bytes cannot be read: {e}");
                    self.unreadable(order.lane, &entry, why).await;
                    continue;
                }
            };
            match self.job(order.lane, &entry, content) {
                Ok(job) => {
                    let lane = order.lane;
                    return Some(Fetched { lane, entry, job });
                }
                Err(why) => {
                    let path = entry.path.escape_ascii();
                    log::error!(
                        "watch {:?}: {path}: no name on the server: {why}",
                        entry.lane
                    );
                    self.bury(order.lane, entry.id, &why).await;
                }
            }
        }
    }

    /// The next entry for an order, and its bytes.
    async fn pick(&self, session: SessionId, order: Assignment) -> Option<(Entry, Opened)> {
        let name = self.lane(order.lane)?.watch.name.clone();
        let (end, steps) = match order.pick {
            Pick::Oldest => (Order::Oldest, &[1, LOOK_AHEAD][..]),
            // An older version of the same file may stand farther back.
            Pick::Newest => (Order::Newest, &[LOOK_AHEAD][..]),
        };
        for &most in steps {
            let (name, before) = (name.clone(), self.in_hand.borrow().clone());
            let in_hand: BTreeSet<EntryId> = before.keys().copied().collect();
            // The first is opened in the same go: mostly it is the one.
            let look = move |spool: &mut Spool| {
                let window = spool.window(&name, end, most, &|id| in_hand.contains(&id))?;
                let opened = window.first().map(|entry| spool.open_blob(entry.id));
                Ok((window, opened))
            };
            let looked: Result<_, SpoolError> = self.spool.with(look).await;
            let (window, mut opened) = match looked {
                Ok(looked) => looked,
                Err(e) => {
                    log::error!("spool: {e}");
                    return None;
                }
            };
            if let Some((place, entry)) = self.first_free(order.lane, window, &before) {
                let (lane, path) = (order.lane, entry.path.clone());
                let held = InHand {
                    session,
                    lane,
                    path,
                };
                self.in_hand.borrow_mut().insert(entry.id, held);
                let opened = match opened.take().filter(|_| place == 0) {
                    Some(opened) => opened,
                    None => {
                        let id = entry.id;
                        self.spool.with(move |spool| spool.open_blob(id)).await
                    }
                };
                return Some((entry, opened));
            }
        }
        None
    }

    /// The first entry that may go now, and its place in the window: nobody has
    /// it, it is not held back, and no older version of its file is on its way or
    /// before it in the queue. The versions of one file go in the order in which
    /// they were taken, so that the newest is the one that stays. `before` was in
    /// hand when the window was made, and does not stand in it.
    fn first_free(
        &self,
        lane: LaneId,
        window: Vec<Entry>,
        before: &BTreeMap<EntryId, InHand>,
    ) -> Option<(usize, Entry)> {
        let now = self.sys.clock.mono();
        let (in_hand, state) = (self.in_hand.borrow(), self.state.borrow());
        let is_free = |entry: &Entry| {
            // Looked at again: another session may have taken it meanwhile.
            !in_hand.contains_key(&entry.id) && !state.holds(lane, entry.id.place(), now)
        };
        let waits_for_older = |entry: &Entry| {
            let same_file = |held: &InHand| held.lane == lane && held.path == entry.path;
            let is_older = |other: &Entry| other.id < entry.id && other.path == entry.path;
            let mut held = in_hand.values().chain(before.values());
            held.any(same_file) || window.iter().any(is_older)
        };
        let any_order = is_on(Sabotage::AnyOrder);
        let at = window
            .iter()
            .position(|entry| is_free(entry) && (any_order || !waits_for_older(entry)))?;
        window.into_iter().enumerate().nth(at)
    }

    /// An entry's bytes cannot be read now. The disk may have had a bad moment, so
    /// this counts like a refusal.
    async fn unreadable(&self, lane: LaneId, entry: &Entry, why: String) {
        let (path, key) = (entry.path.escape_ascii(), entry.id.place());
        log::error!("watch {:?}: {path}: {why}", entry.lane);
        let random = self.sys.rng.next_u64();
        let verdict = self.state.borrow_mut().entry_unusable(
            lane,
            key,
            entry.attempts,
            &self.moment(),
            random,
        );
        self.refused(entry.id, why, verdict).await;
    }

    fn job(&self, lane: LaneId, entry: &Entry, content: Arc<dyn File>) -> Result<Job, String> {
        let setup = self.lane(lane).ok_or("its watch is gone")?;
        let naming = Naming {
            path: &entry.path,
            mtime_ns: entry.mtime_ns,
        };
        let old = self
            .inherited
            .get(&entry.lane)
            .is_some_and(|newest| entry.id <= *newest);
        let forgotten = self.forgotten.borrow();
        let forgotten = forgotten.get(&lane_of(entry.id));
        let old = old || forgotten.is_some_and(|newest| entry.id <= *newest);
        let path = (setup.namer)(&naming)?;
        Ok(Job {
            id: entry.id.place(),
            tag: entry.id.to_string(),
            is_later_version: self.lately.borrow().may_have(&path),
            path,
            size: entry.size,
            mtime: Some(Wall(entry.mtime_ns).secs()),
            content,
            tried: old || self.tries.borrow().contains_key(&entry.id),
        })
    }

    /// Makes a dead letter of an entry that no server is to blame for.
    async fn bury(&self, lane: LaneId, id: EntryId, why: &str) {
        let why = why.to_owned();
        if let Err(e) = self
            .spool
            .with(move |spool| spool.failed(id, &why, true))
            .await
        {
            log::error!("spool: {e}");
            return; // It stays in hand, so that nobody turns in circles over it.
        }
        self.outcome.borrow_mut().dead += 1;
        self.release(id);
        self.tell(Event::EntriesDropped { lane, count: 1 });
    }

    /// The server with its certificates read, once for all sessions.
    async fn prepare(&self, server: ServerId) -> Result<Rc<Server>, Failure> {
        let (Some(slot), Some(setup)) =
            (self.servers.get(server.0), self.setup.servers.get(server.0))
        else {
            return Err(cancelled());
        };
        if let Some(ready) = &*slot.ready.borrow() {
            return Ok(ready.clone());
        }
        let floor = self.floor.get().unwrap_or_default();
        let profile = slot.profile.clone();
        let ready = Server::prepare(&self.sys, setup.options.clone(), profile, floor).await?;
        *slot.ready.borrow_mut() = Some(ready.clone());
        Ok(ready)
    }

    /// Stores what was learned about the server, if anything was.
    async fn keep_profile(&self, server: &Server) {
        if !server.take_learned() {
            return;
        }
        let (name, profile) = (server.options().name.clone(), server.profile());
        let bytes = profile.encode();
        let kept = self
            .spool
            .with(move |spool| spool.put_profile(&name, &bytes))
            .await;
        match kept {
            Ok(()) => server.kept(&profile),
            Err(e) => log::warn!("spool: what was learned about a server is not kept: {e}"),
        }
    }
}

enum End {
    NeverOpened(Failure),
    Broke(Failure),
}

pub(super) fn fault_of(class: Class) -> Fault {
    match class {
        Class::Login => Fault::Login,
        Class::Tls => Fault::Tls,
        Class::ServerFull => Fault::ServerFull,
        Class::Data => Fault::Data,
        Class::File | Class::Source => Fault::File,
        Class::Network | Class::Cancelled => Fault::Network,
    }
}

fn cancelled() -> Failure {
    let step = crate::upload::Step::Store;
    Failure::new(Class::Cancelled, step, "the transfer", "the agent stops")
}

/// The longest wait for the disk when a session has ended, and how often to look.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
const SETTLE_LOOK: Duration = Duration::from_millis(5);

const GOODBYE: Duration = Duration::from_millis(500);
