//! `[receive]` and `[[receive.user]]`: the embedded server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeValue;

use super::env::Env;
use super::report::nearest;
use super::section::{Places, Section};
use super::value::{Value, Words};
use super::{certs, files, password};
use crate::base::Secret;
use crate::receive::{
    Folder, Lockout, PasswordHash, Permissions, Quota, ReceiveOptions, Target, TlsUse, User,
};
use crate::sys::Kind;

/// `[receive]` as it was read.
pub(super) struct Read {
    pub(super) options: ReceiveOptions,
    /// The folders of all users, with their lines for the checks across tables.
    pub(super) folders: Vec<(Folder, Places)>,
}

pub(super) fn read(section: Option<Section<'_>>, env: &Env<'_>, device: &str) -> Option<Read> {
    let mut section = section?;
    let s = &mut section;
    let mut folders = Vec::new();
    let users = s.tables("user").into_iter();
    let users: Vec<_> = users
        .map(|section| user(section, env, &mut folders))
        .collect();
    let anonymous = s
        .table("anonymous")
        .map(|section| anonymous(section, env, &mut folders));
    let mut options = options(s, env, device);
    options.anonymous = anonymous;
    for (index, (user, at)) in users.iter().enumerate() {
        let before = users.iter().take(index);
        if let Some((_, first)) = before
            .filter(|(u, _)| !u.name.is_empty())
            .find(|(u, _)| u.name == user.name)
        {
            let text = format!(
                "{:?} is taken by the user in line {} (rename one)",
                user.name, first.line
            );
            s.mistake_at(at, "name", &text);
        }
    }
    options.users = users.into_iter().map(|(user, _)| user).collect();
    if options.users.is_empty() && options.anonymous.is_none() && !s.has("user") {
        s.mistake(
            "user",
            "is missing: nobody could log in (add a [[receive.user]])",
        );
    }
    section.finish();
    Some(Read { options, folders })
}

fn options(s: &mut Section<'_>, env: &Env<'_>, device: &str) -> ReceiveOptions {
    let implicit: Addresses = s.get("listen_implicit").unwrap_or_default();
    let listen = s
        .get("listen")
        .unwrap_or_else(|| match implicit.0.is_empty() {
            true => Addresses(vec![LISTEN]),
            false => Addresses::default(),
        });
    if listen.0.is_empty() && implicit.0.is_empty() {
        s.mistake(
            "listen",
            "is an empty list: nobody could connect (leave it out)",
        );
    }
    let tls = s.get("tls").unwrap_or_default();
    let sessions = s.number("max_sessions", 1..=SESSIONS_MAX).unwrap_or(200);
    let options = ReceiveOptions {
        server_name: device.to_owned(),
        listen: listen.0,
        listen_implicit: implicit.0,
        tls,
        certificate: certs::server(s, env),
        passive_ports: passive_ports(s),
        external_address: s.get("external_address"),
        max_sessions: sessions,
        sessions_per_user: s
            .number("sessions_per_user", 1..=SESSIONS_MAX)
            .unwrap_or(sessions),
        sessions_per_address: s
            .number("sessions_per_address", 1..=SESSIONS_MAX)
            .unwrap_or(sessions.min(PER_ADDRESS)),
        login_timeout: s.span("login_timeout").unwrap_or(LOGIN_TIMEOUT),
        idle_timeout: s.span("idle_timeout").unwrap_or(IDLE_TIMEOUT),
        stall_timeout: s.span("stall_timeout").unwrap_or(STALL_TIMEOUT),
        require_close_notify: s.get("require_close_notify").unwrap_or_default(),
        lockout: lockout(s),
        users: Vec::new(),
        anonymous: None,
        on_received: on_received(s, env),
    };
    check_tls(s, &options);
    options
}

fn check_tls(s: &Section<'_>, options: &ReceiveOptions) {
    if options.tls != TlsUse::None {
        return;
    }
    s.warning("tls", "\"none\": passwords and files travel in clear text");
    for key in [
        "cert_file",
        "key_file",
        "listen_implicit",
        "require_close_notify",
    ] {
        if s.has(key) {
            s.mistake(key, "needs TLS, but tls is \"none\" (remove one of them)");
        }
    }
}

fn user(
    mut section: Section<'_>,
    env: &Env<'_>,
    folders: &mut Vec<(Folder, Places)>,
) -> (User, Places) {
    let s = &mut section;
    let name = s.required("name", "camera");
    if name.chars().any(char::is_control) {
        s.bad("name", &name, "contains control characters");
    }
    let password = password(s, env);
    let own = self::folders(s, env);
    let user = User {
        name,
        password,
        folders: own.iter().map(|(folder, _)| folder.clone()).collect(),
        permissions: permissions(s),
        quota: quota(s),
        from: s.get::<Networks>("from").unwrap_or_default().0,
    };
    folders.extend(own);
    (user, section.finish())
}

