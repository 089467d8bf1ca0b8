//! Windows of local time: `22:00-06:00`, `mon-fri 08:00-12:00`.
//!
//! A window that ends at or before the time it starts runs over midnight and
//! belongs to the day on which it starts. Where the clocks change, a window that
//! starts or ends in the skipped hour does so at the change, and one that ends in
//! the hour that comes twice ends with its second pass.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::local::{Reading, instants, local};
use super::names::weekday;
use crate::base::Wall;

/// One window, on some days of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// One bit per day, Sunday first.
    days: u8,
    start_minute: u16,
    /// Up to 1440; at or below the start when it lies on the next day.
    end_minute: u16,
}

/// Why a text is not a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseWindowError {
    /// The days are not names such as `sat`, `mon-fri` or `sat,sun`.
    Days(String),
    /// A time is not between `00:00` and `24:00`, or the `-` is missing.
    Times(String),
    /// Start and end are the same.
    Empty(String),
}

impl fmt::Display for ParseWindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseWindowError::Days(text) => write!(
                f,
                "{text:?} names no days (write for example \"sat\", \"mon-fri\" or \"sat,sun\")"
            ),
            ParseWindowError::Times(text) => write!(
                f,
                "{text:?} is not a span of times (write for example \"22:00-06:00\")"
            ),
            ParseWindowError::Empty(text) => write!(
                f,
                "{text:?} starts and ends at one time (write \"00:00-24:00\" for a whole day)"
            ),
        }
    }
}

impl std::error::Error for ParseWindowError {}

impl Window {
    /// Reads `22:00-06:00`, `sat 00:00-24:00`, `mon-fri 08:00-12:00`,
    /// `sat,sun 10:00-12:00`.
    ///
    /// # Errors
    /// When the text is something else, naming the part that is wrong.
    pub fn parse(text: &str) -> Result<Window, ParseWindowError> {
        let text = text.trim();
        let (days, times) = match text.split_once(char::is_whitespace) {
            Some((days, times)) if days.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                let set = day_set(days).ok_or_else(|| ParseWindowError::Days(days.to_owned()))?;
                (set, times.trim())
            }
            _ => (0x7f, text),
        };
        let wrong = || ParseWindowError::Times(times.to_owned());
        let (start, end) = times.split_once('-').ok_or_else(wrong)?;
        let start_minute = minute_of_day(start).ok_or_else(wrong)?;
        let end_minute = minute_of_day(end).ok_or_else(wrong)?;
        if start_minute == MINUTES_A_DAY {
            return Err(wrong());
        }
        if start_minute == end_minute {
            return Err(ParseWindowError::Empty(times.to_owned()));
        }
        Ok(Window {
            days,
            start_minute,
            end_minute,
        })
    }

    /// The span that starts on `date`, if there is one.
    fn on(&self, date: Date, tz: &TimeZone) -> Option<(Wall, Wall)> {
        let day = date.weekday().to_sunday_zero_offset();
        if self.days & (1 << day) == 0 {
            return None;
        }
        let end_date = if self.end_minute <= self.start_minute {
            date.tomorrow().ok()?
        } else {
            date
        };
        let start = reading(date, self.start_minute, tz)?.first();
        let end = reading(end_date, self.end_minute, tz)?.last();
        (start < end).then_some((start, end))
    }
}

impl FromStr for Window {
    type Err = ParseWindowError;

    fn from_str(text: &str) -> Result<Self, ParseWindowError> {
        Window::parse(text)
    }
}

/// Whether windows are open at a time, and when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Open at least until then.
    Open {
        /// The end of this window and of those that follow without a gap.
        until: Wall,
    },
    /// Closed until then.
    Closed {
        /// `None` when no window opens within two weeks.
        opens: Option<Wall>,
    },
}

/// Looks `windows` up at `now`. Each opening starts `delay` late, but no later
/// than half way through; windows that touch are one opening.
#[must_use]
pub fn opening(windows: &[Window], delay: Duration, now: Wall, tz: &TimeZone) -> Opening {
    let closed = |opens| Opening::Closed { opens };
    let Some(today) = local(now, tz) else {
        return closed(None);
    };
    for (start, end) in spans(windows, today.date(), tz) {
        let start = delayed(start, end, delay);
        if now < start {
            return closed(Some(start));
        }
        if now < end {
            return Opening::Open { until: end };
        }
    }
    closed(None)
}

/// The spans around `today`, in order, those that touch or overlap joined.
fn spans(windows: &[Window], today: Date, tz: &TimeZone) -> Vec<(Wall, Wall)> {
    let mut all: Vec<(Wall, Wall)> = (-DAYS_BACK..=DAYS_AHEAD)
        .filter_map(|days| today.checked_add(days.days()).ok())
        .flat_map(|date| windows.iter().filter_map(move |w| w.on(date, tz)))
        .collect();
    all.sort_unstable();
    all.dedup_by(|later, earlier| {
        let joined = later.0 <= earlier.1;
        if joined {
            earlier.1 = earlier.1.max(later.1);
        }
        joined
    });
    all
}

fn delayed(start: Wall, end: Wall, delay: Duration) -> Wall {
    let nanos = i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX);
    Wall(start.0.saturating_add(nanos.min((end.0 - start.0) / 2)))
}

