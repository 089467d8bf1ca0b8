//! Who logs in.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::files::{Account, Places};
use super::inbox::Inbox;
use super::options::{ReceiveOptions, User};
use super::password::PasswordHash;
use crate::base::Secret;
use crate::sys::Sys;

/// The users of a receiver.
pub struct Users {
    sys: Sys,
    inbox: Rc<dyn Inbox>,
    users: Vec<User>,
    anonymous: Option<User>,
    /// Folders that are in use, by anybody.
    places: Arc<Places>,
    /// Who is or was here: the quota is not counted for each login.
    accounts: RefCell<BTreeMap<String, Rc<Account>>>,
    /// What a wrong name is compared with, so that it takes its time.
    decoy: Option<PasswordHash>,
    known: RefCell<Known>,
    /// One password at a time: each comparison takes megabytes.
    comparing: smol::lock::Mutex<()>,
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

/// Passwords that were right lately, by a digest that is of no use elsewhere:
/// a device that logs in for each file costs one slow comparison.
struct Known {
    /// Random, made anew at each start; `None` when there is no randomness.
    key: Option<[u8; 32]>,
    digests: VecDeque<[u8; 32]>,
}

impl Users {
    /// Gets ready for logins.
    #[must_use]
    pub fn new(sys: &Sys, options: &ReceiveOptions, inbox: Rc<dyn Inbox>) -> Users {
        let mut key = [0; 32];
        let key = sys.rng.fill_secret(&mut key).is_ok().then_some(key);
        let passwords = options.users.iter().map(|user| &user.password);
        Users {
            sys: sys.clone(),
            inbox,
            users: options.users.clone(),
            anonymous: options.anonymous.clone(),
            places: Arc::default(),
            accounts: RefCell::default(),
            decoy: passwords.clone().find(|p| p.is_slow()).cloned(),
            known: RefCell::new(Known {
                key,
                digests: VecDeque::new(),
            }),
            comparing: smol::lock::Mutex::new(()),
        }
    }

    /// Whether the user needs no password: `anonymous` and `ftp` (RFC 1635),
    /// where they are let in.
    #[must_use]
    pub fn is_anonymous(&self, name: &[u8]) -> bool {
        self.anonymous.is_some() && self.named(name).is_none() && is_anonymous(name)
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
        let user = match &self.anonymous {
            Some(anonymous) if self.is_anonymous(name) => anonymous,
            _ => self.compare(name, password).await?,
        };
        let from = from.to_canonical();
        if !user.from.is_empty() && !user.from.iter().any(|net| net.contains(&from)) {
            return Err(LoginError::Address);
        }
        self.account(user).await.map_err(LoginError::Folder)
    }

    /// The user whose name and password these are.
    async fn compare(&self, name: &[u8], password: &Secret) -> Result<&User, LoginError> {
        let user = self.named(name);
        let digest = self.known.borrow().digest(name, password);
        if let Some(user) = user
            && digest.is_some_and(|digest| self.known.borrow().digests.contains(&digest))
        {
            return Ok(user);
        }
        let stored = user.map(|user| &user.password).or(self.decoy.as_ref());
        let right = match stored.cloned() {
            Some(stored) => self.verify(stored, password).await,
            None => false,
        };
        match user.filter(|_| right) {
            Some(user) => {
                self.known.borrow_mut().remember(digest);
                Ok(user)
            }
            None => Err(LoginError::Wrong),
        }
    }

    async fn verify(&self, stored: PasswordHash, password: &Secret) -> bool {
        let _one_at_a_time = self.comparing.lock().await;
        let password = password.clone();
        let verify = move || stored.verify(&password);
        self.sys.pool.run(verify).await
    }

    /// The account that sessions of a user share. It is opened anew when its
    /// folders were replaced on disk.
    async fn account(&self, user: &User) -> Result<Rc<Account>, String> {
        let open = self.accounts.borrow().get(&user.name).cloned();
        if let Some(account) = open
            && account.stands(&self.sys).await
        {
            account.recount(RECOUNT_EVERY).await?;
            return Ok(account);
        }
        let (sys, inbox) = (&self.sys, self.inbox.clone());
        let account = Rc::new(Account::open(sys, user, inbox, &self.places).await?);
        let mut accounts = self.accounts.borrow_mut();
        accounts.insert(user.name.clone(), account.clone());
        Ok(account)
    }

    fn named(&self, name: &[u8]) -> Option<&User> {
        self.users.iter().find(|user| user.name.as_bytes() == name)
    }
}

impl Known {
    fn digest(&self, name: &[u8], password: &Secret) -> Option<[u8; 32]> {
        let mut digest = Sha256::new();
        digest.update(self.key?);
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name);
        digest.update(password.expose());
        Some(digest.finalize().into())
    }

    fn remember(&mut self, digest: Option<[u8; 32]>) {
        let Some(digest) = digest else { return };
        if self.digests.len() >= KNOWN_MAX {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
    }
}

fn is_anonymous(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"anonymous") || name.eq_ignore_ascii_case(b"ftp")
}

/// Passwords that are remembered.
const KNOWN_MAX: usize = 256;
/// What a user's folders hold is counted anew after so long, at a login.
const RECOUNT_EVERY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
