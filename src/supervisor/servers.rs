//! Servers: their health, and what may be asked of them.

use super::events::ServerId;
use super::health::Fault;
use crate::schedule::{Backoff, RetryOptions};
use crate::sys::Mono;

/// What the configuration says about a server.
#[derive(Clone, Debug)]
pub struct ServerRules {
    /// Sessions at most; at least one is allowed.
    pub connections: u8,
    /// The servers that stand in for it, in order.
    pub fallback: Vec<ServerId>,
}

/// A server as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Sessions that are open or being opened.
    pub sessions: u8,
    /// Entries in their hands.
    pub in_flight: usize,
    /// What is wrong with it, if something is.
    pub trouble: Option<Fault>,
    /// When it is tried again.
    pub next_try: Option<Mono>,
}

/// Whether a server can take an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// It can, or a session may be opened.
    Ready,
    /// It had one failure and is tried again soon: not worth another server.
    Resting,
    /// It is down, full or refuses the login.
    Away,
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) rules: ServerRules,
    /// Sessions that have logged in.
    pub(super) open: u8,
    /// Sessions on their way.
    pub(super) opening: u8,
    backoff: Backoff,
    trouble: Option<Trouble>,
    data_faults: u8,
}

/// What outlives a state: the health of a server.
#[derive(Clone, Debug)]
pub struct ServerMemory {
    backoff: Backoff,
    trouble: Option<Trouble>,
}

#[derive(Clone, Copy, Debug)]
struct Trouble {
    fault: Fault,
    until: Mono,
    /// Whether fallback servers take over.
    away: bool,
}

/// So many failures in a row make a server count as down. One alone may be a cut
/// in the middle of a file, which is best continued where it is.
const FAILURES_TO_BE_AWAY: u32 = 2;
/// Data connections may fail so often in a row: the first is retried at once in
/// another mode.
const DATA_FAULTS_FREE: u8 = 1;

impl Server {
    pub(super) fn new(rules: ServerRules, retry: RetryOptions) -> Server {
        Server {
            rules,
            open: 0,
            opening: 0,
            backoff: Backoff::new(retry),
            trouble: None,
            data_faults: 0,
        }
    }

    pub(super) fn memory(&self) -> ServerMemory {
        ServerMemory {
            backoff: self.backoff.clone(),
            trouble: self.trouble,
        }
    }

    /// What was wrong with TLS is forgotten: the certificates are read anew.
    pub(super) fn recall(&mut self, memory: ServerMemory) {
        self.backoff = memory.backoff;
        self.trouble = memory.trouble.filter(|known| known.fault != Fault::Tls);
    }

    /// Something went wrong. What several sessions report at the same time is one
    /// failure.
    pub(super) fn failed(&mut self, fault: Fault, now: Mono, random: u64) {
        let same = |known: Trouble| known.fault == fault && known.until > now;
        if self.trouble.is_some_and(same) {
            return;
        }
        let (wait, away) = match fault {
            Fault::File => return,
            Fault::Data => {
                self.data_faults = self.data_faults.saturating_add(1);
                if self.data_faults <= DATA_FAULTS_FREE {
                    return;
                }
                (self.backoff.after_failure(random), false)
            }
            Fault::Login => (self.backoff.after_refused_login(random), true),
            Fault::ServerFull => (self.backoff.after_full(random), true),
            Fault::Network | Fault::Tls => {
                let wait = self.backoff.after_failure(random);
                (wait, self.backoff.failures() >= FAILURES_TO_BE_AWAY)
            }
        };
        // A short wait does not cut a longer one short.
        let until = now.after(wait);
        let until = self
            .trouble
            .map_or(until, |trouble| trouble.until.max(until));
        self.trouble = Some(Trouble { fault, until, away });
    }

    /// A session has logged in. What was wrong with the way there is over, but the
    /// back-off goes on from where it was until something is delivered.
    pub(super) fn opened(&mut self) {
        let over = |fault| matches!(fault, Fault::Network | Fault::Tls | Fault::Login);
        if self.trouble.is_some_and(|trouble| over(trouble.fault)) {
            self.trouble = None;
        }
    }

    /// A file grew on the server: the link works, however often it breaks.
    pub(super) fn progressed(&mut self) {
        self.data_faults = 0;
        self.backoff.succeeded();
    }

    pub(super) fn delivered(&mut self) {
        self.trouble = None;
        self.progressed();
    }

    /// Tries again at once, except after a refused login, so that asking often
    /// locks no account.
    pub(super) fn flush(&mut self) {
        if let Some(trouble) = &mut self.trouble
            && trouble.fault != Fault::Login
        {
            trouble.until = Mono::default();
        }
    }

    pub(super) fn availability(&self, now: Mono) -> Availability {
        let Some(trouble) = self.trouble else {
            return Availability::Ready;
        };
        let waits = trouble.until > now;
        match trouble.fault {
            Fault::ServerFull if waits => Availability::Away,
            Fault::Data if waits => Availability::Resting,
            Fault::ServerFull | Fault::Data => Availability::Ready,
            // The others still work.
            _ if self.open > 0 => Availability::Ready,
            // Down until a session has been opened.
            _ if trouble.away => Availability::Away,
            _ if waits => Availability::Resting,
            _ => Availability::Ready,
        }
    }

    /// Whether one more session may be opened. One alone finds out whether a
    /// server that was in trouble is back.
    pub(super) fn may_open(&self, now: Mono) -> bool {
        let count = self.open.saturating_add(self.opening);
        if count >= self.rules.connections.max(1) {
            return false;
        }
        match self.trouble {
            Some(trouble) => trouble.until <= now && self.opening == 0,
            None => true,
        }
    }

    /// Whether it was away and may be tried again.
    pub(super) fn may_be_probed(&self, now: Mono) -> bool {
        self.trouble.is_some_and(|trouble| trouble.away)
            && self.availability(now) == Availability::Away
            && self.may_open(now)
    }

    /// Whether only one entry may go to it, to find out whether it has room again.
    pub(super) fn one_at_a_time(&self) -> bool {
        self.trouble
            .is_some_and(|trouble| matches!(trouble.fault, Fault::ServerFull | Fault::Data))
    }

    pub(super) fn wakeup(&self) -> Option<Mono> {
        self.trouble.map(|trouble| trouble.until)
    }

    pub(super) fn view(&self, now: Mono, in_flight: usize) -> ServerView {
        ServerView {
            in_flight,
            sessions: self.open.saturating_add(self.opening),
            trouble: self.trouble.map(|trouble| trouble.fault),
            next_try: self.wakeup().filter(|until| *until > now),
        }
    }
}
