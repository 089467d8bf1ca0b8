//! One stretch of watching: the same options, the same directory. It decides what
//! to do next; the looking itself is done on the pool.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use smol::future::or;

use crate::sys::Mono;

use super::find::{Finder, Looked};
use super::hints::{Hint, Hints};
use super::run::{Command, Watcher};
use super::scan::{Scan, Step};
use super::settle::Sign;
use super::{BATCH_MAX, WatchOptions};

/// Between scans where notices work: they lose nothing that they do not tell of,
/// and this is for the rest.
const SCAN_EVERY: Duration = Duration::from_secs(300);

/// Between scans where nothing else finds files, and between looks for a
/// directory that is not there.
pub(super) const POLL_EVERY: Duration = Duration::from_secs(10);

/// Planned scans may take a tenth of the time, and those that are asked for (lost
/// notices, in a burst, one after the other) half of it: a huge tree must not keep
/// the device busy.
const PLANNED_REST: u32 = 9;

/// Directories that may wait to be gone through; more than that, and all are.
const DIRS_MAX: usize = 16;

/// Why a stretch of watching ended.
pub(super) enum End {
    Stop,
    /// The options changed, or the directory was replaced: begin anew.
    Again,
    /// The directory is not there or cannot be read.
    NoDir(io::Error),
}

/// A scan under way.
struct Running {
    scan: Scan,
    /// When it began.
    since: Mono,
    /// How long it worked, without the waiting for offers to be accepted.
    worked: Duration,
    whole: bool,
    held: bool,
}

/// One stretch of watching with the same options and the same directory.
pub(super) struct Stretch {
    /// Away only while a job on the pool has it.
    finder: Option<Box<Finder>>,
    root: (u64, u64),
    hints: Option<Box<dyn Hints>>,
    scan_every: Duration,
    scan: Option<Running>,
    dirs: VecDeque<Vec<u8>>,
    next_scan: Mono,
}

/// What ended a wait.
enum Wake {
    Hint(Hint),
    Time,
    Told(Option<Command>),
}

impl Stretch {
    /// A stretch that begins with a scan. With `polls`, hints alone do not find
    /// everything.
    pub(super) fn new(
        finder: Finder,
        root: (u64, u64),
        hints: Option<Box<dyn Hints>>,
        polls: bool,
    ) -> Stretch {
        Stretch {
            finder: Some(Box::new(finder)),
            root,
            hints,
            scan_every: if polls { POLL_EVERY } else { SCAN_EVERY },
            scan: None,
            dirs: VecDeque::new(),
            next_scan: Mono::default(),
        }
    }

    /// Watches until something ends the stretch.
    pub(super) async fn run(mut self, watcher: &mut Watcher) -> End {
        loop {
            if let Err(end) = self.turn(watcher).await {
                return end;
            }
        }
    }

    /// One turn: what is due, or else a wait.
    async fn turn(&mut self, watcher: &mut Watcher) -> Result<(), End> {
        while let Ok(command) = watcher.control.try_recv() {
            self.handle_command(watcher, Some(command))?;
        }
        self.handle_hints(watcher, None).await?;
        self.look_due(watcher).await?;
        if self
            .scan
            .as_ref()
            .is_some_and(|scan| !scan.held || self.has_room())
        {
            return self.scan_on(watcher).await;
        }
        if self.scan.is_none() && self.begin_scan(watcher).await? {
            return Ok(());
        }
        match self.wait(watcher).await {
            Wake::Time => Ok(()),
            Wake::Told(command) => self.handle_command(watcher, command),
            Wake::Hint(hint) => self.handle_hints(watcher, Some(hint)).await,
        }
    }

    fn has_room(&self) -> bool {
        self.finder
            .as_ref()
            .is_some_and(|finder| !finder.settling.is_full())
    }

