//! Frames: how every record of every log stands on disk, and how a log is read
//! back when it is torn or damaged. Pure but for reading the file.

use std::io;

use serde::{Serialize, de::DeserializeOwned};

use crate::base::sabotage::{Sabotage, is_on};
use crate::sys::File;

/// Bytes before the payload: marker, length, checksum.
pub(super) const HEADER: usize = 8;
/// The longest payload; a path of 4096 bytes and an error fit.
pub(super) const PAYLOAD_MAX: usize = 12 << 10;
/// Starts every frame. Not valid UTF-8, so that no text holds it.
const MARKER: [u8; 2] = [0xE5, 0xFB];
/// How much is read at a time.
const CHUNK: usize = 64 << 10;
/// How often a record is read before it counts as lost.
pub(super) const READS_MAX: u32 = 4;

/// Appends the frame of one record to `out`.
///
/// # Errors
/// `InvalidInput` when the record is longer than [`PAYLOAD_MAX`].
pub(super) fn encode<T: Serialize>(record: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let payload = postcard::to_allocvec(record).map_err(|e| invalid(e.to_string()))?;
    let length = u16::try_from(payload.len())
        .ok()
        .filter(|&n| usize::from(n) <= PAYLOAD_MAX)
        .ok_or_else(|| invalid(format!("a record of {} bytes is too long", payload.len())))?;
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(length, &payload).to_le_bytes());
    out.extend_from_slice(&payload);
    Ok(())
}

/// Reads the one record that begins at `offset`, more than once if the disk fails:
/// what its entry was is forgotten otherwise.
///
/// # Errors
/// What the disk says, and `InvalidData` when no whole frame stands there.
pub(super) fn read_one<T: DeserializeOwned>(file: &dyn File, offset: u64) -> io::Result<T> {
    let mut read = read_once(file, offset);
    for _ in 1..READS_MAX {
        match &read {
            Err(e) if e.raw_os_error().is_some() => read = read_once(file, offset),
            _ => break,
        }
    }
    read
}

fn read_once<T: DeserializeOwned>(file: &dyn File, offset: u64) -> io::Result<T> {
    let mut scan = Scan::with_chunk(file, offset, 512);
    match scan.frame_at(offset)? {
        Some(end) => decode(scan.payload(offset, end)?),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Reads the record whose frame ends exactly at the end of the file, if there
/// is one of at most `longest` bytes.
pub(super) fn read_last<T: DeserializeOwned>(
    file: &dyn File,
    len: u64,
    longest: u64,
) -> io::Result<Option<T>> {
    let mut scan = Scan::with_chunk(file, len.saturating_sub(longest), 512);
    for offset in len.saturating_sub(longest)..len {
        if scan.frame_at(offset)? == Some(len) {
            return Ok(decode(scan.payload(offset, len)?).ok());
        }
    }
    Ok(None)
}

/// A piece of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<T> {
    /// A whole record and where its frame begins.
    Record(u64, T),
    /// Bytes in which no record can be read, with whole frames behind them.
    Damaged { from: u64, to: u64 },
    /// Bytes in which no record can be read, up to the end of the file.
    Torn { from: u64, to: u64 },
}

/// Reads a log from front to back, in a bounded buffer.
pub(super) struct Scan<'a> {
    file: &'a dyn File,
    chunk: usize,
    base: u64,
    buffer: Vec<u8>,
    position: u64,
}

impl<'a> Scan<'a> {
    /// Begins at the start of the file.
    pub(super) fn new(file: &'a dyn File) -> Scan<'a> {
        Scan::with_chunk(file, 0, CHUNK)
    }

    fn with_chunk(file: &'a dyn File, position: u64, chunk: usize) -> Scan<'a> {
        Scan {
            file,
            chunk,
            base: position,
            buffer: Vec::new(),
            position,
        }
    }

    /// The next piece; `None` at the end of the file. A frame whose checksum
    /// holds but whose record is not understood counts as damage.
    pub(super) fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Piece<T>>> {
        let from = self.position;
        if self.bytes(from, 1)?.is_empty() {
            return Ok(None);
        }
        if let Some(end) = self.frame_at(from)? {
            self.position = end;
            return Ok(Some(match decode(self.payload(from, end)?) {
                Ok(record) => Piece::Record(from, record),
                Err(_) => Piece::Damaged { from, to: end },
            }));
        }
        let mut at = from + 1;
        loop {
            if self.bytes(at, 1)?.is_empty() {
                self.position = at;
                return Ok(Some(Piece::Torn { from, to: at }));
            }
            if self.frame_at(at)?.is_some() && !is_on(Sabotage::CutAtDamage) {
                self.position = at;
                return Ok(Some(Piece::Damaged { from, to: at }));
            }
            at += 1;
        }
    }

    /// Where the whole frame that begins at `offset` ends.
    fn frame_at(&mut self, offset: u64) -> io::Result<Option<u64>> {
        let [m0, m1, l0, l1, c0, c1, c2, c3] = *self.bytes(offset, HEADER)? else {
            return Ok(None);
        };
        let length = u16::from_le_bytes([l0, l1]);
        if [m0, m1] != MARKER || usize::from(length) > PAYLOAD_MAX {
            return Ok(None);
        }
        let end = offset + HEADER as u64 + u64::from(length);
        let payload = self.payload(offset, end)?;
        let whole = payload.len() == usize::from(length)
            && (checksum(length, payload) == u32::from_le_bytes([c0, c1, c2, c3])
                || is_on(Sabotage::TrustTornRecord));
        Ok(whole.then_some(end))
    }

    fn payload(&mut self, offset: u64, end: u64) -> io::Result<&[u8]> {
        let start = offset + HEADER as u64;
        let length = usize::try_from(end.saturating_sub(start)).unwrap_or(usize::MAX);
        self.bytes(start, length)
    }

    /// The bytes at `offset`; fewer than `count` only at the end of the file.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let held = |scan: &Scan| {
            let skip = offset.checked_sub(scan.base)?;
            let skip = usize::try_from(skip).ok()?;
            (skip + count <= scan.buffer.len()).then_some(skip)
        };
        let skip = match held(self) {
            Some(skip) => skip,
            None => {
                self.fill(offset, count.max(self.chunk))?;
                0
            }
        };
        let end = (skip + count).min(self.buffer.len());
        Ok(self.buffer.get(skip..end).unwrap_or_default())
    }

