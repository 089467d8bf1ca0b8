//! How much of what was written to a socket the peer has not acknowledged.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// `SIOCOUTQ` of the kernel's `linux/sockios.h`, the same number as `TIOCOUTQ`
/// (which differs on MIPS, PowerPC and SPARC; there nobody is asked).
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes in the socket's send queue; `None` where it cannot be told.
pub(super) fn bytes(socket: BorrowedFd<'_>) -> Option<u64> {
    if cfg!(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "powerpc64"
    )) {
        return None;
    }
    // SAFETY: SIOCOUTQ reads nothing and writes one `int`, which is what
    // `Getter<_, c_int>` gives it room for.
    let unacked = unsafe { ioctl(socket, Getter::<SIOCOUTQ, c_int>::new()) };
    unacked.ok().and_then(|n| u64::try_from(n).ok())
}
