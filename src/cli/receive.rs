//! `receive`: the embedded FTP server alone.

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::stream::StreamExt;

use super::{Exit, args, complain, say};
use crate::base::Secret;
use crate::ftp::text::printable;
use crate::receive::{
    Folder, Lockout, NoInbox, Observer, PasswordHash, Permissions, Quota, ReceiveOptions, Received,
    Receiver, Target, TlsUse, User,
};
use crate::sys::Sys;

/// Serves until SIGTERM or SIGINT.
pub(crate) fn run(sys: &Sys, args: &args::Receive) -> Exit {
    match smol::block_on(serve(sys, args)) {
        Ok(()) => Exit::Done,
        Err(message) => {
            complain(&message);
            Exit::Failed
        }
    }
}

async fn serve(sys: &Sys, args: &args::Receive) -> Result<(), String> {
    let root =
        fs::canonicalize(&args.root).map_err(|e| format!("--root {}: {e}", args.root.display()))?;
    let mut signals = Signals::new([Signal::Term, Signal::Int]).map_err(|e| e.to_string())?;
    let state = state_dir(args, &root);
    let (secret, made) = password()?;
    let options = options(args, root, secret);
    let receiver = Receiver::bind(
        sys,
        options,
        Rc::new(NoInbox),
        state.as_deref(),
        Rc::new(Lines),
    )
    .await
    .map_err(|e| e.to_string())?;
    introduce(&receiver, args, made.as_deref());
    let stopping = async {
        // Without signals it runs for good.
        if signals.next().await.is_some() {
            receiver.stop(STOP_LIMIT);
        }
        std::future::pending::<()>().await;
    };
    smol::future::or(receiver.run(), stopping).await;
    Ok(())
}

/// What a person, or a script, needs to know to connect.
fn introduce(receiver: &Receiver, args: &args::Receive, made: Option<&str>) {
    for (address, implicit) in receiver.addresses() {
        let scheme = match (implicit, args.tls) {
            (true, _) => "ftps",
            (false, args::TlsUse::None) => "ftp",
            (false, _) => "ftpes",
        };
        let user =
            percent_encoding::utf8_percent_encode(&args.user, percent_encoding::NON_ALPHANUMERIC);
        say(&format!("url: {scheme}://{user}@{}/", reachable(address)));
    }
    say(&format!("user: {}", args.user));
    if let Some(password) = made {
        say(&format!("password: {password}"));
    }
    if let Some(fingerprint) = receiver.fingerprint() {
        say(&format!("sha256: {fingerprint}"));
    }
}

/// One line for each file.
struct Lines;

impl Observer for Lines {
    fn received(&self, received: &Received) {
        let path = printable(&received.path.to_bytes(), 1000);
        say(&format!("received {path} {} bytes", received.size));
    }
}

fn options(args: &args::Receive, root: PathBuf, secret: Secret) -> ReceiveOptions {
    let user = User {
        name: args.user.clone(),
        password: PasswordHash::Plain(secret),
        folders: vec![Folder {
            name: Vec::new(),
            target: Target::Dir(root),
        }],
        permissions: Permissions::ALL,
        quota: Quota::default(),
        from: Vec::new(),
    };
    ReceiveOptions {
        server_name: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
        listen: args.listen.clone(),
        listen_implicit: args.listen_implicit.clone(),
        tls: match args.tls {
            args::TlsUse::Required => TlsUse::Required,
            args::TlsUse::Optional => TlsUse::Optional,
            args::TlsUse::None => TlsUse::None,
        },
        certificate: None,
        passive_ports: args.passive_ports,
        external_address: None,
        max_sessions: 256,
        sessions_per_user: 256,
        sessions_per_address: 256,
        login_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        stall_timeout: Duration::from_secs(60),
        require_close_notify: false,
        lockout: Lockout {
            failures: 10,
            time: Duration::from_secs(300),
        },
        users: vec![user],
        anonymous: None,
        on_received: None,
    }
}

/// For transfers under way when it stops.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// The password, and what it is if nobody knows it yet.
fn password() -> Result<(Secret, Option<String>), String> {
    if let Ok(password) = std::env::var("EDGESPOOL_PASSWORD") {
        return Ok((Secret::new(password.into_bytes()), None));
    }
    // Without the letters and digits that look like others.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = [0; 16];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut random)
        .map_err(|_| "the system gives no random numbers for a password")?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied();
    let made: String = random.iter().filter_map(letter).map(char::from).collect();
    Ok((Secret::from(made.as_str()), Some(made)))
}

/// Where the certificate is kept; nowhere if that cannot be, or if whoever logs
/// in could read the key there.
fn state_dir(args: &args::Receive, root: &Path) -> Option<PathBuf> {
    let from = |variable: &str| {
        let value: Option<OsString> = std::env::var_os(variable);
        value.filter(|value| !value.is_empty()).map(PathBuf::from)
    };
    let dir = args
        .state
        .clone()
        .or_else(|| from("STATE_DIRECTORY"))
        .or_else(|| from("XDG_STATE_HOME").map(|dir| dir.join("edgespool")))
        .or_else(|| from("HOME").map(|dir| dir.join(".local/state/edgespool")));
    let why = match dir.as_ref().map(|dir| {
        fs::create_dir_all(dir)?;
        fs::canonicalize(dir)
    }) {
        None => "there is no home directory".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(dir)) if dir.starts_with(root) => format!("{} is below --root", dir.display()),
        Some(Ok(dir)) => return Some(dir),
    };
    log::warn!("the certificate is made anew at each start: {why}; choose another --state");
    None
}

/// The address to connect to: an unspecified one is that of the interface by
/// which this machine reaches others.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // Nothing is sent: the system chooses the route and our address on it.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    let ip = ask().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |found| found.ip());
    SocketAddr::new(ip, address.port())
}
