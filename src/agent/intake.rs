//! Intake: what the watching found goes into the spool, a batch at a time.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use smol::channel::{Receiver, Sender, bounded};

use super::Agent;
use super::spooler::Spooler;
use crate::base::ByteSize;
use crate::spool::{How, Spool, TakeError, Taking};
use crate::supervisor::{Event, LaneId};
use crate::sys::Meta;
use crate::watch::{
    self, AlreadyTaken, Control, OnceError, Ready, TakenBefore, Watcher, remove_marker, scan_once,
};

/// Batches that may wait while one is being taken: the watching then pauses.
const BATCHES_WAITING: usize = 1;
/// How long to wait for room before looking again.
const ROOM_PAUSE: Duration = Duration::from_secs(5);

impl Agent {
    /// Watches one directory and takes what is ready, for as long as it is polled.
    pub(super) async fn watch_lane(self: Rc<Self>, lane: LaneId) {
        let Some(setup) = self.lane(lane).filter(|setup| setup.watched) else {
            return;
        };
        let (sender, receiver) = bounded(BATCHES_WAITING);
        let taken = self.already_taken(&setup.watch);
        let (hints, options) = (self.setup.hints.clone(), setup.watch.clone());
        let started = Watcher::start(&self.sys, hints, options, taken, sender);
        match started {
            Ok((watcher, control)) => {
                let counted = async {
                    control.begun().await;
                    self.watch_begun();
                    std::future::pending::<()>().await;
                };
                let taking = self.take_all(lane, &receiver, Some(&control));
                smol::future::or(watcher.run(), smol::future::or(taking, counted)).await;
            }
            Err(e) => {
                log::error!("watch {:?}: {e}", setup.watch.name);
                self.watch_begun();
            }
        }
    }

    /// Takes what is ready in one directory now.
    pub(super) async fn scan_lane(&self, lane: LaneId) -> Result<(), OnceError> {
        let Some(setup) = self.lane(lane).filter(|setup| setup.watched) else {
            return Ok(());
        };
        let (sender, receiver): (Sender<Vec<Ready>>, _) = bounded(BATCHES_WAITING);
        let taken = self.already_taken(&setup.watch);
        let scan = scan_once(&self.sys, &setup.watch, taken, sender);
        let (scanned, ()) = smol::future::zip(scan, self.take_all(lane, &receiver, None)).await;
        let report = scanned?;
        if report.unfinished > 0 {
            log::info!(
                "watch {:?}: files that are still being written were left where they are: {}",
                setup.watch.name,
                report.unfinished
            );
        }
        Ok(())
    }

    async fn take_all(
        &self,
        lane: LaneId,
        batches: &Receiver<Vec<Ready>>,
        control: Option<&Control>,
    ) {
        while let Ok(batch) = batches.recv().await {
            let full = self.take_batch(lane, batch).await;
            if full {
                match control {
                    // The files stay where they are, and are offered again.
                    Some(control) => {
                        let later = self.sys.clock.mono().after(ROOM_PAUSE);
                        self.sys.clock.sleep_until(later).await;
                        control.rescan_in(ROOM_PAUSE);
                    }
                    None => continue,
                }
            }
        }
    }

    /// Takes a batch; says whether there was no room for some of it.
    async fn take_batch(&self, lane: LaneId, batch: Vec<Ready>) -> bool {
        let Some(setup) = self.lane(lane) else {
            return false;
        };
        let name = setup.watch.name.clone();
        let how = match setup.watch.take {
            watch::Take::Move => How::Move,
            watch::Take::Copy => How::Copy,
        };
        let takings: Vec<Taking> = batch
            .iter()
            .map(|ready| Taking {
                source: ready.source.clone(),
                path: ready.path.clone(),
                how,
                expect: ready.meta,
                closed: ready.marker.is_none(),
            })
            .collect();
        let (fs, options) = (self.sys.fs.clone(), setup.watch.clone());
        let taking = move |spool: &mut Spool| {
            let before = spool.lane_waiting(&name);
            let taken = spool.take(&name, &takings);
            (taken, before, spool.lane_waiting(&name))
        };
        let (taken, before, after) = self.spool.with(taking).await;
        let count = taken.iter().filter(|result| result.is_ok()).count() as u64;
        self.count_intake(lane, before, after, count);
        let mut full = None;
        for (ready, result) in batch.iter().zip(&taken) {
            match result {
                Ok(_) if ready.marker.is_some() => {
                    let (fs, options, ready) = (fs.clone(), options.clone(), ready.clone());
                    let removed = self
                        .sys
                        .pool
                        .run(move || remove_marker(&*fs, &options, &ready));
                    if let Err(e) = removed.await {
                        log::warn!("watch {:?}: marker not removed: {e}", setup.watch.name);
                    }
                }
                Ok(_) => {}
                Err(e) if self.not_taken(&setup.watch.name, ready, e) => {
                    full.get_or_insert(e);
                }
                Err(_) => {}
            }
        }
        self.say_room(lane, full, count > 0);
        full.is_some()
    }

