//! What a user sees as files: folders with directories and lanes behind them.

mod account;
mod error;
mod incoming;
mod path;

pub use account::{Account, Listing};
pub use error::FileError;
pub use incoming::{Incoming, Received, Upload};
pub use path::VirtualPath;
