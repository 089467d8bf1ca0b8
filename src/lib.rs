//! edgespool takes finished files out of watched directories into a crash-safe
//! queue on disk (the spool) and uploads them over FTP and FTPS until the
//! server provably has them.
//!
//! # Module map
//!
//! A module knows only what stands below it; siblings never name each other,
//! the supervisor joins them:
//!
//! ```text
//! main > cli > config > supervisor > {watch, upload} > spool > {ftp, schedule, sys} > base
//! ```
//!
//! * [`base`]: sizes, durations and other plain values.
//! * [`ftp`]: the protocol, without any connection: replies, commands, paths, URLs.
//! * [`sys`]: the only door to the operating system: disk, clock, randomness,
//!   network and worker threads, each behind one narrow interface, so that a
//!   simulation can stand in for all of them.
//! * [`upload`]: the FTP client, and the delivery of entries over it.

pub mod base;
pub mod ftp;
pub mod sys;
pub mod upload;
