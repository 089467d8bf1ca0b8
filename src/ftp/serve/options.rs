//! OPTS (RFC 2389 §4), FEAT and HELP: what the server can do, and the choices
//! that clients have.

use super::answer::Answer;
use super::state::{Secrecy, State};
use crate::ftp::command::DigestCommand;
use crate::ftp::verify::Algorithm;

impl State {
    /// `OPTS HASH`, `OPTS MLST`, `OPTS UTF8`.
    pub(super) fn opts(&mut self, argument: &[u8]) -> Answer {
        let space = argument.iter().position(|b| *b == b' ');
        let (word, rest) = argument.split_at(space.unwrap_or(argument.len()));
        let rest = rest.trim_ascii();
        match word.to_ascii_uppercase().as_slice() {
            b"UTF8" | b"UTF-8" => match rest.to_ascii_uppercase().as_slice() {
                b"" | b"ON" => Answer::new(200, "UTF8 is on"),
                // Names are bytes here: there is nothing to switch.
                b"OFF" => Answer::new(504, "UTF8 is always on"),
                _ => Answer::new(501, "OPTS UTF8 ON"),
            },
            b"MLST" => {
                self.facts = super::listing::Facts::choose(rest);
                Answer::new(200, format!("MLST OPTS {}", self.facts.names()))
            }
            b"HASH" if rest.is_empty() => Answer::new(200, self.hash.as_str()),
            b"HASH" => match Algorithm::from_name(rest) {
                Some(algorithm) => {
                    self.hash = algorithm;
                    Answer::new(200, algorithm.as_str())
                }
                None => Answer::new(501, "no such algorithm; FEAT lists them"),
            },
            _ => Answer::new(501, "no option of this command can be set"),
        }
    }

    /// The reply to FEAT.
    pub(super) fn features(&self) -> Answer {
        let mut list: Vec<String> = Vec::new();
        if self.terms.secrecy != Secrecy::None {
            list.extend(["AUTH TLS", "CCC", "PBSZ", "PROT"].map(str::to_owned));
        }
        let plain = [
            "EPRT",
            "EPSV",
            "MDTM",
            "MFMT",
            "PASV",
            "REST STREAM",
            "SITE CHMOD;HELP;UTIME",
            "SIZE",
            "TVFS",
            "UTF8",
            // Those that are answered at once by their name alone; the rest are
            // for who knows them.
            "XCRC",
            "XMD5",
            "XSHA1",
            "XSHA256",
        ];
        list.extend(plain.map(str::to_owned));
        list.push(format!("MLST {}", self.facts.feature()));
        list.push(format!("HASH {}", self.hash_feature()));
        list.sort_unstable();
        Answer::many(211, "Extensions:", list, "End")
    }

    /// The algorithm of a digest command.
    pub(super) fn algorithm(&self, command: DigestCommand) -> Algorithm {
        command.algorithm().unwrap_or(self.hash)
    }

    fn hash_feature(&self) -> String {
        let star = |algorithm| if algorithm == self.hash { "*" } else { "" };
        let all = Algorithm::ALL.into_iter();
        all.map(|algorithm| format!("{algorithm}{};", star(algorithm)))
            .collect()
    }
}

/// The reply to HELP and SITE HELP.
pub(super) fn help(argument: &[u8]) -> Answer {
    if argument.trim_ascii().eq_ignore_ascii_case(b"SITE") {
        return site_help();
    }
    let commands = [
        "ABOR ALLO APPE AUTH CCC  CDUP CWD  DELE EPRT EPSV FEAT HASH HELP LIST",
        "MD5  MDTM MFMT MKD  MLSD MLST MODE NLST NOOP OPTS PASS PASV PBSZ PORT",
        "PROT PWD  QUIT REST RETR RMD  RNFR RNTO SITE SIZE STAT STOR STOU STRU",
        "SYST TYPE USER XCRC XMD5 XSHA XSHA1 XSHA256 XSHA512",
    ];
    Answer::many(214, "Commands:", commands, "End")
}

/// The reply to SITE HELP.
pub(super) fn site_help() -> Answer {
    let lines = [
        "SITE CHMOD mode path",
        "SITE UTIME YYYYMMDDhhmmss path",
        "SITE HELP",
    ];
    Answer::many(214, "SITE commands:", lines, "End")
}
