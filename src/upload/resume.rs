//! Whether an upload goes on, starts anew, or is there already: one table,
//! decided from what the server says is there.

use super::profile::Resuming;

/// What `SIZE` said before the upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// Nobody asked: this entry was never tried before.
    Unasked,
    /// No such file (or the server does not tell sizes).
    Missing,
    /// So many bytes.
    Bytes(u64),
}

/// What to do with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// `STOR` from the first byte.
    Store,
    /// `REST` to this offset, then `STOR`.
    Continue(u64),
    /// `APPE` from this offset.
    Append(u64),
    /// `DELE` the temporary file, then `STOR`: what is there is no prefix, and
    /// most servers do not cut off what lies behind the new bytes.
    Restart,
    /// Everything is there under the temporary name: check and publish.
    Complete,
    /// Everything is there under the final name, and the temporary name is
    /// gone: a reply was lost after the rename. Check, then settle.
    Published,
}

/// The table. `local` is the size of the entry, in bytes.
pub(super) fn plan(temporary: Remote, last: Remote, local: u64, resuming: Resuming) -> Plan {
    match (temporary, last) {
        (Remote::Bytes(there), _) if there > local => Plan::Restart,
        (Remote::Bytes(there), _) if there == local => Plan::Complete,
        // What a refused STOR leaves. Deleted, because some servers store
        // under another name rather than over a file.
        (Remote::Bytes(0), _) => Plan::Restart,
        (Remote::Bytes(there), _) => match resuming {
            Resuming::Rest => Plan::Continue(there),
            Resuming::Appe => Plan::Append(there),
            Resuming::Never => Plan::Restart,
        },
        (Remote::Missing, Remote::Bytes(there)) if there == local => Plan::Published,
        (Remote::Unasked | Remote::Missing, _) => Plan::Store,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Remote::{Bytes, Missing, Unasked};

    #[test]
    fn every_case_has_its_row() {
        let rest = Resuming::Rest;
        let cases = [
            (Unasked, Unasked, rest, Plan::Store),
            (Missing, Missing, rest, Plan::Store),
            (Missing, Bytes(99), rest, Plan::Store),
            (Missing, Bytes(100), rest, Plan::Published),
            (Unasked, Bytes(100), rest, Plan::Store),
            (Bytes(0), Missing, rest, Plan::Restart),
            (Bytes(40), Missing, rest, Plan::Continue(40)),
            (Bytes(40), Bytes(100), rest, Plan::Continue(40)),
            (Bytes(40), Missing, Resuming::Appe, Plan::Append(40)),
            (Bytes(40), Missing, Resuming::Never, Plan::Restart),
            (Bytes(100), Missing, rest, Plan::Complete),
            (Bytes(100), Bytes(100), Resuming::Never, Plan::Complete),
            (Bytes(101), Missing, rest, Plan::Restart),
            (Bytes(101), Bytes(100), Resuming::Appe, Plan::Restart),
        ];
        for (temporary, last, resuming, expected) in cases {
            assert_eq!(
                plan(temporary, last, 100, resuming),
                expected,
                "{temporary:?} {last:?} {resuming:?}"
            );
        }
    }

    #[test]
    fn nothing_is_ever_skipped_or_left_behind() {
        for there in 0..=12 {
            for local in 0..=10 {
                for resuming in [Resuming::Rest, Resuming::Appe, Resuming::Never] {
                    match plan(Bytes(there), Missing, local, resuming) {
                        Plan::Continue(at) | Plan::Append(at) => assert!(at == there && at < local),
                        Plan::Complete => assert_eq!(there, local),
                        Plan::Restart => assert_ne!(there, local),
                        Plan::Store => panic!("something is there"),
                        Plan::Published => panic!("a temporary file is not published"),
                    }
                }
            }
        }
    }
}
