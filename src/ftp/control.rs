//! The client's side of a control connection, without the connection.
//!
//! Call order: [`Control::send`] commands and write [`Control::take_output`]
//! to the socket; give what the socket reads to [`Control::handle_input`] and
//! then call [`Control::poll_event`] until it returns `None`. Commands may be
//! sent before the replies to earlier ones have come (pipelining); the replies
//! are matched in order, and each final reply names the command it answers.
//!
//! What this promises: a reply that cannot belong to the oldest command is an
//! error ([`ControlError::OutOfStep`]), because from there on every answer
//! would be taken for another command's; nothing that was sent in clear text
//! is believed once TLS is on ([`Control::start_tls`]); memory is bounded.

use std::fmt;

use heapless::Deque;

use crate::ftp::command::{Command, CommandError, Iac, Verb};
use crate::ftp::reply::{REPLY_BYTES_MAX, Reply, ReplyError, ReplyParser};

/// Commands that may wait for their reply at the same time.
pub const IN_FLIGHT_MAX: usize = 32;
/// Bytes of commands that may wait to be written.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// Names one command that was sent on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first words on a new connection: 220, or preliminary 120 ("ready
    /// in some minutes"), then 220.
    Greeting(Reply),
    /// A 1yz reply to a command; its final reply is still to come.
    Preliminary {
        /// The command.
        tag: Tag,
        /// Its verb.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
    /// The final reply to a command.
    Reply {
        /// The command.
        tag: Tag,
        /// Its verb.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
    /// 421: the server is closing. No command in flight will be answered.
    Closing(Reply),
    /// A reply while nothing was asked.
    Unsolicited(Reply),
}

/// Why the conversation cannot go on, or a command not go out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlError {
    /// The command cannot be written as one line; nothing was sent.
    Command(CommandError),
    /// [`IN_FLIGHT_MAX`] commands or [`OUTPUT_BYTES_MAX`] bytes wait; take events and output first.
    Full,
    /// The server has said 421.
    Closing,
    /// The stream is not one of FTP replies.
    Reply(ReplyError),
    /// A reply that the oldest unanswered command cannot get.
    OutOfStep {
        /// That command's verb.
        verb: Verb,
        /// The reply.
        reply: Reply,
    },
    /// Input was not polled for and has reached the limit.
    InputOverflow,
    /// Bytes stood behind the reply to AUTH (or before its end), in clear
    /// text, or commands were still unanswered: somebody may have put them there.
    InjectedBeforeTls,
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(error) => write!(f, "cannot send the command: {error}"),
            Self::Full => f.write_str("too many commands wait for their replies"),
            Self::Closing => f.write_str("the server is closing the connection"),
            Self::Reply(_) => f.write_str("the server does not speak FTP"),
            Self::OutOfStep { verb, reply } => {
                write!(f, "the reply \"{reply}\" cannot be the answer to {verb}")
            }
            Self::InputOverflow => f.write_str("the server sends more than it was asked for"),
            Self::InjectedBeforeTls => {
                f.write_str("the server sent clear text where TLS should begin")
            }
        }
    }
}

impl std::error::Error for ControlError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Command(error) => Some(error),
            Self::Reply(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    tag: Tag,
    verb: Verb,
}

/// A control connection's state. See the module's description.
#[derive(Default)]
pub struct Control {
    parser: ReplyParser,
    input: Vec<u8>,
    output: Vec<u8>,
    pending: Deque<Pending, IN_FLIGHT_MAX>,
    next_tag: u64,
    iac: Iac,
    greeted: bool,
    closing: bool,
}

impl Control {
    /// A new connection, its greeting still to come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses how the byte 0xFF in file names is sent from now on.
    pub fn set_iac(&mut self, iac: Iac) {
        self.iac = iac;
    }

    /// Queues a command.
    ///
    /// # Errors
    /// When it cannot be sent; nothing is queued then.
    pub fn send(&mut self, command: &Command) -> Result<Tag, ControlError> {
        if self.closing {
            return Err(ControlError::Closing);
        }
        if self.pending.is_full() || self.output.len() >= OUTPUT_BYTES_MAX {
            return Err(ControlError::Full);
        }
        command
            .encode_with(self.iac, &mut self.output)
            .map_err(ControlError::Command)?;
        let (tag, verb) = (Tag(self.next_tag), command.verb());
        self.next_tag += 1;
        // There is room: checked above.
        let _ = self.pending.push_back(Pending { tag, verb });
        log::debug!("> {}", command.masked());
        Ok(tag)
    }

