//! A TCP connection, with or without TLS on it, of either side.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_rustls::TlsStream;
use rustls::CommonState;
use smol::io::{AsyncRead, AsyncWrite};

use super::{File, LocalFuture, Stream};

/// A TCP connection, real or simulated.
pub type Tcp = Box<dyn Stream>;

/// A TCP connection, or TLS on one. Closing it sends close_notify (with TLS),
/// all of it, and then shuts the sending side down; reading goes on.
pub enum Wire {
    /// TCP alone.
    Plain(Tcp),
    /// TLS on TCP.
    Tls(Box<TlsStream<Tcp>>),
}

impl Wire {
    /// The connection below.
    fn tcp(&self) -> &Tcp {
        match self {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The TLS on it.
    #[must_use]
    pub fn tls(&self) -> Option<&CommonState> {
        match self {
            Wire::Plain(_) => None,
            Wire::Tls(tls) => Some(tls.get_ref().1),
        }
    }

    /// Whether there is TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    /// Bytes that the peer has not acknowledged, where the system tells.
    #[must_use]
    pub fn unacked(&self) -> Option<u64> {
        self.tcp().unacked()
    }

    /// Our end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The other end.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// Sends a part of a file without reading it (see [`Stream::send_file`]); TLS
    /// has to see what it encrypts.
    #[must_use]
    pub fn send_file(
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
