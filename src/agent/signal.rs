//! Wakes a loop that waits for something to do.

use smol::channel::{Receiver, Sender, bounded};

/// Remembers one wake-up: many at once are as good as one.
#[derive(Clone)]
pub(crate) struct Signal {
    sender: Sender<()>,
    receiver: Receiver<()>,
}

impl Signal {
    pub(crate) fn new() -> Signal {
        let (sender, receiver) = bounded(1);
        Signal { sender, receiver }
    }

    /// Wakes the loop, now or when it next waits.
    pub(crate) fn wake(&self) {
        // Full means that a wake-up is already remembered.
        let _remembered = self.sender.try_send(());
    }

    /// Ends at the next wake-up, or at once if one is remembered.
    pub(crate) async fn wait(&self) {
        // Both ends live in this value, so the channel is never closed.
        let _woken = self.receiver.recv().await;
    }
}

/// Says to everyone, once and for good, that the agent stops.
pub(crate) struct Stopped(Signal);

impl Stopped {
    pub(crate) fn new() -> Stopped {
        Stopped(Signal::new())
    }

    /// Says it.
    pub(crate) fn close(&self) {
        self.0.receiver.close();
    }

    /// Ends when it is said.
    pub(crate) async fn wait_closed(&self) {
        // Nothing is ever sent; only closing ends this.
        let _closed = self.0.receiver.recv().await;
    }
}
