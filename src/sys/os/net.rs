//! The real network.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, Timer};
use socket2::{SockRef, TcpKeepalive};

use crate::sys::{File, Listener, LocalFuture, Net, Pool, Stream};

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
            Ok(Box::new(OsStream::new(socket.into(), &self.pool)?) as Box<dyn Stream>)
        })
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let socket = Async::<std::net::TcpListener>::bind(addr)?;
        Ok(Box::new(OsListener {
            socket: socket.into(),
            pool: self.pool.clone(),
        }))
    }
}

struct OsListener {
    socket: TcpListener,
    pool: Pool,
}

impl Listener for OsListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn accept(&self) -> LocalFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(async move {
            let (socket, peer) = self.socket.accept().await?;
            // FTP clients send ABOR as urgent data; out of band its last byte
            // would be lost.
            SockRef::from(&socket).set_out_of_band_inline(true)?;
            let stream = OsStream::new(socket, &self.pool)?;
            Ok((Box::new(stream) as Box<dyn Stream>, peer))
        })
    }
}

struct OsStream {
    socket: TcpStream,
    pool: Pool,
}

impl OsStream {
    fn new(socket: TcpStream, pool: &Pool) -> io::Result<OsStream> {
        let options = SockRef::from(&socket);
        options.set_tcp_nodelay(true)?;
        // Keeps the control connection's NAT entry alive during long transfers,
        // when nothing may be sent on it.
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(30));
        options.set_tcp_keepalive(&keepalive)?;
        let pool = pool.clone();
        Ok(OsStream { socket, pool })
    }
}

impl Stream for OsStream {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    fn unacked(&self) -> Option<u64> {
        super::outq::bytes(self.socket.as_fd())
    }

    fn reset_on_drop(&self) -> io::Result<()> {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))
    }

    fn send_file(
        &self,
        file: &Arc<dyn File>,
        offset: u64,
        len: usize,
    ) -> Option<LocalFuture<'static, io::Result<usize>>> {
        file.descriptor()?;
        let socket: Arc<Async<std::net::TcpStream>> = self.socket.clone().into();
        let (file, pool) = (file.clone(), self.pool.clone());
        Some(Box::pin(async move {
            loop {
                let (to, from) = (socket.clone(), file.clone());
                // On the pool, because it may have to wait for the disk.
                match pool.run(move || send_some(&to, &*from, offset, len)).await {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        socket.writable().await?;
                    }
                    result => return result,
                }
            }
        }))
    }
}

impl AsyncRead for OsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_read(context, buf)
    }
}

impl AsyncWrite for OsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(context)
    }
}

/// `sendfile(2)`, as long as the socket takes bytes.
fn send_some(
    to: &Async<std::net::TcpStream>,
    from: &dyn File,
    mut offset: u64,
    len: usize,
) -> io::Result<usize> {
    let Some(from) = from.descriptor() else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut sent = 0;
    while sent < len {
        let n = rustix::io::retry_on_intr(|| sendfile(to, from, Some(&mut offset), len - sent));
        match n {
            Ok(0) => break,
            Ok(n) => sent += n,
            Err(Errno::AGAIN) if has_room_soon(to) => {}
            // What was sent counts; the error comes again.
            Err(_) if sent > 0 => break,
            // Some filesystems have no pages to give.
            Err(Errno::INVAL | Errno::NOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}

/// A fast peer makes room at once. Waiting for that here, where it keeps a
/// thread for no time that matters, saves most of the changes of threads.
fn has_room_soon(socket: &Async<std::net::TcpStream>) -> bool {
    const SOON: Timespec = Timespec {
        tv_sec: 0,
        tv_nsec: 10_000_000,
    };
    let mut sockets = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut sockets, Some(&SOON)).is_ok_and(|ready| ready > 0)
}
