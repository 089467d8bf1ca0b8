//! What passwords are compared with.

use std::fmt;

use crate::base::Secret;

/// A password as it is stored.
#[derive(Clone, Debug)]
pub enum PasswordHash {
    /// An Argon2 PHC string (`$argon2id$v=19$…`), or bcrypt's (`$2b$…`); valid.
    Hash(String),
    /// The password itself.
    Plain(Secret),
}

/// Why a text is no password hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashError(pub &'static str);

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for HashError {}

impl PasswordHash {
    /// Reads an Argon2id, Argon2i, Argon2d or bcrypt hash.
    ///
    /// # Errors
    /// When it is none, or would cost more memory or time than a small device has.
    pub fn parse(text: &str) -> Result<PasswordHash, HashError> {
        todo!("{text}")
    }

    /// Makes an Argon2id hash. Blocks for a good part of a second on a small device.
    ///
    /// # Errors
    /// When there is no randomness or memory.
    pub fn new(password: &Secret) -> Result<PasswordHash, HashError> {
        todo!("{password:?}")
    }

    /// Whether this is the password. Blocks.
    #[must_use]
    pub fn verify(&self, password: &Secret) -> bool {
        todo!("{password:?}")
    }
}
