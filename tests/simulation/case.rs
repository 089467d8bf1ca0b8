//! The runs there are, and how one of them is named.

use super::runner::Facts;
use super::sabotages::Switched;
use super::scenario;

/// One run.
#[derive(Clone, Copy, Debug)]
pub enum Case {
    /// Everything from a seed.
    Random {
        seed: u64,
        sabotage: Option<Switched>,
    },
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
            _ => None,
        }
    }
}
