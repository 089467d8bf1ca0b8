//! The agent without a receiver, in a build without the feature `receive`.

use std::cell::Cell;
use std::rc::Rc;

use super::Agent;
use crate::status::report::ReceiverReport;

/// What the agent knows of its receiver: that there is none.
pub(super) struct Receiving {
    /// Files and bytes since the start, of an agent before this one.
    pub(super) received: Cell<(u64, u64)>,
}

impl Receiving {
    pub(super) fn new() -> Receiving {
        Receiving {
            received: Cell::default(),
        }
    }

    #[allow(clippy::unused_self)]
    pub(super) fn is_busy(&self) -> bool {
        false
    }

    pub(super) fn report(&self) -> ReceiverReport {
        let (files, bytes) = self.received.get();
        ReceiverReport {
            addresses: Vec::new(),
            sessions: 0,
            files,
            bytes,
            fingerprint: None,
            last_error: None,
        }
    }
}

#[allow(clippy::unused_self)]
impl Agent {
    pub(super) fn start_receiving(self: &Rc<Self>) {}

    pub(super) fn stop_receiving(&self) {}
}