    /// Says once that there is no room, and once that there is room again.
    fn say_room(&self, lane: LaneId, full: Option<&TakeError>, took: bool) {
        let watch = self.lane(lane).map_or("", |setup| &setup.watch.name);
        let mut without_room = self.without_room.borrow_mut();
        match full {
            Some(error) if without_room.insert(lane) => {
                log::warn!(
                    "watch {watch:?}: {}; its files are left at the source until there is room",
                    described(error)
                );
            }
            None if took && without_room.remove(&lane) => {
                log::info!("watch {watch:?}: there is room again");
            }
            _ => {}
        }
    }

    /// Tells the supervisor what came in, and what the policy evicted for it.
    pub(super) fn count_intake(&self, lane: LaneId, before: u64, after: u64, count: u64) {
        if count > 0 {
            self.progressed();
            self.tell(Event::EntriesQueued { lane, count });
        }
        let evicted = (before + count).saturating_sub(after);
        if evicted > 0 {
            self.tell(Event::EntriesDropped {
                lane,
                count: evicted,
            });
        }
    }

    /// Says why, once; answers whether room was what was missing.
    fn not_taken(&self, watch: &str, ready: &Ready, error: &TakeError) -> bool {
        let path = ready.path.escape_ascii();
        match error {
            // It will be looked at again, by a notice or by the next scan.
            TakeError::Gone | TakeError::Changed | TakeError::Twice => {
                log::debug!("watch {watch:?}: {path}: {error}");
                return false;
            }
            TakeError::Dropped => log::warn!("watch {watch:?}: {path}: {error}"),
            TakeError::Spool(e) if !e.is_full() => {
                self.spool_failed(&e.to_string());
                return false;
            }
            _ => {
                self.outcome.borrow_mut().not_taken += 1;
                let limit = self.setup.spool.max_size;
                let why = match error {
                    TakeError::Full { size } if *size > limit => format!(
                        "its {} never fit into the spool of {} (raise spool.max_size)",
                        ByteSize(*size),
                        ByteSize(limit)
                    ),
                    error if error.is_full() => return true,
                    error => described(error),
                };
                let line = format!("watch {watch:?}: {path}: {why}; left at the source");
                let now = self.sys.clock.mono();
                if self.said.borrow_mut().is_news(line.as_bytes(), now) {
                    log::warn!("{line}");
                }
            }
        }
        false
    }

    fn already_taken(&self, options: &watch::WatchOptions) -> AlreadyTaken {
        match options.take {
            watch::Take::Move => Arc::new(Moves(self.spool.clone())),
            watch::Take::Copy => Arc::new(Copies {
                lane: options.name.clone(),
                spool: self.spool.clone(),
            }),
        }
    }
}

/// What a lane moves is gone, but for what a crash left aside.
struct Moves(Spooler);

impl TakenBefore for Moves {
    fn contains(&self, _path: &[u8], _meta: &Meta) -> bool {
        false
    }

    fn return_aside(&self, path: &Path) {
        // With the spool in hand, nothing is being taken.
        self.0.blocking(|spool| spool.return_aside(path));
    }
}

/// The versions that a lane has taken by copy, as the spool knows them.
struct Copies {
    lane: String,
    spool: Spooler,
}

impl TakenBefore for Copies {
    fn contains(&self, path: &[u8], meta: &Meta) -> bool {
        let (size, mtime_ns) = (meta.size, meta.mtime_ns);
        let ask = |spool: &mut Spool| spool.is_seen(&self.lane, path, size, mtime_ns);
        self.spool.blocking(ask).unwrap_or_else(|e| {
            // Not taken now is better than taken twice; the next scan asks again.
            log::warn!("spool: {e}");
            true
        })
    }

    fn begin_scan(&self) {
        self.spool.blocking(|spool| spool.begin_scan(&self.lane));
    }

    fn end_scan(&self) {
        if let Err(e) = self.spool.blocking(|spool| spool.end_scan(&self.lane)) {
            // Files that are gone are remembered until a later scan.
            log::warn!("spool: {e}");
        }
    }
}

pub(super) fn described(error: &TakeError) -> String {
    let cause = std::error::Error::source(error);
    let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}")
}
