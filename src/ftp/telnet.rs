//! The scraps of Telnet under the control connection (RFC 959 §5.3.2,
//! RFC 854): 0xFF (IAC) is doubled, and commands begin with it.

use std::borrow::Cow;

/// "Interpret as command": the byte that announces a Telnet command.
pub const IAC: u8 = 0xFF;

/// The first of the four commands that carry one more byte (WILL, WONT, DO, DONT).
const WILL: u8 = 251;

/// Undoes the doubling of 0xFF in one line (without its line end) and drops
/// Telnet commands. A lone 0xFF at the end is kept: it can only be text.
pub fn unescape(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&IAC) {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len());
    let mut bytes = line.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != IAC {
            out.push(byte);
            continue;
        }
        match bytes.peek() {
            None | Some(&IAC) => out.push(IAC),
            // Below 240 there are no commands: a server that sends raw Latin-1.
            Some(..=239) => {
                out.push(IAC);
                continue;
            }
            Some(&command) if command >= WILL => {
                bytes.next();
            }
            Some(_) => {}
        }
        bytes.next();
    }
    Cow::Owned(out)
}

/// Appends `bytes` with every 0xFF doubled.
pub fn escape_into(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        if byte == IAC {
            out.push(IAC);
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_dropped_and_doubles_halved() {
        for (wire, text) in [
            (&b"\xff\xf4\xff\xf2ABOR"[..], &b"ABOR"[..]),
            (b"a\xff\xffb", b"a\xffb"),
            (b"\xff\xfd\x06NOOP", b"NOOP"),
            (b"name\xff", b"name\xff"),
            (b"\xffname", b"\xffname"),
            (b"plain", b"plain"),
        ] {
            assert_eq!(&*unescape(wire), text, "{wire:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_escaped_comes_back(bytes: Vec<u8>) {
            let mut wire = Vec::new();
            escape_into(&bytes, &mut wire);
            proptest::prop_assert_eq!(&*unescape(&wire), &bytes[..]);
        }
    }
}
