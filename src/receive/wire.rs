//! A connection of a client, with or without TLS on it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_rustls::server::TlsStream;
use smol::io::{AsyncRead, AsyncWrite};

use crate::sys::{File, LocalFuture, Stream};

/// A TCP connection.
pub(super) type Tcp = Box<dyn Stream>;

/// A TCP connection, or TLS on one. Closing it sends close_notify (with TLS)
/// and then shuts the sending side down; reading goes on.
pub(super) enum Wire {
    /// TCP alone.
    Plain(Tcp),
    /// TLS on TCP.
    Tls(Box<TlsStream<Tcp>>),
    /// Nothing: while TLS begins or ends, and after that failed.
    Gone,
}

impl Wire {
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
            Wire::Tls(_) | Wire::Gone => None,
        }
    }

    /// Whether there is TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Wire::Tls(_))
    }
}

fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
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
            Wire::Gone => gone(),
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
            Wire::Gone => gone(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(context),
            Wire::Gone => gone(),
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(tcp) => Pin::new(tcp).poll_close(context),
            Wire::Tls(tls) => Pin::new(tls).poll_close(context),
            Wire::Gone => gone(),
        }
    }
}
