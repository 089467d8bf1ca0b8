//! One round: everything that is finished, and what is finished `quiet` later.

use std::fmt;
use std::io;
use std::path::PathBuf;

use smol::channel::Sender;

use crate::sys::Sys;

use super::find::{AlreadyTaken, Finder};
use super::scan::{Scan, Step};
use super::{OptionsError, Ready, WatchOptions};

/// What a round found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnceReport {
    /// Files that were offered.
    pub offered: u64,
    /// Files that somebody was still writing, or that changed during the round.
    pub unfinished: usize,
}

/// Why a round did not take place, or ended early.
#[derive(Debug)]
pub enum OnceError {
    /// The options cannot be.
    Options(OptionsError),
    /// The watched directory cannot be read.
    Dir {
        /// The directory.
        dir: PathBuf,
        /// What the disk says.
        reason: io::Error,
    },
    /// The receiver of the offers is gone.
    ReceiverGone,
}

impl fmt::Display for OnceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OnceError::Options(_) => f.write_str("the watch's options are not valid"),
            OnceError::Dir { dir, .. } => write!(f, "directory {dir:?} cannot be read"),
            OnceError::ReceiverGone => f.write_str("nobody takes the files any more"),
        }
    }
}

impl std::error::Error for OnceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OnceError::Options(reason) => Some(reason),
            OnceError::Dir { reason, .. } => Some(reason),
            OnceError::ReceiverGone => None,
        }
    }
}

/// Offers every finished file of a directory once. Files that are too young are
/// waited for, `quiet` at most for each lot of them; what still changes then is
/// left and counted.
///
/// # Errors
/// When the directory cannot be read or nobody receives the offers.
pub async fn scan_once(
    sys: &Sys,
    options: &WatchOptions,
    already_taken: AlreadyTaken,
    out: Sender<Vec<Ready>>,
) -> Result<OnceReport, OnceError> {
    let finder = Finder::new(sys, options, already_taken).map_err(OnceError::Options)?;
    let opened = sys.pool.run(move || {
        let scan = Scan::start(&finder, Vec::new());
        (finder, scan)
    });
    let (finder, scan) = opened.await;
    let scan = scan.map_err(|reason| OnceError::Dir {
        dir: options.dir.clone(),
        reason,
    })?;
    Round {
        sys,
        options,
        out,
        report: OnceReport::default(),
    }
    .run(finder, scan)
    .await
}

struct Round<'a> {
    sys: &'a Sys,
    options: &'a WatchOptions,
    out: Sender<Vec<Ready>>,
    report: OnceReport,
}

impl Round<'_> {
    async fn run(mut self, mut finder: Finder, mut scan: Scan) -> Result<OnceReport, OnceError> {
        loop {
            let stepped = self.sys.pool.run(move || {
                let step = scan.step(&mut finder);
                (finder, scan, step)
            });
            let step;
            (finder, scan, step) = stepped.await;
            self.offer(&mut finder).await?;
            match step {
                Step::More => {}
                Step::Held => finder = self.wait(finder).await?,
                Step::End => break,
            }
        }
        self.wait(finder).await?;
        Ok(self.report)
    }

    /// Waits `quiet` once for the files that wait, looks at them, and counts and
    /// drops those that are still not finished.
    async fn wait(&mut self, mut finder: Finder) -> Result<Finder, OnceError> {
        let until = finder.now().mono.after(self.options.quiet);
        while let Some(due) = finder.settling.poll_timeout().filter(|&due| due <= until) {
            self.sys.clock.sleep_until(due).await;
            let looked = self.sys.pool.run(move || {
                finder.look_due();
                finder
            });
            finder = looked.await;
            self.offer(&mut finder).await?;
        }
        self.report.unfinished += finder.settling.len() + std::mem::take(&mut finder.left_open);
        finder.settling.clear();
        Ok(finder)
    }

    async fn offer(&mut self, finder: &mut Finder) -> Result<(), OnceError> {
        let batch = std::mem::take(&mut finder.found);
        if batch.is_empty() {
            return Ok(());
        }
        self.report.offered += batch.len() as u64;
        let sent = self.out.send(batch).await;
        sent.map_err(|_| OnceError::ReceiverGone)
    }
}
