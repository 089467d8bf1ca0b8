//! What the configuration takes from its surroundings.

use std::ffi::OsString;
use std::path::Path;

use crate::sys::{Fs, Sys};

/// The machine's name, its environment variables and its disk.
pub struct Env<'a> {
    /// Reads the files that the configuration names.
    pub fs: &'a dyn Fs,
    /// The value of an environment variable.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// The default of `device`.
    pub host_name: String,
    /// Where relative paths on the command line start.
    pub current_dir: &'a Path,
}

impl Env<'_> {
    /// Calls `with` with this machine's surroundings.
    pub fn with_os<T>(sys: &Sys, with: impl FnOnce(&Env<'_>) -> T) -> T {
        let current_dir = std::env::current_dir().unwrap_or_else(|_| "/".into());
        with(&Env {
            fs: &*sys.fs,
            var: &|name| std::env::var_os(name),
            host_name: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            current_dir: &current_dir,
        })
    }
}
