//! A small, fixed number of threads for blocking file work.

use std::io;
use std::thread;

use smol::channel;

/// Work that was handed to a pool.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs closures that may block, away from the executor's thread.
#[derive(Clone)]
pub struct Pool {
    jobs: Option<channel::Sender<Job>>,
}

impl Pool {
    /// A pool of `threads` threads. They end when the last clone is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize) -> io::Result<Pool> {
        let (pool, receiver) = Pool::queue(threads.max(1) * 4);
        for n in 0..threads.max(1) {
            let receiver = receiver.clone();
            thread::Builder::new()
                .name(format!("disk-{n}"))
                .stack_size(256 << 10)
                .spawn(move || {
                    while let Ok(job) = receiver.recv_blocking() {
                        job();
                    }
                })?;
        }
        Ok(pool)
    }

    /// A pool of at most `len` jobs that wait, and where they are taken from:
    /// whoever takes them decides when each of them is done.
    #[must_use]
    pub fn queue(len: usize) -> (Pool, channel::Receiver<Job>) {
        let (sender, receiver) = channel::bounded(len);
        (Pool { jobs: Some(sender) }, receiver)
    }

    /// A pool that runs each closure at once on the caller's thread, for a
    /// simulation in which nothing may happen side by side.
    #[must_use]
    pub fn inline() -> Pool {
        Pool { jobs: None }
    }

    /// Runs `work` on one of the threads and gives its result. Dropping the
    /// future does not stop work that has begun.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(jobs) = &self.jobs else {
            return work();
        };
        let (done, result) = channel::bounded(1);
        let job: Job = Box::new(move || {
            let _receiver_gone = done.try_send(work());
        });
        if let Err(refused) = jobs.send(job).await {
            // Unreachable while `self` holds a sender and the threads hold a
            // receiver; running it here is right all the same.
            (refused.0)();
        }
        match result.recv().await {
            Ok(value) => value,
            // The closure panicked and its thread is gone: never report success.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_a_thread_of_the_pool_and_its_result_comes_back() {
        let pool = Pool::new(2).unwrap();
        let name = smol::block_on(pool.run(|| thread::current().name().map(str::to_owned)));
        assert!(name.unwrap().starts_with("disk-"));
    }

    #[test]
    fn the_inline_pool_stays_on_the_callers_thread() {
        let here = thread::current().id();
        assert_eq!(
            smol::block_on(Pool::inline().run(|| thread::current().id())),
            here
        );
    }
}
