//! The file that `init` writes: enough to start from, every key with its default.

/// The name of the configuration within the directory that `init` fills.
pub const FILE_NAME: &str = "edgespool.toml";

/// The directory that the template's watch takes files from.
pub const WATCH_DIR: &str = "outbox";

/// The file that the template's server takes its password from.
pub const PASSWORD_FILE: &str = "password";

/// A commented configuration. A line that begins with `#` and a key shows that
/// key's default (or an example, where it says so); the others must be looked at.
pub const TEMPLATE: &str = include_str!("template.toml");
