//! The receiver beside the agent: what it receives for a watch goes into the
//! spool, many at once in one batch.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use smol::channel::{Receiver as Ear, Sender as Mouth, bounded};

use super::Agent;
use super::intake::described;
use super::spooler::Spooler;
use crate::base::ByteSize;
use crate::receive::{
    Inbox, InboxError, Observer, ReceiveOptions, Received, Receiver, Room, Staged, Swept, sweep,
};
use crate::spool::{self, How, Spool, TakeError, Taking};
use crate::status::report::ReceiverReport;
use crate::supervisor::LaneId;
use crate::sys::{Fs, LocalFuture};
use crate::watch::Selection;

/// Uploads that may wait for the spool; the next ones wait to be queued.
const UPLOADS_WAITING: usize = 512;
/// After so long an upload that was cut is not continued any more.
const CUT_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Between looks at them.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);
/// Between tries to listen: an address may come up after the agent.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);
/// Transfers under way have so long to end: when the agent stops, and when it
/// goes on with another config.
const STOP_LIMIT: Duration = Duration::from_secs(3);
const RELOAD_LIMIT: Duration = Duration::from_secs(60);

/// What the agent knows of its receiver.
pub(super) struct Receiving {
    receiver: RefCell<Weak<Receiver>>,
    uploads: (Mouth<Upload>, Ear<Upload>),
    /// Whether it has sessions that may still bring files.
    running: Cell<bool>,
    /// Why it does not listen.
    trouble: RefCell<Option<String>>,
    /// Files and bytes since the start.
    pub(super) received: Cell<(u64, u64)>,
}

/// A file that is to be taken.
struct Upload {
    lane: LaneId,
    path: Vec<u8>,
    staged: Staged,
    answer: Mouth<Result<(), InboxError>>,
}

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            receiver: RefCell::default(),
            uploads: bounded(UPLOADS_WAITING),
            running: Cell::new(false),
            trouble: RefCell::default(),
            received: Cell::default(),
        }
    }

    /// Whether sessions or their uploads are not at their end.
    pub(super) fn is_busy(&self) -> bool {
        self.running.get() || !self.uploads.1.is_empty()
    }

    /// What `status` shows of it.
    pub(super) fn report(&self) -> ReceiverReport {
        let (files, bytes) = self.received.get();
        let receiver = self.receiver.borrow().upgrade();
        let addresses = receiver.iter().flat_map(|receiver| receiver.addresses());
        ReceiverReport {
            addresses: addresses.map(|(address, _)| address.to_string()).collect(),
            sessions: receiver.as_ref().map_or(0, |receiver| receiver.sessions()),
            files,
            bytes,
            fingerprint: (receiver.as_ref())
                .and_then(|receiver| receiver.fingerprint().map(str::to_owned)),
            last_error: self.trouble.borrow().clone(),
        }
    }
}

impl Agent {
    /// Begins to receive, if the config says so.
    pub(super) fn start_receiving(self: &Rc<Self>) {
        let Some(options) = &self.setup.receive else {
            return;
        };
        self.receiving.running.set(true);
        self.spawn(self.clone().receive(options.clone()));
        self.spawn(self.clone().take_uploads());
    }

    /// Has the receiver end soon; sessions without a transfer end now.
    pub(super) fn stop_receiving(&self) {
        let limit = match self.draining.get() {
            true => RELOAD_LIMIT,
            false => STOP_LIMIT,
        };
        match self.receiving.receiver.borrow().upgrade() {
            Some(receiver) => receiver.stop(limit),
            // It could not listen, and tries no more.
            None => self.receiving.running.set(false),
        }
    }

    /// Listens, and serves until the agent stops.
    async fn receive(self: Rc<Self>, options: ReceiveOptions) {
        self.sweep_incoming().await;
        if let Some(receiver) = self.listen_for_uploads(&options).await {
            let receiver = Rc::new(receiver);
            *self.receiving.receiver.borrow_mut() = Rc::downgrade(&receiver);
            if self.stopping.get() {
                receiver.stop(Duration::ZERO);
            }
            smol::future::or(receiver.run(), self.sweep_daily()).await;
        }
        self.receiving.running.set(false);
    }

