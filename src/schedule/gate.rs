//! When a lane may send.

use std::time::Duration;

use super::window::{Opening, opening};
use super::{Moment, Pace, Schedule};
use crate::base::{Mono, Wall};

/// What a schedule says about a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Sending is allowed.
    Open {
        /// Ask again then; `None` when only an event can change it.
        until: Option<Mono>,
    },
    /// Sending is not allowed.
    Closed {
        /// When it opens as things stand; `None` while nobody knows.
        opens: Option<Mono>,
        /// What it waits for.
        why: Waiting,
    },
}

impl Decision {
    /// Whether sending is allowed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Decision::Open { .. })
    }

    /// When to decide again: never later than [`RECHECK`] from `now` while it
    /// hangs on the wall clock, which may be set at any time.
    #[must_use]
    pub fn look_again(&self, now: Mono) -> Option<Mono> {
        let soon = now.after(RECHECK);
        match *self {
            Decision::Open { until } => until.map(|until| until.min(soon)),
            Decision::Closed { opens, .. } => Some(opens.map_or(soon, |opens| opens.min(soon))),
        }
    }
}

/// How long a decision that hangs on the wall clock is relied upon.
pub const RECHECK: Duration = Duration::from_secs(60);

/// What a closed gate waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The next window.
    Window,
    /// The next time of `every` or `cron`.
    Turn,
    /// The fixed delay of this device after its start.
    Splay,
    /// A wall clock that can be trusted.
    SaneClock,
    /// A new day, with a new budget.
    Budget,
}

/// One lane's way through its schedule.
///
/// Tell it when the lane gets its first entry ([`fill`](Gate::fill)) and when the
/// lane has become empty ([`drain`](Gate::drain)); ask it
/// ([`decide`](Gate::decide)) in between. With `every` and `cron`, a turn begins
/// at its time and lasts until the lane is empty; a turn that a window interrupts
/// goes on in the next one; turns that pass while the lane is empty are not made
/// up for.
#[derive(Clone, Debug)]
pub struct Gate {
    started: Mono,
    turn: Turn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The lane is empty.
    Empty,
    /// Begins at a time of the monotonic clock.
    At(Mono),
    /// Begins at a time of the wall clock, reckoned from another.
    AtWall { due: Wall, reckoned: Wall },
    /// Has entries, but the wall clock cannot be trusted yet.
    Unknown,
    /// Has begun.
    Begun,
}

impl Gate {
    /// The gate of an empty lane of an agent that started at `started`.
    #[must_use]
    pub fn new(started: Mono) -> Gate {
        Gate {
            started,
            turn: Turn::Empty,
        }
    }

    /// The lane has entries. Does nothing if it had some already.
    pub fn fill(&mut self, schedule: &Schedule, now: &Moment<'_>) {
        if self.turn == Turn::Empty {
            self.turn = self.next_turn(schedule, now);
        }
    }

    /// The lane is empty: the turn is over.
    pub fn drain(&mut self) {
        self.turn = Turn::Empty;
    }

    /// Whether the lane may send now.
    pub fn decide(&mut self, schedule: &Schedule, now: &Moment<'_>) -> Decision {
        self.begin_turn(schedule, now);
        let waits = |opens, why| Decision::Closed { opens, why };
        match self.turn {
            Turn::Unknown => return waits(None, Waiting::SaneClock),
            Turn::At(due) if due > now.mono => {
                let first = due == self.started.after(schedule.offset);
                let why = match schedule.pace {
                    Pace::WheneverQueued => Waiting::Splay,
                    _ if first && schedule.offset > Duration::ZERO => Waiting::Splay,
                    _ => Waiting::Turn,
                };
                return waits(Some(due), why);
            }
            Turn::AtWall { due, .. } if due > now.wall => {
                return waits(Some(now.mono_at(due)), Waiting::Turn);
            }
            _ => {}
        }
        self.look_through_windows(schedule, now)
    }

