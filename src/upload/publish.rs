//! The rename that makes a file visible.

use super::check::Evidence;
use super::deliver::{Entry, Waiting};
use super::failure::{Failure, Step};
use super::resume::Remote;
use super::session::{Feeding, Session, judge_rename};
use crate::ftp::reply::Reply;

impl Session {
    /// Renames what is waiting, now. Reports it to the feed; an error is the
    /// session's end, and `waiting` is then left for the caller to report.
    pub(super) async fn flush(
        &mut self,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<(), Failure> {
        let Some(held) = waiting.as_ref() else {
            return Ok(());
        };
        let (from, to) = (held.entry.temporary.as_bytes(), held.entry.last.as_bytes());
        self.rename_in_doubt |= held.refused.is_some();
        let renamed = match held.refused.clone() {
            Some(refusal) => self.rename_over(&held.entry, refusal).await,
            None => match self.rename(from, to).await {
                Err(failure) if !failure.ends_session() => {
                    self.rename_over(&held.entry, failure).await
                }
                other => other,
            },
        };
        match renamed {
            Err(failure) if failure.ends_session() => Err(failure),
            result => {
                if let Some(Waiting { entry, proof, .. }) = waiting.take() {
                    let result = result.map(|()| entry.delivered(proof));
                    feed.borrow_mut().done(entry.job.id, entry.sent, result);
                }
                Ok(())
            }
        }
    }

    /// Takes the replies to a rename that travelled with a STOR.
    pub(super) fn renamed_along(
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
        (rnfr, rnto): (Reply, Reply),
    ) {
        if let Err(reply) = judge_rename(rnfr, rnto) {
            if let Some(held) = waiting {
                let subject = held.entry.subject();
                held.refused = Some(Failure::refused(Step::Publish, &subject, &reply));
            }
        } else if let Some(Waiting { entry, proof, .. }) = waiting.take() {
            let delivered = entry.delivered(proof);
            feed.borrow_mut()
                .done(entry.job.id, entry.sent, Ok(delivered));
        }
    }

    /// After a refused rename: some servers never rename over a file. Only
    /// when ours is whole under its temporary name is the old one deleted.
    async fn rename_over(&mut self, entry: &Entry, refusal: Failure) -> Result<(), Failure> {
        let (from, to) = (entry.temporary.as_bytes(), entry.last.as_bytes());
        let size = Remote::Bytes(entry.job.size);
        let ours = self.standing(&entry.temporary).await?;
        let theirs = self.standing(&entry.last).await?;
        match (ours, theirs) {
            (Remote::Missing, theirs) if theirs == size => {
                // A second rename is refused when the first one worked.
                return match self.evidence(entry).await? {
                    Evidence::Ours(_) => Ok(()),
                    Evidence::Other => Err(refusal),
                };
            }
            (ours, Remote::Bytes(_)) if ours == size => {}
            (ours, Remote::Missing) if ours == size => {
                if refusal.code.is_some_and(|code| code >= 500) {
                    self.server.learn(|profile| profile.no_rename = true);
                }
                return Err(refusal);
            }
            _ => return Err(refusal),
        }
        self.delete(to).await.map_err(|failure| {
            if failure.ends_session() {
                failure
            } else {
                refusal
            }
        })?;
        self.rename(from, to).await
    }
}
