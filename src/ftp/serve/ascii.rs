//! Text on data connections (RFC 959 §3.1.1.1): lines end in CR LF there, and
//! in LF on disk. Streaming: a pair may be cut anywhere.

/// From the network to the disk: CR LF becomes LF; a CR alone stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromNet {
    /// A CR came last and is not yet passed on.
    held: bool,
}

impl FromNet {
    /// Appends what `bytes` are on disk to `out`.
    pub fn convert(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.held && byte != b'\n' {
                out.push(b'\r');
            }
            self.held = byte == b'\r';
            if !self.held {
                out.push(byte);
            }
        }
    }

    /// The end of the data: a CR that came last was text.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.held {
            out.push(b'\r');
        }
    }
}

/// From the disk to the network: LF becomes CR LF, and a CR LF that is on disk
/// already stays one, so that text from Windows is not given blank lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct ToNet {
    after_cr: bool,
}

impl ToNet {
    /// Appends what `bytes` are on the wire to `out`: at most twice as many.
    pub fn convert(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if byte == b'\n' && !self.after_cr {
                out.push(b'\r');
            }
            self.after_cr = byte == b'\r';
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn from_net(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut converter, mut out) = (FromNet::default(), Vec::new());
        for chunk in chunks {
            converter.convert(chunk, &mut out);
        }
        converter.finish(&mut out);
        out
    }

    fn to_net(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut converter, mut out) = (ToNet::default(), Vec::new());
        for chunk in chunks {
            converter.convert(chunk, &mut out);
        }
        out
    }

    #[test]
    fn line_ends_are_converted_both_ways() {
        assert_eq!(from_net(&[b"a\r\nb\rc\nd\r"]), b"a\nb\rc\nd\r");
        assert_eq!(from_net(&[b"a\r", b"\nb\r", b"\r", b"\n"]), b"a\nb\r\n");
        assert_eq!(to_net(&[b"a\nb\r\nc\r"]), b"a\r\nb\r\nc\r");
        assert_eq!(to_net(&[b"a\r", b"\nb", b"\n"]), b"a\r\nb\r\n");
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in "[ab\\r\\n]{0,20}", at in 0_usize..20) {
            let bytes = text.as_bytes();
            let (one, two) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(from_net(&[bytes]), from_net(&[one, two]));
            prop_assert_eq!(to_net(&[bytes]), to_net(&[one, two]));
        }

        #[test]
        fn text_without_cr_comes_back(text in "[ab\\n]{0,20}") {
            let wire = to_net(&[text.as_bytes()]);
            prop_assert_eq!(from_net(&[&wire]), text.into_bytes());
        }
    }
}