const MINUTES_A_DAY: u16 = 24 * 60;
/// Two, so that an opening over midnight keeps its true start.
const DAYS_BACK: i64 = 2;
const DAYS_AHEAD: i64 = 15;

fn reading(date: Date, minute: u16, tz: &TimeZone) -> Option<Reading> {
    let (date, minute) = if minute == MINUTES_A_DAY {
        (date.tomorrow().ok()?, 0)
    } else {
        (date, minute)
    };
    let hour = i8::try_from(minute / 60).ok()?;
    let minute = i8::try_from(minute % 60).ok()?;
    instants(date.at(hour, minute, 0, 0), tz)
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let digits = |part: &str, most| {
        let right = (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        right.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2).filter(|m| *m < 60)?);
    Some(hour * 60 + minute).filter(|minutes| *minutes <= MINUTES_A_DAY)
}

fn day_set(text: &str) -> Option<u8> {
    let mut set = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (weekday(first)?, weekday(last)?);
        let mut day = first;
        loop {
            set |= 1 << day;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::super::local::tests::{at, berlin};
    use super::*;

    fn windows(texts: &[&str]) -> Vec<Window> {
        texts.iter().map(|t| Window::parse(t).unwrap()).collect()
    }

    fn look(texts: &[&str], now: &str) -> Opening {
        let tz = berlin();
        opening(&windows(texts), Duration::ZERO, at(now, &tz), &tz)
    }

    fn open(until: &str) -> Opening {
        Opening::Open {
            until: at(until, &berlin()),
        }
    }

    fn closed(opens: &str) -> Opening {
        Opening::Closed {
            opens: Some(at(opens, &berlin())),
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_starts_on() {
        // 2026-06-05 is a Friday.
        let night = &["fri 22:00-06:00"];
        assert_eq!(look(night, "2026-06-05T21:59"), closed("2026-06-05T22:00"));
        assert_eq!(look(night, "2026-06-05T22:00"), open("2026-06-06T06:00"));
        assert_eq!(look(night, "2026-06-06T05:59"), open("2026-06-06T06:00"));
        assert_eq!(look(night, "2026-06-06T06:00"), closed("2026-06-12T22:00"));
    }

    #[test]
    fn windows_that_touch_are_one_opening() {
        let weekend = &["sun 00:00-24:00", "sat 00:00-24:00", "fri 22:00-24:00"];
        assert_eq!(look(weekend, "2026-06-05T23:00"), open("2026-06-08T00:00"));
    }

    #[test]
    fn a_range_of_days_may_go_round_the_week() {
        let some = &["sat-mon 10:00-11:00"];
        assert_eq!(look(some, "2026-06-08T09:00"), closed("2026-06-08T10:00"));
        assert_eq!(look(some, "2026-06-08T11:00"), closed("2026-06-13T10:00"));
    }

    #[test]
    fn a_window_in_the_skipped_hour_starts_at_the_change() {
        let early = &["02:30-03:30"];
        assert_eq!(look(early, "2026-03-29T01:59"), closed("2026-03-29T03:00"));
        assert_eq!(look(early, "2026-03-29T03:00"), open("2026-03-29T03:30"));
        let lost = &["02:00-03:00"];
        assert_eq!(look(lost, "2026-03-29T01:59"), closed("2026-03-30T02:00"));
    }

    #[test]
    fn a_window_ends_with_the_second_pass_of_the_hour_that_comes_twice() {
        let end = Opening::Open {
            until: at("2026-10-25T01:30", &TimeZone::UTC),
        };
        assert_eq!(look(&["22:00-02:30"], "2026-10-25T02:45"), end);
    }

    #[test]
    fn a_delay_is_cut_to_half_of_a_short_window() {
        let tz = berlin();
        let look = |delay| {
            let now = at("2026-06-05T07:00", &tz);
            opening(
                &windows(&["08:00-09:00"]),
                Duration::from_secs(delay),
                now,
                &tz,
            )
        };
        assert_eq!(look(600), closed("2026-06-05T08:10"));
        assert_eq!(look(86_400), closed("2026-06-05T08:30"));
    }

    #[test]
    fn a_whole_week_is_always_open() {
        let tz = berlin();
        let now = at("2026-06-05T07:00", &tz);
        let week = windows(&["00:00-24:00"]);
        let open = opening(&week, Duration::from_secs(7200), now, &tz);
        assert!(matches!(open, Opening::Open { until } if until > now));
    }

    #[test]
    fn what_is_no_window_is_refused_by_its_part() {
        use ParseWindowError::{Days, Empty, Times};
        for (text, error) in [
            ("08:00", Times("08:00".into())),
            ("08:00-25:00", Times("08:00-25:00".into())),
            ("24:00-06:00", Times("24:00-06:00".into())),
            ("08:60-09:00", Times("08:60-09:00".into())),
            ("+8:00-09:00", Times("+8:00-09:00".into())),
            ("08:00-08:00", Empty("08:00-08:00".into())),
            ("xyz 08:00-09:00", Days("xyz".into())),
            ("mon- 08:00-09:00", Days("mon-".into())),
            ("", Times(String::new())),
        ] {
            assert_eq!(Window::parse(text), Err(error), "{text}");
        }
    }
}
