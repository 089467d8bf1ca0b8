//! The control connection: bytes between a socket and [`Control`].
//!
//! Replies are claimed by the tag of their command, mostly in order; those
//! that are passed over are kept for a while. Every wait has an end.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use heapless::Deque;
use smol::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::failure::{Class, Failure, Step};
use super::wire::Wire;
use crate::ftp::command::{Command, Iac};
use crate::ftp::control::{Control, ControlError, Event, IN_FLIGHT_MAX, Tag};
use crate::ftp::reply::Reply;
use crate::sys::{Clock, timeout};

/// One control connection.
pub(super) struct Dialogue {
    wire: Wire,
    control: Control,
    output: Zeroizing<Vec<u8>>,
    written: usize,
    /// Replies that came while another was waited for.
    unclaimed: Deque<(Tag, Reply), IN_FLIGHT_MAX>,
    clock: Arc<dyn Clock>,
    /// Host and port, for messages.
    peer: String,
    /// The longest wait for a reply.
    limit: Duration,
    /// The server said something since [`Dialogue::listen_anew`].
    heard: bool,
}

impl Dialogue {
    /// Over a new connection, whose greeting is still to come.
    pub(super) fn new(
        wire: Wire,
        clock: Arc<dyn Clock>,
        peer: String,
        limit: Duration,
    ) -> Dialogue {
        Dialogue {
            wire,
            control: Control::new(),
            output: Zeroizing::default(),
            written: 0,
            unclaimed: Deque::new(),
            clock,
            peer,
            limit,
            heard: false,
        }
    }

    /// Checks that nothing came in clear text after the reply to AUTH, and
    /// hands the wire out.
    pub(super) fn into_parts(mut self) -> Result<(Wire, Control), Failure> {
        self.control.start_tls().map_err(|error| {
            Failure::new(Class::Tls, Step::Tls, &self.peer, error.to_string())
                .with_remedy("somebody on the way may be tampering with the connection")
        })?;
        Ok((self.wire, self.control))
    }

    /// The conversation goes on over another wire.
    pub(super) fn resume(
        (wire, control): (Wire, Control),
        clock: Arc<dyn Clock>,
        peer: String,
        limit: Duration,
    ) -> Dialogue {
        Dialogue {
            control,
            ..Dialogue::new(wire, clock, peer, limit)
        }
    }

    /// The connection below.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Commands that wait for their reply.
    pub(super) fn in_flight(&self) -> usize {
        self.control.in_flight().count()
    }

    /// From now on [`Dialogue::has_heard`] counts.
    pub(super) fn listen_anew(&mut self) {
        self.heard = false;
    }

    /// Whether the server has said anything but goodbye.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Chooses how the byte 0xFF in paths is sent from now on.
    pub(super) fn set_iac(&mut self, iac: Iac) {
        self.control.set_iac(iac);
    }

    /// Sets the longest wait for a reply.
    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Queues a command; it leaves with the next wait.
    pub(super) fn queue(&mut self, step: Step, command: &Command) -> Result<Tag, Failure> {
        self.control.send(command).map_err(|error| match error {
            ControlError::Command(_) => {
                Failure::new(Class::File, step, &command.masked(), error.to_string())
            }
            _ => self.lost(step, &error),
        })
    }

    /// Sends one command and waits for its reply, whatever it is.
    pub(super) async fn call(&mut self, step: Step, command: &Command) -> Result<Reply, Failure> {
        let tag = self.queue(step, command)?;
        self.reply(step, tag).await
    }

    /// The final reply to a command.
    pub(super) async fn reply(&mut self, step: Step, wanted: Tag) -> Result<Reply, Failure> {
        self.reply_within(step, wanted, self.limit).await
    }

    /// The same, for a command that takes long.
    pub(super) async fn reply_within(
        &mut self,
        step: Step,
        wanted: Tag,
        limit: Duration,
    ) -> Result<Reply, Failure> {
        if let Some(reply) = self.claim(wanted) {
            return Ok(reply);
        }
        let clock = self.clock.clone();
        let waiting = async {
            loop {
                match self.event(step).await? {
                    Event::Reply { tag, reply, .. } if tag == wanted => return Ok(reply),
                    Event::Reply { tag, reply, .. } => self.keep(tag, reply),
                    event => log::trace!("passed over: {event:?}"),
                }
            }
        };
        let waited = timeout(&*clock, limit, waiting).await;
        waited.unwrap_or_else(|_| Err(self.silent(step, limit)))
    }

