//! The spool, as async code uses it: every call runs on the pool.

use std::sync::{Arc, Mutex, PoisonError};

use crate::spool::Spool;
use crate::sys::Pool;

/// The spool behind its lock. Calls are short: one batch, one flush.
#[derive(Clone)]
pub(crate) struct Spooler {
    spool: Arc<Mutex<Spool>>,
    pool: Pool,
}

impl Spooler {
    pub(crate) fn new(spool: Spool, pool: Pool) -> Spooler {
        Spooler {
            spool: Arc::new(Mutex::new(spool)),
            pool,
        }
    }

    /// Runs `work` with the spool on a thread of the pool.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> T {
        let spool = self.spool.clone();
        let locked = move || {
            // A panic in here leaves the spool as a crash would have: what it
            // promised is on disk, and it poisons itself after a failed flush.
            let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut spool)
        };
        self.pool.run(locked).await
    }

    /// Runs `work` on the caller's thread, which must be one of the pool's: the
    /// watching asks from there.
    pub(crate) fn blocking<T>(&self, work: impl FnOnce(&mut Spool) -> T) -> T {
        work(&mut self.spool.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
