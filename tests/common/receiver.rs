//! The built receiver in a process of its own, and clients for it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::servers::{Block, client};
use super::wait_until;

/// `edgespool receive` on free ports of 127.0.0.1; killed when dropped.
pub struct Receiver {
    child: Child,
    dir: tempfile::TempDir,
    /// Where it listens for FTP and explicit TLS.
    pub addr: SocketAddr,
    /// Where it listens with TLS from the first byte on.
    pub implicit: SocketAddr,
    pub user: String,
    pub password: String,
    /// Of the certificate, as it is printed; empty without TLS.
    pub fingerprint: String,
    /// Where it listens, if these ports are its own.
    ports: Option<Block>,
}

/// How a client uses TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    None,
    Explicit,
    Implicit,
}

impl Tls {
    pub const ALL: [Tls; 3] = [Tls::None, Tls::Explicit, Tls::Implicit];
}

impl Receiver {
    /// On 127.0.0.1, with its root and its state in a directory of its own.
    pub fn start() -> Receiver {
        Receiver::start_at("127.0.0.1:0", &[])
    }

    /// On that address, with more arguments.
    pub fn start_at(listen: &str, more: &[&str]) -> Receiver {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Receiver::start_in(dir, [listen, listen], more, Some(LOGIN))
    }

    /// On ports that it keeps when it is restarted.
    pub fn start_on_its_own_ports() -> Receiver {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Receiver::start_again(dir, Some(Block::take([127, 0, 0, 1].into())))
    }

