//! What there is to show: numbers for this instant, and the story so far.
//!
//! [`Watcher::look`] compares what the agent, the link and the receiver say with
//! what they said before. It reads no clock and asks nobody.

use std::collections::VecDeque;
use std::time::Duration;

use super::compare::Arrival;
use super::link::{Traffic, Victims};
use crate::base::{ByteSize, Mono};
use crate::cli::text::safe;
use crate::status::report::{CurrentReport, Report};

/// What everyone says at one instant.
pub(super) struct Look<'a> {
    /// The instant.
    pub(super) now: Mono,
    /// Each device's watch, and the files and bytes that it made.
    pub(super) made: &'a [(&'static str, u64, u64)],
    /// What the agent says.
    pub(super) report: &'a Report,
    /// What the link has seen.
    pub(super) traffic: &'a Traffic,
    /// What the receiver has.
    pub(super) arrivals: &'a [Arrival],
}

/// Numbers to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Since the start.
    pub(super) elapsed: Duration,
    /// Each device.
    pub(super) devices: Vec<DeviceFacts>,
    /// The file that is on its way.
    pub(super) sending: Option<CurrentReport>,
    /// Bytes a second over the link, over the last second.
    pub(super) speed: u64,
    /// How long the link stays down, if it is.
    pub(super) down_for: Option<Duration>,
    /// How often it broke.
    pub(super) cuts: usize,
    /// Files and bytes that arrived.
    pub(super) arrived: (u64, u64),
    /// What the agent has to overcome now, in its words.
    pub(super) trouble: Option<String>,
}

/// One device's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DeviceFacts {
    /// The name of its watch.
    pub(super) watch: &'static str,
    /// Files that it made.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Files of it that wait in the spool.
    pub(super) waiting: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Since the start.
    pub(super) at: Duration,
    /// What it is about.
    pub(super) kind: Kind,
    /// One line.
    pub(super) text: String,
}

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The link broke.
    Broke,
    /// The agent met an obstacle.
    Trouble,
    /// The agent has a session again.
    Back,
    /// A file that was cut goes on, or arrived after all.
    Resumed,
    /// A file arrived at the first try.
    Arrived,
}

/// Remembers what was said before.
pub(super) struct Watcher {
    start: Mono,
    /// Bytes over the link, at instants of the last second.
    carried: VecDeque<(Mono, u64)>,
    /// The file that was on its way last.
    current: Option<String>,
    /// The file that the link broke in, until it goes on over a connection
    /// later than this one.
    broken: Option<(String, u64)>,
    cuts: usize,
    sessions: u64,
    arrivals: usize,
    arrived_bytes: u64,
    error: Option<String>,
}

impl Watcher {
    /// Nothing has happened yet.
    pub(super) fn new(start: Mono) -> Watcher {
        Watcher {
            start,
            carried: VecDeque::new(),
            current: None,
            broken: None,
            cuts: 0,
            sessions: 0,
            arrivals: 0,
            arrived_bytes: 0,
            error: None,
        }
    }

    /// The numbers now, and what happened since the last look.
    pub(super) fn look(&mut self, look: &Look<'_>) -> (Facts, Vec<Told>) {
        let mut told = Vec::new();
        self.look_at_link(look, &mut told);
        self.look_at_agent(look, &mut told);
        self.look_at_server(look, &mut told);
        let waiting = |watch: &str| {
            let mut lanes = look.report.lanes.iter();
            lanes
                .find(|lane| lane.watch == watch)
                .map_or(0, |lane| lane.files)
        };
        let devices = look.made.iter().map(|(watch, files, bytes)| DeviceFacts {
            watch,
            files: *files,
            bytes: *bytes,
            waiting: waiting(watch),
        });
        let facts = Facts {
            elapsed: self.since_start(look.now),
            devices: devices.collect(),
            sending: look.report.current.first().cloned(),
            speed: self.speed(look),
            down_for: look.traffic.down_for,
            cuts: look.traffic.cuts.len(),
            arrived: (look.arrivals.len() as u64, self.arrived_bytes),
            trouble: self.error.clone(),
        };
        (facts, told)
    }

