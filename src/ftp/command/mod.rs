//! Commands of a client: as values, onto the wire, and back.
//!
//! A [`Command`] that was encoded is exactly one line: CR, LF and NUL in an
//! argument are refused, so that no file name can smuggle a second command in.
//! The byte 0xFF, which Telnet reserves, is doubled (RFC 959 §5.3.2) unless
//! the server is known to take it raw ([`Iac`]).

mod parse;
mod verb;

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4};

use crate::ftp::secret::Secret;
use crate::ftp::text::printable;
use crate::ftp::time::FtpTime;
use crate::ftp::{address, telnet};

pub(in crate::ftp) use parse::decimal;
pub use parse::{ParseError, parse};
pub use verb::Verb;

/// Bytes of a command line, line end included. `PATH_MAX` and a verb fit.
pub const COMMAND_BYTES_MAX: usize = 4096 + 64;

/// Bytes of an argument, not yet escaped: usually a path as the server names it.
pub type Argument = Vec<u8>;

/// One command. Variants carry the argument of the same name in the RFCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop the transfer.
    Abor,
    /// The account, where a server wants one after the password.
    Acct(Secret),
    /// Bytes to reserve.
    Allo(u64),
    /// Append to a file.
    Appe(Argument),
    /// Begin a security mechanism (RFC 4217): `TLS`.
    Auth(Argument),
    /// Clear command channel (RFC 2228).
    Ccc,
    /// To the parent directory.
    Cdup,
    /// To a directory.
    Cwd(Argument),
    /// Delete a file.
    Dele(Argument),
    /// Active mode for any address family (RFC 2428).
    Eprt(SocketAddr),
    /// Passive mode for any address family (RFC 2428); with a family number (1 IPv4, 2 IPv6) if given.
    Epsv(Option<u8>),
    /// From now on only EPSV.
    EpsvAll,
    /// List what the server can do (RFC 2389).
    Feat,
    /// A file's digest, by the command of the caller's choice.
    Digest(DigestCommand, Argument),
    /// Help, on a command if given.
    Help(Argument),
    /// The virtual host (RFC 7151).
    Host(Argument),
    /// A directory for people; an empty argument is the current one.
    List(Argument),
    /// When a file was changed (RFC 3659).
    Mdtm(Argument),
    /// Set that time, as vsftpd and others understand `MDTM time path`.
    MdtmSet(FtpTime, Argument),
    /// Set that time (draft-somers-ftp-mfxx).
    Mfmt(FtpTime, Argument),
    /// Make a directory.
    Mkd(Argument),
    /// A directory for machines (RFC 3659); empty: the current one.
    Mlsd(Argument),
    /// Facts of one file (RFC 3659); empty: the current directory.
    Mlst(Argument),
    /// Transfer mode.
    Mode(TransferMode),
    /// The names in a directory; empty: the current one.
    Nlst(Argument),
    /// Nothing.
    Noop,
    /// An option for a command (RFC 2389), as in `HASH SHA-256`.
    Opts(Argument),
    /// The password.
    Pass(Secret),
    /// Passive mode, IPv4 only.
    Pasv,
    /// Protection buffer size (RFC 4217: always 0).
    Pbsz(u64),
    /// Active mode, IPv4 only.
    Port(SocketAddrV4),
    /// The transfer command to come, for servers that choose a node by it.
    Pret(Argument),
    /// Protection of data connections.
    Prot(Protection),
    /// The current directory.
    Pwd,
    /// End of session.
    Quit,
    /// Log out, keep the connection.
    Rein,
    /// Where the next transfer begins.
    Rest(u64),
    /// Fetch a file.
    Retr(Argument),
    /// Remove a directory.
    Rmd(Argument),
    /// Rename this …
    Rnfr(Argument),
    /// … to this.
    Rnto(Argument),
    /// A command of the server's own.
    Site(Argument),
    /// Set permissions: the mode's low twelve bits, written in octal.
    SiteChmod(u16, Argument),
    /// Set a file's time: `SITE UTIME time path`.
    SiteUtime(FtpTime, Argument),
    /// A file's size in the current type (RFC 3659).
    Size(Argument),
    /// Status of the server, or of a path.
    Stat(Argument),
    /// Store a file.
    Stor(Argument),
    /// Store under a name of the server's choice; the argument is a hint or empty.
    Stou(Argument),
    /// File structure.
    Stru(FileStructure),
    /// The server's system.
    Syst,
    /// Representation type.
    Type(TransferType),
    /// The user's name.
    User(Argument),
    /// A whole line as a person typed it, verb and argument.
    Raw(Argument),
}

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

