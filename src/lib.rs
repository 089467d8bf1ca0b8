//! edgespool takes finished files out of watched directories into a crash-safe
//! queue on disk (the spool) and uploads them over FTP and FTPS until the
//! server provably has them.
//!
//! # Module map
//!
//! A module knows only what stands below it; siblings never name each other,
//! the agent joins them (`tests/tidy.rs` holds everyone to it):
//!
//! ```text
//! main > cli > agent > config > supervisor > {watch, upload, receive, status} > spool > {ftp, schedule, sys} > base
//! ```
//!
//! * [`base`]: sizes, durations, points in time and other plain values.
//! * [`sys`]: the only door to the operating system: disk, clock, randomness,
//!   network and worker threads, each behind one narrow interface, so that a
//!   simulation can stand in for all of them.
//! * [`ftp`]: the FTP protocol without sockets: replies, commands, features,
//!   addresses, paths, and the control connection as a state machine.
//! * [`schedule`]: when to upload, how fast, how much, and when to try again;
//!   pure.
//! * [`spool`]: the crash-safe queue on disk.
//! * [`supervisor`]: decides what the agent does next; pure.
//! * [`upload`]: the client: connections, TLS, and the delivery of entries.
//! * [`receive`]: the embedded FTP server that devices push to.
//! * [`watch`]: finds finished files in a directory.
//! * [`config`]: the configuration file, checked as a whole.
//! * [`status`]: the control socket of a running agent.
//! * [`agent`]: joins them all into the service.
//! * [`cli`]: the command line.

pub mod agent;
pub mod base;
pub mod cli;
pub mod config;
pub mod ftp;
pub mod receive;
pub mod schedule;
pub mod spool;
pub mod status;
pub mod supervisor;
pub mod sys;
pub mod upload;
pub mod watch;
