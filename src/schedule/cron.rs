//! Times in the form of crontab(5): minute, hour, day of the month, month, day
//! of the week.
//!
//! As in cron, a time counts when either of the two days fits if both are
//! restricted, and when both fit if one of them starts with `*`. Where the clocks
//! change, a time in the skipped hour comes at the change, and a time in the hour
//! that comes twice comes once; with `*` for the hour the skipped hour has no
//! times and the repeated one has its times twice.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::local::{Reading, instants, local};
use super::names;
use crate::base::Wall;

/// A set of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
    every_hour: bool,
}

/// Why a text is not a set of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseCronError {
    /// There are not five fields.
    Fields(usize),
    /// A field is not understood or out of range.
    Field {
        /// What the field stands for.
        name: &'static str,
        /// Its text.
        text: String,
    },
    /// The time never comes, as on the 31st of February.
    Never,
}

impl fmt::Display for ParseCronError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseCronError::Fields(count) => write!(
                f,
                "{count} fields instead of five (minute, hour, day of the month, month, \
                 day of the week, as in \"*/15 * * * *\")"
            ),
            ParseCronError::Field { name, text } => {
                write!(f, "{text:?} is not a {name}, a list, a range or a step")
            }
            ParseCronError::Never => f.write_str("this day does not exist in any year"),
        }
    }
}

impl std::error::Error for ParseCronError {}

impl Cron {
    /// Reads five fields of lists, ranges, steps and names: `*/15 8-18 * * mon-fri`.
    ///
    /// # Errors
    /// When the text is something else, naming the field, or never comes true.
    pub fn parse(text: &str) -> Result<Cron, ParseCronError> {
        let mut fields = text.split_whitespace();
        let count = fields.clone().count();
        let mut next = || fields.next().ok_or(ParseCronError::Fields(count));
        let texts = [next()?, next()?, next()?, next()?, next()?];
        if count > 5 {
            return Err(ParseCronError::Fields(count));
        }
        let [minute, hour, day, month, weekday] = texts;
        let weekdays = MINUTE_TO_WEEKDAY[4].set(weekday)?;
        let cron = Cron {
            minutes: MINUTE_TO_WEEKDAY[0].set(minute)?,
            hours: MINUTE_TO_WEEKDAY[1].set(hour)?,
            days: MINUTE_TO_WEEKDAY[2].set(day)?,
            months: MINUTE_TO_WEEKDAY[3].set(month)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            every_hour: hour.starts_with('*'),
        };
        if cron.comes() {
            Ok(cron)
        } else {
            Err(ParseCronError::Never)
        }
    }

