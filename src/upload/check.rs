//! Whether the server has what was sent: a hash of the whole file where it
//! offers one, else the size; and what travels in the same flight.

use std::sync::Arc;

use super::deliver::{Ended, Entry, Fault, Then, hashing_time};
use super::failure::{Class, Failure, Step};
use super::job::Proof;
use super::options::{IfGone, VerifyMode};
use super::profile::Resuming;
use super::session::Session;
use super::source::Source;
use crate::base::sabotage::{Sabotage, is_on};
use crate::ftp::command::{Command, DigestCommand};
use crate::ftp::control::Tag;
use crate::ftp::digest::Hasher;
use crate::ftp::path::RemotePath;
use crate::ftp::reply::Reply;
use crate::ftp::time::FtpTime;
use crate::ftp::verify::{Algorithm, parse_digest, parse_mdtm, parse_size};

/// The questions behind one upload, in the order in which they were sent.
pub(super) struct Check {
    digest: Option<(Tag, DigestCommand, Algorithm)>,
    size: Option<Tag>,
    mtime: Option<Tag>,
    passive: Option<Tag>,
}

/// Whose file stands under the final name.
pub(super) enum Evidence {
    /// This entry, published before.
    Ours(Proof),
    /// Another one that happens to be as long.
    Other,
}

impl Session {
    /// Whether files can be proven here as `wanted` says.
    ///
    /// # Errors
    /// With [`VerifyMode::Hash`], when the server offers no hash command.
    pub fn can_verify(&self, wanted: VerifyMode) -> Result<(), Failure> {
        if wanted != VerifyMode::Hash || self.offered_digest().is_some() {
            return Ok(());
        }
        // No file is to blame, and nothing may be sent in vain: the server is
        // as good as down, so a fallback takes over.
        let message = "verify = \"hash\", but the server offers no hash command";
        let peer = self.server.peer();
        Err(Failure::new(Class::Network, Step::Verify, &peer, message)
            .with_remedy("set verify = \"auto\" to have sizes compared where there is no hash"))
    }

    /// The server's hash command to use, if any.
    pub(super) fn digest(&self) -> Option<(DigestCommand, Algorithm)> {
        match self.server.options.verify {
            VerifyMode::Hash => self.offered_digest(),
            VerifyMode::Auto if !self.server.profile.borrow().no_hash => self.offered_digest(),
            _ => None,
        }
    }

    fn offered_digest(&self) -> Option<(DigestCommand, Algorithm)> {
        // SHA-512 is left for last: it is the slowest on 32-bit devices, and
        // SHA-256 proves as much.
        const KNOWN: [Algorithm; 4] = [
            Algorithm::Crc32,
            Algorithm::Md5,
            Algorithm::Sha1,
            Algorithm::Sha256,
        ];
        let features = &self.link.features;
        features
            .strongest_digest(&KNOWN)
            .or_else(|| features.strongest_digest(&Algorithm::ALL))
    }

    /// Sends the check of `entry`, the setting of its time, and (with `ahead`)
    /// what the next entry needs, all in one flight.
    pub(super) fn begin_check(
        &mut self,
        entry: &Entry,
        ahead: Option<&mut Entry>,
    ) -> Result<Check, Failure> {
        let path = || entry.temporary.as_bytes().to_vec();
        let mut check = Check {
            digest: None,
            size: None,
            mtime: None,
            passive: None,
        };
        // Of nothing there is no hash: ProFTPD refuses to make one.
        let digest = self.digest().filter(|_| entry.job.size > 0);
        match (digest, self.server.options.verify) {
            (_, VerifyMode::None) => {}
            (Some((command, algorithm)), _) => {
                let tag = self.queue(Step::Verify, &Command::Digest(command, path()))?;
                check.digest = Some((tag, command, algorithm));
            }
            // Refused in advance: there it is known not to be answered.
            (None, _) if self.has_no_size() => {}
            (None, _) => {
                check.size = Some(self.queue(Step::Verify, &Command::Size(path()))?);
            }
        }
        if let Some(command) = self.time_command(entry) {
            check.mtime = Some(self.queue(Step::Verify, &command)?);
        }
        if let Some(next) = ahead {
            if let Some(command) = self
                .passive_command()
                .filter(|_| self.data_mode_is_proven())
            {
                check.passive = Some(self.queue(Step::DataConnection, &command)?);
            }
            self.ask(next)?;
        }
        Ok(check)
    }

