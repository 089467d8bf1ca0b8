//! What a user's folders hold, and what they may.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::FileError;
use crate::base::{ByteSize, Mono};
use crate::receive::options::Quota;
use crate::sys::{Kind, Tree};

/// What is there: counted once, then kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) bytes: u64,
    /// Files and directories.
    pub(super) files: u64,
}

impl Usage {
    pub(super) fn file(bytes: u64) -> Usage {
        Usage { bytes, files: 1 }
    }

    pub(super) fn plus(self, other: Usage) -> Usage {
        Usage {
            bytes: self.bytes.saturating_add(other.bytes),
            files: self.files.saturating_add(other.files),
        }
    }

    fn minus(self, other: Usage) -> Usage {
        Usage {
            bytes: self.bytes.saturating_sub(other.bytes),
            files: self.files.saturating_sub(other.files),
        }
    }
}

/// The account book of one user.
pub(super) struct Book {
    quota: Quota,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: Usage,
    counted: Option<Mono>,
    warned: bool,
}

impl Book {
    pub(super) fn new(quota: Quota) -> Book {
        Book {
            quota,
            state: Mutex::default(),
        }
    }

    /// Whether anybody needs to know what is there.
    pub(super) fn is_limited(&self) -> bool {
        self.quota.max_bytes.is_some() || self.quota.max_files.is_some()
    }

    /// Whether it is time to count anew: others may have changed what is there.
    pub(super) fn is_due(&self, now: Mono, every: Duration) -> bool {
        let counted = self.state().counted;
        self.is_limited() && counted.is_none_or(|at| now.since(at) >= every)
    }

    /// Takes over what was counted.
    pub(super) fn counted(&self, used: Usage, now: Mono) {
        let mut state = self.state();
        state.used = used;
        state.counted = Some(now);
    }

    /// Makes room for more, beside what waits in lanes; `user` is for the warning.
    pub(super) fn add(&self, more: Usage, waiting: Usage, user: &str) -> Result<(), FileError> {
        let mut state = self.state();
        let used = state.used.plus(more);
        let all = used.plus(waiting);
        let over =
            |used: u64, max: Option<u64>, more: u64| more > 0 && max.is_some_and(|m| used > m);
        if over(all.bytes, self.quota.max_bytes, more.bytes)
            || over(all.files, self.quota.max_files, more.files)
        {
            return Err(FileError::OverQuota);
        }
        state.used = used;
        self.warn(&mut state, all, user);
        Ok(())
    }

    /// Gives room back.
    pub(super) fn remove(&self, less: Usage) {
        let mut state = self.state();
        state.used = state.used.minus(less);
    }

    /// Says once that the threshold is reached, and again only after it was left.
    fn warn(&self, state: &mut State, all: Usage, user: &str) {
        let Some(percent) = self.quota.warn_percent else {
            return;
        };
        let beyond = |used: u64, max: Option<u64>| {
            let limit = |max: u64| u128::from(max) * u128::from(percent);
            max.is_some_and(|max| u128::from(used) * 100 >= limit(max))
        };
        let reached =
            beyond(all.bytes, self.quota.max_bytes) || beyond(all.files, self.quota.max_files);
        if reached && !state.warned {
            log::warn!(
                "receive: user {user:?} has used {percent} % of the quota: {} in {} files and directories",
                ByteSize(all.bytes),
                all.files
            );
        }
        state.warned = reached;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> Usage {
        self.state().used
    }
}

/// Counts what is below a directory, up to [`COUNT_MAX`] names and
/// [`DEPTH_MAX`] levels; links count as files and are not followed.
pub(super) fn count(tree: &dyn Tree, dir: &[u8]) -> std::io::Result<Usage> {
    let mut used = Usage::default();
    let mut dirs = vec![dir.to_vec()];
    while let Some(dir) = dirs.pop() {
        let mut names = match tree.open_dir(&dir) {
            Ok(names) => names,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        while let Some(entry) = names.next_entry()? {
            if used.files >= COUNT_MAX {
                return Ok(used);
            }
            let mut path = dir.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.name.as_encoded_bytes());
            let Ok(meta) = tree.meta(&path) else { continue };
            match meta.kind {
                Kind::Dir => {
                    used = used.plus(Usage::file(0));
                    if path.split(|b| *b == b'/').count() < DEPTH_MAX && dirs.len() < DIRS_MAX {
                        dirs.push(path);
                    }
                }
                _ => used = used.plus(Usage::file(meta.size)),
            }
        }
    }
    Ok(used)
}

/// Names that are counted; a user with more has no quota worth counting for.
const COUNT_MAX: u64 = 200_000;
const DEPTH_MAX: usize = 64;
const DIRS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn book(max_bytes: u64, max_files: u64) -> Book {
        Book::new(Quota {
            max_bytes: Some(max_bytes),
            max_files: Some(max_files),
            warn_percent: Some(80),
        })
    }

    #[test]
    fn what_fits_exactly_is_let_in_and_one_byte_more_is_not() {
        let book = book(100, 2);
        let none = Usage::default();
        book.add(Usage::file(60), none, "u").unwrap();
        book.add(Usage::file(40), none, "u").unwrap();
        let byte = Usage { bytes: 1, files: 0 };
        assert_eq!(book.add(byte, none, "u"), Err(FileError::OverQuota));
        assert_eq!(
            book.add(Usage::file(0), none, "u"),
            Err(FileError::OverQuota)
        );
        book.remove(Usage::file(60));
        book.add(Usage::file(60), none, "u").unwrap();
        assert_eq!(
            book.used(),
            Usage {
                bytes: 100,
                files: 2
            }
        );
    }

    #[test]
    fn what_waits_in_lanes_counts_as_well() {
        let book = book(100, 10);
        let waiting = Usage {
            bytes: 90,
            files: 9,
        };
        assert!(book.add(Usage::file(10), waiting, "u").is_ok());
        assert!(
            book.add(Usage { bytes: 1, files: 0 }, waiting, "u")
                .is_err()
        );
    }
}
