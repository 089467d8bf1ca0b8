//! Real FTP servers on loopback, for tests.
//!
//! [`Server::start`] installs what is missing (once, into a private cache, see
//! [`install`]), starts a server of one [`Kind`] in one [`Variant`] and returns
//! when it greets. Dropping the [`Server`] ends it and everything it started;
//! so does the death of the test process, however it dies.
//!
//! Nothing on the machine is changed: no service is enabled, and a server sees
//! an `/etc` of its own (a bind mount in its own mount namespace) that knows
//! just the test user. That needs root, for all but pyftpdlib.

mod certificates;
mod install;
mod ports;
mod process;
mod settings;

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub use certificates::Certificate;
use certificates::Identity;
pub use ports::Block;
use process::Process;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Vsftpd,
    Proftpd,
    PureFtpd,
    Pyftpdlib,
}

/// How the server is set up; everything not named is the server's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// FTP without TLS.
    Plain,
    /// AUTH TLS and PROT P required; no session reuse asked for.
    Explicit,
    /// The same, and data connections must resume the control connection's session.
    ExplicitReuse,
    /// As `Explicit`, TLS 1.2 only.
    ExplicitTls12,
    /// As `Explicit`; an upload that ends without close_notify fails.
    ExplicitStrict,
    /// As `Explicit`; a client certificate of the server's own authority is required.
    ExplicitClientCertificate,
    /// TLS from the first byte.
    Implicit,
    /// Plain, listening on `::1`.
    Ipv6,
    /// EPSV refused, PASV works.
    NoEpsv,
    /// Uploads refused.
    Readonly,
    /// The user's directory is a tmpfs of 1 MiB.
    DiskFull,
    /// The user may store 1 MB.
    Quota,
    /// RNFR refused.
    NoRename,
    /// APPE refused.
    NoAppend,
    /// REST before STOR refused.
    NoResume,
    /// DELE refused.
    KeepFiles,
    /// The server removes the file of an upload that was cut.
    DeleteFailed,
    /// The server writes to a hidden file and renames it when the upload is complete.
    TempUpload,
    /// An upload to an existing name is stored as NAME.1, NAME.2, ...
    AutoRename,
    /// Two connections at most.
    MaxClients,
    /// Idle control connections are closed after 3 s.
    ShortIdle,
}

/// A running server.
pub struct Server {
    /// Which server it is.
    pub kind: Kind,
    /// How it is set up.
    pub variant: Variant,
    /// The address it listens on: 127.0.0.1, or ::1 for `Ipv6`, unless told otherwise.
    pub host: IpAddr,
    /// The port of control connections.
    pub port: u16,
    /// The ports of passive data connections.
    pub passive: RangeInclusive<u16>,
    /// The one account's name.
    pub user: &'static str,
    /// The one account's password.
    pub password: &'static str,
    /// PEM file with the root to trust; `None` without TLS. For
    /// [`Certificate::SelfSigned`] it is an authority that did not sign.
    pub ca: Option<PathBuf>,
    /// The server's certificate in DER, to pin; `None` without TLS.
    pub certificate: Option<Vec<u8>>,
    /// A client's certificate and key in PEM, for `ExplicitClientCertificate`.
    pub client: Option<(PathBuf, PathBuf)>,
    root: PathBuf,
    process: Option<Process>,
    files: tempfile::TempDir,
    ports: Block,
}

impl Kind {
    /// All servers.
    pub const ALL: [Self; 4] = [Self::Vsftpd, Self::Proftpd, Self::PureFtpd, Self::Pyftpdlib];

    /// The name of its program.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vsftpd => "vsftpd",
            Self::Proftpd => "proftpd",
            Self::PureFtpd => "pure-ftpd",
            Self::Pyftpdlib => "pyftpdlib",
        }
    }

    /// Whether the server can be set up so.
    pub fn supports(self, variant: Variant) -> bool {
        use Variant as V;
        match variant {
            V::Plain | V::Explicit | V::ExplicitTls12 | V::Ipv6 => true,
            V::Readonly | V::NoRename | V::MaxClients => true,
            V::ExplicitReuse | V::NoResume | V::DeleteFailed => self.is_one_of("vsftpd proftpd"),
            V::ExplicitStrict | V::ExplicitClientCertificate => self == Self::Vsftpd,
            V::Implicit | V::NoEpsv | V::NoAppend | V::ShortIdle => self != Self::PureFtpd,
            V::DiskFull => self != Self::Pyftpdlib,
            V::Quota | V::KeepFiles | V::TempUpload => self.is_one_of("proftpd pure-ftpd"),
            V::AutoRename => self == Self::PureFtpd,
        }
    }

    fn is_one_of(self, names: &str) -> bool {
        names.split(' ').any(|name| name == self.name())
    }
}

impl Variant {
    /// All variants.
    pub const ALL: [Self; 21] = [
        Self::Plain,
        Self::Explicit,
        Self::ExplicitReuse,
        Self::ExplicitTls12,
        Self::ExplicitStrict,
        Self::ExplicitClientCertificate,
        Self::Implicit,
        Self::Ipv6,
        Self::NoEpsv,
        Self::Readonly,
        Self::DiskFull,
        Self::Quota,
        Self::NoRename,
        Self::NoAppend,
        Self::NoResume,
        Self::KeepFiles,
        Self::DeleteFailed,
        Self::TempUpload,
        Self::AutoRename,
        Self::MaxClients,
        Self::ShortIdle,
    ];

