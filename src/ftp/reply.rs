//! Replies of a server (RFC 959 §4.2, RFC 2228 §5 for the 6yz range).
//!
//! [`ReplyParser`] takes the bytes of the control connection as they come and
//! hands out one [`Reply`] at a time. It promises to be bounded whatever the
//! peer sends: it keeps at most [`LINE_BYTES_MAX`] of a line, [`LINES_MAX`]
//! lines and [`TEXT_BYTES_MAX`] of a reply (the rest is read and dropped, and
//! the reply says so), and gives up on a reply of more than
//! [`REPLY_BYTES_MAX`]. After an error it stays failed: there is no safe place
//! to go on from in such a stream.

use std::fmt;

use crate::ftp::telnet;
use crate::ftp::text::printable;

/// Bytes of one line that are kept.
pub const LINE_BYTES_MAX: usize = 4096;
/// Lines of one reply that are kept.
pub const LINES_MAX: usize = 128;
/// Bytes of text of one reply that are kept.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;
/// Bytes that one reply may have on the wire before the parser gives up.
pub const REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Characters of a reply that are shown to people.
const SHOWN_CHARS_MAX: usize = 400;

/// One whole reply.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// The lines, without code and line end, each closed by LF.
    text: Vec<u8>,
    truncated: bool,
}

impl Reply {
    /// Makes a reply of the given code and text; LF in the text divides lines.
    pub fn new(code: u16, text: &[u8]) -> Self {
        let mut closed = text.to_vec();
        closed.push(b'\n');
        Self {
            code,
            text: closed,
            truncated: false,
        }
    }

    /// The three-digit code, 100 to 699.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The lines in order: the first and the last without their code, those
    /// between without it where they repeat it, else as sent.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let closed = self.text.strip_suffix(b"\n").unwrap_or(&self.text);
        closed.split(|&b| b == b'\n')
    }

    /// The first line without its code.
    pub fn first_line(&self) -> &[u8] {
        self.lines().next().unwrap_or_default()
    }

    /// The last line without its code (the same as the first in a reply of one line).
    pub fn last_line(&self) -> &[u8] {
        self.lines().last().unwrap_or_default()
    }

    /// Whether lines or ends of lines were dropped because the reply was too long.
    pub fn is_truncated(&self) -> bool {
        self.truncated
    }

    /// 1yz: begun; another reply to the same command follows.
    pub fn is_preliminary(&self) -> bool {
        self.code / 100 == 1
    }

    /// 2yz: done.
    pub fn is_completion(&self) -> bool {
        self.code / 100 == 2
    }

    /// 3yz: accepted so far; the server waits for the next command of a sequence.
    pub fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }

    /// 4yz: refused for now; the same command may succeed later.
    pub fn is_transient(&self) -> bool {
        self.code / 100 == 4
    }

    /// 5yz: refused; the same command would be refused again.
    pub fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }

    /// 2yz or 3yz.
    pub fn is_positive(&self) -> bool {
        self.is_completion() || self.is_intermediate()
    }

    /// The text as one line that is safe to print and to log (lines joined by
    /// ` / `, cut after some hundred characters).
    pub fn text(&self) -> String {
        let mut joined = Vec::new();
        for line in self
            .lines()
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
        {
            if !joined.is_empty() {
                joined.extend_from_slice(b" / ");
            }
            joined.extend_from_slice(line);
            if joined.len() > 4 * SHOWN_CHARS_MAX {
                break;
            }
        }
        printable(&joined, SHOWN_CHARS_MAX)
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {}", self.code, self.text())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({self})")
    }
}