    /// Tries until it can listen, or the agent stops.
    async fn listen_for_uploads(self: &Rc<Self>, options: &ReceiveOptions) -> Option<Receiver> {
        let state_dir = self.setup.spool_dir.join("receive");
        while !self.stopping.get() {
            let bound = self.bind_receiver(options, &state_dir).await;
            let error = match bound {
                Ok(receiver) => {
                    self.receiving.trouble.take();
                    self.say_addresses(&receiver);
                    return Some(receiver);
                }
                Err(error) => error,
            };
            let last = self.receiving.trouble.replace(Some(error.clone()));
            if last.as_ref() != Some(&error) {
                log::error!("receive: {error}; it is tried again until it goes");
            }
            let later = self.sys.clock.mono().after(LISTEN_PAUSE);
            let sleep = self.sys.clock.sleep_until(later);
            smol::future::or(sleep, self.stopped.wait_closed()).await;
        }
        None
    }

    async fn bind_receiver(
        self: &Rc<Self>,
        options: &ReceiveOptions,
        state_dir: &std::path::Path,
    ) -> Result<Receiver, String> {
        let (fs, dir) = (self.sys.fs.clone(), state_dir.to_owned());
        let made = self.sys.pool.run(move || make_dir(&*fs, &dir)).await;
        made.map_err(|e| format!("{}: {e}", state_dir.display()))?;
        let inbox = Rc::new(SpoolInbox {
            agent: self.clone(),
            rules: (self.setup.lanes.iter())
                .map(|lane| Selection::new(&lane.watch))
                .collect(),
        });
        let observer = Rc::new(Counter(self.clone()));
        let bound = Receiver::bind(&self.sys, options.clone(), inbox, Some(state_dir), observer);
        bound.await.map_err(|e| e.to_string())
    }

    fn say_addresses(&self, receiver: &Receiver) {
        for (address, implicit) in receiver.addresses() {
            let how = if implicit { " with TLS" } else { "" };
            log::info!("receive: listening on {address}{how}");
        }
        if let Some(fingerprint) = receiver.fingerprint() {
            log::info!("receive: the certificate's SHA-256 is {fingerprint}");
        }
    }

    /// Looks after cut uploads once a day.
    async fn sweep_daily(&self) {
        loop {
            let tomorrow = self.sys.clock.mono().after(SWEEP_EVERY);
            self.sys.clock.sleep_until(tomorrow).await;
            self.sweep_incoming().await;
        }
    }

    /// Removes what was cut long ago and nobody continued, and says what waits to
    /// go on: its sender may have given it up, or may think that it is done.
    async fn sweep_incoming(&self) {
        let now = self.moment();
        if !now.trust.is_sane() {
            log::info!("receive: uploads that were cut are kept, because the clock is not set");
            return;
        }
        let age = i64::try_from(CUT_AGE.as_nanos()).unwrap_or(i64::MAX);
        let before = now.wall.0.saturating_sub(age);
        for lane in &self.setup.lanes {
            let name = lane.watch.name.clone();
            let dir = spool::incoming_dir(&self.setup.spool_dir, &name);
            let fs = self.sys.fs.clone();
            let swept = self.sys.pool.run(move || sweep(&*fs, &dir, before)).await;
            match swept {
                Ok(swept) => say_swept(&name, &swept),
                Err(e) => log::warn!("receive: watch {name:?}: cut uploads: {e}"),
            }
        }
    }