    fn look_at_link(&mut self, look: &Look<'_>, told: &mut Vec<Told>) {
        let cuts = &look.traffic.cuts;
        for cut in cuts.get(self.cuts..).unwrap_or_default() {
            let file = self.current.as_deref().unwrap_or("a file");
            let carried = ByteSize(cut.carried);
            let what = match cut.what {
                Victims::Data => "data connection reset".to_owned(),
                Victims::Control => "control connection reset".to_owned(),
                Victims::All => match cut.outage {
                    Duration::ZERO => "all connections reset".to_owned(),
                    outage => format!("no link for {:.1} s", outage.as_secs_f32()),
                },
            };
            let text = format!("{file} after {carried}: {what}");
            told.push(self.told(cut.at, Kind::Broke, text));
            let file = self.current.clone();
            self.broken = file.map(|file| (file, cut.transfers));
        }
        self.cuts = cuts.len();
        let sessions = look.traffic.sessions;
        if sessions > self.sessions && self.sessions > 0 {
            told.push(self.told(look.now, Kind::Back, "the agent is connected again".into()));
        }
        self.sessions = sessions;
    }

    fn look_at_agent(&mut self, look: &Look<'_>, told: &mut Vec<Told>) {
        let mut errors = look.report.servers.iter();
        let error = errors.find_map(|server| server.last_error.clone());
        if let Some(new) = &error
            && self.error.as_ref() != Some(new)
        {
            let text = safe(new.as_bytes());
            told.push(self.told(look.now, Kind::Trouble, text));
        }
        self.error = error;
        let current = look.report.current.first();
        let Some(current) = current else { return };
        let path = format!("{}/{}", current.watch, current.path);
        let goes_on = |(file, transfers): &(String, u64)| {
            *file == path && look.traffic.transfers > *transfers
        };
        if current.sent > 0 && self.broken.as_ref().is_some_and(goes_on) {
            let text = format!("{path} goes on where it was cut");
            told.push(self.told(look.now, Kind::Resumed, text));
            self.broken = None;
        }
        self.current = Some(path);
    }

    fn look_at_server(&mut self, look: &Look<'_>, told: &mut Vec<Told>) {
        for arrival in look.arrivals.get(self.arrivals..).unwrap_or_default() {
            let (path, size) = (safe(arrival.path.as_bytes()), ByteSize(arrival.size));
            let (kind, text) = match arrival.from {
                0 => (Kind::Arrived, format!("{path}, {size}")),
                from => {
                    let from = ByteSize(from);
                    (
                        Kind::Resumed,
                        format!("{path} is there: {size}, resumed at {from}"),
                    )
                }
            };
            told.push(self.told(look.now, kind, text));
            self.arrived_bytes += arrival.size;
        }
        self.arrivals = look.arrivals.len();
    }

    fn speed(&mut self, look: &Look<'_>) -> u64 {
        let carried = look.traffic.carried;
        self.carried.push_back((look.now, carried));
        let is_old = |(at, _): &(Mono, u64)| look.now.since(*at) > Duration::from_secs(1);
        while self.carried.len() > 2 && self.carried.front().is_some_and(is_old) {
            self.carried.pop_front();
        }
        let Some((at, before)) = self.carried.front() else {
            return 0;
        };
        let millis = look.now.since(*at).as_millis();
        let gained = u128::from(carried.saturating_sub(*before)) * 1000;
        let speed = gained.checked_div(millis).unwrap_or(0);
        u64::try_from(speed).unwrap_or(u64::MAX)
    }

    fn told(&self, at: Mono, kind: Kind, text: String) -> Told {
        let at = self.since_start(at);
        Told { at, kind, text }
    }

