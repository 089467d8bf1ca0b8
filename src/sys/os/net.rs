//! The real network.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Timer};
use socket2::{SockRef, TcpKeepalive};

use crate::sys::{Listener, LocalFuture, Net, Pool, Stream};

/// Sockets of this machine. Names are looked up on the pool, because the C
/// library's resolver blocks.
pub struct OsNet {
    pool: Pool,
}

impl OsNet {
    /// The network, with the threads that look names up.
    #[must_use]
    pub fn new(pool: Pool) -> OsNet {
        OsNet { pool }
    }
}

impl Net for OsNet {
    fn resolve(&self, host: &str, port: u16) -> LocalFuture<'_, io::Result<Vec<SocketAddr>>> {
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Box::pin(async move {
            if let Ok(ip) = host.parse() {
                return Ok(vec![SocketAddr::new(ip, port)]);
            }
            let lookup = move || {
                (host.as_str(), port)
                    .to_socket_addrs()
                    .map(Iterator::collect)
            };
            self.pool.run(lookup).await
        })
    }

    fn connect(
        &self,
        addr: SocketAddr,
        limit: Duration,
    ) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let connecting = Async::<std::net::TcpStream>::connect(addr);
            let socket = smol::future::or(connecting, async {
                Timer::after(limit).await;
                Err(io::ErrorKind::TimedOut.into())
            })
            .await?;
            Ok(Box::new(OsStream::new(socket.into())?) as Box<dyn Stream>)
        })
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let socket = Async::<std::net::TcpListener>::bind(addr)?;
        Ok(Box::new(OsListener(socket.into())))
    }
}

struct OsListener(TcpListener);

impl Listener for OsListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn accept(&self) -> LocalFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (socket, peer) = self.0.accept().await?;
            Ok((Box::new(OsStream::new(socket)?) as Box<dyn Stream>, peer))
        })
    }
}

struct OsStream(TcpStream);

impl OsStream {
    fn new(socket: TcpStream) -> io::Result<OsStream> {
        let options = SockRef::from(&socket);
        options.set_tcp_nodelay(true)?;
        // Keeps the control connection's NAT entry alive during long transfers,
        // when nothing may be sent on it.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(30));
        options.set_tcp_keepalive(&keepalive)?;
        Ok(OsStream(socket))
    }
}

impl Stream for OsStream {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.peer_addr()
    }

    fn unacked(&self) -> Option<u64> {
        super::outq::bytes(self.0.as_fd())
    }
}

impl AsyncRead for OsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, buf)
    }
}

impl AsyncWrite for OsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
