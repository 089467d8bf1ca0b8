//! Where a server's password comes from: exactly one of four keys.

use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::env::Env;
use super::files;
use super::section::Section;
use crate::base::Secret;

/// Reads the password of a server; `Ok(None)` when no key is written, `Err`
/// when a mistake was reported.
pub(super) fn read(section: &mut Section<'_>, env: &Env<'_>) -> Result<Option<Secret>, ()> {
    let written: Vec<_> = KEYS.into_iter().filter(|key| section.has(key)).collect();
    let inline: Option<Secret> = section.get("password");
    let file = section.path("password_file");
    let variable: Option<String> = section.get("password_env");
    let credential: Option<String> = section.get("password_credential");
    match written.as_slice() {
        [] => return Ok(None),
        [_] => {}
        [first, others @ ..] => {
            for key in others {
                section.mistake(key, &format!("and {first} are both set (keep one of them)"));
            }
            return Err(());
        }
    }
    let (key, secret) = if let Some(secret) = inline {
        ("password", Ok(secret))
    } else if let Some(path) = file {
        (
            "password_file",
            from_file(section, env, "password_file", &path),
        )
    } else if let Some(name) = variable {
        ("password_env", from_variable(env, &name))
    } else if let Some(name) = credential {
        let path = credential_path(env, &name);
        (
            "password_credential",
            path.and_then(|path| from_file(section, env, "password_credential", &path)),
        )
    } else {
        // The value had the wrong type, which is reported already.
        return Err(());
    };
    match secret.and_then(fit_for_a_command) {
        Ok(secret) => Ok(Some(secret)),
        Err(problem) => {
            section.mistake(key, &problem);
            Err(())
        }
    }
}

fn from_file(
    section: &Section<'_>,
    env: &Env<'_>,
    key: &str,
    path: &Path,
) -> Result<Secret, String> {
    let (mut content, meta) = files::read(env.fs, path, PASSWORD_MAX)
        .map_err(|e| format!("{path:?} cannot be read: {e} (put the password there)"))?;
    if files::is_public(&meta) {
        section.warning(
            key,
            &format!("{path:?} can be read by everyone (chmod 600 the file)"),
        );
    }
    // An editor ends the last line; that is no part of the password.
    if content.ends_with(b"\n") {
        content.pop();
    }
    if content.ends_with(b"\r") {
        content.pop();
    }
    Ok(Secret::new(std::mem::take(&mut *content)))
}

fn from_variable(env: &Env<'_>, name: &str) -> Result<Secret, String> {
    match (env.var)(name) {
        Some(value) => Ok(Secret::new(value.into_vec())),
        None => Err(format!(
            "{name:?}: this environment variable is not set (set it before the start)"
        )),
    }
}

fn credential_path(env: &Env<'_>, name: &str) -> Result<PathBuf, String> {
    if name.contains(['/', '\0']) || name == ".." || name == "." {
        return Err(format!("{name:?} must be a name without slashes"));
    }
    let dir = (env.var)("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!(
            "{name:?}: $CREDENTIALS_DIRECTORY is not set \
             (start with systemd and LoadCredential={name}:FILE)"
        )
    })?;
    Ok(Path::new(&dir).join(name))
}

fn fit_for_a_command(secret: Secret) -> Result<Secret, String> {
    let bytes = secret.expose();
    if bytes.is_empty() {
        return Err("gives an empty password (write the password there)".to_owned());
    }
    if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
        return Err("gives a password of several lines (write it on one line)".to_owned());
    }
    Ok(secret)
}

/// The four keys.
pub(super) const KEYS: [&str; 4] = [
    "password",
    "password_file",
    "password_env",
    "password_credential",
];

/// No server takes a longer line.
const PASSWORD_MAX: usize = 4096;
