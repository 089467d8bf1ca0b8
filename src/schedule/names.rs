//! Names of days and months.

/// The number of a day of the week, Sunday 0; by its English name or at least
/// its first three letters.
pub(super) fn weekday(name: &str) -> Option<u8> {
    position(&DAYS, name)
}

/// The number of a month, January 1; by its English name or at least its first
/// three letters.
pub(super) fn month(name: &str) -> Option<u8> {
    position(&MONTHS, name).map(|index| index + 1)
}

const DAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn position(names: &[&str], name: &str) -> Option<u8> {
    let name = name.trim().to_ascii_lowercase();
    if name.len() < 3 {
        return None;
    }
    let index = names.iter().position(|full| full.starts_with(&name))?;
    u8::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_be_short_or_whole_in_any_case() {
        assert_eq!(weekday("Sat"), Some(6));
        assert_eq!(weekday("thurs"), Some(4));
        assert_eq!(month("DECEMBER"), Some(12));
        assert_eq!(month("may"), Some(5));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "s", "sa", "sat2", "saturdays"] {
            assert_eq!(weekday(name), None, "{name}");
        }
    }
}
