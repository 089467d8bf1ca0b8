//! What a server says about a file it has: size, time, digest.
//!
//! These answers decide whether the only copy of a file may go. So each parser
//! takes what it is sure of and nothing else; a doubtful answer is no answer.

use std::fmt;

use crate::ftp::command::{DigestCommand, decimal};
use crate::ftp::reply::Reply;
use crate::ftp::time::FtpTime;

/// Bytes of the longest digest, SHA-512.
pub const DIGEST_BYTES_MAX: usize = 64;

/// An algorithm for whole-file digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// CRC-32 (IEEE 802.3).
    Crc32,
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them, the weakest first.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Md5,
        Self::Sha1,
        Self::Sha256,
        Self::Sha512,
    ];

    /// The name in `OPTS HASH` and in replies to HASH.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// The algorithm of that name, in any case, with or without the hyphen.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let letters = |word: &[u8]| -> Vec<u8> {
            let kept = word.iter().filter(|b| **b != b'-');
            kept.map(u8::to_ascii_uppercase).collect()
        };
        let name = letters(name.get(..16).unwrap_or(name));
        Self::ALL
            .into_iter()
            .find(|algorithm| letters(algorithm.as_str().as_bytes()) == name)
    }

    /// Bytes of a digest.
    pub const fn digest_bytes(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DigestCommand {
    /// The algorithm; `None` for HASH, whose replies name it.
    pub const fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Hash => None,
            Self::Xcrc => Some(Algorithm::Crc32),
            Self::Md5 | Self::Xmd5 => Some(Algorithm::Md5),
            Self::Xsha | Self::Xsha1 => Some(Algorithm::Sha1),
            Self::Xsha256 => Some(Algorithm::Sha256),
            Self::Xsha512 => Some(Algorithm::Sha512),
        }
    }
}

/// A digest that a server computed.
#[derive(Clone, PartialEq, Eq)]
pub struct Digest {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// First and last byte as HASH reports them; `None` from other commands.
    pub range: Option<(u64, u64)>,
    value: heapless::Vec<u8, DIGEST_BYTES_MAX>,
}