/// Why the bytes are not a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A line that should begin a reply does not; the line, made printable.
    NotAReply(String),
    /// One reply had more than [`REPLY_BYTES_MAX`] bytes.
    Endless,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAReply(line) => write!(f, "not an FTP reply: \"{line}\""),
            Self::Endless => write!(f, "a reply of more than {REPLY_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for ReplyError {}

/// Cuts a stream of bytes into replies. See the module's description.
#[derive(Debug, Default)]
pub struct ReplyParser {
    line: Vec<u8>,
    line_cut: bool,
    open: Option<OpenReply>,
    received: usize,
    failed: Option<ReplyError>,
}

/// A reply of several lines whose last one has not come.
#[derive(Debug)]
struct OpenReply {
    reply: Reply,
    lines: usize,
}

impl ReplyParser {
    /// A parser at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` up to the end of the next reply,
    /// and returns that reply; `None` when all of `input` was taken and the
    /// reply is not complete. Call again until `None`.
    ///
    /// # Errors
    /// When the stream is not one of replies; then always again.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.scan(input);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Whether nothing is half read: the stream stands between two replies.
    pub fn is_between_replies(&self) -> bool {
        self.open.is_none() && self.line.is_empty() && self.failed.is_none()
    }

    fn scan(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        while !input.is_empty() {
            let end = input.iter().position(|&b| b == b'\n');
            let (part, rest) = input.split_at(end.unwrap_or(input.len()));
            self.take(part)?;
            if end.is_none() {
                *input = rest;
                return Ok(None);
            }
            *input = rest.get(1..).unwrap_or_default();
            self.received += 1;
            if let Some(reply) = self.end_line()? {
                self.received = 0;
                return Ok(Some(reply));
            }
        }
        Ok(None)
    }

    fn take(&mut self, part: &[u8]) -> Result<(), ReplyError> {
        self.received += part.len();
        if self.received > REPLY_BYTES_MAX {
            return Err(ReplyError::Endless);
        }
        let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
        let kept = part.get(..room).unwrap_or(part);
        self.line.extend_from_slice(kept);
        // A carriage return just behind the limit is no loss, but saying so is no harm.
        self.line_cut |= kept.len() < part.len();
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Reply>, ReplyError> {
        let raw = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.line_cut);
        let line = telnet::unescape(trim_line(&raw));
        let Some(mut open) = self.open.take() else {
            return self.first_line(&line, cut);
        };
        open.reply.truncated |= cut;
        match split_code(&line) {
            Some((code, b' ', text)) if code == open.reply.code => {
                open.push_last(text);
                return Ok(Some(open.reply));
            }
            Some((code, _, text)) if code == open.reply.code => open.push(text),
            // RFC 959 §4.2: such text may begin with anything, another code too.
            _ => open.push(&line),
        }
        self.open = Some(open);
        Ok(None)
    }

    fn first_line(&mut self, line: &[u8], cut: bool) -> Result<Option<Reply>, ReplyError> {
        if line.is_empty() {
            return Ok(None); // a stray line end between two replies
        }
        let Some((code, mark, text)) = split_code(line) else {
            return Err(ReplyError::NotAReply(printable(line, 80)));
        };
        let mut reply = Reply::new(code, text);
        reply.truncated = cut;
        if mark == b' ' {
            return Ok(Some(reply));
        }
        self.open = Some(OpenReply { reply, lines: 1 });
        Ok(None)
    }
}

impl OpenReply {
    fn push(&mut self, line: &[u8]) {
        // One place and the room of a line are left for the last line.
        let size = self.reply.text.len() + line.len() + 1;
        if self.lines + 1 >= LINES_MAX || size > TEXT_BYTES_MAX - LINE_BYTES_MAX {
            self.reply.truncated = true;
            return;
        }
        self.push_last(line);
    }

    fn push_last(&mut self, line: &[u8]) {
        self.lines += 1;
        self.reply.text.extend_from_slice(line);
        self.reply.text.push(b'\n');
    }
}

fn trim_line(line: &[u8]) -> &[u8] {
    let kept = line
        .iter()
        .rposition(|&b| b != b'\r')
        .map_or(0, |last| last + 1);
    line.get(..kept).unwrap_or_default()
}

/// Reads `123 text`, `123-text` or a bare `123` into code, mark and text.
fn split_code(line: &[u8]) -> Option<(u16, u8, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let mut code = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        code = code * 10 + u16::from(digit - b'0');
    }
    if !(100..700).contains(&code) {
        return None;
    }
    match rest.split_first() {
        None => Some((code, b' ', rest)),
        Some((&mark @ (b' ' | b'-'), text)) => Some((code, mark, text)),
        Some(_) => None,
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
