//! What can differ between two devices.

use std::time::Duration;

use edgespool::schedule::{Pace, ScheduleOptions};
use edgespool::spool::WhenFull;
use edgespool::sys::Wall;
use edgespool::upload::{IfExists, Publish};
use edgespool::watch::Take;

use super::time::Dice;

/// A day when the clock was right.
pub const TODAY: Wall = Wall(1_790_000_000_000_000_000);

/// How a device is set up.
#[derive(Clone, Debug)]
pub struct Options {
    pub take: Take,
    pub connections: u8,
    pub newest_first: bool,
    /// The lanes, by the name of their directory.
    pub lanes: &'static [&'static str],
    pub wall: Wall,
    pub max_size: u64,
    pub when_full: WhenFull,
    /// The sources are on a filesystem of their own.
    pub mounted: bool,
    pub publish: Publish,
    pub if_exists: IfExists,
    pub schedule: Option<ScheduleOptions>,
    /// `run`, else `once` again and again.
    pub serves: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            take: Take::Move,
            connections: 1,
            newest_first: false,
            lanes: &["camera"],
            wall: TODAY,
            max_size: 1 << 30,
            when_full: WhenFull::Pause,
            mounted: false,
            publish: Publish::Rename,
            if_exists: IfExists::Overwrite,
            schedule: None,
            serves: false,
        }
    }
}

impl Options {
    pub fn random(dice: &Dice) -> Options {
        let clocks = [
            TODAY,
            TODAY,
            Wall::from_secs(60),
            Wall::from_secs(2_200_000_000),
        ];
        let serves = dice.percent(40);
        let small = dice.one_in(6);
        Options {
            take: if dice.one_in(6) {
                Take::Copy
            } else {
                Take::Move
            },
            connections: dice.pick(&[1, 1, 2]),
            newest_first: dice.one_in(5),
            lanes: if dice.one_in(3) {
                &["camera", "sensor"]
            } else {
                &["camera"]
            },
            wall: dice.pick(&clocks),
            max_size: if small {
                dice.between(3_000, 20_000)
            } else {
                1 << 30
            },
            when_full: dice.pick(&[WhenFull::Pause, WhenFull::DropOldest, WhenFull::DropNewest]),
            mounted: dice.one_in(4),
            publish: if dice.one_in(10) {
                Publish::Direct
            } else {
                Publish::Rename
            },
            if_exists: match dice.below(16) {
                0 => IfExists::KeepBoth,
                1 => IfExists::Skip,
                _ => IfExists::Overwrite,
            },
            schedule: (serves && dice.one_in(4)).then(|| schedule(dice)),
            serves,
        }
    }

    /// Whether files may be given up by policy.
    pub fn evicts(&self) -> bool {
        self.when_full != WhenFull::Pause
    }
}

fn schedule(dice: &Dice) -> ScheduleOptions {
    let windows: &[&str] = dice.pick(&[&[], &["22:00-06:00"], &["12:00-13:00", "sat 00:00-24:00"]]);
    ScheduleOptions {
        name: "night".to_owned(),
        windows: windows.iter().map(|text| text.parse().unwrap()).collect(),
        pace: dice
            .pick(&[None, Some(900)])
            .map_or(Pace::WheneverQueued, |secs| {
                Pace::Every(Duration::from_secs(secs))
            }),
        ..ScheduleOptions::default()
    }
}
