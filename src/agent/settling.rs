//! Settling: receipts are made durable in batches, then the entries leave.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::Agent;
use super::signal::Signal;
use crate::spool::{EntryId, Settlement};
use crate::supervisor::{Event, LaneId, SessionId};

/// One delivered entry on its way out.
pub(super) struct Leaving {
    pub(super) session: SessionId,
    pub(super) lane: LaneId,
    pub(super) settlement: Settlement,
}

/// Delivered entries whose receipts are not durable yet. The supervisor counts
/// them as in flight, a few for each session, so the row stays short.
pub(super) struct Settling {
    row: RefCell<VecDeque<Leaving>>,
    /// Entries that were pushed and are not settled yet.
    pending: Cell<usize>,
    signal: Signal,
}

impl Settling {
    pub(super) fn new() -> Settling {
        Settling {
            row: RefCell::default(),
            pending: Cell::new(0),
            signal: Signal::new(),
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.pending.get() > 0
    }

    pub(super) fn push(&self, leaving: Leaving) {
        self.pending.set(self.pending.get() + 1);
        self.row.borrow_mut().push_back(leaving);
        self.signal.wake();
    }
}

/// How long a disk that could not take a receipt is left alone.
const PAUSE: Duration = Duration::from_secs(2);

impl Agent {
    /// Settles for as long as it is polled.
    pub(super) async fn settle_all(self: Rc<Self>) {
        loop {
            let batch: Vec<Leaving> = self.settling.row.borrow_mut().drain(..).collect();
            if batch.is_empty() {
                self.settling.signal.wait().await;
                continue;
            }
            self.settle(batch).await;
        }
    }

    async fn settle(&self, batch: Vec<Leaving>) {
        let settlements: Vec<Settlement> = batch.iter().map(|l| l.settlement.clone()).collect();
        loop {
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
        self.tell(Event::EntryDelivered {
            session: leaving.session,
            lane: leaving.lane,
            key: leaving.settlement.id.place(),
        });
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
