//! Gets the servers: Debian packages, unpacked into a private cache and never
//! installed as such (they conflict with each other and would start as
//! services), and pyftpdlib in a virtual environment. Clients come in the same
//! way where the machine has none.
//!
//! The cache is `$EDGESPOOL_TESTS_CACHE`, default `~/.cache/edgespool-tests`; it
//! takes a minute to fill, once. No root is needed for it. Where something
//! cannot be had, the error says what to do; a test is never skipped for it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use super::Kind;

/// Where the installed programs are.
pub(super) struct Programs {
    cache: PathBuf,
}

/// Makes sure that the server is installed.
///
/// Several processes may ask at once: one installs, the others wait for it.
pub(super) fn ready(kind: Kind) -> Result<Programs, String> {
    install(kind.name(), |cache| match kind {
        Kind::Vsftpd => unpack(cache, &["vsftpd"]),
        Kind::Proftpd => unpack(cache, &["proftpd-core", "proftpd-mod-crypto"]),
        Kind::PureFtpd => unpack(cache, &["pure-ftpd"]),
        Kind::Pyftpdlib => virtual_environment(cache),
    })
}

/// The command that runs a client: the machine's own program, or that of a
/// package.
pub(super) fn client(program: &str, package: &str) -> Result<Vec<OsString>, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    if env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return Ok(vec![program.into()]);
    }
    let programs = install(package, |cache| unpack(cache, &[package]))?;
    let mut libraries = OsString::from("LD_LIBRARY_PATH=");
    libraries.push(programs.loader_path());
    let program = programs.under(&format!("usr/bin/{program}")).into();
    Ok(vec!["env".into(), libraries, program])
}

/// Has it installed once.
fn install(name: &str, get: impl FnOnce(&Path) -> Result<(), String>) -> Result<Programs, String> {
    let cache = cache_dir();
    let programs = Programs {
        cache: cache.clone(),
    };
    let done = cache.join(format!("{name}.installed"));
    if done.exists() {
        return Ok(programs);
    }
    let attempt = || {
        fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
        let lock = File::create(cache.join("lock")).map_err(|e| e.to_string())?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|e| e.to_string())?;
        if done.exists() {
            return Ok(());
        }
        get(&cache)?;
        File::create(&done).map(drop).map_err(|e| e.to_string())
    };
    attempt().map(|()| programs).map_err(|e: String| {
        format!(
            "cannot install {name} for the tests into {}: {e}\nThe tests need Debian or Ubuntu \
             with access to its packages and to PyPI, python3 and python3-venv.",
            cache.display()
        )
    })
}

/// Everything that the tests keep between runs; safe to delete.
pub(super) fn cache_dir() -> PathBuf {
    if let Some(dir) = env::var_os("EDGESPOOL_TESTS_CACHE") {
        return PathBuf::from(dir);
    }
    let home = env::var_os("HOME").unwrap_or_else(|| OsString::from("/root"));
    PathBuf::from(home).join(".cache/edgespool-tests")
}

impl Programs {
    /// A path inside the unpacked packages.
    pub(super) fn under(&self, path: &str) -> String {
        self.cache
            .join("packages")
            .join(path)
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// A system program of the unpacked packages.
    pub(super) fn sbin(&self, name: &str) -> String {
        self.under(&format!("usr/sbin/{name}"))
    }

    /// The Python that has pyftpdlib.
    pub(super) fn python(&self) -> String {
        self.cache
            .join("python/bin/python")
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// Where the libraries are that the machine did not have.
    pub(super) fn loader_path(&self) -> OsString {
        let dirs = ["usr/lib", "lib"].iter().flat_map(|dir| {
            let entries = fs::read_dir(self.under(dir))
                .into_iter()
                .flatten()
                .flatten();
            entries
                .map(|e| e.path())
                .filter(|p| p.to_string_lossy().contains("-linux-gnu"))
        });
        env::join_paths(dirs).unwrap()
    }
}

/// Downloads packages with the libraries that this machine lacks, and unpacks them.
fn unpack(cache: &Path, packages: &[&str]) -> Result<(), String> {
    let downloads = cache.join("downloads");
    for dir in ["downloads", "apt/lists/partial", "apt/archives/partial"] {
        fs::create_dir_all(cache.join(dir)).map_err(|e| e.to_string())?;
    }
    run(apt(cache).arg("update"))?;
    let plan = run(apt(cache)
        .args(["--simulate", "--no-install-recommends", "install"])
        .args(packages))?;
    let libraries = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next())
        .filter(|name| name.starts_with("lib"));
    let wanted: Vec<&str> = packages.iter().copied().chain(libraries).collect();
    run(apt(cache)
        .arg("download")
        .args(wanted)
        .current_dir(&downloads))?;
    for entry in fs::read_dir(&downloads)
        .map_err(|e| e.to_string())?
        .flatten()
    {
        run(Command::new("dpkg")
            .arg("-x")
            .arg(entry.path())
            .arg(cache.join("packages")))?;
        fs::remove_file(entry.path()).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// apt-get with package lists of its own, so that it needs neither root nor
/// lists that are up to date.
fn apt(cache: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.args([
        "-qq",
        "-o",
        "APT::Sandbox::User=root",
        "-o",
        "Debug::NoLocking=true",
    ]);
    for (key, dir) in [("State::lists", "lists"), ("Cache::archives", "archives")] {
        let value = cache.join("apt").join(dir);
        command
            .arg("-o")
            .arg(format!("Dir::{key}={}", value.display()));
    }
    for key in ["pkgcache", "srcpkgcache"] {
        command.arg("-o").arg(format!("Dir::Cache::{key}="));
    }
    command
}

fn virtual_environment(cache: &Path) -> Result<(), String> {
    let dir = cache.join("python");
    run(Command::new("python3")
        .args(["-m", "venv", "--clear"])
        .arg(&dir))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    let packages = ["pyftpdlib>=2.2,<3", "pyOpenSSL"];
    run(Command::new(dir.join("bin/python"))
        .args(pip)
        .args(packages))
    .map(drop)
}

fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}: {}", output.status, stderr.trim()))
}
