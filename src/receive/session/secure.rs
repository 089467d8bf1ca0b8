//! TLS on the control connection: AUTH and CCC (RFC 4217).

use std::io;

use async_rustls::TlsStream;
use smol::io::AsyncWriteExt;

use super::{End, Session};
use crate::ftp::serve::Answer;
use crate::sys::Wire;

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
                Wire::Tls(_) => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        // A handshake is a part of logging in: who is silent in it is gone as soon.
        let limit = self.time_to_log_in();
        if let Err(error) = self.control.change(limit, secure).await {
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
            let Wire::Tls(tls) = wire else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            let TlsStream::Server(mut tls) = *tls else {
                return Err(io::ErrorKind::NotConnected.into());
            };
            tls.get_mut().1.send_close_notify();
            tls.flush().await?;
            Ok(Wire::Plain(tls.into_inner().0))
        };
        let limit = self.shared.options.stall_timeout;
        self.control.change(limit, clear).await?;
        self.control.skip_tls();
        self.state.cleared();
        Ok(())
    }
}
