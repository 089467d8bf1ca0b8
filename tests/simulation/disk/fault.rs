//! Disks that fail: how often, with what, until when; and flushes that are left
//! out on purpose.

use std::io;
use std::path::Path;

use edgespool::sys::Mono;

use crate::time::Dice;

/// What is done to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Open,
    Read,
    Create,
    Write,
    Rename,
    Unlink,
    Sync,
    SyncDir,
    SyncFs,
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

/// How a disk misbehaves.
#[derive(Clone, Default)]
pub struct Faults {
    /// One in so many operations fails; 0: none.
    pub one_in: u64,
    /// From here on the disk is sound.
    pub until: Mono,
    /// Every file may be hit, also those of the producers.
    pub everywhere: bool,
    /// Flushes that report success and do nothing: what a program that forgets
    /// the flush leaves.
    pub left_out: Option<LeftOut>,
}

/// Which flushes are left out.
#[derive(Clone, Copy, Debug)]
pub struct LeftOut {
    pub op: Op,
    /// Below this directory.
    pub below: &'static str,
    /// How the path ends.
    pub ending: &'static str,
}

impl Faults {
    pub fn roll(&self, op: Op, path: &Path, now: Mono, dice: &Dice) -> Option<io::Error> {
        if now >= self.until || !dice.one_in(self.one_in) {
            return None;
        }
        let is_spared =
            !path.starts_with("/spool") || (op == Op::Read && path.extension().is_some());
        if is_spared && !self.everywhere {
            return None;
        }
        let codes: &[i32] = match op {
            Op::Open | Op::Read | Op::Sync | Op::SyncDir | Op::SyncFs => &[EIO],
            Op::Unlink => &[EIO, EROFS],
            Op::Create | Op::Write | Op::Rename => &[ENOSPC, ENOSPC, EDQUOT, EIO, EROFS],
        };
        Some(io::Error::from_raw_os_error(dice.pick(codes)))
    }

    pub fn skips(&self, op: Op, path: &Path) -> bool {
        self.left_out.is_some_and(|left_out| {
            left_out.op == op
                && path.starts_with(left_out.below)
                && path.to_string_lossy().ends_with(left_out.ending)
        })
    }
}
