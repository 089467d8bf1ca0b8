//! The bytes of a control connection, cut into commands.
//!
//! Bounded whatever a client sends: [`Lines::room`] says how many bytes may be
//! pushed, and a line that is longer than a command can be is swallowed up to
//! its end and reported once.

use crate::ftp::command::{self, COMMAND_BYTES_MAX, Command, ParseError};

/// What was received and not yet served.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// The rest of a line that was too long is on its way.
    swallowing: bool,
}

impl Lines {
    /// Nothing received yet.
    #[must_use]
    pub fn new() -> Lines {
        Lines::default()
    }

    /// How many bytes [`Lines::push`] takes now. Never 0 while no whole line is
    /// held, so that whoever serves the lines first can always go on reading.
    #[must_use]
    pub fn room(&self) -> usize {
        HELD_BYTES_MAX.saturating_sub(self.buffer.len())
    }

    /// Takes bytes as they came; what is beyond [`Lines::room`] is dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut bytes = bytes.get(..self.room()).unwrap_or(bytes);
        if self.swallowing {
            let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                return;
            };
            self.swallowing = false;
            // The line end stays: it makes the line that is reported.
            self.buffer.extend_from_slice(OVERLONG);
            bytes = bytes.get(end..).unwrap_or_default();
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= HELD_BYTES_MAX && !self.buffer.contains(&b'\n') {
            self.buffer.clear();
            self.swallowing = true;
        }
    }

    /// The next command, or why a line is none; `None` when no whole line is
    /// held.
    pub fn next_command(&mut self) -> Option<Result<Command, ParseError>> {
        let end = self.buffer.iter().position(|b| *b == b'\n')?;
        let command = command::parse(self.buffer.get(..end).unwrap_or_default());
        self.buffer.drain(..=end);
        if self.buffer.is_empty() {
            // A session that waits holds nothing.
            self.buffer = Vec::new();
        }
        Some(command)
    }

    /// The next command, which stays to be served.
    #[must_use]
    pub fn peek(&self) -> Option<Result<Command, ParseError>> {
        self.commands().next()
    }

    /// Whether such a command is among those that wait.
    #[must_use]
    pub fn holds(&self, wanted: impl Fn(&Command) -> bool) -> bool {
        self.commands()
            .any(|command| command.is_ok_and(|command| wanted(&command)))
    }

    /// Forgets everything: what came in clear text before TLS began must never
    /// be served as if it had come over TLS.
    pub fn discard(&mut self) {
        *self = Lines::default();
    }

    fn commands(&self) -> impl Iterator<Item = Result<Command, ParseError>> {
        let lines = self.buffer.split_inclusive(|b| *b == b'\n');
        lines
            .filter(|line| line.ends_with(b"\n"))
            .map(command::parse)
    }
}

/// Room for a line of the greatest length, and for what was sent behind it.
const HELD_BYTES_MAX: usize = 2 * COMMAND_BYTES_MAX;

/// Stands for a line that was swallowed; no client can send it, because a line
/// with a zero byte is no command.
const OVERLONG: &[u8] = b"\0";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ftp::command::Verb;

    fn all(lines: &mut Lines) -> Vec<Result<Verb, ParseError>> {
        std::iter::from_fn(|| lines.next_command())
            .map(|command| command.map(|command| command.verb()))
            .collect()
    }

    #[test]
    fn commands_come_one_by_one_however_they_are_cut() {
        let mut lines = Lines::new();
        lines.push(b"NO");
        assert_eq!(lines.next_command(), None);
        lines.push(b"OP\r\npwd\nQUI");
        assert_eq!(all(&mut lines), [Ok(Verb::Noop), Ok(Verb::Pwd)]);
        lines.push(b"T\r\n");
        assert_eq!(all(&mut lines), [Ok(Verb::Quit)]);
    }

    #[test]
    fn an_overlong_line_is_one_mistake_and_the_next_line_counts() {
        let mut lines = Lines::new();
        for _ in 0..100 {
            let chunk = [b'x'; 4096];
            lines.push(&chunk[..lines.room().min(4096)]);
            assert!(lines.room() > 0);
        }
        lines.push(b"x\r\nNOOP\r\n");
        assert_eq!(all(&mut lines), [Err(ParseError::BadLine), Ok(Verb::Noop)]);
    }

    #[test]
    fn telnet_around_an_abort_is_dropped() {
        let mut lines = Lines::new();
        lines.push(b"\xff\xf4\xff\xf2ABOR\r\n");
        assert!(lines.holds(|command| *command == Command::Abor));
        assert_eq!(all(&mut lines), [Ok(Verb::Abor)]);
    }

    #[test]
    fn what_was_discarded_is_not_served() {
        let mut lines = Lines::new();
        lines.push(b"DELE a\r\nDELE b");
        lines.discard();
        lines.push(b"\r\nNOOP\r\n");
        assert_eq!(
            all(&mut lines),
            [Err(ParseError::UnknownVerb), Ok(Verb::Noop)]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn any_bytes_are_bounded_and_never_stop_the_lines(
            chunks in prop::collection::vec("[A-Z \\r\\n\\x{0}]{0,3000}", 0..20)
        ) {
            let mut lines = Lines::new();
            for chunk in chunks {
                let mut rest = chunk.as_bytes();
                while !rest.is_empty() {
                    let (now, later) = rest.split_at(rest.len().min(lines.room()));
                    lines.push(now);
                    rest = later;
                    prop_assert!(lines.buffer.len() <= HELD_BYTES_MAX + 1);
                    let _ = all(&mut lines);
                    prop_assert!(lines.room() > 0);
                }
            }
            lines.push(b"\r\nNOOP\r\n");
            prop_assert_eq!(all(&mut lines).pop(), Some(Ok(Verb::Noop)));
        }
    }
}
