//! Who may connect: sessions by address and user, and what wrong passwords cost.
//! Pure; bounded whatever peers do.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::options::{Lockout, ReceiveOptions};
use crate::base::Mono;

/// Counts sessions and failures. Call order: [`Limits::admit`] when a peer
/// connects, [`Limits::enter`] when it has logged in, [`Limits::failed`] for a
/// wrong password; then [`Limits::leave`] with the user that entered, and
/// [`Limits::gone`].
#[derive(Debug)]
pub struct Limits {
    max_sessions: usize,
    per_user: usize,
    per_address: usize,
    lockout: Lockout,
    sessions: usize,
    addresses: BTreeMap<IpAddr, usize>,
    users: BTreeMap<String, usize>,
    failures: BTreeMap<IpAddr, Failures>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Mono,
}

/// Why a session is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many sessions as there may be.
    Full,
    /// There are as many from this address as there may be.
    Address,
    /// There are as many of this user as there may be.
    User,
    /// Too many wrong passwords came from this address.
    LockedOut,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Full => "too many connections, try again later",
            Refusal::Address => "too many connections from your address",
            Refusal::User => "too many connections of this user",
            Refusal::LockedOut => "too many wrong passwords, try again later",
        })
    }
}

impl std::error::Error for Refusal {}

impl Limits {
    /// Nobody is there yet.
    #[must_use]
    pub fn new(options: &ReceiveOptions) -> Limits {
        Limits {
            max_sessions: options.max_sessions,
            per_user: options.sessions_per_user,
            per_address: options.sessions_per_address,
            lockout: options.lockout,
            sessions: 0,
            addresses: BTreeMap::new(),
            users: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// Lets a peer in, or says why not; 421 is the answer then (530 to one that
    /// is locked out).
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn admit(&mut self, peer: IpAddr, now: Mono) -> Result<(), Refusal> {
        let peer = peer.to_canonical();
        if self.is_locked_out(peer, now) {
            return Err(Refusal::LockedOut);
        }
        if self.sessions >= self.max_sessions {
            return Err(Refusal::Full);
        }
        let of_address = self.addresses.entry(peer).or_default();
        if *of_address >= self.per_address {
            return Err(Refusal::Address);
        }
        *of_address += 1;
        self.sessions += 1;
        Ok(())
    }

    /// A peer that was admitted is gone.
    pub fn gone(&mut self, peer: IpAddr) {
        self.sessions = self.sessions.saturating_sub(1);
        count_down(&mut self.addresses, &peer.to_canonical());
    }

    /// A session has logged in.
    ///
    /// # Errors
    /// When the user has as many as there may be.
    pub fn enter(&mut self, peer: IpAddr, user: &str) -> Result<(), Refusal> {
        let of_user = self.users.entry(user.to_owned()).or_default();
        if *of_user >= self.per_user {
            return Err(Refusal::User);
        }
        *of_user += 1;
        self.failures.remove(&peer.to_canonical());
        Ok(())
    }

    /// A session that entered is gone, or logs in anew.
    pub fn leave(&mut self, user: &str) {
        count_down(&mut self.users, user);
    }

    /// A wrong password: for how long the answer is held back. It doubles with
    /// each one, up to eight seconds.
    pub fn failed(&mut self, peer: IpAddr, now: Mono) -> Duration {
        let peer = peer.to_canonical();
        self.forget_old(now);
        if self.failures.len() >= FAILURES_MAX && !self.failures.contains_key(&peer) {
            let oldest = self.failures.iter().min_by_key(|(_, f)| f.last);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.failures.remove(&oldest);
            }
        }
        let failures = self.failures.entry(peer).or_insert(Failures {
            count: 0,
            last: now,
        });
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        let doublings = failures.count.saturating_sub(1).min(8);
        (DELAY_FIRST * (1 << doublings)).min(DELAY_MAX)
    }

    /// Whether an address is refused because of wrong passwords.
    #[must_use]
    pub fn is_locked_out(&self, peer: IpAddr, now: Mono) -> bool {
        let failures = self.failures.get(&peer.to_canonical());
        let limit = self.lockout.failures;
        failures
            .is_some_and(|f| limit > 0 && f.count >= limit && now.since(f.last) < self.lockout.time)
    }

    /// Sessions now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    fn forget_old(&mut self, now: Mono) {
        let time = self.lockout.time;
        self.failures.retain(|_, f| now.since(f.last) < time);
    }
}

fn count_down<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(
    counts: &mut BTreeMap<K, usize>,
    key: &Q,
) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Addresses whose failures are remembered at most; the oldest go first.
const FAILURES_MAX: usize = 1024;
/// The answer to a first wrong password is held back for so long.
const DELAY_FIRST: Duration = Duration::from_millis(500);
/// No answer is held back for longer.
const DELAY_MAX: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receive::tests::options;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    const NOW: Mono = Mono(Duration::from_secs(1000));

    fn limits() -> Limits {
        let mut options = options(Vec::new());
        options.max_sessions = 3;
        options.sessions_per_address = 2;
        options.sessions_per_user = 1;
        options.lockout.failures = 3;
        Limits::new(&options)
    }

    #[test]
    fn each_limit_holds_and_is_given_back() {
        let mut limits = limits();
        limits.admit(A, NOW).unwrap();
        limits.admit(A, NOW).unwrap();
        assert_eq!(limits.admit(A, NOW), Err(Refusal::Address));
        // The same address as IPv6 shows it.
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(limits.admit(mapped, NOW), Err(Refusal::Address));
        limits.admit(B, NOW).unwrap();
        assert_eq!(limits.admit(B, NOW), Err(Refusal::Full));
        limits.enter(A, "camera").unwrap();
        assert_eq!(limits.enter(B, "camera"), Err(Refusal::User));
        limits.leave("camera");
        limits.enter(B, "camera").unwrap();
        limits.gone(A);
        limits.admit(B, NOW).unwrap();
        assert_eq!(limits.sessions(), 3);
    }

    #[test]
    fn wrong_passwords_cost_more_each_time_and_then_lock_the_address_out() {
        let mut limits = limits();
        let first = limits.failed(A, NOW);
        let second = limits.failed(A, NOW);
        assert!(second > first);
        assert!(!limits.is_locked_out(A, NOW));
        limits.failed(A, NOW);
        assert_eq!(limits.admit(A, NOW), Err(Refusal::LockedOut));
        assert!(limits.admit(B, NOW).is_ok());
        let later = NOW.after(Duration::from_secs(601));
        assert!(limits.admit(A, later).is_ok());
    }

    #[test]
    fn a_success_forgives() {
        let mut limits = limits();
        limits.failed(A, NOW);
        limits.failed(A, NOW);
        limits.enter(A, "camera").unwrap();
        limits.failed(A, NOW);
        assert!(!limits.is_locked_out(A, NOW));
    }

    #[test]
    fn no_number_of_attackers_grows_the_table_or_the_delay_without_end() {
        let mut limits = limits();
        for n in 0..5000_u32 {
            limits.failed(
                IpAddr::V4(n.into()),
                NOW.after(Duration::from_millis(n.into())),
            );
        }
        assert_eq!(limits.failures.len(), FAILURES_MAX);
        let last = (0..100).map(|_| limits.failed(A, NOW)).last();
        assert_eq!(last, Some(DELAY_MAX));
    }
}
