//! What a server says it can do: replies to FEAT (RFC 2389).
//!
//! A claim, not a fact: servers list what their configuration refuses (EPSV)
//! and leave out what works (PASV). Use it to choose what to try first.

use crate::ftp::command::DigestCommand;
use crate::ftp::reply::Reply;
use crate::ftp::verify::Algorithm;

/// The features of a server, as far as uploading needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// EPSV.
    pub epsv: bool,
    /// EPRT.
    pub eprt: bool,
    /// PASV (few servers list it, all have it).
    pub pasv: bool,
    /// MDTM.
    pub mdtm: bool,
    /// MFMT.
    pub mfmt: bool,
    /// SIZE.
    pub size: bool,
    /// `REST STREAM`: transfers can be continued.
    pub rest_stream: bool,
    /// MLST and, with it, MLSD.
    pub mlst: bool,
    /// UTF8: names are UTF-8 (RFC 2640).
    pub utf8: bool,
    /// TVFS: one tree of `/` (RFC 3659 §6).
    pub tvfs: bool,
    /// `AUTH TLS` (or the older `TLS-C`, `SSL`).
    pub auth_tls: bool,
    /// PBSZ.
    pub pbsz: bool,
    /// PROT.
    pub prot: bool,
    /// CCC.
    pub ccc: bool,
    /// PRET.
    pub pret: bool,
    /// HOST.
    pub host: bool,
    /// CLNT.
    pub clnt: bool,
    /// `SITE UTIME`.
    pub site_utime: bool,
    /// `MODE Z`.
    pub mode_z: bool,
    /// The algorithms of HASH that we know, in the server's order.
    pub hash: heapless::Vec<Algorithm, 5>,
    /// The one that HASH uses until `OPTS HASH` chooses another.
    pub hash_selected: Option<Algorithm>,
    /// The commands for digests, HASH among them.
    pub digest_commands: heapless::Vec<DigestCommand, 8>,
}

impl Features {
    /// Reads a reply to FEAT; nothing is set when the server refused it.
    pub fn parse(reply: &Reply) -> Self {
        let mut features = Self::default();
        if !reply.is_completion() {
            return features;
        }
        let lines = reply.lines().count();
        let between = reply.lines().take(lines.saturating_sub(1)).skip(1);
        for line in between {
            features.add(line.trim_ascii());
        }
        features
    }

    /// The strongest digest the server offers among `known`, with the command
    /// to ask by. HASH is preferred where it needs no `OPTS HASH` before.
    pub fn strongest_digest(&self, known: &[Algorithm]) -> Option<(DigestCommand, Algorithm)> {
        let of_command = |command: DigestCommand| match command {
            DigestCommand::Hash => self.hash_selected,
            other => other.algorithm(),
        };
        let offered = self.digest_commands.iter().copied();
        offered
            .filter_map(|command| Some((command, of_command(command)?)))
            .filter(|(_, algorithm)| known.contains(algorithm))
            .max_by_key(|(command, algorithm)| (*algorithm, *command == DigestCommand::Hash))
    }

    fn add(&mut self, line: &[u8]) {
        let space = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (word, rest) = line.split_at(space);
        let rest = rest.trim_ascii();
        match word.to_ascii_uppercase().as_slice() {
            b"EPSV" => self.epsv = true,
            b"EPRT" => self.eprt = true,
            b"PASV" => self.pasv = true,
            b"MDTM" => self.mdtm = true,
            b"MFMT" => self.mfmt = true,
            b"SIZE" => self.size = true,
            b"REST" => self.rest_stream |= has_word(rest, b"STREAM"),
            b"MLST" | b"MLSD" => self.mlst = true,
            b"UTF8" | b"UTF-8" => self.utf8 = true,
            b"TVFS" => self.tvfs = true,
            b"AUTH" => {
                self.auth_tls |= [&b"TLS"[..], b"TLS-C", b"SSL"]
                    .iter()
                    .any(|w| has_word(rest, w));
            }
            b"PBSZ" => self.pbsz = true,
            b"PROT" => self.prot = true,
            b"CCC" => self.ccc = true,
            b"PRET" => self.pret = true,
            b"HOST" => self.host = true,
            b"CLNT" => self.clnt = true,
            b"SITE" => self.site_utime |= has_word(rest, b"UTIME"),
            b"MODE" => self.mode_z |= has_word(rest, b"Z"),
            b"HASH" => self.add_hash(rest),
            other => {
                // XSHA1 and its like; HASH was taken above.
                if let Some(command) = DIGEST_COMMANDS
                    .into_iter()
                    .find(|command| command.verb().as_str().as_bytes() == other)
                {
                    self.add_digest(command);
                }
            }
        }
    }

