//! The state against a simulated world: servers that fail as told, entries that are
//! refused, time that jumps from wakeup to wakeup.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::schedule::{BUILD_FLOOR, Moment, RetryOptions, Schedule, Spent, Trust};
use crate::sys::{Mono, Wall};

/// What happens to one try of one entry, or to one login.
type Script<'a> = &'a mut dyn FnMut(&World, Try) -> Option<Fault>;

#[derive(Clone, Copy, Debug)]
enum Try {
    Login(ServerId),
    Send(ServerId, LaneId, u64),
}

struct World {
    state: State,
    now: Duration,
    connections: Vec<u8>,
    /// Per lane: entries with their refusals.
    queues: Vec<Vec<(u64, u32)>>,
    sessions: Vec<(SessionId, ServerId)>,
    delivered: Vec<(ServerId, LaneId, u64)>,
    dead: BTreeSet<u64>,
    logins: Vec<(ServerId, Duration)>,
    random: u64,
}

fn lane(server: usize, priority: u8) -> LaneRules {
    LaneRules {
        priority,
        weight: 1,
        server: ServerId(server),
        order: Order::Oldest,
        schedule: SCHEDULE_NONE,
        dead_needs_proof: true,
    }
}

fn server(connections: u8, fallback: &[usize]) -> ServerRules {
    ServerRules {
        connections,
        fallback: fallback.iter().copied().map(ServerId).collect(),
    }
}

fn world(lanes: Vec<LaneRules>, servers: Vec<ServerRules>, entries: u64) -> World {
    world_with(lanes, servers, Vec::new(), entries)
}

fn world_with(
    lanes: Vec<LaneRules>,
    servers: Vec<ServerRules>,
    schedules: Vec<(Schedule, Spent)>,
    entries: u64,
) -> World {
    let connections = servers.iter().map(|s| s.connections).collect();
    let count = lanes.len();
    let rules = Rules {
        lanes,
        servers,
        schedules,
        retry: RetryOptions {
            first: Duration::from_secs(5),
            max: Duration::from_secs(900),
        },
        file_attempts: 3,
        idle_timeout: Duration::from_secs(30),
    };
    let mut world = World {
        state: State::new(rules, Mono::default()),
        now: Duration::ZERO,
        connections,
        queues: vec![Vec::new(); count],
        sessions: Vec::new(),
        delivered: Vec::new(),
        dead: BTreeSet::new(),
        logins: Vec::new(),
        random: 1,
    };
    for lane in 0..count {
        world.queue(lane, entries);
    }
    world
}

impl World {
    fn queue(&mut self, lane: usize, count: u64) {
        let first = u64::try_from(lane).unwrap() * 1_000_000 + 1_000 * self.now.as_secs();
        self.queues[lane].extend((first..first + count).map(|key| (key, 0)));
        let lane = LaneId(lane);
        self.tell(Event::EntriesQueued { lane, count });
    }