    fn look_through_windows(&self, schedule: &Schedule, now: &Moment<'_>) -> Decision {
        if schedule.windows.is_empty() {
            return Decision::Open { until: None };
        }
        if !now.trust.is_sane() {
            return Decision::Closed {
                opens: None,
                why: Waiting::SaneClock,
            };
        }
        // With turns, the delay is already in them.
        let delay = match schedule.pace {
            Pace::WheneverQueued => schedule.offset,
            Pace::Every(_) | Pace::Cron(_) => Duration::ZERO,
        };
        match opening(&schedule.windows, delay, now.wall, now.tz) {
            Opening::Open { until } => Decision::Open {
                until: Some(now.mono_at(until)),
            },
            Opening::Closed { opens } => Decision::Closed {
                opens: opens.map(|opens| now.mono_at(opens)),
                why: Waiting::Window,
            },
        }
    }

    fn begin_turn(&mut self, schedule: &Schedule, now: &Moment<'_>) {
        match self.turn {
            Turn::At(due) if due <= now.mono => self.turn = Turn::Begun,
            // Set back, or not to be trusted any more: reckon anew.
            Turn::AtWall { reckoned, .. } if now.wall < reckoned || !now.trust.is_sane() => {
                self.turn = self.next_turn(schedule, now);
            }
            Turn::AtWall { due, .. } if due <= now.wall => self.turn = Turn::Begun,
            Turn::Unknown if now.trust.is_sane() => self.turn = self.next_turn(schedule, now),
            _ => {}
        }
    }

    fn next_turn(&self, schedule: &Schedule, now: &Moment<'_>) -> Turn {
        let first = self.started.after(schedule.offset);
        match &schedule.pace {
            Pace::WheneverQueued if schedule.windows.is_empty() => Turn::At(first),
            Pace::WheneverQueued => Turn::Begun,
            Pace::Every(every) => Turn::At(grid_point(first, *every, now.mono)),
            Pace::Cron(_) if !now.trust.is_sane() => Turn::Unknown,
            Pace::Cron(cron) => {
                let offset = i64::try_from(schedule.offset.as_nanos()).unwrap_or(i64::MAX);
                // Strictly after the instant before: a time that is now counts.
                let before = Wall(now.wall.0.saturating_sub(offset).saturating_sub(1));
                match cron.next(before, now.tz) {
                    Some(at) => Turn::AtWall {
                        due: Wall(at.0.saturating_add(offset)),
                        reckoned: now.wall,
                    },
                    None => Turn::Unknown,
                }
            }
        }
    }
}

