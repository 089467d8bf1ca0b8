//! The network.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use super::File;

/// A future that stays on its thread; the agent has one.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A TCP connection. Closing it ([`AsyncWrite`]'s close) shuts the sending side
/// down (FIN); what the peer still sends can be read. Dropping it ends it.
/// Nagle's algorithm is off and TCP keepalive is on.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Our end.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The other end.
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    /// Bytes that were written but that the peer has not acknowledged yet;
    /// `None` where nobody can tell.
    fn unacked(&self) -> Option<u64>;
    /// Lets the connection end with a reset (RST) when it is dropped: what is
    /// not sent yet is thrown away, and the peer sees a break, not an end.
    ///
    /// # Errors
    /// `Unsupported` where there is no such thing; dropping it then ends it as
    /// ever.
    fn reset_on_drop(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Sends up to `len` bytes of `file` from `offset` on, without a copy in
    /// our memory: waits until the connection takes some, and gives their
    /// number; 0 is the end of the file. `None`, or `Unsupported`, where there
    /// is no such way: then read and write. Dropping the future does not take
    /// back what is being sent.
    fn send_file(
        &self,
        _file: &Arc<dyn File>,
        _offset: u64,
        _len: usize,
    ) -> Option<LocalFuture<'static, io::Result<usize>>> {
        None
    }
}

/// A listening socket, for active mode (PORT, EPRT).
pub trait Listener {
    /// Where it listens.
    fn local_addr(&self) -> io::Result<SocketAddr>;
    /// The next connection.
    fn accept(&self) -> LocalFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>>;
}

/// The network.
pub trait Net: Send + Sync {
    /// The addresses of a host, in the order in which to try them. A literal
    /// address is answered without asking anyone.
    fn resolve(&self, host: &str, port: u16) -> LocalFuture<'_, io::Result<Vec<SocketAddr>>>;
    /// Connects, within `limit`.
    fn connect(
        &self,
        addr: SocketAddr,
        limit: Duration,
    ) -> LocalFuture<'_, io::Result<Box<dyn Stream>>>;
    /// Listens; port 0 lets the system choose one.
    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>>;
}
