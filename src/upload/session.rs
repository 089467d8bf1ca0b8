//! One control connection and what it is used for.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;

use heapless::Deque;

use super::connect::{LoggedIn, Observer, Server, log_in};
use super::deliver::{Entry, Waiting};
use super::failure::{Class, Failure, Step};
use super::job::{Feed, Job};
use super::profile::DataMode;
use super::wire::Wire;
use crate::ftp::command::Command;
use crate::ftp::control::Tag;
use crate::ftp::path::RemotePath;
use crate::ftp::reply::Reply;
use crate::ftp::verify::parse_size;
use crate::sys::Sys;

/// A session: logged in, of type Image, with protected data connections where
/// TLS is used. [`Session::run`] delivers whatever its feed has; between runs
/// the session may stay open for the next ones.
///
/// After a failure that [`Failure::ends_session`], drop it and open another.
pub struct Session {
    pub(super) sys: Sys,
    pub(super) server: Rc<Server>,
    pub(super) link: LoggedIn,
    pub(super) peer: SocketAddr,
    /// A data mode that has not carried a file yet.
    pub(super) trying: Option<DataMode>,
    /// The passive port that was asked for in advance.
    pub(super) prepared: Option<SocketAddr>,
    /// Directories that exist, or cannot be made: nothing is gained by another MKD.
    pub(super) made: Deque<RemotePath, DIRECTORIES_MAX>,
    /// The last data connection, until the server's side of it has ended.
    pub(super) lingering: Option<RefCell<Wire>>,
    /// A rename was refused, and none has worked since: the server may keep what
    /// an RNFR named, and an RNTO behind a refused RNFR would rename that file. So
    /// RNTO waits for the 350 then.
    pub(super) rename_in_doubt: bool,
    /// It has been idle since an earlier run.
    kept: bool,
}

/// The feed, lent to what happens side by side.
pub(super) type Feeding<'a> = RefCell<&'a mut dyn Feed>;

impl Session {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The step that failed, and what to do about it.
    pub async fn open(sys: &Sys, server: &Rc<Server>) -> Result<Session, Failure> {
        Session::open_observed(sys, server, &mut |_, _| ()).await
    }

    /// The same; `observe` is told of each step that worked.
    ///
    /// # Errors
    /// The same.
    pub async fn open_observed(
        sys: &Sys,
        server: &Rc<Server>,
        observe: Observer<'_>,
    ) -> Result<Session, Failure> {
        let link = log_in(sys, server, observe).await?;
        let peer = peer_of(&link, server)?;
        Ok(Session {
            sys: sys.clone(),
            server: server.clone(),
            link,
            peer,
            trying: None,
            prepared: None,
            made: Deque::new(),
            lingering: None,
            rename_in_doubt: false,
            kept: false,
        })
    }

    /// Delivers what the feed has, until it has nothing more that is ready.
    ///
    /// # Errors
    /// The failure that ended the session; every job that was taken has been
    /// told of it through [`Feed::done`] before.
    pub async fn run(&mut self, feed: &mut dyn Feed) -> Result<(), Failure> {
        let feed = RefCell::new(feed);
        let mut waiting: Option<Waiting> = None;
        let mut next = self.take(&feed);
        if next.is_some()
            && let Err(failure) = self.wake().await
        {
            return Err(fail_all(&feed, waiting, next, failure));
        }
        while let Some(entry) = next.take() {
            let ended = self.deliver(entry, &mut waiting, &mut next, &feed).await;
            if let Err(failure) = ended {
                return Err(fail_all(&feed, waiting, next, failure));
            }
            if next.is_none() {
                next = self.take(&feed);
            }
            if next.is_none() {
                if let Err(failure) = self.flush(&mut waiting, &feed).await {
                    return Err(fail_all(&feed, waiting, next, failure));
                }
                next = self.take(&feed);
            }
        }
        Ok(())
    }

    /// The next job whose path can be sent at all.
    pub(super) fn take(&self, feed: &Feeding<'_>) -> Option<Entry> {
        loop {
            let job = feed.borrow_mut().try_next()?;
            let id = job.id;
            match Entry::new(job, &self.server.options) {
                Ok(entry) => return Some(entry),
                Err(failure) => feed.borrow_mut().done(id, 0, Err(failure)),
            }
        }
    }

    /// `SIZE` (RFC 3659 §4) in bytes; `None` when there is no such file.
    ///
    /// # Errors
    /// Only those that end the session.
    pub async fn size(&mut self, path: &[u8]) -> Result<Option<u64>, Failure> {
        let reply = self.call(Step::Look, &Command::Size(path.to_vec())).await?;
        Ok(parse_size(&reply))
    }

