//! What a power cut leaves.

use super::{Inode, State, Write};
use crate::time::Dice;

/// A sector is written whole or not at all, mostly.
const SECTOR: usize = 512;

pub fn power_cut(state: &mut State) {
    state.cuts += 1;
    let dice = state.dice.fork();
    // Names: all, none, or any that could have been stored.
    match dice.below(4) {
        0 => {}
        1 => state.tree.flush_all(),
        _ => state.tree.keep(|_| dice.percent(50)),
    }
    state.tree.unflushed.clear();
    // A name whose directory was not stored is gone with it.
    let stored = state.tree.stored.clone();
    state.tree.stored.retain(|path, _| {
        let mut above = path
            .ancestors()
            .skip(1)
            .filter(|dir| dir.parent().is_some());
        above.all(|dir| stored.contains_key(dir))
    });
    state.tree.now = state.tree.stored.clone();
    for inode in state.inodes.values_mut() {
        settle(inode, &dice);
    }
    let alive: std::collections::BTreeSet<u64> = state.tree.now.values().copied().collect();
    state.inodes.retain(|ino, _| alive.contains(ino));
    (state.crashed, state.crash_at, state.locked) = (false, None, false);
}

fn settle(inode: &mut Inode, dice: &Dice) {
    inode.writers = 0;
    let writes = std::mem::take(&mut inode.unflushed);
    let fate = dice.below(4);
    for write in &writes {
        match fate {
            0 => {}
            1 => write.apply(&mut inode.stored),
            _ if dice.percent(40) => write.apply(&mut inode.stored),
            _ if dice.percent(50) => tear(write, dice).apply(&mut inode.stored),
            _ => {}
        }
    }
    inode.now = inode.stored.clone();
}

/// A part of a write: its beginning, its beginning and then zeros, or all but a
/// sector that stayed zero.
fn tear(write: &Write, dice: &Dice) -> Write {
    let Write::At(offset, data) = write else {
        return write.clone();
    };
    if dice.percent(30) {
        // The new length was stored, and only a part of what it is for.
        let mut data = data.clone();
        let end = dice.size(data.len() + 1);
        data[end..].fill(0);
        return Write::At(*offset, data);
    }
    if dice.percent(70) || data.len() <= SECTOR {
        return Write::At(*offset, data[..dice.size(data.len() + 1)].to_vec());
    }
    let mut data = data.clone();
    let hole = dice.size(data.len() / SECTOR) * SECTOR;
    data[hole..hole + SECTOR].fill(0);
    Write::At(*offset, data)
}
