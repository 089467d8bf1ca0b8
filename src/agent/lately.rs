//! Which names on the servers got a file lately. Of such a name a file that is
//! there proves little: it may be the version before.
//!
//! Never forgets too early, and takes some names for others: the memory is a bit
//! for each hash, in two sets that take turns.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use crate::spool::{Spool, SpoolError};
use crate::sys::Mono;

/// The names of the last [`SPAN`] at least, and of twice that at most.
pub(super) struct Lately {
    newer: Bits,
    older: Bits,
    turned: Mono,
}

type Bits = Box<[u64]>;

impl Lately {
    /// What the end of the ledger tells.
    pub(super) fn recall(spool: &Spool, now: Mono) -> Result<Lately, SpoolError> {
        let mut lately = Lately {
            newer: no_bits(),
            older: no_bits(),
            turned: now,
        };
        spool.recent_history(&mut |receipt| {
            if receipt.proof.is_delivery() {
                lately.note(&receipt.remote, now);
            }
            true
        })?;
        Ok(lately)
    }

    /// Notes that a name got a file.
    pub(super) fn note(&mut self, name: &[u8], now: Mono) {
        if now.since(self.turned) >= SPAN {
            self.older = std::mem::replace(&mut self.newer, no_bits());
            self.turned = now;
        }
        let (word, bit) = place(name);
        if let Some(word) = self.newer.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether a name may have got a file lately.
    pub(super) fn may_have(&self, name: &[u8]) -> bool {
        let (word, bit) = place(name);
        let has = |bits: &Bits| bits.get(word).is_some_and(|word| word & bit != 0);
        has(&self.newer) || has(&self.older)
    }
}

fn no_bits() -> Bits {
    vec![0; WORDS].into()
}

fn place(name: &[u8]) -> (usize, u64) {
    let hash = BuildHasherDefault::<DefaultHasher>::new().hash_one(name);
    let at = hash % (WORDS as u64 * 64);
    let word = usize::try_from(at / 64).unwrap_or(0);
    (word, 1 << (at % 64))
}

/// A name is remembered for so long at least.
const SPAN: Duration = Duration::from_secs(3600);
/// 32 KiB: among 10 000 names one in 26 is taken for another.
const WORDS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Mono {
        Mono(Duration::from_secs(secs))
    }

    #[test]
    fn a_name_is_known_for_an_hour_and_forgotten_in_the_end() {
        let mut lately = Lately {
            newer: no_bits(),
            older: no_bits(),
            turned: at(0),
        };
        lately.note(b"/a", at(3599));
        lately.note(b"/b", at(3600));
        lately.note(b"/c", at(7199));
        assert!(lately.may_have(b"/a") && lately.may_have(b"/b") && lately.may_have(b"/c"));
        assert!(!lately.may_have(b"/d"));
        lately.note(b"/d", at(7200));
        assert!(!lately.may_have(b"/a"));
        assert!(lately.may_have(b"/b") && lately.may_have(b"/d"));
    }
}
