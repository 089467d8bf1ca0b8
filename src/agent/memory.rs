//! What an agent hands to the one that follows it at a reload: a new config is
//! no news about the servers that it left as they were.

use std::collections::BTreeMap;

use super::Agent;
use super::delivery::Tries;
use crate::schedule::RetryOptions;
use crate::spool::EntryId;
use crate::supervisor::{LaneId, LaneMemory, ServerId, ServerMemory};
use crate::sys::Mono;
use crate::upload::ServerOptions;

/// What outlives a reload, for [`Setup::memory`](super::setup::Setup::memory).
#[derive(Clone, Debug)]
pub struct Memory {
    started: Mono,
    delivered: (u64, u64),
    received: (u64, u64),
    retry: RetryOptions,
    servers: Vec<KnownServer>,
    lanes: Vec<KnownLane>,
    tries: BTreeMap<EntryId, Tries>,
}

#[derive(Clone, Debug)]
struct KnownServer {
    options: ServerOptions,
    health: ServerMemory,
    last_error: Option<String>,
    said: Option<Mono>,
}

#[derive(Clone, Debug)]
struct KnownLane {
    watch: String,
    server: ServerOptions,
    refusals: LaneMemory,
}

impl Memory {
    /// When the first agent of this process started.
    pub(super) fn started(&self) -> Mono {
        self.started
    }
}

impl Agent {
    /// What the next agent should know. Ask when this one has ended.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let state = self.state.borrow();
        let servers = self.setup.servers.iter().zip(&self.servers).enumerate();
        let servers = servers.filter_map(|(place, (setup, slot))| {
            Some(KnownServer {
                options: setup.options.clone(),
                health: state.server_memory(ServerId(place))?,
                last_error: slot.last_error.borrow().clone(),
                said: slot.said.get(),
            })
        });
        let lanes = self.setup.lanes.iter().enumerate();
        let lanes = lanes.filter_map(|(place, lane)| {
            Some(KnownLane {
                watch: lane.watch.name.clone(),
                server: self.setup.servers.get(lane.server)?.options.clone(),
                refusals: state.lane_memory(LaneId(place))?,
            })
        });
        Memory {
            started: self.started,
            delivered: self.delivered.get(),
            received: self.receiving.received.get(),
            retry: self.setup.retry,
            servers: servers.collect(),
            lanes: lanes.collect(),
            tries: self.tries.borrow().clone(),
        }
    }

    /// Goes on with what the agent before knew of what the config left unchanged.
    pub(super) fn recall(&self, memory: &Memory) {
        self.delivered.set(memory.delivered);
        self.receiving.received.set(memory.received);
        self.tries.borrow_mut().clone_from(&memory.tries);
        if memory.retry != self.setup.retry {
            return;
        }
        let mut state = self.state.borrow_mut();
        for (place, (setup, slot)) in self.setup.servers.iter().zip(&self.servers).enumerate() {
            let same = |known: &&KnownServer| known.options == setup.options;
            if let Some(known) = memory.servers.iter().find(same) {
                state.recall_server(ServerId(place), known.health.clone());
                slot.last_error.borrow_mut().clone_from(&known.last_error);
                slot.said.set(known.said);
            }
        }
        for (place, lane) in self.setup.lanes.iter().enumerate() {
            let server = self.setup.servers.get(lane.server).map(|s| &s.options);
            let same = |known: &&KnownLane| {
                known.watch == lane.watch.name && Some(&known.server) == server
            };
            if let Some(known) = memory.lanes.iter().find(same) {
                state.recall_lane(LaneId(place), known.refusals.clone());
            }
        }
    }
}
