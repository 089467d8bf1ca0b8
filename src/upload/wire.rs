//! What a client wants to know of the TLS on a connection.

use rustls::{CommonState, HandshakeKind, ProtocolVersion};

pub(super) use crate::sys::{Tcp, Wire};

/// Whether the TLS session of an earlier connection was resumed.
pub(super) fn resumed(wire: &Wire) -> bool {
    wire.tls().and_then(CommonState::handshake_kind) == Some(HandshakeKind::Resumed)
}

/// Whether it is TLS 1.3.
pub(super) fn is_tls13(wire: &Wire) -> bool {
    wire.tls().and_then(CommonState::protocol_version) == Some(ProtocolVersion::TLSv1_3)
}

/// The TLS version and cipher suite, to show.
pub(super) fn describe_tls(wire: &Wire) -> String {
    let Some(tls) = wire.tls() else {
        return "no TLS: everything is sent in clear text".to_owned();
    };
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    match tls.negotiated_cipher_suite() {
        Some(suite) => format!("{version}, {:?}", suite.suite()),
        None => version.to_owned(),
    }
}
