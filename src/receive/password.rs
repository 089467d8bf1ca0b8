//! What passwords are compared with.

use std::fmt;

use argon2::password_hash::phc;
use argon2::password_hash::{CustomizedPasswordHasher, PasswordVerifier};
use argon2::{Argon2, Params};
use sha2::{Digest, Sha256};

use crate::base::Secret;

/// A password as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// An Argon2 PHC string (`$argon2id$v=19$…`), valid and affordable.
    Argon2(String),
    /// A bcrypt hash (`$2b$…`), valid and affordable.
    Bcrypt(String),
    /// The password itself.
    Plain(Secret),
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hash is no password, but one may be guessed with it.
        f.write_str(match self {
            PasswordHash::Argon2(_) => "Argon2(****)",
            PasswordHash::Bcrypt(_) => "Bcrypt(****)",
            PasswordHash::Plain(_) => "Plain(****)",
        })
    }
}

/// Why a text is no usable password hash; continues a sentence that began with
/// its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashError {
    /// It is no hash of a kind that we know.
    Unknown,
    /// It is one that was cut or changed.
    Damaged,
    /// It would cost more memory or time than a small device has.
    TooCostly,
}

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HashError::Unknown => {
                "is no Argon2 or bcrypt hash (make one with `edgespool receive passwd`)"
            }
            HashError::Damaged => {
                "is a hash of which a part is missing or wrong (copy the whole line)"
            }
            HashError::TooCostly => {
                "costs too much for a device (at most 64 MiB and 32 passes of Argon2, or cost 14 of \
                 bcrypt)"
            }
        })
    }
}

impl std::error::Error for HashError {}

impl PasswordHash {
    /// Reads an Argon2 or bcrypt hash.
    ///
    /// # Errors
    /// When it is none, or none that a small device can afford.
    pub fn parse(text: &str) -> Result<PasswordHash, HashError> {
        let text = text.trim();
        if text.starts_with("$argon2") {
            let hash = phc::PasswordHash::new(text).map_err(|_| HashError::Damaged)?;
            let params = Params::try_from(&hash).map_err(|_| HashError::Damaged)?;
            if hash.hash.is_none() || hash.salt.is_none() {
                return Err(HashError::Damaged);
            }
            if params.m_cost() > MEMORY_KIB_MAX || params.t_cost() > PASSES_MAX {
                return Err(HashError::TooCostly);
            }
            return Ok(PasswordHash::Argon2(text.to_owned()));
        }
        // $2x$ marks hashes of a program with a mistake in it.
        if !["$2a$", "$2b$", "$2y$"].iter().any(|p| text.starts_with(p)) {
            return Err(HashError::Unknown);
        }
        let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Damaged)?;
        match parts.get_cost() {
            0..=3 => Err(HashError::Damaged),
            4..=BCRYPT_COST_MAX => Ok(PasswordHash::Bcrypt(text.to_owned())),
            _ => Err(HashError::TooCostly),
        }
    }

    /// Makes an Argon2id hash (RFC 9106) with [`MEMORY_KIB`] and [`PASSES`], which
    /// OWASP counts as strong as its other choices and which a small device can
    /// afford. `salt` is random. `None` when there is no memory. Blocks for a
    /// good part of a second on a slow device.
    #[must_use]
    pub fn make(password: &Secret, salt: &[u8; 16]) -> Option<String> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).ok()?;
        let hash: phc::PasswordHash = Argon2::default()
            .hash_password_with_params(password.expose(), salt, params)
            .ok()?;
        Some(hash.to_string())
    }

    /// Whether this is the password. Blocks.
    #[must_use]
    pub fn verify(&self, password: &Secret) -> bool {
        let given = password.expose();
        match self {
            PasswordHash::Argon2(text) => phc::PasswordHash::new(text)
                .is_ok_and(|hash| Argon2::default().verify_password(given, &hash).is_ok()),
            PasswordHash::Bcrypt(text) => bcrypt::verify(given, text).unwrap_or(false),
            // Digests have one length, so that the time tells nothing of it.
            PasswordHash::Plain(secret) => {
                let (a, b) = (Sha256::digest(secret.expose()), Sha256::digest(given));
                let differing = a.iter().zip(b).fold(0, |bits, (a, b)| bits | (a ^ b));
                differing == 0
            }
        }
    }

    /// Whether a comparison costs time, as it should.
    pub(super) fn is_slow(&self) -> bool {
        !matches!(self, PasswordHash::Plain(_))
    }
}

/// Memory of one Argon2id hash of ours: an agent has little more for itself.
pub const MEMORY_KIB: u32 = 7 << 10;
/// Passes over it, to make up for the little memory.
pub const PASSES: u32 = 5;

/// What hashes made elsewhere may cost.
const MEMORY_KIB_MAX: u32 = 64 << 10;
const PASSES_MAX: u32 = 32;
const BCRYPT_COST_MAX: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of the two reference programs.
    const ELSEWHERE: [(&str, &str); 2] = [
        (
            "password",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        ),
        (
            "U*U",
            "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        ),
    ];

    #[test]
    fn a_hash_that_was_made_here_fits_its_password_and_no_other() {
        let made = PasswordHash::make(&Secret::from("tr0ub4dor"), &[7; 16]).unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=7168,t=5,p=1$"), "{made}");
        let hash = PasswordHash::parse(&made).unwrap();
        assert!(hash.verify(&Secret::from("tr0ub4dor")));
        assert!(!hash.verify(&Secret::from("tr0ub4dor ")));
        assert!(!hash.verify(&Secret::from("")));
    }

    #[test]
    fn hashes_made_elsewhere_are_understood() {
        for (password, text) in ELSEWHERE {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.verify(&Secret::from(password)), "{text}");
            assert!(!hash.verify(&Secret::from("other")), "{text}");
        }
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        let [(_, argon2), (_, bcrypt)] = ELSEWHERE;
        for (text, error) in [
            ("hunter2", HashError::Unknown),
            ("$1$salt$hash", HashError::Unknown),
            (&bcrypt.replace("$2a$", "$2x$"), HashError::Unknown),
            (&argon2[..40], HashError::Damaged),
            (&bcrypt[..40], HashError::Damaged),
            (&bcrypt.replace("$05$", "$31$"), HashError::TooCostly),
            (&argon2.replace("m=256", "m=1048576"), HashError::TooCostly),
            (&argon2.replace("t=2", "t=1000"), HashError::TooCostly),
        ] {
            assert_eq!(PasswordHash::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn plain_passwords_are_compared_as_they_are_and_never_shown() {
        let plain = PasswordHash::Plain(Secret::from("hunter2"));
        assert!(plain.verify(&Secret::from("hunter2")));
        assert!(!plain.verify(&Secret::from("hunter")));
        assert_eq!(format!("{plain:?}"), "Plain(****)");
    }
}
