//! From the configuration to what the parts want.

use crate::config::{DataMode, IfExists, IfGone, MinTls, Publish, Server, Tls, Verify};
use crate::ftp::secret::Secret;
use crate::upload::{self, DataChoice, ServerOptions, TlsMode, VerifyMode};

/// How to deal with a server.
pub(crate) fn server_options(server: &Server) -> ServerOptions {
    let password = server.password.as_ref().map(|p| p.expose().to_vec());
    ServerOptions {
        name: server.name.clone(),
        host: server.host.clone(),
        port: server.port,
        tls: match server.tls {
            Tls::Explicit => TlsMode::Explicit,
            Tls::Implicit => TlsMode::Implicit,
            Tls::None => TlsMode::None,
        },
        user: server.user.clone().into_bytes(),
        password: Secret::new(password.unwrap_or_default()),
        ca_file: server.roots.as_ref().map(|roots| roots.file.clone()),
        pins: server.pins.clone(),
        client_cert: (server.client_cert.as_ref())
            .map(|own| (own.cert_file.clone(), own.key_file.clone())),
        min_tls: match server.min_tls {
            MinTls::V12 => upload::MinTls::V1_2,
            MinTls::V13 => upload::MinTls::V1_3,
        },
        data: data_choice(server.data),
        publish: match server.publish {
            Publish::Rename => upload::Publish::Rename,
            Publish::Direct => upload::Publish::Direct,
        },
        verify: match server.verify {
            Verify::Auto => VerifyMode::Auto,
            Verify::Hash => VerifyMode::Hash,
            Verify::Size => VerifyMode::Size,
            Verify::None => VerifyMode::None,
        },
        if_exists: match server.if_exists {
            IfExists::Overwrite => upload::IfExists::Overwrite,
            IfExists::KeepBoth => upload::IfExists::KeepBoth,
            IfExists::Skip => upload::IfExists::Skip,
        },
        if_gone: match server.if_gone {
            IfGone::Resend => upload::IfGone::Resend,
            IfGone::Delivered => upload::IfGone::Delivered,
        },
        mtime: server.mtime,
        connect_timeout: server.connect_timeout,
        stall_timeout: server.stall_timeout,
    }
}

fn data_choice(mode: DataMode) -> DataChoice {
    match mode {
        DataMode::Auto => DataChoice::Auto,
        DataMode::Epsv => DataChoice::Only(upload::DataMode::Epsv),
        DataMode::Pasv => DataChoice::Only(upload::DataMode::Pasv),
        DataMode::Eprt => DataChoice::Only(upload::DataMode::Eprt),
        DataMode::Port => DataChoice::Only(upload::DataMode::Port),
    }
}
