//! The watching of one directory, as a future on the executor: one stretch after
//! the other, with a pause where the directory is not there.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::{Receiver, Sender, TrySendError, bounded};
use smol::future::or;

use crate::sys::Sys;

use super::find::{AlreadyTaken, Finder};
use super::hints::{HintSource, NoHints};
use super::scan::Scan;
use super::stretch::{End, POLL_EVERY, Stretch, say_polling};
use super::{OptionsError, Ready, WatchOptions};

/// The watching of one directory.
pub struct Watcher {
    pub(super) sys: Sys,
    source: Rc<dyn HintSource>,
    pub(super) options: WatchOptions,
    already_taken: AlreadyTaken,
    pub(super) out: Sender<Vec<Ready>>,
    pub(super) control: Receiver<Command>,
    /// Dropped once the directory was looked for.
    beginning: Option<Sender<()>>,
}

/// What the owner of a watcher can ask of it. Dropping it stops the watcher.
pub struct Control {
    sender: Sender<Command>,
    begun: Receiver<()>,
}

/// What [`Control`] tells its watcher.
pub(super) enum Command {
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

    /// Ends when the directory is watched, or turned out not to be there: from
    /// then on nothing that happens in it is missed.
    pub async fn begun(&self) {
        // Nothing is ever sent; only dropping the other end ends this.
        let _dropped = self.begun.recv().await;
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

impl Watcher {
    /// A watcher with hints from `source`. Run it with [`Watcher::run`].
    ///
    /// # Errors
    /// When the options cannot be.
    pub fn start(
        sys: &Sys,
        source: Rc<dyn HintSource>,
        options: WatchOptions,
        already_taken: AlreadyTaken,
        out: Sender<Vec<Ready>>,
    ) -> Result<(Watcher, Control), OptionsError> {
        options.check()?;
        let (sender, control) = bounded(4);
        let (beginning, begun) = bounded(1);
        let watcher = Watcher {
            sys: sys.clone(),
            source,
            options,
            already_taken,
            out,
            control,
            beginning: Some(beginning),
        };
        Ok((watcher, Control { sender, begun }))
    }

    /// Watches until it is stopped, or nobody receives the offers any more.
    pub async fn run(mut self) {
        let mut missing = false;
        loop {
            let begun = self.begin().await;
            self.beginning.take();
            let end = match begun {
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
        log::info!("watch {name:?}: {} is back", dir.display());
    }

    fn say_missing(&self, reason: &io::Error) {
        let WatchOptions { name, dir, .. } = &self.options;
        log::warn!(
            "watch {name:?}: {} cannot be read: {reason}; looking every {} s until it can",
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
        let polls = reason.is_some();
        Ok(Stretch::new(finder, root, hints, polls))
    }
}

fn no_notices(kind: &str) -> String {
    format!("{kind} does not report what others write")
}
