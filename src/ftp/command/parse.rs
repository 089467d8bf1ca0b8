//! The server's side: one line of a client into a [`Command`].
//!
//! Grammar alone: whether a command fits the state of a session is for the
//! session to say.

use std::fmt;

use super::{
    COMMAND_BYTES_MAX, Command, DigestCommand, FileStructure, Protection, TransferMode,
    TransferType, Verb,
};
use crate::ftp::address::EprtError;
use crate::ftp::secret::Secret;
use crate::ftp::time::FtpTime;
use crate::ftp::{address, telnet};

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Longer than [`COMMAND_BYTES_MAX`], or holding a zero byte.
    BadLine,
    /// No such verb.
    UnknownVerb,
    /// The argument is missing, superfluous or malformed.
    BadArgument(Verb),
    /// A well-formed argument that names something nobody implements.
    BadParameter(Verb),
    /// EPRT with an address of neither IPv4 nor IPv6.
    UnknownProtocol,
}

impl ParseError {
    /// The reply code that RFC 959 §4.2 has for it, or RFC 2428 §2.
    pub const fn reply_code(self) -> u16 {
        match self {
            Self::BadLine | Self::UnknownVerb => 500,
            Self::BadArgument(_) => 501,
            Self::BadParameter(_) => 504,
            Self::UnknownProtocol => 522,
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLine => f.write_str("the line is too long or contains a zero byte"),
            Self::UnknownVerb => f.write_str("unknown command"),
            Self::BadArgument(verb) => write!(f, "the argument of {verb} is missing or malformed"),
            Self::BadParameter(verb) => write!(f, "{verb} does not know this parameter"),
            Self::UnknownProtocol => f.write_str("Network protocol not supported, use (1,2)"),
        }
    }
}

impl std::error::Error for ParseError {}

/// Reads one line, with or without its line end.
///
/// # Errors
/// When the line is no command; never a [`Command::Raw`].
pub fn parse(line: &[u8]) -> Result<Command, ParseError> {
    let end = line.iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
    let line = line
        .get(..end.map_or(0, |last| last + 1))
        .unwrap_or_default();
    if line.len() > COMMAND_BYTES_MAX || line.contains(&0) || line.contains(&b'\n') {
        return Err(ParseError::BadLine);
    }
    let line = telnet::unescape(line);
    let space = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(space);
    let verb = Verb::from_name(word).ok_or(ParseError::UnknownVerb)?;
    let argument = rest.strip_prefix(b" ").unwrap_or_default();
    bare(verb, argument)
        .or_else(|| plain(verb, argument))
        .or_else(|| optional(verb, argument))
        .unwrap_or_else(|| typed(verb, argument))
}

/// The commands without argument; trailing spaces are forgiven.
fn bare(verb: Verb, argument: &[u8]) -> Option<Result<Command, ParseError>> {
    let command = match verb {
        Verb::Abor => Command::Abor,
        Verb::Ccc => Command::Ccc,
        Verb::Cdup => Command::Cdup,
        Verb::Feat => Command::Feat,
        Verb::Noop => Command::Noop,
        Verb::Pasv => Command::Pasv,
        Verb::Pwd => Command::Pwd,
        Verb::Quit => Command::Quit,
        Verb::Rein => Command::Rein,
        Verb::Syst => Command::Syst,
        _ => return None,
    };
    let empty = argument.trim_ascii().is_empty();
    Some(if empty {
        Ok(command)
    } else {
        Err(ParseError::BadArgument(verb))
    })
}

