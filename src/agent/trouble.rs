//! What is said of failures: each once, in one line that names what failed, on
//! what, why, and what happens next.

use std::time::Duration;

use super::Agent;
use crate::base::format_span;
use crate::spool::Entry;
use crate::supervisor::{LaneId, LaneWaits, ServerId, Verdict};
use crate::sys::Mono;
use crate::upload::{Class, Failure};

impl Agent {
    /// A server or the way to it failed, perhaps in the middle of a file. What
    /// several sessions report of one failure is one line.
    pub(super) fn server_failed(&self, server: ServerId, failure: &Failure, during: Option<&str>) {
        if failure.class == Class::Cancelled {
            return;
        }
        self.outcome.borrow_mut().last_failure = Some((failure.class, failure.to_string()));
        let (Some(slot), Some(setup)) =
            (self.servers.get(server.0), self.setup.servers.get(server.0))
        else {
            return;
        };
        *slot.last_error.borrow_mut() = Some(failure.to_string());
        let now = self.sys.clock.mono();
        let next = self.state.borrow().server(server, now);
        let next = next.and_then(|view| view.next_try);
        let name = &setup.options.name;
        let during = during.map_or_else(String::new, |file| format!(", while sending {file}"));
        if next.is_some() && slot.said.replace(next) == next {
            log::debug!("server {name:?}: {failure}{during}");
            return;
        }
        let then = then(next, now, "trying again");
        log::warn!("server {name:?}: {failure}{during}; {then}");
    }

    /// A session is open. Said where it was not to be expected.
    pub(super) fn server_works(&self, server: ServerId) {
        let (Some(slot), Some(setup)) =
            (self.servers.get(server.0), self.setup.servers.get(server.0))
        else {
            return;
        };
        let name = &setup.options.name;
        let was_away = slot.said.take().is_some();
        let own = self.setup.lanes.iter().any(|lane| lane.server == server.0);
        if !own {
            log::info!("server {name:?}: connected; it stands in for one that is down");
        } else if was_away {
            log::info!("server {name:?}: connected again");
        }
    }

    /// A healthy server refused a file.
    pub(super) fn say_refused(
        &self,
        lane: LaneId,
        entry: &Entry,
        failure: &Failure,
        verdict: Verdict,
    ) {
        let (watch, path) = (&entry.lane, entry.path.escape_ascii());
        let (refusals, allowed) = (entry.attempts.saturating_add(1), self.setup.file_attempts);
        if verdict == Verdict::Dead {
            let id = entry.id;
            log::error!(
                "watch {watch:?}: {path}: {failure}; refused {refusals} times, so it is set aside \
                 (queue retry {id} tries it again, queue drop {id} gives it up)"
            );
            return;
        }
        let now = self.sys.clock.mono();
        let view = self.state.borrow().lane(lane, now);
        match view {
            Some(view) if view.waits == LaneWaits::Refused => {
                let then = then(view.next_try, now, "trying again");
                log::warn!(
                    "watch {watch:?}: {path}: {failure}; everything it sends is refused, so its \
                     files wait: {then}"
                );
            }
            _ if refusals >= allowed => log::warn!(
                "watch {watch:?}: {path}: {failure}; refused {refusals} times, and set aside if \
                 another file of this watch arrives"
            ),
            _ => log::warn!(
                "watch {watch:?}: {path}: {failure}; refusal {refusals} of {allowed}, others go \
                 first"
            ),
        }
    }
}

/// `next try in 5s`, or what there is to say when it is due.
fn then(next: Option<Mono>, now: Mono, due: &str) -> String {
    match next.map(|at| at.since(now)) {
        Some(wait) if wait >= Duration::from_secs(1) => {
            format!("next try in {}", format_span(wait))
        }
        _ => due.to_owned(),
    }
}
