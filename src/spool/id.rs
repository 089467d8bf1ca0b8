//! Names of entries.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names one entry, for ever: no other entry of this spool, and in practice of
/// no other device, ever has the same name. It is also the entry's place, so
/// that it is found without a search, and it sorts in the order of taking
/// within a lane.
///
/// Written as `TAG-PLACE`, both hexadecimal: `5f1c2a90-30005`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryId {
    pub(super) tag: u32,
    pub(super) lane: u16,
    pub(super) segment: u32,
    pub(super) index: u16,
}

impl EntryId {
    /// The place as one number: lane, segment and index, from high to low bits.
    #[must_use]
    pub fn place(self) -> u64 {
        u64::from(self.lane) << 48 | u64::from(self.segment) << 16 | u64::from(self.index)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:x}", self.tag, self.place())
    }
}

/// Why a text is not the name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseIdError;

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an entry's id (as `queue list` shows it: 5f1c2a90-30005)")
    }
}

impl std::error::Error for ParseIdError {}

impl FromStr for EntryId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<EntryId, ParseIdError> {
        let (tag, place) = text.split_once('-').ok_or(ParseIdError)?;
        if tag.len() != 8 || place.len() > 16 {
            return Err(ParseIdError);
        }
        let place = u64::from_str_radix(place, 16).map_err(|_| ParseIdError)?;
        let part = |shift: u32, mask: u64| (place >> shift) & mask;
        Ok(EntryId {
            tag: u32::from_str_radix(tag, 16).map_err(|_| ParseIdError)?,
            lane: u16::try_from(part(48, 0xffff)).map_err(|_| ParseIdError)?,
            segment: u32::try_from(part(16, 0xffff_ffff)).map_err(|_| ParseIdError)?,
            index: u16::try_from(part(0, 0xffff)).map_err(|_| ParseIdError)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(tag: u32, lane: u16, segment: u32, index: u16) {
            let id = EntryId { tag, lane, segment, index };
            prop_assert_eq!(id.to_string().parse::<EntryId>(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "-",
            "5f1c2a90",
            "5f1c2a9-1",
            "5f1c2a90-",
            "5f1c2a90-g",
            "5f1c2a90-11111111111111111",
        ] {
            assert_eq!(text.parse::<EntryId>(), Err(ParseIdError), "{text}");
        }
    }
}
