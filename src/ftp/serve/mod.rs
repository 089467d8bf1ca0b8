//! The server's side of a control connection, as pure functions and state.
//!
//! * [`lines`]: bytes of a client in, commands out.
//! * [`state`]: what a session remembers, and what each command means in it;
//!   start here.
//! * [`answer`]: replies onto the wire.
//! * [`listing`], [`ascii`]: what goes over data connections besides plain bytes.
//!
//! Who drives it reads bytes into [`Lines`], gives each command to
//! [`State::accept`], and either sends the [`Answer`] or does the [`Request`]
//! and answers it then. Every command is answered by exactly one final reply,
//! and replies go out in the order of the commands; the one exception is a
//! NOOP or STAT while a transfer runs, whose answer comes before the transfer's.

pub mod answer;
pub mod ascii;
pub mod lines;
pub mod listing;
mod options;
pub mod state;

pub use answer::Answer;
pub use lines::Lines;
pub use state::{Passive, Request, Secrecy, State, Step, Store, Terms};
