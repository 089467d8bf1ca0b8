//! What a `[[server]]` table says, resolved: no secret is left to look up and
//! no default is left to fill in.

use std::path::PathBuf;
use std::time::Duration;

use crate::ftp::secret::Secret;

/// How TLS comes about on the control connection (RFC 4217).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsMode {
    /// `AUTH TLS` after the greeting, and nothing is said before it worked.
    #[default]
    Explicit,
    /// TLS from the first byte, usually on port 990.
    Implicit,
    /// No TLS: only ever by the user's own word.
    None,
}

impl TlsMode {
    /// The port that goes with it when none is named.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            TlsMode::Implicit => 990,
            TlsMode::Explicit | TlsMode::None => 21,
        }
    }
}

/// The oldest TLS version that is still accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinTls {
    /// TLS 1.2 (RFC 5246) and later.
    #[default]
    V1_2,
    /// TLS 1.3 (RFC 8446) only.
    V1_3,
}

/// How data connections are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DataChoice {
    /// Whatever works, learned per server.
    #[default]
    Auto,
    /// Only this one.
    Only(super::profile::DataMode),
}

/// How a file gets its final name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// Uploaded under a temporary name, checked, then renamed.
    #[default]
    Rename,
    /// Uploaded straight to the final name.
    Direct,
}

/// How a transfer is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// A hash where the server offers one, else the size.
    #[default]
    Auto,
    /// A hash, or the file does not count as delivered.
    Hash,
    /// The size.
    Size,
    /// The server's reply alone.
    None,
}

/// What to do when the final name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfExists {
    /// The new file replaces the old one.
    #[default]
    Overwrite,
    /// Both stay: the new one gets a number in its name.
    KeepBoth,
    /// The old one stays and the new one is not sent.
    Skip,
}

/// What it means when the file is gone between its 226 and its check, because
/// something on the server's side takes files away at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IfGone {
    /// It did not arrive: send it again.
    #[default]
    Resend,
    /// It was delivered.
    Delivered,
}

/// A destination and how to deal with it. The supervisor's matters (how many
/// sessions, which fallback) are not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// The name in the configuration, for messages.
    pub name: String,
    /// Host name, or an IPv4 or IPv6 address without brackets.
    pub host: String,
    /// Port of the control connection.
    pub port: u16,
    /// Whether and how TLS is used.
    pub tls: TlsMode,
    /// Login name; bytes as the server wants them.
    pub user: Vec<u8>,
    /// Password.
    pub password: Secret,
    /// More trusted roots, PEM.
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the server's certificate or of its public key
    /// (SubjectPublicKeyInfo). When there are any, they alone decide.
    pub pins: Vec<[u8; 32]>,
    /// Our certificate chain and its key, PEM, for mutual TLS.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// The oldest TLS version that is accepted.
    pub min_tls: MinTls,
    /// How data connections are made.
    pub data: DataChoice,
    /// How a file gets its final name.
    pub publish: Publish,
    /// How a transfer is proven.
    pub verify: VerifyMode,
    /// What to do when the final name is taken.
    pub if_exists: IfExists,
    /// What a file that is gone before its check means.
    pub if_gone: IfGone,
    /// Whether the server's file gets the source's modification time.
    pub mtime: bool,
    /// Limit for each TCP connection, TLS handshake and login reply.
    pub connect_timeout: Duration,
    /// No byte and no reply for so long ends the try.
    pub stall_timeout: Duration,
}

impl ServerOptions {
    /// A server with every option at its default.
    #[must_use]
    pub fn new(name: &str, host: &str, tls: TlsMode) -> ServerOptions {
        ServerOptions {
            name: name.to_owned(),
            host: host.to_owned(),
            port: tls.default_port(),
            tls,
            user: b"anonymous".to_vec(),
            password: Secret::new(Vec::new()),
            ca_file: None,
            pins: Vec::new(),
            client_cert: None,
            min_tls: MinTls::default(),
            data: DataChoice::default(),
            publish: Publish::default(),
            verify: VerifyMode::default(),
            if_exists: IfExists::default(),
            if_gone: IfGone::default(),
            mtime: true,
            connect_timeout: Duration::from_secs(20),
            stall_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing() {
        let mut options = ServerOptions::new("central", "ftp.example.com", TlsMode::Explicit);
        options.password = Secret::new(b"hunter2".to_vec());
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(!format!("{options:?}").contains("104, 117")); // nor as numbers
    }

    #[test]
    fn tls_is_on_unless_said_otherwise() {
        assert_eq!(TlsMode::default(), TlsMode::Explicit);
    }
}
