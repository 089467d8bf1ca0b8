//! How long to wait after a failure.

use std::time::Duration;

/// The `[retry]` times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        RetryOptions {
            first: Duration::from_secs(5),
            max: Duration::from_secs(15 * 60),
        }
    }
}

impl RetryOptions {
    /// The wait after `failures` earlier ones in a row: doubled from `first` up to
    /// `max`, then shortened by a random part of at most half.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        shortened(self.doubled(failures), random)
    }

    fn doubled(&self, failures: u32) -> Duration {
        let factor = 1u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// Counts failures in a row and turns each into a wait.
///
/// Waits double from `first` up to `max`. Each is shortened by a random part, at
/// most half, so that devices which failed together do not return together.
#[derive(Clone, Debug)]
pub struct Backoff {
    options: RetryOptions,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    #[must_use]
    pub fn new(options: RetryOptions) -> Backoff {
        Backoff {
            options,
            failures: 0,
        }
    }

    /// The wait after a passing failure. `random` is uniform over all values.
    pub fn after_failure(&mut self, random: u64) -> Duration {
        let wait = self.options.wait(self.failures, random);
        self.failures = self.failures.saturating_add(1);
        wait
    }

    /// The wait after a full server: at least about a quarter of `max`, because
    /// room is made by people or by the clock.
    pub fn after_full(&mut self, random: u64) -> Duration {
        let wait = self.options.doubled(self.failures);
        let wait = wait.max(self.options.max / 4);
        self.failures = self.failures.saturating_add(1);
        shortened(wait, random)
    }

    /// The wait after a refused login: never below `max`, because many servers
    /// lock an account after a few refusals in a short time.
    pub fn after_refused_login(&mut self, random: u64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let max = self.options.max;
        max.saturating_add(part(max / 4, random))
    }

    /// It works again: the next wait is `first`.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

fn shortened(wait: Duration, random: u64) -> Duration {
    wait - part(wait / 2, random)
}

/// The share of `whole` that `random` is of all 64-bit values.
pub(super) fn part(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() >> 32).saturating_mul(u128::from(random)) >> 32;
    let low = ((whole.as_nanos() & 0xffff_ffff) * u128::from(random)) >> 64;
    Duration::from_nanos(u64::try_from(nanos + low).unwrap_or(u64::MAX)).min(whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(RetryOptions {
            first: S(5),
            max: S(60),
        });
        let waits: Vec<u64> = (0..6).map(|_| backoff.after_failure(0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
        backoff.succeeded();
        assert_eq!(backoff.after_failure(0), S(5));
    }

    #[test]
    fn a_refused_login_waits_at_least_the_longest() {
        let mut backoff = Backoff::new(RetryOptions::default());
        assert_eq!(backoff.after_refused_login(0), S(900));
        assert!(backoff.after_refused_login(u64::MAX) > S(1100));
    }

    #[test]
    fn a_full_server_waits_longer_than_a_broken_link() {
        let mut backoff = Backoff::new(RetryOptions::default());
        assert_eq!(backoff.after_full(0), S(225));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn waits_stay_between_half_and_whole(
            first in 0u64..100_000_000_000,
            max in 0u64..1_000_000_000_000_000,
            random: u64,
            times in 0usize..80,
        ) {
            let max = Duration::from_nanos(max);
            let mut backoff = Backoff::new(RetryOptions { first: Duration::from_nanos(first), max });
            for _ in 0..times {
                backoff.after_failure(random);
            }
            let whole = backoff.clone().after_failure(0);
            let wait = backoff.after_failure(random);
            prop_assert!(wait <= whole && whole <= max);
            prop_assert!(wait >= whole / 2);
        }
    }
}