    fn since_start(&self, at: Mono) -> Duration {
        at.since(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::link::Broken;
    use crate::status::report::{LaneReport, ServerReport};

    /// Looks after so many milliseconds.
    fn look(
        watcher: &mut Watcher,
        ms: u64,
        report: &Report,
        traffic: &Traffic,
        arrivals: &[Arrival],
    ) -> (Facts, Vec<Told>) {
        watcher.look(&Look {
            now: Mono::default().after(Duration::from_millis(ms)),
            made: &[("camera", 2, 600_000)],
            report,
            traffic,
            arrivals,
        })
    }

    fn kinds(told: &[Told]) -> Vec<Kind> {
        told.iter().map(|told| told.kind).collect()
    }

    fn sending(sent: u64) -> Report {
        Report {
            current: vec![CurrentReport {
                watch: "camera".into(),
                path: "a.jpg".into(),
                size: 500_000,
                sent,
            }],
            lanes: vec![LaneReport {
                watch: "camera".into(),
                files: 2,
                ..LaneReport::default()
            }],
            ..Report::default()
        }
    }

    #[test]
    fn a_cut_is_told_with_its_file_and_so_is_what_follows() {
        let mut watcher = Watcher::new(Mono::default());
        let mut traffic = Traffic {
            sessions: 1,
            transfers: 1,
            ..Traffic::default()
        };
        let (facts, told) = look(&mut watcher, 100, &sending(9_000), &traffic, &[]);
        assert_eq!((facts.devices[0].waiting, told.len()), (2, 0));
        traffic.cuts.push(Broken {
            at: Mono::default().after(Duration::from_millis(150)),
            what: Victims::All,
            outage: Duration::from_secs(2),
            carried: 150 << 10,
            transfers: 1,
        });
        let mut report = Report::default();
        report.servers.push(ServerReport {
            last_error: Some("connection reset\x1b".into()),
            ..ServerReport::default()
        });
        let (facts, told) = look(&mut watcher, 200, &report, &traffic, &[]);
        assert_eq!(facts.cuts, 1);
        assert_eq!(kinds(&told), [Kind::Broke, Kind::Trouble]);
        let expected = "camera/a.jpg after 150 KiB: no link for 2.0 s";
        assert_eq!(told[0].text, expected);
        assert_eq!(told[0].at, Duration::from_millis(150));
        assert_eq!(told[1].text, "connection reset\\x1b");
        // The same again is no news.
        let (_, told) = look(&mut watcher, 300, &report, &traffic, &[]);
        assert!(told.is_empty());
        // What the agent still says of the broken try is none either.
        report.current = sending(150_000).current;
        let (_, told) = look(&mut watcher, 350, &report, &traffic, &[]);
        assert!(told.is_empty());
        (traffic.sessions, traffic.transfers) = (2, 2);
        let (_, told) = look(&mut watcher, 400, &sending(150_000), &traffic, &[]);
        assert_eq!(kinds(&told), [Kind::Back, Kind::Resumed]);
        let arrivals = [Arrival {
            path: "camera/a.jpg".into(),
            size: 500 << 10,
            from: 140 << 10,
        }];
        let (facts, told) = look(&mut watcher, 500, &Report::default(), &traffic, &arrivals);
        assert_eq!(facts.arrived, (1, 500 << 10));
        assert_eq!(
            told[0].text,
            "camera/a.jpg is there: 500 KiB, resumed at 140 KiB"
        );
    }

    #[test]
    fn the_speed_is_that_of_the_last_second() {
        let mut watcher = Watcher::new(Mono::default());
        let mut speeds = Vec::new();
        for step in 0..30_u64 {
            let traffic = Traffic {
                // 100 bytes in each tenth of a second, and from the second second on 200.
                carried: 100 * step + 100 * step.saturating_sub(10),
                ..Traffic::default()
            };
            let (facts, _) = look(&mut watcher, step * 100, &Report::default(), &traffic, &[]);
            speeds.push(facts.speed);
        }
        assert_eq!((speeds[0], speeds[9], speeds[29]), (0, 1000, 2000));
    }
}
