//! Answers to other commands, over the control socket.

use std::collections::BTreeMap;

use super::Agent;
use crate::spool::{EntryId, Spool, SpoolError, Standing, Stats};
use crate::status::report::{
    CurrentReport, Delivered, LaneReport, Report, ServerReport, SpoolReport,
};
use crate::status::{Answer, Request, Response};
use crate::supervisor::{Event, LaneId, LaneWaits, ServerId};
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
                Request::Flush { .. } => {
                    self.tell(Event::Flushed);
                    Response::done("trying now what waits")
                }
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
        }
    }

    fn lane_reports(&self, stats: &Stats, now: Mono) -> Vec<LaneReport> {
        let of: BTreeMap<&str, _> = stats.lanes.iter().map(|l| (l.name.as_str(), l)).collect();
        let state = self.state.borrow();
        let lanes = self.setup.lanes.iter().enumerate().map(|(place, setup)| {
            let stats = of.get(setup.watch.name.as_str());
            let view = state.lane(LaneId(place), now);
            let waits = view.as_ref().map_or(LaneWaits::Nothing, |view| view.waits);
            let next_try = view.and_then(|view| view.next_try);
            LaneReport {
                watch: setup.watch.name.clone(),
                files: stats.map_or(0, |lane| lane.waiting.files),
                bytes: stats.map_or(0, |lane| lane.waiting.bytes),
                paused: stats.is_some_and(|lane| lane.paused),
                next_try_s: next_try.map(|at| at.since(now).as_secs()),
                waits_for: words(waits).map(str::to_owned),
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
            let uploading = transfers.values().filter(here).any(|t| t.sending.is_some());
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
                learned: Vec::new(),
            }
        });
        servers.collect()
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

    async fn pause(&self, watches: &[String], paused: bool) -> Response {
        let mut lanes = Vec::new();
        if watches.is_empty() {
            lanes.extend((0..self.setup.lanes.len()).map(LaneId));
        }
        for watch in watches {
            match self.lane_id(watch) {
                Some(lane) => lanes.push(lane),
                None => return Response::refused(format!("there is no watch {watch:?}")),
            }
        }
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

    async fn retry(&self, ids: Vec<String>) -> Response {
        self.each(
            ids,
            Spool::retry,
            "put back into the queue",
            |agent, lane| {
                agent.tell(Event::EntriesQueued { lane, count: 1 });
            },
        )
        .await
    }

    async fn drop_entries(&self, ids: Vec<String>) -> Response {
        let waiting = |spool: &mut Spool, id| {
            let standing = spool.entry(id)?.standing;
            spool.drop_entry(id).map(|()| standing)
        };
        let mut dropped = 0;
        for id in match self.named(ids).await {
            Ok(ids) => ids,
            Err(response) => return response,
        } {
            if self.in_hand.borrow().contains_key(&id) {
                return Response::refused(format!("{id} is being uploaded now; try again later"));
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
        Response::done(format!("dropped {}", count(dropped, "entry", "entries")))
    }

    async fn each(
        &self,
        ids: Vec<String>,
        change: fn(&mut Spool, EntryId) -> Result<(), SpoolError>,
        done: &str,
        tell: fn(&Agent, LaneId),
    ) -> Response {
        let ids = match self.named(ids).await {
            Ok(ids) => ids,
            Err(response) => return response,
        };
        let changed = ids.len();
        for id in ids {
            let lane = self.lane_of(id).await;
            if let Err(e) = self.spool.with(move |spool| change(spool, id)).await {
                return Response::refused(e.to_string());
            }
            if let Some(lane) = lane {
                tell(self, lane);
            }
        }
        Response::done(format!("{done}: {}", count(changed, "entry", "entries")))
    }

    async fn lane_of(&self, id: EntryId) -> Option<LaneId> {
        let entry = self.spool.with(move |spool| spool.entry(id)).await.ok()?;
        self.lane_id(&entry.lane)
    }

    /// The entries that are named, or all dead letters.
    async fn named(&self, ids: Vec<String>) -> Result<Vec<EntryId>, Response> {
        if !ids.is_empty() {
            let parsed = ids.iter().map(|id| {
                id.parse()
                    .map_err(|e| Response::refused(format!("{id:?} is {e}")))
            });
            return parsed.collect();
        }
        let listed = self.spool.with(|spool| {
            let mut dead = Vec::new();
            let listed = spool.list(&mut |entry| {
                if entry.standing == Standing::Dead {
                    dead.push(entry.id);
                }
                dead.len() < DEAD_BATCH
            });
            listed.map(|()| dead)
        });
        listed.await.map_err(|e| Response::refused(e.to_string()))
    }
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
    match waits {
        LaneWaits::Nothing => None,
        LaneWaits::Paused => Some("paused by hand"),
        LaneWaits::Schedule(_) => Some("its schedule"),
        LaneWaits::Refused => Some("the server refuses its files"),
    }
}
