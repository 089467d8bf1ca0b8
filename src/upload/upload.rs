//! One STOR: the data connection and both ends of the conversation about it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::check::Check;
use super::connect::GRACE;
use super::data::{Opening, Target};
use super::deliver::{EAGER_BYTES_MAX, Ended, Entry, Fault, Waiting};
use super::digest::Hasher;
use super::failure::{Class, Failure, Step};
use super::recover::Refused;
use super::resume::Plan;
use super::session::{Feeding, Session};
use super::source::Source;
use super::transfer::{self, Meter, Pace, SendError};
use super::wire::Wire;
use crate::ftp::command::Command;
use crate::ftp::control::{Event, Tag};
use crate::ftp::reply::Reply;
use crate::sys::{LocalFuture, timeout};

/// What is in flight around one STOR, and what has come back.
struct Flight {
    rename: Option<(Tag, Tag)>,
    rename_from: Option<Reply>,
    stor: Tag,
    begun: bool,
    stored: Option<Reply>,
}

impl Flight {
    /// Sorts one event; renames that travelled along are settled at once.
    fn take(&mut self, event: Event, waiting: &mut Option<Waiting>, feed: &Feeding<'_>) {
        match event {
            Event::Preliminary { tag, .. } if tag == self.stor => self.begun = true,
            Event::Reply { tag, reply, .. } => {
                if tag == self.stor {
                    self.stored = Some(reply);
                    return;
                }
                let Some((from, to)) = self.rename else {
                    return;
                };
                if tag == from {
                    self.rename_from = Some(reply);
                } else if tag == to
                    && let Some(first) = self.rename_from.take()
                {
                    Session::renamed_along(waiting, feed, (&first, &reply));
                }
            }
            other => log::debug!("not asked for: {other:?}"),
        }
    }
}

/// Progress and pace of one job.
struct FeedPace<'a, 'b> {
    feed: &'a Feeding<'b>,
    id: u64,
    begins_at: u64,
}

impl Pace for FeedPace<'_, '_> {
    fn throttle(&self, bytes: usize) -> Option<LocalFuture<'static, ()>> {
        self.feed.borrow_mut().throttle(bytes)
    }

    fn progress(&self, sent: u64) {
        self.feed
            .borrow_mut()
            .progress(self.id, self.begins_at + sent);
    }
}

