//! Bytes per local day on the wire.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::Moment;
use super::local::{instants, local};
use crate::base::ByteSize;
use crate::base::Wall;

/// What was sent today, as it is kept on disk over restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Days since 1970-01-01 in local time; zero before the first known day.
    pub day: i32,
    /// Bytes sent on that day.
    pub bytes: u64,
}

/// A daily budget and what is left of it.
///
/// A day ends at local midnight. While the clock cannot be trusted no new day
/// begins: what was left of the last known day is all there is. A clock that is
/// set back to an earlier day keeps the bytes spent.
#[derive(Clone, Debug)]
pub struct Budget {
    limit: ByteSize,
    spent: Spent,
}

impl Budget {
    /// A budget of `limit` bytes a day; `spent` is what the last run left on
    /// disk, or the default.
    #[must_use]
    pub fn new(limit: ByteSize, spent: Spent) -> Budget {
        Budget { limit, spent }
    }

    /// Counts bytes that went over the wire, whether or not they were of use.
    pub fn charge(&mut self, bytes: u64, now: &Moment<'_>) {
        self.spent = self.turned(now);
        self.spent.bytes = self.spent.bytes.saturating_add(bytes);
    }

    /// Bytes that may still be sent today.
    pub fn left(&mut self, now: &Moment<'_>) -> u64 {
        // Also without a charge: a day that turned out to lie ahead is forgotten.
        self.spent = self.turned(now);
        self.limit.0.saturating_sub(self.spent.bytes)
    }

    /// When the next day begins. `None` while the clock cannot be trusted.
    #[must_use]
    pub fn renewed(&self, now: &Moment<'_>) -> Option<Wall> {
        if !now.trust.is_sane() {
            return None;
        }
        next_midnight(now.wall, now.tz)
    }

    /// What to keep on disk.
    #[must_use]
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// What is spent of the day that `now` belongs to.
    fn turned(&self, now: &Moment<'_>) -> Spent {
        let day = now.trust.is_sane().then(|| day_number(now.wall, now.tz));
        match day.flatten() {
            Some(day) if day > self.spent.day => Spent { day, bytes: 0 },
            Some(day) => Spent { day, ..self.spent },
            None => self.spent,
        }
    }
}

fn day_number(wall: Wall, tz: &TimeZone) -> Option<i32> {
    let date = local(wall, tz)?.date();
    Some((date - jiff::civil::date(1970, 1, 1)).get_days())
}

fn next_midnight(wall: Wall, tz: &TimeZone) -> Option<Wall> {
    let tomorrow = local(wall, tz)?.date().tomorrow().ok()?;
    Some(instants(tomorrow.to_datetime(jiff::civil::Time::midnight()), tz)?.first())
}

#[cfg(test)]
mod tests {
    use super::super::local::tests::{at, berlin};
    use super::*;
    use crate::base::Mono;
    use crate::schedule::Trust;

    fn moment<'a>(text: &str, trust: Trust, tz: &'a TimeZone) -> Moment<'a> {
        Moment {
            mono: Mono::default(),
            wall: at(text, tz),
            trust,
            tz,
        }
    }

    #[test]
    fn a_new_local_day_renews_the_budget() {
        let tz = berlin();
        let evening = moment("2026-06-01T23:59:59", Trust::Sane, &tz);
        let mut budget = Budget::new(ByteSize(100), Spent::default());
        budget.charge(130, &evening);
        assert_eq!(budget.left(&evening), 0);
        let midnight = moment("2026-06-02T00:00", Trust::Sane, &tz);
        assert_eq!(budget.renewed(&evening), Some(midnight.wall));
        assert_eq!(budget.left(&midnight), 100);
    }

    #[test]
    fn a_restart_does_not_renew_the_budget() {
        let tz = berlin();
        let now = moment("2026-06-01T12:00", Trust::Sane, &tz);
        let mut budget = Budget::new(ByteSize(100), Spent::default());
        budget.charge(70, &now);
        let mut again = Budget::new(ByteSize(100), budget.spent());
        assert_eq!(again.left(&now), 30);
    }

    #[test]
    fn a_wrong_clock_begins_no_new_day() {
        let tz = berlin();
        let mut budget = Budget::new(ByteSize(100), Spent::default());
        budget.charge(70, &moment("2026-06-01T12:00", Trust::Sane, &tz));
        let wrong = moment("2026-06-03T12:00", Trust::BeforeFloor, &tz);
        assert_eq!(budget.left(&wrong), 30);
        assert_eq!(budget.renewed(&wrong), None);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_what_was_spent() {
        let tz = berlin();
        let mut budget = Budget::new(ByteSize(100), Spent::default());
        budget.charge(70, &moment("2038-01-01T12:00", Trust::Sane, &tz));
        assert_eq!(
            budget.left(&moment("2026-06-01T12:00", Trust::Sane, &tz)),
            30
        );
        assert_eq!(
            budget.left(&moment("2026-06-02T12:00", Trust::Sane, &tz)),
            100
        );
    }
}
