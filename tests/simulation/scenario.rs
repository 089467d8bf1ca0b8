//! What happens in one run.

use std::time::Duration;

use edgespool::spool::Standing;
use edgespool::sys::{Clock, Mono, Wall};

use super::disk::Faults;
use super::judge::judge;
use super::net::Weather;
use super::runner::Facts;
use super::sabotages::Switched;
use super::server::{Manners, Moods};
use super::time::Dice;
use super::world::{End, Options, World};

/// For so long things go wrong.
const STORM: Duration = Duration::from_secs(1800);
/// Lives of the agent in calm weather until everything must be delivered.
const CALM_LIVES: u32 = 12;

pub fn random(seed: u64, sabotage: Option<Switched>) -> (Facts, Result<(), String>) {
    let dice = Dice::new(seed ^ 0x5eed);
    let options = Options {
        connections: dice.pick(&[1, 1, 2]),
        newest_first: dice.one_in(5),
        wall: dice.pick(&[
            Wall::from_secs(1_790_000_000),
            Wall::from_secs(1_790_000_000),
            Wall::from_secs(60),
            Wall::from_secs(2_200_000_000),
        ]),
        ..Options::default()
    };
    let world = World::new(seed, options, Manners::random(&dice));
    let mut facts = Facts::default();
    storm(&world, &dice, sabotage);
    let careful = dice.percent(50);
    let producer = world.producer(dice.between(1, 10), Duration::from_secs(40), careful);
    world.spawn(producer.run());
    if let Err(why) = stormy_lives(&world, &dice, &mut facts) {
        return (facts, Err(why));
    }
    (facts, calm(&world).and_then(|()| judge(&world, false)))
}

fn storm(world: &World, dice: &Dice, sabotage: Option<Switched>) {
    let until = world.clock.mono().after(STORM);
    let rare = |most: u64| dice.pick(&[0, 0, most, most / 4]);
    world.disk.set_faults(Faults {
        one_in: rare(200),
        until,
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

fn stormy_lives(world: &World, dice: &Dice, facts: &mut Facts) -> Result<(), String> {
    let end: Mono = world.clock.mono().after(STORM);
    let lives = dice.between(1, 6);
    for _ in 0..lives {
        if world.clock.mono() >= end {
            break;
        }
        if dice.percent(70) {
            world.disk.crash_after(dice.between(1, 150));
        }
        let span = Duration::from_secs(dice.between(1, 300));
        let ended = world.live(Duration::from_secs(dice.between(5, 120)), span);
        match ended {
            End::PowerCut | End::Stopped => facts.crashes += 1,
            End::Stuck => return Err("nothing goes on in a storm".into()),
            End::Outcome(_) | End::NotOpened(_) => {}
        }
        world.pass(Duration::from_secs(dice.below(30)));
    }
    world.disk.crash_after(u64::MAX / 2);
    if world.clock.mono() < end {
        world.pass(end.since(world.clock.mono()));
    }
    Ok(())
}

/// All faults are over: everything must arrive.
fn calm(world: &World) -> Result<(), String> {
    let mut last = None;
    for _ in 0..CALM_LIVES {
        let ended = world.live(Duration::from_secs(1200), Duration::from_secs(20_000));
        match &ended {
            End::Outcome(outcome)
                if outcome.queued == 0
                    && outcome.not_taken == 0
                    && outcome.spool_failed.is_none() =>
            {
                if !revive(world)? {
                    return Ok(());
                }
            }
            End::NotOpened(why) => return Err(format!("the agent does not start: {why}")),
            End::Stuck => return Err("nothing goes on".into()),
            _ => {}
        }
        last = Some(ended);
    }
    Err(format!("not all is delivered: {last:?}"))
}

/// What an operator does about dead letters when the server is well again;
/// says whether there were any.
fn revive(world: &World) -> Result<bool, String> {
    let mut spool = world.open_spool().map_err(|e| format!("{e:?}"))?;
    let mut dead = Vec::new();
    let listed = spool.list(&mut |entry| {
        if entry.standing == Standing::Dead {
            dead.push((entry.id, entry.path.clone(), entry.size));
        }
        true
    });
    listed.map_err(|e| format!("{e:?}"))?;
    for (id, path, size) in &dead {
        // What was overtaken by a newer version of its file is of no use any more.
        let done = match world.book.borrow().is_newest(path, *size) {
            true => spool.retry(*id),
            false => spool.drop_entry(*id),
        };
        done.map_err(|e| format!("{e:?}"))?;
    }
    Ok(!dead.is_empty())
}
