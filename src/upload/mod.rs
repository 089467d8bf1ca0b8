//! The FTP client, and the delivery of entries over it.
//!
//! What it is for: [`Session::run`] takes [`Job`]s from a [`Feed`], and each
//! ends, once, in [`Feed::done`]: delivered with a proof, or refused with a
//! [`Failure`] that says whose fault it was.
//!
//! Call order: [`Server::prepare`] once for each destination,
//! [`Session::open`], [`Session::run`] as often as there is work, and
//! [`Session::quit`]. What was learned about a server is its [`Profile`];
//! store it when [`Server::take_learned`] says so, and say so with
//! [`Server::kept`]: only then is a file ever appended to.
//!
//! What it promises:
//! * A file is renamed to its final name only after the check of its temporary
//!   one held, and only the rename makes it visible (`publish = "rename"`).
//! * An entry that may have been sent before is looked for, under both names,
//!   before a byte of it is sent again.
//! * Nothing is sent in clear text unless the options say so by name; a server
//!   chooses the port of a data connection, never its address.
//! * Every wait ends, and memory does not depend on the size of a file or reply.
//!
//! How one entry travels, in round trips on a warm session: the data
//! connection is opened while `RNFR`, `RNTO` (of the entry before) and `STOR`
//! are on their way (1; TLS 2), the bytes go out and the 226 comes (1), and
//! the check, the file's time, and the passive port for the next entry share
//! the last (1).
//!
//! * `session`, `deliver`: a run, and one entry in it.
//! * `upload`, `flight`, `converse`, `transfer`, `data`, `source`: one STOR.
//! * `check`, `publish`, `recover`, `resume`: what comes before and after.
//! * `connect`, `tls`, `dialogue`, `wire`: the connections.

mod check;
mod connect;
mod converse;
mod data;
mod deliver;
mod dialogue;
mod failure;
mod flight;
mod job;
mod options;
mod profile;
mod publish;
mod recover;
mod resume;
mod session;
mod source;
mod tls;
mod transfer;
#[allow(clippy::module_inception)]
mod upload;
mod wire;

#[cfg(test)]
mod tests;

pub use connect::{Observer, Server};
pub use failure::{Class, Failure, Step};
pub use job::{Delivered, Feed, Job, Proof};
pub use options::{
    DataChoice, IfExists, IfGone, MinTls, Publish, ServerOptions, TlsMode, VerifyMode,
};
pub use profile::{DataMode, Profile, Resuming};
pub use session::Session;
