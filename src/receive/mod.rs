//! The embedded FTP server: cameras and loggers push, and what they send is
//! durable before they hear 226.

pub mod files;
mod inbox;
mod limits;
mod options;
mod password;
mod users;

pub use files::{Account, FileError, Incoming, Listing, Received, Upload, VirtualPath};
pub use inbox::{Inbox, InboxError, NoInbox};
pub use limits::{Limits, Refusal};
pub use options::{Folder, Lockout, Permissions, Quota, ReceiveOptions, Target, TlsUse, User};
pub use password::{HashError, PasswordHash};
pub use users::{LoginError, Users};