    /// The first time after `after`. `None` only where the calendar ends.
    #[must_use]
    pub fn next(&self, after: Wall, tz: &TimeZone) -> Option<Wall> {
        // The day before: with the clocks put back over midnight, a time of
        // yesterday may still be ahead.
        let mut date = local(after, tz)?.date().yesterday().ok()?;
        for _ in 0..DAYS_AHEAD {
            if self.fits(date)
                && let Some(at) = self.first_on(date, after, tz)
            {
                return Some(at);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn fits(&self, date: Date) -> bool {
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let right_day = if self.either_day {
            day || weekday
        } else {
            day && weekday
        };
        right_day && has(self.months, date.month())
    }

    fn first_on(&self, date: Date, after: Wall, tz: &TimeZone) -> Option<Wall> {
        let mut best: Option<Wall> = None;
        for hour in (0..24).filter(|hour| has(self.hours, *hour)) {
            for minute in (0..60).filter(|minute| has(self.minutes, *minute)) {
                let reading = instants(date.at(hour, minute, 0, 0), tz)?;
                // First instants only grow, so that nothing better follows.
                if best.is_some_and(|best| reading.first() >= best) {
                    return best;
                }
                best = match self.times(reading) {
                    (Some(first), _) if first > after => Some(first),
                    (_, Some(second)) if second > after => {
                        Some(best.map_or(second, |best| best.min(second)))
                    }
                    _ => best,
                };
            }
        }
        best
    }

    fn times(&self, reading: Reading) -> (Option<Wall>, Option<Wall>) {
        match reading {
            Reading::Skipped(_) if self.every_hour => (None, None),
            Reading::Twice(first, second) if self.every_hour => (Some(first), Some(second)),
            reading => (Some(reading.first()), None),
        }
    }

    /// Whether some day of some year fits.
    fn comes(&self) -> bool {
        const LONGEST: [(i8, u32); 12] = [
            (1, 31),
            (2, 29),
            (3, 31),
            (4, 30),
            (5, 31),
            (6, 30),
            (7, 31),
            (8, 31),
            (9, 30),
            (10, 31),
            (11, 30),
            (12, 31),
        ];
        let some_day = |longest: u32| self.days & ((2 << longest) - 1) != 0;
        self.either_day
            || LONGEST
                .iter()
                .any(|(month, longest)| has(self.months, *month) && some_day(*longest))
    }
}

impl FromStr for Cron {
    type Err = ParseCronError;

    fn from_str(text: &str) -> Result<Self, ParseCronError> {
        Cron::parse(text)
    }
}

/// The 29th of February that falls on one day of the week comes every 28 years,
/// or after 40 when a century without a leap day lies between.
const DAYS_AHEAD: u32 = 41 * 366;

/// What one field may hold.
struct Field {
    name: &'static str,
    least: u8,
    most: u8,
    number: fn(&str) -> Option<u8>,
}

const MINUTE_TO_WEEKDAY: [Field; 5] = [
    Field {
        name: "minute",
        least: 0,
        most: 59,
        number: digits,
    },
    Field {
        name: "hour",
        least: 0,
        most: 23,
        number: digits,
    },
    Field {
        name: "day of the month",
        least: 1,
        most: 31,
        number: digits,
    },
    Field {
        name: "month",
        least: 1,
        most: 12,
        number: |text| digits(text).or_else(|| names::month(text)),
    },
    Field {
        name: "day of the week",
        least: 0,
        most: 7,
        number: |text| digits(text).or_else(|| names::weekday(text)),
    },
];

impl Field {
    /// The numbers that `text` stands for, as bits.
    fn set(&self, text: &str) -> Result<u64, ParseCronError> {
        text.split(',')
            .try_fold(0, |set, part| Some(set | self.part(part)?))
            .ok_or_else(|| ParseCronError::Field {
                name: self.name,
                text: text.to_owned(),
            })
    }

    fn part(&self, text: &str) -> Option<u64> {
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(digits(step).filter(|step| *step > 0)?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.least, self.most),
            Some((first, last)) => (self.value(first)?, self.last(last)?),
            // `5/10`: from 5 on.
            None if step.is_some() => (self.value(range)?, self.most),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return None;
        }
        let numbers = (first..=last).step_by(usize::from(step.unwrap_or(1)));
        Some(numbers.fold(0, |set, number| set | 1 << number))
    }

    fn value(&self, text: &str) -> Option<u8> {
        (self.number)(text).filter(|value| (self.least..=self.most).contains(value))
    }

    /// The end of a range: `fri-sun` ends with the 7th day.
    fn last(&self, text: &str) -> Option<u8> {
        let value = self.value(text)?;
        let sunday = self.most == 7 && value == 0;
        Some(if sunday { 7 } else { value })
    }
}

fn digits(text: &str) -> Option<u8> {
    let right = (1..=2).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn has(set: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|number| set & (1 << number) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::local::tests::{at, berlin};
    use super::*;

    fn next(cron: &str, after: &str) -> String {
        let tz = berlin();
        let at = Cron::parse(cron).unwrap().next(at(after, &tz), &tz);
        local(at.unwrap(), &tz).unwrap().to_string()
    }

    #[test]
    fn the_next_time_lies_after_the_given_one() {
        for (cron, after, expected) in [
            ("*/15 * * * *", "2026-06-05T12:00", "2026-06-05T12:15:00"),
            ("*/15 * * * *", "2026-06-05T23:59", "2026-06-06T00:00:00"),
            ("5/20 3 * * *", "2026-06-05T03:05", "2026-06-05T03:25:00"),
            (
                "0 8-10,12 * * mon-fri",
                "2026-06-05T10:30",
                "2026-06-05T12:00:00",
            ),
            ("0 8 * * mon-fri", "2026-06-05T08:00", "2026-06-08T08:00:00"),
            ("0 0 1 jan *", "2026-06-05T08:00", "2027-01-01T00:00:00"),
            ("0 0 * * fri-sun", "2026-06-06T08:00", "2026-06-07T00:00:00"),
            ("0 0 * * 7", "2026-06-05T08:00", "2026-06-07T00:00:00"),
            ("0 0 29 2 *", "2026-06-05T08:00", "2028-02-29T00:00:00"),
        ] {
            assert_eq!(next(cron, after), expected, "{cron}");
        }
    }

    #[test]
    fn either_day_counts_when_both_are_restricted() {
        assert_eq!(
            next("0 0 13 * fri", "2026-06-05T08:00"),
            "2026-06-12T00:00:00"
        );
        assert_eq!(
            next("0 0 13 * fri", "2026-06-12T08:00"),
            "2026-06-13T00:00:00"
        );
        assert_eq!(
            next("0 0 13 * *", "2026-06-12T08:00"),
            "2026-06-13T00:00:00"
        );
        // With a star in one of them both must fit: every second day that is a Friday.
        assert_eq!(
            next("0 0 */2 * fri", "2026-06-05T08:00"),
            "2026-06-19T00:00:00"
        );
    }

    #[test]
    fn a_leap_day_on_a_weekday_is_found_over_a_century() {
        assert_eq!(
            next("0 0 29 2 */7", "2088-03-01T00:00"),
            "2128-02-29T00:00:00"
        );
    }

    #[test]
    fn a_time_in_the_skipped_hour_comes_at_the_change() {
        assert_eq!(
            next("30 2 * * *", "2026-03-28T12:00"),
            "2026-03-29T03:00:00"
        );
        assert_eq!(
            next("30 2 * * *", "2026-03-29T03:00"),
            "2026-03-30T02:30:00"
        );
        assert_eq!(
            next("30 * * * *", "2026-03-29T01:30"),
            "2026-03-29T03:30:00"
        );
    }

    #[test]
    fn a_time_in_the_repeated_hour_comes_once_unless_every_hour_counts() {
        let tz = berlin();
        let utc = |text| at(text, &TimeZone::UTC);
        let first = utc("2026-10-25T00:30");
        let daily = Cron::parse("30 2 * * *").unwrap();
        assert_eq!(daily.next(utc("2026-10-24T22:00"), &tz), Some(first));
        assert_eq!(daily.next(first, &tz), Some(utc("2026-10-26T01:30")));
        let hourly = Cron::parse("30 * * * *").unwrap();
        assert_eq!(hourly.next(first, &tz), Some(utc("2026-10-25T01:30")));
    }

    #[test]
    fn what_is_no_cron_time_is_refused() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "* * * foo *",
            "1, * * * *",
            "-1 * * * *",
            "+1 * * * *",
            "0 0 31 feb *",
            "0 0 31 4,6 *",
        ] {
            assert!(Cron::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_parsed_or_refused(text in "[0-9*/,a-z -]{0,24}") {
            if let Ok(cron) = Cron::parse(&text) {
                prop_assert!(cron.next(Wall(0), &TimeZone::UTC).is_some());
            }
        }

        #[test]
        fn times_ascend_through_changes_of_the_clock(
            start in 1_767_225_600i64..1_800_000_000,
            step in 1u8..60,
        ) {
            let tz = berlin();
            let cron = Cron::parse(&format!("*/{step} * * * *")).unwrap();
            let mut now = Wall::from_secs(start);
            for _ in 0..20 {
                let next = cron.next(now, &tz).unwrap();
                prop_assert!(next > now && next.secs() - now.secs() <= 3600);
                now = next;
            }
        }
    }
}
