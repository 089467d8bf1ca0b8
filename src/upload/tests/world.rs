//! A world in which nothing takes time unless everybody waits for it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use super::host::Host;
use crate::ftp::secret::Secret;
use crate::sys::os::{OsFs, OsRng};
use crate::sys::{
    Clock, File, Kind, Listener, LocalFuture, Meta, Mono, Net, Pool, Stream, Sys, Wall,
};
use crate::upload::{
    Delivered, Failure, Feed, Job, Profile, Server, ServerOptions, Session, TlsMode,
};

/// The server's only address.
pub(super) const ADDRESS: &str = "192.0.2.1:21";

/// The server, the clock, and what was connected to.
pub(super) struct World {
    pub(super) host: Arc<Mutex<Host>>,
    pub(super) connects: Arc<Mutex<Vec<SocketAddr>>>,
    /// What an earlier life learned.
    pub(super) profile: Profile,
    clock: Arc<JumpingClock>,
}

impl World {
    pub(super) fn new() -> World {
        let host = Host {
            greeting: "ready",
            features: vec!["EPSV", "SIZE", "REST STREAM"],
            directories: ["".to_owned()].into(),
            ..Host::default()
        };
        World {
            host: Arc::new(Mutex::new(host)),
            connects: Arc::default(),
            profile: Profile::default(),
            clock: Arc::default(),
        }
    }

    pub(super) fn host(&self) -> MutexGuard<'_, Host> {
        self.host.lock().unwrap()
    }

    /// How long it all took, on the world's own clock.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.mono().0
    }

    pub(super) fn options() -> ServerOptions {
        ServerOptions {
            user: b"me".to_vec(),
            password: Secret::new(b"pw".to_vec()),
            ..ServerOptions::new("s", "192.0.2.1", TlsMode::None)
        }
    }

    /// Opens a session and gives it, with its server, to `work`.
    pub(super) fn run<T>(
        &self,
        options: ServerOptions,
        work: impl AsyncFnOnce(&mut Session, &Rc<Server>) -> T,
    ) -> T {
        let sys = Sys {
            fs: Arc::new(OsFs),
            clock: self.clock.clone(),
            rng: Arc::new(OsRng),
            net: Arc::new(MemoryNet {
                host: self.host.clone(),
                connects: self.connects.clone(),
            }),
            pool: Pool::inline(),
        };
        self.drive(async {
            let server = Server::prepare(&sys, options, self.profile.clone(), Wall(0));
            let server = server.await.unwrap();
            let mut session = Session::open(&sys, &server).await.unwrap();
            work(&mut session, &server).await
        })
    }

    /// Delivers one batch on one session.
    pub(super) fn deliver(&self, options: ServerOptions, jobs: Vec<Job>) -> Outcomes {
        let mut outcomes = Outcomes::of(jobs);
        self.run(options, async |session, _| {
            let _told_to_the_feed_too = session.run(&mut outcomes).await;
        });
        outcomes
    }

    fn drive<T>(&self, future: impl Future<Output = T>) -> T {
        let woken = Arc::new(Flag::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
                return value;
            }
            if !woken.0.swap(false, Ordering::Relaxed) {
                self.clock.jump();
            }
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Jumps to the next deadline when nobody has anything else to do.
#[derive(Default)]
struct JumpingClock {
    state: Arc<Mutex<ClockState>>,
}

#[derive(Default)]
struct ClockState {
    now: Mono,
    sleepers: Vec<(Mono, Waker)>,
}

impl JumpingClock {
    fn jump(&self) {
        let mut state = self.state.lock().unwrap();
        let next = state.sleepers.iter().map(|(deadline, _)| *deadline).min();
        state.now = next.expect("all wait for something that cannot come");
        let now = state.now;
        state.sleepers.retain(|(deadline, waker)| {
            if *deadline <= now {
                waker.wake_by_ref();
            }
            *deadline > now
        });
    }
}

impl Clock for JumpingClock {
    fn mono(&self) -> Mono {
        self.state.lock().unwrap().now
    }
    fn wall(&self) -> Wall {
        Wall::from_secs(NOW_S)
    }
    fn sleep_until(&self, deadline: Mono) -> LocalFuture<'static, ()> {
        let state = self.state.clone();
        Box::pin(std::future::poll_fn(move |context| {
            let mut state = state.lock().unwrap();
            if state.now >= deadline {
                return Poll::Ready(());
            }
            state.sleepers.push((deadline, context.waker().clone()));
            Poll::Pending
        }))
    }
}