    fn fill(&mut self, offset: u64, count: usize) -> io::Result<()> {
        self.base = offset;
        // Most logs are short, and making room costs by the byte.
        let there = self.file.meta()?.size.saturating_sub(offset);
        let count = usize::try_from(there).map_or(count, |there| count.min(there));
        self.buffer.resize(count, 0);
        let mut have = 0;
        while let Some(rest) = self.buffer.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + have as u64)? {
                0 => break,
                got => have += got,
            }
        }
        self.buffer.truncate(have);
        Ok(())
    }
}

fn decode<T: DeserializeOwned>(payload: &[u8]) -> io::Result<T> {
    postcard::from_bytes(payload).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// CRC-32C over the length and the payload.
fn checksum(length: u16, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), payload)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::tests::memory::file_with;

    fn log_of(records: &[String]) -> (Vec<u8>, Vec<u64>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for record in records {
            starts.push(bytes.len() as u64);
            encode(record, &mut bytes).unwrap();
        }
        (bytes, starts)
    }

    fn read(bytes: &[u8]) -> Vec<Piece<String>> {
        let file = file_with(bytes);
        let mut scan = Scan::new(&*file);
        std::iter::from_fn(|| scan.next().unwrap()).collect()
    }

    fn records() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec("[a-z]{0,40}", 1..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn records_come_back_in_order(records in records()) {
            let (bytes, starts) = log_of(&records);
            let expected: Vec<_> = starts.into_iter().zip(records).map(|(s, r)| Piece::Record(s, r)).collect();
            prop_assert_eq!(read(&bytes), expected);
        }

        #[test]
        fn a_cut_costs_only_the_last_record(records in records(), cut in 1usize..48) {
            let (mut bytes, starts) = log_of(&records);
            bytes.truncate(bytes.len().saturating_sub(cut));
            let whole = starts.iter().skip(1).filter(|&&s| s <= bytes.len() as u64).count();
            let got = read(&bytes);
            let read_back = got.iter().filter(|p| matches!(p, Piece::Record(..))).count();
            prop_assert_eq!(read_back, whole);
        }

        #[test]
        fn one_wrong_byte_costs_only_its_record(records in records(), at: proptest::sample::Index, bit in 0u8..8) {
            let (mut bytes, starts) = log_of(&records);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let hit = starts.iter().rposition(|&s| s <= at as u64).unwrap();
            let got: Vec<String> = read(&bytes).into_iter().filter_map(|p| match p { Piece::Record(_, r) => Some(r), _ => None }).collect();
            let mut left = records;
            left.remove(hit);
            prop_assert_eq!(got, left);
        }
    }

    #[test]
    fn the_last_record_is_found_from_the_end() {
        let (bytes, _) = log_of(&["first".into(), "last".into()]);
        let file = file_with(&bytes);
        let last: Option<String> = read_last(&*file, bytes.len() as u64, 64).unwrap();
        assert_eq!(last.as_deref(), Some("last"));
    }

    #[test]
    fn zeros_behind_the_records_are_a_torn_end() {
        let (mut bytes, _) = log_of(&["one".into()]);
        let from = bytes.len() as u64;
        bytes.resize(bytes.len() + 5000, 0);
        assert_eq!(
            read(&bytes)[1],
            Piece::Torn {
                from,
                to: from + 5000
            }
        );
    }

    #[test]
    fn a_record_that_is_too_long_is_refused() {
        let error = encode(&"x".repeat(PAYLOAD_MAX), &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
