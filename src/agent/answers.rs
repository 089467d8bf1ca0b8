//! Answers to other commands, over the control socket.

use std::collections::BTreeMap;

use super::Agent;
use crate::base::format_span;
use crate::schedule::Waiting;
use crate::spool::{EntryId, Spool, SpoolError, Standing, Stats};
use crate::status::report::{
    CurrentReport, Delivered, LaneReport, Report, ServerReport, SpoolReport,
};
use crate::status::{Answer, Request, Response};
use crate::supervisor::{Event, Fault, LaneId, LaneWaits, ServerId};
use crate::sys::{LocalFuture, Mono, Wall};

/// Dead letters that are handled in one go.
const DEAD_BATCH: usize = 256;

impl Answer for Agent {
    fn answer(&self, request: Request) -> LocalFuture<'_, Response> {
        Box::pin(async move {
            match request {
                Request::Status => self.status().await,
                Request::Pause { watches } => self.pause(&watches, true).await,
                Request::Resume { watches } => self.pause(&watches, false).await,
                Request::Flush { watches } => self.flush(&watches),
                Request::Retry { ids } => self.retry(ids).await,
                Request::Drop { ids } => self.drop_entries(ids).await,
            }
        })
    }
}

impl Agent {
    async fn status(&self) -> Response {
        let stats = self.spool.with(|spool| spool.stats()).await;
        match serde_json::to_value(self.report(&stats)) {
            Ok(data) => Response::with(data),
            Err(e) => Response::refused(e.to_string()),
        }
    }

