//! What becomes of entries that failed.

use super::events::{FailedEntry, LaneId};
use super::health::{Fault, Verdict};
use super::state::State;
use crate::base::Mono;
use crate::schedule::Moment;

impl State {
    /// Takes note of a failed entry and says what becomes of it. On
    /// [`Verdict::Dead`] the caller moves it to the dead letters; else it stays in
    /// the lane.
    pub fn entry_failed(&mut self, failed: &FailedEntry, now: &Moment<'_>, random: u64) -> Verdict {
        let now = now.mono;
        let Some(server) = self.take_back(failed.session, failed.lane, now) else {
            return Verdict::Retry;
        };
        let (Some(server), Some(lane)) = (
            self.servers.get_mut(server.0),
            self.lanes.get_mut(failed.lane.0),
        ) else {
            return Verdict::Retry;
        };
        if failed.fault == Fault::File {
            let (lane, before) = (failed.lane, failed.refusals_before);
            return self.refused(lane, failed.key, before, None, now, random);
        }
        // What a full server has taken it did not keep.
        if failed.progressed && failed.fault != Fault::ServerFull {
            server.progressed();
        }
        server.failed(failed.fault, now, random);
        if matches!(failed.fault, Fault::Network | Fault::Data) {
            let rests_until = server.wakeup().unwrap_or(now).max(now);
            lane.health
                .broke(failed.key, failed.progressed, rests_until, random);
        }
        Verdict::Retry
    }

    /// Takes note of an entry that could not even be sent, which no server is to
    /// blame for; otherwise as [`State::entry_failed`].
    pub fn entry_unusable(
        &mut self,
        lane: LaneId,
        key: u64,
        refusals_before: u32,
        now: &Moment<'_>,
        random: u64,
    ) -> Verdict {
        self.refused(lane, key, refusals_before, Some(false), now.mono, random)
    }

    fn refused(
        &mut self,
        lane: LaneId,
        key: u64,
        refusals_before: u32,
        needs_proof: Option<bool>,
        now: Mono,
        random: u64,
    ) -> Verdict {
        let Some(lane) = self.lanes.get_mut(lane.0) else {
            return Verdict::Retry;
        };
        let refusals = refusals_before.saturating_add(1);
        let needs_proof = needs_proof.unwrap_or(lane.rules.dead_needs_proof);
        let allowed = self.file_attempts;
        let verdict = lane
            .health
            .refused(key, refusals, allowed, needs_proof, now, random);
        if verdict == Verdict::Dead {
            lane.waiting = lane.waiting.saturating_sub(1);
            lane.drain_if_empty();
        }
        verdict
    }
}
