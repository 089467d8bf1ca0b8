//! Delivered files go to the archives beside everything else: the settling only
//! puts them into the spool's outbox.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::Agent;
use super::signal::Signal;
use crate::spool::{Archive, Spool, SpoolError};

/// How often ages are looked at when nothing is delivered, and how soon after a
/// failure the outbox is looked at again.
const EVERY: Duration = Duration::from_secs(3600);

/// What the archiving is told.
pub(super) struct Archiving {
    signal: Signal,
    busy: Cell<bool>,
}

impl Archiving {
    pub(super) fn new() -> Archiving {
        Archiving {
            signal: Signal::new(),
            busy: Cell::new(false),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }
}

/// Tells the spool where each watch's delivered files go.
pub(super) fn set_archives(spool: &mut Spool, setup: &super::Setup) -> Result<(), SpoolError> {
    for lane in &setup.lanes {
        let archive = lane.archive.as_ref().map(|archive| Archive {
            dir: archive.dir.clone(),
            max_size: archive.max_size,
            max_age_s: archive.max_age_s,
        });
        spool.set_archive(&lane.watch.name, archive.as_ref())?;
    }
    Ok(())
}

impl Agent {
    /// Entries were settled: their bytes may be on the way to an archive.
    pub(super) fn archive_soon(&self) {
        if self.setup.lanes.iter().any(|lane| lane.archive.is_some()) {
            self.archiving.busy.set(true);
            self.archiving.signal.wake();
        }
    }

    /// Archives for as long as it is polled.
    pub(super) async fn archive_all(self: Rc<Self>) {
        let mut archiver = self.spool.with(|spool| spool.archiver()).await;
        loop {
            // Also without an archive: one that was, and what is left for it.
            self.archiving.busy.set(archiver.has_work());
            let moment = self.moment();
            let now = moment.trust.is_sane().then_some(moment.wall);
            let stepping = self.sys.pool.run(move || {
                let more = archiver.step(now);
                (archiver, more)
            });
            let more;
            (archiver, more) = stepping.await;
            match more {
                Ok(true) => continue,
                Ok(false) => {}
                Err(e) => log::error!("spool: the outbox cannot be read: {e}"),
            }
            self.archiving.busy.set(false);
            let later = self.sys.clock.mono().after(EVERY);
            let sleep = self.sys.clock.sleep_until(later);
            smol::future::or(self.archiving.signal.wait(), sleep).await;
        }
    }
}