    fn report(&self, stats: &Stats) -> Report {
        let now = self.sys.clock.mono();
        let wall = self.sys.clock.wall();
        let oldest = stats.lanes.iter().filter_map(|lane| lane.oldest).min();
        let (files, bytes) = self.delivered.get();
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            device: self.setup.device.clone(),
            state: "running".to_owned(),
            uptime_s: now.since(self.started).as_secs(),
            spool: SpoolReport {
                files: stats.waiting.files,
                bytes: stats.waiting.bytes,
                max_bytes: self.setup.spool.max_size,
                oldest_age_s: oldest.map(|oldest| age(oldest, wall)),
                dead_letters: stats.dead.files,
            },
            lanes: self.lane_reports(stats, now),
            servers: self.server_reports(now),
            current: self.current(),
            delivered: Delivered { files, bytes },
            receiver: (self.setup.receive.as_ref()).map(|_| self.receiving.report()),
        }
    }

    fn lane_reports(&self, stats: &Stats, now: Mono) -> Vec<LaneReport> {
        let of: BTreeMap<&str, _> = stats.lanes.iter().map(|l| (l.name.as_str(), l)).collect();
        let state = self.state.borrow();
        let lanes = self.setup.lanes.iter().enumerate().map(|(place, setup)| {
            let stats = of.get(setup.watch.name.as_str());
            let view = state.lane(LaneId(place), now);
            let waits = view.as_ref().map_or(LaneWaits::Nothing, |view| view.waits);
            let mut next_try = view.and_then(|view| view.next_try);
            let mut away = None;
            let server = state.server(ServerId(setup.server), now);
            let server_try = server.filter(|server| server.trouble.is_some());
            if let Some(at) = server_try.and_then(|server| server.next_try)
                && view.is_some_and(|view| view.waiting > 0 && view.in_flight == 0)
                && next_try.is_none()
            {
                next_try = Some(at);
                away = Some("its server".to_owned());
            }
            LaneReport {
                watch: setup.watch.name.clone(),
                files: stats.map_or(0, |lane| lane.waiting.files),
                bytes: stats.map_or(0, |lane| lane.waiting.bytes),
                paused: stats.is_some_and(|lane| lane.paused),
                next_try_s: next_try.map(|at| at.since(now).as_secs()),
                waits_for: words(waits).map(str::to_owned).or(away),
            }
        });
        lanes.collect()
    }

    fn server_reports(&self, now: Mono) -> Vec<ServerReport> {
        let state = self.state.borrow();
        let transfers = self.transfers.borrow();
        let servers = self.setup.servers.iter().zip(&self.servers).enumerate();
        let servers = servers.map(|(place, (setup, slot))| {
            let view = state.server(ServerId(place), now);
            let next_try = view.as_ref().and_then(|view| view.next_try);
            let here = |t: &&super::session::Transfer| t.server == ServerId(place);
            let sending = transfers.values().filter(here).any(|t| t.sending.is_some());
            let uploading = sending || view.is_some_and(|view| view.in_flight > 0);
            let trouble = view.is_some_and(|view| view.trouble.is_some());
            let name = match (uploading, trouble, next_try) {
                (true, ..) => "uploading",
                (false, true, _) => "down",
                (false, false, Some(_)) => "waiting",
                (false, false, None) => "idle",
            };
            ServerReport {
                name: setup.options.name.clone(),
                state: name.to_owned(),
                last_error: slot.last_error.borrow().clone(),
                next_try_s: next_try.map(|at| at.since(now).as_secs()),
                learned: self.learned(slot),
            }
        });
        servers.collect()
    }

    /// What is known of a server by now.
    fn learned(&self, slot: &super::ServerSlot) -> Vec<String> {
        match &*slot.ready.borrow() {
            Some(server) => server.profile().facts(),
            None => slot.profile.facts(),
        }
    }

    fn current(&self) -> Vec<CurrentReport> {
        let transfers = self.transfers.borrow();
        let sending = transfers
            .values()
            .filter_map(|transfer| transfer.sending.as_ref());
        let current = sending.map(|sending| CurrentReport {
            watch: sending.watch.clone(),
            path: String::from_utf8_lossy(&sending.path).into_owned(),
            size: sending.size,
            sent: sending.sent,
        });
        current.collect()
    }

    /// The lanes that are named, or all.
    fn lanes_named(&self, watches: &[String]) -> Result<Vec<LaneId>, Response> {
        if watches.is_empty() {
            return Ok((0..self.setup.lanes.len()).map(LaneId).collect());
        }
        let named = watches.iter().map(|watch| {
            let unknown = || Response::refused(format!("there is no watch {watch:?}"));
            self.lane_id(watch).ok_or_else(unknown)
        });
        named.collect()
    }

    fn flush(&self, watches: &[String]) -> Response {
        let lanes = match self.lanes_named(watches) {
            Ok(lanes) => lanes,
            Err(response) => return response,
        };
        for lane in &lanes {
            self.tell(Event::Flushed(*lane));
        }
        let mut said = "what waits is uploaded now".to_owned();
        let (state, now) = (self.state.borrow(), self.sys.clock.mono());
        for (place, setup) in self.setup.servers.iter().enumerate() {
            let view = state.server(ServerId(place), now);
            if let Some(view) = view.filter(|view| view.trouble == Some(Fault::Login))
                && let Some(at) = view.next_try
            {
                let wait = format_span(at.since(now));
                let name = &setup.options.name;
                said += &format!("; {name} refused the login and is tried again in {wait}");
            }
        }
        Response::done(said)
    }

    async fn pause(&self, watches: &[String], paused: bool) -> Response {
        let lanes = match self.lanes_named(watches) {
            Ok(lanes) => lanes,
            Err(response) => return response,
        };
        for lane in &lanes {
            let Some(setup) = self.lane(*lane) else {
                continue;
            };
            let name = setup.watch.name.clone();
            if let Err(e) = self
                .spool
                .with(move |spool| spool.set_paused(&name, paused))
                .await
            {
                return Response::refused(e.to_string());
            }
            let event = match paused {
                true => Event::Paused(*lane),
                false => Event::Resumed(*lane),
            };
            self.tell(event);
        }
        let done = if paused { "paused" } else { "resumed" };
        Response::done(format!("{done} {}", count(lanes.len(), "watch", "watches")))
    }

    async fn drop_entries(&self, ids: Vec<String>) -> Response {
        let waiting = |spool: &mut Spool, id| {
            let standing = spool.entry(id)?.standing;
            spool.drop_entry(id).map(|()| standing)
        };
        let mut dropped = 0;
        let mut named = Named::new(ids);
        while let Some(batch) = self.next_named(&mut named).await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(response) => return response,
            };
            for id in batch {
                if self.in_hand.borrow().contains_key(&id) {
                    let why = format!("{id} is being uploaded now; try again later");
                    return Response::refused(why);
                }
                let lane = self.lane_of(id).await;
                match self.spool.with(move |spool| waiting(spool, id)).await {
                    Ok(Standing::Waiting) => {
                        if let Some(lane) = lane {
                            self.tell(Event::EntriesDropped { lane, count: 1 });
                        }
                    }
                    Ok(Standing::Dead) => {}
                    Err(e) => return Response::refused(e.to_string()),
                }
                dropped += 1;
            }
        }
        Response::done(format!("{} dropped", count(dropped, "file", "files")))
    }

    async fn retry(&self, ids: Vec<String>) -> Response {
        let mut changed = 0;
        let mut named = Named::new(ids);
        while let Some(batch) = self.next_named(&mut named).await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(response) => return response,
            };
            for id in batch {
                let lane = self.lane_of(id).await;
                if let Err(e) = self.spool.with(move |spool| spool.retry(id)).await {
                    return Response::refused(e.to_string());
                }
                if let Some(lane) = lane {
                    self.tell(Event::EntriesQueued { lane, count: 1 });
                }
                changed += 1;
            }
        }
        Response::done(format!("{} queued again", count(changed, "file", "files")))
    }

    async fn lane_of(&self, id: EntryId) -> Option<LaneId> {
        let entry = self.spool.with(move |spool| spool.entry(id)).await.ok()?;
        self.lane_id(&entry.lane)
    }

    /// The next of the entries that are named, or of all dead letters: those leave
    /// the list as they are dealt with, so it is asked for again until it is empty.
    async fn next_named(&self, named: &mut Named) -> Option<Result<Vec<EntryId>, Response>> {
        let ids = match named {
            Named::Done => return None,
            Named::Ids(ids) => std::mem::take(ids),
            Named::AllDead => {
                let dead = self.spool.with(some_dead).await;
                return match dead {
                    Ok(dead) if dead.is_empty() => None,
                    Ok(dead) => Some(Ok(dead)),
                    Err(e) => Some(Err(Response::refused(e.to_string()))),
                };
            }
        };
        *named = Named::Done;
        let parsed = ids.iter().map(|id| {
            id.parse()
                .map_err(|e| Response::refused(format!("{id:?} is {e}")))
        });
        Some(parsed.collect())
    }
}

