//! What the receiver is told: plain data, checked by whoever fills it in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::password::PasswordHash;

/// Everything that a receiver needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// What the greeting calls this server.
    pub server_name: String,
    /// Where clients connect to, in clear text or with AUTH TLS (RFC 4217).
    pub listen: Vec<SocketAddr>,
    /// Where clients connect to with TLS from the first byte on.
    pub listen_implicit: Vec<SocketAddr>,
    /// Whether clients use TLS.
    pub tls: TlsUse,
    /// Our certificate chain and key as PEM files; `None`: one made at the first
    /// start and kept.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// First and last port of passive data connections; `None`: any.
    pub passive_ports: Option<(u16, u16)>,
    /// What PASV answers instead of our own address, behind NAT.
    pub external_address: Option<Ipv4Addr>,
    /// Sessions at most.
    pub max_sessions: usize,
    /// Sessions at most for one user.
    pub sessions_per_user: usize,
    /// Sessions at most from one address.
    pub sessions_per_address: usize,
    /// From the connection to a successful login at most.
    pub login_timeout: Duration,
    /// A session without commands ends after so long.
    pub idle_timeout: Duration,
    /// A data connection without bytes ends after so long.
    pub stall_timeout: Duration,
    /// An upload over TLS that ends without close_notify is cut. Many clients
    /// leave it out, so that the end of TCP counts as the end of the file unless
    /// this is set.
    pub require_close_notify: bool,
    /// What wrong passwords lead to.
    pub lockout: Lockout,
    /// Who may log in; names are unique.
    pub users: Vec<User>,
    /// What `anonymous` and `ftp` (RFC 1635) may do, if they may at all. Its
    /// name and password mean nothing.
    pub anonymous: Option<User>,
    /// A program and its arguments, run on each received file.
    pub on_received: Option<Vec<String>>,
}

/// Whether clients use TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsUse {
    /// No login without it.
    Required,
    /// As each client likes.
    #[default]
    Optional,
    /// There is none.
    None,
}

/// What wrong passwords from one address lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lockout {
    /// So many within `time`, and the address is refused; 0: never.
    pub failures: u32,
    /// For so long after the last of them.
    pub time: Duration,
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, as USER gives it.
    pub name: String,
    /// What the password is compared with.
    pub password: PasswordHash,
    /// At least one; names are unique.
    pub folders: Vec<Folder>,
    /// What the user may do.
    pub permissions: Permissions,
    /// How much the user may fill.
    pub quota: Quota,
    /// Networks that the user may come from; empty: any.
    pub from: Vec<IpNet>,
}

/// A name in the user's virtual root, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// One part of a path; empty: the root itself.
    pub name: Vec<u8>,
    /// What stands behind it.
    pub target: Target,
}

/// What stands behind a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A directory; files stay there.
    Dir(PathBuf),
    /// The lane of a watch; finished files go into the spool.
    Lane(String),
}

/// What a user may do. In a lane's folder `upload` covers directories, renaming
/// and deleting too: nothing there has been received yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)]
pub struct Permissions {
    /// Store new files, and go on with unfinished ones.
    pub upload: bool,
    /// Replace and append to finished files.
    pub overwrite: bool,
    /// See names.
    pub list: bool,
    /// Retrieve files.
    pub read: bool,
    /// Delete files and directories.
    pub delete: bool,
    /// Rename files and directories.
    pub rename: bool,
    /// Make directories.
    pub mkdir: bool,
}

impl Permissions {
    /// Nothing but storing new files; the default.
    pub const UPLOAD: Permissions = Permissions {
        upload: true,
        overwrite: false,
        list: false,
        read: false,
        delete: false,
        rename: false,
        mkdir: false,
    };

    /// Everything.
    pub const ALL: Permissions = Permissions {
        upload: true,
        overwrite: true,
        list: true,
        read: true,
        delete: true,
        rename: true,
        mkdir: true,
    };
}

/// How much a user may fill, over all folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes; `None`: no limit.
    pub max_bytes: Option<u64>,
    /// Files and directories; `None`: no limit.
    pub max_files: Option<u64>,
    /// A warning is logged beyond so many hundredths; `None`: no warning.
    pub warn_percent: Option<u8>,
}