    /// `DELE`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn delete(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.demand(Step::Delete, path, &Command::Dele(path.to_vec()))
            .await
    }

    /// `MKD`.
    ///
    /// # Errors
    /// The refusal, also when the directory exists.
    pub async fn make_directory(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.demand(Step::MakeDirectory, path, &Command::Mkd(path.to_vec()))
            .await
    }

    /// `RMD`.
    ///
    /// # Errors
    /// The refusal.
    pub async fn remove_directory(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.demand(Step::Delete, path, &Command::Rmd(path.to_vec()))
            .await
    }

    /// `RNFR` and `RNTO` in one flight.
    ///
    /// # Errors
    /// The refusal of either.
    pub async fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Failure> {
        let renamed = match self.rename_in_doubt {
            true => self.rename_in_turn(from, to).await?,
            false => {
                let (rnfr, rnto) = self.queue_rename(from, to)?;
                let first = self.reply(Step::Publish, rnfr).await?;
                let second = self.reply(Step::Publish, rnto).await?;
                judge_rename(first, second)
            }
        };
        self.rename_in_doubt = renamed.is_err();
        let subject = String::from_utf8_lossy(to);
        renamed.map_err(|reply| Failure::refused(Step::Publish, &subject, &reply))
    }

    /// RNTO only when RNFR was accepted. The inner error is the refusal.
    async fn rename_in_turn(
        &mut self,
        from: &[u8],
        to: &[u8],
    ) -> Result<Result<(), Reply>, Failure> {
        let rnfr = Command::Rnfr(from.to_vec());
        let first = self.call(Step::Publish, &rnfr).await?;
        if !first.is_positive() {
            return Ok(Err(first));
        }
        let rnto = Command::Rnto(to.to_vec());
        let second = self.call(Step::Publish, &rnto).await?;
        Ok(judge_rename(first, second))
    }

    /// Any command that uses no data connection; the reply is not judged.
    ///
    /// # Errors
    /// Only those that end the session, and arguments that cannot be sent.
    pub async fn command(&mut self, command: &Command) -> Result<Reply, Failure> {
        self.call(Step::Command, command).await
    }

    /// What the server says it can do.
    #[must_use]
    pub fn features(&self) -> &crate::ftp::feat::Features {
        &self.link.features
    }

    /// Says goodbye. Nothing depends on the answer.
    pub async fn quit(mut self) {
        self.link.dialogue.set_limit(super::connect::GRACE);
        if let Err(failure) = self.call(Step::Command, &Command::Quit).await {
            log::debug!("{failure}");
        }
    }

    /// Logs in anew; what was agreed on the old connection is void.
    pub(super) async fn reopen(&mut self) -> Result<(), Failure> {
        log::debug!("{}: a new control connection", self.server.options.name);
        self.prepared = None;
        self.lingering = None;
        self.link = log_in(&self.sys, &self.server, &mut |_, _| ()).await?;
        self.peer = peer_of(&self.link, &self.server)?;
        Ok(())
    }

    /// Makes sure of a session that was kept: servers close idle ones.
    async fn wake(&mut self) -> Result<(), Failure> {
        if !std::mem::replace(&mut self.kept, true) {
            return Ok(());
        }
        if self.has_ended().await {
            return self.reopen().await;
        }
        // The port may be gone by now. And without one a STOR is never the
        // first command, so that nothing is in doubt when that is not answered.
        self.prepared = None;
        self.link.dialogue.listen_anew();
        Ok(())
    }

    /// Whether the session ended while it was kept: since then the server has
    /// answered nothing, and nothing is known to be wrong with it.
    pub(super) fn died_idle(&self, failure: &Failure) -> bool {
        failure.class == Class::Network && !self.link.dialogue.has_heard()
    }

    /// Whether the server closed the connection while nothing was done.
    async fn has_ended(&mut self) -> bool {
        let dialogue = &mut self.link.dialogue;
        poll_fn(|context| {
            Poll::Ready(loop {
                match dialogue.poll_event(context, Step::Command) {
                    Poll::Ready(Ok(event)) => log::debug!("not asked for: {event:?}"),
                    Poll::Ready(Err(_)) => break true,
                    Poll::Pending => break false,
                }
            })
        })
        .await
    }

    pub(super) async fn call(&mut self, step: Step, command: &Command) -> Result<Reply, Failure> {
        self.link.dialogue.call(step, command).await
    }

    pub(super) async fn reply(&mut self, step: Step, tag: Tag) -> Result<Reply, Failure> {
        self.link.dialogue.reply(step, tag).await
    }

    pub(super) fn queue(&mut self, step: Step, command: &Command) -> Result<Tag, Failure> {
        self.link.dialogue.queue(step, command)
    }

    pub(super) fn queue_rename(&mut self, from: &[u8], to: &[u8]) -> Result<(Tag, Tag), Failure> {
        let rnfr = self.queue(Step::Publish, &Command::Rnfr(from.to_vec()))?;
        let rnto = self.queue(Step::Publish, &Command::Rnto(to.to_vec()))?;
        Ok((rnfr, rnto))
    }

    async fn demand(&mut self, step: Step, path: &[u8], command: &Command) -> Result<(), Failure> {
        let reply = self.call(step, command).await?;
        if reply.is_completion() {
            return Ok(());
        }
        Err(Failure::refused(
            step,
            &String::from_utf8_lossy(path),
            &reply,
        ))
    }
}

/// What the replies to RNFR and RNTO come to; the error is the refusal.
pub(super) fn judge_rename(rnfr: Reply, rnto: Reply) -> Result<(), Reply> {
    match (rnfr.is_positive(), rnto.is_completion()) {
        (true, true) => Ok(()),
        (false, _) => Err(rnfr),
        (true, false) => Err(rnto),
    }
}

fn peer_of(link: &LoggedIn, server: &Server) -> Result<SocketAddr, Failure> {
    link.dialogue.wire().peer_addr().map_err(|error| {
        Failure::new(
            Class::Network,
            Step::Connect,
            &server.peer(),
            error.to_string(),
        )
    })
}

/// Tells every job that was taken of the end, so that none is forgotten.
fn fail_all(
    feed: &Feeding<'_>,
    waiting: Option<Waiting>,
    next: Option<Entry>,
    failure: Failure,
) -> Failure {
    let entries = waiting.map(|waiting| waiting.entry).into_iter().chain(next);
    for entry in entries {
        let Job { id, .. } = entry.job;
        feed.borrow_mut().done(id, entry.sent, Err(failure.clone()));
    }
    failure
}

/// More are forgotten, the oldest first, and made again when missed.
const DIRECTORIES_MAX: usize = 64;
