//! TLS on the control connection: AUTH and CCC (RFC 4217).

use std::io;

use smol::io::AsyncWriteExt;

use super::{End, Session};
use crate::ftp::serve::Answer;
use crate::receive::wire::Wire;

impl Session {
    /// AUTH TLS: the answer is the last thing in clear text, and nothing that
    /// was received in clear text is served any more.
    pub(super) async fn start_tls(&mut self, answer: &Answer) -> Result<(), End> {
        self.log_out();
        self.control.answer_now(answer).await?;
        let shared = self.shared.clone();
        let Some(tls) = &shared.tls else {
            return Err(End::Gone(io::ErrorKind::Unsupported.into()));
        };
        let secure = |wire| async {
            match wire {
                Wire::Plain(tcp) => tls.control(tcp).await,
                Wire::Tls(_) | Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        if let Err(error) = self.control.change(secure).await {
            log::info!("{}: TLS: {error}", self.peer);
            return Err(End::Gone(error));
        }
        self.state.secured();
        Ok(())
    }

    /// CCC: clear text again, once both sides have said that TLS ends; some
    /// clients leave their word out.
    pub(super) async fn end_tls(&mut self, answer: &Answer) -> Result<(), End> {
        self.control.answer_now(answer).await?;
        let clear = |wire| async {
            let Wire::Tls(mut tls) = wire else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            tls.get_mut().1.send_close_notify();
            tls.flush().await?;
            Ok(Wire::Plain(tls.into_inner().0))
        };
        self.control.change(clear).await?;
        self.control.skip_tls();
        self.state.cleared();
        Ok(())
    }
}
