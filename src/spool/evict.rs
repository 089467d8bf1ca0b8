//! Room: what is let in, and what goes to make room.

use std::collections::BTreeSet;

use super::leave::Settlement;
use super::ledger::{Proof, Receipt, SETTLE_BATCH};
use super::segment::State;
use super::take::{How, Taking, answer, check};
use super::{EntryId, Spool, SpoolError, TakeError, WhenFull};

impl Spool {
    /// Decides which files of a batch are let in; gives their places in it.
    pub(super) fn admit(
        &mut self,
        lane: &str,
        batch: &[Taking],
        answers: &mut [Option<Result<EntryId, TakeError>>],
    ) -> Result<Vec<usize>, SpoolError> {
        let mut admitted = Vec::with_capacity(batch.len());
        let mut offered = BTreeSet::new();
        // What is held, and what this batch adds.
        let mut held = self.held_bytes();
        let mut disk = self.room_on_disk()?;
        for (at, taking) in batch.iter().enumerate() {
            if let Err(error) = check(&*self.core.fs, taking) {
                answer(answers, at, Err(error));
                continue;
            }
            // Offered again before the first offer was dealt with.
            let known = match offered.insert(&taking.source) {
                true => self.known(lane, taking)?,
                false => Some(TakeError::Twice),
            };
            if let Some(known) = known {
                answer(answers, at, Err(known));
                continue;
            }
            let size = taking.expect.size;
            let on_disk = match taking.how {
                How::Move if taking.expect.dev == self.dev && self.core.trusts(&taking.expect) => 0,
                _ => size,
            };
            let max = self.options.max_size;
            let fit = |disk: Option<u64>, held: u64| {
                disk.is_some_and(|room| room >= on_disk) && max.saturating_sub(held) >= size
            };
            let mut fits = fit(disk, held);
            if !fits
                && self.options.when_full == WhenFull::DropOldest
                && size <= self.options.max_size
            {
                let before = self.held_bytes();
                let more = held.saturating_sub(before);
                self.evict(lane, more + size, on_disk)?;
                disk = self.room_on_disk()?;
                held = self.held_bytes() + more;
                fits = fit(disk, held);
            }
            if fits {
                held = held.saturating_add(size);
                disk = disk.map(|room| room - on_disk);
                admitted.push(at);
            } else if self.options.when_full == WhenFull::DropNewest {
                let dropped = self.drop_newest(lane, taking)?;
                answer(answers, at, Err(dropped));
            } else {
                answer(answers, at, Err(TakeError::Full { size }));
            }
        }
        Ok(admitted)
    }

    /// How many bytes a file of which `staged` bytes are on this filesystem
    /// already may grow by, and be taken then.
    ///
    /// # Errors
    /// What the disk says.
    pub fn free_room(&self, staged: u64) -> Result<u64, SpoolError> {
        self.core.check_writable()?;
        let disk = self.room_on_disk()?.unwrap_or(0);
        let left = self.options.max_size.saturating_sub(self.held_bytes());
        Ok(disk.min(left.saturating_sub(staged)))
    }

    /// Whether a file of which `staged` bytes are on this filesystem already may
    /// grow by `more`. With [`WhenFull::DropOldest`] the oldest entries go for it
    /// now.
    ///
    /// # Errors
    /// What the disk says.
    pub fn has_room(&mut self, lane: &str, staged: u64, more: u64) -> Result<bool, SpoolError> {
        if self.free_room(staged)? >= more {
            return Ok(true);
        }
        let size = staged.saturating_add(more);
        if self.options.when_full != WhenFull::DropOldest || size > self.options.max_size {
            return Ok(false);
        }
        self.evict(lane, size, more)?;
        Ok(self.free_room(staged)? >= more)
    }

    /// Whether this version was taken before.
    fn known(&mut self, lane: &str, taking: &Taking) -> Result<Option<TakeError>, SpoolError> {
        match taking.how {
            How::Copy => {
                let (size, mtime_ns) = (taking.expect.size, taking.expect.mtime_ns);
                let seen = self.is_seen(lane, &taking.path, size, mtime_ns)?;
                Ok(seen.then_some(TakeError::Twice))
            }
            How::Move => self.known_stay(lane, taking),
        }
    }