impl Digest {
    /// The raw digest, most significant byte first.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Whether this is the digest `expected` of a whole file of `size` bytes.
    /// The end of the range is the last byte in the draft, and one past it on
    /// some servers; both say "whole".
    pub fn proves(&self, expected: &[u8], size: u64) -> bool {
        let whole = match self.range {
            None => true,
            Some((first, last)) => {
                first == 0 && (last == size || last.checked_add(1) == Some(size))
            }
        };
        whole && self.value() == expected
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} ", self.algorithm, self.range)?;
        self.value
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The size in a reply to SIZE: `213 10` (RFC 3659 §4).
pub fn parse_size(reply: &Reply) -> Option<u64> {
    (reply.code() == 213)
        .then(|| decimal(reply.last_line().trim_ascii()))
        .flatten()
}

/// The time in a reply to MDTM: `213 20200102030405` (RFC 3659 §3).
pub fn parse_mdtm(reply: &Reply) -> Option<FtpTime> {
    (reply.code() == 213)
        .then(|| FtpTime::parse(reply.last_line().trim_ascii()))
        .flatten()
}

/// The digest in a reply to `command`.
///
/// HASH answers `SHA-1 0-10 <hex> name`. The others answer `<hex>`, some with
/// the name or another word beside it; when two words could be the digest (a
/// file named like one) the answer is `None`.
pub fn parse_digest(command: DigestCommand, reply: &Reply) -> Option<Digest> {
    if !reply.is_completion() || reply.is_truncated() {
        return None;
    }
    let text = reply.last_line();
    match command.algorithm() {
        None => parse_hash(text),
        Some(algorithm) => parse_bare(algorithm, text),
    }
}

fn parse_hash(text: &[u8]) -> Option<Digest> {
    let mut words = text
        .trim_ascii()
        .split(|b| *b == b' ')
        .filter(|word| !word.is_empty());
    let algorithm = Algorithm::from_name(words.next()?)?;
    let mut ends = words.next()?.splitn(2, |b| *b == b'-');
    let range = (decimal(ends.next()?)?, decimal(ends.next()?)?);
    let value = parse_hex(algorithm, words.next()?)?;
    Some(Digest {
        algorithm,
        range: Some(range),
        value,
    })
}

fn parse_bare(algorithm: Algorithm, text: &[u8]) -> Option<Digest> {
    let text = text.trim_ascii();
    if algorithm == Algorithm::Crc32
        && let Some(value) = parse_short_crc(text)
    {
        return Some(Digest {
            algorithm,
            range: None,
            value,
        });
    }
    let words = text.split(|b| matches!(b, b' ' | b'\t' | b'"' | b'='));
    let mut found = None;
    for value in words.filter_map(|word| parse_hex(algorithm, word)) {
        if found.as_ref().is_some_and(|other| *other != value) {
            return None;
        }
        found = Some(value);
    }
    found.map(|value| Digest {
        algorithm,
        range: None,
        value,
    })
}

/// A CRC alone on its line, which some servers write as a number: without leading zeros.
fn parse_short_crc(text: &[u8]) -> Option<heapless::Vec<u8, DIGEST_BYTES_MAX>> {
    if text.len() > 8 || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let value = u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?;
    heapless::Vec::from_slice(&value.to_be_bytes()).ok()
}

fn parse_hex(algorithm: Algorithm, word: &[u8]) -> Option<heapless::Vec<u8, DIGEST_BYTES_MAX>> {
    if word.len() != algorithm.digest_bytes() * 2 {
        return None;
    }
    let mut value = heapless::Vec::new();
    for pair in word.chunks_exact(2) {
        let mut byte = 0;
        for digit in pair {
            let digit = char::from(*digit).to_digit(16)?;
            byte = byte << 4 | u8::try_from(digit).ok()?;
        }
        value.push(byte).ok()?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA1: &str = "743554e1e525bc532e14f081d9c0f76c87f41d4c";
    const MD5: &str = "E64E3BB499061CC1D33F9F4F6B1131CD";

    fn digest(command: DigestCommand, code: u16, text: &str) -> Option<Digest> {
        parse_digest(command, &Reply::new(code, text.as_bytes()))
    }

    #[test]
    fn sizes_and_times_are_read() {
        assert_eq!(
            parse_size(&Reply::new(213, b"5000000000")),
            Some(5_000_000_000)
        );
        assert_eq!(parse_size(&Reply::new(213, b"10 bytes")), None);
        assert_eq!(parse_size(&Reply::new(213, b"")), None);
        assert_eq!(parse_size(&Reply::new(213, b"18446744073709551616")), None);
        assert_eq!(parse_size(&Reply::new(550, b"10")), None);
        let time = parse_mdtm(&Reply::new(213, b"20200102030405.000"));
        assert_eq!(time.map(FtpTime::unix_secs), Some(1_577_934_245));
    }

    #[test]
    fn a_reply_to_hash_names_algorithm_and_range() {
        let text = format!("Computing SHA-1 digest\nSHA-1 0-10 {SHA1} f g");
        let found = digest(DigestCommand::Hash, 213, &text).unwrap();
        assert_eq!(
            (found.algorithm, found.range),
            (Algorithm::Sha1, Some((0, 10)))
        );
        let value = found.value().to_vec();
        assert!(found.proves(&value, 10) && found.proves(&value, 11));
        assert!(!found.proves(&value, 12) && !found.proves(&value[1..], 10));
    }

    #[test]
    fn bare_digests_are_found() {
        for (command, code, text) in [
            (
                DigestCommand::Xmd5,
                250,
                format!("Computing MD5 digest\n{MD5}"),
            ),
            (DigestCommand::Xmd5, 250, format!("\"f\" {MD5}")),
            (DigestCommand::Md5, 251, format!("f g {MD5}")),
            (DigestCommand::Xsha1, 250, format!("{} {SHA1}", "XSHA1")),
            (DigestCommand::Xcrc, 250, "4BD96C16".to_owned()),
        ] {
            let found = digest(command, code, &text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(Some(found.algorithm), command.algorithm());
        }
        let short = digest(DigestCommand::Xcrc, 250, " d96c16").unwrap();
        assert_eq!(short.value(), [0, 0xd9, 0x6c, 0x16]);
    }

    #[test]
    fn a_doubtful_digest_is_none() {
        let other = "0".repeat(32);
        assert_eq!(
            digest(DigestCommand::Md5, 251, &format!("{other} {MD5}")),
            None
        );
        assert_eq!(digest(DigestCommand::Xmd5, 550, MD5), None);
        assert_eq!(digest(DigestCommand::Xsha256, 250, MD5), None);
        assert_eq!(digest(DigestCommand::Xcrc, 250, ""), None);
        assert_eq!(digest(DigestCommand::Hash, 213, SHA1), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn random_replies_never_panic(text: Vec<u8>) {
            let reply = Reply::new(213, &text);
            let _ = (parse_size(&reply), parse_mdtm(&reply));
            for command in [DigestCommand::Hash, DigestCommand::Xcrc, DigestCommand::Xmd5] {
                let _ = parse_digest(command, &reply);
            }
        }
    }
}
