//! What a session gets to send, and what becomes of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::Agent;
use super::session::{Fetched, Sending, Shelf, fault_of};
use super::settling::Leaving;
use crate::base::ByteSize;
use crate::spool::{Entry, EntryId, Proof, Receipt, Settlement};
use crate::supervisor::{Event, FailedEntry, Fault, LaneId, SessionId, Verdict};
use crate::sys::{LocalFuture, Mono};
use crate::upload::{self, Class, Delivered, Failure, Feed, Job, Step};

/// What was spent on an entry that is not delivered yet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    count: u32,
    sent: u64,
    began: Mono,
}

struct Doing {
    lane: LaneId,
    entry: Entry,
    began: Mono,
    position: u64,
}

/// The feed of one session.
pub(super) struct LaneFeed {
    agent: Rc<Agent>,
    session: SessionId,
    shelf: Rc<Shelf>,
    doing: BTreeMap<u64, Doing>,
    lane: Option<LaneId>,
}

impl LaneFeed {
    pub(super) fn new(agent: Rc<Agent>, session: SessionId, shelf: Rc<Shelf>) -> LaneFeed {
        LaneFeed {
            agent,
            session,
            shelf,
            doing: BTreeMap::new(),
            lane: None,
        }
    }

    /// Gives back what was fetched or begun and not ended: it stays queued.
    pub(super) fn give_back(&mut self) {
        let shelved = std::mem::take(&mut *self.shelf.jobs.borrow_mut());
        let shelved = shelved
            .into_iter()
            .map(|fetched| (fetched.lane, fetched.entry.id));
        let doing = std::mem::take(&mut self.doing).into_values();
        for (lane, id) in shelved.chain(doing.map(|doing| (doing.lane, doing.entry.id))) {
            self.agent.release(id);
            let session = self.session;
            self.agent.tell(Event::EntryReturned { session, lane });
        }
    }

    fn delivered(&self, doing: &Doing, sent: u64, delivered: Delivered) {
        let agent = &self.agent;
        let entry = &doing.entry;
        let tries = agent.tries.borrow_mut().remove(&entry.id).unwrap_or(Tries {
            began: doing.began,
            ..Tries::default()
        });
        let seconds = agent.sys.clock.mono().since(tries.began).as_secs_f64();
        let receipt = Receipt {
            id: Some(entry.id),
            time_ns: agent.sys.clock.wall().0,
            watch: entry.lane.clone(),
            path: entry.path.clone(),
            server: agent.server_name(self.session),
            remote: delivered.path,
            size: entry.size,
            proof: match delivered.proof {
                _ if delivered.skipped => Proof::Skipped,
                upload::Proof::Hash(_) => Proof::Hash,
                upload::Proof::Size => Proof::Size,
                upload::Proof::Reply => Proof::Reply,
            },
            attempts: tries.count + 1,
            sent_bytes: tries.sent + sent,
            seconds,
        };
        say_delivered(&receipt);
        let now = agent.sys.clock.mono();
        agent.lately.borrow_mut().note(&receipt.remote, now);
        // First, so that the settling sees whether more is to come.
        agent.tell(Event::EntryDelivered {
            session: self.session,
            lane: doing.lane,
            key: entry.id.place(),
        });
        agent.settling.push(Leaving {
            settlement: Settlement {
                id: entry.id,
                receipt,
            },
        });
    }

    fn failed(&self, doing: &Doing, sent: u64, failure: &Failure) {
        let agent = &self.agent;
        let entry = &doing.entry;
        if failure.class == Class::Cancelled {
            agent.release(entry.id);
            let (session, lane) = (self.session, doing.lane);
            agent.tell(Event::EntryReturned { session, lane });
            return;
        }
        let mut all = agent.tries.borrow_mut();
        agent.bound_tries(&mut all, entry);
        let tries = all.entry(entry.id).or_insert(Tries {
            began: doing.began,
            ..Tries::default()
        });
        tries.count += 1;
        tries.sent += sent;
        drop(all);
        let fault = fault_of(failure.class);
        let failed = FailedEntry {
            session: self.session,
            lane: doing.lane,
            key: entry.id.place(),
            fault,
            refusals_before: entry.attempts,
            // Bytes that a check threw away again are none.
            progressed: doing.position > 0 && sent > 0 && failure.step != Step::Verify,
        };
        let random = agent.sys.rng.next_u64();
        let verdict = agent
            .state
            .borrow_mut()
            .entry_failed(&failed, &agent.moment(), random);
        if failure.class == Class::ServerFull && agent.full_since.get().is_none() {
            agent.full_since.set(Some(agent.sys.clock.mono()));
        }
        self.say_failed(doing, failure, fault, verdict);
        if verdict == Verdict::Retry {
            agent.release(entry.id);
            agent.signal.wake();
        } else {
            let (id, why) = (entry.id, failure.to_string());
            let refusing = agent.clone();
            agent.spawn(async move { refusing.refused(id, why, verdict).await });
        }
    }
}

impl LaneFeed {
    fn say_failed(&self, doing: &Doing, failure: &Failure, fault: Fault, verdict: Verdict) {
        let (agent, entry) = (&self.agent, &doing.entry);
        let file = format!("{}: {}", entry.lane, entry.path.escape_ascii());
        if fault == Fault::File {
            agent.outcome.borrow_mut().last_failure = Some((failure.class, failure.to_string()));
            agent.say_refused(doing.lane, entry, failure, verdict);
            return;
        }
        let mut transfers = agent.transfers.borrow_mut();
        let Some(transfer) = transfers.get_mut(&self.session) else {
            return;
        };
        if failure.ends_session() {
            // The session tells of it once, for all that it had in its hands.
            transfer.cut.get_or_insert(file);
            return;
        }
        let server = transfer.server;
        drop(transfers);
        agent.server_failed(server, failure, Some(&file));
    }
}

