//! What must hold for any input, one function per fuzz target.
//!
//! A function panics when its claim does not hold. The fuzz targets call them
//! with what the fuzzer makes up, `tests/corpus.rs` with the files of
//! `tests/corpus/<target>/`.

#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod disk;
pub mod ftp;
pub mod serve;
pub mod spool;
pub mod text;

/// Panics when its claim does not hold for an input.
pub type Check = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Check); 15] = [
    ("addresses", ftp::addresses),
    ("commands", ftp::commands),
    ("config", text::config),
    ("digests", ftp::digests),
    ("features", ftp::features),
    ("paths", ftp::paths),
    ("replies", ftp::replies),
    ("requests", text::requests),
    ("schedules", text::schedules),
    ("sessions", serve::sessions),
    ("spool_damage", spool::spool_damage),
    ("spool_records", spool::spool_records),
    ("templates", text::templates),
    ("times", ftp::times),
    ("urls", ftp::urls),
];

/// Fails when a text would draw outside its line on a terminal or in a log.
#[track_caller]
fn assert_one_line(text: &str) {
    let outside = text.chars().find(|c| c.is_control());
    assert!(outside.is_none(), "{text:?} holds {outside:?}");
}
