//! Asks the kernel whether anyone has a file open for writing.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::sys::Writers;

/// A writer that opens a file in the instant in which a lease is held makes the
/// kernel send SIGIO, whose default action ends the process. It is of no use
/// here, so it is ignored for good.
pub(super) fn ignore_lease_breaks() {
    // SAFETY: SIG_IGN installs no handler, so nothing of ours runs in signal context.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

/// Tries a read lease, which Linux refuses with EAGAIN while a writer exists,
/// and gives it back at once (fcntl(2), F_SETLEASE). It needs the file to be
/// ours, or CAP_LEASE; some filesystems have none.
pub(super) fn writers(path: &Path) -> io::Result<Writers> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat(CWD, path, flags, Mode::empty())?;
    let set = |kind: libc::c_int| -> io::Result<()> {
        // SAFETY: F_SETLEASE takes an int by value and touches no memory of ours;
        // the descriptor is open for as long as `file` lives.
        let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    match set(libc::F_RDLCK) {
        Ok(()) => {
            // Closing the file gives the lease back as well.
            let _closing_does_it_too = set(libc::F_UNLCK);
            Ok(Writers::None)
        }
        Err(e) if e.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => Ok(Writers::Some),
        Err(_) => Ok(Writers::Unknown),
    }
}
