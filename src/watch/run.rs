//! The watching of one directory, as a future on the executor. It decides what to
//! do next; the looking itself is done on the pool.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::{Receiver, Sender, TrySendError, bounded};
use smol::future::or;

use crate::sys::{Mono, Sys};

use super::find::{AlreadyTaken, Finder, Looked};
use super::hints::{Hint, HintSource, Hints, NoHints};
use super::inotify::Inotify;
use super::scan::{Scan, Step};
use super::settle::Sign;
use super::{BATCH_MAX, OptionsError, Ready, WatchOptions};

/// Between scans where notices work: they lose nothing that they do not tell of,
/// and this is for the rest.
const SCAN_EVERY: Duration = Duration::from_secs(300);

/// Between scans where nothing else finds files, and between looks for a
/// directory that is not there.
const POLL_EVERY: Duration = Duration::from_secs(10);

/// Planned scans may take a tenth of the time, and those that are asked for (lost
/// notices, in a burst, one after the other) half of it: a huge tree must not keep
/// the device busy.
const PLANNED_REST: u32 = 9;

/// Directories that may wait to be gone through; more than that, and all are.
const DIRS_MAX: usize = 16;

/// The watching of one directory.
pub struct Watcher {
    sys: Sys,
    source: Rc<dyn HintSource>,
    options: WatchOptions,
    already_taken: AlreadyTaken,
    out: Sender<Vec<Ready>>,
    control: Receiver<Command>,
}

/// What the owner of a watcher can ask of it. Dropping it stops the watcher.
pub struct Control {
    sender: Sender<Command>,
}

enum Command {
    Reconfigure(Box<WatchOptions>),
    RescanIn(Duration),
    Stop,
}

impl Control {
    /// Goes on with other options, from a new scan.
    ///
    /// # Errors
    /// When the options cannot be; the old ones then stay.
    pub async fn reconfigure(&self, options: WatchOptions) -> Result<(), OptionsError> {
        options.check()?;
        self.send(Command::Reconfigure(Box::new(options))).await;
        Ok(())
    }

    /// Asks for a scan after a while, for files that were offered and could not
    /// be taken. Asked again meanwhile, the earlier time stands. It never waits.
    pub fn rescan_in(&self, span: Duration) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(Command::RescanIn(span)) {
            // Requests of this kind are already waiting, and one is enough.
            log::debug!("a rescan was asked for again");
        }
    }

    /// Ends the watcher's future at its next step.
    pub async fn stop(self) {
        self.send(Command::Stop).await;
    }

    async fn send(&self, command: Command) {
        if self.sender.send(command).await.is_err() {
            log::debug!("the watcher has ended already");
        }
    }
}

/// Why a stretch of watching ended.
enum End {
    Stop,
    /// The options changed, or the directory was replaced: begin anew.
    Again,
    /// The directory is not there or cannot be read.
    NoDir(io::Error),
}

impl Watcher {
    /// A watcher with the kernel's notices. Run it with [`Watcher::run`].
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn start(
        sys: &Sys,
        options: WatchOptions,
        already_taken: AlreadyTaken,
        out: Sender<Vec<Ready>>,
    ) -> Result<(Watcher, Control), OptionsError> {
        let source = Rc::new(Inotify::new(sys.pool.clone()));
        Watcher::start_with(sys, source, options, already_taken, out)
    }

    /// A watcher with hints from elsewhere.
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn start_with(
        sys: &Sys,
        source: Rc<dyn HintSource>,
        options: WatchOptions,
        already_taken: AlreadyTaken,
        out: Sender<Vec<Ready>>,
    ) -> Result<(Watcher, Control), OptionsError> {
        options.check()?;
        let (sender, control) = bounded(4);
        let watcher = Watcher {
            sys: sys.clone(),
            source,
            options,
            already_taken,
            out,
            control,
        };
        Ok((watcher, Control { sender }))
    }

    /// Watches until it is stopped, or nobody receives the offers any more.
    pub async fn run(mut self) {
        let mut missing = false;
        loop {
            let end = match self.begin().await {
                Ok(stretch) => {
                    if std::mem::take(&mut missing) {
                        self.say_back();
                    }
                    stretch.run(&mut self).await
                }
                Err(end) => end,
            };
            match end {
                End::Stop => return,
                End::Again => {}
                End::NoDir(reason) => {
                    if !std::mem::replace(&mut missing, true) {
                        self.say_missing(&reason);
                    }
                    if self.pause().await.is_none() {
                        return;
                    }
                }
            }
        }
    }

    fn say_back(&self) {
        let WatchOptions { name, dir, .. } = &self.options;
        log::info!("watch {name}: {} is back", dir.display());
    }

    fn say_missing(&self, reason: &io::Error) {
        let WatchOptions { name, dir, .. } = &self.options;
        log::warn!(
            "watch {name}: {} cannot be read: {reason}; looking every {} s until it can",
            dir.display(),
            POLL_EVERY.as_secs()
        );
    }

    /// Waits before the next look for the directory; `None` means stop.
    async fn pause(&mut self) -> Option<()> {
        let until = self.sys.clock.mono().after(POLL_EVERY);
        let slept = async {
            self.sys.clock.sleep_until(until).await;
            Ok(Command::RescanIn(Duration::ZERO))
        };
        match or(self.control.recv(), slept).await {
            Ok(Command::RescanIn(_)) => Some(()),
            Ok(Command::Reconfigure(options)) => {
                self.options = *options;
                Some(())
            }
            Ok(Command::Stop) | Err(_) => None,
        }
    }

    /// Starts the hints and sets everything up for a first scan.
    async fn begin(&mut self) -> Result<Stretch, End> {
        let finder = Finder::new(&self.sys, &self.options, self.already_taken.clone());
        // The options were checked when they came.
        let finder = finder.map_err(|_| End::Stop)?;
        let fs = self.sys.fs.clone();
        let opened = self.sys.pool.run(move || {
            let readable = Scan::start(&finder, Vec::new());
            let root = readable.and_then(|_| finder.root_id());
            let unwatchable = fs.unwatchable(&finder.place(b""));
            (finder, root, unwatchable.unwrap_or(None))
        });
        let (finder, root, unwatchable) = opened.await;
        let root = root.map_err(End::NoDir)?;
        let opening = self.source.open(&self.options.dir, self.options.recursive);
        let (hints, reason) = match opening.await {
            Ok(hints) => (Some(hints), unwatchable.map(no_notices)),
            Err(NoHints::Missing) => return Err(End::NoDir(io::ErrorKind::NotFound.into())),
            Err(NoHints::Refused(reason)) => (None, Some(reason)),
        };
        if let Some(reason) = &reason {
            say_polling(&self.options, reason);
        }
        Ok(Stretch {
            finder: Some(Box::new(finder)),
            root,
            hints,
            scan_every: if reason.is_some() {
                POLL_EVERY
            } else {
                SCAN_EVERY
            },
            scan: None,
            dirs: VecDeque::new(),
            next_scan: Mono::default(),
        })
    }
}

fn no_notices(kind: &str) -> String {
    format!("{kind} does not report what others write")
}

fn say_polling(options: &WatchOptions, reason: &str) {
    log::warn!(
        "watch {}: scanning {} every {} s, because {reason}",
        options.name,
        options.dir.display(),
        POLL_EVERY.as_secs()
    );
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
struct Stretch {
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
    async fn run(mut self, watcher: &mut Watcher) -> End {
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
                    log::debug!("watch {}: notices were lost", watcher.options.name);
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