    /// Reads the answers. `hash` is that of the bytes sent, when they were the
    /// whole file.
    pub(super) async fn finish_check(
        &mut self,
        entry: &mut Entry,
        check: Check,
        hash: Option<Vec<u8>>,
    ) -> Result<Ended, Fault> {
        let proven = self.judge(entry, &check, hash).await;
        if let Err(fault) = &proven
            && fault.failure.ends_session()
        {
            return Err(fault.clone());
        }
        if let Some(tag) = check.mtime {
            let reply = self.reply(Step::Verify, tag).await?;
            if is_not_implemented(&reply) {
                self.server.learn(|profile| profile.no_mtime = true);
            }
        }
        if let Some(tag) = check.passive {
            let reply = self.reply(Step::DataConnection, tag).await?;
            self.prepared = self.passive_address(&reply);
        }
        let proof = proven?;
        if entry.is_direct() {
            return Ok(Ended::Settled(entry.delivered(proof)));
        }
        Ok(Ended::Checked(proof))
    }

    /// The check of a file that needs no upload any more.
    pub(super) async fn check_alone(&mut self, entry: &mut Entry) -> Result<Ended, Fault> {
        let check = self.begin_check(entry, None)?;
        self.finish_check(entry, check, None).await
    }

    async fn judge(
        &mut self,
        entry: &mut Entry,
        check: &Check,
        hash: Option<Vec<u8>>,
    ) -> Result<Proof, Fault> {
        if let Some((tag, command, algorithm)) = check.digest {
            let limit = self.server.options.stall_timeout + hashing_time(entry.job.size);
            let dialogue = &mut self.link.dialogue;
            let reply = dialogue.reply_within(Step::Verify, tag, limit).await?;
            if let Some(digest) = parse_digest(command, &reply) {
                let ours = match hash.filter(|_| digest.algorithm == algorithm) {
                    Some(ours) => ours,
                    None => self.hash_of(entry, digest.algorithm).await?,
                };
                if digest.proves(&ours, entry.job.size) {
                    return Ok(Proof::Hash(digest.algorithm));
                }
                return Err(self.differs(entry, "the server's hash of it is another one"));
            }
            if is_not_implemented(&reply) {
                self.server.learn(|profile| profile.no_hash = true);
            }
            if self.server.options.verify == VerifyMode::Hash {
                let failure = Failure::refused(Step::Verify, &entry.subject(), &reply);
                return Err(failure.with_remedy("set verify = \"auto\"").into());
            }
            let tag = self.queue(
                Step::Verify,
                &Command::Size(entry.temporary.as_bytes().to_vec()),
            )?;
            return self.judge_size(entry, tag).await;
        }
        match check.size {
            Some(tag) => self.judge_size(entry, tag).await,
            None => Ok(Proof::Reply),
        }
    }

    async fn judge_size(&mut self, entry: &mut Entry, tag: Tag) -> Result<Proof, Fault> {
        let reply = self.reply(Step::Verify, tag).await?;
        let subject = entry.subject();
        match parse_size(&reply) {
            Some(size) if size == entry.job.size => Ok(Proof::Size),
            Some(size) => {
                let message = format!("the server has {size} of {} bytes", entry.job.size);
                if entry.appended_at.and_then(|at| at.checked_add(size)) == Some(entry.job.size) {
                    // What was appended is all there is: it replaced the file.
                    self.server
                        .learn(|profile| profile.resuming = Resuming::Never);
                }
                if size > entry.job.size {
                    return Err(self.differs(entry, &message));
                }
                let failure = Failure::new(Class::Data, Step::Verify, &subject, message);
                Err(Fault {
                    failure,
                    then: Then::RetryAfterLook,
                })
            }
            None if reply.code() == 550 => match self.server.options.if_gone {
                IfGone::Delivered => Ok(Proof::Reply),
                IfGone::Resend => {
                    let message = "the file is gone before it could be checked";
                    let failure = Failure::new(Class::Data, Step::Verify, &subject, message)
                        .with_remedy("if the server takes files away, set if_gone = \"delivered\"");
                    Err(Fault {
                        failure,
                        then: Then::RetryAfterLook,
                    })
                }
            },
            None if is_not_implemented(&reply) => {
                self.server.learn(|profile| profile.no_size = true);
                Ok(Proof::Reply)
            }
            None => Err(Failure::refused(Step::Verify, &subject, &reply).into()),
        }
    }

    /// Whether `SIZE` is known to be refused.
    pub(super) fn has_no_size(&self) -> bool {
        self.server.profile.borrow().no_size
    }

    /// What is there is not ours: start anew, unless it is just the beginning.
    fn differs(&self, entry: &mut Entry, message: &str) -> Fault {
        if entry.appended_at.is_some() {
            // It seems to replace a file by what is appended.
            self.server
                .learn(|profile| profile.resuming = Resuming::Never);
        }
        entry.restart = true;
        let failure = Failure::new(Class::Data, Step::Verify, &entry.subject(), message);
        Fault {
            failure,
            then: Then::RetryAfterLook,
        }
    }

