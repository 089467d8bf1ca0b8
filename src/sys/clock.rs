//! Time and randomness.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::Duration;

use super::LocalFuture;
use crate::base::{Mono, Wall};

/// Both clocks, and sleeping.
pub trait Clock: Send + Sync {
    /// Time since boot, suspended time included. Never goes back.
    fn mono(&self) -> Mono;
    /// The wall clock.
    fn wall(&self) -> Wall;
    /// Ends when [`Clock::mono`] has reached `deadline`.
    fn sleep_until(&self, deadline: Mono) -> LocalFuture<'static, ()>;
}

/// A source of random numbers.
pub trait Rng: Send + Sync {
    /// The next number, uniform over all 64-bit values: for jitter and
    /// identifiers, not for keys.
    fn next_u64(&self) -> u64;
    /// Fills `buf` with what nobody can guess, for keys and salts. In a
    /// simulation anybody can.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    fn fill_secret(&self, buf: &mut [u8]) -> io::Result<()> {
        for chunk in buf.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk
                .iter_mut()
                .zip(bytes)
                .for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

/// An operation did not end within its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOut;

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for TimedOut {}

/// Runs `operation` for at most `span`.
///
/// # Errors
/// [`TimedOut`] when the time is over first; the operation is then dropped.
pub async fn timeout<T>(
    clock: &dyn Clock,
    span: Duration,
    operation: impl Future<Output = T>,
) -> Result<T, TimedOut> {
    let deadline = clock.mono().after(span);
    smol::future::or(async { Ok(operation.await) }, async {
        clock.sleep_until(deadline).await;
        Err(TimedOut)
    })
    .await
}
