//! The spool, as async code uses it: every call runs on the pool.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smol::channel::{self, Receiver, Sender};

use crate::spool::Spool;
use crate::sys::Pool;

/// The spool behind its lock. Calls are short: one batch, one flush.
#[derive(Clone)]
pub(crate) struct Spooler {
    held: Arc<Held>,
    pool: Pool,
    /// Closed when nobody has the spool any more.
    gone: Receiver<Infallible>,
}

/// The spool goes before what tells of it.
struct Held {
    spool: Mutex<Spool>,
    _tells: Sender<Infallible>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Spool> {
        // A panic in a call leaves the spool as a crash would have: what it
        // promised is on disk, and it poisons itself after a failed flush.
        self.spool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spooler {
    pub(crate) fn new(spool: Spool, pool: Pool) -> Spooler {
        let (tells, gone) = channel::bounded(1);
        let held = Held {
            spool: Mutex::new(spool),
            _tells: tells,
        };
        Spooler {
            held: Arc::new(held),
            pool,
            gone,
        }
    }

    /// Ends when all clones are gone and no work that was begun has the spool any
    /// more: then it can be opened again. Work on the pool outlives its future.
    pub(crate) fn released(&self) -> impl Future<Output = ()> + use<> {
        let gone = self.gone.clone();
        async move {
            let _closed = gone.recv().await;
        }
    }

    /// Runs `work` with the spool on a thread of the pool.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> T {
        let held = self.held.clone();
        let locked = move || work(&mut held.lock());
        self.pool.run(locked).await
    }

    /// Runs `work` on the caller's thread, which must be one of the pool's: the
    /// watching asks from there.
    pub(crate) fn blocking<T>(&self, work: impl FnOnce(&mut Spool) -> T) -> T {
        work(&mut self.held.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Options;
    use crate::sys::Sys;
    use smol::future::poll_once;

    #[test]
    fn the_spool_is_released_only_when_work_that_was_begun_has_ended() {
        let (dir, sys) = (tempfile::tempdir().unwrap(), Sys::os().unwrap());
        let open = || Spool::open(&sys, dir.path(), Options::default());
        let spooler = Spooler::new(open().unwrap(), sys.pool.clone());
        let (begun, begins) = channel::bounded::<()>(1);
        let (end, ends) = channel::bounded::<()>(1);
        smol::block_on(async {
            let mut released = Box::pin(spooler.released());
            let mut work = Box::pin(spooler.with(move |_| {
                begun.send_blocking(()).unwrap();
                ends.recv_blocking().unwrap();
            }));
            assert!(poll_once(&mut work).await.is_none());
            begins.recv().await.unwrap();
            drop(work);
            drop(spooler);
            assert!(poll_once(&mut released).await.is_none());
            assert!(open().is_err(), "the lock is held");
            end.send(()).await.unwrap();
            released.await;
        });
        open().unwrap();
    }
}
