//! A STOR on its way, and the data connection that is opened beside it.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::connect::GRACE;
use super::data::{Opening, Target};
use super::deliver::{Entry, Waiting};
use super::failure::{Class, Failure, Step};
use super::recover::Refused;
use super::session::{Feeding, Session};
use super::transfer::{self, SendError};
use super::wire::Wire;
use crate::ftp::command::Command;
use crate::ftp::control::{Event, Tag};
use crate::ftp::reply::Reply;
use crate::sys::timeout;

/// What is in flight around one STOR, and what has come back.
pub(super) struct Flight {
    rename: Option<(Tag, Tag)>,
    rename_from: Option<Reply>,
    stor: Tag,
    /// The server said 150 (or 125).
    pub(super) begun: bool,
    /// Its final word.
    pub(super) stored: Option<Reply>,
}

impl Flight {
    /// Sorts one event; renames that travelled along are settled at once.
    pub(super) fn take(&mut self, event: Event, waiting: &mut Option<Waiting>, feed: &Feeding<'_>) {
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
                    Session::renamed_along(waiting, feed, (first, reply));
                }
            }
            other => log::debug!("not asked for: {other:?}"),
        }
    }

    /// Whether the server refused the STOR.
    fn is_refused(&self) -> bool {
        let stored = self.stored.as_ref();
        stored.is_some_and(|reply| !reply.is_completion())
    }

    /// Why there is no data connection: the server's word, else our own.
    fn refusal(self, subject: &str, failure: Option<Failure>) -> Refused {
        match self.stored {
            Some(reply) if !reply.is_completion() => {
                let failure = Failure::refused(Step::Store, subject, &reply);
                Refused::by(failure, self.begun)
            }
            stored => Refused {
                clean: stored.is_some(),
                ..Refused::from(failure.unwrap_or_else(|| cut(subject, None)))
            },
        }
    }
}

impl Session {
    /// Sends the STOR (and the rename of the entry before), and opens the data
    /// connection at the same time.
    pub(super) async fn open_data(
        &mut self,
        entry: &Entry,
        command: &Command,
        opening: Opening,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<(Flight, Wire), Refused> {
        let mut flight = self.launch(command, waiting.as_ref())?;
        let opened = self
            .open_listening(opening, &mut flight, waiting, feed)
            .await?;
        let failure = match opened {
            Some(Ok(wire)) => return Ok((flight, wire)),
            Some(Err(failure)) => Some(failure),
            None => None,
        };
        self.await_stored(&mut flight, waiting, feed).await?;
        Err(flight.refusal(&entry.subject(), failure))
    }

    /// Where the data connection goes. A way that never worked here is tried
    /// before the STOR is sent, because a server waits long for a data
    /// connection that does not come.
    pub(super) async fn opening(&mut self) -> Result<Opening, Failure> {
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
        Ok(opening)
    }

    /// Sends the STOR, behind the rename of the entry before.
    fn launch(&mut self, command: &Command, waiting: Option<&Waiting>) -> Result<Flight, Failure> {
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
        Ok(Flight {
            rename,
            rename_from: None,
            stor: self.queue(Step::Store, command)?,
            begun: false,
            stored: None,
        })
    }

    /// Opens the data connection; nothing, when the server refuses the STOR
    /// first. The outer error is the session's end.
    async fn open_listening(
        &mut self,
        opening: Opening,
        flight: &mut Flight,
        waiting: &mut Option<Waiting>,
        feed: &Feeding<'_>,
    ) -> Result<Option<Result<Wire, Failure>>, Failure> {
        let mut open = pin!(opening.open());
        let dialogue = &mut self.link.dialogue;
        poll_fn(|context| {
            // The server's word first: a refusal explains a failed connection.
            while let Poll::Ready(event) = dialogue.poll_event(context, Step::Store) {
                match event {
                    Ok(event) => flight.take(event, waiting, feed),
                    Err(failure) => return Poll::Ready(Err(failure)),
                }
            }
            if flight.is_refused() {
                return Poll::Ready(Ok(None));
            }
            open.as_mut().poll(context).map(|opened| Ok(Some(opened)))
        })
        .await
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
}

/// The server was content, but not all of the file had gone out.
pub(super) fn cut(subject: &str, sent: Option<Result<(), SendError>>) -> Failure {
    let message = match sent {
        Some(Err(SendError::Wire(error) | SendError::Source(error))) => {
            format!("the data connection broke: {error}")
        }
        _ => "the data connection was cut".to_owned(),
    };
    Failure::new(Class::Data, Step::Store, subject, message)
}
