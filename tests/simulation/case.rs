//! The runs there are, and how one of them is named.

use super::net::{Cut, Ending};
use super::runner::Facts;
use super::sabotages::Switched;
use super::scenario;
use super::sweep::{self, AtDisk, AtNet};

/// One run.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// Everything from a seed.
    Random {
        seed: u64,
        sabotage: Option<Switched>,
    },
    /// One delivery, ended at an operation on the disk.
    Disk(AtDisk),
    /// One delivery, ended on a connection.
    Net(AtNet),
}

impl Case {
    pub fn random(seed: u64) -> Case {
        Case::Random {
            seed,
            sabotage: None,
        }
    }

    pub fn run(self) -> (Facts, Result<(), String>) {
        match self {
            Case::Random { seed, sabotage } => {
                let _on = sabotage.map(Switched::on);
                scenario::random(seed, sabotage)
            }
            Case::Disk(at) => sweep::at_disk(at),
            Case::Net(at) => sweep::at_net(at),
        }
    }

    /// The command that repeats it.
    pub fn line(self) -> String {
        format!(
            "SIM_CASE={} cargo test --features sim --test simulation -- --nocapture",
            self.name()
        )
    }

    fn name(self) -> String {
        match self {
            Case::Random {
                seed,
                sabotage: None,
            } => format!("random:{seed}"),
            Case::Random {
                seed,
                sabotage: Some(sabotage),
            } => {
                format!("random:{seed}:{}", sabotage.name)
            }
            Case::Disk(AtDisk { seed, op, kill }) => {
                let how = if kill { "kill" } else { "cut" };
                format!("disk:{seed}:{op}:{how}")
            }
            Case::Net(AtNet { kind, nth, cut }) => {
                let way = if cut.outward { "out" } else { "in" };
                let place = if cut.arriving { "arriving" } else { "sent" };
                let (after, ending) = (cut.after, cut.ending);
                format!("net:{kind}:{nth}:{way}:{after}:{ending:?}:{place}")
            }
        }
    }

    /// The run that a name means.
    pub fn named(name: &str) -> Option<Case> {
        let parts: Vec<&str> = name.split(':').collect();
        match parts.as_slice() {
            ["random", seed] => Some(Case::random(seed.parse().ok()?)),
            ["random", seed, sabotage] => Some(Case::Random {
                seed: seed.parse().ok()?,
                sabotage: Some(Switched::named(sabotage)?),
            }),
            ["disk", seed, op, how] => Some(Case::Disk(AtDisk {
                seed: seed.parse().ok()?,
                op: op.parse().ok()?,
                kill: *how == "kill",
            })),
            ["net", kind, nth, way, after, ending, place] => Some(Case::Net(AtNet {
                kind: kind.parse().ok()?,
                nth: nth.parse().ok()?,
                cut: Cut {
                    outward: *way == "out",
                    after: after.parse().ok()?,
                    arriving: *place == "arriving",
                    ending: match *ending {
                        "Reset" => Ending::Reset,
                        "Silence" => Ending::Silence,
                        _ => Ending::Close,
                    },
                },
            })),
            _ => None,
        }
    }
}