/// What one conversation about a STOR works with.
struct Upload<'a> {
    wire: &'a RefCell<Wire>,
    source: &'a mut Source,
    flight: &'a mut Flight,
    /// Bytes that may be sent before the server said that it takes the file.
    eager: u64,
    offset: u64,
}

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
        let offset = match self.restart_at(entry, plan).await {
            Ok(offset) => offset,
            Err(refused) => return Err(self.recover(entry, plan, next, refused).await?),
        };
        let path = entry.temporary.as_bytes().to_vec();
        let command = match plan {
            Plan::Append(_) => Command::Appe(path),
            _ => Command::Stor(path),
        };
        let (mut flight, wire) = match self.open_data(entry, &command, waiting, feed).await {
            Ok(opened) => opened,
            Err(refused) => return Err(self.recover(entry, plan, next, refused).await?),
        };
        let hasher = self
            .digest()
            .filter(|_| offset == 0)
            .map(|(_, kind)| Hasher::new(kind));
        let chunk_len = if wire.is_tls() {
            TLS_CHUNK_LEN
        } else {
            PLAIN_CHUNK_LEN
        };
        let range = (offset, entry.job.size);
        let (file, pool) = (entry.job.content.clone(), self.sys.pool.clone());
        let mut source = Source::new(file, pool, range, chunk_len, hasher);
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
        self.finish_check(entry, check, hash).await
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
        if offset > 0 || in_doubt {
            0
        } else {
            EAGER_BYTES_MAX
        }
    }

    /// Takes the next entry early.
    fn fill(&self, next: &mut Option<Entry>, feed: &Feeding<'_>) {
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

    /// Sends the STOR (and the rename of the entry before), and opens the data
    /// connection at the same time. A way that never worked here is tried
    /// before the STOR is sent, because a server waits long for a data
    /// connection that does not come.
    async fn open_data(
        &mut self,
        entry: &Entry,
        command: &Command,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<(Flight, Wire), Refused> {
        if let Some(wire) = self.lingering.take() {
            smol::future::poll_once(transfer::drain(&wire)).await;
        }
        let target = match self.prepared.take() {
            Some(to) => Target::Passive(to),
            None => self.target().await?,
        };
        let mut opening = Opening {
            sys: self.sys.clone(),
            connector: self.link.connector.clone(),
            target,
            control_peer: self.peer,
            limit: self.server.options.connect_timeout,
            tcp: None,
        };
        if matches!(opening.target, Target::Passive(_)) && !self.data_mode_is_proven() {
            opening.connect().await?;
        }
        let rename = match waiting {
            Some(Waiting {
                entry,
                refused: None,
                ..
            }) => {
                let (from, to) = (entry.temporary.as_bytes(), entry.last.as_bytes());
                Some(self.queue_rename(from, to)?)
            }
            _ => None,
        };
        let stor = self.queue(Step::Store, command)?;
        let mut flight = Flight {
            rename,
            rename_from: None,
            stor,
            begun: false,
            stored: None,
        };
        let mut open = pin!(opening.open());
        let dialogue = &mut self.link.dialogue;
        let opened = poll_fn(|context| {
            // The server's word first: a refusal explains a failed connection.
            while let Poll::Ready(event) = dialogue.poll_event(context, Step::Store) {
                match event {
                    Ok(event) => flight.take(event, waiting, feed),
                    Err(failure) => return Poll::Ready(Err(failure)),
                }
            }
            if flight
                .stored
                .as_ref()
                .is_some_and(|reply| !reply.is_completion())
            {
                return Poll::Ready(Ok(None));
            }
            open.as_mut().poll(context).map(|opened| Ok(Some(opened)))
        })
        .await?;
        let failure = match opened {
            Some(Ok(wire)) => return Ok((flight, wire)),
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        self.await_stored(&mut flight, waiting, feed).await?;
        let subject = entry.subject();
        Err(match (flight.stored, failure) {
            (Some(reply), _) if !reply.is_completion() => Refused::by(
                Failure::refused(Step::Store, &subject, &reply),
                flight.begun,
            ),
            (stored, failure) => Refused {
                clean: stored.is_some(),
                ..Refused::from(failure.unwrap_or_else(|| cut(&subject, None)))
            },
        })
    }

    /// After the data connection failed: the reply to the STOR tells why, if
    /// it comes soon.
    async fn await_stored(
        &mut self,
        flight: &mut Flight,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<(), Failure> {
        let clock = self.sys.clock.clone();
        let dialogue = &mut self.link.dialogue;
        let waited = timeout(&*clock, GRACE, async {
            while flight.stored.is_none() {
                let event = dialogue.event(Step::Store).await?;
                flight.take(event, waiting, feed);
            }
            Ok(())
        })
        .await;
        waited.unwrap_or(Ok(()))
    }

    /// Sends the bytes while listening to both connections, until the server
    /// has given its final word on the STOR. On servers that queue commands
    /// behind a transfer the check is sent with the end of the data.
    async fn converse(
        &mut self,
        entry: &mut Entry,
        upload: Upload<'_>,
        waiting: &mut Option<Waiting>,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<Option<Check>, Refused> {
        let Upload {
            wire,
            source,
            flight,
            eager,
            offset,
        } = upload;
        let clock = self.sys.clock.clone();
        let meter = Meter::new(clock.mono(), eager);
        if flight.begun {
            meter.allow_all();
        }
        let pace = FeedPace {
            feed,
            id: entry.job.id,
            begins_at: offset,
        };
        let limit = self.server.options.stall_timeout;
        let mut sending = pin!(transfer::send(wire, source, &*clock, &meter, &pace));
        let mut draining = pin!(transfer::drain(wire));
        let mut stalling = pin!(transfer::stalled(wire, &*clock, &meter, limit));
        let (mut sent, mut drained, mut check) = (None, false, None);
        let ended: Result<(), Refused> = loop {
            let dialogue = &mut self.link.dialogue;
            let happening = poll_fn(|context| {
                drained = drained || draining.as_mut().poll(context).is_ready();
                if sent.is_none()
                    && let Poll::Ready(result) = sending.as_mut().poll(context)
                {
                    return Poll::Ready(Happening::Sent(result));
                }
                if let Poll::Ready(event) = dialogue.poll_event(context, Step::Store) {
                    return Poll::Ready(Happening::Said(event));
                }
                stalling.as_mut().poll(context).map(|()| Happening::Stalled)
            });
            match happening.await {
                Happening::Sent(result) => {
                    meter.touch(clock.mono());
                    if let Err(SendError::Source(error)) = &result {
                        let message = error.to_string();
                        let failure =
                            Failure::new(Class::Source, Step::Store, &entry.subject(), message);
                        break Err(Refused {
                            clean: false,
                            ..failure.into()
                        });
                    }
                    if result.is_ok() && self.link.kind.queues_behind_transfer() {
                        self.fill(next, feed);
                        check = Some(self.begin_check(entry, next.as_mut())?);
                    }
                    sent = Some(result);
                }
                Happening::Said(event) => {
                    meter.touch(clock.mono());
                    match event {
                        Ok(event) => flight.take(event, waiting, feed),
                        Err(failure) => break Err(failure.into()),
                    }
                    if flight.begun {
                        meter.allow_all();
                    }
                    if flight.stored.is_some() {
                        break Ok(());
                    }
                }
                Happening::Stalled => {
                    let message = format!("no byte moved for {} s", limit.as_secs());
                    let subject = entry.subject();
                    break Err(Failure::new(Class::Network, Step::Store, &subject, message).into());
                }
            }
        };
        entry.sent += meter.sent();
        entry.begun |= flight.begun;
        ended?;
        let subject = entry.subject();
        match (&flight.stored, sent) {
            (Some(reply), Some(Ok(()))) if reply.is_completion() => Ok(check),
            (Some(reply), sent) if reply.is_completion() => Err(cut(&subject, sent).into()),
            (Some(reply), _) => {
                // What was sent behind the data is answered too; nobody wants it.
                Err(Refused::by(
                    Failure::refused(Step::Store, &subject, reply),
                    flight.begun,
                ))
            }
            (None, sent) => Err(cut(&subject, sent).into()),
        }
    }
}

/// What the loop of one transfer waits for.
enum Happening {
    Sent(Result<(), SendError>),
    Said(Result<Event, Failure>),
    Stalled,
}

/// The server was content, but not all of the file had gone out.
fn cut(subject: &str, sent: Option<Result<(), SendError>>) -> Failure {
    let message = match sent {
        Some(Err(SendError::Wire(error) | SendError::Source(error))) => {
            format!("the data connection broke: {error}")
        }
        _ => "the data connection was cut".to_owned(),
    };
    Failure::new(Class::Data, Step::Store, subject, message)
}

/// Two of these are in memory for one upload.
const PLAIN_CHUNK_LEN: usize = 256 << 10;

/// TLS cuts into records of 16 KiB and buffers 64 KiB.
const TLS_CHUNK_LEN: usize = 64 << 10;
