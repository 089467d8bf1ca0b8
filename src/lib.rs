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
//! * [`config`]: the configuration file, read and checked as a whole.
//! * [`cli`]: one file per command.
//! * [`base`]: sizes, durations and other plain values.
//! * [`schedule`]: when to send, how fast, and how long to wait after a failure.
//! * [`sys`]: the only door to the operating system: disk, clock, randomness,
//!   network and worker threads, each behind one narrow interface, so that a
//!   simulation can stand in for all of them.

pub mod base;
pub mod cli;
pub mod config;
pub mod schedule;
pub mod sys;
