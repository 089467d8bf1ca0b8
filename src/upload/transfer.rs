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
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use smol::io::{AsyncRead, AsyncWrite};

use super::source::{Source, shrank};
use super::wire::Wire;
use crate::sys::{Clock, LocalFuture, Mono};

/// Counts what moves, and says how much of it may.
pub(super) struct Meter {
    sent: Cell<u64>,
    allowed: Cell<u64>,
    moved: Cell<Mono>,
    patience: Cell<Duration>,
}

impl Meter {
    /// Begins to count. No more than `allowed` bytes are sent until
    /// [`Meter::allow_all`]; when nothing moves for `patience`, it is a stall.
    pub(super) fn new(now: Mono, allowed: u64, patience: Duration) -> Meter {
        Meter {
            sent: Cell::new(0),
            allowed: Cell::new(allowed),
            moved: Cell::new(now),
            patience: Cell::new(patience),
        }
    }

    /// Waits no longer than this from now on.
    pub(super) fn lose_patience(&self, patience: Duration) {
        self.patience.set(self.patience.get().min(patience));
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

/// What sending works with.
pub(super) struct Sending<'a> {
    pub(super) wire: &'a RefCell<Wire>,
    pub(super) clock: &'a dyn Clock,
    pub(super) meter: &'a Meter,
    pub(super) pace: &'a dyn Pace,
}

/// Writes all of `source`, then close_notify (all of it), then shuts the
/// sending side down. Where the meter allows no more it is pending and wakes
/// nobody: poll it again after [`Meter::allow_all`].
pub(super) async fn send(sending: Sending<'_>, source: &mut Source) -> Result<(), SendError> {
    sending.send_unseen(source).await?;
    let mut chunk = Vec::new();
    loop {
        source.next(&mut chunk).await.map_err(SendError::Source)?;
        if chunk.is_empty() {
            break;
        }
        sending.throttle(chunk.len()).await;
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let n = poll_fn(|cx| sending.poll_write(cx, rest)).await?;
            rest = rest.get(n..).unwrap_or_default();
            sending.count(n);
        }
    }
    // Retried until done: on slow links the socket has no room for the
    // close_notify when all the data has just been written.
    let wire = sending.wire;
    poll_fn(|cx| Pin::new(&mut *wire.borrow_mut()).poll_close(cx))
        .await
        .map_err(SendError::Wire)
}

impl Sending<'_> {
    /// Has the kernel send the file, as far as it can and nobody has to see it.
    async fn send_unseen(&self, source: &mut Source) -> Result<(), SendError> {
        let Some((file, mut offset, end)) = source.unseen() else {
            return Ok(());
        };
        let mut part_len = PACED_LEN;
        while offset < end {
            let mut granted = usize::try_from(end - offset).map_or(part_len, |n| n.min(part_len));
            // Where a rate is set, small parts keep the flow even.
            part_len = match self.throttle(granted).await {
                true => PACED_LEN,
                false => FREE_LEN,
            };
            while granted > 0 {
                let len = poll_fn(|_| self.poll_room(granted)).await;
                let sent = self.wire.borrow().send_file(&file, offset, len);
                let Some(sent) = sent else {
                    return Ok(());
                };
                let n = match sent.await {
                    Ok(0) => return Err(SendError::Source(shrank())),
                    Ok(n) => n,
                    Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
                    Err(error) if is_of_disk(&error) => return Err(SendError::Source(error)),
                    Err(error) => return Err(SendError::Wire(error)),
                };
                granted = granted.saturating_sub(n);
                offset += n as u64;
                source.skip_to(offset);
                self.count(n);
            }
        }
        Ok(())
    }

    /// Waits until `bytes` may be sent; whether there is a limit at all.
    async fn throttle(&self, bytes: usize) -> bool {
        let Some(wait) = self.pace.throttle(bytes) else {
            return false;
        };
        wait.await;
        self.meter.touch(self.clock.mono());
        true
    }

    fn count(&self, n: usize) {
        self.meter.sent.set(self.meter.sent() + n as u64);
        self.meter.touch(self.clock.mono());
        self.pace.progress(self.meter.sent());
    }

    /// How many of `wanted` bytes the meter allows; none are waited for.
    fn poll_room(&self, wanted: usize) -> Poll<usize> {
        match usize::try_from(self.meter.room()).map_or(wanted, |room| room.min(wanted)) {
            0 => Poll::Pending,
            room => Poll::Ready(room),
        }
    }

    fn poll_write(&self, context: &mut Context<'_>, rest: &[u8]) -> Poll<Result<usize, SendError>> {
        let mut wire = self.wire.borrow_mut();
        let Poll::Ready(room) = self.poll_room(rest.len()) else {
            // What TLS still holds of the allowed bytes goes out.
            return match Pin::new(&mut *wire).poll_flush(context) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(SendError::Wire(error))),
                _ => Poll::Pending,
            };
        };
        let part = rest.get(..room).unwrap_or(rest);
        let written = Pin::new(&mut *wire).poll_write(context, part);
        written.map(|written| match written {
            Ok(0) => Err(SendError::Wire(io::ErrorKind::WriteZero.into())),
            written => written.map_err(SendError::Wire),
        })
    }
}