/// The commands whose argument is any bytes, but not none.
fn plain(verb: Verb, argument: &[u8]) -> Option<Result<Command, ParseError>> {
    let make: fn(Vec<u8>) -> Command = match verb {
        Verb::Appe => Command::Appe,
        Verb::Auth => Command::Auth,
        Verb::Cwd => Command::Cwd,
        Verb::Dele => Command::Dele,
        Verb::Host => Command::Host,
        Verb::Mkd => Command::Mkd,
        Verb::Opts => Command::Opts,
        Verb::Pret => Command::Pret,
        Verb::Retr => Command::Retr,
        Verb::Rmd => Command::Rmd,
        Verb::Rnfr => Command::Rnfr,
        Verb::Rnto => Command::Rnto,
        Verb::Size => Command::Size,
        Verb::Stor => Command::Stor,
        Verb::User => Command::User,
        Verb::Hash => |path| Command::Digest(DigestCommand::Hash, path),
        Verb::Md5 => |path| Command::Digest(DigestCommand::Md5, path),
        Verb::Xcrc => |path| Command::Digest(DigestCommand::Xcrc, unquote(path)),
        Verb::Xmd5 => |path| Command::Digest(DigestCommand::Xmd5, unquote(path)),
        Verb::Xsha => |path| Command::Digest(DigestCommand::Xsha, unquote(path)),
        Verb::Xsha1 => |path| Command::Digest(DigestCommand::Xsha1, unquote(path)),
        Verb::Xsha256 => |path| Command::Digest(DigestCommand::Xsha256, unquote(path)),
        Verb::Xsha512 => |path| Command::Digest(DigestCommand::Xsha512, unquote(path)),
        _ => return None,
    };
    let empty = argument.is_empty();
    Some(if empty {
        Err(ParseError::BadArgument(verb))
    } else {
        Ok(make(argument.to_vec()))
    })
}

/// The path of an X digest command, which stands in quotes when it has blanks
/// in it; within them a backslash makes the next byte an ordinary one.
fn unquote(argument: Vec<u8>) -> Vec<u8> {
    let Some(quoted) = argument
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
    else {
        return argument;
    };
    let mut path = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    while let Some(byte) = bytes.next() {
        let byte = if *byte == b'\\' {
            bytes.next()
        } else {
            Some(byte)
        };
        path.extend(byte);
    }
    path
}

/// The commands whose argument may be left out.
fn optional(verb: Verb, argument: &[u8]) -> Option<Result<Command, ParseError>> {
    let make: fn(Vec<u8>) -> Command = match verb {
        Verb::Acct => |text| Command::Acct(Secret::new(text)),
        Verb::Help => Command::Help,
        Verb::List => Command::List,
        Verb::Mlsd => Command::Mlsd,
        Verb::Mlst => Command::Mlst,
        Verb::Nlst => Command::Nlst,
        Verb::Pass => |text| Command::Pass(Secret::new(text)),
        Verb::Stat => Command::Stat,
        Verb::Stou => Command::Stou,
        _ => return None,
    };
    Some(Ok(make(argument.to_vec())))
}

/// The commands whose argument has a grammar of its own.
fn typed(verb: Verb, argument: &[u8]) -> Result<Command, ParseError> {
    let malformed = ParseError::BadArgument(verb);
    let text = argument.trim_ascii();
    if text.is_empty() && verb != Verb::Epsv {
        return Err(malformed);
    }
    let unknown = ParseError::BadParameter(verb);
    match verb {
        // `ALLO size R record-size` is allowed; the record size says nothing about files.
        Verb::Allo => {
            let size = text.split(|b| *b == b' ').next().unwrap_or_default();
            decimal(size).map(Command::Allo).ok_or(malformed)
        }
        Verb::Pbsz => decimal(text).map(Command::Pbsz).ok_or(malformed),
        Verb::Rest => decimal(text).map(Command::Rest).ok_or(malformed),
        Verb::Eprt => address::parse_eprt(text)
            .map(Command::Eprt)
            .map_err(|e| match e {
                EprtError::Malformed => malformed,
                EprtError::UnknownProtocol => ParseError::UnknownProtocol,
            }),
        Verb::Port => address::parse_port(text)
            .map(Command::Port)
            .ok_or(malformed),
        Verb::Epsv => epsv(text).ok_or(malformed),
        Verb::Mdtm => Ok(match timed(argument) {
            Some((time, path)) => Command::MdtmSet(time, path.to_vec()),
            None => Command::Mdtm(argument.to_vec()),
        }),
        Verb::Mfmt => {
            let (time, path) = timed(argument).ok_or(malformed)?;
            Ok(Command::Mfmt(time, path.to_vec()))
        }
        Verb::Mode => mode(text).map(Command::Mode).ok_or(unknown),
        Verb::Prot => protection(text).map(Command::Prot).ok_or(unknown),
        Verb::Stru => structure(text).map(Command::Stru).ok_or(unknown),
        Verb::Type => transfer_type(text).map(Command::Type).ok_or(unknown),
        Verb::Site => site(argument).ok_or(malformed),
        _ => Err(ParseError::UnknownVerb),
    }
}

