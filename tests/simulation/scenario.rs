//! What happens in one run.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use edgespool::spool::Standing;
use edgespool::sys::{Clock, Mono, Wall};

use super::disk::{Faults, Slowness};
use super::judge::judge;
use super::net::Weather;
use super::options::Options;
use super::runner::Facts;
use super::sabotages::Switched;
use super::server::{Manners, Moods};
use super::time::Dice;
use super::world::{End, Plan, SPOOL, World};

/// For so long things go wrong.
const STORM: Duration = Duration::from_secs(1800);
/// Later than any time that a clock ever said.
const LATER: Wall = Wall(2_200_100_000_000_000_000);
/// Two seconds before the year 2027 begins.
const YEARS_END: Wall = Wall(1_798_761_598_000_000_000);
/// What makes a seed's dice of time others than its first.
const TIME: u64 = 0x71e0;
/// The same for whether every file may be hit by a fault.
const EVERYWHERE: u64 = 0xe7e7;
/// Lives of the agent in calm weather until everything must be delivered.
const CALM_LIVES: u32 = 12;

pub fn random(seed: u64, sabotage: Option<Switched>) -> (Facts, Result<(), String>) {
    let dice = Dice::new(seed ^ 0x5eed);
    let options = Options::random(&dice);
    log::info!("{options:?}");
    let mut world = World::new(seed, options, Manners::random(&dice));
    let mut facts = Facts::default();
    // Of their own, so that seeds still mean what they meant before these came.
    let dice_of_time = Dice::new(seed ^ TIME);
    let everywhere = Dice::new(seed ^ EVERYWHERE).one_in(4);
    storm(&world, &dice, everywhere, sabotage);
    slow(&mut world, &dice_of_time);
    leap(&world, &dice_of_time);
    let careful = dice.percent(50);
    let mut producer = world.producer(dice.between(1, 10), Duration::from_secs(40), careful);
    producer.dawdles = dice_of_time.percent(40).then(|| dice_of_time.fork());
    world.spawn(producer.run());
    let rotten = match stormy_lives(&world, &dice, &mut facts) {
        Ok(rotten) => rotten,
        Err(why) => return (facts, Err(why)),
    };
    (facts, calm(&world).and_then(|()| judge(&world, rotten)))
}

fn storm(world: &World, dice: &Dice, everywhere: bool, sabotage: Option<Switched>) {
    let until = world.clock.mono().after(STORM);
    let rare = |most: u64| dice.pick(&[0, 0, most, most / 4]);
    world.disk.set_faults(Faults {
        one_in: rare(200),
        until,
        everywhere,
        left_out: sabotage.and_then(Switched::left_out),
    });
    world.net.set_weather(Weather {
        cut_one_in: rare(12),
        refuse_one_in: rare(20),
        within: 20_000,
        delay_max: dice.pick(&[
            Duration::ZERO,
            Duration::from_millis(300),
            Duration::from_secs(2),
        ]),
        until: until.0,
    });
    world.server.moods.set(Moods {
        refuse_one_in: rare(40),
        reject_one_in: rare(60),
        mute_one_in: rare(40),
        late_one_in: rare(20),
        close_one_in: rare(80),
        room: dice.one_in(5).then_some(20_000),
        until: until.0,
    });
    troubles(world, dice);
    wrong_times(world, dice);
}

/// The disk takes its time, or the threads that work on it have none.
fn slow(world: &mut World, dice: &Dice) {
    if !dice.one_in(3) {
        return;
    }
    world.disk.set_slowness(Slowness {
        one_in: dice.pick(&[5, 15, 60, 250]),
        until: world.clock.mono().after(STORM),
        dice: dice.fork(),
    });
    world.busy_threads = dice.percent(60).then(|| dice.fork());
}

/// Leap seconds, at the year's end or as a bad time server tells them.
fn leap(world: &World, dice: &Dice) {
    if !dice.one_in(5) {
        return;
    }
    let (clock, dice) = (world.clock.clone(), dice.fork());
    world.spawn(async move {
        for _ in 0..dice.between(1, 4) {
            clock.sleep(Duration::from_secs(dice.below(120))).await;
            if dice.percent(50) {
                clock.set_wall(YEARS_END);
                clock.sleep(Duration::from_secs(2)).await;
            }
            clock.leap(dice.percent(80));
        }
    });
}

/// What happens to the server and to the disk meanwhile.
fn troubles(world: &World, dice: &Dice) {
    if dice.one_in(3) {
        let (server, clock) = (world.server.clone(), world.clock.clone());
        let dice = dice.fork();
        world.spawn(async move {
            for _ in 0..dice.between(1, 4) {
                clock.sleep(Duration::from_secs(dice.below(300))).await;
                server.crash(Duration::from_secs(dice.below(60)));
            }
        });
    }
    if dice.one_in(5) {
        // It is away for a while, and a backlog grows.
        let away = Duration::from_secs(dice.between(60, 900));
        world.server.crash(away);
    }
    if dice.one_in(6) {
        let (disk, clock, dice) = (world.disk.clone(), world.clock.clone(), dice.fork());
        world.spawn(async move {
            for _ in 0..3 {
                clock.sleep(Duration::from_secs(dice.below(200))).await;
                disk.set_room(Some(dice.below(20_000)));
                clock.sleep(Duration::from_secs(dice.below(120))).await;
                disk.set_room(None);
            }
        });
    }
}

