//! `run` and `once`: the agent, for good or for one round.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use async_signal::{Signal, Signals};
use smol::LocalExecutor;
use smol::stream::StreamExt;

use super::{Exit, assemble, complain, logging, notify, say};
use crate::agent::setup::Setup;
use crate::agent::{Agent, Outcome};
use crate::config::{self, Config, Env};
use crate::spool::SpoolError;
use crate::sys::{LocalFuture, Sys, timeout};
use crate::upload::Class;

/// The agent in the foreground, until it is told to stop. On SIGHUP the config is
/// read again: with mistakes in it the old one stays in force, else what is under
/// way is finished and the agent goes on with the new one.
pub(crate) fn run(sys: &Sys, file: &Path, verbose: u8, config: Config) -> Exit {
    let mut config = config;
    let memory = Rc::new(RefCell::new(None));
    loop {
        let mut setup = assemble::setup(&config, &sys.pool);
        setup.memory = memory.take();
        let control = config.status.socket.clone();
        let reloaded = Rc::new(RefCell::new(None));
        let new = reloaded.clone();
        let keep = memory.clone();
        let (exit, released) = with_agent(sys, setup, |agent, signals| async move {
            let listening = async {
                listen(sys, file, signals, &agent, &new).await;
                std::future::pending().await
            };
            let tending = async {
                notify::tend(&*sys.clock, &agent).await;
                std::future::pending().await
            };
            agent.say_hello().await;
            let beside = smol::future::or(listening, tending);
            let outcome = smol::future::or(agent.run(Some(&control)), beside).await;
            // Left behind it would only look like an agent.
            let _gone = std::fs::remove_file(&control);
            keep.replace(Some(agent.memory()));
            match &outcome.spool_failed {
                Some(why) => {
                    notify::stopping(why);
                    Exit::Failed
                }
                None => Exit::Done,
            }
        });
        match reloaded.take() {
            Some(new) if exit == Exit::Done => {
                logging::set_level(logging::filter(new.log.level), verbose);
                config = new;
                // Work that had begun on the disk may still have the spool.
                let waiting = timeout(&*sys.clock, RELEASE_LIMIT, released);
                let _or_the_next_one_says_who_has_it = smol::block_on(waiting);
            }
            _ => return exit,
        }
    }
}

/// Hears SIGTERM, SIGINT and SIGHUP.
async fn listen(
    sys: &Sys,
    file: &Path,
    mut signals: Signals,
    agent: &Agent,
    new: &RefCell<Option<Config>>,
) {
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Hup) => {
                notify::reloading();
                if let Some(config) = reload(sys, file).await {
                    log::info!(
                        "config read again; going on with it when the transfers under way end"
                    );
                    notify::draining();
                    new.replace(Some(config));
                    agent.drain();
                } else {
                    notify::reload_refused();
                }
            }
            Ok(signal) => {
                log::info!("{}", stopping_on(signal));
                notify::stopping(stopping_on(signal));
                new.take();
                agent.stop();
            }
            Err(e) => log::warn!("signals: {e}"),
        }
    }
}

async fn reload(sys: &Sys, file: &Path) -> Option<Config> {
    let (world, path) = (sys.clone(), file.to_owned());
    let load = move || Env::with_os(&world, |env| config::load(&path, env));
    match sys.pool.run(load).await {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                log::warn!("{}", warning.unmarked());
            }
            Some(loaded.config)
        }
        Err(invalid) => {
            for finding in &invalid.findings {
                log::error!("{finding}");
            }
            log::error!("the new config is not used; the old one stays in force");
            None
        }
    }
}

/// For the disk to end what it began for an agent that is gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(60);

/// One round.
pub(crate) fn once(sys: &Sys, config: &Config, respect_schedule: bool, patience: Duration) -> Exit {
    let mut setup = assemble::setup(config, &sys.pool);
    if !respect_schedule {
        for lane in &mut setup.lanes {
            lane.schedule = None;
        }
    }
    let ended = with_agent(sys, setup, move |agent, signals| async move {
        let stopping = async {
            stop_on(signals, &agent).await;
            std::future::pending().await
        };
        let outcome = smol::future::or(agent.once(patience), stopping).await;
        summary(&outcome);
        exit_of(&outcome)
    });
    ended.0
}

/// Runs an agent; gives its end, and what ends when its spool can be opened anew.
fn with_agent<F: Future<Output = Exit>>(
    sys: &Sys,
    setup: Setup,
    work: impl FnOnce(Rc<Agent>, Signals) -> F,
) -> (Exit, LocalFuture<'static, ()>) {
    let tasks = Rc::new(LocalExecutor::new());
    let mut released: LocalFuture<'static, ()> = Box::pin(std::future::ready(()));
    let exit = smol::block_on(tasks.clone().run(async {
        let signals = match Signals::new([Signal::Term, Signal::Int, Signal::Hup]) {
            Ok(signals) => signals,
            Err(e) => {
                complain(&format!("signals cannot be heard: {e}"));
                return Exit::Failed;
            }
        };
        match Agent::open(sys, setup, &tasks).await {
            Ok(agent) => {
                released = Box::pin(agent.spool_released());
                work(agent, signals).await
            }
            Err(e) => {
                complain(&describe(&e));
                Exit::Failed
            }
        }
    }));
    (exit, released)
}

async fn stop_on(mut signals: Signals, agent: &Agent) {
    while let Some(signal) = signals.next().await {
        match signal {
            Ok(Signal::Hup) | Err(_) => {}
            Ok(signal) => {
                log::info!("{}", stopping_on(signal));
                agent.stop();
            }
        }
    }
}

fn stopping_on(signal: Signal) -> &'static str {
    match signal {
        Signal::Int => "stopping, because of SIGINT",
        _ => "stopping, because of SIGTERM",
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
    if outcome.interrupted {
        parts.push("interrupted before all was looked at".to_owned());
    }
    say(&parts.join(", "));
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
    match (outcome.not_taken, outcome.interrupted) {
        (0, false) => Exit::Done,
        _ => Exit::Queued,
    }
}
