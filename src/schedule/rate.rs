//! Bandwidth caps.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use crate::base::ByteSize;
use crate::base::Mono;

/// Bytes a second, at least one. Written as `256KiB/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(pub NonZeroU64);

/// Why a text is not a rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseRateError;

impl fmt::Display for ParseRateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a rate (write bytes a second above zero, as in \"256KiB/s\")")
    }
}

impl std::error::Error for ParseRateError {}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        let bytes = text.trim().strip_suffix("/s").ok_or(ParseRateError)?;
        let ByteSize(bytes) = bytes.parse().map_err(|_| ParseRateError)?;
        NonZeroU64::new(bytes).map(Rate).ok_or(ParseRateError)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0.get()))
    }
}

/// A token bucket: fills at the rate, holds a quarter of a second (at least
/// 4 KiB), and starts empty, so that no span of `t` seconds sees more than
/// `rate * t` bytes and one bucketful.
///
/// Ask [`take`](Bucket::take) before each write; after a refusal, sleep until
/// the time it names and ask again.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: u128,
    capacity: u128,
    /// Bytes times nanoseconds per second: no fraction is ever lost.
    filled: u128,
    as_of: Mono,
}

const NANOS: u128 = 1_000_000_000;
const CAPACITY_BYTES_MIN: u128 = 4096;
/// A grant is at least this many bytes (or all that was wanted): a slow link is
/// not served in single bytes.
const GRANT_BYTES_MIN: u64 = 1024;

impl Bucket {
    /// An empty bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Mono) -> Bucket {
        let rate = u128::from(rate.0.get());
        Bucket {
            rate,
            capacity: (rate / 4).max(CAPACITY_BYTES_MIN) * NANOS,
            filled: 0,
            as_of: now,
        }
    }

    /// Takes up to `want` bytes. What is granted counts as sent; see
    /// [`give_back`](Bucket::give_back).
    ///
    /// # Errors
    /// When there are too few yet: the time at which asking again helps.
    pub fn take(&mut self, want: u64, now: Mono) -> Result<u64, Mono> {
        self.refill(now);
        let least = u128::from(want.min(GRANT_BYTES_MIN)) * NANOS;
        if self.filled < least {
            let wait = (least - self.filled).div_ceil(self.rate);
            let wait = Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX));
            return Err(now.after(wait));
        }
        let granted = (u128::from(want) * NANOS).min(self.filled / NANOS * NANOS);
        self.filled -= granted;
        Ok(u64::try_from(granted / NANOS).unwrap_or(want))
    }

    /// Returns what was granted but not sent.
    pub fn give_back(&mut self, bytes: u64) {
        self.filled = (self.filled + u128::from(bytes) * NANOS).min(self.capacity);
    }

    fn refill(&mut self, now: Mono) {
        let gained = now.since(self.as_of).as_nanos().saturating_mul(self.rate);
        self.filled = self.filled.saturating_add(gained).min(self.capacity);
        self.as_of = self.as_of.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(bytes: u64) -> Rate {
        Rate(NonZeroU64::new(bytes).unwrap())
    }

    fn millis(ms: u64) -> Mono {
        Mono(Duration::from_millis(ms))
    }

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!("256KiB/s".parse(), Ok(rate(256 << 10)));
        for text in ["256KiB", "0/s", "/s", "-1k/s"] {
            assert_eq!(text.parse::<Rate>(), Err(ParseRateError), "{text}");
        }
    }

    #[test]
    fn an_empty_bucket_names_the_time_to_ask_again() {
        let mut bucket = Bucket::new(rate(1000), millis(0));
        let again = bucket.take(500, millis(0)).unwrap_err();
        assert_eq!(again, millis(500));
        assert_eq!(bucket.take(500, again), Ok(500));
    }

    #[test]
    fn a_long_pause_saves_up_no_more_than_one_bucketful() {
        let mut bucket = Bucket::new(rate(100_000), millis(0));
        assert_eq!(bucket.take(1 << 30, millis(86_400_000)), Ok(25_000));
    }

    #[test]
    fn what_was_not_sent_may_be_taken_again() {
        let mut bucket = Bucket::new(rate(100_000), millis(0));
        assert_eq!(bucket.take(9000, millis(100)), Ok(9000));
        bucket.give_back(8000);
        assert_eq!(bucket.take(9000, millis(100)), Ok(9000));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_rate_is_kept_and_reached(
            bytes_a_second in 1u64..10_000_000,
            want in 1u64..200_000,
        ) {
            let mut bucket = Bucket::new(rate(bytes_a_second), millis(0));
            let (mut now, mut sent) = (millis(0), 0);
            for _ in 0..200 {
                match bucket.take(want, now) {
                    Ok(granted) => sent += granted,
                    Err(again) => {
                        prop_assert!(again > now);
                        now = again;
                    }
                }
            }
            let due = now.0.as_nanos() * u128::from(bytes_a_second) / NANOS;
            prop_assert!(u128::from(sent) <= due + 1);
            prop_assert!(u128::from(sent) + u128::from(want) + 4096 >= due);
        }
    }
}
