//! Local time: which instants a reading of the clock on the wall stands for.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::base::Wall;

/// The instants at which a local clock shows one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The usual case.
    Once(Wall),
    /// The clock jumps over this reading; it does so at this instant.
    Skipped(Wall),
    /// The clock is put back and shows this reading again.
    Twice(Wall, Wall),
}

impl Reading {
    /// The first instant, or the one at which the reading was jumped over.
    pub(super) fn first(self) -> Wall {
        match self {
            Reading::Once(at) | Reading::Skipped(at) | Reading::Twice(at, _) => at,
        }
    }

    /// The last instant, or the one at which the reading was jumped over.
    pub(super) fn last(self) -> Wall {
        match self {
            Reading::Once(at) | Reading::Skipped(at) | Reading::Twice(_, at) => at,
        }
    }
}

/// What the local clock shows at `wall`. `None` outside of the years that
/// calendar arithmetic covers.
pub(super) fn local(wall: Wall, tz: &TimeZone) -> Option<DateTime> {
    let timestamp = Timestamp::from_nanosecond(i128::from(wall.0)).ok()?;
    Some(tz.to_datetime(timestamp))
}

/// When the local clock shows `reading`. `None` outside of the years that
/// [`Wall`] covers.
pub(super) fn instants(reading: DateTime, tz: &TimeZone) -> Option<Reading> {
    let ambiguous = tz.to_ambiguous_timestamp(reading);
    match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } => {
            Some(Reading::Once(wall(offset.to_timestamp(reading).ok()?)?))
        }
        AmbiguousOffset::Fold { before, after } => Some(Reading::Twice(
            wall(before.to_timestamp(reading).ok()?)?,
            wall(after.to_timestamp(reading).ok()?)?,
        )),
        AmbiguousOffset::Gap { after, .. } => {
            // Read with the new offset, a skipped reading lies before the jump.
            let before_jump = after.to_timestamp(reading).ok()?;
            let jump = tz.following(before_jump).next()?.timestamp();
            Some(Reading::Skipped(wall(jump)?))
        }
    }
}

fn wall(timestamp: Timestamp) -> Option<Wall> {
    i64::try_from(timestamp.as_nanosecond()).ok().map(Wall)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Central European time as a rule, so that no zone files are needed.
    pub(in crate::schedule) fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// The first instant at which the local clock shows `text`.
    pub(in crate::schedule) fn at(text: &str, tz: &TimeZone) -> Wall {
        instants(text.parse().unwrap(), tz).unwrap().first()
    }

    #[test]
    fn the_hour_that_is_skipped_stands_for_the_jump() {
        let reading = instants("2026-03-29T02:30".parse().unwrap(), &berlin());
        assert_eq!(
            reading,
            Some(Reading::Skipped(at("2026-03-29T01:00", &TimeZone::UTC)))
        );
    }

    #[test]
    fn the_hour_that_comes_twice_has_two_instants() {
        let reading = instants("2026-10-25T02:30".parse().unwrap(), &berlin());
        assert_eq!(
            reading,
            Some(Reading::Twice(
                at("2026-10-25T00:30", &TimeZone::UTC),
                at("2026-10-25T01:30", &TimeZone::UTC),
            ))
        );
    }

    #[test]
    fn the_local_clock_is_read_back() {
        let tz = berlin();
        let noon = at("2026-07-01T12:00", &tz);
        assert_eq!(local(noon, &tz), Some("2026-07-01T12:00".parse().unwrap()));
    }
}