    /// Takes what was uploaded: all that waits is one batch, with one flush.
    async fn take_uploads(self: Rc<Self>) {
        let uploads = self.receiving.uploads.1.clone();
        while let Ok(first) = uploads.recv().await {
            let mut batch = vec![first];
            while batch.len() < UPLOADS_WAITING
                && let Ok(next) = uploads.try_recv()
            {
                batch.push(next);
            }
            // Lane by lane; within one, in the order in which they came.
            batch.sort_by_key(|upload| upload.lane);
            while let Some(lane) = batch.first().map(|upload| upload.lane) {
                let end = batch.partition_point(|upload| upload.lane <= lane);
                let rest = batch.split_off(end);
                self.take_for(lane, std::mem::replace(&mut batch, rest))
                    .await;
            }
        }
    }

    async fn take_for(&self, lane: LaneId, uploads: Vec<Upload>) {
        let Some(setup) = self.lane(lane) else { return };
        let (name, fs) = (setup.watch.name.clone(), self.sys.fs.clone());
        let files: Vec<_> = (uploads.iter())
            .map(|upload| (upload.staged.path(), upload.path.clone()))
            .collect();
        let take = move |spool: &mut Spool| {
            let before = spool.lane_waiting(&name);
            let taken = take_staged(&*fs, spool, &name, files);
            (taken, before, spool.lane_waiting(&name))
        };
        let (taken, before, after) = self.spool.with(take).await;
        let count = taken.iter().filter(|result| result.is_ok()).count() as u64;
        self.count_intake(lane, before, after, count);
        let mut full = None;
        for (upload, result) in uploads.into_iter().zip(&taken) {
            let answer = result.as_ref().map(drop).map_err(|e| self.not_received(e));
            if answer == Err(InboxError::Full) {
                full = result.as_ref().err();
            }
            drop(upload.staged);
            let _nobody_waits_any_more = upload.answer.try_send(answer);
        }
        self.say_room_for_uploads(lane, full, count > 0);
    }

    /// What the client hears.
    fn not_received(&self, error: &TakeError) -> InboxError {
        match error {
            TakeError::Dropped => InboxError::Full,
            error if error.is_full() => InboxError::Full,
            TakeError::BadName => InboxError::Name(error.to_string()),
            TakeError::Gone
            | TakeError::Changed
            | TakeError::NotAFile
            | TakeError::Twice
            | TakeError::Stays(_) => InboxError::Changed,
            TakeError::Spool(e) => {
                self.spool_failed(&e.to_string());
                InboxError::Failed("the spool failed".to_owned())
            }
            error => {
                log::warn!("receive: {}", described(error));
                InboxError::Failed("the file cannot be taken".to_owned())
            }
        }
    }

    /// Says once that there is no room, and once that there is room again.
    fn say_room_for_uploads(&self, lane: LaneId, full: Option<&TakeError>, took: bool) {
        let watch = self.lane(lane).map_or("", |setup| &setup.watch.name);
        let mut without_room = self.without_room.borrow_mut();
        match full {
            Some(error) if without_room.insert(lane) => {
                let why = described(error);
                log::warn!("watch {watch:?}: {why}; uploads to it are refused until there is room");
            }
            None if took && without_room.remove(&lane) => {
                log::info!("watch {watch:?}: there is room again");
            }
            _ => {}
        }
    }
}

/// One line for each upload that is not delivered because it was cut.
fn say_swept(watch: &str, swept: &Swept) {
    let fates = [
        (
            &swept.removed,
            "was cut more than 7 days ago and is removed",
        ),
        (&swept.unfinished, "was cut and waits to go on"),
    ];
    for (cuts, fate) in fates {
        for (path, bytes) in &cuts.named {
            log::warn!(
                "receive: watch {watch:?}: the upload of {} {fate} ({bytes} bytes came)",
                path.escape_ascii()
            );
        }
        if cuts.files > cuts.named.len() as u64 {
            log::warn!(
                "receive: watch {watch:?}: this is so of {} uploads in all ({})",
                cuts.files,
                ByteSize(cuts.bytes)
            );
        }
    }
    if swept.waiting > 0 {
        log::info!(
            "receive: watch {watch:?}: files that wait for a name that the watch takes: {}",
            swept.waiting
        );
    }
}

