//! The only door to the operating system.
//!
//! Disk ([`Fs`]), clock ([`Clock`]), randomness ([`Rng`]) and network ([`Net`])
//! each stand behind one narrow interface; [`Sys`] carries one of each, and the
//! [`Pool`] that blocking file work runs on; a connection with or without TLS on
//! it is a [`Wire`]. [`os`] is the real world. Nothing
//! else in the crate may name `std::fs`, `std::net`, `std::thread` or
//! `Instant::now`, so that a simulation which supplies its own `Sys` sees, and
//! can fail or delay, everything that the agent does.

pub mod os;

mod clock;
mod fs;
mod net;
mod pool;
mod tree;
mod wire;

pub use crate::base::{Mono, Wall};
pub use clock::{Clock, Rng, TimedOut, timeout};
pub use fs::{Create, Dir, DirEntry, File, Fs, Kind, Meta, Space, Writers, read_all, write_whole};
pub use net::{Listener, LocalFuture, Net, Stream};
pub use pool::{Job, Pool};
pub use tree::Tree;
pub use wire::{Tcp, Wire};

use std::sync::Arc;

/// One world to run in: the real one, or a simulated one.
#[derive(Clone)]
pub struct Sys {
    /// The disk.
    pub fs: Arc<dyn Fs>,
    /// Both clocks, and sleeping.
    pub clock: Arc<dyn Clock>,
    /// Randomness for jitter and identifiers; not for keys.
    pub rng: Arc<dyn Rng>,
    /// The network.
    pub net: Arc<dyn Net>,
    /// The threads that blocking file work runs on.
    pub pool: Pool,
}
