//! What is spent of the daily budgets, kept in the spool over restarts.

use std::rc::Rc;
use std::time::Duration;

use super::Agent;
use crate::schedule::Spent;
use crate::spool::Spool;

/// How often it is written down while bytes are sent; so much may be forgotten
/// when the power fails.
const EVERY: Duration = Duration::from_secs(600);

/// What an earlier run spent of a schedule's budget.
pub(super) fn spent_before(spool: &Spool, schedule: &str) -> Spent {
    let note = spool.note(&note_of(schedule));
    note.and_then(|bytes| postcard::from_bytes(&bytes).ok())
        .unwrap_or_default()
}

fn note_of(schedule: &str) -> String {
    format!("budget {schedule}")
}

impl Agent {
    /// Keeps what was spent for as long as it is polled.
    pub(super) async fn keep_budgets(self: Rc<Self>) {
        let has_budget = |s: &crate::schedule::ScheduleOptions| s.daily_budget.is_some();
        if !self.setup.schedules.iter().any(has_budget) {
            return;
        }
        loop {
            let later = self.sys.clock.mono().after(EVERY);
            self.sys.clock.sleep_until(later).await;
            self.note_budgets().await;
        }
    }

    /// Writes down what was spent since the last time.
    pub(super) async fn note_budgets(&self) {
        let mut notes = Vec::new();
        for (place, schedule) in self.setup.schedules.iter().enumerate() {
            let spent = self.state.borrow().spent(place);
            let bytes = spent.and_then(|spent| postcard::to_allocvec(&spent).ok());
            notes.extend(bytes.map(|bytes| (note_of(&schedule.name), bytes)));
        }
        if notes.is_empty() {
            return;
        }
        let noting = move |spool: &mut Spool| {
            for (name, bytes) in notes {
                if spool.note(&name).as_ref() != Some(&bytes) {
                    spool.put_note(&name, &bytes)?;
                }
            }
            Ok::<_, crate::spool::SpoolError>(())
        };
        if let Err(e) = self.spool.with(noting).await {
            log::warn!("spool: what was spent of the budgets cannot be kept: {e}");
        }
    }
}
