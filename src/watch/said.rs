//! What was said already.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::sys::Mono;

/// What was said of files lately, so that each thing is said once, however often it
/// is found again, and not too much at a time.
#[derive(Default)]
pub struct Said {
    said: VecDeque<u64>,
    said_in_window: usize,
    window_start: Mono,
}

impl Said {
    const KEPT: usize = 64;
    const WINDOW: Duration = Duration::from_secs(600);
    const PER_WINDOW: usize = 16;

    /// Whether this is to be said now.
    pub fn is_news(&mut self, path: &[u8], now: Mono) -> bool {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let hash = hasher.finish();
        if self.said.contains(&hash) {
            return false;
        }
        if now.since(self.window_start) >= Said::WINDOW {
            self.window_start = now;
            self.said_in_window = 0;
        }
        if self.said_in_window >= Said::PER_WINDOW {
            return false;
        }
        self.said_in_window += 1;
        if self.said.len() >= Said::KEPT {
            self.said.pop_front();
        }
        self.said.push_back(hash);
        true
    }
}
