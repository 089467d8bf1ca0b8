//! One entry, from the look at what is there to the point where only its
//! rename is left.
//!
//! The order within one entry is fixed (upload, check, rename); between two
//! entries, the rename of the one travels with the STOR of the other.

use std::time::Duration;

use super::check::{Evidence, is_not_implemented};
use super::failure::{Class, Failure, Step};
use super::job::{Delivered, Job, Proof};
use super::options::{IfExists, Publish, ServerOptions};
use super::profile::Resuming;
use super::resume::{Plan, Remote, plan};
use super::session::{Feeding, Session};
use crate::base::sabotage::{Sabotage, is_on};
use crate::ftp::command::Command;
use crate::ftp::control::Tag;
use crate::ftp::path::{PathError, RemotePath};
use crate::ftp::reply::Reply;
use crate::ftp::verify::parse_size;

/// A job with its names on the server.
pub(super) struct Entry {
    pub(super) job: Job,
    /// Where it is uploaded: with `publish = "direct"` the final name itself.
    pub(super) temporary: RemotePath,
    /// Its final name.
    pub(super) last: RemotePath,
    /// Ask what is there before anything is sent.
    pub(super) look: bool,
    /// A check found other bytes than ours. If all of the file is there, it is
    /// uploaded anew; a shorter one was cut, and the next check tells.
    pub(super) restart: bool,
    /// Where the last upload was to be appended.
    pub(super) appended_at: Option<u64>,
    /// Bytes put on data connections.
    pub(super) sent: u64,
    /// The server began to take it in this run.
    pub(super) begun: bool,
    /// Uploads that broke off.
    pub(super) broken: u32,
    /// The questions that were sent ahead.
    pub(super) asked: Option<Asked>,
}

/// The `SIZE`s of one look.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    temporary: Tag,
    last: Option<Tag>,
}

/// Uploaded and checked; only the rename is left.
pub(super) struct Waiting {
    pub(super) entry: Entry,
    pub(super) proof: Proof,
    /// The rename was tried and refused.
    pub(super) refused: Option<Failure>,
}

impl Waiting {
    pub(super) fn new(entry: Entry, proof: Proof) -> Waiting {
        Waiting {
            entry,
            proof,
            refused: None,
        }
    }
}

/// Why one try ended.
#[derive(Clone)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    pub(super) then: Then,
}

/// What is worth doing next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: report it.
    GiveUp,
    /// Another try; the server took nothing.
    Retry,
    /// Another try, from what the server has by now.
    RetryAfterLook,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault {
            failure,
            then: Then::GiveUp,
        }
    }
}

/// How a try ended well.
pub(super) enum Ended {
    /// Checked: to be renamed.
    Checked(Proof),
    /// Nothing is left to do.
    Settled(Delivered),
}

impl Entry {
    pub(super) fn new(job: Job, options: &ServerOptions) -> Result<Entry, Failure> {
        let unusable = |error: PathError| {
            let subject = String::from_utf8_lossy(&job.path)
                .escape_debug()
                .to_string();
            Failure::new(Class::File, Step::Store, &subject, error.to_string())
                .with_remedy("rename the source file")
        };
        let last = RemotePath::new(&job.path).map_err(unusable)?;
        let temporary = match options.publish {
            Publish::Rename => last.temporary(&job.tag).map_err(unusable)?,
            Publish::Direct => last.clone(),
        };
        let look = job.tried || options.if_exists != IfExists::Overwrite;
        let look = look && !is_on(Sabotage::NeverLook);
        Ok(Entry {
            job,
            temporary,
            last,
            look,
            restart: false,
            appended_at: None,
            sent: 0,
            begun: false,
            broken: 0,
            asked: None,
        })
    }

    /// Whether the file grows under its final name.
    pub(super) fn is_direct(&self) -> bool {
        self.temporary == self.last
    }

    /// The final name, for messages.
    pub(super) fn subject(&self) -> String {
        self.last.to_string()
    }

