//! The real world: Linux.

mod alarm;
mod clock;
mod fs;
mod lease;
mod net;
mod outq;
mod tree;

pub use clock::{OsClock, OsRng};
pub use fs::OsFs;
pub use net::OsNet;

use std::io;
use std::sync::Arc;

use super::{Pool, Sys};

/// Threads for blocking file work: one may wait for a slow flush while the
/// other reads the file that is being uploaded.
const DISK_THREADS: usize = 2;

impl Sys {
    /// The real world.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn os() -> io::Result<Sys> {
        lease::ignore_lease_breaks();
        let pool = Pool::new(DISK_THREADS)?;
        Ok(Sys {
            fs: Arc::new(OsFs),
            clock: Arc::new(OsClock),
            rng: Arc::new(OsRng),
            net: Arc::new(OsNet::new(pool.clone())),
            pool,
        })
    }
}
