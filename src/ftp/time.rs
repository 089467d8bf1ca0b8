//! Times as FTP writes them: `YYYYMMDDHHMMSS[.fraction]`, always UTC (RFC 3659 §2.3).

use std::fmt;

/// A moment in UTC with the precision of MDTM and MFMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FtpTime {
    unix_secs: i64,
}

/// The first second of year 0000 and the last of year 9999.
const RANGE_SECS: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

impl FtpTime {
    /// The moment `unix_secs` after 1970; `None` outside the years 0 to 9999,
    /// which four digits cannot write.
    pub fn from_unix(unix_secs: i64) -> Option<Self> {
        RANGE_SECS
            .contains(&unix_secs)
            .then_some(Self { unix_secs })
    }

    /// Seconds since 1970 without leap seconds.
    pub fn unix_secs(self) -> i64 {
        self.unix_secs
    }

    /// Reads a time value; a fraction is allowed and dropped, and second 60 is
    /// the one after second 59. `None` when it is something else, or a day
    /// that does not exist.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (digits, fraction) = text.split_at_checked(14)?;
        match fraction.split_first() {
            None => {}
            Some((b'.', rest)) if !rest.is_empty() && rest.iter().all(u8::is_ascii_digit) => {}
            Some(_) => return None,
        }
        let field = |from: usize, to: usize| number(digits.get(from..to)?);
        let (year, month, day) = (field(0, 4)?, field(4, 6)?, field(6, 8)?);
        let (hour, minute, second) = (field(8, 10)?, field(10, 12)?, field(12, 14)?);
        let days = days_from_civil(year, month, day);
        let real = civil_from_days(days) == (year, month, day);
        if !real || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        Self::from_unix(days * 86_400 + hour * 3600 + minute * 60 + second)
    }
}

impl fmt::Display for FtpTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(self.unix_secs.div_euclid(86_400));
        let second = self.unix_secs.rem_euclid(86_400);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(
            f,
            "{year:04}{month:02}{day:02}{hour:02}{minute:02}{:02}",
            second % 60
        )
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |value, digit| {
        digit
            .is_ascii_digit()
            .then(|| value * 10 + i64::from(digit - b'0'))
    })
}

/// Days from 1970-01-01. A year is counted from March here, so that the leap
/// day comes last and a month's start is a linear formula.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of the day `days` after 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_are_read_and_written() {
        for (text, secs) in [
            ("19700101000000", 0),
            ("20000229120000", 951_825_600),
            ("20200102030405", 1_577_934_245),
            ("19691231235959", -1),
            ("99991231235959", 253_402_300_799),
        ] {
            assert_eq!(
                FtpTime::parse(text.as_bytes()).map(FtpTime::unix_secs),
                Some(secs),
                "{text}"
            );
            assert_eq!(FtpTime::from_unix(secs).unwrap().to_string(), text);
        }
        assert_eq!(
            FtpTime::parse(b"20200102030405.123"),
            FtpTime::parse(b"20200102030405")
        );
        assert_eq!(
            FtpTime::parse(b"20161231235960"),
            FtpTime::parse(b"20170101000000")
        );
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "2020",
            "20200230000000",
            "20201301000000",
            "20200100000000",
            "20200101240000",
            "20200101006000",
            "20200101000061",
            "2020010100000x",
            "20200101000000.",
            "20200101000000Z",
            "191020101000000",
        ] {
            assert_eq!(FtpTime::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn every_second_survives_writing_and_reading(secs in RANGE_SECS) {
            let time = FtpTime::from_unix(secs).unwrap();
            prop_assert_eq!(FtpTime::parse(time.to_string().as_bytes()), Some(time));
        }
    }
}
