//! What was learned about a server, so that each session starts with what
//! worked before. Every fact is a guess that the next refusal may overturn.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One way to make a data connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataMode {
    /// Extended passive (RFC 2428): only a port is told.
    Epsv,
    /// Passive (RFC 959): of the address told, only the port is believed.
    Pasv,
    /// Extended active (RFC 2428): the server connects to us.
    Eprt,
    /// Active (RFC 959), IPv4 only.
    Port,
}

impl DataMode {
    /// The order in which `auto` tries them.
    pub const ALL: [DataMode; 4] = [
        DataMode::Epsv,
        DataMode::Pasv,
        DataMode::Eprt,
        DataMode::Port,
    ];

    /// Whether the server connects to us.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, DataMode::Eprt | DataMode::Port)
    }

    /// The next one to try, round and round.
    #[must_use]
    pub fn next(self) -> DataMode {
        match self {
            DataMode::Epsv => DataMode::Pasv,
            DataMode::Pasv => DataMode::Eprt,
            DataMode::Eprt => DataMode::Port,
            DataMode::Port => DataMode::Epsv,
        }
    }
}

impl fmt::Display for DataMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DataMode::Epsv => "EPSV",
            DataMode::Pasv => "PASV",
            DataMode::Eprt => "EPRT",
            DataMode::Port => "PORT",
        })
    }
}

/// How a server lets a cut upload go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resuming {
    /// `REST` and `STOR` (RFC 3659).
    #[default]
    Rest,
    /// `REST` is refused. `APPE` may go on, or replace the file: it is used only
    /// for files that the same process began, and only once this is stored, so
    /// that no other process trusts what it left.
    Appe,
    /// Neither: every try starts anew.
    Never,
}

/// What was learned about one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The data mode that worked last.
    pub data: Option<DataMode>,
    /// How cut uploads go on.
    pub resuming: Resuming,
    /// Data connections must resume the control connection's TLS session.
    pub reuse_required: bool,
    /// It hands out no new TLS 1.3 tickets for those that are spent, so that
    /// TLS 1.3 can resume as many data connections as the control connection
    /// got tickets: TLS 1.2 is used, where that is allowed.
    pub tickets_run_out: bool,
    /// `SIZE` is refused in general, not for one file.
    pub no_size: bool,
    /// Its hash commands are refused although it lists them.
    pub no_hash: bool,
    /// Neither `MFMT` nor `MDTM` sets times.
    pub no_mtime: bool,
    /// Renaming is refused.
    pub no_rename: bool,
    /// What the server calls itself, to show.
    pub software: String,
}

impl Profile {
    /// From its stored form. Anything that cannot be read, or that another
    /// version wrote, is forgotten: it is only learned again.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Profile {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).unwrap_or_default(),
            _ => Profile::default(),
        }
    }

    /// Its stored form: a version byte, then postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bytes = vec![VERSION];
        postcard::to_extend(self, bytes).unwrap_or_default()
    }

    /// What is known, one fact a line, for a person.
    #[must_use]
    pub fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        if let Some(mode) = self.data {
            facts.push(format!("data connections work with {mode}"));
        }
        match self.resuming {
            Resuming::Rest => {}
            Resuming::Appe => facts.push("resumes with APPE, as it refuses REST".to_owned()),
            Resuming::Never => facts.push("cannot resume".to_owned()),
        }
        let quirks = [
            (self.reuse_required, "demands TLS session reuse"),
            (self.tickets_run_out, "gives too few TLS 1.3 tickets"),
            (self.no_size, "has no SIZE"),
            (self.no_hash, "has no hash that works"),
            (self.no_mtime, "cannot set a file's time"),
            (self.no_rename, "refuses to rename"),
        ];
        let found = quirks.into_iter().filter(|(so, _)| *so);
        facts.extend(found.map(|(_, words)| words.to_owned()));
        facts
    }
}

/// Of the stored form; any change of [`Profile`]'s fields gets a new one.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_comes_back() {
        let profile = Profile {
            data: Some(DataMode::Pasv),
            resuming: Resuming::Appe,
            tickets_run_out: true,
            software: "vsftpd".to_owned(),
            ..Profile::default()
        };
        assert_eq!(Profile::decode(&profile.encode()), profile);
    }

    #[test]
    fn anything_unreadable_is_forgotten() {
        for bytes in [&b""[..], b"\xff\xff\xff", &[VERSION], &[VERSION + 1, 0, 0]] {
            assert_eq!(Profile::decode(bytes), Profile::default());
        }
    }

    #[test]
    fn auto_goes_round_all_modes() {
        let mut mode = DataMode::Epsv;
        for expected in DataMode::ALL {
            assert_eq!(mode, expected);
            mode = mode.next();
        }
        assert_eq!(mode, DataMode::Epsv);
    }
}