    fn random(&mut self) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        self.random
    }

    fn with_now<T>(&mut self, act: impl FnOnce(&mut State, &Moment<'_>, u64) -> T) -> T {
        let random = self.random();
        let now = Moment {
            mono: Mono(self.now),
            wall: Wall(BUILD_FLOOR.0 + i64::try_from(self.now.as_nanos()).unwrap()),
            trust: Trust::Sane,
            tz: &TimeZone::UTC,
        };
        act(&mut self.state, &now, random)
    }

    fn tell(&mut self, event: Event) {
        self.with_now(|state, now, random| state.handle(event, now, random));
    }

    /// Obeys until nothing is left to do or `until` is reached; the steps taken.
    fn run(&mut self, until: Duration, script: Script<'_>) -> usize {
        let mut steps = 0;
        loop {
            while let Some(action) = self.with_now(|state, now, _| state.poll(now)) {
                steps += 1;
                assert!(steps < 200_000, "it spins at {:?}", self.now);
                self.obey(action, script);
            }
            match self.state.next_wakeup() {
                Some(at) if at.0 <= until => {
                    assert!(at.0 > self.now);
                    self.now = at.0;
                }
                _ => return steps,
            }
        }
    }

    fn obey(&mut self, action: Action, script: Script<'_>) {
        match action {
            Action::OpenSession { session, server } => {
                self.sessions.push((session, server));
                let open = self.sessions.iter().filter(|(_, s)| *s == server).count();
                assert!(open <= usize::from(self.connections[server.0].max(1)));
                self.logins.push((server, self.now));
                match script(self, Try::Login(server)) {
                    None => self.tell(Event::SessionOpened(session)),
                    Some(fault) => {
                        self.sessions.retain(|(id, _)| *id != session);
                        self.tell(Event::SessionFailed(session, fault));
                    }
                }
            }
            Action::CloseIdle(session) => {
                self.sessions.retain(|(id, _)| *id != session);
                self.tell(Event::SessionClosed(session, None));
            }
            Action::Assign(Assignment { session, lane, .. }) => self.send(session, lane, script),
        }
    }

    fn send(&mut self, session: SessionId, lane: LaneId, script: Script<'_>) {
        let now = Mono(self.now);
        let free = |(key, _): &(u64, u32)| !self.state.holds(lane, *key, now);
        let Some(index) = self.queues[lane.0].iter().position(free) else {
            return self.tell(Event::NothingToSend { session, lane });
        };
        let (key, refusals_before) = self.queues[lane.0][index];
        let server = self
            .sessions
            .iter()
            .find(|(id, _)| *id == session)
            .unwrap()
            .1;
        // A transfer takes a while.
        self.now += Duration::from_millis(10);
        let Some(fault) = script(self, Try::Send(server, lane, key)) else {
            self.queues[lane.0].remove(index);
            self.delivered.push((server, lane, key));
            return self.tell(Event::EntryDelivered { session, lane, key });
        };
        let failed = FailedEntry {
            session,
            lane,
            key,
            fault,
            refusals_before,
            progressed: false,
        };
        match self.with_now(|state, now, random| state.entry_failed(&failed, now, random)) {
            Verdict::Retry => {}
            Verdict::Refused => self.queues[lane.0][index].1 += 1,
            Verdict::Dead => {
                self.queues[lane.0].remove(index);
                self.dead.insert(key);
            }
        }
        if fault == Fault::Network {
            self.sessions.retain(|(id, _)| *id != session);
            self.tell(Event::SessionClosed(session, Some(fault)));
        }
    }

    fn delivered_by(&self, lane: usize) -> usize {
        self.delivered
            .iter()
            .filter(|(_, l, _)| l.0 == lane)
            .count()
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn everything_is_delivered_and_the_agent_sleeps() {
    let mut world = world(vec![lane(0, 5), lane(0, 5)], vec![server(2, &[])], 20);
    world.run(HOUR, &mut |_, _| None);
    assert_eq!(world.delivered.len(), 40);
    assert!(world.state.is_drained() && world.sessions.is_empty());
    assert_eq!(world.state.next_wakeup(), None);
}

#[test]
fn priority_goes_first_and_equals_take_turns() {
    let lanes = vec![lane(0, 1), lane(0, 5), lane(0, 5)];
    let mut world = world(lanes, vec![server(1, &[])], 10);
    world.run(HOUR, &mut |_, _| None);
    let order: Vec<usize> = world.delivered.iter().map(|(_, lane, _)| lane.0).collect();
    assert!(order[..20].iter().all(|lane| *lane != 0));
    assert_eq!(order[..6], [1, 2, 1, 2, 1, 2]);
}

#[test]
fn weight_decides_the_share() {
    let mut heavy = lane(0, 5);
    heavy.weight = 3;
    let mut world = world(vec![heavy, lane(0, 5)], vec![server(1, &[])], 40);
    world.run(HOUR, &mut |_, _| None);
    let first = &world.delivered[..40];
    let heavies = first.iter().filter(|(_, lane, _)| lane.0 == 0).count();
    assert!((29..=31).contains(&heavies), "{heavies}");
}

#[test]
fn newest_first_keeps_a_share_for_the_backlog() {
    let mut rules = lane(0, 5);
    rules.order = Order::Newest;
    let mut world = world(vec![rules], vec![server(1, &[])], 12);
    let mut picks = Vec::new();
    for _ in 0..24 {
        match world.with_now(|state, now, _| state.poll(now)) {
            Some(Action::Assign(assignment)) => {
                picks.push(assignment.pick);
                world.send(assignment.session, assignment.lane, &mut |_, _| None);
            }
            Some(action) => world.obey(action, &mut |_, _| None),
            None => break,
        }
    }
    assert_eq!(
        picks.iter().filter(|pick| **pick == Pick::Oldest).count(),
        3
    );
    assert_eq!(picks.len(), 12);
}

#[test]
fn fallback_carries_on_while_the_first_server_is_probed() {
    let servers = vec![server(1, &[1]), server(1, &[])];
    let mut world = world(vec![lane(0, 5)], servers, 5);
    let mut main_down = |world: &World, what: Try| {
        let main = matches!(what, Try::Login(ServerId(0)) | Try::Send(ServerId(0), ..));
        (main && world.now < HOUR).then_some(Fault::Network)
    };
    world.run(DAY, &mut main_down);
    assert_eq!(world.delivered.len(), 5);
    assert!(
        world
            .delivered
            .iter()
            .all(|(server, ..)| *server == ServerId(1))
    );
    // Back on the first server once it answers.
    world.now = HOUR * 2;
    world.queue(0, 50);
    world.run(DAY, &mut main_down);
    assert_eq!(world.delivered.len(), 55);
    assert_eq!(world.delivered.last().unwrap().0, ServerId(0));
}

#[test]
fn a_trickle_of_files_goes_back_to_the_first_server() {
    let servers = vec![server(1, &[1]), server(1, &[])];
    let mut world = world(vec![lane(0, 5)], servers, 1);
    let mut main_down = |world: &World, what: Try| {
        let main = matches!(what, Try::Login(ServerId(0)) | Try::Send(ServerId(0), ..));
        (main && world.now < HOUR).then_some(Fault::Network)
    };
    // Each comes while the session of the one before is still open.
    for tens in 1..720 {
        let now = Duration::from_secs(10 * tens);
        world.run(now, &mut main_down);
        world.now = now;
        world.queue(0, 1);
    }
    world.run(HOUR * 3, &mut main_down);
    assert_eq!(world.delivered.len(), 720);
    assert_eq!(world.delivered.last().unwrap().0, ServerId(0));
}

#[test]
fn one_cut_is_no_reason_to_change_the_server() {
    let servers = vec![server(1, &[1]), server(1, &[])];
    let mut world = world(vec![lane(0, 5)], servers, 5);
    let mut cuts = 0;
    world.run(DAY, &mut |_, what| {
        let cut = matches!(what, Try::Send(..)) && cuts == 0;
        cuts += usize::from(cut);
        cut.then_some(Fault::Network)
    });
    assert_eq!(world.delivered.len(), 5);
    assert!(
        world
            .delivered
            .iter()
            .all(|(server, ..)| *server == ServerId(0))
    );
}

#[test]
fn a_refused_login_is_tried_at_most_once_per_longest_wait() {
    let mut world = world(vec![lane(0, 5), lane(0, 9)], vec![server(4, &[])], 50);
    world.run(DAY, &mut |_, what| {
        matches!(what, Try::Login(_)).then_some(Fault::Login)
    });
    assert!(world.logins.len() > 50);
    for pair in world.logins.windows(2) {
        assert!(pair[1].1 - pair[0].1 >= Duration::from_secs(900));
    }
}

#[test]
fn a_lane_that_is_refused_rests_and_loses_nothing() {
    let mut world = world(vec![lane(0, 9), lane(0, 1)], vec![server(1, &[])], 30);
    world.run(DAY, &mut |_, what| match what {
        Try::Send(_, LaneId(0), _) => Some(Fault::File),
        _ => None,
    });
    assert_eq!(world.delivered_by(1), 30, "the other lane is not blocked");
    assert!(world.dead.is_empty());
    let tries = world.state.lane(LaneId(0), Mono(world.now)).unwrap();
    assert_eq!((tries.waiting, tries.waits), (30, LaneWaits::Refused));
    world.run(DAY * 2, &mut |_, _| None);
    assert_eq!(world.delivered_by(0), 30);
}

#[test]
fn one_bad_file_becomes_a_dead_letter_and_the_rest_is_delivered() {
    let mut world = world(vec![lane(0, 5)], vec![server(1, &[])], 30);
    world.run(DAY, &mut |_, what| match what {
        Try::Send(_, _, 0) => Some(Fault::File),
        _ => None,
    });
    assert_eq!(world.delivered.len(), 29);
    assert_eq!(world.dead, BTreeSet::from([0]));
    assert!(world.state.is_drained());
}

#[test]
fn a_file_that_breaks_every_session_does_not_keep_the_others() {
    let mut world = world(vec![lane(0, 5), lane(0, 5)], vec![server(1, &[])], 20);
    world.run(DAY, &mut |_, what| match what {
        Try::Send(_, _, 0) => Some(Fault::Network),
        _ => None,
    });
    assert_eq!(world.delivered.len(), 39);
    assert!(world.dead.is_empty());
}

#[test]
fn a_full_server_is_asked_with_one_file_at_a_time() {
    let mut world = world(vec![lane(0, 5)], vec![server(4, &[])], 20);
    let mut tries = 0;
    world.run(DAY, &mut |_, what| {
        tries += usize::from(matches!(what, Try::Send(..)));
        matches!(what, Try::Send(..)).then_some(Fault::ServerFull)
    });
    // A day has 96 quarters of an hour; jitter at most doubles them.
    assert!((90..200).contains(&tries), "{tries}");
    world.run(DAY * 2, &mut |_, _| None);
    assert_eq!(world.delivered.len(), 20);
}

#[test]
fn a_paused_lane_keeps_its_entries_and_stops_no_other() {
    let mut world = world(vec![lane(0, 9), lane(0, 1)], vec![server(1, &[])], 5);
    world.tell(Event::Paused(LaneId(0)));
    world.run(DAY, &mut |_, _| None);
    assert_eq!((world.delivered_by(0), world.delivered_by(1)), (0, 5));
    assert_eq!(
        world.state.next_wakeup(),
        None,
        "a paused lane wakes nobody"
    );
    world.tell(Event::Resumed(LaneId(0)));
    world.run(DAY, &mut |_, _| None);
    assert_eq!(world.delivered_by(0), 5);
}

#[test]
fn a_spent_budget_waits_for_the_next_day() {
    let schedule = Schedule {
        daily_budget: Some(crate::base::ByteSize(100)),
        ..Schedule::always()
    };
    let mut rules = lane(0, 5);
    rules.schedule = 0;
    let servers = vec![server(1, &[])];
    let mut world = world_with(vec![rules], servers, vec![(schedule, Spent::default())], 3);
    let lane = LaneId(0);
    world.tell(Event::BytesSent { lane, bytes: 100 });
    world.run(HOUR, &mut |_, _| None);
    assert_eq!(world.delivered.len(), 0);
    world.run(DAY, &mut |_, _| None);
    assert_eq!(world.delivered.len(), 3);
}

#[test]
fn after_stopping_nothing_new_begins() {
    let mut world = world(vec![lane(0, 5)], vec![server(1, &[])], 5);
    let open = world.with_now(|state, now, _| state.poll(now)).unwrap();
    world.obey(open, &mut |_, _| None);
    world.tell(Event::Stopping);
    world.run(DAY, &mut |_, _| None);
    assert!(world.delivered.is_empty() && world.sessions.is_empty());
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        3 => Just(None),
        2 => Just(Some(Fault::Network)),
        1 => Just(Some(Fault::Login)),
        1 => Just(Some(Fault::Tls)),
        1 => Just(Some(Fault::ServerFull)),
        1 => Just(Some(Fault::Data)),
        1 => Just(Some(Fault::File)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn once_faults_stop_everything_is_delivered_or_dead(
        faults in prop::collection::vec(fault(), 1..400),
        lanes in prop::collection::vec((0usize..3, 0u8..10), 1..5),
        connections in prop::collection::vec(1u8..4, 3),
        entries in 1u64..30,
        seed: u64,
    ) {
        let lanes: Vec<_> = lanes.into_iter().map(|(s, priority)| lane(s, priority)).collect();
        let total = lanes.len() * usize::try_from(entries).unwrap();
        let servers = vec![
            server(connections[0], &[1, 2]),
            server(connections[1], &[2]),
            server(connections[2], &[]),
        ];
        let mut world = world(lanes, servers, entries);
        world.random = seed;
        let mut faults = faults.into_iter();
        world.run(DAY * 3, &mut |_, what| {
            let fault = faults.next().flatten()?;
            let fits = match what {
                Try::Login(_) => matches!(fault, Fault::Network | Fault::Login | Fault::Tls),
                Try::Send(..) => !matches!(fault, Fault::Login | Fault::Tls),
            };
            fits.then_some(fault)
        });
        prop_assert_eq!(world.delivered.len() + world.dead.len(), total);
        prop_assert!(world.state.is_drained() && world.sessions.is_empty());
        let distinct: BTreeSet<u64> = world.delivered.iter().map(|(.., key)| *key).collect();
        prop_assert_eq!(distinct.len(), world.delivered.len());
    }

    #[test]
    fn a_server_that_is_down_blocks_only_its_own_lanes(
        connections in 1u8..4,
        fault in prop_oneof![
            Just(Fault::Network), Just(Fault::Login), Just(Fault::Tls),
        ],
        entries in 1u64..50,
    ) {
        let servers = vec![server(connections, &[]), server(connections, &[])];
        let mut world = world(vec![lane(0, 9), lane(1, 0)], servers, entries);
        world.run(HOUR, &mut |_, what| match what {
            Try::Login(ServerId(0)) => Some(fault),
            _ => None,
        });
        prop_assert_eq!(world.delivered_by(1), usize::try_from(entries).unwrap());
        // Delivered without any wait for the other server.
        prop_assert!(world.delivered_by(0) == 0);
    }

    #[test]
    fn no_lane_of_one_priority_starves(
        weights in prop::collection::vec(1u32..5, 2..6),
    ) {
        let lanes: Vec<_> = weights
            .iter()
            .map(|weight| LaneRules { weight: *weight, ..lane(0, 5) })
            .collect();
        let mut world = world(lanes, vec![server(1, &[])], 100);
        world.run(HOUR, &mut |_, _| None);
        // In the time in which every lane is busy, each round serves every lane.
        let round = usize::try_from(weights.iter().sum::<u32>()).unwrap() + weights.len();
        for window in world.delivered[..100].windows(round) {
            let seen: BTreeSet<usize> = window.iter().map(|(_, lane, _)| lane.0).collect();
            prop_assert_eq!(seen.len(), weights.len());
        }
    }
}