/// Whether an error of a copy from disk to network is the disk's.
fn is_of_disk(error: &io::Error) -> bool {
    let of_disk = [Errno::IO, Errno::STALE, Errno::UCLEAN, Errno::NXIO];
    of_disk
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Bytes in one call to the kernel while a rate is set, or may be.
const PACED_LEN: usize = 64 << 10;

/// The same without one; a socket buffer takes no more at once.
const FREE_LEN: usize = 4 << 20;

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

/// Ends when nothing moved for as long as the meter has patience: no byte was
/// taken by the connection, acknowledged by the peer, or touched otherwise. A
/// slow link empties a full send buffer without any write for minutes; the
/// acknowledgements show that.
pub(super) async fn stalled(wire: &RefCell<Wire>, clock: &dyn Clock, meter: &Meter) {
    let mut unacked = wire.borrow().unacked();
    loop {
        let look = (meter.patience.get() / 4).min(LOOK_MAX);
        clock.sleep_until(clock.mono().after(look)).await;
        let now_unacked = wire.borrow().unacked();
        if now_unacked < unacked {
            meter.touch(clock.mono());
        }
        unacked = now_unacked;
        if clock.mono().since(meter.moved.get()) >= meter.patience.get() {
            return;
        }
    }
}

/// The longest time between two looks at a transfer.
const LOOK_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsClock;
    use crate::sys::{File, Kind, Meta, Pool, Stream};
    use smol::future::poll_once;
    use std::net::SocketAddr;
    use std::rc::Rc;
    use std::sync::Arc;

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
        /// The kernel copies, in parts of at most so many bytes.
        copies: Option<usize>,
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
        fn send_file(
            &self,
            _file: &Arc<dyn File>,
            offset: u64,
            len: usize,
        ) -> Option<LocalFuture<'static, io::Result<usize>>> {
            let (n, taken) = (len.min(self.copies?), self.taken.clone());
            assert_eq!(offset, taken.get() as u64, "each byte once, in order");
            Some(Box::pin(async move {
                taken.set(taken.get() + n);
                Ok(n)
            }))
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
    fn sent_before_and_after(copies: Option<usize>, size: u64, allowed: u64) -> (usize, usize) {
        let sink = Sink {
            copies,
            ..Sink::default()
        };
        let (taken, closed) = (sink.taken.clone(), sink.closed.clone());
        let wire = RefCell::new(Wire::Plain(Box::new(sink)));
        let mut source = Source::new(Arc::new(Zeros), Pool::inline(), (0, size), 1000, None);
        let meter = Meter::new(Mono::default(), allowed, Duration::MAX);
        smol::block_on(async {
            let sending = Sending {
                wire: &wire,
                clock: &OsClock,
                meter: &meter,
                pace: &Free,
            };
            let sending = send(sending, &mut source);
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
        for copies in [None, Some(70_001)] {
            for allowed in [0, 2500, 64 << 10, 299_999, 300_000] {
                let before = usize::try_from(allowed).unwrap();
                assert_eq!(
                    sent_before_and_after(copies, 300_000, allowed),
                    (before, 300_000)
                );
            }
        }
    }
}
