//! The embedded FTP server: cameras and loggers push, and what they send is
//! durable before they hear 226.

mod data;
mod error;
pub mod files;
mod hook;
mod inbox;
mod journal;
mod limits;
mod options;
mod password;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tls;
mod users;

pub use error::ReceiveError;

pub use files::{
    Account, Cuts, FileError, Incoming, Listing, Received, Staged, Swept, Upload, VirtualPath,
    sweep,
};
pub use inbox::{Inbox, InboxError, NoInbox, Room};
pub use limits::{Limits, Refusal};
pub use options::{Folder, Lockout, Permissions, Quota, ReceiveOptions, Target, TlsUse, User};
pub use password::{HashError, MEMORY_KIB, PASSES, PasswordHash};
pub use server::{Observer, Receiver};
pub use users::{LoginError, Users};