/// The first of `first`, `first + every`, … that is not before `now`.
fn grid_point(first: Mono, every: Duration, now: Mono) -> Mono {
    let (gone, every_nanos) = (now.since(first).as_nanos(), every.as_nanos().max(1));
    let nanos = gone.div_ceil(every_nanos).saturating_mul(every_nanos);
    first.after(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::super::local::tests::{at, berlin};
    use super::super::{ScheduleOptions, Trust, Window};
    use super::*;
    use crate::schedule::Cron;

    /// A clock that both times follow.
    struct World {
        tz: TimeZone,
        start: Wall,
        trust: Trust,
    }

    impl World {
        fn at(start: &str) -> World {
            let tz = berlin();
            World {
                start: at(start, &tz),
                tz,
                trust: Trust::Sane,
            }
        }

        fn after(&self, secs: u64) -> Moment<'_> {
            Moment {
                mono: mono(secs),
                wall: Wall(self.start.0 + i64::try_from(secs).unwrap() * 1_000_000_000),
                trust: self.trust,
                tz: &self.tz,
            }
        }
    }

    fn mono(secs: u64) -> Mono {
        Mono(Duration::from_secs(secs))
    }

    fn schedule(pace: Pace, windows: &[&str], offset: u64) -> Schedule {
        let options = ScheduleOptions {
            name: "night".into(),
            windows: windows.iter().map(|w| Window::parse(w).unwrap()).collect(),
            pace,
            ..ScheduleOptions::default()
        };
        Schedule {
            offset: Duration::from_secs(offset),
            ..Schedule::new(options, "gw")
        }
    }

    fn closed(opens: u64, why: Waiting) -> Decision {
        Decision::Closed {
            opens: Some(mono(opens)),
            why,
        }
    }

    const OPEN: Decision = Decision::Open { until: None };

    #[test]
    fn without_rules_it_is_always_open() {
        let world = World::at("1970-01-01T00:00");
        let schedule = schedule(Pace::WheneverQueued, &[], 0);
        let mut gate = Gate::new(mono(0));
        gate.fill(&schedule, &world.after(0));
        assert_eq!(gate.decide(&schedule, &world.after(0)), OPEN);
    }

    #[test]
    fn a_turn_lasts_until_the_lane_is_empty() {
        let world = World::at("2026-06-05T12:00");
        let schedule = schedule(Pace::Every(Duration::from_secs(900)), &[], 60);
        let mut gate = Gate::new(mono(0));
        gate.fill(&schedule, &world.after(0));
        assert_eq!(
            gate.decide(&schedule, &world.after(0)),
            closed(60, Waiting::Splay)
        );
        assert_eq!(gate.decide(&schedule, &world.after(60)), OPEN);
        assert_eq!(gate.decide(&schedule, &world.after(2000)), OPEN);
        gate.drain();
        gate.fill(&schedule, &world.after(2001));
        assert_eq!(
            gate.decide(&schedule, &world.after(2001)),
            closed(2760, Waiting::Turn)
        );
    }

    #[test]
    fn a_turn_waits_for_its_window() {
        let world = World::at("2026-06-05T21:00");
        let schedule = schedule(Pace::Every(Duration::from_secs(900)), &["22:00-06:00"], 0);
        let mut gate = Gate::new(mono(0));
        gate.fill(&schedule, &world.after(0));
        assert_eq!(
            gate.decide(&schedule, &world.after(0)),
            closed(3600, Waiting::Window)
        );
        let open = gate.decide(&schedule, &world.after(3600));
        assert_eq!(
            open,
            Decision::Open {
                until: Some(mono(9 * 3600))
            }
        );
    }

    #[test]
    fn cron_times_come_with_the_devices_delay() {
        let world = World::at("2026-06-05T12:01");
        let schedule = schedule(Pace::Cron(Cron::parse("*/15 * * * *").unwrap()), &[], 30);
        let mut gate = Gate::new(mono(0));
        gate.fill(&schedule, &world.after(0));
        assert_eq!(
            gate.decide(&schedule, &world.after(0)),
            closed(870, Waiting::Turn)
        );
        assert!(!gate.decide(&schedule, &world.after(869)).is_open());
        assert_eq!(gate.decide(&schedule, &world.after(870)), OPEN);
    }

    #[test]
    fn a_wrong_clock_closes_windows_and_cron_but_not_intervals() {
        let mut world = World::at("1970-01-01T23:00");
        world.trust = Trust::BeforeBuild;
        let unknown = Decision::Closed {
            opens: None,
            why: Waiting::SaneClock,
        };
        for (pace, windows) in [
            (Pace::WheneverQueued, &["22:00-06:00"][..]),
            (Pace::Cron(Cron::parse("* * * * *").unwrap()), &[]),
        ] {
            let schedule = schedule(pace, windows, 0);
            let mut gate = Gate::new(mono(0));
            gate.fill(&schedule, &world.after(0));
            assert_eq!(gate.decide(&schedule, &world.after(0)), unknown);
            assert_eq!(unknown.look_again(mono(0)), Some(mono(60)));
        }
        let interval = schedule(Pace::Every(Duration::from_secs(900)), &[], 0);
        let mut gate = Gate::new(mono(0));
        gate.fill(&interval, &world.after(0));
        assert_eq!(gate.decide(&interval, &world.after(0)), OPEN);
    }

    #[test]
    fn a_clock_that_is_set_right_starts_cron() {
        let mut world = World::at("1970-01-01T23:00");
        world.trust = Trust::BeforeBuild;
        let schedule = schedule(Pace::Cron(Cron::parse("0 * * * *").unwrap()), &[], 0);
        let mut gate = Gate::new(mono(0));
        gate.fill(&schedule, &world.after(0));
        let mut world = World::at("2026-06-05T12:30");
        assert_eq!(
            gate.decide(&schedule, &world.after(0)),
            closed(1800, Waiting::Turn)
        );
        world.start = at("2026-06-05T11:50", &world.tz);
        assert_eq!(
            gate.decide(&schedule, &world.after(0)),
            closed(600, Waiting::Turn)
        );
    }
}
