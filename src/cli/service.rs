//! `run` and `once`: the agent, for good or for one round.

use std::rc::Rc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::LocalExecutor;
use smol::stream::StreamExt;

use super::{Exit, assemble, complain};
use crate::agent::{Agent, Outcome};
use crate::config::Config;
use crate::spool::SpoolError;
use crate::sys::Sys;
use crate::upload::Class;

/// The agent in the foreground, until it is told to stop.
pub(crate) fn run(sys: &Sys, config: &Config) -> Exit {
    let setup = assemble::setup(config);
    let control = config.status.socket.clone();
    with_agent(sys, setup, |agent| async move {
        log::info!("running");
        let outcome = agent.run(&control).await;
        // Left behind it would only look like an agent.
        let _gone = std::fs::remove_file(&control);
        match &outcome.spool_failed {
            Some(_) => Exit::Failed,
            None => Exit::Done,
        }
    })
}

/// One round.
pub(crate) fn once(sys: &Sys, config: &Config, respect_schedule: bool, patience: Duration) -> Exit {
    let mut setup = assemble::setup(config);
    if !respect_schedule {
        for lane in &mut setup.lanes {
            lane.schedule = None;
        }
    }
    with_agent(sys, setup, move |agent| async move {
        let outcome = agent.once(patience).await;
        summary(&outcome);
        exit_of(&outcome)
    })
}

fn with_agent<F: Future<Output = Exit>>(
    sys: &Sys,
    setup: crate::agent::setup::Setup,
    work: impl FnOnce(Rc<Agent>) -> F,
) -> Exit {
    let tasks = Rc::new(LocalExecutor::new());
    smol::block_on(tasks.clone().run(async {
        let agent = match Agent::open(sys, setup, tasks.clone()).await {
            Ok(agent) => agent,
            Err(e) => {
                complain(&describe(&e));
                return Exit::Failed;
            }
        };
        match Signals::new([Signal::Term, Signal::Int]) {
            Ok(signals) => tasks.spawn(stop_on(signals, agent.clone())).detach(),
            Err(e) => log::warn!("signals cannot be heard: {e}"),
        }
        work(agent).await
    }))
}

async fn stop_on(mut signals: Signals, agent: Rc<Agent>) {
    while let Some(signal) = signals.next().await {
        if let Ok(signal) = signal {
            log::info!("stopping on {signal:?}");
            agent.stop();
        }
    }
}

fn describe(error: &SpoolError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// One line on stdout: what the round came to.
fn summary(outcome: &Outcome) {
    let mut parts = vec![format!("{} delivered", outcome.delivered)];
    if outcome.queued > 0 {
        parts.push(format!("{} still queued", outcome.queued));
    }
    if outcome.dead > 0 {
        parts.push(format!("{} refused for good", outcome.dead));
    }
    if outcome.not_taken > 0 {
        parts.push(format!("{} not taken", outcome.not_taken));
    }
    println!("{}", parts.join(", "));
    if outcome.queued > 0
        && let Some((_, failure)) = &outcome.last_failure
    {
        complain(failure);
    }
}

fn exit_of(outcome: &Outcome) -> Exit {
    if outcome.spool_failed.is_some() {
        return Exit::Failed;
    }
    if outcome.dead > 0 {
        return Exit::DeadLetter;
    }
    if outcome.queued > 0 {
        return match &outcome.last_failure {
            Some((Class::Login, _)) => Exit::Login,
            Some((Class::Tls, _)) => Exit::Unavailable,
            _ => Exit::Queued,
        };
    }
    match outcome.not_taken {
        0 => Exit::Done,
        _ => Exit::Queued,
    }
}
