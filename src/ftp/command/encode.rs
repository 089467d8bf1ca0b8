//! A command onto the wire, and into a log.

use std::borrow::Cow;
use std::fmt;

use super::{Command, DigestCommand, Verb};
use crate::ftp::text::printable;
use crate::ftp::{address, telnet};

/// Bytes of a command line, line end included: Linux's longest path and a verb fit.
pub const COMMAND_BYTES_MAX: usize = 4096 + 64;

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
    Optional(Cow<'a, [u8]>),
    Required(Cow<'a, [u8]>),
}

impl Command {
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
            Tail::None => Cow::default(),
            Tail::Required(bytes) if bytes.is_empty() => return Err(CommandError::Empty(verb)),
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
            Iac::Doubled => telnet::escape_into(&tail, out),
            Iac::Raw => out.extend_from_slice(&tail),
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
            Tail::Optional(bytes) | Tail::Required(bytes) => printable(&bytes, SHOWN_CHARS_MAX),
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
                (format!("{time} "), Tail::Required(path.into()))
            }
            Self::SiteUtime(time, path) => (format!("UTIME {time} "), Tail::Required(path.into())),
            Self::SiteChmod(mode, path) => (
                format!("CHMOD {:03o} ", mode & 0o7777),
                Tail::Required(path.into()),
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
            | Self::Stou(text) => (String::new(), Tail::Optional(text.into())),
            // A server may want an empty password.
            Self::Acct(secret) | Self::Pass(secret) => {
                (String::new(), Tail::Optional(secret.expose().into()))
            }
            Self::Digest(command, path) => {
                (String::new(), Tail::Required(one_word(*command, path)))
            }
            other => (
                String::new(),
                other
                    .plain_argument()
                    .map_or(Tail::None, |text| Tail::Required(text.into())),
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

/// The path as the X commands need it. A range may follow there, so a blank
/// ends the path unless it stands in quotes. HASH and MD5 take the whole line.
fn one_word(command: DigestCommand, path: &[u8]) -> Cow<'_, [u8]> {
    let whole_line = matches!(command, DigestCommand::Hash | DigestCommand::Md5);
    let splits = path.contains(&b' ') || path.contains(&b'\t') || path.starts_with(b"\"");
    if whole_line || !splits {
        return path.into();
    }
    let mut quoted = vec![b'"'];
    for byte in path {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted.into()
}

/// The same as [`Command::masked`], so that no log can show a password.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.masked())
    }
}
