//! The parameters that commands choose from a list.

use std::fmt;

use super::Verb;

/// The commands that return a digest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestCommand {
    /// `HASH` (draft-bryan-ftpext-hash): the algorithm chosen by `OPTS HASH`.
    Hash,
    /// `MD5` (draft-twine-ftpmd5).
    Md5,
    /// `XCRC`: CRC-32.
    Xcrc,
    /// `XMD5`.
    Xmd5,
    /// `XSHA`: SHA-1.
    Xsha,
    /// `XSHA1`.
    Xsha1,
    /// `XSHA256`.
    Xsha256,
    /// `XSHA512`.
    Xsha512,
}

/// Level of protection of data connections (RFC 2228).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// None.
    Clear,
    /// Integrity alone; TLS servers refuse it.
    Safe,
    /// Confidentiality alone; TLS servers refuse it.
    Confidential,
    /// Both: TLS.
    Private,
}

/// Representation type (RFC 959 §3.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferType {
    /// Text; line ends may be changed on the way.
    Ascii,
    /// Text in EBCDIC.
    Ebcdic,
    /// Bytes as they are.
    Image,
    /// Bytes of so many bits.
    Local(u8),
}

/// Transfer mode (RFC 959 §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferMode {
    /// The end of the connection is the end of the file.
    Stream,
    /// Blocks with headers.
    Block,
    /// Run-length coding.
    Compressed,
    /// `MODE Z` (draft-preston-ftpext-deflate).
    Deflate,
}

/// File structure (RFC 959 §3.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStructure {
    /// A row of bytes.
    File,
    /// Records.
    Record,
    /// Pages.
    Page,
}

impl DigestCommand {
    /// Its verb.
    pub const fn verb(self) -> Verb {
        match self {
            Self::Hash => Verb::Hash,
            Self::Md5 => Verb::Md5,
            Self::Xcrc => Verb::Xcrc,
            Self::Xmd5 => Verb::Xmd5,
            Self::Xsha => Verb::Xsha,
            Self::Xsha1 => Verb::Xsha1,
            Self::Xsha256 => Verb::Xsha256,
            Self::Xsha512 => Verb::Xsha512,
        }
    }
}

impl Protection {
    /// Its letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clear => "C",
            Self::Safe => "S",
            Self::Confidential => "E",
            Self::Private => "P",
        }
    }
}

impl TransferMode {
    /// Its letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "S",
            Self::Block => "B",
            Self::Compressed => "C",
            Self::Deflate => "Z",
        }
    }
}

impl FileStructure {
    /// Its letter.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "F",
            Self::Record => "R",
            Self::Page => "P",
        }
    }
}

impl fmt::Display for TransferType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ascii => f.write_str("A"),
            Self::Ebcdic => f.write_str("E"),
            Self::Image => f.write_str("I"),
            Self::Local(bits) => write!(f, "L {bits}"),
        }
    }
}