/// Takes files that are staged on the spool's filesystem.
fn take_staged(
    fs: &dyn Fs,
    spool: &mut Spool,
    lane: &str,
    files: Vec<(PathBuf, Vec<u8>)>,
) -> Vec<Result<(), TakeError>> {
    let mut results = Vec::with_capacity(files.len());
    let mut takings = Vec::with_capacity(files.len());
    for (source, path) in files {
        match fs.meta(&source) {
            Ok(expect) => {
                takings.push(Taking {
                    source,
                    path,
                    how: How::Move,
                    expect,
                    closed: true,
                });
                results.push(Ok(()));
            }
            Err(_) => results.push(Err(TakeError::Gone)),
        }
    }
    let mut taken = spool.take(lane, &takings).into_iter();
    for result in results.iter_mut().filter(|result| result.is_ok()) {
        *result = taken.next().unwrap_or(Err(TakeError::Gone)).map(drop);
    }
    results
}

/// Makes a directory whose parent is there.
fn make_dir(fs: &dyn Fs, dir: &std::path::Path) -> io::Result<()> {
    match fs.create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Counts what was received.
struct Counter(Rc<Agent>);

impl Observer for Counter {
    fn received(&self, received: &Received) {
        let (files, bytes) = self.0.receiving.received.get();
        let sum = (files + 1, bytes.saturating_add(received.size));
        self.0.receiving.received.set(sum);
    }
}

/// The spool, as the receiver sees it.
struct SpoolInbox {
    agent: Rc<Agent>,
    /// Which names each lane takes.
    rules: Vec<Option<Selection>>,
}

impl Inbox for SpoolInbox {
    fn staging(&self, lane: &str) -> io::Result<PathBuf> {
        if self.agent.lane_id(lane).is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let dir = &self.agent.setup.spool_dir;
        spool::make_incoming(&*self.agent.sys.fs, dir, lane)
    }

    fn wants(&self, lane: &str, path: &[u8]) -> bool {
        let rules = (self.agent.lane_id(lane)).and_then(|lane| self.rules.get(lane.0)?.as_ref());
        rules.is_some_and(|rules| rules.takes(path))
    }

    fn room(&self, lane: &str) -> Arc<dyn Room> {
        Arc::new(LaneRoom {
            spool: self.agent.spool.clone(),
            lane: lane.to_owned(),
        })
    }

    fn take<'a>(
        &'a self,
        lane: &'a str,
        path: &'a [u8],
        staged: Staged,
    ) -> LocalFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            let gone = || InboxError::Failed("the agent stops".to_owned());
            let lane = self.agent.lane_id(lane).ok_or_else(gone)?;
            let (answer, result) = bounded(1);
            let upload = Upload {
                lane,
                path: path.to_vec(),
                staged,
                answer,
            };
            let uploads = &self.agent.receiving.uploads.0;
            uploads.send(upload).await.map_err(|_| gone())?;
            result.recv().await.map_err(|_| gone())?
        })
    }
}

/// The room that a lane has in the spool.
struct LaneRoom {
    spool: Spooler,
    lane: String,
}

impl Room for LaneRoom {
    fn free(&self, staged: u64) -> u64 {
        let free = self.spool.blocking(|spool| spool.free_room(staged));
        free.unwrap_or_default()
    }

    fn has(&self, staged: u64, more: u64) -> bool {
        let ask = |spool: &mut Spool| spool.has_room(&self.lane, staged, more);
        self.spool.blocking(ask).unwrap_or_else(|e| {
            log::warn!("spool: {e}");
            false
        })
    }

    fn waiting(&self) -> (u64, u64) {
        let tally = self.spool.blocking(|spool| spool.lane_tally(&self.lane));
        (tally.files, tally.bytes)
    }
}
