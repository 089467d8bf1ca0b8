//! Blocks of ports, each for one server at a time on this machine: a control
//! port and its passive ports. They lie below the range that the kernel hands
//! out to outgoing connections.

use std::fs::{self, File};
use std::net::{IpAddr, TcpListener};

use rustix::fs::{FlockOperation, flock};

use super::install::cache_dir;

/// A block of ports, ours until dropped.
pub struct Block {
    pub first: u16,
    pub last: u16,
    /// The kernel releases the lock with the descriptor, however we end.
    _lock: File,
}

impl Block {
    /// Takes a block that nobody uses.
    pub fn take(host: IpAddr) -> Self {
        let dir = cache_dir().join("ports");
        fs::create_dir_all(&dir).unwrap();
        for first in (FIRST..LAST).step_by(usize::from(SIZE)) {
            let lock = File::create(dir.join(first.to_string())).unwrap();
            let last = first + SIZE - 1;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
                && (first..=last).all(|port| TcpListener::bind((host, port)).is_ok())
            {
                return Self {
                    first,
                    last,
                    _lock: lock,
                };
            }
        }
        panic!("no {SIZE} ports are free between {FIRST} and {LAST}");
    }
}

const FIRST: u16 = 10_000;
const LAST: u16 = 19_960;
const SIZE: u16 = 40;
