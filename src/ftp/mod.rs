//! The FTP protocol as pure functions and state: no sockets, no clock, no
//! disk. RFC 959, 1123 §4.1, 2228, 2389, 2428, 3659, 4217, and what servers
//! really send.
//!
//! * [`control`]: the client's side of a control connection; start here.
//! * [`serve`]: the server's side of one.
//! * [`command`], [`reply`]: the two directions of the wire.
//! * [`feat`], [`quirks`]: what a server says it can do, and what is known of it.
//! * [`address`]: where data connections go.
//! * [`path`], [`url`]: names on the server.
//! * [`verify`], [`digest`], [`time`]: sizes, digests and times that a server
//!   reports, and digests of our own.
//!
//! Everything that comes from a peer is bounded when read and escaped when shown.

pub mod address;
pub mod command;
pub mod control;
pub mod digest;
pub mod feat;
pub mod path;
pub mod quirks;
pub mod reply;
pub mod secret;
pub mod serve;
pub mod telnet;
pub mod text;
pub mod time;
pub mod url;
pub mod verify;