fn anonymous(mut section: Section<'_>, env: &Env<'_>, folders: &mut Vec<(Folder, Places)>) -> User {
    let s = &mut section;
    let own = self::folders(s, env);
    let user = User {
        name: "anonymous".to_owned(),
        password: PasswordHash::Plain(Secret::from("")),
        folders: own.iter().map(|(folder, _)| folder.clone()).collect(),
        permissions: permissions(s),
        quota: quota(s),
        from: s.get::<Networks>("from").unwrap_or_default().0,
    };
    if user.from.is_empty() {
        s.warning("from", "is not set: anybody may come in without a password");
    }
    folders.extend(own);
    section.finish();
    user
}

/// A hash, or one of the keys that a server's password has as well.
fn password(s: &mut Section<'_>, env: &Env<'_>) -> PasswordHash {
    let hash: Option<Secret> = s.get("password_hash");
    let nobody = PasswordHash::Plain(Secret::from(""));
    let written = password::KEYS.into_iter().find(|key| s.has(key));
    let plain = password::read(s, env);
    match (hash, written) {
        (Some(_), Some(key)) => {
            s.mistake(key, "and password_hash are both set (keep one of them)");
            nobody
        }
        (Some(hash), None) => {
            let text = std::str::from_utf8(hash.expose()).unwrap_or_default();
            PasswordHash::parse(text).unwrap_or_else(|problem| {
                s.mistake("password_hash", &problem.to_string());
                nobody
            })
        }
        (None, Some(_)) => match plain {
            Ok(Some(secret)) => PasswordHash::Plain(secret),
            _ => nobody,
        },
        (None, None) => {
            if !s.has("password_hash") {
                s.mistake(
                    "password_hash",
                    "is missing (make one with `edgespool receive passwd`)",
                );
            }
            nobody
        }
    }
}

/// The user's root and the folders in it, each with its place in the file.
fn folders(s: &mut Section<'_>, env: &Env<'_>) -> Vec<(Folder, Places)> {
    let mut folders = Vec::new();
    if let Some(target) = target(s, env) {
        folders.push((Vec::new(), target, s.places().clone()));
    }
    for (name, mut section) in s.entries("folders") {
        let usable = !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
        if !usable || name.chars().any(|c| c.is_control() || c == '/') {
            section.mistake_here(&format!(
                "{name:?} is no name for a folder (one part of a path)"
            ));
        }
        let target = target(&mut section, env);
        if target.is_none() && !section.has("watch") && !section.has("dir") {
            section.mistake_here("needs a watch or a dir (as in { watch = \"camera\" })");
        }
        let at = section.finish();
        folders.extend(target.map(|target| (name.into_bytes(), target, at)));
    }
    if folders.is_empty() && !["watch", "dir", "folders"].iter().any(|key| s.has(key)) {
        s.mistake(
            "watch",
            "is missing (write watch = \"camera\", or dir = \"/data/in\")",
        );
    }
    let folder = |(name, target, at)| (Folder { name, target }, at);
    folders.into_iter().map(folder).collect()
}

/// What `watch` or `dir` say.
fn target(s: &mut Section<'_>, env: &Env<'_>) -> Option<Target> {
    let watch: Option<String> = s.get("watch");
    let shown = s.get::<String>("dir").unwrap_or_default();
    let dir = s.path("dir");
    if s.has("watch") && s.has("dir") {
        s.mistake("dir", "and watch are both set (keep one of them)");
        return None;
    }
    if let Some(watch) = watch {
        return Some(Target::Lane(watch));
    }
    let dir = dir?;
    match files::meta(env.fs, &dir) {
        Ok(meta) if meta.kind == Kind::Dir => {}
        Ok(_) => s.bad("dir", &shown, "is not a directory (correct the path)"),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            s.bad(
                "dir",
                &shown,
                "does not exist (create it, or correct the path)",
            );
        }
        Err(e) => s.bad("dir", &shown, &format!("cannot be reached: {e}")),
    }
    Some(Target::Dir(dir))
}

fn permissions(s: &mut Section<'_>) -> Permissions {
    let Some(words) = s.get::<Vec<String>>("permissions") else {
        return Permissions::UPLOAD;
    };
    let mut p = Permissions {
        upload: false,
        ..Permissions::UPLOAD
    };
    for word in words {
        match word.as_str() {
            "upload" => p.upload = true,
            "overwrite" => p.overwrite = true,
            "list" => p.list = true,
            "read" => p.read = true,
            "delete" => p.delete = true,
            "rename" => p.rename = true,
            "mkdir" => p.mkdir = true,
            "all" => p = Permissions::ALL,
            _ => {
                let remedy = match nearest(&word, PERMISSIONS) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known are {}", PERMISSIONS.join(", ")),
                };
                s.bad(
                    "permissions",
                    &word,
                    &format!("is no permission ({remedy})"),
                );
            }
        }
    }
    p
}

