//! The whole agent in a simulated world, run by run.
//!
//! The disk, the network, the server, the clock and the producers of a run all
//! follow from its seed. A run that fails prints the line that repeats it;
//! `SIM_CASE=name` repeats one with its whole log. `SIM_RUNS=n` makes as many
//! random runs, `SIM_FIRST=n` begins with another seed: for a longer soak,
//!
//! ```text
//! SIM_RUNS=1000000 SIM_FIRST=1000000 cargo test --release --features sim --test simulation -- --nocapture
//! ```

#![allow(unreachable_pub)] // Everything is one program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod case;
mod disk;
mod hints;
mod judge;
mod net;
mod options;
mod producer;
mod runner;
mod sabotages;
mod scenario;
mod server;
mod sweep;
mod time;
mod world;

use std::sync::Mutex;
use std::time::Instant;

use case::Case;
use runner::{Tally, hunt, run_all, side_by_side};

/// Random runs, unless `SIM_RUNS` says otherwise.
const RUNS: u64 = 20_000;
/// Random runs in which a sabotage must be noticed.
const HUNT_MAX: u64 = 4000;
/// Runs that failed once, for a reason of their own.
const REGRESSIONS: [&str; 9] = [
    "random:409",
    "random:142399",
    "random:160537",
    "random:170698",
    "random:191086",
    "random:204483",
    "random:225908",
    "random:229178",
    "random:229979",
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_holds_and_every_sabotage_is_noticed() {
    if let Ok(name) = std::env::var("SIM_CASE") {
        time::print_log();
        let case = Case::named(&name).expect("a name that a failed run printed");
        assert_eq!(runner::run(case).1, Ok(()));
        return;
    }
    let began = Instant::now();
    let first = number("SIM_FIRST").unwrap_or(0);
    let random = first..first + number("SIM_RUNS").unwrap_or(RUNS);
    let once_failed = REGRESSIONS.map(|name| Case::named(name).expect("a name of a run"));
    let mut tally = run_all(&once_failed);
    if number("SIM_RUNS").is_none() || number("SIM_SWEEP").is_some() {
        let sweep = sweep::all();
        println!("sweep: {} runs", sweep.len());
        tally.add(run_all(&sweep));
        said("sweep", &tally, began);
    }
    tally.add(run_all(&random.map(Case::random).collect::<Vec<_>>()));
    said("with the random ones", &tally, began);
    let caught = hunt_all();
    println!(
        "simulation: {} runs, {} crashes, {caught}/{} sabotages caught",
        tally.runs,
        tally.crashes,
        sabotages::ALL.len()
    );
    assert!(
        tally.failed.is_empty(),
        "{} runs failed",
        tally.failed.len()
    );
    assert!(tally.crashed * 2 >= tally.runs, "too few runs with a crash");
    assert_eq!(caught, sabotages::ALL.len(), "a sabotage was not noticed");
}

fn said(what: &str, tally: &Tally, began: Instant) {
    let took = began.elapsed().as_secs_f64();
    let (runs, crashed, failed) = (tally.runs, tally.crashed, tally.failed.len());
    println!("{what}: {runs} runs, {crashed} with a crash, {failed} failed, {took:.0} s");
}

/// How many sabotages are noticed.
fn hunt_all() -> usize {
    let caught = Mutex::new(0);
    side_by_side(sabotages::ALL, |sabotage| {
        let hunted = hunt(*sabotage, number("SIM_HUNT").unwrap_or(HUNT_MAX));
        match hunted {
            Some((runs, why)) => {
                println!("{}: caught by run {runs}: {why}", sabotage.name);
                *caught.lock().unwrap() += 1;
            }
            None => println!("{}: NOT caught", sabotage.name),
        }
    });
    caught.into_inner().unwrap()
}
