//! Whose fault a failure is, and how long the one at fault rests.

use heapless::Vec;

use crate::schedule::{Backoff, RetryOptions};
use crate::sys::Mono;

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server cannot be reached, or went away.
    Network,
    /// The server refused the login.
    Login,
    /// TLS could not be agreed on, or the certificate is not acceptable.
    Tls,
    /// The server has no room.
    ServerFull,
    /// The data connection failed; the session may still be good.
    Data,
    /// A healthy server refused this file.
    File,
}

/// What becomes of an entry that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It stays queued, and this failure is not held against it.
    Retry,
    /// It stays queued, with one more refusal on its record.
    Refused,
    /// It becomes a dead letter.
    Dead,
}

/// The refusals of one lane.
///
/// A refused entry is held back for a while, longer each time, so that the others
/// go first. It becomes a dead letter only if the lane has delivered another
/// entry since the first refusal: that is the proof that the entry is at fault.
/// Without such proof several refusals in a row are the lane's fault, and the lane
/// rests. When the proof comes after the last refusal that is allowed, the entry has
/// one more try at once.
#[derive(Clone, Debug)]
pub(super) struct LaneHealth {
    retry: RetryOptions,
    backoff: Backoff,
    resting_until: Option<Mono>,
    unproved_in_row: u8,
    deliveries: u64,
    suspects: Vec<Suspect, SUSPECTS_MAX>,
}

#[derive(Clone, Copy, Debug)]
struct Suspect {
    key: u64,
    /// Deliveries of the lane when the entry was first refused.
    deliveries_before: u64,
    held_until: Mono,
    /// Sessions that broke over it without any progress.
    breaks: u32,
    /// It was refused as often as is allowed; only the proof was missing.
    spent: bool,
}

/// Refused entries that are remembered; beyond that the one that is due first is
/// forgotten, and its proof starts anew.
const SUSPECTS_MAX: usize = 32;
/// So many refusals in a row without proof make the lane rest.
const UNPROVED_MAX: u8 = 4;

impl LaneHealth {
    pub(super) fn new(retry: RetryOptions) -> LaneHealth {
        LaneHealth {
            retry,
            backoff: Backoff::new(retry),
            resting_until: None,
            unproved_in_row: 0,
            deliveries: 0,
            suspects: Vec::new(),
        }
    }

    /// An entry was refused for the `refusals`th time, of `allowed`.
    pub(super) fn refused(
        &mut self,
        key: u64,
        refusals: u32,
        allowed: u32,
        needs_proof: bool,
        now: Mono,
        random: u64,
    ) -> Verdict {
        let known = self.forget(key);
        let deliveries_before = known.map_or(self.deliveries, |known| known.deliveries_before);
        let proved = self.deliveries > deliveries_before;
        if refusals >= allowed && (proved || !needs_proof) {
            return Verdict::Dead;
        }
        let wait = self.retry.wait(refusals.saturating_sub(1), random);
        self.remember(Suspect {
            key,
            deliveries_before,
            held_until: now.after(wait),
            breaks: 0,
            spent: refusals >= allowed,
        });
        if !proved {
            self.unproved_in_row = self.unproved_in_row.saturating_add(1);
            if self.unproved_in_row >= UNPROVED_MAX {
                self.resting_until = Some(now.after(self.backoff.after_failure(random)));
            }
        }
        Verdict::Refused
    }

    /// A session or data connection broke over an entry. If it got further, it is
    /// held back for the first wait, and no more is held against it. The first time
    /// without progress it is simply tried again; after that it is held back beyond
    /// `server_rests_until`, longer each time, so that one poisonous file does not
    /// keep all others from their turn.
    pub(super) fn broke(
        &mut self,
        key: u64,
        progressed: bool,
        server_rests_until: Mono,
        random: u64,
    ) {
        let known = self.forget(key);
        let before = known.map_or(0, |known| known.breaks);
        let breaks = if progressed {
            0
        } else {
            before.saturating_add(1)
        };
        let held_until = match breaks {
            0 => server_rests_until.after(self.retry.wait(0, random)),
            1 => Mono::default(),
            breaks => server_rests_until.after(self.retry.wait(breaks - 2, random)),
        };
        self.remember(Suspect {
            key,
            deliveries_before: known.map_or(self.deliveries, |known| known.deliveries_before),
            held_until,
            breaks,
            spent: false,
        });
    }

