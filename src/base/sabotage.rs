//! Deliberate faults in the code, which the simulation switches on one at a time
//! to see that it would notice them. Without the feature `sim` there are none.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// An entry counts as delivered before it has its final name.
    SettleBeforeRename,
    /// A frame of a log is believed without its checksum.
    TrustTornRecord,
    /// An upload that went on in the midst of a file is not checked.
    ForgetCheckAfterResume,
    /// A 226 is believed, whatever it was for.
    BelieveAnyReply,
    /// Nobody looks at the server before sending again.
    NeverLook,
    /// A file is taken while its writer has it open.
    TakeOpenFiles,
    /// A file of the same length counts as this very version.
    SizeIsEvidence,
    /// The versions of one file go in any order.
    AnyOrder,
    /// A source that is copied goes before its record is durable.
    RemoveSourceEarly,
    /// A whole file under its temporary name is deleted to be sent anew.
    DeleteWhole,
    /// Receipts are not looked at when the spool is opened.
    ForgetReceipts,
    /// What was found damaged takes all that stands behind it along.
    CutAtDamage,
    /// A failed flush counts as one that succeeded.
    BelieveFailedFlush,
    /// What is evicted has no receipt.
    EvictSilently,
    /// What was renamed in counts as the file that was looked at before.
    KeepWhatCame,
    /// The source of a copy goes, whatever stands there by now.
    RemoveWhatCame,
}

#[cfg(feature = "sim")]
thread_local! {
    static ON: std::cell::Cell<Option<Sabotage>> = const { std::cell::Cell::new(None) };
}

/// Switches one fault on for this thread, or all off.
#[cfg(feature = "sim")]
pub fn switch(sabotage: Option<Sabotage>) {
    ON.set(sabotage);
}

/// Whether a fault is switched on.
#[cfg(feature = "sim")]
pub(crate) fn is_on(sabotage: Sabotage) -> bool {
    ON.get() == Some(sabotage)
}

/// Whether a fault is switched on: never.
#[cfg(not(feature = "sim"))]
pub(crate) const fn is_on(_: Sabotage) -> bool {
    false
}
