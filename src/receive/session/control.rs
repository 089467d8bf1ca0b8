//! The control connection: commands in, replies out, and an eye on it while a
//! transfer runs.

use std::io;
use std::time::Duration;

use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::tail::Tail;
use crate::ftp::command::{Command, ParseError};
use crate::ftp::serve::{Answer, Lines};
use crate::sys::{Sys, Wire, timeout};

/// See the module's description.
pub(in crate::receive) struct Control {
    sys: Sys,
    /// `None` while TLS begins or ends, and after that failed.
    wire: Option<Wire>,
    lines: Lines,
    /// Replies that wait for those of the commands behind theirs.
    out: Vec<u8>,
    /// The client sends no more, or the connection is broken.
    ended: bool,
    /// What the client still sends of TLS that ended.
    tail: Option<Tail>,
    limit: Duration,
}

/// What a client says while a transfer runs.
pub(super) enum Aside {
    /// ABOR, which is still to be served.
    Abort,
    /// NOOP or STAT, to be answered now.
    Question,
    /// The connection is gone, and the client did not say QUIT before.
    Lost,
}

impl Control {
    /// `limit` is how long a reply may wait for a client that does not read.
    pub(in crate::receive) fn new(sys: &Sys, wire: Wire, limit: Duration) -> Control {
        Control {
            sys: sys.clone(),
            wire: Some(wire),
            lines: Lines::new(),
            out: Vec::new(),
            ended: false,
            tail: None,
            limit,
        }
    }

    /// Whether there is TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.wire.as_ref().is_some_and(Wire::is_tls)
    }

    /// The next command, or why a line is none; `None` when no more come.
    pub(super) async fn command(&mut self) -> io::Result<Option<Result<Command, ParseError>>> {
        loop {
            if let Some(command) = self.lines.next_command() {
                return Ok(Some(command));
            }
            if self.ended {
                return Ok(None);
            }
            self.flush().await?;
            self.receive().await;
        }
    }

    /// What comes up while a transfer runs. Dropping it loses nothing.
    pub(super) async fn aside(&mut self) -> Aside {
        loop {
            if self.lines.holds(|command| *command == Command::Abor) {
                return Aside::Abort;
            }
            if self.question().is_some() {
                return Aside::Question;
            }
            if self.is_lost() {
                return Aside::Lost;
            }
            if self.ended || self.lines.room() == 0 {
                std::future::pending::<()>().await;
            }
            self.receive().await;
        }
    }

    /// Takes the NOOP or STAT that comes next, if one does.
    pub(super) fn take_question(&mut self) -> Option<Command> {
        self.question()?;
        self.lines.next_command()?.ok()
    }

    fn question(&self) -> Option<Command> {
        let command = self.lines.peek()?.ok()?;
        let asks = match &command {
            Command::Noop => true,
            Command::Stat(path) => path.trim_ascii().is_empty(),
            _ => false,
        };
        asks.then_some(command)
    }

    /// Whether the client goes away without QUIT within a moment.
    pub(super) async fn is_lost_within(&mut self, span: Duration) -> bool {
        let clock = self.sys.clock.clone();
        let listening = async {
            while !self.ended && self.lines.room() > 0 {
                self.receive().await;
            }
        };
        // When nothing came the client is still there.
        let _there = timeout(&*clock, span, listening).await;
        self.is_lost()
    }

    fn is_lost(&self) -> bool {
        self.ended && !self.lines.holds(|command| *command == Command::Quit)
    }

    /// Sends a reply, together with those of the commands that came along.
    pub(super) async fn answer(&mut self, answer: &Answer) -> io::Result<()> {
        log::debug!(target: "ftp", "< {answer}");
        answer.encode(&mut self.out);
        if self.lines.peek().is_some() && self.out.len() < OUT_BYTES_MAX {
            return Ok(());
        }
        self.flush().await
    }

    /// Sends a reply now.
    pub(super) async fn answer_now(&mut self, answer: &Answer) -> io::Result<()> {
        log::debug!(target: "ftp", "< {answer}");
        answer.encode(&mut self.out);
        self.flush().await
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let Some(wire) = &mut self.wire else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let sending = async {
            wire.write_all(&out).await?;
            wire.flush().await
        };
        let sent = timeout(&*self.sys.clock, self.limit, sending).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Reads once. Dropping it loses nothing.
    async fn receive(&mut self) {
        let mut chunk = [0; READ_BYTES];
        let room = self.lines.room().min(READ_BYTES);
        let Some(wire) = &mut self.wire else {
            self.ended = true;
            return;
        };
        let read = wire.read(chunk.get_mut(..room).unwrap_or_default());
        match read.await {
            Ok(count) if count > 0 => {
                let mut bytes = chunk.get(..count).unwrap_or_default();
                if let Some(tail) = &mut self.tail {
                    bytes = tail.strip(bytes);
                }
                self.lines.push(bytes);
            }
            Ok(_) => self.ended = true,
            Err(error) => {
                log::debug!("control connection: {error}");
                self.ended = true;
            }
        }
    }

    /// Replaces the connection by what `change` makes of it in time. What was
    /// received and not served is forgotten: it came under the old terms.
    pub(super) async fn change<F>(
        &mut self,
        limit: Duration,
        change: impl FnOnce(Wire) -> F,
    ) -> io::Result<()>
    where
        F: Future<Output = io::Result<Wire>>,
    {
        self.lines.discard();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let wire = self.wire.take().ok_or_else(gone)?;
        let changed = timeout(&*self.sys.clock, limit, change(wire)).await;
        let changed = changed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        self.wire = Some(changed);
        Ok(())
    }

    /// TLS ended: what the client still says of it is no command.
    pub(super) fn skip_tls(&mut self) {
        self.tail = Some(Tail::default());
    }

    /// Says goodbye to TLS, and to the connection.
    pub(super) async fn close(&mut self) {
        let _unread = self.flush().await;
        if let Some(wire) = &mut self.wire {
            // Bounded: a client may have gone without reading.
            let _gone = timeout(&*self.sys.clock, CLOSE_LIMIT, wire.close()).await;
        }
    }
}

/// Of one read.
const READ_BYTES: usize = 1024;
/// Replies that wait for each other.
const OUT_BYTES_MAX: usize = 4096;
/// For goodbyes.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
