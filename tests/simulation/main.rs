//! The whole agent in a simulated world, seed by seed.
//!
//! One seed is one run: the disk, the network, the server, the clock and the
//! producers all follow from it. `SIM_SEED=n` repeats one run and prints its
//! log; `SIM_RUNS=n` makes as many random runs.

#![allow(unreachable_pub)] // Everything is one program.

mod disk;
mod judge;
mod net;
mod producer;
mod scenario;
mod server;
mod time;
mod world;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_holds_in_random_worlds() {
    if let Some(seed) = number("SIM_SEED") {
        time::log_with_simulated_time();
        let (_, verdict) = scenario::random(seed);
        assert_eq!(verdict, Ok(()));
        return;
    }
    let runs = number("SIM_RUNS").unwrap_or(2000);
    let mut failed = Vec::new();
    let (mut crashes, mut crashed) = (0, 0);
    let first = number("SIM_FIRST").unwrap_or(0);
    for seed in first..first + runs {
        let began = std::time::Instant::now();
        let (facts, verdict) = scenario::random(seed);
        if began.elapsed().as_secs() > 1 {
            println!("SIM_SEED={seed} took {:?}", began.elapsed());
        }
        crashes += facts.crashes;
        crashed += u64::from(facts.crashes > 0);
        if let Err(why) = verdict {
            println!("SIM_SEED={seed}: {why}");
            failed.push(seed);
        }
    }
    println!(
        "simulation: {runs} runs, {crashed} with a crash, {crashes} crashes, {} failed",
        failed.len()
    );
    assert!(failed.is_empty());
}