    async fn wait(&mut self, watcher: &Watcher) -> Wake {
        let waiting = self
            .finder
            .as_ref()
            .and_then(|finder| finder.settling.poll_timeout());
        // While a scan is held, the waiting files decide when it goes on.
        let scan = self.scan.is_none().then_some(self.next_scan);
        let until = [waiting, scan].into_iter().flatten().min();
        let until = until.unwrap_or(self.next_scan);
        let time = async {
            watcher.sys.clock.sleep_until(until).await;
            Wake::Time
        };
        let told = async { Wake::Told(watcher.control.recv().await.ok()) };
        let hint = async {
            match &mut self.hints {
                Some(hints) => Wake::Hint(hints.next().await),
                None => std::future::pending().await,
            }
        };
        or(told, or(hint, time)).await
    }

    fn handle_command(
        &mut self,
        watcher: &mut Watcher,
        command: Option<Command>,
    ) -> Result<(), End> {
        match command {
            None | Some(Command::Stop) => Err(End::Stop),
            Some(Command::Reconfigure(options)) => {
                watcher.options = *options;
                Err(End::Again)
            }
            Some(Command::RescanIn(span)) => {
                self.scan_by(watcher.sys.clock.mono().after(span));
                Ok(())
            }
        }
    }

    fn scan_by(&mut self, when: Mono) {
        self.next_scan = self.next_scan.min(when);
    }

    /// Looks at what the hints name, up to one batch of them.
    async fn handle_hints(
        &mut self,
        watcher: &mut Watcher,
        first: Option<Hint>,
    ) -> Result<(), End> {
        let mut batch = Vec::new();
        let mut next = first;
        while let Some(hint) = next.take().or_else(|| self.hints.as_mut()?.try_next()) {
            match hint {
                Hint::Rescan => {
                    log::debug!("watch {:?}: notices were lost", watcher.options.name);
                    self.rescan_now();
                }
                Hint::Lost(reason) => {
                    say_polling(&watcher.options, &reason);
                    self.hints = None;
                    self.scan_every = POLL_EVERY;
                    self.rescan_now();
                }
                // It may have been put in place again; the beginning finds out.
                Hint::RootGone => return Err(End::Again),
                hint => batch.push(hint),
            }
            if batch.len() >= BATCH_MAX {
                break;
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        let dirs = self
            .on_pool(watcher, move |finder| look_all(finder, batch))
            .await;
        for dir in dirs {
            if self.dirs.len() < DIRS_MAX {
                self.dirs.push_back(dir);
            } else {
                self.rescan_now();
            }
        }
        self.offer(watcher).await
    }

    /// Everything must be seen from now on: a scan that is under way may have
    /// passed what changed, and another one follows it.
    fn rescan_now(&mut self) {
        self.next_scan = Mono::default();
        self.dirs.clear();
    }

    async fn look_due(&mut self, watcher: &mut Watcher) -> Result<(), End> {
        let now = watcher.sys.clock.mono();
        loop {
            let due = self
                .finder
                .as_ref()
                .and_then(|finder| finder.settling.poll_timeout());
            if due.is_none_or(|due| due > now) {
                break;
            }
            let all = self.on_pool(watcher, Finder::look_due).await;
            self.offer(watcher).await?;
            if all {
                break;
            }
        }
        if let Some(finder) = &mut self.finder
            && finder.settling.take_overflow()
        {
            self.scan_by(now.after(watcher.options.quiet));
        }
        Ok(())
    }

    /// Begins the scan that is due, if one is.
    async fn begin_scan(&mut self, watcher: &mut Watcher) -> Result<bool, End> {
        let since = watcher.sys.clock.mono();
        let whole = self.next_scan <= since;
        let dir = if whole {
            self.dirs.clear();
            Vec::new()
        } else {
            match self.dirs.pop_front() {
                Some(dir) => dir,
                None => return Ok(false),
            }
        };
        if let Some(hints) = &self.hints {
            hints.barrier().await;
        }
        let opened = self.on_pool(watcher, move |finder| {
            let root = finder.root_id();
            root.map(|root| (root, Scan::start(finder, dir)))
        });
        let (root, scan) = opened.await.map_err(End::NoDir)?;
        if root != self.root {
            return Err(End::Again);
        }
        match scan {
            Ok(scan) => {
                self.scan = Some(Running {
                    scan,
                    since,
                    worked: Duration::ZERO,
                    whole,
                    held: false,
                });
                if whole {
                    self.next_scan = since.after(self.scan_every);
                }
            }
            Err(reason) if whole => return Err(End::NoDir(reason)),
            // Gone again, or replaced by something else.
            Err(_) => {}
        }
        Ok(true)
    }

    async fn scan_on(&mut self, watcher: &mut Watcher) -> Result<(), End> {
        let Some(mut running) = self.scan.take() else {
            return Ok(());
        };
        let clock = watcher.sys.clock.clone();
        let stepped = self.on_pool(watcher, move |finder| {
            let begun = clock.mono();
            let step = running.scan.step(finder);
            let worked = clock.mono().since(begun);
            running.worked = running.worked.saturating_add(worked);
            (running, step)
        });
        let (running, step) = stepped.await;
        match step {
            Step::End if running.whole => self.plan_next(watcher, &running),
            Step::End => {}
            Step::More | Step::Held => {
                self.scan = Some(Running {
                    held: step == Step::Held,
                    ..running
                });
            }
        }
        self.offer(watcher).await
    }

    /// After a scan that was long, moves the next one away.
    fn plan_next(&mut self, watcher: &Watcher, ended: &Running) {
        let planned = self.next_scan == ended.since.after(self.scan_every);
        let rest = ended
            .worked
            .saturating_mul(if planned { PLANNED_REST } else { 1 });
        let earliest = watcher.sys.clock.mono().after(rest);
        self.next_scan = self.next_scan.max(earliest);
    }

    /// Hands the finished files on, and waits until they are accepted.
    async fn offer(&mut self, watcher: &mut Watcher) -> Result<(), End> {
        let finder = self.finder.as_mut();
        let batch = finder.map_or_else(Vec::new, |finder| std::mem::take(&mut finder.found));
        if batch.is_empty() {
            return Ok(());
        }
        let out = watcher.out.clone();
        let mut sending = Box::pin(out.send(batch));
        loop {
            let told = async { Err(watcher.control.recv().await.ok()) };
            let sent = async { Ok(sending.as_mut().await) };
            match or(told, sent).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(_receiver_gone)) => return Err(End::Stop),
                // What was not accepted is found again by the next scan.
                Err(command) => self.handle_command(watcher, command)?,
            }
        }
    }

