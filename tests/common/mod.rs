//! What the tests share: servers, the bad link, the built binary, trees.

// Each test crate uses a part of this.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

#[path = "../proxy/mod.rs"]
pub mod proxy;
#[path = "../servers/mod.rs"]
pub mod servers;

mod agent;
pub mod dialogue;
pub mod gateway;
pub mod receiver;
pub mod scene;
mod small_disk;
mod tree;

pub use agent::{Agent, Output, Program, edgespool, server_section};
pub use small_disk::SmallDisk;
pub use tree::{Tree, content};

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Waits until a condition holds; panics with `what` when it takes longer than
/// any machine needs. Never used to measure.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "waited {WAIT_MAX:?} in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What random choices begin with; printed, and given to repeat them.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let seed = number("EDGESPOOL_SEED").unwrap_or_else(|| fastrand::u64(..));
        println!("EDGESPOOL_SEED={seed} repeats this");
        seed
    })
}

/// A number in the environment.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|e| panic!("{variable}={text}: {e}")))
}

/// The longest wait for anything.
pub const WAIT_MAX: Duration = Duration::from_secs(300);