fn site(argument: &[u8]) -> Option<Command> {
    let Some((word, rest)) = word(argument) else {
        return Some(Command::Site(argument.to_vec()));
    };
    if word.eq_ignore_ascii_case(b"CHMOD") {
        let (digits, path) = self::word(rest)?;
        let text = std::str::from_utf8(digits).ok()?;
        let mode = u16::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o7777)?;
        return Some(Command::SiteChmod(mode, path.to_vec()));
    }
    if word.eq_ignore_ascii_case(b"UTIME")
        && let Some((time, path)) = timed(rest)
    {
        return Some(Command::SiteUtime(time, path.to_vec()));
    }
    Some(Command::Site(argument.to_vec()))
}

/// Divides at the first space; both sides must have something.
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|b| *b == b' ')?;
    let (word, rest) = bytes.split_at(space);
    let rest = rest.get(1..)?;
    (!word.is_empty() && !rest.is_empty()).then_some((word, rest))
}

/// Divides `20200102030405 path`.
fn timed(bytes: &[u8]) -> Option<(FtpTime, &[u8])> {
    let (time, path) = word(bytes)?;
    Some((FtpTime::parse(time)?, path))
}

fn epsv(text: &[u8]) -> Option<Command> {
    match text {
        b"" => Some(Command::Epsv(None)),
        text if text.eq_ignore_ascii_case(b"ALL") => Some(Command::EpsvAll),
        text => {
            let family = decimal(text).and_then(|n| u8::try_from(n).ok())?;
            Some(Command::Epsv(Some(family)))
        }
    }
}

fn mode(text: &[u8]) -> Option<TransferMode> {
    match text {
        b"S" | b"s" => Some(TransferMode::Stream),
        b"B" | b"b" => Some(TransferMode::Block),
        b"C" | b"c" => Some(TransferMode::Compressed),
        b"Z" | b"z" => Some(TransferMode::Deflate),
        _ => None,
    }
}

fn structure(text: &[u8]) -> Option<FileStructure> {
    match text {
        b"F" | b"f" => Some(FileStructure::File),
        b"R" | b"r" => Some(FileStructure::Record),
        b"P" | b"p" => Some(FileStructure::Page),
        _ => None,
    }
}

fn protection(text: &[u8]) -> Option<Protection> {
    match text {
        b"C" | b"c" => Some(Protection::Clear),
        b"S" | b"s" => Some(Protection::Safe),
        b"E" | b"e" => Some(Protection::Confidential),
        b"P" | b"p" => Some(Protection::Private),
        _ => None,
    }
}

/// `A`, `E`, `I` or `L 8`; of the print formats only non-print (`A N`).
fn transfer_type(text: &[u8]) -> Option<TransferType> {
    match text.to_ascii_uppercase().as_slice() {
        b"A" | b"A N" => Some(TransferType::Ascii),
        b"E" | b"E N" => Some(TransferType::Ebcdic),
        b"I" => Some(TransferType::Image),
        upper => {
            let bits = upper.strip_prefix(b"L")?.trim_ascii();
            let bits = decimal(bits).and_then(|n| u8::try_from(n).ok())?;
            Some(TransferType::Local(bits))
        }
    }
}

/// A decimal number of digits alone that fits 64 bits.
pub(in crate::ftp) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}
