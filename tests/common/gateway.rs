//! An agent that receives: `edgespool run` with `[receive]`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use super::servers::Block;
use super::{Agent, wait_until};

/// An agent whose receiver is on a port of its own, kept across restarts.
pub struct Gateway {
    pub agent: Agent,
    ports: Block,
}

impl Gateway {
    /// `central` is the section of the server that the watch `camera`, which has
    /// no directory, uploads to; `receive` are more keys of `[receive]`, and its
    /// users.
    pub fn new(central: &str, receive: &str) -> Gateway {
        let gateway = Gateway {
            agent: Agent::new(),
            ports: Block::take([127, 0, 0, 1].into()),
        };
        let (addr, passive) = (gateway.addr(), gateway.passive());
        gateway.agent.write_config(&format!(
            "device = \"test\"\n[spool]\ndir = \"spool\"\nmin_free = \"0\"\n{central}\n\
             [[watch]]\nname = \"camera\"\nserver = \"central\"\nremote = \"/{{path}}\"\n\
             [retry]\nfirst = \"100ms\"\nmax = \"500ms\"\n\
             [receive]\nlisten = \"{addr}\"\npassive_ports = \"{}-{}\"\n{receive}\n",
            passive.start(),
            passive.end(),
        ));
        gateway
    }

    /// A section for [`Gateway::new`] of a server that is never there.
    pub fn nowhere() -> &'static str {
        "[[server]]\nname = \"central\"\nhost = \"127.0.0.1\"\nport = 9\ntls = \"none\"\n\
         user = \"nobody\"\npassword = \"nothing\"\n"
    }

    /// Where it receives.
    pub fn addr(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.ports.first).into()
    }

    /// Where its data connections go.
    pub fn passive(&self) -> RangeInclusive<u16> {
        self.ports.first + 1..=self.ports.last
    }

    /// Runs the agent until it receives.
    pub fn start(&mut self) {
        self.agent.start(&["-v", "run"]);
        wait_until("it receives", || {
            self.agent.stderr().contains("receive: listening on")
        });
    }
}
