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
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use super::source::Source;
use super::wire::Wire;
use crate::sys::{Clock, LocalFuture, Mono};

/// Counts what moves.
pub(super) struct Meter {
    sent: Cell<u64>,
    moved: Cell<Mono>,
}

impl Meter {
    pub(super) fn new(now: Mono) -> Meter {
        Meter {
            sent: Cell::new(0),
            moved: Cell::new(now),
        }
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
/// sending side down.
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
            let n = poll_fn(|cx| Pin::new(&mut *wire.borrow_mut()).poll_write(cx, rest))
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
