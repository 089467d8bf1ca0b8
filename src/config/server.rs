//! `[[server]]`: one destination.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::ServerName;

use super::choice::Tls;
use super::env::Env;
use super::names::check_name;
use super::section::{Places, Section};
use super::types::Server;
use super::{certs, password};

/// Reads one `[[server]]`; after a mistake the values mean nothing.
pub(super) fn read(mut section: Section<'_>, env: &Env<'_>) -> (Server, Places) {
    let s = &mut section;
    let name = s.required("name", "central");
    check_name(s, &name);
    let host = host(s);
    let tls: Tls = s.get("tls").unwrap_or_default();
    let port = s.number("port", 1..=65_535).unwrap_or(match tls {
        Tls::Implicit => 990,
        Tls::Explicit | Tls::None => 21,
    });
    let user = s.required("user", "anonymous");
    if user.contains(['\r', '\n', '\0']) {
        s.mistake(
            "user",
            "contains a line end or a NUL (write it on one line)",
        );
    }
    let server = Server {
        name,
        host,
        port,
        tls,
        password: password::read(s, env).unwrap_or_default(),
        user,
        roots: certs::roots(s, env),
        pins: certs::pins(s),
        client_cert: certs::client(s, env),
        min_tls: s.get("min_tls").unwrap_or_default(),
        data: s.get("data").unwrap_or_default(),
        connections: s.number("connections", 1..=64).unwrap_or(1),
        publish: s.get("publish").unwrap_or_default(),
        verify: s.get("verify").unwrap_or_default(),
        if_exists: s.get("if_exists").unwrap_or_default(),
        if_gone: s.get("if_gone").unwrap_or_default(),
        mtime: s.get("mtime").unwrap_or(true),
        connect_timeout: s.span("connect_timeout").unwrap_or(CONNECT_TIMEOUT),
        stall_timeout: s.span("stall_timeout").unwrap_or(STALL_TIMEOUT),
        fallback: s.get("fallback").unwrap_or_default(),
    };
    check_security(s, &server);
    (server, section.finish())
}

/// The host, without the brackets of an IPv6 address.
fn host(section: &mut Section<'_>) -> String {
    let host = section.required("host", "ftp.example.com");
    if host.contains(['/', '@']) {
        // Not shown: a URL may hold a password.
        section.mistake(
            "host",
            "must be the name or address alone (user, port and directory have their own keys)",
        );
        return String::new();
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let bare = bare.unwrap_or(&host);
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() || ServerName::try_from(bare).is_ok() {
        return bare.to_owned();
    }
    match host.rsplit_once(':') {
        Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            section.bad(
                "host",
                &host,
                &format!("names a port (write port = {port})"),
            );
        }
        _ => section.bad("host", &host, "is neither a host name nor an address"),
    }
    String::new()
}

fn check_security(section: &Section<'_>, server: &Server) {
    if server.tls == Tls::None {
        section.warning(
            "tls",
            "\"none\": the password and the files travel in clear text",
        );
        for key in [
            "pin_sha256",
            "ca_file",
            "client_cert",
            "client_key",
            "min_tls",
        ] {
            if section.has(key) {
                section.mistake(key, "needs TLS, but tls is \"none\" (remove one of them)");
            }
        }
    }
    let has_password = password::KEYS.into_iter().any(|key| section.has(key));
    let has_cert = section.has("client_cert");
    if !has_password && !has_cert && !server.user.is_empty() && server.user != "anonymous" {
        section.mistake(
            "password",
            "is missing (write one of password_file, password_env, password_credential, password)",
        );
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
