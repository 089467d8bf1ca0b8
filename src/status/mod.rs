//! The control socket: how other commands ask a running agent and tell it what
//! to do.
//!
//! A request is one line of JSON, the answer one JSON document; then the
//! connection is closed. The agent answers through the [`Answer`] it gives to
//! [`serve`]; commands use [`ask`].

pub mod report;
mod request;
mod socket;

pub use report::Report;
pub use request::{Request, Response};
pub use socket::{Answer, AskError, ask, bind, serve};
