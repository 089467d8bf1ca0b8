//! One delivery of three files, ended at every place where it can end: at each
//! operation on the disk, and at each byte of each connection.

use std::path::Path;
use std::time::Duration;

use super::case::Case;
use super::judge::judge;
use super::net::{Cut, Ending};
use super::options::Options;
use super::runner::Facts;
use super::scenario;
use super::server::Manners;
use super::time::Dice;
use super::world::{End, Plan, World};

/// Runs of each operation on the disk and each way of ending there.
const SEEDS: u64 = 8;
/// The files, and how long they are.
const FILES: [(&str, usize); 3] = [("a.jpg", 300), ("day/b.jpg", 2000), ("c.jpg", 70_000)];
/// Up to here a connection is cut at every byte, then at every so many.
const EVERY_BYTE: u64 = 700;
const STRIDE: u64 = 97;

/// How a delivery is ended at an operation on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtDisk {
    pub seed: u64,
    pub op: u64,
    /// The process is killed, and the disk goes on; else the power goes.
    pub kill: bool,
}

/// How a delivery is ended on a connection.
#[derive(Clone, Copy, Debug)]
pub struct AtNet {
    /// What kind of server it is.
    pub kind: usize,
    /// The connection, from 1.
    pub nth: u64,
    pub cut: Cut,
}

/// Servers that differ in what a cut leaves.
fn manners(kind: usize) -> Manners {
    let plain = Manners::plain();
    match kind {
        0 => plain,
        1 => Manners {
            forgets_rest: true,
            content_with_half: false,
            transfer_needs_control: false,
            ..plain
        },
        2 => Manners {
            hashes: true,
            early_150: false,
            ..plain
        },
        _ => Manners {
            rest: false,
            content_with_half: false,
            ..plain
        },
    }
}

const KINDS: usize = 4;

/// A device with three finished files.
fn world(seed: u64, options: Options, kind: usize) -> World {
    let world = World::new(seed, options, manners(kind));
    for (name, len) in FILES {
        let content: Vec<u8> = (0..len)
            .map(|at| (at % 251) as u8 ^ name.as_bytes()[0])
            .collect();
        world
            .producer(0, Duration::ZERO, true)
            .place_whole(&Path::new("camera").join(name), &content);
    }
    // They are no longer new.
    world.pass(Duration::from_secs(10));
    world
}

fn options(seed: u64) -> Options {
    Options {
        mounted: seed % 4 == 3,
        serves: seed % 2 == 1,
        ..Options::default()
    }
}

fn plan(world: &World) -> Plan {
    match world.options.serves {
        true => Plan::Run {
            stop: Duration::from_secs(60),
            reload: false,
        },
        false => Plan::Once(Duration::from_secs(60)),
    }
}

const LIFE: Duration = Duration::from_secs(3600);

pub fn at_disk(at: AtDisk) -> (Facts, Result<(), String>) {
    let world = world(at.seed, options(at.seed), 0);
    let dice = Dice::new(at.seed ^ at.op);
    world.disk.crash_after(at.op);
    world.disk.set_survives(at.kill);
    let mut facts = Facts::default();
    let ended = world.live(plan(&world), LIFE);
    facts.crashes += u64::from(matches!(ended, End::PowerCut));
    if at.seed < SEEDS / 2 {
        // The recovery is no safer place.
        world.disk.set_survives(false);
        world.disk.crash_after(dice.between(1, 40));
        let ended = world.live(plan(&world), LIFE);
        facts.crashes += u64::from(matches!(ended, End::PowerCut));
    }
    world.disk.set_survives(false);
    world.disk.crash_after(u64::MAX / 2);
    (
        facts,
        scenario::calm(&world).and_then(|()| judge(&world, 0)),
    )
}

pub fn at_net(at: AtNet) -> (Facts, Result<(), String>) {
    let world = world(at.cut.after, Options::default(), at.kind);
    world.net.cut_nth(at.nth, at.cut);
    let _end = world.live(plan(&world), LIFE);
    let facts = Facts { crashes: 1 };
    (
        facts,
        scenario::calm(&world).and_then(|()| judge(&world, 0)),
    )
}

/// Every run of the sweep.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for seed in 0..SEEDS {
        let world = world(seed, options(seed), 0);
        let before = world.disk.ops();
        let _end = world.live(plan(&world), LIFE);
        for op in 1..=world.disk.ops() - before {
            let at = |kill| Case::Disk(AtDisk { seed, op, kill });
            cases.push(at(false));
            if seed < SEEDS / 2 {
                cases.push(at(true));
            }
        }
    }
    for kind in 0..KINDS {
        let world = world(0, Options::default(), kind);
        world.net.record();
        let _end = world.live(plan(&world), LIFE);
        for (nth, lengths) in (1..).zip(world.net.recorded()) {
            for (outward, len) in [(true, lengths[0]), (false, lengths[1])] {
                cuts(kind, nth, outward, len, &mut cases);
            }
        }
    }
    cases
}

/// The cuts of one direction. The kinds of servers share the bytes.
fn cuts(kind: usize, nth: u64, outward: bool, len: u64, cases: &mut Vec<Case>) {
    let every = 0..len.min(EVERY_BYTE);
    let some = (EVERY_BYTE..len).filter(|after| after % STRIDE == 0 || *after == len - 1);
    for after in every.chain(some) {
        for (turn, ending) in [Ending::Reset, Ending::Silence, Ending::Close]
            .into_iter()
            .enumerate()
        {
            if (after as usize + turn) % KINDS != kind {
                continue;
            }
            let cut = Cut {
                outward,
                after,
                arriving: (after / KINDS as u64) % 2 == 1,
                ending,
            };
            cases.push(Case::Net(AtNet { kind, nth, cut }));
        }
    }
}
