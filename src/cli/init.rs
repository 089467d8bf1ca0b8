//! `init [DIR]`: a commented configuration to start from.

use std::io;
use std::path::Path;

use super::{Exit, Outcome};
use crate::config::template::{FILE_NAME, PASSWORD_FILE, TEMPLATE, WATCH_DIR};
use crate::sys::{Create, Fs};

/// Writes `edgespool.toml` into `dir`, with the directory that its watch takes
/// files from and a password file to fill in. Nothing that exists is changed.
pub fn init(fs: &dyn Fs, dir: &Path) -> Outcome {
    let config = dir.join(FILE_NAME);
    match write(fs, dir) {
        Ok(()) => Outcome {
            out: vec![
                format!("wrote {}", config.display()),
                format!(
                    "next: set host and user in it, put the password into {}, then run",
                    dir.join(PASSWORD_FILE).display()
                ),
                format!("  edgespool -c {} check", config.display()),
            ],
            code: Exit::Done,
        },
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Outcome {
            out: vec![format!(
                "{} exists already and was left as it is (name another directory)",
                config.display()
            )],
            code: Exit::Failed,
        },
        Err(e) => Outcome {
            out: vec![format!("{} cannot be written: {e}", config.display())],
            code: Exit::Failed,
        },
    }
}

fn write(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    create_dirs(fs, dir)?;
    write_new(fs, &dir.join(FILE_NAME), TEMPLATE.as_bytes())?;
    keep_existing(create_dirs(fs, &dir.join(WATCH_DIR)))?;
    keep_existing(write_new(fs, &dir.join(PASSWORD_FILE), b"change-me\n"))?;
    fs.sync_dir(dir)
}

fn create_dirs(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || fs.meta(dir).is_ok() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        create_dirs(fs, parent)?;
    }
    keep_existing(fs.create_dir(dir))
}

fn write_new(fs: &dyn Fs, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = fs.create(path, Create::New)?;
    file.write_at(content, 0)?;
    file.sync()
}

fn keep_existing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check_offline::check_offline;
    use crate::config::Env;
    use crate::sys::os::OsFs;

    #[test]
    fn what_init_writes_passes_the_offline_check() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("new/place");
        assert_eq!(init(&OsFs, &dir).code, Exit::Done);
        let env = Env {
            fs: &OsFs,
            var: &|_| None,
            host_name: "gw-1".into(),
            current_dir: temp.path(),
        };
        let outcome = check_offline(&dir.join(FILE_NAME), &env);
        assert_eq!(outcome.code, Exit::Done, "{:#?}", outcome.out);
        let unhappy = outcome.out.iter().find(|line| !line.starts_with("ok "));
        assert_eq!(unhappy, None);
    }

    #[test]
    fn init_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "mine").unwrap();
        let outcome = init(&OsFs, dir.path());
        assert_eq!(outcome.code, Exit::Failed);
        assert!(outcome.out[0].contains("was left as it is"));
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FILE_NAME)).unwrap(),
            "mine"
        );
    }
}
