//! What all transfers have in common: the data connection, the control
//! connection beside it, and how they end.

use std::io;
use std::pin::pin;
use std::time::Duration;

use smol::future::or;
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::control::Aside;
use super::{DATA_LIMIT, End, Session};
use crate::ftp::command::Command;
use crate::ftp::serve::Answer;
use crate::receive::tls::Way;
use crate::sys::{Wire, timeout};

/// How a transfer ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// All of it came, or went.
    Whole,
    /// The client said ABOR.
    Aborted,
    /// The data connection broke, or stood still for too long.
    Broken(io::Error),
    /// The control connection went away.
    Lost(io::Error),
}

/// What became of one operation on a data connection.
enum Beside<T> {
    Done(T),
    Stalled,
    Aside(Aside),
}

impl Session {
    /// Says 150, and opens the data connection with TLS if it was agreed. The
    /// inner error is the final answer.
    pub(super) async fn begin(
        &mut self,
        way: Way,
        text: &str,
    ) -> Result<Result<Wire, Answer>, End> {
        let Some(target) = self.data.take() else {
            return Ok(Err(Answer::new(
                425,
                "PASV, EPSV, PORT or EPRT comes first",
            )));
        };
        self.control.answer_now(&Answer::new(150, text)).await?;
        let shared = self.shared.clone();
        let (peer, private) = (self.peer, self.state.protects_data());
        let opening = async {
            let tcp = target.open(&shared.sys, peer).await?;
            match &shared.tls {
                Some(tls) if private => tls.data(tcp, way).await,
                _ => Ok(Wire::Plain(tcp)),
            }
        };
        let clock = shared.sys.clock.clone();
        match self.beside(timeout(&*clock, DATA_LIMIT, opening)).await {
            Ok(Ok(Ok(wire))) => Ok(Ok(wire)),
            Ok(Ok(Err(error))) => Ok(Err(no_connection(&error.to_string()))),
            Ok(Err(_)) => Ok(Err(no_connection("none came in time"))),
            Err(ended) => self.cut(ended).map(Err),
        }
    }

    /// Waits for one operation on the data connection. Meanwhile NOOP and STAT
    /// are answered, and ABOR or the loss of the control connection ends it.
    pub(super) async fn beside<T>(
        &mut self,
        operation: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let clock = self.shared.sys.clock.clone();
        let deadline = clock.mono().after(self.shared.options.stall_timeout);
        let mut operation = pin!(operation);
        loop {
            let event = {
                let done = async { Beside::Done((&mut operation).await) };
                let aside = async { Beside::Aside(self.control.aside().await) };
                let stalled = async {
                    clock.sleep_until(deadline).await;
                    Beside::Stalled
                };
                or(done, or(aside, stalled)).await
            };
            match event {
                Beside::Done(value) => return Ok(value),
                Beside::Stalled => return Err(Ended::Broken(io::ErrorKind::TimedOut.into())),
                Beside::Aside(Aside::Abort) => return Err(Ended::Aborted),
                Beside::Aside(Aside::Lost) => {
                    return Err(Ended::Lost(io::ErrorKind::UnexpectedEof.into()));
                }
                Beside::Aside(Aside::Question) => self.answer_question().await?,
            }
        }
    }

    async fn answer_question(&mut self) -> Result<(), Ended> {
        let answer = match self.control.take_question() {
            None => return Ok(()),
            Some(Command::Stat(_)) => self.status(),
            Some(_) => Answer::new(200, "the transfer goes on"),
        };
        self.control.answer_now(&answer).await.map_err(Ended::Lost)
    }

    /// The final answer to a transfer that did not come to its end.
    pub(super) fn cut(&mut self, ended: Ended) -> Result<Answer, End> {
        match ended {
            Ended::Lost(error) => Err(End::Gone(error)),
            ended => Ok(cut_answer(&ended)),
        }
    }

