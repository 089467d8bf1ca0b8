//! The session store of one control connection.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use heapless::Deque;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

/// Holds the sessions that the data connections of one control connection may
/// resume. All of them go to one host, so the server name is not looked at.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Held>);

#[derive(Default)]
struct Held {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: Deque<Tls13ClientSessionValue, TICKETS_MAX>,
    /// A TLS 1.3 ticket has come.
    given: bool,
    /// One has come after one was spent: those of the control connection come
    /// before, so this was for a data connection.
    renewed: bool,
    spent: bool,
}

impl Tickets {
    /// How many more connections can resume; TLS 1.2 sessions never run out.
    pub(super) fn resumable(&self) -> usize {
        let held = self.held();
        if held.tls12.is_some() {
            usize::MAX
        } else {
            held.tls13.len()
        }
    }

    /// Whether there were tickets, and all are spent.
    pub(super) fn are_spent(&self) -> bool {
        let held = self.held();
        held.given && held.tls12.is_none() && held.tls13.is_empty()
    }

    /// Whether the server makes up for the tickets that are spent.
    pub(super) fn are_renewed(&self) -> bool {
        self.held().renewed
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tickets({})", self.resumable())
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _server: ServerName<'static>, group: NamedGroup) {
        self.held().group = Some(group);
    }

    fn kx_hint(&self, _server: &ServerName<'_>) -> Option<NamedGroup> {
        self.held().group
    }

    fn set_tls12_session(&self, _server: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.held().tls12 = Some(value);
    }

    fn tls12_session(&self, _server: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.held().tls12.clone()
    }

    fn remove_tls12_session(&self, _server: &ServerName<'static>) {
        self.held().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _server: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut held = self.held();
        held.given = true;
        held.renewed |= held.spent;
        if held.tls13.is_full() {
            held.tls13.pop_front();
        }
        let _room_was_made = held.tls13.push_back(value);
    }

    fn take_tls13_ticket(&self, _server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        // The newest: the oldest ones are the first that a server forgets.
        let mut held = self.held();
        let ticket = held.tls13.pop_back();
        held.spent |= ticket.is_some();
        ticket
    }
}

/// Servers hand out one or two at a time; more are of no use.
const TICKETS_MAX: usize = 8;