/// How the byte 0xFF in an argument goes onto the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Iac {
    /// Doubled, as RFC 959 has it.
    #[default]
    Doubled,
    /// As it is, for servers that know nothing of Telnet.
    Raw,
}

/// Why a command cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// The argument holds CR, LF or NUL, which would end the line in its midst.
    LineBreak(Verb),
    /// The argument is empty where the command needs one.
    Empty(Verb),
    /// The line is longer than [`COMMAND_BYTES_MAX`].
    TooLong(Verb),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineBreak(verb) => {
                write!(
                    f,
                    "the argument of {verb} contains a line break or a zero byte"
                )
            }
            Self::Empty(verb) => write!(f, "the argument of {verb} is empty"),
            Self::TooLong(verb) => {
                write!(
                    f,
                    "the argument of {verb} is longer than {COMMAND_BYTES_MAX} bytes"
                )
            }
        }
    }
}

impl std::error::Error for CommandError {}

/// What follows the verb: something we wrote, then bytes from outside.
struct Parts<'a> {
    head: String,
    tail: Tail<'a>,
}

enum Tail<'a> {
    None,
    Optional(&'a [u8]),
    Required(&'a [u8]),
}

impl Command {
    /// The verb.
    pub fn verb(&self) -> Verb {
        match self {
            Self::Abor => Verb::Abor,
            Self::Acct(_) => Verb::Acct,
            Self::Allo(_) => Verb::Allo,
            Self::Appe(_) => Verb::Appe,
            Self::Auth(_) => Verb::Auth,
            Self::Ccc => Verb::Ccc,
            Self::Cdup => Verb::Cdup,
            Self::Cwd(_) => Verb::Cwd,
            Self::Dele(_) => Verb::Dele,
            Self::Eprt(_) => Verb::Eprt,
            Self::Epsv(_) | Self::EpsvAll => Verb::Epsv,
            Self::Feat => Verb::Feat,
            Self::Digest(command, _) => command.verb(),
            Self::Help(_) => Verb::Help,
            Self::Host(_) => Verb::Host,
            Self::List(_) => Verb::List,
            Self::Mdtm(_) | Self::MdtmSet(..) => Verb::Mdtm,
            Self::Mfmt(..) => Verb::Mfmt,
            Self::Mkd(_) => Verb::Mkd,
            Self::Mlsd(_) => Verb::Mlsd,
            Self::Mlst(_) => Verb::Mlst,
            Self::Mode(_) => Verb::Mode,
            Self::Nlst(_) => Verb::Nlst,
            Self::Noop => Verb::Noop,
            Self::Opts(_) => Verb::Opts,
            Self::Pass(_) => Verb::Pass,
            Self::Pasv => Verb::Pasv,
            Self::Pbsz(_) => Verb::Pbsz,
            Self::Port(_) => Verb::Port,
            Self::Pret(_) => Verb::Pret,
            Self::Prot(_) => Verb::Prot,
            Self::Pwd => Verb::Pwd,
            Self::Quit => Verb::Quit,
            Self::Rein => Verb::Rein,
            Self::Rest(_) => Verb::Rest,
            Self::Retr(_) => Verb::Retr,
            Self::Rmd(_) => Verb::Rmd,
            Self::Rnfr(_) => Verb::Rnfr,
            Self::Rnto(_) => Verb::Rnto,
            Self::Site(_) | Self::SiteChmod(..) | Self::SiteUtime(..) => Verb::Site,
            Self::Size(_) => Verb::Size,
            Self::Stat(_) => Verb::Stat,
            Self::Stor(_) => Verb::Stor,
            Self::Stou(_) => Verb::Stou,
            Self::Stru(_) => Verb::Stru,
            Self::Syst => Verb::Syst,
            Self::Type(_) => Verb::Type,
            Self::User(_) => Verb::User,
            Self::Raw(line) => raw_verb(line),
        }
    }

    /// Appends the command as one line to `out`, 0xFF doubled.
    ///
    /// # Errors
    /// When the argument cannot be part of a line; `out` is unchanged then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), CommandError> {
        self.encode_with(Iac::Doubled, out)
    }

    /// Like [`Command::encode`], with a choice for the byte 0xFF.
    ///
    /// # Errors
    /// The same.
    pub fn encode_with(&self, iac: Iac, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let verb = self.verb();
        let Parts { head, tail } = self.parts();
        let tail = match tail {
            Tail::None => &[],
            Tail::Required([]) => return Err(CommandError::Empty(verb)),
            Tail::Optional(bytes) | Tail::Required(bytes) => bytes,
        };
        if tail.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(CommandError::LineBreak(verb));
        }
        let start = out.len();
        if !matches!(self, Self::Raw(_)) {
            out.extend_from_slice(verb.as_str().as_bytes());
            if !head.is_empty() || !tail.is_empty() {
                out.push(b' ');
            }
        }
        out.extend_from_slice(head.as_bytes());
        match iac {
            Iac::Doubled => telnet::escape_into(tail, out),
            Iac::Raw => out.extend_from_slice(tail),
        }
        out.extend_from_slice(b"\r\n");
        if out.len() - start > COMMAND_BYTES_MAX {
            out.truncate(start);
            return Err(CommandError::TooLong(verb));
        }
        Ok(())
    }

    /// The command for logs: one printable line, passwords as stars.
    pub fn masked(&self) -> String {
        const SHOWN_CHARS_MAX: usize = 300;
        let verb = self.verb();
        if matches!(verb, Verb::Pass | Verb::Acct) {
            return format!("{verb} ****");
        }
        let Parts { head, tail } = self.parts();
        let tail = match tail {
            Tail::None => String::new(),
            Tail::Optional(bytes) | Tail::Required(bytes) => printable(bytes, SHOWN_CHARS_MAX),
        };
        if matches!(self, Self::Raw(_)) {
            return tail;
        }
        format!("{verb} {head}{tail}").trim_end().to_owned()
    }

    fn parts(&self) -> Parts<'_> {
        let (head, tail) = match self {
            Self::Allo(number) | Self::Pbsz(number) | Self::Rest(number) => {
                (number.to_string(), Tail::None)
            }
            Self::Eprt(address) => (address::format_eprt(*address), Tail::None),
            Self::Port(address) => (address::format_port(*address), Tail::None),
            Self::Epsv(family) => (
                family.map(|n| n.to_string()).unwrap_or_default(),
                Tail::None,
            ),
            Self::EpsvAll => ("ALL".to_owned(), Tail::None),
            Self::MdtmSet(time, path) | Self::Mfmt(time, path) => {
                (format!("{time} "), Tail::Required(path))
            }
            Self::SiteUtime(time, path) => (format!("UTIME {time} "), Tail::Required(path)),
            Self::SiteChmod(mode, path) => (
                format!("CHMOD {:03o} ", mode & 0o7777),
                Tail::Required(path),
            ),
            Self::Mode(mode) => (mode.as_str().to_owned(), Tail::None),
            Self::Prot(level) => (level.as_str().to_owned(), Tail::None),
            Self::Stru(structure) => (structure.as_str().to_owned(), Tail::None),
            Self::Type(kind) => (kind.to_string(), Tail::None),
            Self::Help(text)
            | Self::List(text)
            | Self::Mlsd(text)
            | Self::Mlst(text)
            | Self::Nlst(text)
            | Self::Stat(text)
            | Self::Stou(text) => (String::new(), Tail::Optional(text)),
            // A server may want an empty password.
            Self::Acct(secret) | Self::Pass(secret) => {
                (String::new(), Tail::Optional(secret.expose()))
            }
            other => (
                String::new(),
                other.plain_argument().map_or(Tail::None, Tail::Required),
            ),
        };
        Parts { head, tail }
    }

    /// The argument of the commands that need one and take it as it is.
    fn plain_argument(&self) -> Option<&[u8]> {
        match self {
            Self::Appe(text)
            | Self::Auth(text)
            | Self::Cwd(text)
            | Self::Dele(text)
            | Self::Digest(_, text)
            | Self::Host(text)
            | Self::Mdtm(text)
            | Self::Mkd(text)
            | Self::Opts(text)
            | Self::Pret(text)
            | Self::Raw(text)
            | Self::Retr(text)
            | Self::Rmd(text)
            | Self::Rnfr(text)
            | Self::Rnto(text)
            | Self::Site(text)
            | Self::Size(text)
            | Self::Stor(text)
            | Self::User(text) => Some(text),
            _ => None,
        }
    }
}

fn raw_verb(line: &[u8]) -> Verb {
    let word = line.split(|b| *b == b' ').next().unwrap_or_default();
    Verb::from_name(word).unwrap_or(Verb::Other)
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

#[cfg(test)]
mod tests;
