//! Time and randomness.

use std::fmt;
use std::future::Future;
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

/// A source of random numbers for jitter and identifiers; not for keys.
pub trait Rng: Send + Sync {
    /// The next number, uniform over all 64-bit values.
    fn next_u64(&self) -> u64;
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
