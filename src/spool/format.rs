//! The file that names the format, and with it the spool's own number.
//!
//! `edgespool spool FORMAT TAG CRC`: the format in decimal, the tag and a CRC-32C
//! over all before the last blank, each in 8 hexadecimal digits; spools of the
//! first days have no CRC. A format that this program does not know is refused.
//! A line that no program wrote is damage where there is a spool around it, and
//! refused where there is none; after damage the tag is taken from the newest
//! receipt, or else chosen anew. A lost tag costs no file: temporary names on the
//! server have it, so that an upload that was cut begins anew.

use std::io;
use std::path::Path;

use crate::sys::{Fs, Sys, read_all, write_whole};

use super::core::Core;
use super::error::SpoolError;
use super::finding::Finding;
use super::ledger::{Ledger, LedgerLimits};
use super::open::lane_dirs;

/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

/// What the file says.
enum Said {
    Format(u32, u32),
    Nothing,
    Nonsense,
}

/// The tag of the spool in `dir`. A new spool, and one whose format file is
/// damaged, is given the file if it may be written to.
pub(super) fn tag(sys: &Sys, dir: &Path, core: &mut Core) -> Result<u32, SpoolError> {
    let path = dir.join("format");
    let said = match read_all(&*sys.fs, &path, 256) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Said::Nothing,
        read => parse(&read.map_err(SpoolError::io("read", &path))?),
    };
    let used = match said {
        Said::Format(found, tag) => return check(dir, found, tag),
        Said::Nothing | Said::Nonsense => is_used(core),
    };
    if !used && (matches!(said, Said::Nonsense) || !core.writable) {
        return Err(SpoolError::NotASpool {
            dir: dir.to_owned(),
        });
    }
    let tag = match used {
        true => tag_of_receipts(&*sys.fs, dir),
        false => None,
    };
    let tag = tag.unwrap_or_else(|| u32::try_from(sys.rng.next_u64() >> 32).unwrap_or(1));
    if used {
        core.found(Finding::Format);
    }
    if core.writable {
        write_whole(&*sys.fs, &path, line(FORMAT, tag).as_bytes())
            .map_err(SpoolError::io("write", &path))?;
    }
    Ok(tag)
}

fn check(dir: &Path, found: u32, tag: u32) -> Result<u32, SpoolError> {
    match found > FORMAT {
        true => Err(SpoolError::Newer {
            dir: dir.to_owned(),
            found,
        }),
        false => Ok(tag),
    }
}

fn line(format: u32, tag: u32) -> String {
    let text = format!("edgespool spool {format} {tag:08x}");
    let crc = crc32c::crc32c(text.as_bytes());
    format!("{text} {crc:08x}\n")
}

fn parse(text: &[u8]) -> Said {
    let words: Vec<&[u8]> = text.trim_ascii_end().split(|&b| b == b' ').collect();
    let [b"edgespool", b"spool", format, tag, crc @ ..] = &words[..] else {
        return Said::Nonsense;
    };
    let number = |word: &[u8], radix| u32::from_str_radix(str::from_utf8(word).ok()?, radix).ok();
    match (
        number(format, 10),
        number(tag, 16).filter(|_| tag.len() == 8),
    ) {
        (Some(format @ 1..), Some(tag)) if crc.is_empty() => Said::Format(format, tag),
        (Some(format @ 1..), Some(tag)) if line(format, tag).as_bytes() == text => {
            Said::Format(format, tag)
        }
        _ => Said::Nonsense,
    }
}

/// Whether something was ever put into this spool.
fn is_used(core: &Core) -> bool {
    let mut receipts = false;
    let ledger = core.fs.read_dir(&core.dir.join("ledger"), &mut |_| {
        receipts = true;
        false
    });
    (ledger.is_ok() && receipts) || lane_dirs(core).is_ok_and(|lanes| !lanes.is_empty())
}

fn tag_of_receipts(fs: &dyn Fs, dir: &Path) -> Option<u32> {
    let ledger = Ledger::open(fs, &dir.join("ledger"), LedgerLimits::default(), false).ok()?;
    let newest = ledger.newest().ok()?;
    newest.last_key_value().map(|(id, _)| id.tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_damage_to_one_byte_passes_for_another_format_or_tag() {
        let text = line(FORMAT, 0x0a1b_2c3d).into_bytes();
        assert!(matches!(parse(&text), Said::Format(FORMAT, 0x0a1b_2c3d)));
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[at] ^= 1 << bit;
                assert!(matches!(parse(&damaged), Said::Nonsense), "{at} {bit}");
            }
        }
        // The checksum as a whole may be missing.
        for at in 0..text.len() {
            if let Said::Format(format, tag) = parse(&text[..at]) {
                assert!([26, 27].contains(&at), "cut at {at}");
                assert_eq!((format, tag), (FORMAT, 0x0a1b_2c3d));
            }
        }
    }

    #[test]
    fn a_spool_without_a_checksum_is_read() {
        let said = parse(b"edgespool spool 1 5f1c2a90\n");
        assert!(matches!(said, Said::Format(1, 0x5f1c_2a90)));
    }
}
