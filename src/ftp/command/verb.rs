//! The words that commands begin with.

macro_rules! verbs {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// The verb of a command: RFC 959, 2228, 2389, 2428, 3659, 7151 and the
        /// commands for hashes and times that servers added.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Verb {
            $(
                #[doc = concat!("`", $name, "`")]
                $variant,
            )*
            /// A verb that is not in this list (sent with [`Command::Raw`](super::Command::Raw)).
            Other,
        }

        impl Verb {
            /// All verbs that have a name.
            pub const ALL: &[Verb] = &[$(Verb::$variant),*];

            /// The name as it goes over the wire; `?` for [`Verb::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Verb::$variant => $name,)*
                    Verb::Other => "?",
                }
            }
        }
    };
}

verbs! {
    Abor "ABOR", Acct "ACCT", Allo "ALLO", Appe "APPE", Auth "AUTH", Ccc "CCC", Cdup "CDUP",
    Cwd "CWD", Dele "DELE", Eprt "EPRT", Epsv "EPSV", Feat "FEAT", Hash "HASH", Help "HELP",
    Host "HOST", List "LIST", Md5 "MD5", Mdtm "MDTM", Mfmt "MFMT", Mkd "MKD", Mlsd "MLSD",
    Mlst "MLST", Mode "MODE", Nlst "NLST", Noop "NOOP", Opts "OPTS", Pass "PASS", Pasv "PASV",
    Pbsz "PBSZ", Port "PORT", Pret "PRET", Prot "PROT", Pwd "PWD", Quit "QUIT", Rein "REIN",
    Rest "REST", Retr "RETR", Rmd "RMD", Rnfr "RNFR", Rnto "RNTO", Site "SITE", Size "SIZE",
    Stat "STAT", Stor "STOR", Stou "STOU", Stru "STRU", Syst "SYST", Type "TYPE", User "USER",
    Xcrc "XCRC", Xmd5 "XMD5", Xsha "XSHA", Xsha1 "XSHA1", Xsha256 "XSHA256", Xsha512 "XSHA512",
}

impl Verb {
    /// The verb of that name in any case, also by its RFC 775 name (`XMKD`).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        let old: [(&[u8], Self); 5] = [
            (b"XCUP", Self::Cdup),
            (b"XCWD", Self::Cwd),
            (b"XMKD", Self::Mkd),
            (b"XPWD", Self::Pwd),
            (b"XRMD", Self::Rmd),
        ];
        let known = Self::ALL.iter().copied();
        known
            .map(|verb| (verb.as_str().as_bytes(), verb))
            .chain(old)
            .find_map(|(word, verb)| word.eq_ignore_ascii_case(name).then_some(verb))
    }

    /// Whether a data connection carries something for this command, so that
    /// a preliminary reply and a final one answer it.
    pub const fn is_transfer(self) -> bool {
        matches!(
            self,
            Self::Appe
                | Self::List
                | Self::Mlsd
                | Self::Nlst
                | Self::Retr
                | Self::Stor
                | Self::Stou
        )
    }
}

impl std::fmt::Display for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
