//! The real clocks and randomness.

use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use smol::Async;

use super::alarm;
use crate::sys::{Clock, LocalFuture, Mono, Rng, Wall};

/// `CLOCK_BOOTTIME` and the wall clock.
pub struct OsClock;

/// Sleeps up to this long share a timer of the executor, which is cheap but does
/// not count suspended time; longer ones use a kernel timer that does.
const SHORT_SLEEP: Duration = Duration::from_secs(60);

impl Clock for OsClock {
    fn mono(&self) -> Mono {
        let now = clock_gettime(ClockId::Boottime);
        let secs = u64::try_from(now.tv_sec).unwrap_or(0);
        Mono(Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    fn wall(&self) -> Wall {
        let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Wall(nanos)
    }

    fn sleep_until(&self, deadline: Mono) -> LocalFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = deadline.since(OsClock.mono());
                if left.is_zero() {
                    return;
                }
                if left <= SHORT_SLEEP || boot_timer(deadline).await.is_err() {
                    alarm::sleep(left.min(SHORT_SLEEP)).await;
                }
            }
        })
    }
}

/// Waits on a kernel timer that goes on while the device is suspended.
async fn boot_timer(deadline: Mono) -> std::io::Result<()> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
    let at = Timespec {
        tv_sec: i64::try_from(deadline.0.as_secs()).unwrap_or(i64::MAX),
        // Less than a second of them: they fit where the field has 32 bits, too.
        tv_nsec: deadline.0.subsec_nanos() as _,
    };
    let never = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let setting = Itimerspec {
        it_interval: never,
        it_value: at,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &setting)?;
    Async::new(timer)?.readable().await
}

/// Randomness from the thread's generator, seeded by the system; for secrets,
/// from the system itself.
pub struct OsRng;

impl Rng for OsRng {
    fn next_u64(&self) -> u64 {
        fastrand::u64(..)
    }

    fn fill_secret(&self, buf: &mut [u8]) -> std::io::Result<()> {
        let mut filled = 0;
        while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match getrandom(rest, GetRandomFlags::empty()) {
                Ok(got) => filled += got,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}