    /// An entry was delivered: the lane is well. Whether another entry may be tried
    /// now that was held back.
    pub(super) fn delivered(&mut self, key: u64) -> bool {
        self.forget(key);
        let mut freed = false;
        for suspect in self.suspects.iter_mut().filter(|suspect| suspect.spent) {
            suspect.held_until = Mono::default();
            freed = true;
        }
        self.deliveries = self.deliveries.saturating_add(1);
        self.unproved_in_row = 0;
        self.resting_until = None;
        self.backoff.succeeded();
        freed
    }

    /// Tries everything again at once.
    pub(super) fn flush(&mut self) {
        self.resting_until = None;
        for suspect in &mut self.suspects {
            suspect.held_until = Mono::default();
        }
    }

    /// Whether one more entry may be tried. A lane that has rested sends one entry
    /// to find out.
    pub(super) fn allows(&self, in_flight: u32, now: Mono) -> bool {
        match self.resting_until {
            Some(until) => until <= now && in_flight == 0,
            None => true,
        }
    }

    /// Whether this entry is held back.
    pub(super) fn holds(&self, key: u64, now: Mono) -> bool {
        self.suspects
            .iter()
            .any(|suspect| suspect.key == key && suspect.held_until > now)
    }

    /// When the first entry that is held back is due.
    pub(super) fn first_due(&self, now: Mono) -> Option<Mono> {
        let held = self.suspects.iter().map(|suspect| suspect.held_until);
        held.filter(|until| *until > now).min()
    }

    pub(super) fn resting_until(&self) -> Option<Mono> {
        self.resting_until
    }

    fn forget(&mut self, key: u64) -> Option<Suspect> {
        let index = self.suspects.iter().position(|known| known.key == key)?;
        Some(self.suspects.swap_remove(index))
    }

    fn remember(&mut self, suspect: Suspect) {
        if let Err(suspect) = self.suspects.push(suspect) {
            let first = self
                .suspects
                .iter_mut()
                .min_by_key(|known| known.held_until);
            if let Some(first) = first {
                *first = suspect;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Mono = Mono(Duration::from_secs(100));

    fn lane() -> LaneHealth {
        LaneHealth::new(RetryOptions::default())
    }

    fn refuse(lane: &mut LaneHealth, key: u64, refusals: u32) -> Verdict {
        lane.refused(key, refusals, 3, true, NOW, 0)
    }

    #[test]
    fn an_entry_dies_when_others_passed_it() {
        let mut lane = lane();
        assert_eq!(refuse(&mut lane, 1, 1), Verdict::Refused);
        lane.delivered(2);
        assert_eq!(refuse(&mut lane, 1, 2), Verdict::Refused);
        assert_eq!(refuse(&mut lane, 1, 3), Verdict::Dead);
    }

    #[test]
    fn when_every_entry_is_refused_the_lane_rests_and_none_dies() {
        let mut lane = lane();
        lane.delivered(99);
        for refusals in 1..20 {
            for key in 1..50 {
                assert_eq!(refuse(&mut lane, key, refusals), Verdict::Refused);
            }
        }
        assert!(!lane.allows(0, NOW));
        let later = lane.resting_until().unwrap();
        assert!(lane.allows(0, later));
        assert!(!lane.allows(1, later), "one entry finds out");
    }

    #[test]
    fn an_entry_whose_proof_comes_late_is_tried_once_more_at_once() {
        let mut lane = lane();
        assert_eq!(refuse(&mut lane, 1, 3), Verdict::Refused);
        assert!(lane.holds(1, NOW));
        assert!(lane.delivered(2));
        assert!(!lane.holds(1, NOW));
        assert_eq!(refuse(&mut lane, 1, 4), Verdict::Dead);
    }

    #[test]
    fn a_refused_entry_lets_the_others_go_first() {
        let mut lane = lane();
        refuse(&mut lane, 1, 1);
        assert!(lane.holds(1, NOW) && !lane.holds(2, NOW));
        let due = lane.first_due(NOW).unwrap();
        assert!(!lane.holds(1, due));
    }

    #[test]
    fn a_few_bad_entries_at_the_end_do_not_stop_a_proved_lane() {
        let mut lane = lane();
        for key in 1..4 {
            refuse(&mut lane, key, 1);
        }
        lane.delivered(9);
        for key in 1..4 {
            refuse(&mut lane, key, 2);
            assert!(lane.allows(0, NOW));
            assert_eq!(refuse(&mut lane, key, 3), Verdict::Dead);
        }
    }
}