/// The device sleeps, and its clock is set.
fn wrong_times(world: &World, dice: &Dice) {
    if dice.one_in(8) {
        let (clock, dice) = (world.clock.clone(), dice.fork());
        world.spawn(async move {
            clock.sleep(Duration::from_secs(dice.below(200))).await;
            clock.suspend(Duration::from_secs(dice.below(600)));
        });
    }
    if dice.one_in(4) {
        let (clock, dice) = (world.clock.clone(), dice.fork());
        world.spawn(async move {
            for _ in 0..3 {
                clock.sleep(Duration::from_secs(dice.below(200))).await;
                clock.set_wall(dice.pick(&[
                    Wall(0),
                    Wall::from_secs(1_790_000_500),
                    Wall::from_secs(2_100_000_000),
                ]));
            }
        });
    }
}

/// Gives how many records were damaged.
fn stormy_lives(world: &World, dice: &Dice, facts: &mut Facts) -> Result<u64, String> {
    let end: Mono = world.clock.mono().after(STORM);
    let (rots, changes) = (dice.one_in(6), dice.one_in(6));
    let mut rotten = 0;
    for _ in 0..dice.between(1, 6) {
        if world.clock.mono() >= end {
            break;
        }
        if dice.percent(80) {
            world.disk.crash_after(dice.between(1, 150));
        }
        let span = Duration::from_secs(dice.between(1, 300));
        let plan = match world.options.serves {
            true => Plan::Run {
                stop: Duration::from_secs(dice.between(1, 400)),
                reload: dice.one_in(4),
            },
            false => Plan::Once(Duration::from_secs(dice.between(5, 120))),
        };
        match world.live(plan, span) {
            End::PowerCut | End::Stopped => facts.crashes += 1,
            End::Stuck => return Err("nothing goes on in a storm".into()),
            End::Outcome(_) | End::NotOpened(_) => {}
        }
        if rots && rotten == 0 {
            rotten += u64::from(rot(world, dice));
        }
        if changes {
            world.server.change(Manners::random(dice));
        }
        world.pass(Duration::from_secs(dice.below(30)));
    }
    world.disk.crash_after(u64::MAX / 2);
    if world.clock.mono() < end {
        world.pass(end.since(world.clock.mono()));
    }
    Ok(rotten)
}

/// Worn flash flips a bit of one of the spool's logs.
fn rot(world: &World, dice: &Dice) -> bool {
    let disk = world.disk.raw();
    let mut logs = disk.files(Path::new(SPOOL));
    logs.retain(|path| {
        let kind = path.extension().and_then(OsStr::to_str);
        matches!(kind, Some("log" | "chg")) && disk.content(path).is_some_and(|c| !c.is_empty())
    });
    if logs.is_empty() {
        return false;
    }
    let log = &logs[dice.size(logs.len())];
    let len = disk.content(log).map_or(0, |content| content.len());
    let at = dice.size(len);
    log::info!("bit rot in {} at {at}", log.display());
    disk.rot(log, at, u8::try_from(dice.below(8)).unwrap());
    true
}

/// All faults are over: everything must arrive.
pub fn calm(world: &World) -> Result<(), String> {
    if world.options.schedule.is_some() {
        // Schedules wait for a clock that is set.
        world.clock.set_wall(LATER);
    }
    let hours = if world.options.schedule.is_some() {
        30
    } else {
        4
    };
    let plan = match world.options.serves {
        true => Plan::Run {
            stop: Duration::from_secs(hours * 3600),
            reload: false,
        },
        false => Plan::Once(Duration::from_secs(1200)),
    };
    let mut last = None;
    for _ in 0..CALM_LIVES {
        let ended = world.live(plan, Duration::from_secs(hours * 3600 + 3600));
        let is_done = match &ended {
            End::Outcome(life) => {
                life.outcome.queued == 0
                    && (life.outcome.not_taken == 0 || world.options.serves)
                    && life.outcome.spool_failed.is_none()
            }
            End::NotOpened(why) => return Err(format!("the agent does not start: {why}")),
            End::Stuck => return Err("nothing goes on".into()),
            End::PowerCut | End::Stopped => false,
        };
        if is_done && !revive(world)? {
            return Ok(());
        }
        last = Some(ended.to_string());
    }
    Err(format!(
        "not all is delivered: {}",
        last.unwrap_or_default()
    ))
}

/// What an operator does about dead letters when the server is well again;
/// says whether there were any.
fn revive(world: &World) -> Result<bool, String> {
    let mut spool = world.open_spool().map_err(|e| format!("{e:?}"))?;
    let mut dead = Vec::new();
    let listed = spool.list(&mut |entry| {
        if entry.standing == Standing::Dead {
            dead.push((entry.id, entry.lane.clone(), entry.path.clone(), entry.size));
        }
        true
    });
    listed.map_err(|e| format!("{e:?}"))?;
    for (id, lane, path, size) in &dead {
        // What was overtaken by a newer version of its file is of no use any more.
        let done = match world.book.borrow().is_newest(lane, path, *size) {
            true => spool.retry(*id),
            false => spool.drop_entry(*id),
        };
        done.map_err(|e| format!("{e:?}"))?;
    }
    Ok(!dead.is_empty())
}
