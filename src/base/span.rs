//! Durations as a person writes them.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSpanError;

impl fmt::Display for ParseSpanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a duration (write a number with ms, s, m, h or d, as in \"15m\" or \"1h30m\")",
        )
    }
}

impl std::error::Error for ParseSpanError {}

/// Reads `500ms`, `20s`, `15m`, `2h`, `30d`, `1h30m`. A bare `0` is allowed;
/// any other number needs its unit.
///
/// # Errors
/// When the text is something else, or too long a time for 64-bit milliseconds.
pub fn parse_span(text: &str) -> Result<Duration, ParseSpanError> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(ParseSpanError);
    }
    let mut millis: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or(ParseSpanError)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| ParseSpanError)?;
        let part = number.checked_mul(unit_millis(unit).ok_or(ParseSpanError)?);
        millis = part
            .and_then(|p| millis.checked_add(p))
            .ok_or(ParseSpanError)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration in its two largest units: `2h 5m`, `15s`, `350ms`.
pub fn format_span(span: Duration) -> String {
    let secs = span.as_secs();
    let (days, hours, mins) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, mins, secs % 60) {
        (0, 0, 0, 0) => format!("{}ms", span.subsec_millis()),
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, 0) => format!("{m}m"),
        (0, 0, m, s) => format!("{m}m {s}s"),
        (0, h, 0, _) => format!("{h}h"),
        (0, h, m, _) => format!("{h}h {m}m"),
        (d, 0, _, _) => format!("{d}d"),
        (d, h, _, _) => format!("{d}d {h}h"),
    }
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" | "sec" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("0", 0),
            ("500ms", 500),
            ("20s", 20_000),
            ("1h30m", 5_400_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(
                parse_span(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1y",
            "1.5h",
            "99999999999999999999s",
            "9999999999999999d",
        ] {
            assert_eq!(parse_span(text), Err(ParseSpanError), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_two_largest_units() {
        for (millis, text) in [
            (350, "350ms"),
            (15_000, "15s"),
            (7_500_000, "2h 5m"),
            (90_000, "1m 30s"),
        ] {
            assert_eq!(format_span(Duration::from_millis(millis)), text);
        }
    }
}
