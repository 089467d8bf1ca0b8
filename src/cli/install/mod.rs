//! `install` and `uninstall`: the program, its units and a config to start from,
//! on a systemd machine or below the root of an image.
//!
//! What was put in place is written down with its hash (`record.rs`). A file that
//! was changed since belongs to whoever changed it: it is neither replaced nor
//! removed, and that is said.

mod machine;
mod pieces;
mod record;
mod removal;
mod rights;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::args::Installation;
use super::{Exit, Outcome};
use crate::config::template::FILE_NAME;
use crate::config::{self, Env};
use crate::sys::Sys;
use machine::Machine;
use pieces::Piece;
use record::{Record, Standing};

pub(super) use removal::uninstall;

/// Where things go, below the root.
const CONFIG_DIR: &str = "etc/edgespool";
const SPOOL_DIR: &str = "var/lib/edgespool";
const START_DIR: &str = "var/spool/edgespool";
const DROP_IN: &str = "etc/systemd/system/edgespool.service.d/50-watched.conf";

/// Puts everything in place; a second time, what is new.
pub(super) fn install(sys: &Sys, args: &Installation) -> Outcome {
    let machine = match Machine::at(&args.root) {
        Ok(machine) => machine,
        Err(refusal) => return refused("install", &refusal),
    };
    let mut work = Work::new(&args.root, &machine);
    match work.install(sys) {
        Ok(()) => {
            let fresh = work.fresh_config;
            work.out.extend(next_steps(&machine, fresh, work.packaged));
            Outcome {
                out: work.out,
                code: Exit::Done,
            }
        }
        Err(problem) => {
            work.out.push(format!("not installed: {problem}"));
            Outcome {
                out: work.out,
                code: Exit::Failed,
            }
        }
    }
}

fn refused(what: &str, why: &str) -> Outcome {
    Outcome {
        out: vec![format!("nothing to {what} here: {why}")],
        code: Exit::Failed,
    }
}

/// An installation under way.
struct Work<'a> {
    root: &'a Path,
    machine: &'a Machine,
    record: Record,
    out: Vec<String>,
    packaged: bool,
    fresh_config: bool,
}

impl<'a> Work<'a> {
    fn new(root: &'a Path, machine: &'a Machine) -> Work<'a> {
        Work {
            root,
            machine,
            record: Record::read(root),
            out: Vec::new(),
            packaged: pieces::is_packaged(root),
            fresh_config: false,
        }
    }

    fn install(&mut self, sys: &Sys) -> Result<(), String> {
        if self.packaged {
            self.out
                .push("the program and its units come from a package, and stay as they are".into());
        } else {
            for piece in pieces::program()? {
                self.put(&piece)?;
            }
        }
        self.put_config()?;
        self.machine.prepare(&mut self.out);
        if self.machine.is_this() {
            self.open_watched(sys)?;
        }
        self.record.write(self.root).map_err(|e| e.to_string())?;
        self.machine.reload(&mut self.out);
        Ok(())
    }

    /// Puts one file in place, unless a hand changed the one that is there.
    fn put(&mut self, piece: &Piece) -> Result<(), String> {
        let path = self.root.join(&piece.path);
        let shown = shown(self.root, &piece.path);
        match self.record.standing(self.root, &piece.path) {
            Standing::Foreign if fs::read(&path).is_ok_and(|old| old == piece.content) => {}
            Standing::Foreign if !piece.always => {
                self.out.push(format!(
                    "kept  {shown}: not as it was put there by an install"
                ));
                return Ok(());
            }
            Standing::Missing | Standing::Ours | Standing::Foreign => {
                write(&path, &piece.content, piece.mode)
                    .map_err(|e| format!("{shown}: {e} (is the filesystem read-only?)"))?;
                self.out.push(format!("wrote {shown}"));
            }
        }
        self.record.note(&piece.path, &piece.content);
        Ok(())
    }

    /// The config and the password's file, if there is no config yet.
    fn put_config(&mut self) -> Result<(), String> {
        let config = Path::new(CONFIG_DIR).join(FILE_NAME);
        if self.root.join(&config).exists() {
            if self.record.standing(self.root, &config) == Standing::Foreign {
                let shown = shown(self.root, &config);
                self.out.push(format!("kept  {shown}"));
            }
            return Ok(());
        }
        self.fresh_config = true;
        for piece in pieces::config() {
            self.put(&piece)?;
        }
        let dir = self.root.join(START_DIR);
        fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))
    }

    /// Opens the watched directories to the sandbox, as the config names them.
    fn open_watched(&mut self, sys: &Sys) -> Result<(), String> {
        let file = Path::new("/").join(CONFIG_DIR).join(FILE_NAME);
        let loaded = Env::with_os(sys, |env| {
            // The unit's LoadCredential= takes them from there.
            let credentials = |name: &str| {
                (name == "CREDENTIALS_DIRECTORY").then(|| format!("/{CONFIG_DIR}").into())
            };
            let service = Env {
                var: &|name| (env.var)(name).or_else(|| credentials(name)),
                host_name: env.host_name.clone(),
                ..*env
            };
            config::load(&file, &service)
        });
        let Ok(loaded) = loaded else {
            self.out.push(format!(
                "{} has mistakes (edgespool check --offline); install again when it has none",
                file.display()
            ));
            return Ok(());
        };
        let agent = self.machine.agent_user();
        let rights = rights::needed(&loaded.config, agent);
        self.out
            .extend(rights.advice.iter().map(|line| format!("note: {line}")));
        match rights.drop_in() {
            Some(content) => self.put(&Piece::text(DROP_IN, content)),
            None => Ok(()),
        }
    }
}

/// A path as its user knows it.
fn shown(root: &Path, below: &Path) -> String {
    root.join(below).display().to_string()
}

/// Replaces a file as a whole: a running program can be replaced so as well.
fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    let dir = path.parent().unwrap_or(Path::new("."));
    make_dirs(dir)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(content)?;
    // Whatever the umask of this shell is.
    set_mode(&new, mode)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(dir)?.sync_all()
}

/// Makes missing directories, for everyone to look into but the config's.
fn make_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        make_dirs(parent)?;
    }
    fs::create_dir(dir)?;
    set_mode(
        dir,
        if dir.ends_with(CONFIG_DIR) {
            0o750
        } else {
            0o755
        },
    )
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// What is left to be done by hand.
fn next_steps(machine: &Machine, fresh: bool, packaged: bool) -> Vec<String> {
    if !machine.is_this() {
        return vec![
            "next: fill in /etc/edgespool of the image, enable the service (systemctl --root=DIR"
                .into(),
            "  enable edgespool), and let its first start make the user: systemd-sysusers and"
                .into(),
            "  systemd-tmpfiles do. On the device, `edgespool install` opens the watched".into(),
            "  directories to the service.".into(),
        ];
    }
    if !fresh {
        let again = if packaged { "" } else { "the new program and " };
        return vec![format!(
            "next: systemctl restart edgespool    # with {again}the config as it is now"
        )];
    }
    vec![
        "next:".into(),
        "  1. set host, user and the watched directory in /etc/edgespool/edgespool.toml".into(),
        "  2. put the password into /etc/edgespool/password".into(),
        "  3. edgespool install     # again: opens the watched directories to the service".into(),
        "  4. edgespool check       # every step to the server".into(),
        "  5. systemctl enable --now edgespool".into(),
    ]
}
