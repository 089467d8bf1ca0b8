//! Commands of a client: as values, onto the wire, and back.
//!
//! A [`Command`] that was encoded is exactly one line: CR, LF and NUL in an
//! argument are refused, so that no file name can smuggle a second command in.
//! The byte 0xFF, which Telnet reserves, is doubled (RFC 959 §5.3.2) unless
//! the server is known to take it raw ([`Iac`]).

mod encode;
mod params;
mod parse;
mod verb;

use std::net::{SocketAddr, SocketAddrV4};

use crate::ftp::secret::Secret;
use crate::ftp::time::FtpTime;

pub use encode::{COMMAND_BYTES_MAX, CommandError, Iac};
pub use params::{DigestCommand, FileStructure, Protection, TransferMode, TransferType};
pub(in crate::ftp) use parse::decimal;
pub use parse::{ParseError, parse};
pub use verb::Verb;

/// Bytes of an argument, not yet escaped: usually a path as the server names it.
pub type Argument = Vec<u8>;

/// One command. Variants carry the argument of the same name in the RFCs.
#[derive(Clone, PartialEq, Eq)]
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
    /// Passive mode for any address family (RFC 2428), or for the one of that
    /// number (1 IPv4, 2 IPv6).
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
}

fn raw_verb(line: &[u8]) -> Verb {
    // Some servers skip blanks before the verb; a password must be known there too.
    let mut words = line.trim_ascii_start().split(u8::is_ascii_whitespace);
    let word = words.next().unwrap_or_default();
    Verb::from_name(word).unwrap_or(Verb::Other)
}

#[cfg(test)]
mod tests;
