//! The rename that makes a file visible.

use super::deliver::Waiting;
use super::failure::{Failure, Step};
use super::session::{Feeding, Session};
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
        let refused = held.refused.clone();
        let from = held.entry.temporary.as_bytes().to_vec();
        let to = held.entry.last.as_bytes().to_vec();
        let renamed = match refused {
            Some(refusal) => {
                self.rename_over(&from, &to, held.entry.job.size, refusal)
                    .await
            }
            None => match self.rename(&from, &to).await {
                Err(failure) if !failure.ends_session() => {
                    self.rename_over(&from, &to, held.entry.job.size, failure)
                        .await
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
        (rnfr, rnto): (&Reply, &Reply),
    ) {
        let refusal = match (rnfr.is_positive(), rnto.is_completion()) {
            (true, true) => None,
            (false, _) => Some(rnfr),
            (true, false) => Some(rnto),
        };
        if let Some(reply) = refusal {
            if let Some(held) = waiting {
                let subject = held.entry.subject();
                held.refused = Some(Failure::refused(Step::Publish, &subject, reply));
            }
        } else if let Some(Waiting { entry, proof, .. }) = waiting.take() {
            let delivered = entry.delivered(proof);
            feed.borrow_mut()
                .done(entry.job.id, entry.sent, Ok(delivered));
        }
    }

    /// After a refused rename: some servers never rename over a file. Only
    /// when ours is whole under its temporary name is the old one deleted.
    async fn rename_over(
        &mut self,
        from: &[u8],
        to: &[u8],
        size: u64,
        refusal: Failure,
    ) -> Result<(), Failure> {
        let whole = self.size(from).await? == Some(size);
        let taken = self.size(to).await?;
        if !whole && taken == Some(size) {
            // The refusal came from a second rename: the first one worked.
            return Ok(());
        }
        if !whole || taken.is_none() {
            if whole && refusal.code.is_some_and(|code| code >= 500) {
                self.server.learn(|profile| profile.no_rename = true);
            }
            return Err(refusal);
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