/// What an order is about.
enum Named {
    Ids(Vec<String>),
    AllDead,
    Done,
}

impl Named {
    fn new(ids: Vec<String>) -> Named {
        match ids.is_empty() {
            true => Named::AllDead,
            false => Named::Ids(ids),
        }
    }
}

/// The first dead letters, a bounded number of them.
fn some_dead(spool: &mut Spool) -> Result<Vec<EntryId>, SpoolError> {
    let mut dead = Vec::new();
    spool.list(&mut |entry| {
        if entry.standing == Standing::Dead {
            dead.push(entry.id);
        }
        dead.len() < DEAD_BATCH
    })?;
    Ok(dead)
}

fn age(then: Wall, now: Wall) -> u64 {
    u64::try_from(now.secs().saturating_sub(then.secs())).unwrap_or(0)
}

fn count(n: usize, one: &str, many: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {many}"),
    }
}

fn words(waits: LaneWaits) -> Option<&'static str> {
    Some(match waits {
        LaneWaits::Nothing => return None,
        LaneWaits::Paused => "paused by hand",
        LaneWaits::Schedule(Waiting::Window) => "its schedule's window",
        LaneWaits::Schedule(Waiting::Turn) => "its schedule's next time",
        LaneWaits::Schedule(Waiting::Splay) => "its schedule's splay",
        LaneWaits::Schedule(Waiting::SaneClock) => "a clock that is set",
        LaneWaits::Schedule(Waiting::Budget) => "a new day (its daily budget is spent)",
        LaneWaits::Refused => "a right or a directory (everything it sends is refused)",
        LaneWaits::Held => "another try of refused files",
    })
}
