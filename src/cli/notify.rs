//! What a service manager hears of the agent, by sd_notify(3).
//!
//! Without a service manager (`NOTIFY_SOCKET` names none) nothing is said. The
//! watchdog hears of the agent only while it works: [`tend`] asks for a sign of
//! life ([`Agent::pulse`]), and a part that hangs keeps the message from being sent.

use std::time::Duration;

use sd_notify::NotifyState;

use crate::agent::Agent;
use crate::sys::Clock;

/// A directory that cannot be looked for, as on a file server that hangs, keeps the
/// others no longer than this from being called ready.
const READY_PATIENCE: Duration = Duration::from_secs(30);

/// Says that the agent is ready once it watches, and from then on that it lives.
/// Never ends.
pub(super) async fn tend(clock: &dyn Clock, agent: &Agent) {
    let patience = clock.sleep_until(clock.mono().after(READY_PATIENCE));
    smol::future::or(agent.watching(), patience).await;
    tell(&[NotifyState::Ready, NotifyState::Status(&agent.in_brief())]);
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    loop {
        let next = clock.mono().after(limit / LOOKS_PER_LIMIT);
        clock.sleep_until(next).await;
        agent.pulse().await;
        let brief = agent.in_brief();
        tell(&[NotifyState::Watchdog, NotifyState::Status(&brief)]);
    }
}

/// The manager's limit allows for so many looks. Of three, two may be late by as
/// much as a slow disk takes.
const LOOKS_PER_LIMIT: u32 = 3;

/// The config is about to be read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(e) => log::debug!("the monotonic clock cannot be read: {e}"),
    }
}

/// The new config is in order; it comes into force when [`tend`] says ready again.
pub(super) fn draining() {
    tell(&[NotifyState::Status(
        "config read again; finishing the transfers under way first",
    )]);
}

/// The new config is not used: all is as before.
pub(super) fn reload_refused() {
    tell(&[
        NotifyState::Ready,
        NotifyState::Status("the new config has mistakes (see the log); the old one is in force"),
    ]);
}

/// The agent ends, for this reason.
pub(super) fn stopping(why: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(why)]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        // What the manager does then is its own affair; deliveries go on.
        log::debug!("the service manager hears nothing: {e}");
    }
}
