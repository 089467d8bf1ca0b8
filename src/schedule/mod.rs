//! When to send, how fast, and how long to wait after a failure.
//!
//! Pure: time, time zone and random numbers are arguments. A [`Schedule`] is the
//! rules; a [`Gate`] applies them to one lane, a [`Budget`] and a [`Bucket`] to
//! all lanes that share the schedule; a [`Backoff`] counts the failures of one
//! server or lane; [`Trust`] says whether the wall clock may be used at all.

mod backoff;
mod budget;
mod cron;
mod gate;
mod local;
mod names;
mod rate;
mod trust;
mod window;

use std::time::Duration;

use jiff::tz::TimeZone;

use crate::base::ByteSize;
use crate::base::{Mono, Wall};

pub use backoff::{Backoff, RetryOptions};
pub use budget::{Budget, Spent};
pub use cron::{Cron, ParseCronError};
pub use gate::{Decision, Gate, RECHECK, Waiting};
pub use rate::{Bucket, ParseRateError, Rate};
pub use trust::{BUILD_FLOOR, Trust, certificate_time};
pub use window::{Opening, ParseWindowError, Window, opening};

/// One point in time on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The monotonic clock.
    pub mono: Mono,
    /// The wall clock.
    pub wall: Wall,
    /// Whether the wall clock may be used.
    pub trust: Trust,
    /// Local time.
    pub tz: &'a TimeZone,
}

impl Moment<'_> {
    /// When the monotonic clock will have reached `wall`, if neither is set.
    #[must_use]
    pub fn mono_at(&self, wall: Wall) -> Mono {
        let nanos = wall.0.saturating_sub(self.wall.0);
        self.mono
            .after(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)))
    }
}

/// What starts sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// Anything in the queue.
    #[default]
    WheneverQueued,
    /// An interval of the monotonic clock.
    Every(Duration),
    /// Times of the wall clock.
    Cron(Cron),
}

/// A `[[schedule]]` as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleOptions {
    /// Its name.
    pub name: String,
    /// When sending is allowed; always, if empty.
    pub windows: Vec<Window>,
    /// `every` or `cron`.
    pub pace: Pace,
    /// The longest delay of a device against the others of its fleet.
    pub splay: Duration,
    /// The bandwidth cap.
    pub rate: Option<Rate>,
    /// Bytes a day on the wire.
    pub daily_budget: Option<ByteSize>,
}

/// The rules of one schedule on one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// When sending is allowed; always, if empty.
    pub windows: Vec<Window>,
    /// What starts sending.
    pub pace: Pace,
    /// This device's own delay: each turn and each window starts so much later.
    pub offset: Duration,
    /// The bandwidth cap.
    pub rate: Option<Rate>,
    /// Bytes a day on the wire.
    pub daily_budget: Option<ByteSize>,
}

impl Schedule {
    /// The schedule on `device`, whose delay follows from its name and stays the
    /// same over restarts.
    #[must_use]
    pub fn new(options: ScheduleOptions, device: &str) -> Schedule {
        Schedule {
            offset: splay_offset(options.splay, device, &options.name),
            windows: options.windows,
            pace: options.pace,
            rate: options.rate,
            daily_budget: options.daily_budget,
        }
    }

    /// No rules: send whenever something is queued.
    #[must_use]
    pub fn always() -> Schedule {
        Schedule::new(ScheduleOptions::default(), "")
    }
}

/// A share of `splay` that hangs on both names alone.
fn splay_offset(splay: Duration, device: &str, schedule: &str) -> Duration {
    // FNV-1a, then the finaliser of SplitMix64: the names of a fleet differ in
    // their last digits only, and the high bits decide.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in device.bytes().chain([0]).chain(schedule.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    backoff::part(splay, hash ^ (hash >> 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_spreads_over_the_whole_splay() {
        let splay = Duration::from_secs(100);
        let mut per_decile = [0; 10];
        for device in 0..1000 {
            let offset = splay_offset(splay, &format!("gw-{device:04}"), "night");
            per_decile[usize::try_from(offset.as_secs() / 10).unwrap()] += 1;
        }
        assert!(
            per_decile.iter().all(|n| (60..140).contains(n)),
            "{per_decile:?}"
        );
    }

    #[test]
    fn the_delay_of_a_device_stays_the_same() {
        let splay = Duration::from_secs(120);
        assert_eq!(
            splay_offset(splay, "gw-0042", "night"),
            splay_offset(splay, "gw-0042", "night")
        );
    }
}
