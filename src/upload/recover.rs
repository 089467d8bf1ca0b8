//! What a refused or broken upload teaches, and what to do next.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use super::connect::GRACE;
use super::deliver::{Entry, Fault, Then, Waiting};
use super::failure::{Class, Failure, Step};
use super::profile::Resuming;
use super::resume::Plan;
use super::session::{Feeding, Session};
use super::tls::{Connector, TlsSetup};
use super::transfer;
use super::wire::{Wire, is_tls13, resumed};
use crate::ftp::command::Command;
use crate::ftp::path::RemotePath;
use crate::sys::timeout;

/// A refused or broken upload, and the state it left.
pub(super) struct Refused {
    pub(super) failure: Failure,
    /// The server had begun to take the file.
    pub(super) begun: bool,
    /// Every command has its reply: the control connection can go on.
    pub(super) clean: bool,
    /// The data connection had TLS of its own, not the control connection's
    /// session; `Some(true)`: TLS 1.3.
    pub(super) full_handshake: Option<bool>,
}

impl Refused {
    /// By a reply.
    pub(super) fn by(failure: Failure, begun: bool) -> Refused {
        Refused {
            begun,
            ..failure.into()
        }
    }

    /// Notes what data connection it was.
    pub(super) fn over(mut self, wire: &Wire) -> Refused {
        if wire.is_tls() && !resumed(wire) {
            self.full_handshake = Some(is_tls13(wire));
        }
        self
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Refused {
        Refused {
            failure,
            begun: false,
            clean: true,
            full_handshake: None,
        }
    }
}

impl Session {
    /// Learns from a refusal and brings the session into a state for the next
    /// try. The outer error is the session's end.
    pub(super) async fn recover(
        &mut self,
        entry: &mut Entry,
        plan: Plan,
        next: &mut Option<Entry>,
        refused: Refused,
    ) -> Result<Fault, Failure> {
        let Refused {
            failure,
            begun,
            clean,
            full_handshake,
        } = refused;
        self.prepared = None;
        let class = failure.class;
        let reuse_demanded =
            full_handshake.filter(|_| class == Class::Tls || failure.code == Some(425));
        if failure.ends_session() && reuse_demanded.is_none() {
            return Ok(failure.into());
        }
        let untouched = !begun && clean && class == Class::File && plan == Plan::Store;
        let mut then = if untouched {
            Then::Retry
        } else {
            Then::RetryAfterLook
        };
        let mut fresh_link = !clean;
        if let Some(tls13) = reuse_demanded {
            let connector = self.link.connector.as_ref();
            let renewed = connector.is_some_and(Connector::tickets_are_renewed);
            self.server.learn(|profile| {
                profile.reuse_required = true;
                // Where they are renewed, one was lost on its way.
                profile.tickets_run_out |= tls13 && !renewed;
            });
            fresh_link = true;
        } else if self.was_about_resuming(plan, begun, &failure) {
            self.learn_resuming(plan);
        } else if failure.step == Step::DataConnection || failure.code == Some(425) {
            self.try_other_data_mode();
        } else if class == Class::Data {
            entry.broken += 1;
            if entry.broken >= BROKEN_MAX {
                then = Then::GiveUp;
            }
        } else if class == Class::File && !self.directory_is_known(&entry.last) {
            self.make_directories(&entry.last).await?;
        } else {
            then = Then::GiveUp;
        }
        if fresh_link {
            // Their answers are lost with the old connection.
            entry.asked = None;
            if let Some(next) = next {
                next.asked = None;
            }
            self.reopen().await?;
        }
        Ok(Fault { failure, then })
    }

    /// Whether the refusal may be about going on in the midst of a file.
    fn was_about_resuming(&self, plan: Plan, begun: bool, failure: &Failure) -> bool {
        matches!(plan, Plan::Continue(_) | Plan::Append(_))
            && !begun
            && failure.step == Step::Store
            && matches!(failure.class, Class::File | Class::Data)
            && failure.code.is_some_and(|code| code != 425 && code != 426)
    }

    fn learn_resuming(&self, refused: Plan) {
        let left = match refused {
            Plan::Continue(_) => Resuming::Appe,
            _ => Resuming::Never,
        };
        self.server.learn(|profile| profile.resuming = left);
    }

