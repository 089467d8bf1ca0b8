//! When is a file finished? Pure: what was seen and the time go in, a decision
//! comes out.
//!
//! A file that its writer closed, or that was renamed into the tree, is finished
//! (`ready = "close"`), as is one whose marker stands beside it. About every other
//! file only its stillness tells: unchanged for `quiet`, and open for writing by
//! nobody. Stillness is known in two ways: it was seen twice, with the same stamp,
//! `quiet` apart on the monotonic clock; or its last change lies `quiet` back on
//! the wall clock, which spares a backlog the waiting, and is believed only where
//! the kernel also says that nobody has the file open.
//!
//! Call order: [`Settling::observe`] with the time before each round, then
//! [`Settling::judge`] for each file that is looked at; [`Settling::poll_timeout`]
//! says when a waiting file wants to be looked at again, [`Settling::poll_due`]
//! which.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sys::{Meta, Mono, Wall, Writers};

use super::ReadyWhen;

/// Files that wait to be looked at again; what does not fit is found by a scan.
pub(super) const WAITING_MAX: usize = 512;

/// The kernel reports the closing of a file an instant before it counts the
/// writer as gone.
const CLOSING: Duration = Duration::from_millis(50);

/// How far the two clocks may drift apart between two looks at them before the
/// wall clock counts as set.
const DRIFT_NS: i64 = 500_000_000;

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) mono: Mono,
    pub(super) wall: Wall,
}

/// What brought a file to our notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// A writer closed it, or it was renamed into the tree.
    Finished,
    /// A scan or a second look found it.
    Seen,
}

/// What stands beside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// No marker, and none is asked for.
    Nothing,
    /// No marker yet.
    NoMarker,
    /// A marker as new as the file or newer.
    Marker,
    /// A marker older than the file: perhaps of an earlier file of that name.
    OldMarker,
}

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is finished.
    Ready,
    /// Not now; it waits for a second look, or its marker will bring it.
    NotYet,
    /// Somebody is writing it: its closing, or a scan, brings it again.
    Open,
}

/// What must stay the same for a file to count as unchanged.
type Stamp = (u64, u64, u64, i64, i64);

#[derive(Debug)]
struct Waiting {
    stamp: Option<Stamp>,
    since: Mono,
    look_at: Mono,
    /// Somebody had it open for writing at the last look.
    busy: bool,
}

/// The files that are not finished yet, and the rule that decides about them.
#[derive(Debug)]
pub(super) struct Settling {
    ready: ReadyWhen,
    quiet: Duration,
    waiting: BTreeMap<Vec<u8>, Waiting>,
    overflowed: bool,
    /// Wall clock minus monotonic clock at the last look.
    offset_ns: Option<i64>,
    /// Since when the wall clock has not been set.
    steady_since: Mono,
}

impl Settling {
    pub(super) fn new(ready: ReadyWhen, quiet: Duration) -> Settling {
        Settling {
            ready,
            quiet,
            waiting: BTreeMap::new(),
            overflowed: false,
            offset_ns: None,
            steady_since: Mono::default(),
        }
    }

    /// Takes the time, to notice when the wall clock was set.
    pub(super) fn observe(&mut self, now: Now) {
        let mono_ns = i64::try_from(now.mono.0.as_nanos()).unwrap_or(i64::MAX);
        let offset_ns = now.wall.0.saturating_sub(mono_ns);
        let steady = self
            .offset_ns
            .is_some_and(|before| before.abs_diff(offset_ns) <= DRIFT_NS.unsigned_abs());
        if !steady {
            self.steady_since = now.mono;
        }
        self.offset_ns = Some(offset_ns);
    }

    /// Notes a file that was just made. Nothing is asked of the disk: its closing
    /// will tell. Only a file that came whole (a hard link) has none.
    pub(super) fn handle_created(&mut self, now: Now, path: &[u8]) {
        if !self.waiting.contains_key(path) {
            self.wait(path, None, now.mono, now.mono.after(self.quiet), false);
        }
    }

    /// Decides about a file of which `meta` was just read.
    pub(super) fn judge(
        &mut self,
        now: Now,
        path: &[u8],
        sign: Sign,
        meta: &Meta,
        beside: Beside,
        writers: impl FnOnce() -> Writers,
    ) -> Verdict {
        let at_once = match (self.ready, beside) {
            (_, Beside::NoMarker) => {
                self.forget(path);
                return Verdict::NotYet;
            }
            (_, Beside::Marker) => {
                self.forget(path);
                return Verdict::Ready;
            }
            (ReadyWhen::Close, _) => sign == Sign::Finished,
            (ReadyWhen::Quiet | ReadyWhen::Marker, _) => false,
        };
        if at_once {
            return match writers() {
                Writers::Some => self.handle_busy(now, path, meta),
                Writers::None | Writers::Unknown => {
                    self.forget(path);
                    Verdict::Ready
                }
            };
        }
        self.judge_by_stillness(now, path, meta, writers)
    }

