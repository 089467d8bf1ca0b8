//! Who a client is.

use super::{End, Session};
use crate::base::Secret;
use crate::ftp::command::Argument;
use crate::ftp::secret;
use crate::ftp::serve::Answer;
use crate::ftp::text::printable;
use crate::receive::files::Account;
use crate::receive::users::LoginError;

impl Session {
    /// PASS. A wrong password takes longer each time, and the third one ends
    /// the session.
    pub(super) async fn log_in(
        &mut self,
        user: Argument,
        secret: &secret::Secret,
    ) -> Result<Answer, End> {
        let shared = self.shared.clone();
        self.log_out();
        let locked_out = {
            let limits = shared.limits.borrow();
            limits.is_locked_out(self.peer, shared.sys.clock.mono())
        };
        if locked_out {
            return self
                .dismiss("too many wrong passwords, try again later")
                .await;
        }
        let secret = Secret::new(secret.expose().to_vec());
        let error = match shared.users.login(&user, &secret, self.peer).await {
            Ok(account) => return self.enter(user, account).await,
            Err(error) => error,
        };
        let shown = printable(&user, 100);
        log::warn!("{}: login as {shown}: {error}", self.peer);
        if let LoginError::Folder(_) = error {
            return self.dismiss("the login cannot be served now").await;
        }
        let now = shared.sys.clock.mono();
        let delay = shared.limits.borrow_mut().failed(self.peer, now);
        shared.sys.clock.sleep_until(now.after(delay)).await;
        self.wrong_passwords += 1;
        if self.wrong_passwords >= WRONG_PASSWORDS_MAX {
            return self.dismiss("too many wrong passwords").await;
        }
        Ok(Answer::new(530, "wrong user or password"))
    }

    async fn enter(
        &mut self,
        user: Argument,
        account: std::rc::Rc<Account>,
    ) -> Result<Answer, End> {
        let entered = {
            let mut limits = self.shared.limits.borrow_mut();
            limits.enter(self.peer, account.name())
        };
        if let Err(refusal) = entered {
            log::warn!("{}: login as {}: {refusal}", self.peer, account.name());
            return self.dismiss(&refusal.to_string()).await;
        }
        if !self.control.is_tls() {
            self.shared.warn_of_clear_text(account.name());
        }
        self.account = Some(account);
        self.state.logged_in(user);
        Ok(Answer::new(230, "logged in"))
    }

    /// Forgets who the client is.
    pub(super) fn log_out(&mut self) {
        self.data = None;
        if let Some(account) = self.account.take() {
            self.shared.limits.borrow_mut().leave(account.name());
        }
    }

    async fn dismiss(&mut self, why: &str) -> Result<Answer, End> {
        self.control.answer_now(&Answer::new(421, why)).await?;
        Err(End::Said)
    }
}

/// Of one session.
const WRONG_PASSWORDS_MAX: u32 = 3;
