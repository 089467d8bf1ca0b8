//! Whether the wall clock may be believed.
//!
//! A device without a battery-backed clock starts in 1970, or at the time of its
//! last shutdown. Two things are known to lie in the past: the release of this
//! program, and the last time that the spool has recorded (its *floor*). A clock
//! that shows an earlier time is wrong. Then windows, cron times, a new budget
//! day and age limits wait, and [`Trust`] says why; back-off and intervals go on,
//! they use the monotonic clock.

use std::fmt;

use crate::base::Wall;

/// A time that lies in the past of every device that runs this release:
/// 2026-01-01T00:00:00Z. Moved forward with each release.
pub const BUILD_FLOOR: Wall = Wall(1_767_225_600_000_000_000);

/// What is to be thought of the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing speaks against it.
    Sane,
    /// It shows a time before this program was built.
    BeforeBuild,
    /// It shows a time before one that the spool has already seen.
    BeforeFloor,
}

impl Trust {
    /// Judges the wall clock. `floor` is the last time known to the spool.
    #[must_use]
    pub fn judge(wall: Wall, floor: Option<Wall>) -> Trust {
        if wall < BUILD_FLOOR {
            Trust::BeforeBuild
        } else if floor.is_some_and(|floor| wall < floor) {
            Trust::BeforeFloor
        } else {
            Trust::Sane
        }
    }

    /// Whether calendar time may be used.
    #[must_use]
    pub fn is_sane(self) -> bool {
        self == Trust::Sane
    }
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trust::Sane => "the clock is plausible",
            Trust::BeforeBuild => "the clock shows a time before this program was built",
            Trust::BeforeFloor => "the clock shows a time before the last one on record",
        })
    }
}

/// The time to check certificates against: the latest of the clock, the build
/// and the spool's floor. A clock that is behind then rejects no valid
/// certificate and accepts no long expired one.
#[must_use]
pub fn certificate_time(wall: Wall, floor: Option<Wall>) -> Wall {
    wall.max(BUILD_FLOOR).max(floor.unwrap_or(BUILD_FLOOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Wall = Wall(BUILD_FLOOR.0 + 1_000_000_000);

    #[test]
    fn a_clock_in_1970_is_not_believed() {
        assert_eq!(Trust::judge(Wall(0), None), Trust::BeforeBuild);
    }

    #[test]
    fn a_clock_behind_the_floor_is_not_believed() {
        assert_eq!(Trust::judge(BUILD_FLOOR, Some(LATER)), Trust::BeforeFloor);
        assert_eq!(Trust::judge(LATER, Some(LATER)), Trust::Sane);
    }

    #[test]
    fn certificates_are_checked_at_the_latest_known_time() {
        assert_eq!(certificate_time(Wall(0), None), BUILD_FLOOR);
        assert_eq!(certificate_time(Wall(0), Some(LATER)), LATER);
        assert_eq!(certificate_time(LATER, Some(BUILD_FLOOR)), LATER);
    }
}
