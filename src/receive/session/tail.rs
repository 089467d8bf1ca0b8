//! What is left of TLS behind CCC: the client's close_notify, before its first
//! command in clear text.
//!
//! Some clients send it and some do not (curl has an option for either), and it
//! may come in one piece with the command. Records are told from commands by
//! their first byte, which no command begins with.

/// Takes TLS records off the front of what a client sends.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Of the record's header (RFC 8446 §5.1): type, version, length.
    header: heapless::Vec<u8, HEADER_BYTES>,
    /// Of the record's content, still to come.
    left: usize,
    /// Clear text has begun.
    over: bool,
}

impl Tail {
    /// What is clear text among the next bytes.
    pub(super) fn strip<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while let (false, Some((first, rest))) = (self.over, bytes.split_first()) {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            if self.header.is_empty() && !RECORD_TYPES.contains(first) {
                self.over = true;
                break;
            }
            // There is room: a header that is full was taken out.
            let _room = self.header.push(*first);
            bytes = rest;
            if let [_, _, _, high, low] = *self.header.as_slice() {
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
            }
        }
        bytes
    }
}

const HEADER_BYTES: usize = 5;
/// change_cipher_spec, alert, handshake, application_data.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn strip(chunks: &[&[u8]]) -> Vec<u8> {
        let mut tail = Tail::default();
        chunks
            .iter()
            .flat_map(|chunk| tail.strip(chunk))
            .copied()
            .collect()
    }

    #[test]
    fn clear_text_alone_stays_as_it_is() {
        assert_eq!(
            strip(&[b"PWD\r\n", b"\x15\x03\x03\0\x02ab"]),
            b"PWD\r\n\x15\x03\x03\0\x02ab"
        );
    }

    proptest! {
        #[test]
        fn records_before_commands_go_wherever_they_are_cut(at in 0_usize..20) {
            let bytes = b"\x17\x03\x03\0\x03abc\x15\x03\x03\0\0PWD\r\nQUIT";
            let (one, two) = bytes.split_at(at);
            prop_assert_eq!(strip(&[one, two]), b"PWD\r\nQUIT".to_vec());
        }
    }
}