    /// `CRC32;MD5;SHA-1*;SHA-256`: the star marks the selected one.
    fn add_hash(&mut self, list: &[u8]) {
        self.add_digest(DigestCommand::Hash);
        for item in list.split(|b| *b == b';').map(<[u8]>::trim_ascii) {
            let name = item.strip_suffix(b"*");
            let Some(algorithm) = Algorithm::from_name(name.unwrap_or(item)) else {
                continue;
            };
            if name.is_some() {
                self.hash_selected = Some(algorithm);
            }
            if !self.hash.contains(&algorithm) {
                // There is room for every algorithm that has a name.
                let _ = self.hash.push(algorithm);
            }
        }
    }

    fn add_digest(&mut self, command: DigestCommand) {
        if !self.digest_commands.contains(&command) {
            // There is room for all of them.
            let _ = self.digest_commands.push(command);
        }
    }
}

const DIGEST_COMMANDS: [DigestCommand; 7] = [
    DigestCommand::Md5,
    DigestCommand::Xcrc,
    DigestCommand::Xmd5,
    DigestCommand::Xsha,
    DigestCommand::Xsha1,
    DigestCommand::Xsha256,
    DigestCommand::Xsha512,
];

fn has_word(list: &[u8], word: &[u8]) -> bool {
    list.split(|b| matches!(b, b' ' | b';' | b','))
        .any(|item| item.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(lines: &[&str]) -> Features {
        let text = format!("Features:\n {}\nEnd", lines.join("\n "));
        Features::parse(&Reply::new(211, text.as_bytes()))
    }

    #[test]
    fn vsftpd_offers_no_digest() {
        let vsftpd = features(&[
            "EPRT",
            "EPSV",
            "MDTM",
            "PASV",
            "REST STREAM",
            "SIZE",
            "TVFS",
        ]);
        assert!(vsftpd.epsv && vsftpd.rest_stream && vsftpd.size && vsftpd.mdtm && vsftpd.pasv);
        assert!(!vsftpd.mfmt && !vsftpd.mlst && !vsftpd.utf8 && !vsftpd.auth_tls);
        assert_eq!(vsftpd.strongest_digest(&Algorithm::ALL), None);
    }

    #[test]
    fn proftpd_offers_many() {
        let proftpd = features(&[
            "CLNT",
            "HASH CRC32;MD5;SHA-1*;SHA-256;SHA-512;",
            "HOST",
            "MD5",
            "MFMT",
            "MLST modify*;perm*;size*;",
            "XCRC",
            "XMD5",
            "XSHA",
            "XSHA1",
            "XSHA256",
            "XSHA512",
        ]);
        assert_eq!(proftpd.hash.as_slice(), Algorithm::ALL);
        assert_eq!(proftpd.hash_selected, Some(Algorithm::Sha1));
        let strongest = |known: &[Algorithm]| proftpd.strongest_digest(known);
        assert_eq!(
            strongest(&[Algorithm::Crc32, Algorithm::Sha256]),
            Some((DigestCommand::Xsha256, Algorithm::Sha256))
        );
        assert_eq!(
            strongest(&[Algorithm::Sha1]),
            Some((DigestCommand::Hash, Algorithm::Sha1))
        );
        assert_eq!(proftpd.digest_commands.len(), 8);
    }

    #[test]
    fn pure_ftpd_repeats_its_code_or_not() {
        let text = b"Extensions supported:\nUTF8\n AUTH TLS\n PRET\n SITE UTIME;CHMOD\nEnd.";
        let pure = Features::parse(&Reply::new(211, text));
        assert!(pure.utf8 && pure.auth_tls && pure.pret && pure.site_utime);
    }

    #[test]
    fn a_refusal_or_one_line_means_nothing() {
        for (code, text) in [
            (500, &b"a\n EPSV\nb"[..]),
            (211, b"EPSV"),
            (211, b"EPSV\nEPSV"),
        ] {
            assert_eq!(
                Features::parse(&Reply::new(code, text)),
                Features::default()
            );
        }
    }
}
