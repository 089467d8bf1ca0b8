//! Which server this is, by its own words, and what is known of its kind.
//!
//! Guesses to begin with: what a session finds out itself counts more.

use crate::ftp::command::Iac;
use crate::ftp::reply::Reply;

/// The programs that are known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ServerKind {
    /// vsftpd.
    Vsftpd,
    /// ProFTPD.
    Proftpd,
    /// Pure-FTPd.
    PureFtpd,
    /// pyftpdlib.
    Pyftpdlib,
    /// FileZilla Server.
    Filezilla,
    /// Our own receiver.
    Edgespool,
    /// Something else, or one that hides its name.
    #[default]
    Unknown,
}

impl ServerKind {
    /// The kind that a greeting, or a reply to SYST or FEAT, gives away.
    pub fn from_reply(reply: &Reply) -> Self {
        // In this order: a greeting may name more than one.
        let names: [(&[u8], Self); 6] = [
            (b"vsftpd", Self::Vsftpd),
            (b"proftpd", Self::Proftpd),
            (b"pure-ftpd", Self::PureFtpd),
            (b"pyftpdlib", Self::Pyftpdlib),
            (b"filezilla server", Self::Filezilla),
            (b"edgespool", Self::Edgespool),
        ];
        let says = |name: &[u8]| {
            let mut windows = reply.lines().flat_map(|line| line.windows(name.len()));
            windows.any(|window| window.eq_ignore_ascii_case(name))
        };
        let found = names.into_iter().find(|(name, _)| says(name));
        found.map_or(Self::Unknown, |(_, kind)| kind)
    }

    /// Its name for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vsftpd => "vsftpd",
            Self::Proftpd => "ProFTPD",
            Self::PureFtpd => "Pure-FTPd",
            Self::Pyftpdlib => "pyftpdlib",
            Self::Filezilla => "FileZilla Server",
            Self::Edgespool => "edgespool",
            Self::Unknown => "unknown",
        }
    }

    /// Whether commands that arrive while a transfer runs wait for its end.
    /// Elsewhere they are answered before its 226, refused, or end it.
    pub const fn queues_behind_transfer(self) -> bool {
        matches!(self, Self::Vsftpd | Self::Edgespool)
    }

    /// Whether bytes may be on the data connection before the STOR was read.
    /// pyftpdlib reads them at once, has nowhere to put them, closes the
    /// connection, and then waits for another one.
    pub const fn takes_early_data(self) -> bool {
        matches!(
            self,
            Self::Vsftpd | Self::Proftpd | Self::PureFtpd | Self::Edgespool
        )
    }

    /// Whether `MDTM time path` sets the time where MFMT is missing.
    pub const fn mdtm_sets_time(self) -> bool {
        matches!(self, Self::Vsftpd)
    }

    /// How it reads the byte 0xFF in a path: without Telnet a doubled one
    /// would name another file.
    pub const fn iac(self) -> Iac {
        match self {
            Self::Vsftpd | Self::PureFtpd => Iac::Raw,
            _ => Iac::Doubled,
        }
    }

    /// Whether a file is truncated where the bytes after a REST end. Others
    /// leave the old tail behind the new bytes.
    pub const fn truncates_after_rest(self) -> bool {
        matches!(self, Self::PureFtpd | Self::Edgespool)
    }

    /// Whether APPE may replace the file instead of growing it, with 226.
    pub const fn append_may_replace(self) -> bool {
        matches!(self, Self::PureFtpd)
    }

    /// Whether a completion reply can also follow a broken data connection,
    /// so that 226 proves nothing about the end of the file.
    pub const fn completes_broken_transfers(self) -> bool {
        // A clean FIN looks like the end to all of them; a reset does to this one.
        matches!(self, Self::Pyftpdlib | Self::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_give_servers_away() {
        for (text, kind) in [
            (&b"(vsFTPd 3.0.3)"[..], ServerKind::Vsftpd),
            (b"ProFTPD Server (test) [127.0.0.1]", ServerKind::Proftpd),
            (
                b"--------- Welcome to Pure-FTPd [privsep] [TLS] ----------\nhi",
                ServerKind::PureFtpd,
            ),
            (b"pyftpdlib 2.2.0 ready.", ServerKind::Pyftpdlib),
            (b"FileZilla Server 1.8.0", ServerKind::Filezilla),
            (b"edgespool 0.1.0 at gw-0042", ServerKind::Edgespool),
            (b"", ServerKind::Unknown),
        ] {
            assert_eq!(ServerKind::from_reply(&Reply::new(220, text)), kind);
        }
    }
}
