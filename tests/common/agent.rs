//! The built binary, run with a bound on its time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::WAIT_MAX;
use super::servers::{Server, Variant};

/// How a run ended and what it printed.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Panics with all output unless the exit code is this one.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// Runs `edgespool` to its end.
pub fn edgespool<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(dir.path(), args, &[]);
    running.wait(WAIT_MAX)
}

/// One agent's world: a directory with its config, its spool and one watched
/// directory, and perhaps a running process.
pub struct Agent {
    dir: tempfile::TempDir,
    running: Option<Running>,
    environment: Vec<(String, OsString)>,
}

impl Agent {
    /// A world with no config yet, below the system's directory for temporary files.
    pub fn new() -> Self {
        let agent = Self {
            dir: tempfile::tempdir().unwrap(),
            running: None,
            environment: Vec::new(),
        };
        fs::create_dir(agent.watched()).unwrap();
        agent
    }

    /// A world whose config uploads `watched` to the root of `server`, by way of
    /// `at` (a proxy) if given; `more` is added to the server's section.
    pub fn for_server(server: &Server, at: Option<std::net::SocketAddr>, more: &str) -> Self {
        let agent = Self::new();
        let section = server_section("central", server, at);
        agent.write_config(&format!(
            "device = \"test\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n{section}{more}\n\
             [[watch]]\nname = \"camera\"\ndir = \"watched\"\nserver = \"central\"\n\
             quiet = \"200ms\"\nremote = \"/{{path}}\"\n[retry]\nfirst = \"200ms\"\nmax = \"2s\"\n"
        ));
        agent
    }

    /// The directory of it all.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The watched directory.
    pub fn watched(&self) -> PathBuf {
        self.dir().join("watched")
    }

    /// The spool's directory.
    pub fn spool(&self) -> PathBuf {
        self.dir().join("spool")
    }

    /// The config file.
    pub fn config(&self) -> PathBuf {
        self.dir().join("edgespool.toml")
    }

    pub fn write_config(&self, text: &str) {
        fs::write(self.config(), text).unwrap();
    }

    /// Adds a variable to the environment of what is started from now on.
    pub fn set_variable(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// Runs a command with this config, to its end.
    pub fn command(&self, args: &[&str]) -> Output {
        self.launch(args).wait(WAIT_MAX)
    }

    /// Starts a command, usually `run`, in the background.
    pub fn start(&mut self, args: &[&str]) {
        assert!(self.running.is_none(), "it runs");
        self.running = Some(self.launch(args));
    }

    /// The process id of what runs in the background.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").child.id()
    }

    /// Sends a signal by its name, as TERM, HUP or KILL.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(status.success(), "kill -s {name} {pid}");
    }

    /// Waits for the end of what runs in the background.
    pub fn wait(&mut self) -> Output {
        self.running.take().expect("it runs").wait(WAIT_MAX)
    }

    /// `kill -9`, and waits for the end.
    pub fn kill(&mut self) -> Output {
        let mut running = self.running.take().expect("it runs");
        let _ = running.child.kill();
        running.wait(WAIT_MAX)
    }

    /// What the process in the background wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.running
            .as_ref()
            .map(|r| r.read("stderr"))
            .unwrap_or_default()
    }

    fn launch(&self, args: &[&str]) -> Running {
        let mut all = vec!["-c".into(), self.config().into_os_string()];
        all.extend(args.iter().map(OsString::from));
        Running::start(self.dir(), all, &self.environment)
    }
}

impl Default for Agent {
    fn default() -> Self {
        Self::new()
    }
}

/// The `[[server]]` section for a test server, by way of `at` if given.
pub fn server_section(name: &str, server: &Server, at: Option<std::net::SocketAddr>) -> String {
    let addr = at.unwrap_or(server.addr());
    let tls = match server.variant {
        Variant::Implicit => "implicit",
        v if v.is_tls() => "explicit",
        _ => "none",
    };
    let mut text = format!(
        "[[server]]\nname = \"{name}\"\nhost = \"{}\"\nport = {}\ntls = \"{tls}\"\n\
         user = \"{}\"\npassword = \"{}\"\n",
        addr.ip(),
        addr.port(),
        server.user,
        server.password,
    );
    if let Some(ca) = &server.ca {
        text += &format!("ca_file = \"{}\"\n", ca.display());
    }
    if server.variant == Variant::ExplicitClientCertificate {
        let (cert, key) = server.client.as_ref().unwrap();
        text += &format!(
            "client_cert = \"{}\"\nclient_key = \"{}\"\n",
            cert.display(),
            key.display()
        );
    }
    text
}

/// A process of ours; killed when dropped.
struct Running {
    child: Child,
    /// Files, not pipes: a process that prints a lot is not held up.
    output: tempfile::TempDir,
}

impl Running {
    fn start<A: AsRef<OsStr>>(
        dir: &Path,
        args: impl IntoIterator<Item = A>,
        environment: &[(String, OsString)],
    ) -> Self {
        let output = tempfile::tempdir().unwrap();
        let file = |name| File::create(output.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_edgespool"))
            .args(args)
            .current_dir(dir)
            .env_remove("EDGESPOOL_CONFIG")
            .env_remove("EDGESPOOL_PASSWORD")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .unwrap();
        Self { child, output }
    }

    fn wait(&mut self, bound: Duration) -> Output {
        let deadline = Instant::now() + bound;
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                let stderr = self.read("stderr");
                panic!("edgespool did not end within {bound:?}; its log:\n{stderr}");
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (self.read("stdout"), self.read("stderr"));
        Output {
            code: status.code(),
            signal: status.signal(),
            stdout,
            stderr,
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.output.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
