//! Bytes that nobody but the server may see.

use std::fmt;

use zeroize::Zeroizing;

/// A password or a private key. Its `Debug` shows nothing, it has no `Display`,
/// and its memory is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// The bytes themselves. The name is long so that each use is looked at.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_bytes_nor_their_number() {
        assert_eq!(format!("{:?}", Secret::from("hunter2")), "Secret(****)");
        assert_eq!(format!("{:#?}", Some(Secret::from(""))).lines().count(), 3);
    }
}