    pub(super) fn delivered(&self, proof: Proof) -> Delivered {
        Delivered {
            path: self.last.as_bytes().to_vec(),
            proof,
            skipped: false,
        }
    }
}

impl Session {
    /// Brings one entry to its end, or to its rename in `waiting`. An error is
    /// the session's end; everything else was reported to the feed.
    pub(super) async fn deliver(
        &mut self,
        mut entry: Entry,
        waiting: &mut Option<Waiting>,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<(), Failure> {
        let id = entry.job.id;
        let mut tries = 1;
        let failure = loop {
            let fault = match self.attempt(&mut entry, waiting, next, feed).await {
                Ok(Ended::Settled(delivered)) => {
                    feed.borrow_mut().done(id, entry.sent, Ok(delivered));
                    return Ok(());
                }
                Ok(Ended::Checked(proof)) => {
                    // The one before has settled: its rename went with our STOR,
                    // unless nothing had to be sent.
                    self.flush(waiting, feed).await?;
                    if is_on(Sabotage::SettleBeforeRename) {
                        let delivered = entry.delivered(proof);
                        feed.borrow_mut().done(id, entry.sent, Ok(delivered));
                    }
                    *waiting = Some(Waiting::new(entry, proof));
                    return Ok(());
                }
                Err(fault) => fault,
            };
            log::debug!("try {tries}: {}; {:?}", fault.failure, fault.then);
            if self.died_idle(&fault.failure) {
                entry.asked = None;
                match self.reopen().await {
                    Ok(()) => continue,
                    Err(failure) => break failure,
                }
            }
            tries += 1;
            if fault.then == Then::RetryAfterLook {
                (entry.look, entry.job.tried) = (true, true);
            }
            if fault.then == Then::GiveUp || tries > TRIES_MAX {
                break fault.failure;
            }
        };
        feed.borrow_mut().done(id, entry.sent, Err(failure.clone()));
        if failure.ends_session() {
            Err(failure)
        } else {
            Ok(())
        }
    }

    async fn attempt(
        &mut self,
        entry: &mut Entry,
        waiting: &mut Option<Waiting>,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<Ended, Fault> {
        let was_refused = |waiting: &Waiting| waiting.refused.is_some();
        if self.rename_in_doubt || waiting.as_ref().is_some_and(was_refused) {
            self.flush(waiting, feed).await?;
        }
        self.can_verify(self.server.options.verify)?;
        let (temporary, mut last) = self.look(entry).await?;
        let name = entry.last.clone();
        if let Some(ended) = self.settle_taken_name(entry, temporary, last).await? {
            return Ok(ended);
        }
        if entry.last != name || !entry.job.tried {
            // Another name was chosen, and it is free; or this entry was never
            // sent: what stands under its name cannot be it.
            last = Remote::Missing;
        }
        let resuming = self.resuming();
        let mut plan = plan(temporary, last, entry.job.size, resuming);
        let again = std::mem::take(&mut entry.restart) || is_on(Sabotage::DeleteWhole);
        if again && plan == Plan::Complete {
            plan = Plan::Restart;
        }
        // Some servers replace a file by what is appended. Only the bytes of our
        // own STOR are surely its beginning, not those that an APPE left.
        let surely_ours = entry.begun && entry.appended_at.is_none();
        if matches!(plan, Plan::Append(_)) && !surely_ours {
            plan = Plan::Restart;
        }
        match plan {
            Plan::Published => {
                if let Some(ended) = self.settle_published(entry).await? {
                    return Ok(ended);
                }
                plan = Plan::Store;
            }
            Plan::Complete => return self.check_alone(entry).await,
            Plan::Restart => {
                // A file that cannot be deleted may still be overwritten.
                let command = Command::Dele(entry.temporary.as_bytes().to_vec());
                self.call(Step::Delete, &command).await?;
                plan = Plan::Store;
            }
            Plan::Store | Plan::Continue(_) | Plan::Append(_) => {}
        }
        self.upload(entry, plan, waiting, next, feed).await
    }

    /// How a cut upload goes on here.
    fn resuming(&self) -> Resuming {
        match self.server.profile.borrow().resuming {
            // It may replace the file by what is appended, and say 226.
            Resuming::Appe if self.link.kind.append_may_replace() => Resuming::Never,
            // So may any other. A process that knew of no APPE would take the tail
            // that it left for a beginning, and go on behind it.
            Resuming::Appe if !self.server.is_appending_kept() => Resuming::Never,
            learned => learned,
        }
    }

    /// Sends the questions of a look, for which the answers are read later.
    pub(super) fn ask(&mut self, entry: &mut Entry) -> Result<(), Failure> {
        if !entry.look || entry.asked.is_some() || self.has_no_size() {
            return Ok(());
        }
        let size = |path: &RemotePath| Command::Size(path.as_bytes().to_vec());
        let temporary = self.queue(Step::Look, &size(&entry.temporary))?;
        let last = if entry.is_direct() {
            None
        } else {
            Some(self.queue(Step::Look, &size(&entry.last))?)
        };
        entry.asked = Some(Asked { temporary, last });
        Ok(())
    }

    /// What is there under the temporary and the final name.
    async fn look(&mut self, entry: &mut Entry) -> Result<(Remote, Remote), Failure> {
        self.ask(entry)?;
        let (temporary, last) = match entry.asked.take() {
            None => (Remote::Unasked, Remote::Unasked),
            Some(Asked { temporary, last }) => {
                let temporary = self.reply(Step::Look, temporary).await?;
                let last = match last {
                    Some(tag) => Some(self.reply(Step::Look, tag).await?),
                    None => None,
                };
                let last = last.map_or(Ok(Remote::Missing), |r| self.remote(&entry.last, &r));
                (self.remote(&entry.temporary, &temporary)?, last?)
            }
        };
        self.can_look()?;
        entry.look = false;
        if entry.is_direct() && !entry.begun && temporary != Remote::Unasked {
            // What stands there may be an older file of this name: it is no
            // part of ours, though it may be all of ours.
            return Ok((Remote::Missing, temporary));
        }
        Ok((temporary, last))
    }

    /// What stands under a name.
    pub(super) async fn standing(&mut self, path: &RemotePath) -> Result<Remote, Failure> {
        let size = Command::Size(path.as_bytes().to_vec());
        let reply = self.call(Step::Look, &size).await?;
        self.remote(path, &reply)
    }

    /// What a reply to `SIZE` tells. "Not now" is no answer: taken for "no such
    /// file", it would have a file sent again that is there.
    fn remote(&self, path: &RemotePath, reply: &Reply) -> Result<Remote, Failure> {
        if is_not_implemented(reply) {
            self.server.learn(|profile| profile.no_size = true);
        }
        match parse_size(reply) {
            Some(size) => Ok(Remote::Bytes(size)),
            None if reply.is_transient() => {
                Err(Failure::refused(Step::Look, &path.to_string(), reply))
            }
            None => Ok(Remote::Missing),
        }
    }

    /// Whether it can be told which names are taken, where that matters.
    fn can_look(&self) -> Result<(), Failure> {
        if self.server.options.if_exists == IfExists::Overwrite || !self.has_no_size() {
            return Ok(());
        }
        let message = "if_exists needs SIZE to see which names are taken, and the server has none";
        let peer = self.server.peer();
        Err(Failure::new(Class::Network, Step::Look, &peer, message)
            .with_remedy("set if_exists = \"overwrite\", and a time or a number in remote"))
    }

    /// `if_exists`: what a taken name means for an entry that is not under way.
    async fn settle_taken_name(
        &mut self,
        entry: &mut Entry,
        temporary: Remote,
        last: Remote,
    ) -> Result<Option<Ended>, Failure> {
        let taken = matches!(last, Remote::Bytes(_)) && temporary == Remote::Missing;
        match self.server.options.if_exists {
            IfExists::Skip if taken => {
                if entry.job.tried
                    && last == Remote::Bytes(entry.job.size)
                    && let Evidence::Ours(proof) = self.evidence(entry).await?
                {
                    return Ok(Some(Ended::Settled(entry.delivered(proof))));
                }
                // What stands there may be a part of this very file, left by a try
                // that broke off: passed over, it would be all that ever arrives.
                if entry.is_direct() && entry.job.tried {
                    return Ok(None);
                }
                let delivered = Delivered {
                    skipped: true,
                    ..entry.delivered(Proof::Reply)
                };
                Ok(Some(Ended::Settled(delivered)))
            }
            IfExists::KeepBoth if taken => self.find_free_name(entry, last).await,
            _ => Ok(None),
        }
    }

    /// `name.ext`, `name-1.ext`, `name-2.ext`, …: the first that is free; or
    /// the one that is this very entry, published by an earlier try.
    async fn find_free_name(
        &mut self,
        entry: &mut Entry,
        mut last: Remote,
    ) -> Result<Option<Ended>, Failure> {
        let first = entry.last.clone();
        for number in 1..=NUMBERED_NAMES_MAX {
            if entry.job.tried
                && last == Remote::Bytes(entry.job.size)
                && let Evidence::Ours(proof) = self.evidence(entry).await?
            {
                return Ok(Some(Ended::Settled(entry.delivered(proof))));
            }
            let direct = entry.is_direct();
            let name = numbered(first.file_name(), number);
            entry.last = first.with_file_name(&name).map_err(|error| {
                Failure::new(
                    Class::File,
                    Step::Look,
                    &first.to_string(),
                    error.to_string(),
                )
            })?;
            if direct {
                entry.temporary = entry.last.clone();
            }
            last = self.standing(&entry.last).await?;
            if last == Remote::Missing {
                return Ok(None);
            }
        }
        let message = format!("{NUMBERED_NAMES_MAX} numbered names are taken");
        Err(
            Failure::new(Class::File, Step::Look, &first.to_string(), message)
                .with_remedy("put a time into remote, or set if_exists = \"overwrite\""),
        )
    }

    /// The final name is there and the temporary one is gone: was it us?
    async fn settle_published(&mut self, entry: &mut Entry) -> Result<Option<Ended>, Failure> {
        Ok(match self.evidence(entry).await? {
            Evidence::Ours(proof) => Some(Ended::Settled(entry.delivered(proof))),
            Evidence::Other => None,
        })
    }
}

/// `photo.jpg` and 1 make `photo-1.jpg`.
fn numbered(name: &[u8], number: u32) -> Vec<u8> {
    let dot = name
        .iter()
        .rposition(|byte| *byte == b'.')
        .filter(|at| *at > 0);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    [stem, format!("-{number}").as_bytes(), extension].concat()
}

/// Tries of one entry within one run: enough to go round all data modes once.
const TRIES_MAX: u32 = 6;

/// Names tried with `if_exists = "keep-both"`.
const NUMBERED_NAMES_MAX: u32 = 200;

/// At most so much of a file is sent before the server said 150, so that few
/// metered bytes are sent in vain.
pub(super) const EAGER_BYTES_MAX: u64 = 64 << 10;

/// What a server's hash command gets on top of the stall time: 4 MB a second.
pub(super) fn hashing_time(size: u64) -> Duration {
    Duration::from_secs(size / 4_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_names_keep_their_extension() {
        assert_eq!(numbered(b"photo.jpg", 1), b"photo-1.jpg");
        assert_eq!(numbered(b"a.tar.gz", 12), b"a.tar-12.gz");
        assert_eq!(numbered(b"noext", 2), b"noext-2");
        assert_eq!(numbered(b".hidden", 3), b".hidden-3");
    }
}
