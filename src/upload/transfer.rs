//! Moves the bytes of one file into a data connection.
//!
//! Everything here shares one [`Wire`] that is only borrowed within a poll:
//! one future writes, one reads (TLS tickets arrive while we write, and unread
//! ones turn the close into a reset that costs the file its tail), and one
//! watches that something moves.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use super::source::Source;
use super::wire::Wire;
use crate::sys::{Clock, LocalFuture, Mono};

/// Counts what moves, and says how much of it may.
pub(super) struct Meter {
    sent: Cell<u64>,
    allowed: Cell<u64>,
    moved: Cell<Mono>,
}

impl Meter {
    /// Begins to count. No more than `allowed` bytes are sent until
    /// [`Meter::allow_all`].
    pub(super) fn new(now: Mono, allowed: u64) -> Meter {
        Meter {
            sent: Cell::new(0),
            allowed: Cell::new(allowed),
            moved: Cell::new(now),
        }
    }

    /// The server takes the file: all of it may go. Whoever waits in [`send`]
    /// has to be polled again.
    pub(super) fn allow_all(&self) {
        self.allowed.set(u64::MAX);
    }

    /// Bytes that may be sent now.
    fn room(&self) -> u64 {
        self.allowed.get().saturating_sub(self.sent.get())
    }

    /// Bytes handed to the connection.
    pub(super) fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// Something moved, so the peer is alive.
    pub(super) fn touch(&self, now: Mono) {
        self.moved.set(now);
    }
}

/// Who is told of the progress, and who may slow it down.
pub(super) trait Pace {
    /// Called before `bytes` are written.
    fn throttle(&self, bytes: usize) -> Option<LocalFuture<'static, ()>>;
    /// `sent` bytes of this try are on their way.
    fn progress(&self, sent: u64);
}

/// Why the sending ended early.
#[derive(Debug)]
pub(super) enum SendError {
    /// Our own disk.
    Source(io::Error),
    /// The data connection.
    Wire(io::Error),
}

/// Writes all of `source`, then close_notify (all of it), then shuts the
/// sending side down. Where `meter` allows no more it is pending and wakes
/// nobody: poll it again after [`Meter::allow_all`].
pub(super) async fn send(
    wire: &RefCell<Wire>,
    source: &mut Source,
    clock: &dyn Clock,
    meter: &Meter,
    pace: &dyn Pace,
) -> Result<(), SendError> {
    let mut chunk = Vec::new();
    loop {
        source.next(&mut chunk).await.map_err(SendError::Source)?;
        if chunk.is_empty() {
            break;
        }
        if let Some(wait) = pace.throttle(chunk.len()) {
            wait.await;
            meter.touch(clock.mono());
        }
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let n = poll_fn(|cx| {
                let room = usize::try_from(meter.room()).unwrap_or(usize::MAX);
                let part = rest.get(..room).unwrap_or(rest);
                let mut wire = wire.borrow_mut();
                if part.is_empty() {
                    // What TLS still holds of the allowed bytes goes out.
                    return match Pin::new(&mut *wire).poll_flush(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                        _ => Poll::Pending,
                    };
                }
                Pin::new(&mut *wire).poll_write(cx, part)
            })
            .await
            .map_err(SendError::Wire)?;
            if n == 0 {
                return Err(SendError::Wire(io::ErrorKind::WriteZero.into()));
            }
            rest = rest.get(n..).unwrap_or_default();
            meter.sent.set(meter.sent.get() + n as u64);
            meter.touch(clock.mono());
            pace.progress(meter.sent());
        }
    }
    // Retried until done: on slow links the socket has no room for the
    // close_notify when all the data has just been written.
    poll_fn(|cx| Pin::new(&mut *wire.borrow_mut()).poll_close(cx))
        .await
        .map_err(SendError::Wire)
}