/// One line on what arrived, and how surely.
fn say_delivered(receipt: &Receipt) {
    let proof = match receipt.proof {
        Proof::Hash => "the hash is right",
        Proof::Size => "the size is right",
        Proof::Skipped => "it was there already",
        _ => "the server says so",
    };
    log::info!(
        "watch {:?}: delivered {} to {} {} ({}, {proof})",
        receipt.watch,
        receipt.path.escape_ascii(),
        receipt.server,
        receipt.remote.escape_ascii(),
        ByteSize(receipt.size)
    );
}

impl Feed for LaneFeed {
    fn try_next(&mut self) -> Option<Job> {
        if self.agent.stopping.get() {
            return None;
        }
        let Fetched { lane, entry, job } = self.shelf.jobs.borrow_mut().pop_front()?;
        self.shelf.room.wake();
        self.lane = Some(lane);
        let began = self.agent.sys.clock.mono();
        self.doing.insert(
            job.id,
            Doing {
                lane,
                entry,
                began,
                position: 0,
            },
        );
        Some(job)
    }

    fn progress(&mut self, id: u64, position: u64) {
        let Some(doing) = self.doing.get_mut(&id) else {
            return;
        };
        doing.position = position;
        self.agent.progressed();
        if let Some(transfer) = self.agent.transfers.borrow_mut().get_mut(&self.session) {
            transfer.show(&doing.entry, position);
        }
    }

    fn throttle(&mut self, bytes: usize) -> Option<LocalFuture<'static, ()>> {
        let schedule = self.agent.lane(self.lane?)?.schedule?;
        self.agent.buckets.get(schedule)?.borrow().as_ref()?;
        let (agent, mut want) = (self.agent.clone(), bytes as u64);
        Some(Box::pin(async move {
            while want > 0 {
                let now = agent.sys.clock.mono();
                let bucket = agent.buckets.get(schedule);
                let granted = bucket.and_then(|bucket| {
                    bucket
                        .borrow_mut()
                        .as_mut()
                        .map(|bucket| bucket.take(want, now))
                });
                match granted {
                    Some(Ok(granted)) => want = want.saturating_sub(granted),
                    Some(Err(later)) => agent.sys.clock.sleep_until(later).await,
                    None => return,
                }
            }
        }))
    }

    fn done(&mut self, id: u64, sent: u64, result: Result<Delivered, Failure>) {
        let Some(doing) = self.doing.remove(&id) else {
            return;
        };
        if let Some(transfer) = self.agent.transfers.borrow_mut().get_mut(&self.session) {
            transfer.sending = None;
            transfer.quiet_looks = 0;
        }
        if sent > 0 {
            let lane = doing.lane;
            self.agent.tell(Event::BytesSent { lane, bytes: sent });
        }
        match result {
            Ok(delivered) => self.delivered(&doing, sent, delivered),
            Err(failure) => self.failed(&doing, sent, &failure),
        }
    }
}

impl super::session::Transfer {
    fn show(&mut self, entry: &Entry, position: u64) {
        self.quiet_looks = 0;
        match &mut self.sending {
            Some(sending) if sending.path == entry.path => sending.sent = position,
            other => {
                *other = Some(Sending {
                    watch: entry.lane.clone(),
                    path: entry.path.clone(),
                    size: entry.size,
                    sent: position,
                });
            }
        }
    }
}

impl Agent {
    /// Makes room for what another entry spends. What is forgotten counts as tried:
    /// its next try looks at the server first.
    fn bound_tries(&self, tries: &mut BTreeMap<EntryId, Tries>, entry: &Entry) {
        if tries.len() < TRIES_MAX || tries.contains_key(&entry.id) {
            return;
        }
        let mut forgotten = self.forgotten.borrow_mut();
        for id in tries.keys() {
            let newest = forgotten.entry(lane_of(*id)).or_insert(*id);
            *newest = (*newest).max(*id);
        }
        tries.clear();
    }

    /// Writes a refusal down, or buries the entry, before anyone has it again.
    pub(super) async fn refused(&self, id: EntryId, why: String, verdict: Verdict) {
        let dead = verdict == Verdict::Dead;
        let noted = self
            .spool
            .with(move |spool| spool.failed(id, &why, dead))
            .await;
        if let Err(e) = noted {
            log::error!("spool: {e}");
        }
        if dead {
            self.tries.borrow_mut().remove(&id);
            self.outcome.borrow_mut().dead += 1;
        }
        self.release(id);
        self.signal.wake();
    }

    fn server_name(&self, session: SessionId) -> String {
        let transfers = self.transfers.borrow();
        let server = transfers
            .get(&session)
            .and_then(|t| self.setup.servers.get(t.server.0));
        server.map_or_else(String::new, |server| server.options.name.clone())
    }
}

/// The part of an entry's place that names its lane.
pub(super) fn lane_of(id: EntryId) -> u64 {
    id.place() >> 48
}

/// Entries that failed and wait again, of which is known what they cost so far.
const TRIES_MAX: usize = 1024;
