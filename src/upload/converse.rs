//! The bytes of one STOR, and what both connections say meanwhile.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::check::Check;
use super::deliver::{Entry, Waiting};
use super::dialogue::Dialogue;
use super::failure::{Class, Failure, Step};
use super::flight::{Flight, cut};
use super::recover::Refused;
use super::session::{Feeding, Session};
use super::source::Source;
use super::transfer::{self, Meter, Pace, SendError, Sending};
use super::wire::Wire;
use crate::ftp::control::Event;
use crate::sys::LocalFuture;

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
pub(super) struct Upload<'a> {
    pub(super) wire: &'a RefCell<Wire>,
    pub(super) source: &'a mut Source,
    pub(super) flight: &'a mut Flight,
    /// Bytes that may be sent before the server said that it takes the file.
    pub(super) eager: u64,
    pub(super) offset: u64,
}

impl Session {
    /// Sends the bytes while listening to both connections, until the server
    /// has given its final word on the STOR. On servers that queue commands
    /// behind a transfer the check is sent with the end of the data.
    pub(super) async fn converse(
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
        let limit = self.server.options.stall_timeout;
        let allowed = if flight.begun { u64::MAX } else { eager };
        let meter = Meter::new(clock.mono(), allowed, limit);
        let pace = FeedPace {
            feed,
            id: entry.job.id,
            begins_at: offset,
        };
        let sending = Sending {
            wire,
            clock: &*clock,
            meter: &meter,
            pace: &pace,
        };
        let sending = pin!(transfer::send(sending, source));
        let draining = pin!(transfer::drain(wire));
        let stalling = pin!(transfer::stalled(wire, &*clock, &meter));
        let (mut sending, mut draining, mut stalling) = (Some(sending), Some(draining), stalling);
        let (mut sent, mut check) = (None, None);
        let ended = loop {
            let dialogue = &mut self.link.dialogue;
            let going = (&mut sending, &mut draining, stalling.as_mut());
            let news = happening(dialogue, going).await;
            meter.touch(clock.mono());
            let step = match news {
                Happening::Sent(result) => {
                    let step = match &result {
                        Ok(()) => self
                            .check_behind(entry, next, feed)
                            .map(|sent| check = sent),
                        Err(error) => stop_reading(entry, error, &meter),
                    };
                    sent = Some(result);
                    step
                }
                Happening::Said(event) => event.map_err(Refused::from).map(|event| {
                    flight.take(event, waiting, feed);
                    if flight.begun {
                        meter.allow_all();
                    }
                }),
                Happening::Stalled => Err(stall(entry, limit, sent.take())),
            };
            if step.is_err() || flight.stored.is_some() {
                break step;
            }
        };
        entry.sent += meter.sent();
        entry.begun |= flight.begun;
        ended?;
        verdict(&entry.subject(), flight, sent).map(|()| check)
    }

    /// When all data is out: sends the check, where it waits its turn.
    fn check_behind(
        &mut self,
        entry: &Entry,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<Option<Check>, Refused> {
        // Under its final name an older file stands until the STOR is obeyed. Were
        // that refused, the older one would get this one's time, and pass for it.
        if !self.link.kind.queues_behind_transfer() || entry.is_direct() {
            return Ok(None);
        }
        self.fill(next, feed);
        Ok(Some(self.begin_check(entry, next.as_mut())?))
    }
}

/// What the loop of one transfer waits for.
enum Happening {
    Sent(Result<(), SendError>),
    Said(Result<Event, Failure>),
    Stalled,
}

/// Polls all that goes on until one of it has news.
async fn happening<S, D, T>(
    dialogue: &mut Dialogue,
    (sending, draining, mut stalling): (
        &mut Option<Pin<&mut S>>,
        &mut Option<Pin<&mut D>>,
        Pin<&mut T>,
    ),
) -> Happening
where
    S: Future<Output = Result<(), SendError>>,
    D: Future<Output = ()>,
    T: Future<Output = ()>,
{
    poll_fn(|context| {
        if let Some(future) = draining
            && future.as_mut().poll(context).is_ready()
        {
            *draining = None;
        }
        if let Some(future) = sending
            && let Poll::Ready(result) = future.as_mut().poll(context)
        {
            *sending = None;
            return Poll::Ready(Happening::Sent(result));
        }
        if let Poll::Ready(event) = dialogue.poll_event(context, Step::Store) {
            return Poll::Ready(Happening::Said(event));
        }
        stalling.as_mut().poll(context).map(|()| Happening::Stalled)
    })
    .await
}

/// A source that cannot be read ends the upload at once. Of a connection that
/// broke the server has something to say first.
fn stop_reading(entry: &Entry, error: &SendError, meter: &Meter) -> Result<(), Refused> {
    let SendError::Source(error) = error else {
        meter.lose_patience(LAST_WORD);
        return Ok(());
    };
    let message = error.to_string();
    let failure = Failure::new(Class::Source, Step::Store, &entry.subject(), message);
    Err(Refused {
        clean: false,
        ..failure.into()
    })
}

/// Nothing moves any more. A server whose data connection broke may wait for
/// another one for long: the session begins anew.
fn stall(entry: &Entry, limit: Duration, sent: Option<Result<(), SendError>>) -> Refused {
    let subject = entry.subject();
    if matches!(sent, Some(Err(_))) {
        return Refused {
            clean: false,
            ..cut(&subject, sent).into()
        };
    }
    let message = format!("no byte moved for {} s", limit.as_secs());
    Failure::new(Class::Network, Step::Store, &subject, message).into()
}

/// Whether the server took all of it: its final word, and ours.
fn verdict(
    subject: &str,
    flight: &Flight,
    sent: Option<Result<(), SendError>>,
) -> Result<(), Refused> {
    match (&flight.stored, sent) {
        (Some(reply), Some(Ok(()))) if reply.is_completion() => Ok(()),
        // What was sent behind the data is answered too; nobody wants it.
        (Some(reply), _) if !reply.is_completion() => Err(Refused::by(
            Failure::refused(Step::Store, subject, reply),
            flight.begun,
        )),
        (_, sent) => Err(cut(subject, sent).into()),
    }
}

/// How long a server is waited for that has something to say about a data
/// connection that broke.
const LAST_WORD: Duration = Duration::from_secs(10);