    /// With a user and a password that the receiver makes up.
    pub fn start_unnamed() -> Receiver {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("root")).unwrap();
        Receiver::start_in(dir, ["127.0.0.1:0"; 2], &[], None)
    }

    fn start_again(dir: tempfile::TempDir, ports: Option<Block>) -> Receiver {
        let listen = [0, 1].map(|n| ports.as_ref().map_or(0, |ports| ports.first + n));
        let listen = listen.map(|port| format!("127.0.0.1:{port}"));
        let [listen, implicit] = [&listen[0], &listen[1]];
        let mut receiver = Receiver::start_in(dir, [listen, implicit], &[], Some(LOGIN));
        receiver.ports = ports;
        receiver
    }

    fn start_in(
        dir: tempfile::TempDir,
        [listen, implicit]: [&str; 2],
        more: &[&str],
        login: Option<(&str, &str)>,
    ) -> Receiver {
        let path = |name: &str| dir.path().join(name);
        let child = Command::new(env!("CARGO_BIN_EXE_edgespool"))
            .args(["receive", "-v", "--listen", listen])
            .args(["--listen-implicit", implicit])
            .arg("--root")
            .arg(path("root"))
            .arg("--state")
            .arg(path("state"))
            .args(more)
            .env_remove("EDGESPOOL_PASSWORD")
            .envs(login.map(|(_, password)| ("EDGESPOOL_PASSWORD", password)))
            .args(login.into_iter().flat_map(|(user, _)| ["--user", user]))
            .stdin(Stdio::null())
            .stdout(File::create(path("stdout")).unwrap())
            .stderr(File::create(path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let mut receiver = Receiver {
            child,
            dir,
            addr: ([127, 0, 0, 1], 0).into(),
            implicit: ([127, 0, 0, 1], 0).into(),
            user: String::new(),
            password: login
                .map(|(_, password)| password)
                .unwrap_or_default()
                .to_owned(),
            fingerprint: String::new(),
            ports: None,
        };
        receiver.read_introduction(!more.contains(&"none"));
        receiver
    }

    fn read_introduction(&mut self, tls: bool) {
        let last = if tls { "sha256: " } else { "user: " };
        wait_until("the receiver introduces itself", || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.stderr());
            let said = self.stdout();
            said.lines().any(|line| line.starts_with(last)) && said.ends_with('\n')
        });
        for line in self.stdout().lines() {
            let Some((word, value)) = line.split_once(": ") else {
                continue;
            };
            let address = || {
                let (_, after) = value.rsplit_once('@').unwrap();
                after.trim_end_matches('/').parse().unwrap()
            };
            match word {
                "url" if value.starts_with("ftps:") => self.implicit = address(),
                "url" => self.addr = address(),
                "user" => self.user = value.to_owned(),
                "password" => self.password = value.to_owned(),
                "sha256" => self.fingerprint = value.to_owned(),
                _ => {}
            }
        }
    }

    /// What the user sees as `/`.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// The certificate, in PEM; clients may trust it as their authority.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("state/receive.crt")
    }

    /// A directory for a client's files, outside the root.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join("scratch").join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// The log so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM, and gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").arg(&pid).status().unwrap();
        assert!(sent.success(), "kill {pid}");
        let mut status = None;
        wait_until("the receiver ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// `kill -9`, and the same directories served again.
    pub fn restart(mut self) -> Receiver {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let empty = tempfile::tempdir().unwrap();
        let dir = std::mem::replace(&mut self.dir, empty);
        let ports = self.ports.take();
        Receiver::start_again(dir, ports)
    }

    /// `ftp://host:port` or, for implicit TLS, `ftps://host:port`, without a path.
    pub fn url(&self, tls: Tls) -> String {
        match tls {
            Tls::Implicit => format!("ftps://{}", self.implicit),
            Tls::None | Tls::Explicit => format!("ftp://{}", self.addr),
        }
    }

    /// curl, logged in, trusting the certificate.
    pub fn curl<A: AsRef<OsStr>>(&self, tls: Tls, args: impl IntoIterator<Item = A>) -> Output {
        let mut command = bounded("curl");
        command.args(["-sSv", "--user"]);
        command.arg(format!("{}:{}", self.user, self.password));
        command.arg("--cacert").arg(self.certificate());
        if tls == Tls::Explicit {
            command.arg("--ssl-reqd");
        }
        command.args(args).output().unwrap()
    }

    /// lftp with a script, logged in.
    pub fn lftp(&self, tls: Tls, script: &str) -> Output {
        self.lftp_command(tls, script).output().unwrap()
    }

    /// The same, to be started.
    pub fn lftp_command(&self, tls: Tls, script: &str) -> Command {
        let login = (self.user.as_str(), self.password.as_str());
        let (certificate, home) = (self.certificate(), self.scratch("home"));
        lftp((&self.url(tls), tls), login, (&certificate, &home), script)
    }

    /// A Python script. It has `connect()`, which gives an `ftplib` session that
    /// is logged in, `ctx` (TLS), `ftplib`, `io`, `os`, `socket`, `ssl` and `sys`.
    pub fn python(&self, tls: Tls, script: &str) -> Output {
        let addr = match tls {
            Tls::Implicit => self.implicit,
            Tls::None | Tls::Explicit => self.addr,
        };
        let mut command = bounded("python3");
        command.arg("-c").arg(format!("{PRELUDE}\n{script}"));
        command.env("HOST", addr.ip().to_string());
        command.env("PORT", addr.port().to_string());
        command.env("LOGIN", &self.user);
        command.env("SECRET", &self.password);
        command.env("TLS", format!("{tls:?}"));
        command.env("CERT", self.certificate());
        command.env("SCRATCH", self.scratch("python"));
        command.output().unwrap()
    }

    /// Any other client, with nobody's own settings.
    pub fn client(&self, program: &str) -> Command {
        let mut command = bounded(program);
        command.env("HOME", self.scratch("home"));
        command
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Panics with what a client printed unless it succeeded; gives its output.
#[track_caller]
pub fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out
}

/// lftp with a script, logged in at a URL that is used with TLS like that. It
/// trusts the certificate, and finds nobody's own settings in its home.
pub fn lftp(
    (url, tls): (&str, Tls),
    (user, password): (&str, &str),
    (certificate, home): (&Path, &Path),
    script: &str,
) -> Command {
    let open = format!(
        "set cmd:fail-exit true; set net:max-retries 2; set net:timeout 60; \
         set ssl:ca-file {}; set ssl:check-hostname false; set ftp:ssl-allow {allow}; \
         set ftp:ssl-force {allow}; set ftp:ssl-protect-data {allow}; \
         set ftp:ssl-protect-list {allow}; open -u {user},{password} {url}; {script}; bye",
        certificate.display(),
        allow = tls != Tls::None,
    );
    let mut command = bounded("lftp");
    command.args(["--norc", "-c", &open]).env("HOME", home);
    command
}

/// A client's program, of the machine or of its package.
fn bounded(program: &str) -> Command {
    let package = match program {
        "ncftpput" | "ncftpget" => "ncftp",
        other => other,
    };
    client(program, package, Duration::from_secs(1200))
}

/// The most memory that a process has ever had resident, in bytes.
pub fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

/// The name of a file below a directory, as an argument.
pub fn arg(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

const LOGIN: (&str, &str) = ("camera", "correct-horse");

const PRELUDE: &str = r#"
import ftplib, io, os, socket, ssl, sys
ctx = ssl.create_default_context(cafile=os.environ["CERT"]) if os.path.exists(os.environ["CERT"]) else None

class Reusing(ftplib.FTP_TLS):
    """Resumes the session of the control connection on each data connection."""
    resumed = []
    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        if self._prot_p:
            conn = self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session)
            Reusing.resumed.append(conn.session_reused)
        return conn, size

class Implicit(Reusing):
    """TLS from the first byte on."""
    _sock = None
    @property
    def sock(self):
        return self._sock
    @sock.setter
    def sock(self, value):
        if value is not None and not isinstance(value, ssl.SSLSocket):
            value = self.context.wrap_socket(value, server_hostname=self.host)
        self._sock = value

def connect(tls=os.environ["TLS"], login=True, context=None):
    context = context or ctx
    kind = {"None": ftplib.FTP, "Explicit": Reusing, "Implicit": Implicit}[tls]
    ftp = kind(timeout=60) if tls == "None" else kind(context=context, timeout=60)
    ftp.connect(os.environ["HOST"], int(os.environ["PORT"]))
    if tls == "Explicit":
        ftp.auth()
    if login:
        ftplib.FTP.login(ftp, os.environ["LOGIN"], os.environ["SECRET"])
        if tls != "None":
            ftp.prot_p()
    return ftp

def refused(code, call, *args):
    try:
        answer = call(*args)
    except ftplib.Error as error:
        assert str(error).startswith(str(code)), (code, str(error))
        return str(error)
    raise AssertionError((code, answer))

def fetch(ftp, name, rest=None):
    out = io.BytesIO()
    ftp.retrbinary("RETR " + name, out.write, rest=rest)
    return out.getvalue()
"#;