    /// Takes the bytes to write. They can hold a password: wipe them.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Whether there are bytes to write.
    pub fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Takes bytes that the socket read.
    ///
    /// # Errors
    /// [`ControlError::InputOverflow`] when [`Control::poll_event`] was not
    /// called for too long.
    pub fn handle_input(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        if self.input.len() + bytes.len() > REPLY_BYTES_MAX {
            return Err(ControlError::InputOverflow);
        }
        self.input.extend_from_slice(bytes);
        Ok(())
    }

    /// The next thing the server said; `None` when more input is needed.
    ///
    /// # Errors
    /// When the stream makes no sense; the connection is lost then.
    pub fn poll_event(&mut self) -> Result<Option<Event>, ControlError> {
        let mut rest = self.input.as_slice();
        let result = self.parser.next(&mut rest);
        let taken = self.input.len() - rest.len();
        self.input.drain(..taken);
        let Some(reply) = result.map_err(ControlError::Reply)? else {
            return Ok(None);
        };
        log::debug!("< {reply}");
        self.sort(reply).map(Some)
    }

    /// Commands sent and not finally answered, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = (Tag, Verb)> {
        self.pending
            .iter()
            .map(|pending| (pending.tag, pending.verb))
    }

    /// Whether the server has said 421.
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// To be called between the 234 reply and the TLS handshake: makes sure
    /// that nothing which came in clear text is taken for an answer under TLS.
    ///
    /// # Errors
    /// [`ControlError::InjectedBeforeTls`]; the connection must be dropped then.
    pub fn start_tls(&mut self) -> Result<(), ControlError> {
        let quiet = self.input.is_empty()
            && self.output.is_empty()
            && self.pending.is_empty()
            && self.parser.is_between_replies();
        if quiet {
            Ok(())
        } else {
            Err(ControlError::InjectedBeforeTls)
        }
    }

    /// Whose reply this is.
    fn sort(&mut self, reply: Reply) -> Result<Event, ControlError> {
        if reply.code() == 421 {
            self.closing = true;
            return Ok(Event::Closing(reply));
        }
        if !self.greeted {
            self.greeted = !reply.is_preliminary();
            return Ok(Event::Greeting(reply));
        }
        let oldest = self.pending.front().copied().filter(|_| !self.closing);
        let Some(Pending { tag, verb }) = oldest else {
            return Ok(Event::Unsolicited(reply));
        };
        if !can_answer(verb, reply.code()) {
            return Err(ControlError::OutOfStep { verb, reply });
        }
        if reply.is_preliminary() {
            return Ok(Event::Preliminary { tag, verb, reply });
        }
        self.pending.pop_front();
        Ok(Event::Reply { tag, verb, reply })
    }
}

/// Leaves out the bytes, which may hold a password.
impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("pending", &self.pending)
            .field("greeted", &self.greeted)
            .field("closing", &self.closing)
            .finish_non_exhaustive()
    }
}

/// Whether a reply of this code can answer that command. Only codes that
/// belong to one group of commands on every server are judged.
fn can_answer(verb: Verb, code: u16) -> bool {
    if matches!(verb, Verb::Other | Verb::Site) {
        return true;
    }
    match code {
        125 | 150 => verb.is_transfer(),
        213 => {
            !verb.is_transfer()
                && !matches!(verb, Verb::Epsv | Verb::Pasv | Verb::User | Verb::Pass)
        }
        227 => verb == Verb::Pasv,
        229 => verb == Verb::Epsv,
        234 | 334 => verb == Verb::Auth,
        257 => matches!(verb, Verb::Pwd | Verb::Mkd),
        331 | 332 => matches!(verb, Verb::User | Verb::Pass | Verb::Acct | Verb::Auth),
        350 => matches!(verb, Verb::Rest | Verb::Rnfr),
        _ => true,
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
