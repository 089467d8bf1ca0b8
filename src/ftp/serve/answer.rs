//! Replies of the server, onto the wire (RFC 959 §4.2).

use std::fmt;

use crate::ftp::telnet;
use crate::ftp::text::printable;

/// One reply. Whatever it is made from, it goes out as the lines that it was
/// made of: a line end within a path becomes a question mark.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    code: u16,
    first: Vec<u8>,
    /// The lines between the first and the last, and the last one.
    more: Option<(Vec<Vec<u8>>, Vec<u8>)>,
}

impl Answer {
    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, text: impl AsRef<[u8]>) -> Answer {
        Answer {
            code,
            first: one_line(text.as_ref()),
            more: None,
        }
    }

    /// A reply of several lines; those between get a leading blank, as FEAT
    /// has them (RFC 2389 §3.2), so that none of them looks like the last one.
    #[must_use]
    pub fn many(
        code: u16,
        first: impl AsRef<[u8]>,
        between: impl IntoIterator<Item = impl AsRef<[u8]>>,
        last: impl AsRef<[u8]>,
    ) -> Answer {
        let between = between.into_iter().map(|line| one_line(line.as_ref()));
        Answer {
            code,
            first: one_line(first.as_ref()),
            more: Some((between.collect(), one_line(last.as_ref()))),
        }
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Appends it as it goes onto the wire, 0xFF doubled.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let code = self.code;
        let Some((between, last)) = &self.more else {
            return line(out, &format!("{code} "), &self.first);
        };
        line(out, &format!("{code}-"), &self.first);
        for text in between {
            line(out, " ", text);
        }
        line(out, &format!("{code} "), last);
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {}",
            self.code,
            printable(&self.first, SHOWN_CHARS_MAX)
        )
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({self})")
    }
}

fn line(out: &mut Vec<u8>, head: &str, text: &[u8]) {
    out.extend_from_slice(head.as_bytes());
    telnet::escape_into(text, out);
    out.extend_from_slice(b"\r\n");
}

fn one_line(text: &[u8]) -> Vec<u8> {
    let safe = |byte: &u8| match byte {
        b'\r' | b'\n' | 0 => b'?',
        other => *other,
    };
    text.iter().map(safe).collect()
}

/// Characters of a reply that a log shows.
const SHOWN_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ftp::reply::ReplyParser;

    fn wire(answer: &Answer) -> Vec<u8> {
        let mut out = Vec::new();
        answer.encode(&mut out);
        out
    }

    #[test]
    fn one_line_and_many() {
        assert_eq!(wire(&Answer::new(200, "fine")), b"200 fine\r\n");
        assert_eq!(
            wire(&Answer::many(211, "a", ["200 b", "c"], "d")),
            b"211-a\r\n 200 b\r\n c\r\n211 d\r\n"
        );
    }

    #[test]
    fn a_path_smuggles_no_reply_in() {
        let answer = Answer::new(257, b"\"/a\r\n226 done\"");
        assert_eq!(wire(&answer), b"257 \"/a??226 done\"\r\n");
    }

    proptest! {
        #[test]
        fn a_client_reads_one_reply_whatever_the_text(first: Vec<u8>, between: Vec<Vec<u8>>) {
            let answer = Answer::many(211, &first, &between, "end");
            let bytes = wire(&answer);
            let mut input = &bytes[..];
            let reply = ReplyParser::new().next(&mut input).unwrap().unwrap();
            prop_assert_eq!(reply.code(), 211);
            prop_assert!(input.is_empty());
        }
    }
}
