//! One STOR, from the state of the session before it to the check after it.

use std::cell::RefCell;

use super::converse::Upload;
use super::data::Opening;
use super::deliver::{EAGER_BYTES_MAX, Ended, Entry, Fault, Waiting};
use super::failure::{Failure, Step};
use super::job::Proof;
use super::recover::Refused;
use super::resume::Plan;
use super::session::{Feeding, Session};
use super::source::Source;
use super::wire::Wire;
use crate::base::sabotage::{Sabotage, is_on};
use crate::ftp::command::Command;
use crate::ftp::digest::Hasher;

impl Session {
    /// Uploads and checks. `next` is filled when the data is out, so that what
    /// it needs travels with the check.
    pub(super) async fn upload(
        &mut self,
        entry: &mut Entry,
        plan: Plan,
        waiting: &mut Option<Waiting>,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<Ended, Fault> {
        self.spare_tickets(waiting, next, feed).await?;
        let (opening, offset) = match self.prepare(entry, plan, waiting, feed).await {
            Ok(prepared) => prepared,
            Err(refused) => return Err(self.recover(entry, plan, next, refused).await?),
        };
        let path = entry.temporary.as_bytes().to_vec();
        let command = match plan {
            Plan::Append(_) => Command::Appe(path),
            _ => Command::Stor(path),
        };
        entry.appended_at = matches!(plan, Plan::Append(_)).then_some(offset);
        let opened = self.open_data(entry, &command, opening, waiting, feed);
        let (mut flight, wire) = match opened.await {
            Ok(opened) => opened,
            Err(refused) => return Err(self.recover(entry, plan, next, refused).await?),
        };
        let mut source = self.source(entry, offset, &wire);
        let wire = RefCell::new(wire);
        let eager = self.eager_bytes(entry, offset);
        let upload = Upload {
            wire: &wire,
            source: &mut source,
            flight: &mut flight,
            eager,
            offset,
        };
        let check = match self.converse(entry, upload, waiting, next, feed).await {
            Ok(check) => check,
            Err(refused) => {
                let refused = refused.over(&wire.borrow());
                drop(wire);
                return Err(self.recover(entry, plan, next, refused).await?);
            }
        };
        self.lingering = Some(wire);
        self.data_mode_worked();
        self.remember_directory(&entry.last);
        let check = match check {
            Some(check) => check,
            None => {
                self.fill(next, feed);
                self.begin_check(entry, next.as_mut())?
            }
        };
        let hash = source.into_hash().filter(|_| offset == 0);
        let checked = self.finish_check(entry, check, hash).await;
        let forgets = is_on(Sabotage::BelieveAnyReply)
            || is_on(Sabotage::ForgetCheckAfterResume) && offset > 0;
        match checked {
            Err(fault) if forgets && !fault.failure.ends_session() => {
                Ok(Ended::Checked(Proof::Reply))
            }
            checked => checked,
        }
    }

    /// Where the data connection goes, and the offset of the first byte. A REST
    /// comes last of all, because some servers forget it with any command but
    /// the transfer (RFC 3659 §5.3), and would store the rest of the file over
    /// its beginning.
    async fn prepare(
        &mut self,
        entry: &Entry,
        plan: Plan,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<(Opening, u64), Refused> {
        if matches!(plan, Plan::Continue(_)) {
            self.flush(waiting, feed).await?;
        }
        let opening = self.opening().await?;
        let offset = self.restart_at(entry, plan).await?;
        Ok((opening, offset))
    }

    /// The bytes of the entry from `offset` on. They are hashed on the way when
    /// they are the whole file and the server will be asked for its hash.
    fn source(&self, entry: &Entry, offset: u64, wire: &Wire) -> Source {
        let hasher = self
            .digest()
            .filter(|_| offset == 0)
            .map(|(_, kind)| Hasher::new(kind));
        let chunk_len = match wire {
            Wire::Tls(_) => TLS_CHUNK_LEN,
            Wire::Plain(_) => PLAIN_CHUNK_LEN,
        };
        let range = (offset, entry.job.size);
        let (file, pool) = (entry.job.content.clone(), self.sys.pool.clone());
        Source::new(file, pool, range, chunk_len, hasher)
    }

    /// How much of a file is sent before the 150. A STOR that was lost with its
    /// control connection costs no more than this; slow start lets no more out
    /// in that time anyway.
    fn eager_bytes(&self, entry: &Entry, offset: u64) -> u64 {
        let left = entry.job.size.saturating_sub(offset);
        // A directory that is missing refuses the STOR. And vsftpd locks what
        // it stores: while the session of a link that died silently holds a
        // file, the STOR that goes on with it stays unanswered.
        let in_doubt = left > EAGER_BYTES_MAX && !self.directory_is_known(&entry.last);
        if offset > 0 || in_doubt || !self.link.kind.takes_early_data() {
            0
        } else {
            EAGER_BYTES_MAX
        }
    }

    /// Takes the next entry early.
    pub(super) fn fill(&self, next: &mut Option<Entry>, feed: &Feeding<'_>) {
        if next.is_none() {
            *next = self.take(feed);
        }
    }

    /// `REST`. It is waited for: were it refused, a STOR sent along would
    /// write the tail of the file to its beginning.
    async fn restart_at(&mut self, entry: &Entry, plan: Plan) -> Result<u64, Refused> {
        match plan {
            Plan::Append(offset) => Ok(offset),
            Plan::Continue(offset) => {
                let reply = self.call(Step::Store, &Command::Rest(offset)).await?;
                if reply.is_intermediate() {
                    return Ok(offset);
                }
                Err(Failure::refused(Step::Store, &entry.subject(), &reply).into())
            }
            _ => Ok(0),
        }
    }
}

/// Two of these are in memory for one upload.
const PLAIN_CHUNK_LEN: usize = 256 << 10;

/// TLS cuts into records of 16 KiB and buffers 64 KiB.
const TLS_CHUNK_LEN: usize = 64 << 10;
