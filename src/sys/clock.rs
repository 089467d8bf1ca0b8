//! Time and randomness.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::LocalFuture;

/// A point on the monotonic clock: time since boot, suspended time included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub Duration);

impl Mono {
    /// The point `span` later; stays at the end of time instead of overflowing.
    #[must_use]
    pub fn after(self, span: Duration) -> Mono {
        Mono(self.0.saturating_add(span))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// A point on the wall clock: nanoseconds since 1970-01-01 UTC. It may jump and
/// it may be wrong; order and back-off never depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

impl Wall {
    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// From whole seconds since 1970; saturates in the years 1677 and 2262.
    #[must_use]
    pub fn from_secs(secs: i64) -> Wall {
        Wall(secs.saturating_mul(1_000_000_000))
    }
}

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