struct MemoryNet {
    host: Arc<Mutex<Host>>,
    connects: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Net for MemoryNet {
    fn resolve(&self, _host: &str, _port: u16) -> LocalFuture<'_, io::Result<Vec<SocketAddr>>> {
        Box::pin(async { Ok(vec![ADDRESS.parse().unwrap()]) })
    }
    fn connect(
        &self,
        addr: SocketAddr,
        _limit: Duration,
    ) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        self.connects.lock().unwrap().push(addr);
        let is_control = addr == ADDRESS.parse().unwrap();
        let mut host = self.host.lock().unwrap();
        let at = match is_control {
            true => Some(host.accept()),
            false => host.accept_data(addr.port()),
        };
        let host = self.host.clone();
        Box::pin(async move {
            let at = at.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(MemoryStream {
                host,
                at,
                peer: addr,
                is_control,
            }) as Box<dyn Stream>)
        })
    }
    fn listen(&self, _addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

struct MemoryStream {
    host: Arc<Mutex<Host>>,
    at: usize,
    peer: SocketAddr,
    is_control: bool,
}

impl Stream for MemoryStream {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok("192.0.2.9:1024".parse().unwrap())
    }
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
    fn unacked(&self) -> Option<u64> {
        None
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut host = self.host.lock().unwrap();
        let line = &mut host.lines[self.at];
        if !self.is_control {
            return Poll::Pending;
        }
        let n = line.out.len().min(buf.len());
        if n == 0 && !line.closed {
            line.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(line.out.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut host = self.host.lock().unwrap();
        if self.is_control {
            if host.lines[self.at].closed {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            host.hear(self.at, buf);
            return Poll::Ready(Ok(buf.len()));
        }
        if host.lines[self.at].data_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        // Small steps, so that a cut comes in the midst.
        let n = buf.len().min(1000);
        if let Some(data) = &mut host.lines[self.at].data {
            data.extend_from_slice(&buf[..n]);
        }
        host.settle_data(self.at);
        Poll::Ready(Ok(n))
    }
    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut host = self.host.lock().unwrap();
        if !self.is_control && !host.lines[self.at].data_reset {
            host.lines[self.at].data_ended = true;
            host.settle_data(self.at);
        }
        Poll::Ready(Ok(()))
    }
}

/// The jobs of a test, and what became of them.
pub(super) struct Outcomes {
    jobs: VecDeque<Job>,
    /// Of each job: its id, the bytes sent for it, and its end.
    pub(super) done: Vec<(u64, u64, Result<Delivered, Failure>)>,
    /// Called with each end.
    pub(super) taken: Cell<usize>,
}

impl Outcomes {
    pub(super) fn of(jobs: Vec<Job>) -> Outcomes {
        Outcomes {
            jobs: jobs.into(),
            done: Vec::new(),
            taken: Cell::new(0),
        }
    }

    /// The only end there is.
    pub(super) fn only(&self) -> &Result<Delivered, Failure> {
        assert_eq!(self.done.len(), 1, "{:?}", self.done);
        &self.done[0].2
    }

    /// The failure of the only job.
    pub(super) fn failure(&self) -> &Failure {
        self.only().as_ref().unwrap_err()
    }
}

impl Feed for Outcomes {
    fn try_next(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.taken.set(self.taken.get() + 1);
        Some(job)
    }
    fn progress(&mut self, _id: u64, _position: u64) {}
    fn throttle(&mut self, _bytes: usize) -> Option<LocalFuture<'static, ()>> {
        None
    }
    fn done(&mut self, id: u64, sent: u64, result: Result<Delivered, Failure>) {
        self.done.push((id, sent, result));
    }
}

/// A file of our side.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl File for Bytes {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn meta(&self) -> io::Result<Meta> {
        Ok(Meta {
            kind: Kind::File,
            dev: 0,
            ino: 0,
            size: self.0.len() as u64,
            mtime_ns: 0,
            ctime_ns: 0,
            mode: 0,
            nlink: 1,
        })
    }
    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The wall clock.
pub(super) const NOW_S: i64 = 1_800_000_000;

/// A job for these bytes; its temporary name is `.<name>.t<id>.part`.
pub(super) fn job(id: u64, path: &str, content: &[u8]) -> Job {
    Job {
        id,
        tag: format!("t{id}"),
        path: path.as_bytes().to_vec(),
        size: content.len() as u64,
        mtime: None,
        content: Arc::new(Bytes(content.to_vec())),
        tried: false,
        is_later_version: false,
    }
}

/// The same for one that was tried before.
pub(super) fn tried(id: u64, path: &str, content: &[u8]) -> Job {
    Job {
        tried: true,
        ..job(id, path, content)
    }
}
