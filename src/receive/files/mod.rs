//! What a user sees as files: folders with directories and lanes behind them.
//!
//! [`Account`] is what a session works with. Paths are [`VirtualPath`]s: what a
//! client says is resolved lexically first, then within one folder, by a
//! [`Tree`](crate::sys::Tree) that nobody gets out of.
//!
//! * `place`: a directory or lane that folders name. All users and sessions
//!   share it, with what is under way in it: who uploads a file that another
//!   session has under way takes it over.
//! * `core`: what a user may do, and does, in the folders; blocking.
//! * `open`, `incoming`: one upload. Unfinished files carry the sticky bit; in a
//!   directory they may be gone on with and replaced by whoever may upload,
//!   finished ones only by whoever may overwrite.
//! * `flush`: many finished files, one flush.
//! * `quota`: what the user's folders hold.
//!
//! A lane's folder is its staging directory: it shows what is not received yet.
//! A complete file is sealed until the spool has it, so that nobody changes it.

mod account;
mod core;
mod error;
mod flush;
mod incoming;
mod listing;
mod open;
mod path;
mod place;
mod quota;
mod sweep;
#[cfg(test)]
mod tests;

pub use account::Account;
pub use error::FileError;
pub use incoming::{Incoming, Received, Upload};
pub use listing::Listing;
pub use path::VirtualPath;
pub(super) use place::Places;
pub use place::Staged;
pub use sweep::{Cuts, Swept, sweep};
