//! Sizes in bytes as a person writes them.

use std::fmt;
use std::str::FromStr;

/// A number of bytes. Written as `512`, `64k`, `500MB`, `1GiB`: the letters
/// `k M G T` alone or with `B` count in powers of 1000, `Ki Mi Gi Ti` (with or
/// without `B`) in powers of 1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSizeError;

impl fmt::Display for ParseSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a size (write a number with k, M, G, KiB, MiB or GiB, as in \"64MiB\")")
    }
}

impl std::error::Error for ParseSizeError {}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let text = text.trim();
        let digits_end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let (digits, unit) = text.split_at(digits_end);
        let factor = unit_factor(unit.trim()).ok_or(ParseSizeError)?;
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        if fraction.len() > 6 {
            return Err(ParseSizeError);
        }
        let whole: u64 = whole.parse().map_err(|_| ParseSizeError)?;
        let part: u64 = fraction.parse().map_err(|_| ParseSizeError)?;
        let scale = 10u128.pow(u32::try_from(fraction.len()).map_err(|_| ParseSizeError)?);
        let bytes =
            u128::from(whole) * u128::from(factor) + u128::from(part) * u128::from(factor) / scale;
        u64::try_from(bytes)
            .map(ByteSize)
            .map_err(|_| ParseSizeError)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] = [
            (1 << 40, "TiB"),
            (1 << 30, "GiB"),
            (1 << 20, "MiB"),
            (1 << 10, "KiB"),
        ];
        for (factor, unit) in UNITS {
            if self.0 >= factor {
                let tenths = u128::from(self.0) * 10 / u128::from(factor);
                return match tenths % 10 {
                    0 => write!(f, "{} {unit}", tenths / 10),
                    tenth => write!(f, "{}.{tenth} {unit}", tenths / 10),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

fn unit_factor(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("64k", 64_000),
            ("1GiB", 1 << 30),
            ("500MB", 500_000_000),
            ("1.5 MiB", 3 << 19),
            ("256KiB", 256 << 10),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in [
            "",
            "MiB",
            "-1",
            "1 parsec",
            "1e9",
            "99999999999GiB",
            "1.2.3k",
            "1.",
            ".5M",
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(ParseSizeError), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_at_most_one_decimal() {
        assert_eq!(ByteSize(1536).to_string(), "1.5 KiB");
        assert_eq!(ByteSize(1 << 30).to_string(), "1 GiB");
        assert_eq!(ByteSize(999).to_string(), "999 B");
    }
}