    /// Before a data connection for which no TLS 1.3 ticket is left. One may
    /// still be on its way. A server that renews none is met with TLS 1.2 from
    /// now on, before it refuses (or at the least makes each connection begin
    /// anew); where that may not be, and where reuse is demanded, a new control
    /// connection brings new tickets. The rename that waits is sent first.
    pub(super) async fn spare_tickets(
        &mut self,
        waiting: &mut Option<Waiting>,
        next: &mut Option<Entry>,
        feed: &Feeding<'_>,
    ) -> Result<(), Failure> {
        let Some(connector) = self.link.connector.clone() else {
            return Ok(());
        };
        if !connector.tickets_are_spent() {
            return Ok(());
        }
        let ended = self.await_ticket(&connector).await;
        if !connector.tickets_are_spent() {
            return Ok(());
        }
        let allows_tls12 = self.server.tls.as_ref().is_some_and(TlsSetup::allows_tls12);
        let renews_none = ended && !connector.tickets_are_renewed();
        if renews_none && allows_tls12 {
            self.server.learn(|profile| profile.tickets_run_out = true);
        } else if !self.server.profile.borrow().reuse_required {
            return Ok(());
        }
        self.flush(waiting, feed).await?;
        if let Some(next) = next {
            next.asked = None;
        }
        self.reopen().await
    }

    /// Reads the last data connection until a ticket comes; whether it ended
    /// without one.
    async fn await_ticket(&mut self, connector: &Connector) -> bool {
        let Some(wire) = self.lingering.take() else {
            return false;
        };
        let mut draining = pin!(transfer::drain(&wire));
        let reading = poll_fn(|context| {
            let ended = draining.as_mut().poll(context).is_ready();
            match connector.tickets_are_spent() {
                false => Poll::Ready(false),
                true if ended => Poll::Ready(true),
                true => Poll::Pending,
            }
        });
        let clock = self.sys.clock.clone();
        timeout(&*clock, GRACE, reading).await.unwrap_or(false)
    }

    /// Whether the directory of a file is known to exist, or to be past making.
    pub(super) fn directory_is_known(&self, file: &RemotePath) -> bool {
        file.parent()
            .is_none_or(|directory| self.made.iter().any(|made| *made == directory))
    }

    /// Notes that the directory of a file is there.
    pub(super) fn remember_directory(&mut self, file: &RemotePath) {
        if self.directory_is_known(file) {
            return;
        }
        if let Some(directory) = file.parent() {
            if self.made.is_full() {
                self.made.pop_front();
            }
            let _room_was_made = self.made.push_back(directory);
        }
    }

    /// `MKD` for each directory above a file, in one flight. Refusals (it may
    /// exist) are not looked at: the next STOR tells.
    async fn make_directories(&mut self, file: &RemotePath) -> Result<(), Failure> {
        let mut last = None;
        for directory in file.parents() {
            let mut made = self.made.iter();
            if made.any(|made| is_or_holds(directory.as_bytes(), made.as_bytes())) {
                continue;
            }
            if let Some(tag) = last
                && self.link.dialogue.in_flight() >= MKD_IN_FLIGHT_MAX
            {
                self.reply(Step::MakeDirectory, tag).await?;
            }
            let command = Command::Mkd(directory.as_bytes().to_vec());
            last = Some(self.queue(Step::MakeDirectory, &command)?);
        }
        if let Some(tag) = last {
            self.reply(Step::MakeDirectory, tag).await?;
        }
        self.remember_directory(file);
        Ok(())
    }
}

/// Whether two absolute paths are the same, or the first is a directory above
/// the second.
fn is_or_holds(directory: &[u8], path: &[u8]) -> bool {
    // `/c1` is not above `/c10`.
    let rest = path.strip_prefix(directory);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/") || directory.ends_with(b"/"))
}

/// Uploads of one entry that may break off within one run.
const BROKEN_MAX: u32 = 3;

/// Leaves room for what else is in flight.
const MKD_IN_FLIGHT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_whose_name_only_begins_another_is_not_above_it() {
        for (directory, path, expected) in [
            (&b"/c1"[..], &b"/c1"[..], true),
            (b"/c1", b"/c1/sub", true),
            (b"/", b"/c1", true),
            (b"/c1", b"/c10", false),
            (b"/c1", b"/c10/sub", false),
            (b"/c1/sub", b"/c1", false),
        ] {
            assert_eq!(is_or_holds(directory, path), expected);
        }
    }
}