fn quota(s: &mut Section<'_>) -> Quota {
    let Some(mut table) = s.table("quota") else {
        return Quota::default();
    };
    let quota = Quota {
        max_bytes: table
            .get::<crate::base::ByteSize>("max_size")
            .map(|size| size.0),
        max_files: table
            .number::<i64>("max_files", 1..=i64::MAX)
            .and_then(|n| u64::try_from(n).ok()),
        warn_percent: Some(table.get::<Percent>("warn").unwrap_or(Percent(80)).0),
    };
    if !table.has("max_size") && !table.has("max_files") {
        table.mistake(
            "max_size",
            "is missing (set max_size or max_files, or remove the quota)",
        );
    }
    if quota.max_bytes == Some(0) {
        table.mistake("max_size", "must be larger than 0");
    }
    table.finish();
    quota
}

fn lockout(s: &mut Section<'_>) -> Lockout {
    let mut lockout = Lockout {
        failures: 10,
        time: Duration::from_secs(600),
    };
    if let Some(mut table) = s.table("lockout") {
        lockout.failures = table
            .number("failures", 0..=1_000_000)
            .unwrap_or(lockout.failures);
        lockout.time = table.span("time").unwrap_or(lockout.time);
        table.finish();
    }
    lockout
}

fn passive_ports(s: &mut Section<'_>) -> Option<(u16, u16)> {
    let text: String = s.get("passive_ports")?;
    let ports = text.split_once('-').and_then(|(first, last)| {
        let port = |text: &str| text.trim().parse::<u16>().ok();
        Some((port(first)?, port(last)?))
    });
    match ports {
        Some((first, last)) if first >= 1024 && first <= last => Some((first, last)),
        _ => {
            let what = "is no range of ports from 1024 on (as in \"50000-50100\")";
            s.bad("passive_ports", &text, what);
            None
        }
    }
}

fn on_received(s: &mut Section<'_>, env: &Env<'_>) -> Option<Vec<String>> {
    let command: Vec<String> = s.get("on_received")?;
    let Some(program) = command.first() else {
        s.mistake(
            "on_received",
            "is an empty list (write [\"/path/to/program\", \"{path}\"])",
        );
        return None;
    };
    if !program.starts_with('/') {
        s.bad(
            "on_received",
            program,
            "must be a program's absolute path (no shell is asked)",
        );
    } else if let Err(e) = files::meta(env.fs, Path::new(program)) {
        s.bad("on_received", program, &format!("cannot be found: {e}"));
    }
    Some(command)
}

/// One address, or a list of them.
#[derive(Default)]
struct Addresses(Vec<SocketAddr>);

impl Value for Addresses {
    fn read(value: &DeValue<'_>) -> Result<Addresses, String> {
        let Some(list) = value.as_array() else {
            return Ok(Addresses(vec![SocketAddr::read(value)?]));
        };
        let addresses = list.iter().map(|item| {
            let shown = item
                .get_ref()
                .as_str()
                .map_or_else(String::new, |t| format!("{t:?} "));
            SocketAddr::read(item.get_ref()).map_err(|problem| format!("{shown}{problem}"))
        });
        Ok(Addresses(addresses.collect::<Result<_, _>>()?))
    }
}

/// Networks, or single addresses.
#[derive(Default)]
struct Networks(Vec<IpNet>);

impl Value for Networks {
    fn read(value: &DeValue<'_>) -> Result<Networks, String> {
        let network = |text: &String| {
            let address = || text.parse().map(|address: std::net::IpAddr| address.into());
            text.parse().or_else(|_| address()).map_err(|_| {
                format!("{text:?} is no network or address (as in \"192.168.1.0/24\")")
            })
        };
        let texts = Vec::<String>::read(value)?;
        Ok(Networks(
            texts.iter().map(network).collect::<Result<_, _>>()?,
        ))
    }
}

/// `80%`.
struct Percent(u8);

impl Value for Percent {
    fn read(value: &DeValue<'_>) -> Result<Percent, String> {
        let text = value.as_str().unwrap_or_default();
        let number = text.strip_suffix('%').and_then(|n| n.trim().parse().ok());
        match number {
            Some(n @ 1..=100) => Ok(Percent(n)),
            _ => Err("is no percentage (as in \"80%\")".to_owned()),
        }
    }
}

impl Value for Ipv4Addr {
    fn read(value: &DeValue<'_>) -> Result<Ipv4Addr, String> {
        let text = value.as_str().unwrap_or_default();
        text.parse()
            .map_err(|_| "is no IPv4 address (as in \"203.0.113.7\")".to_owned())
    }
}

impl Words for TlsUse {
    const WORDS: &'static [(&'static str, TlsUse)] = &[
        ("required", TlsUse::Required),
        ("optional", TlsUse::Optional),
        ("none", TlsUse::None),
    ];
}

const PERMISSIONS: [&str; 8] = [
    "upload",
    "overwrite",
    "list",
    "read",
    "delete",
    "rename",
    "mkdir",
    "all",
];

/// Port 2121, on every address: cameras are other machines.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 2121);

const SESSIONS_MAX: i64 = 10_000;
/// Sessions from one address, unless it is said otherwise: a gateway of
/// cameras, and not all sessions there are.
const PER_ADDRESS: usize = 50;
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
