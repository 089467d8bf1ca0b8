//! Points in time, as plain values.

use std::time::Duration;

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