    /// Sends all of `bytes`.
    pub(super) async fn put(&mut self, outgoing: &mut Outgoing, bytes: &[u8]) -> Option<Ended> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.beside(outgoing.wire.write(rest)).await {
                Ok(Ok(0)) => return Some(Ended::Broken(io::ErrorKind::WriteZero.into())),
                Ok(Ok(count)) => {
                    outgoing.sent += count as u64;
                    rest = rest.get(count..).unwrap_or_default();
                }
                Ok(Err(error)) => return Some(Ended::Broken(error)),
                Err(ended) => return Some(ended),
            }
        }
        None
    }

    /// Sends what is still held back, and the end of the data.
    pub(super) async fn finish(&mut self, mut outgoing: Outgoing) -> Ended {
        match self.beside(outgoing.wire.close()).await {
            Ok(Ok(())) if outgoing.wire.is_tls() => Ended::Whole,
            Ok(Ok(())) => self.has_all(outgoing).await,
            Ok(Err(error)) => Ended::Broken(error),
            Err(ended) => ended,
        }
    }

    /// Waits until the client's system has all of it, for as long as it takes more.
    /// A link that is cut meanwhile is a reset, and no 226, which lftp would take
    /// for the end of a file that has become shorter. The client's program may
    /// wait for 226 before it closes its side. With TLS a reset says nothing: who
    /// does not read close_notify sends one, too.
    async fn has_all(&mut self, mut outgoing: Outgoing) -> Ended {
        let clock = self.shared.sys.clock.clone();
        let patience = self.shared.options.stall_timeout;
        let (mut pause, mut moved) = (LOOK_MIN, clock.mono());
        let mut unacked = outgoing.wire.unacked();
        while unacked.is_some_and(|bytes| bytes > 0) {
            let mut nothing = [0; 1];
            let closed = timeout(&*clock, pause, outgoing.wire.read(&mut nothing));
            match self.beside(closed).await {
                Ok(Ok(Ok(_))) => break,
                Ok(Ok(Err(error))) => return Ended::Broken(error),
                Ok(Err(_)) => {}
                Err(ended) => return ended,
            }
            let before = std::mem::replace(&mut unacked, outgoing.wire.unacked());
            if unacked < before {
                moved = clock.mono();
            } else if clock.mono().since(moved) >= patience {
                return Ended::Broken(io::ErrorKind::TimedOut.into());
            }
            pause = (2 * pause).min(LOOK_MAX);
        }
        Ended::Whole
    }
}

/// A data connection that we send on.
pub(super) struct Outgoing {
    pub(super) wire: Wire,
    /// Bytes so far.
    pub(super) sent: u64,
}

impl Outgoing {
    pub(super) fn new(wire: Wire) -> Outgoing {
        Outgoing { wire, sent: 0 }
    }
}

/// The answer to a transfer that was cut, as it also stands in the journal.
pub(super) fn cut_answer(ended: &Ended) -> Answer {
    match ended {
        Ended::Whole => Answer::new(226, "done"),
        Ended::Aborted => Answer::new(426, "aborted, as you said"),
        Ended::Broken(error) if error.kind() == io::ErrorKind::TimedOut => {
            Answer::new(426, "the data connection stood still for too long")
        }
        Ended::Broken(error) => Answer::new(426, format!("the data connection broke: {error}")),
        Ended::Lost(_) => Answer::new(426, "the control connection broke"),
    }
}

fn no_connection(why: &str) -> Answer {
    Answer::new(425, format!("no data connection: {why}"))
}

/// A data connection that we receive on.
pub(super) struct Inflow {
    pub(super) wire: Wire,
    /// Came behind bytes that were handed out first. A socket tells its error
    /// once; asked again, it would say that the data came to its end.
    failed: Option<io::Error>,
}

impl Inflow {
    pub(super) fn new(wire: Wire) -> Inflow {
        Inflow { wire, failed: None }
    }

    /// Reads until `buffer` is full or nothing more is there at once; 0 is the
    /// end. Dropping it loses nothing but what `buffer` got.
    pub(super) async fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut filled = self.wire.read(buffer).await?;
        while filled > 0 && filled < buffer.len() {
            let rest = buffer.get_mut(filled..).unwrap_or_default();
            match smol::future::poll_once(self.wire.read(rest)).await {
                // The end comes again.
                None | Some(Ok(0)) => break,
                Some(Ok(count)) => filled += count,
                Some(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(filled)
    }
}

/// Between two looks at what is still on its way to a client.
const LOOK_MIN: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(100);
/// For the end of TLS on an upload's connection, which proves nothing any more.
pub(super) const FAREWELL_LIMIT: Duration = Duration::from_secs(2);
/// Of file contents, on their way; an upload has two of these.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
