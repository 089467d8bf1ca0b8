//! Text of a stranger, made fit for a terminal and a log.

/// Renders bytes that came over the wire as one line of at most `chars_max`
/// characters: control characters (and the invisible ones that reorder text)
/// become `\x1b` or `\u{202e}`, bytes that are not UTF-8 become U+FFFD, and
/// what is too long ends in `…`. Nothing in the result can move a cursor,
/// start a new log line or hide a word.
pub fn printable(bytes: &[u8], chars_max: usize) -> String {
    // Four bytes are the longest UTF-8 character: no need to decode the rest.
    let enough = bytes.get(..chars_max.saturating_mul(4)).unwrap_or(bytes);
    let mut out = String::with_capacity(enough.len().min(chars_max));
    for (written, c) in String::from_utf8_lossy(enough).chars().enumerate() {
        if written >= chars_max {
            out.push('…');
            return out;
        }
        if !is_unsafe(c) {
            out.push(c);
        } else if c.is_ascii() {
            out.push_str(&format!("\\x{:02x}", u32::from(c)));
        } else {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        }
    }
    if enough.len() < bytes.len() {
        out.push('…');
    }
    out
}

fn is_unsafe(c: char) -> bool {
    let invisible = matches!(
        c,
        '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    );
    c.is_control() || invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_steered() {
        assert_eq!(
            printable(b"a\x1b[2Jb\r\n\0", 99),
            "a\\x1b[2Jb\\x0d\\x0a\\x00"
        );
        assert_eq!(
            printable("x\u{202e}y\u{9b}z".as_bytes(), 99),
            "x\\u{202e}y\\u{9b}z"
        );
        assert_eq!(printable("Grüße".as_bytes(), 99), "Grüße");
        assert_eq!(printable(b"\xff\xfe", 99), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(printable(b"abcdef", 3), "abc…");
        assert_eq!(printable(b"abc", 3), "abc");
        assert_eq!(printable(&[b'a'; 100], 3), "aaa…");
    }
}
