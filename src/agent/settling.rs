//! Settling: receipts are made durable in batches, then the entries leave.
//!
//! A flush costs the disk far more than a receipt does, so while a session is
//! busy its receipts wait a moment for each other. Nothing is lost by that: the
//! next start looks at the server before it sends what has no receipt.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::Agent;
use super::signal::Signal;
use crate::spool::{EntryId, Settlement};

/// One delivered entry on its way out.
pub(super) struct Leaving {
    pub(super) settlement: Settlement,
}

/// Delivered entries whose receipts are not durable yet. The supervisor counts
/// them as gone; nothing new is fetched while the row is full.
pub(super) struct Settling {
    row: RefCell<VecDeque<Leaving>>,
    /// Entries that were pushed and are not settled yet.
    pending: Cell<usize>,
    signal: Signal,
    room: Signal,
}

impl Settling {
    pub(super) fn new() -> Settling {
        Settling {
            row: RefCell::default(),
            pending: Cell::new(0),
            signal: Signal::new(),
            room: Signal::new(),
        }
    }

    /// What the loop waits for.
    pub(super) fn signal(&self) -> &Signal {
        &self.signal
    }

    pub(super) fn is_busy(&self) -> bool {
        self.pending.get() > 0
    }

    /// Ends when there is room for one more.
    pub(super) async fn has_room(&self) {
        if self.pending.get() < PENDING_MAX {
            return;
        }
        while self.pending.get() >= PENDING_MAX {
            self.room.wait().await;
        }
        // One wake-up is remembered, and others may wait as well.
        self.room.wake();
    }

    pub(super) fn push(&self, leaving: Leaving) {
        self.pending.set(self.pending.get() + 1);
        self.row.borrow_mut().push_back(leaving);
        self.signal.wake();
    }
}

/// Delivered entries without a receipt, at most. It bounds what the next start
/// has to ask the server about, and the memory.
const PENDING_MAX: usize = 128;
/// So many do not wait for more.
const BATCH: usize = PENDING_MAX / 2;
/// How long the first of a batch waits for others.
const LINGER: Duration = Duration::from_millis(100);
/// How long a disk that could not take a receipt is left alone.
const PAUSE: Duration = Duration::from_secs(2);

impl Agent {
    /// Settles for as long as it is polled.
    pub(super) async fn settle_all(self: Rc<Self>) {
        loop {
            self.gather().await;
            let batch: Vec<Leaving> = self.settling.row.borrow_mut().drain(..).collect();
            self.settle(batch).await;
            self.settling.room.wake();
        }
    }

    /// Waits for a batch worth a flush; the last entries of a run wait for none.
    async fn gather(&self) {
        let settling = &self.settling;
        while settling.row.borrow().is_empty() {
            self.pulse.settling.turn();
            settling.signal.wait().await;
        }
        let due = self.sys.clock.mono().after(LINGER);
        let more_comes = || !self.stopping.get() && !self.state.borrow().is_drained();
        while settling.row.borrow().len() < BATCH && more_comes() && self.sys.clock.mono() < due {
            self.pulse.settling.turn();
            smol::future::or(settling.signal.wait(), self.sys.clock.sleep_until(due)).await;
        }
    }

    async fn settle(&self, batch: Vec<Leaving>) {
        let settlements: Vec<Settlement> = batch.iter().map(|l| l.settlement.clone()).collect();
        loop {
            self.pulse.settling.turn();
            let again = settlements.clone();
            let done = self.spool.with(move |spool| spool.settle(&again)).await;
            match done {
                Ok(()) => break,
                Err(e) if e.is_full() => {
                    log::error!("spool: no room for a receipt: {e} (make room on its disk)");
                    let later = self.sys.clock.mono().after(PAUSE);
                    self.sys.clock.sleep_until(later).await;
                }
                Err(e) => {
                    self.spool_failed(&e.to_string());
                    return;
                }
            }
        }
        self.archive_soon();
        let pending = &self.settling.pending;
        pending.set(pending.get().saturating_sub(batch.len()));
        for leaving in batch {
            self.settled(&leaving);
        }
    }

    fn settled(&self, leaving: &Leaving) {
        let receipt = &leaving.settlement.receipt;
        self.release(leaving.settlement.id);
        let (files, bytes) = self.delivered.get();
        self.delivered.set((files + 1, bytes + receipt.size));
        self.outcome.borrow_mut().delivered += 1;
        self.full_since.set(None);
        if let Some(slot) = self.server_named(&receipt.server) {
            slot.last_error.take();
        }
        self.progressed();
        self.signal.wake();
    }

    /// Others may take the entry again.
    pub(super) fn release(&self, id: EntryId) {
        self.in_hand.borrow_mut().remove(&id);
    }

    /// The spool can promise nothing any more: end, and let the next start
    /// look at what is there.
    pub(super) fn spool_failed(&self, why: &str) {
        log::error!("spool: {why}; stopping, because nothing more can be promised");
        self.outcome
            .borrow_mut()
            .spool_failed
            .get_or_insert_with(|| why.to_owned());
        self.stop();
    }
}
