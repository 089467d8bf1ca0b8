//! A connection, with or without TLS on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_rustls::client::TlsStream;
use rustls::{HandshakeKind, ProtocolVersion};
use smol::io::{AsyncRead, AsyncWrite};

use super::tls::Tcp;
use crate::sys::{File, LocalFuture};

/// A TCP connection, or TLS on one. Closing it sends close_notify (with TLS),
/// all of it, and then shuts the sending side down; reading goes on.
pub(super) enum Wire {
    /// TCP alone.
    Plain(Tcp),
    /// TLS on TCP.
    Tls(Box<TlsStream<Tcp>>),
}

impl Wire {
    fn tcp(&self) -> &Tcp {
        match self {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Bytes that the peer has not acknowledged, where the system tells.
    pub(super) fn unacked(&self) -> Option<u64> {
        self.tcp().unacked()
    }

    /// Sends a part of a file without reading it (see `Stream::send_file`); TLS
    /// has to see what it encrypts.
    pub(super) fn send_file(
        &self,
        file: &Arc<dyn File>,
        offset: u64,
        len: usize,
    ) -> Option<LocalFuture<'static, io::Result<usize>>> {
        match self {
            Wire::Plain(tcp) => tcp.send_file(file, offset, len),
            Wire::Tls(_) => None,
        }
    }

    /// Our end.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The other end.
    pub(super) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Whether there is TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Wire::Tls(_))
    }

    /// Whether the TLS session of an earlier connection was resumed.
    pub(super) fn resumed(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(tls) => tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// Whether it is TLS 1.3.
    pub(super) fn is_tls13(&self) -> bool {
        match self {
            Wire::Plain(_) => false,
            Wire::Tls(tls) => tls.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3),
        }
    }

    /// The TLS version and cipher suite, to show.
    pub(super) fn describe(&self) -> String {
        let Wire::Tls(tls) = self else {
            return "no TLS: everything is sent in clear text".to_owned();
        };
        let session = tls.get_ref().1;
        let version = match session.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        match session.negotiated_cipher_suite() {
            Some(suite) => format!("{version}, {:?}", suite.suite()),
            None => version.to_owned(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_read(context, buf),
            Wire::Tls(tls) => Pin::new(tls).poll_read(context, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_write(context, buf),
            Wire::Tls(tls) => Pin::new(tls).poll_write(context, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_close(context),
            Wire::Tls(tls) => Pin::new(tls).poll_close(context),
        }
    }
}