    fn judge_by_stillness(
        &mut self,
        now: Now,
        path: &[u8],
        meta: &Meta,
        writers: impl FnOnce() -> Writers,
    ) -> Verdict {
        let seen = self.seen_still(now, path, meta);
        let still = seen.max(self.dated_still(now, meta));
        if still < self.quiet {
            return self.wait_for_stillness(now, path, meta, self.quiet.saturating_sub(still));
        }
        match writers() {
            Writers::Some => self.handle_busy(now, path, meta),
            Writers::Unknown if seen < self.quiet => {
                self.wait_for_stillness(now, path, meta, self.quiet.saturating_sub(seen))
            }
            Writers::None | Writers::Unknown => {
                self.forget(path);
                Verdict::Ready
            }
        }
    }

    /// For how long the file was seen unchanged.
    fn seen_still(&self, now: Now, path: &[u8], meta: &Meta) -> Duration {
        match self.waiting.get(path) {
            Some(waiting) if waiting.stamp == Some(stamp(meta)) => now.mono.since(waiting.since),
            _ => Duration::ZERO,
        }
    }

    /// How long ago the file's last change was by its date. With `ready = "close"`
    /// the absence of a writer is what counts; else a clock that was set in the
    /// meantime must not make a young file look old.
    fn dated_still(&self, now: Now, meta: &Meta) -> Duration {
        let changed_ns = meta.ctime_ns.max(meta.mtime_ns);
        let age_ns = u64::try_from(now.wall.0.saturating_sub(changed_ns)).unwrap_or(0);
        let age = Duration::from_nanos(age_ns);
        match self.ready {
            ReadyWhen::Close => age,
            ReadyWhen::Quiet | ReadyWhen::Marker => age.min(now.mono.since(self.steady_since)),
        }
    }

    fn wait_for_stillness(
        &mut self,
        now: Now,
        path: &[u8],
        meta: &Meta,
        left: Duration,
    ) -> Verdict {
        let stamp = stamp(meta);
        let since = match self.waiting.get(path) {
            Some(waiting) if waiting.stamp == Some(stamp) => waiting.since,
            _ => now.mono,
        };
        self.wait(path, Some(stamp), since, now.mono.after(left), false);
        Verdict::NotYet
    }

    /// A file that somebody has open is looked at once more, because the kernel
    /// may just be closing it; then its closing, or a scan, brings it.
    fn handle_busy(&mut self, now: Now, path: &[u8], meta: &Meta) -> Verdict {
        if self.waiting.get(path).is_some_and(|waiting| waiting.busy) {
            self.forget(path);
            return Verdict::Open;
        }
        let look_at = now.mono.after(CLOSING);
        self.wait(path, Some(stamp(meta)), now.mono, look_at, true);
        Verdict::NotYet
    }

    fn wait(&mut self, path: &[u8], stamp: Option<Stamp>, since: Mono, look_at: Mono, busy: bool) {
        if self.is_full() && !self.waiting.contains_key(path) {
            self.overflowed = true;
            return;
        }
        let waiting = Waiting {
            stamp,
            since,
            look_at,
            busy,
        };
        self.waiting.insert(path.to_vec(), waiting);
    }

    /// Drops a file that is gone, taken, or none of ours.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.waiting.remove(path);
    }

    /// The next file whose time to be looked at again has come. It is named until
    /// [`Settling::judge`] or [`Settling::forget`] deals with it.
    pub(super) fn poll_due(&self, now: Now) -> Option<Vec<u8>> {
        let due = |waiting: &Waiting| waiting.look_at <= now.mono;
        let found = self.waiting.iter().find(|(_, waiting)| due(waiting));
        found.map(|(path, _)| path.clone())
    }

    /// When the next waiting file wants to be looked at.
    pub(super) fn poll_timeout(&self) -> Option<Mono> {
        self.waiting.values().map(|waiting| waiting.look_at).min()
    }

    /// Whether another waiting file would not fit.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Drops all waiting files.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// How many files wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether a file did not fit since the last call: only a scan finds it now.
    pub(super) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }
}