    /// Runs a job with the finder on the pool. The caller is not cancelled in
    /// between: only the end of the whole watching drops it.
    async fn on_pool<T: Send + 'static>(
        &mut self,
        watcher: &Watcher,
        job: impl FnOnce(&mut Finder) -> T + Send + 'static,
    ) -> T {
        let Some(mut finder) = self.finder.take() else {
            return std::future::pending().await;
        };
        let ran = watcher.sys.pool.run(move || {
            let result = job(&mut finder);
            (finder, result)
        });
        let (finder, result) = ran.await;
        self.finder = Some(finder);
        result
    }
}

/// Looks at what hints name; gives the directories to go through.
fn look_all(finder: &mut Finder, hints: Vec<Hint>) -> Vec<Vec<u8>> {
    let mut dirs = Vec::new();
    for hint in hints {
        let (path, sign) = match hint {
            Hint::Finished(path) => (path, Sign::Finished),
            Hint::CreatedDir(path) => (path, Sign::Seen),
            Hint::CreatedFile(path) => {
                if let Some(path) = finder.below(&path) {
                    finder.handle_created(&path);
                }
                continue;
            }
            Hint::Rescan | Hint::RootGone | Hint::Lost(_) => continue,
        };
        let Some(path) = finder.below(&path) else {
            continue;
        };
        if let Looked::Scan(dir) = finder.look(&path, sign)
            && !dirs.contains(&dir)
        {
            dirs.push(dir);
        }
    }
    dirs
}

/// Says that scans find the files, and why.
pub(super) fn say_polling(options: &WatchOptions, reason: &str) {
    log::warn!(
        "watch {:?}: scanning {} every {} s, because {reason}",
        options.name,
        options.dir.display(),
        POLL_EVERY.as_secs()
    );
}
