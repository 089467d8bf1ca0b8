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
//! * [`schedule`]: when to send, how fast, and how long to wait after a failure.
//! * [`supervisor`]: joins the parts; what to do next is decided in one pure
//!   state machine.
//! * [`sys`]: the only door to the operating system: disk, clock, randomness,
//!   network and worker threads, each behind one narrow interface, so that a
//!   simulation can stand in for all of them.

pub mod base;
pub mod schedule;
pub mod supervisor;
pub mod sys;