    /// Bytes that may still be copied in; `None` below `min_free`.
    fn room_on_disk(&self) -> Result<Option<u64>, SpoolError> {
        let dir = &self.core.dir;
        let space = self
            .core
            .fs
            .space(dir)
            .map_err(SpoolError::io("ask for room in", dir))?;
        Ok(space.free.checked_sub(self.options.min_free))
    }

    fn held_bytes(&self) -> u64 {
        let held = self
            .lanes
            .values()
            .map(|lane| lane.waiting().plus(lane.dead()).bytes);
        // What waits for the archive still takes its room.
        held.sum::<u64>().saturating_add(self.core.outbox.bytes())
    }

    /// Evicts the oldest waiting entries until `more` bytes fit: of this lane
    /// first, then of the fullest one.
    fn evict(&mut self, lane: &str, more: u64, on_disk: u64) -> Result<(), SpoolError> {
        loop {
            let disk = self.room_on_disk()?;
            if self.options.max_size.saturating_sub(self.held_bytes()) >= more
                && disk.is_some_and(|room| room >= on_disk)
            {
                return Ok(());
            }
            let own = self.lanes.get(lane).is_some_and(|l| l.waiting().files > 0);
            let fullest = self.lanes.iter().max_by_key(|(_, l)| l.waiting().bytes);
            let from = match fullest {
                _ if own => lane.to_owned(),
                Some((name, l)) if l.waiting().files > 0 => name.clone(),
                _ => return Ok(()),
            };
            let missing =
                more.saturating_sub(self.options.max_size.saturating_sub(self.held_bytes()));
            let missing_on_disk = on_disk.saturating_sub(disk.unwrap_or(0));
            let victims = self.victims(&from, missing.max(missing_on_disk).max(1))?;
            if victims.is_empty() {
                return Ok(());
            }
            log::warn!(
                "the spool is full: {} of the oldest files of {from} are evicted",
                victims.len()
            );
            self.settle(&victims)?;
        }
    }

    /// The oldest waiting entries of a lane, `bytes` in all if there are.
    fn victims(&mut self, lane: &str, bytes: u64) -> Result<Vec<Settlement>, SpoolError> {
        let mut victims = Vec::new();
        let mut found = 0;
        let now_ns = self.core.clock.wall().0;
        self.visit(lane, &mut |state, entry| {
            if state == State::Waiting {
                found += entry.queued_size.max(1);
                victims.push(Settlement {
                    id: entry.id,
                    receipt: entry.receipt(now_ns, Proof::Evicted),
                });
            }
            found < bytes && victims.len() < SETTLE_BATCH
        })?;
        Ok(victims)
    }

    /// Records that a new file is dropped, then drops it, unless it changed
    /// meanwhile.
    fn drop_newest(&mut self, lane: &str, taking: &Taking) -> Result<TakeError, SpoolError> {
        let receipt = Receipt {
            id: None,
            time_ns: self.core.clock.wall().0,
            watch: lane.to_owned(),
            path: taking.path.clone(),
            server: String::new(),
            remote: Vec::new(),
            size: taking.expect.size,
            proof: Proof::Evicted,
            attempts: 0,
            sent_bytes: 0,
            seconds: 0.0,
        };
        self.enter(&[&receipt])?;
        if let Err(changed) = check(&*self.core.fs, taking) {
            return Ok(changed);
        }
        log::warn!("the spool is full: {} is dropped", taking.source.display());
        match taking.how {
            How::Move => {
                // What comes in this very instant is dropped too: it is newer still.
                let gone = self.core.fs.unlink(&taking.source);
                gone.map_err(SpoolError::io("remove", &taking.source))?;
            }
            How::Copy => {
                let (core, lane) = self.parts(lane)?;
                if let Some(seen) = &mut lane.seen {
                    seen.insert(&taking.path, taking.expect.size, taking.expect.mtime_ns);
                    // No record of an entry stands for it.
                    let synced = seen.sync();
                    core.written(synced, "write the seen files of", &lane.dir)?;
                }
            }
        }
        Ok(TakeError::Dropped)
    }
}