    /// Whether the file under the final name, of the right size, is this entry:
    /// by hash, else by the time that was set before the rename. The size alone
    /// does not tell it from an earlier version of the same length.
    pub(super) async fn evidence(&mut self, entry: &Entry) -> Result<Evidence, Failure> {
        let path = entry.last.as_bytes().to_vec();
        if is_on(Sabotage::SizeIsEvidence) {
            return Ok(Evidence::Ours(Proof::Size));
        }
        if let Some((command, _)) = self.digest().filter(|_| entry.job.size > 0) {
            let tag = self.queue(Step::Look, &Command::Digest(command, path.clone()))?;
            let limit = self.server.options.stall_timeout + hashing_time(entry.job.size);
            let reply = self
                .link
                .dialogue
                .reply_within(Step::Look, tag, limit)
                .await?;
            if let Some(digest) = parse_digest(command, &reply) {
                let ours = self.hash_of(entry, digest.algorithm).await?;
                return Ok(match digest.proves(&ours, entry.job.size) {
                    true => Evidence::Ours(Proof::Hash(digest.algorithm)),
                    false => Evidence::Other,
                });
            }
            if reply.is_transient() {
                return Err(Failure::refused(Step::Look, &entry.subject(), &reply));
            }
        }
        // In doubt it is another one: sending again loses nothing, while an
        // earlier version taken for this one would be all that ever arrives.
        if self.time_command(entry).is_none() {
            return Ok(Evidence::Other);
        }
        let reply = self.call(Step::Look, &Command::Mdtm(path)).await?;
        if reply.is_transient() {
            return Err(Failure::refused(Step::Look, &entry.subject(), &reply));
        }
        let theirs = parse_mdtm(&reply).map(FtpTime::unix_secs);
        let now = self.sys.clock.wall().secs();
        let times = theirs.zip(entry.job.mtime);
        Ok(match times {
            Some((theirs, ours)) if theirs == ours => Evidence::Ours(Proof::Size),
            Some((theirs, ours))
                if !entry.job.is_later_version && was_written_late(theirs, ours, now) =>
            {
                Evidence::Ours(Proof::Size)
            }
            _ => Evidence::Other,
        })
    }

    /// The command that gives the server's file the time of ours.
    fn time_command(&self, entry: &Entry) -> Option<Command> {
        if !self.server.options.mtime || self.server.profile.borrow().no_mtime {
            return None;
        }
        let time = FtpTime::from_unix(entry.job.mtime?)?;
        let path: &RemotePath = &entry.temporary;
        let path = path.as_bytes().to_vec();
        if self.link.features.mfmt {
            Some(Command::Mfmt(time, path))
        } else if self.link.kind.mdtm_sets_time() {
            Some(Command::MdtmSet(time, path))
        } else {
            None
        }
    }

    /// Our own hash of the whole file, read again.
    async fn hash_of(&self, entry: &Entry, algorithm: Algorithm) -> Result<Vec<u8>, Failure> {
        let range = (0, entry.job.size);
        let file = Arc::clone(&entry.job.content);
        let hasher = Hasher::new(algorithm);
        let mut source = Source::new(
            file,
            self.sys.pool.clone(),
            range,
            HASH_CHUNK_LEN,
            Some(hasher),
        );
        let mut chunk = Vec::new();
        loop {
            source.next(&mut chunk).await.map_err(|error| {
                Failure::new(
                    Class::Source,
                    Step::Verify,
                    &entry.subject(),
                    error.to_string(),
                )
            })?;
            if chunk.is_empty() {
                return Ok(source.into_hash().unwrap_or_default());
            }
        }
    }
}

/// Whether a file of time `theirs` can be the one whose time was set to `ours`,
/// where it is no earlier version; all in seconds since 1970. A server that still
/// wrote for a session that had died gives it the time of that moment, after the
/// time was set. Any later time proves nothing: the clock may have been set back
/// between two versions.
fn was_written_late(theirs: i64, ours: i64, now: i64) -> bool {
    theirs > ours && theirs.abs_diff(now) <= LATE_WRITE_S
}

/// Whether a refusal is about the command and not about the file.
pub(super) fn is_not_implemented(reply: &Reply) -> bool {
    matches!(reply.code(), 500 | 502)
}

const HASH_CHUNK_LEN: usize = 64 << 10;

/// So long ago a server may have written for a session that had died.
const LATE_WRITE_S: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_time_proves_a_publish_only_when_the_server_wrote_just_now() {
        const NOW: i64 = 1_790_000_000;
        for (theirs, ours, expected) in [
            (NOW - 5, NOW - 900, true),
            (NOW + 5, NOW - 900, true),
            // An earlier version, taken while the clock was wrong.
            (NOW + 300_000_000, NOW - 900, false),
            (NOW - 500, NOW - 900, false),
            (NOW - 901, NOW - 900, false),
        ] {
            assert_eq!(was_written_late(theirs, ours, NOW), expected, "{theirs}");
        }
    }
}
