//! Threads of another process that stand still.
#![allow(unsafe_code)]

use std::fs;
use std::ptr::null_mut;

/// Threads that are stopped, one by one, as a debugger does it; they go on when
/// this is dropped, which the thread that made it must do.
pub(crate) struct Frozen(Vec<libc::pid_t>);

impl Frozen {
    /// Stops the threads of `pid` whose name begins so.
    pub(crate) fn threads_of(pid: u32, name: &str) -> Frozen {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let tasks = tasks.map(|task| task.unwrap().path());
        let named = tasks.filter(|task| {
            let comm = fs::read_to_string(task.join("comm")).unwrap();
            comm.starts_with(name)
        });
        let threads: Vec<libc::pid_t> = named
            .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
            .collect();
        assert!(!threads.is_empty(), "no thread is called {name}");
        for thread in &threads {
            freeze(*thread);
        }
        Frozen(threads)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for thread in &self.0 {
            // SAFETY: detaching touches no memory of ours.
            unsafe {
                libc::ptrace(
                    libc::PTRACE_DETACH,
                    *thread,
                    null_mut::<()>(),
                    null_mut::<()>(),
                )
            };
        }
    }
}

fn freeze(thread: libc::pid_t) {
    for request in [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT] {
        // SAFETY: neither request touches memory of ours.
        let done = unsafe { libc::ptrace(request, thread, null_mut::<()>(), null_mut::<()>()) };
        let error = std::io::Error::last_os_error();
        assert_eq!(done, 0, "thread {thread} cannot be traced: {error}");
    }
    let mut status = 0;
    // SAFETY: `status` lives until the call ends.
    let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
    assert_eq!(waited, thread);
    assert!(libc::WIFSTOPPED(status));
}
