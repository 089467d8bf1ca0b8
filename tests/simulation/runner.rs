//! Many runs side by side: one world per run and thread, counted, and what
//! failed told with the line that repeats it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::case::Case;
use super::sabotages::Switched;
use super::time;

/// Events of a failed run that are shown.
const LAST_EVENTS: usize = 40;
/// Failed runs that are told in full.
const TOLD: usize = 5;

/// What a run was like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Power cuts, kills and cut connections that the run was made for.
    pub crashes: u64,
}

/// What many runs came to.
#[derive(Debug, Default)]
pub struct Tally {
    pub runs: u64,
    /// Runs with a crash.
    pub crashed: u64,
    pub crashes: u64,
    pub failed: Vec<(Case, String)>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.runs += other.runs;
        self.crashed += other.crashed;
        self.crashes += other.crashes;
        self.failed.extend(other.failed);
    }

    fn count(&mut self, case: Case, facts: Facts, verdict: Result<(), String>) {
        self.runs += 1;
        self.crashes += facts.crashes;
        self.crashed += u64::from(facts.crashes > 0);
        if let Err(why) = verdict {
            self.failed.push((case, why));
        }
    }
}

/// One run; a panic is a failure of it.
pub fn run(case: Case) -> (Facts, Result<(), String>) {
    catch_unwind(AssertUnwindSafe(|| case.run())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let why = format!("panicked: {}", text.unwrap_or_default());
        (Facts::default(), Err(why))
    })
}

/// Runs all, on as many threads as there are processors.
pub fn run_all(cases: &[Case]) -> Tally {
    let tally = Mutex::new(Tally::default());
    side_by_side(cases, |case| {
        let began = Instant::now();
        let (facts, verdict) = run(*case);
        if began.elapsed().as_secs() > 5 {
            println!("{}: took {:?}", case.line(), began.elapsed());
        }
        let mut tally = tally.lock().unwrap();
        match &verdict {
            Err(why) if tally.failed.len() < TOLD => tell(*case, why),
            Err(why) => println!("{why}\n  to repeat it: {}", case.line()),
            Ok(()) => {}
        }
        tally.count(*case, facts, verdict);
    });
    tally.into_inner().unwrap()
}

/// Calls `work` for each item, on as many threads as there are processors.
pub fn side_by_side<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let threads = std::env::var("SIM_THREADS")
        .ok()
        .and_then(|n| n.parse().ok());
    let threads = threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// Says why a run failed, how to repeat it, and what happened last in it.
fn tell(case: Case, why: &str) {
    let (again, events) = time::with_last_events(LAST_EVENTS, || run(case).1);
    let mut text = format!("\n{why}\nto repeat it: {}\n", case.line());
    if again.as_ref().err().map(String::as_str) != Some(why) {
        text += &format!("the repetition came to something else: {again:?}\n");
    }
    text += &lines(&events);
    println!("{text}");
}

fn lines(events: &VecDeque<String>) -> String {
    events.iter().map(|event| format!("  {event}\n")).collect()
}

/// How many runs it takes until a sabotage is noticed, and by which check.
pub fn hunt(switched: Switched, runs: u64) -> Option<(u64, String)> {
    (0..runs).find_map(|seed| {
        let case = Case::Random {
            seed,
            sabotage: Some(switched),
        };
        run(case).1.err().map(|why| (seed + 1, why))
    })
}
