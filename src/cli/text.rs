//! Values as the commands print them.

use std::time::Duration;

use jiff::Timestamp;

use crate::base::format_span;
use crate::ftp::text::printable;

/// RFC 3339 in UTC, to the millisecond: for programs.
pub(super) fn time(wall_ns: i64) -> String {
    format!("{:.3}", timestamp(wall_ns))
}

/// RFC 3339 in UTC, to the second: for a person.
pub(super) fn short_time(wall_ns: i64) -> String {
    format!("{:.0}", timestamp(wall_ns))
}

/// A path or a server's words on one line that steers no terminal.
pub(super) fn safe(bytes: &[u8]) -> String {
    printable(bytes, TEXT_MAX)
}

/// Whole seconds in their two largest units.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        seconds => format_span(Duration::from_secs(seconds)),
    }
}

/// `1 file`, `2 files`.
pub(super) fn count(n: u64, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

fn timestamp(wall_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(wall_ns.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A path has 4096 bytes at most.
const TEXT_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(time(1_735_682_645_120_000_000), "2024-12-31T22:04:05.120Z");
        assert_eq!(
            short_time(1_735_682_645_120_000_000),
            "2024-12-31T22:04:05Z"
        );
        assert_eq!(time(-1_000_000_000), "1969-12-31T23:59:59.000Z");
    }
}