    /// The greeting (RFC 959: perhaps after a 120).
    pub(super) async fn greeting(&mut self) -> Result<Reply, Failure> {
        let (clock, limit) = (self.clock.clone(), self.limit);
        let waiting = async {
            loop {
                if let Event::Greeting(reply) = self.event(Step::Greeting).await?
                    && !reply.is_preliminary()
                {
                    return Ok(reply);
                }
            }
        };
        let waited = timeout(&*clock, limit, waiting).await;
        waited.unwrap_or_else(|_| Err(self.silent(Step::Greeting, limit)))
    }

    /// The next thing the server says.
    pub(super) async fn event(&mut self, step: Step) -> Result<Event, Failure> {
        poll_fn(|context| self.poll_event(context, step)).await
    }

    /// Writes what is queued, reads what has come, and gives the next thing
    /// the server said. A 421 and the end of the connection are failures.
    pub(super) fn poll_event(
        &mut self,
        context: &mut Context<'_>,
        step: Step,
    ) -> Poll<Result<Event, Failure>> {
        // A connection that cannot be written to may still hold the reply
        // that says why.
        let mut write_error = match self.poll_output(context) {
            Poll::Ready(Err(error)) => Some(error),
            _ => None,
        };
        loop {
            match self.control.poll_event() {
                Err(error) => return Poll::Ready(Err(self.lost(step, &error))),
                Ok(Some(Event::Closing(reply))) => {
                    return Poll::Ready(Err(Failure::refused(step, &self.peer, &reply)));
                }
                Ok(Some(event)) => {
                    self.heard = true;
                    return Poll::Ready(Ok(event));
                }
                Ok(None) => {}
            }
            let mut buf = [0; 4096];
            let read = match Pin::new(&mut self.wire).poll_read(context, &mut buf) {
                Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(read) => read,
                Poll::Pending => match write_error.take() {
                    Some(error) => Err(error),
                    None => return Poll::Pending,
                },
            };
            match read {
                Ok(n) => {
                    let input = buf.get(..n).unwrap_or_default();
                    if let Err(error) = self.control.handle_input(input) {
                        return Poll::Ready(Err(self.lost(step, &error)));
                    }
                }
                Err(error) => return Poll::Ready(Err(self.broken(step, &error))),
            }
        }
    }

    fn claim(&mut self, wanted: Tag) -> Option<Reply> {
        let mut claimed = None;
        for _ in 0..self.unclaimed.len() {
            let (tag, reply) = self.unclaimed.pop_front()?;
            if tag == wanted {
                claimed = Some(reply);
            } else {
                self.keep(tag, reply);
            }
        }
        claimed
    }

    /// Most that are kept are never asked for: the oldest make room.
    fn keep(&mut self, tag: Tag, reply: Reply) {
        if self.unclaimed.is_full() {
            self.unclaimed.pop_front();
        }
        let _room_was_made = self.unclaimed.push_back((tag, reply));
    }

    fn poll_output(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(rest) = self
                .output
                .get(self.written..)
                .filter(|rest| !rest.is_empty())
            else {
                if self.control.has_output() {
                    self.output = Zeroizing::new(self.control.take_output());
                    self.written = 0;
                    continue;
                }
                return Pin::new(&mut self.wire).poll_flush(context);
            };
            match Pin::new(&mut self.wire).poll_write(context, rest) {
                Poll::Ready(Ok(n)) => self.written += n,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn lost(&self, step: Step, error: &ControlError) -> Failure {
        Failure::new(Class::Network, step, &self.peer, error.to_string())
    }

    fn broken(&self, step: Step, error: &io::Error) -> Failure {
        let message = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(Class::Network, step, &self.peer, message)
    }

    fn silent(&self, step: Step, limit: Duration) -> Failure {
        let message = format!("no reply for {} s", limit.as_secs());
        Failure::new(Class::Network, step, &self.peer, message)
    }
}