fn stamp(meta: &Meta) -> Stamp {
    (meta.dev, meta.ino, meta.size, meta.mtime_ns, meta.ctime_ns)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::Kind;

    const QUIET: Duration = Duration::from_secs(2);
    /// Some day of 2026.
    const TODAY: Wall = Wall(1_790_000_000_000_000_000);

    fn at(ms: u64) -> Now {
        Now {
            mono: Mono(Duration::from_millis(1_000_000 + ms)),
            wall: Wall(TODAY.0 + i64::try_from(ms).unwrap() * 1_000_000),
        }
    }

    /// A file that was last changed at `ms`.
    fn changed(ms: i64) -> Meta {
        let changed_ns = TODAY.0 + ms * 1_000_000;
        Meta {
            kind: Kind::File,
            dev: 1,
            ino: 7,
            size: 100,
            mtime_ns: changed_ns,
            ctime_ns: changed_ns,
            mode: 0o100_644,
            nlink: 1,
        }
    }

    fn settling(ready: ReadyWhen) -> Settling {
        let mut settling = Settling::new(ready, QUIET);
        settling.observe(at(0));
        settling
    }

    fn judge(s: &mut Settling, ms: u64, sign: Sign, meta: &Meta, writers: Writers) -> Verdict {
        s.observe(at(ms));
        s.judge(at(ms), b"a", sign, meta, Beside::Nothing, || writers)
    }

    #[test]
    fn a_closed_file_is_ready_at_once() {
        for writers in [Writers::None, Writers::Unknown] {
            let mut s = settling(ReadyWhen::Close);
            let verdict = judge(&mut s, 0, Sign::Finished, &changed(0), writers);
            assert_eq!(verdict, Verdict::Ready);
            assert_eq!(s.poll_timeout(), None);
        }
    }

    #[test]
    fn a_closed_file_that_another_still_writes_is_looked_at_once_more_and_then_left() {
        let mut s = settling(ReadyWhen::Close);
        let meta = changed(0);
        let verdict = judge(&mut s, 0, Sign::Finished, &meta, Writers::Some);
        assert_eq!(verdict, Verdict::NotYet);
        assert_eq!(s.poll_timeout(), Some(at(50).mono));
        s.observe(at(5000));
        let verdict = judge(&mut s, 5000, Sign::Seen, &meta, Writers::Some);
        assert_eq!(verdict, Verdict::Open);
        assert_eq!(s.poll_timeout(), None);
    }

    #[test]
    fn a_scanned_file_that_was_long_unchanged_is_ready_at_once() {
        let mut s = settling(ReadyWhen::Close);
        let verdict = judge(&mut s, 0, Sign::Seen, &changed(-60_000), Writers::None);
        assert_eq!(verdict, Verdict::Ready);
    }

    #[test]
    fn a_young_scanned_file_waits_for_the_rest_of_its_quiet() {
        let mut s = settling(ReadyWhen::Close);
        let meta = changed(-500);
        assert_eq!(
            judge(&mut s, 0, Sign::Seen, &meta, Writers::None),
            Verdict::NotYet
        );
        assert_eq!(s.poll_timeout(), Some(at(1500).mono));
        assert_eq!(s.poll_due(at(1499)), None);
        assert_eq!(s.poll_due(at(1500)), Some(b"a".to_vec()));
        assert_eq!(
            judge(&mut s, 1500, Sign::Seen, &meta, Writers::None),
            Verdict::Ready
        );
    }

    #[test]
    fn a_change_begins_the_quiet_anew() {
        let mut s = settling(ReadyWhen::Close);
        judge(&mut s, 0, Sign::Seen, &changed(0), Writers::None);
        let grown = changed(1900);
        assert_eq!(
            judge(&mut s, 2000, Sign::Seen, &grown, Writers::None),
            Verdict::NotYet
        );
        assert_eq!(
            judge(&mut s, 3900, Sign::Seen, &grown, Writers::None),
            Verdict::Ready
        );
    }

    #[test]
    fn without_leases_only_two_looks_count_however_old_the_date() {
        let mut s = settling(ReadyWhen::Close);
        let meta = changed(-3_600_000);
        assert_eq!(
            judge(&mut s, 0, Sign::Seen, &meta, Writers::Unknown),
            Verdict::NotYet
        );
        assert_eq!(
            judge(&mut s, 1999, Sign::Seen, &meta, Writers::Unknown),
            Verdict::NotYet
        );
        assert_eq!(
            judge(&mut s, 2000, Sign::Seen, &meta, Writers::Unknown),
            Verdict::Ready
        );
    }

    #[test]
    fn a_date_in_the_future_is_settled_by_two_looks() {
        let mut s = settling(ReadyWhen::Close);
        let meta = changed(86_400_000);
        assert_eq!(
            judge(&mut s, 0, Sign::Seen, &meta, Writers::None),
            Verdict::NotYet
        );
        assert_eq!(
            judge(&mut s, 2000, Sign::Seen, &meta, Writers::None),
            Verdict::Ready
        );
    }

    #[test]
    fn a_clock_that_was_set_does_not_make_a_young_file_quiet() {
        let mut s = settling(ReadyWhen::Quiet);
        let meta = changed(9_000);
        let day = 86_400_000_000_000;
        let mut later = at(10_000);
        later.wall.0 += day;
        s.observe(later);
        let verdict = s.judge(later, b"a", Sign::Seen, &meta, Beside::Nothing, || {
            Writers::None
        });
        assert_eq!(verdict, Verdict::NotYet);
        let mut quiet = at(12_000);
        quiet.wall.0 += day;
        s.observe(quiet);
        let verdict = s.judge(quiet, b"a", Sign::Seen, &meta, Beside::Nothing, || {
            Writers::None
        });
        assert_eq!(verdict, Verdict::Ready);
    }

    #[test]
    fn with_quiet_a_closing_alone_does_not_finish_a_file() {
        let mut s = settling(ReadyWhen::Quiet);
        let meta = changed(10_000);
        assert_eq!(
            judge(&mut s, 10_000, Sign::Finished, &meta, Writers::None),
            Verdict::NotYet
        );
        assert_eq!(
            judge(&mut s, 12_000, Sign::Seen, &meta, Writers::None),
            Verdict::Ready
        );
    }

    #[test]
    fn a_marker_decides_alone_unless_it_is_older_than_its_file() {
        let mut s = settling(ReadyWhen::Marker);
        let meta = changed(10_000);
        let now = at(10_000);
        s.observe(now);
        let mut judge =
            |beside| s.judge(now, b"a", Sign::Finished, &meta, beside, || Writers::None);
        assert_eq!(judge(Beside::NoMarker), Verdict::NotYet);
        assert_eq!(judge(Beside::OldMarker), Verdict::NotYet);
        assert_eq!(judge(Beside::Marker), Verdict::Ready);
    }

    #[test]
    fn a_file_without_its_marker_wakes_nobody() {
        let mut s = settling(ReadyWhen::Marker);
        let meta = changed(-60_000);
        s.judge(at(0), b"a", Sign::Seen, &meta, Beside::NoMarker, || {
            Writers::None
        });
        assert_eq!(s.poll_timeout(), None);
    }

    #[test]
    fn a_made_file_is_asked_about_only_after_quiet() {
        let mut s = settling(ReadyWhen::Close);
        s.handle_created(at(0), b"a");
        assert_eq!(s.poll_timeout(), Some(at(2000).mono));
        judge(&mut s, 10, Sign::Finished, &changed(5), Writers::None);
        assert_eq!(s.poll_timeout(), None);
    }

    #[test]
    fn what_does_not_fit_asks_for_a_scan() {
        let mut s = settling(ReadyWhen::Close);
        for n in 0..WAITING_MAX {
            s.handle_created(at(0), format!("{n}").as_bytes());
        }
        assert!(s.is_full() && !s.take_overflow());
        s.handle_created(at(0), b"one more");
        assert_eq!(s.len(), WAITING_MAX);
        assert!(s.take_overflow());
        assert!(!s.take_overflow());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is seen when: a file found by looking is ready only if nobody
        /// has it open, and never within `quiet` of its last change.
        #[test]
        fn no_young_or_open_file_is_taken(
            looks in prop::collection::vec((1u64..1500, any::<bool>(), 0u8..3), 1..40)
        ) {
            let mut s = settling(ReadyWhen::Quiet);
            let (mut now_ms, mut changed_ms) = (0, 0);
            for (step, changes, writers) in looks {
                now_ms += step;
                if changes {
                    changed_ms = now_ms;
                }
                let writers = [Writers::None, Writers::Some, Writers::Unknown][usize::from(writers)];
                let meta = changed(i64::try_from(changed_ms).unwrap());
                let verdict = judge(&mut s, now_ms, Sign::Seen, &meta, writers);
                if verdict == Verdict::Ready {
                    prop_assert!(now_ms - changed_ms >= 2000);
                    prop_assert!(writers != Writers::Some);
                }
            }
        }
    }
}