    /// Whether connections are encrypted.
    pub fn is_tls(self) -> bool {
        self == Self::Implicit || self.is_explicit()
    }

    /// Whether TLS begins with AUTH TLS.
    pub fn is_explicit(self) -> bool {
        matches!(
            self,
            Self::Explicit
                | Self::ExplicitReuse
                | Self::ExplicitTls12
                | Self::ExplicitStrict
                | Self::ExplicitClientCertificate
        )
    }
}

impl Server {
    /// Starts a server with a certificate that its `ca` vouches for.
    ///
    /// Panics, saying what to do, when it cannot be installed or started.
    pub fn start(kind: Kind, variant: Variant) -> Self {
        Self::start_with(kind, variant, Certificate::Good)
    }

    /// Starts a server that shows the given certificate.
    pub fn start_with(kind: Kind, variant: Variant, certificate: Certificate) -> Self {
        let host = match variant {
            Variant::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        Self::start_at(host, kind, variant, certificate)
    }

    /// Starts a server that listens on the given address of this machine.
    pub fn start_at(host: IpAddr, kind: Kind, variant: Variant, certificate: Certificate) -> Self {
        assert!(
            kind.supports(variant),
            "{} cannot do {variant:?}",
            kind.name()
        );
        let files = tempfile::Builder::new()
            .prefix("edgespool-server-")
            .tempdir()
            .unwrap();
        // The server walks here with the rights of the test user.
        fs::set_permissions(files.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = files.path().join("root");
        fs::create_dir(&root).unwrap();
        let identity = variant
            .is_tls()
            .then(|| Identity::make(certificate, files.path()));
        let ports = Block::take(host);
        let mut server = Self {
            kind,
            variant,
            host,
            port: ports.first,
            passive: ports.first + 1..=ports.last,
            user: USER,
            password: PASSWORD,
            ca: identity.as_ref().map(|i| i.ca.clone()),
            client: identity.as_ref().map(|i| i.client.clone()),
            certificate: identity.map(|i| i.der),
            root,
            process: None,
            files,
            ports,
        };
        server.start_again();
        server
    }

    /// Starts the server again after [`Server::stop`], on the same port and
    /// with the files it had.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "it runs");
        let programs = install::ready(self.kind).unwrap_or_else(|e| panic!("{e}"));
        let command = settings::command(self, &programs);
        let mut process = Process::start(self, &programs, &command);
        let greeted = self.wait_for_greeting(&mut process);
        self.process = Some(process);
        assert!(greeted, "{self:?} does not greet; its log:\n{}", self.log());
    }

    /// Ends the server and all its connections at once.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// The address of control connections.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// The user's directory as this process sees it; `/` for the user.
    pub fn root(&self) -> PathBuf {
        match &self.process {
            Some(process) if self.variant == Variant::DiskFull => process.sees(&self.root),
            _ => self.root.clone(),
        }
    }

    /// Puts a file there that the user owns; makes its directories.
    pub fn put(&self, path: &str, content: &[u8]) {
        let mut target = self.root();
        let mut parts = path.trim_start_matches('/').split('/').peekable();
        while let Some(part) = parts.next() {
            target.push(part);
            if parts.peek().is_none() {
                fs::write(&target, content).unwrap();
            } else if !target.exists() {
                fs::create_dir(&target).unwrap();
            }
            process::give_to_user(&target);
        }
    }

    /// The content of a file below [`Server::root`]; `None` if there is none.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.root().join(path.trim_start_matches('/'))).ok()
    }

    /// All that the server wrote to its log and its standard error.
    pub fn log(&self) -> String {
        ["log", "stderr"]
            .map(|name| fs::read(self.files.path().join(name)).unwrap_or_default())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat()
    }

    /// The URL of the user's directory, with the login in it, at another
    /// address if one is given (a proxy's).
    pub fn url(&self, at: Option<SocketAddr>) -> String {
        let scheme = match self.variant {
            Variant::Implicit => "ftps",
            v if v.is_tls() => "ftpes",
            _ => "ftp",
        };
        let addr = at.unwrap_or(self.addr());
        format!("{scheme}://{}:{}@{addr}/", self.user, self.password)
    }

    fn dir(&self) -> &Path {
        self.files.path()
    }

    fn wait_for_greeting(&self, process: &mut Process) -> bool {
        let deadline = Instant::now() + START_TIME_MAX;
        while Instant::now() < deadline && process.is_alive() {
            if self.greets().unwrap_or(false) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Whether it answers; leaves no connection behind, so that none counts.
    fn greets(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(self.addr())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        if self.variant == Variant::Implicit {
            return Ok(true);
        }
        let mut greeting = [0; 512];
        let count = stream.read(&mut greeting)?;
        stream.write_all(b"QUIT\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(greeting[..count].starts_with(b"220"))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} at {}",
            self.kind.name(),
            self.variant,
            self.addr()
        )
    }
}

/// A client's program, ended when it takes longer than any machine needs.
///
/// Panics, saying what to do, when it cannot be installed.
pub fn client(program: &str, package: &str, bound: Duration) -> Command {
    let words = install::client(program, package).unwrap_or_else(|e| panic!("{e}"));
    let mut command = Command::new("timeout");
    command.args(["-k", "5", &bound.as_secs().to_string()]);
    command.args(words).stdin(Stdio::null());
    command
}

const USER: &str = "ftptest";
const PASSWORD: &str = "testpass";
const START_TIME_MAX: Duration = Duration::from_secs(30);