/// Reads the data connection to its end. A server sends no data on an upload,
/// so what comes is TLS's own, and anything else is dropped.
pub(super) async fn drain(wire: &RefCell<Wire>) {
    let mut dropped = [0; 512];
    loop {
        let read = poll_fn(|cx| Pin::new(&mut *wire.borrow_mut()).poll_read(cx, &mut dropped));
        match read.await {
            // A TCP end without close_notify is an error here, and an end.
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Ends when nothing moved for `limit`: no byte was taken by the connection,
/// acknowledged by the peer, or touched otherwise. A slow link empties a full
/// send buffer without any write for minutes; the acknowledgements show that.
pub(super) async fn stalled(
    wire: &RefCell<Wire>,
    clock: &dyn Clock,
    meter: &Meter,
    limit: Duration,
) {
    let mut unacked = wire.borrow().unacked();
    loop {
        clock.sleep_until(clock.mono().after(limit / 4)).await;
        let now_unacked = wire.borrow().unacked();
        if now_unacked < unacked {
            meter.touch(clock.mono());
        }
        unacked = now_unacked;
        if clock.mono().since(meter.moved.get()) >= limit {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsClock;
    use crate::sys::{File, Kind, Meta, Pool, Stream};
    use smol::future::poll_once;
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::task::Context;

    /// As many zeros as anyone reads.
    struct Zeros;

    impl File for Zeros {
        fn read_at(&self, buf: &mut [u8], _offset: u64) -> io::Result<usize> {
            buf.fill(0);
            Ok(buf.len())
        }
        fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn meta(&self) -> io::Result<Meta> {
            Ok(Meta {
                kind: Kind::File,
                dev: 0,
                ino: 0,
                size: u64::MAX,
                mtime_ns: 0,
                ctime_ns: 0,
                mode: 0,
                nlink: 1,
            })
        }
        fn set_len(&self, _len: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A connection that takes everything at once and counts it.
    #[derive(Default)]
    struct Sink {
        taken: Rc<Cell<usize>>,
        closed: Rc<Cell<bool>>,
    }

    impl Stream for Sink {
        fn local_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn peer_addr(&self) -> io::Result<SocketAddr> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn unacked(&self) -> Option<u64> {
            None
        }
    }

    impl AsyncRead for Sink {
        fn poll_read(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            _buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.taken.set(self.taken.get() + buf.len());
            Poll::Ready(Ok(buf.len()))
        }
        fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_close(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.closed.set(true);
            Poll::Ready(Ok(()))
        }
    }

    struct Free;

    impl Pace for Free {
        fn throttle(&self, _bytes: usize) -> Option<LocalFuture<'static, ()>> {
            None
        }
        fn progress(&self, _sent: u64) {}
    }

    /// What has gone out before the server took the file, and in the end.
    fn sent_before_and_after(size: u64, allowed: u64) -> (usize, usize) {
        let sink = Sink::default();
        let (taken, closed) = (sink.taken.clone(), sink.closed.clone());
        let wire = RefCell::new(Wire::Plain(Box::new(sink)));
        let mut source = Source::new(Arc::new(Zeros), Pool::inline(), (0, size), 1000, None);
        let meter = Meter::new(Mono::default(), allowed);
        smol::block_on(async {
            let sending = send(&wire, &mut source, &OsClock, &meter, &Free);
            let mut sending = std::pin::pin!(sending);
            let ended = poll_once(&mut sending).await.is_some();
            let before = taken.get();
            assert_eq!(ended, size <= allowed);
            assert_eq!(closed.get(), ended, "a close would be taken for the end");
            meter.allow_all();
            if !ended {
                sending.await.unwrap();
            }
            assert!(closed.get());
            (before, taken.get())
        })
    }

    #[test]
    fn no_more_than_allowed_goes_out_before_the_server_takes_the_file() {
        assert_eq!(sent_before_and_after(5000, 0), (0, 5000));
        assert_eq!(sent_before_and_after(5000, 2500), (2500, 5000));
        assert_eq!(sent_before_and_after(5000, 4999), (4999, 5000));
        assert_eq!(sent_before_and_after(5000, 5000), (5000, 5000));
    }
}
