//! Who logs in.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use super::files::Account;
use super::inbox::Inbox;
use super::options::ReceiveOptions;
use crate::base::Secret;
use crate::sys::Sys;

/// The users of a receiver.
pub struct Users {
    #[allow(dead_code)]
    sys: Sys,
    #[allow(dead_code)]
    inbox: Rc<dyn Inbox>,
}

/// Why somebody is not let in. Clients hear 530 in every case but the last
/// (421), and nothing of the reason: the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginError {
    /// No such user, or another password.
    Wrong,
    /// The user may not come from this address.
    Address,
    /// The user's folders cannot be opened: one line says why.
    Folder(String),
}

impl fmt::Display for LoginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoginError::Wrong => f.write_str("wrong user or password"),
            LoginError::Address => f.write_str("this user may not come from this address"),
            LoginError::Folder(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LoginError {}

impl Users {
    /// Gets ready for logins.
    #[must_use]
    pub fn new(sys: &Sys, options: &ReceiveOptions, inbox: Rc<dyn Inbox>) -> Users {
        let _ = options;
        Users {
            sys: sys.clone(),
            inbox,
        }
    }

    /// Whether the user needs no password: `anonymous` and `ftp`, where they are
    /// let in.
    #[must_use]
    pub fn is_anonymous(&self, name: &[u8]) -> bool {
        todo!("{name:?}")
    }

    /// Lets a user in. A wrong name takes as long as a wrong password; a
    /// password that was right lately costs nothing. Sessions of one user share
    /// the account.
    ///
    /// # Errors
    /// Why not.
    pub async fn login(
        &self,
        name: &[u8],
        password: &Secret,
        from: IpAddr,
    ) -> Result<Rc<Account>, LoginError> {
        todo!("{name:?} {password:?} {from}")
    }
}
