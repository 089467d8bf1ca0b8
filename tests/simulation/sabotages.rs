//! The sabotages that must be noticed: faults in the code, and flushes that are
//! left out.

use edgespool::base::sabotage::{self, Sabotage};

use super::disk::{LeftOut, Op};

/// A sabotage.
#[derive(Clone, Copy, Debug)]
pub struct Switched {
    pub name: &'static str,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Code(Sabotage),
    LeftOut(LeftOut),
}

const fn code(name: &'static str, what: Sabotage) -> Switched {
    Switched {
        name,
        what: What::Code(what),
    }
}

const fn left_out(
    name: &'static str,
    op: Op,
    below: &'static str,
    ending: &'static str,
) -> Switched {
    let what = What::LeftOut(LeftOut { op, below, ending });
    Switched { name, what }
}

pub const ALL: &[Switched] = &[
    left_out(
        "no-flush-of-blob-directory",
        Op::SyncDir,
        "/spool/lanes",
        "0",
    ),
    left_out("no-flush-of-lane-log", Op::Sync, "/spool/lanes", ".log"),
    left_out("no-flush-of-ledger", Op::Sync, "/spool/ledger", ""),
    left_out("no-flush-of-source-directory", Op::SyncDir, "/data", ""),
    left_out("no-flush-of-source", Op::Sync, "/data", ""),
    left_out("no-flush-of-copy", Op::Sync, "/spool/lanes", ".part"),
    code("settle-before-rename", Sabotage::SettleBeforeRename),
    code("trust-torn-record", Sabotage::TrustTornRecord),
    code(
        "forget-check-after-resume",
        Sabotage::ForgetCheckAfterResume,
    ),
    code("believe-any-reply", Sabotage::BelieveAnyReply),
    code("never-look", Sabotage::NeverLook),
    code("take-open-files", Sabotage::TakeOpenFiles),
    code("size-is-evidence", Sabotage::SizeIsEvidence),
    code("any-order", Sabotage::AnyOrder),
    code("remove-source-early", Sabotage::RemoveSourceEarly),
    code("delete-whole", Sabotage::DeleteWhole),
    code("forget-receipts", Sabotage::ForgetReceipts),
    code("cut-at-damage", Sabotage::CutAtDamage),
    code("believe-failed-flush", Sabotage::BelieveFailedFlush),
    code("evict-silently", Sabotage::EvictSilently),
    code("keep-what-came", Sabotage::KeepWhatCame),
    code("remove-what-came", Sabotage::RemoveWhatCame),
];

/// Switches the sabotage off again.
pub struct On;

impl Drop for On {
    fn drop(&mut self) {
        sabotage::switch(None);
    }
}

impl Switched {
    pub fn named(name: &str) -> Option<Switched> {
        ALL.iter().copied().find(|sabotage| sabotage.name == name)
    }

    /// Switches it on in this thread.
    pub fn on(self) -> On {
        if let What::Code(fault) = self.what {
            sabotage::switch(Some(fault));
        }
        On
    }

    /// The flushes that it leaves out.
    pub fn left_out(self) -> Option<LeftOut> {
        match self.what {
            What::Code(_) => None,
            What::LeftOut(left_out) => Some(left_out),
        }
    }
}
