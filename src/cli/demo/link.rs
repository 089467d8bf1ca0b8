//! The link between the device and the server: a network that is slow and
//! breaks as planned.
//!
//! [`Link`] stands in for the agent's [`Net`]. All its connections share one
//! bandwidth, and it carries them to this machine alone. When a data connection
//! has carried as many bytes as the next [`Cut`] of the plan says, connections
//! are reset on both sides, and for a while nobody gets through. Everything
//! else is the real network's.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use smol::io::{AsyncRead, AsyncWrite};

use crate::schedule::{Bucket, Rate};
use crate::sys::{Clock, Listener, LocalFuture, Mono, Net, Stream};

/// A break that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// It happens when one data connection has carried so many bytes.
    pub(super) after: u64,
    /// It spares data connections that are made earlier than this.
    pub(super) not_before: Mono,
    /// What breaks.
    pub(super) what: Victims,
    /// For how long no connection can be made afterwards.
    pub(super) outage: Duration,
}

/// Which connections a cut resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victims {
    /// The data connection that has come so far.
    Data,
    /// The control connection; the data connection goes on.
    Control,
    /// Everything, as when a modem loses its network.
    All,
}

/// A break that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// When.
    pub(super) at: Mono,
    /// What broke.
    pub(super) what: Victims,
    /// How long the link was down then.
    pub(super) outage: Duration,
    /// What the data connection had carried by then, TLS included, in bytes.
    pub(super) carried: u64,
    /// Data connections that were made by then.
    pub(super) transfers: u64,
}

/// What the link has seen so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Bytes on data connections towards the server, TLS included.
    pub(super) carried: u64,
    /// Control connections that were made.
    pub(super) sessions: u64,
    /// Data connections that were made.
    pub(super) transfers: u64,
    /// Connections that could not be made because the link was down.
    pub(super) refused: u64,
    /// The cuts, in order.
    pub(super) cuts: Vec<Broken>,
    /// How long it stays down, if it is.
    pub(super) down_for: Option<Duration>,
}

/// The network that breaks.
pub(super) struct Link {
    net: Arc<dyn Net>,
    /// Where control connections go; all others are data connections.
    control: SocketAddr,
    shared: Shared,
}

impl Link {
    /// A link over `net` that carries `rate` and breaks as `plan` says, one cut
    /// after the other.
    pub(super) fn new(
        net: Arc<dyn Net>,
        clock: Arc<dyn Clock>,
        control: SocketAddr,
        rate: Rate,
        plan: impl IntoIterator<Item = Cut>,
    ) -> Link {
        let state = State {
            bucket: Bucket::new(rate, clock.mono()),
            plan: plan.into_iter().collect(),
            open: BTreeMap::new(),
            last_id: 0,
            down_until: None,
            traffic: Traffic::default(),
        };
        let shared = Shared {
            clock,
            state: Arc::new(Mutex::new(state)),
        };
        Link {
            net,
            control,
            shared,
        }
    }

    /// What it has seen so far.
    pub(super) fn traffic(&self) -> Traffic {
        let now = self.shared.clock.mono();
        let state = self.shared.lock();
        Traffic {
            down_for: state.down_for(now),
            ..state.traffic.clone()
        }
    }
}

impl Net for Link {
    fn resolve(&self, host: &str, port: u16) -> LocalFuture<'_, io::Result<Vec<SocketAddr>>> {
        self.net.resolve(host, port)
    }

    fn connect(
        &self,
        addr: SocketAddr,
        limit: Duration,
    ) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            if !addr.ip().is_loopback() {
                let message = format!("{addr} is not on this machine");
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
            if self.shared.refuses() {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            let stream = self.net.connect(addr, limit).await?;
            let role = match addr == self.control {
                true => Role::Control,
                false => Role::Data,
            };
            Ok(Box::new(self.shared.open(stream, role)) as Box<dyn Stream>)
        })
    }

    /// As on most mobile links, nobody reaches the device from outside.
    fn listen(&self, _addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Control,
    Data,
}

/// What all connections of the link know together.
#[derive(Clone)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

struct State {
    bucket: Bucket,
    plan: VecDeque<Cut>,
    open: BTreeMap<u64, Open>,
    last_id: u64,
    down_until: Option<Mono>,
    traffic: Traffic,
}

/// A connection that is not broken, and who waits for it.
struct Open {
    role: Role,
    since: Mono,
    carried: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the link is down now; counts who asks.
    fn refuses(&self) -> bool {
        let now = self.clock.mono();
        let mut state = self.lock();
        let down = state.down_for(now).is_some();
        state.traffic.refused += u64::from(down);
        down
    }

    fn open(&self, stream: Box<dyn Stream>, role: Role) -> LinkStream {
        let since = self.clock.mono();
        let mut state = self.lock();
        state.last_id += 1;
        match role {
            Role::Control => state.traffic.sessions += 1,
            Role::Data => state.traffic.transfers += 1,
        }
        let id = state.last_id;
        let open = Open {
            role,
            since,
            carried: 0,
            reader: None,
            writer: None,
        };
        state.open.insert(id, open);
        LinkStream {
            id,
            role,
            stream: Some(stream),
            allowed: 0,
            pause: None,
            shared: self.clone(),
        }
    }
}

impl State {
    fn down_for(&self, now: Mono) -> Option<Duration> {
        let left = self.down_until?.since(now);
        (!left.is_zero()).then_some(left)
    }

    /// How much a connection may write at once, so that it does not run past
    /// its cut.
    fn until_cut(&self, id: u64) -> u64 {
        let (Some(open), Some(cut)) = (self.open.get(&id), self.plan.front()) else {
            return u64::MAX;
        };
        match cut.after.checked_sub(open.carried) {
            Some(left) if left > 0 && open.role == Role::Data => left,
            _ => u64::MAX,
        }
    }

    /// Counts what a data connection has carried; cuts when the time has come.
    fn carried(&mut self, id: u64, bytes: u64, now: Mono) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let (before, since) = (open.carried, open.since);
        open.carried += bytes;
        let carried = open.carried;
        self.traffic.carried += bytes;
        // Who is past the mark already has come too near to the file's end.
        let due = |cut: &Cut| before < cut.after && carried >= cut.after && since >= cut.not_before;
        let Some(cut) = self.plan.front().copied().filter(due) else {
            return;
        };
        self.plan.pop_front();
        self.traffic.cuts.push(Broken {
            at: now,
            what: cut.what,
            outage: cut.outage,
            carried,
            transfers: self.traffic.transfers,
        });
        self.down_until = Some(now.after(cut.outage));
        let is_victim = |other: u64, open: &Open| match cut.what {
            Victims::Data => other == id,
            Victims::Control => open.role == Role::Control,
            Victims::All => true,
        };
        self.open.retain(|other, open| {
            let broken = is_victim(*other, open);
            if broken {
                open.wake();
            }
            !broken
        });
    }
}

impl Open {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()] {
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// One connection over the link.
struct LinkStream {
    id: u64,
    role: Role,
    /// `None` once it is broken.
    stream: Option<Box<dyn Stream>>,
    /// Bytes that may be written before the bucket is asked again.
    allowed: usize,
    /// Ends when the bucket is worth asking again.
    pause: Option<LocalFuture<'static, ()>>,
    shared: Shared,
}

impl LinkStream {
    /// What is below, while that stands. `note` keeps who has to be woken when
    /// it breaks.
    fn standing(&mut self, note: impl FnOnce(&mut Open)) -> io::Result<&mut Box<dyn Stream>> {
        match self.shared.lock().open.get_mut(&self.id) {
            Some(open) => note(open),
            None => {
                // The server sees it at once, and as what it is: no end, but a break.
                if let Some(stream) = self.stream.take() {
                    let _at_least_it_ends = stream.reset_on_drop();
                }
            }
        }
        let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
        self.stream.as_mut().ok_or_else(broken)
    }

    fn standing_for_writer(&mut self, cx: &Context<'_>) -> io::Result<&mut Box<dyn Stream>> {
        self.standing(|open| open.writer = Some(cx.waker().clone()))
    }

    fn below(&self) -> io::Result<&dyn Stream> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        self.stream.as_deref().ok_or_else(gone)
    }

    /// Waits for the bandwidth, and gives how much of `wanted` may go now.
    fn poll_allowed(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        while self.allowed == 0 {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let now = self.shared.clock.mono();
            let mut state = self.shared.lock();
            let most = state.until_cut(self.id).min(WRITE_BYTES_MAX);
            let want = (wanted as u64).min(most);
            match state.bucket.take(want, now) {
                Ok(granted) => self.allowed = usize::try_from(granted).unwrap_or(wanted),
                Err(later) => self.pause = Some(self.shared.clock.sleep_until(later)),
            }
        }
        Poll::Ready(self.allowed.min(wanted))
    }
}

impl Stream for LinkStream {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.below()?.local_addr()
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.below()?.peer_addr()
    }

    fn unacked(&self) -> Option<u64> {
        self.below().ok()?.unacked()
    }

    fn reset_on_drop(&self) -> io::Result<()> {
        self.below()?.reset_on_drop()
    }
}

impl AsyncRead for LinkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let below = this.standing(|open| open.reader = Some(cx.waker().clone()))?;
        Pin::new(below).poll_read(cx, buf)
    }
}

impl AsyncWrite for LinkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.standing_for_writer(cx)?;
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let allowed = ready!(this.poll_allowed(cx, buf.len()));
        let part = buf.get(..allowed).unwrap_or(buf);
        let below = this.standing_for_writer(cx)?;
        let n = ready!(Pin::new(below).poll_write(cx, part))?;
        this.allowed = this.allowed.saturating_sub(n);
        if this.role == Role::Data {
            let now = this.shared.clock.mono();
            this.shared.lock().carried(this.id, n as u64, now);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(this.standing_for_writer(cx)?).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        Pin::new(this.standing_for_writer(cx)?).poll_close(cx)
    }
}

impl Drop for LinkStream {
    fn drop(&mut self) {
        self.shared.lock().open.remove(&self.id);
    }
}

/// Small writes keep the flow even, and what is shown of it.
const WRITE_BYTES_MAX: u64 = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Sys;
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use std::num::NonZeroU64;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn cut(after: u64, what: Victims, outage: Duration) -> Cut {
        Cut {
            after,
            not_before: Mono::default(),
            what,
            outage,
        }
    }

    /// A link whose control connections go to the first of two servers.
    struct World {
        link: Link,
        servers: [Box<dyn Listener>; 2],
    }

    impl World {
        fn new(plan: &[Cut]) -> World {
            let sys = Sys::os().unwrap();
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let servers = [(); 2].map(|()| sys.net.listen(any).unwrap());
            let control = servers[0].local_addr().unwrap();
            let rate = Rate(NonZeroU64::new(1 << 30).unwrap());
            let link = Link::new(sys.net, sys.clock, control, rate, plan.iter().copied());
            World { link, servers }
        }

        /// Both ends of a new connection to one of the servers.
        async fn pair(&self, server: usize) -> io::Result<[Box<dyn Stream>; 2]> {
            let server = &self.servers[server];
            let client = self.link.connect(server.local_addr()?, PATIENCE).await?;
            Ok([client, server.accept().await?.0])
        }
    }

    #[test]
    fn a_data_connection_breaks_on_both_sides_where_the_plan_says() {
        let world = World::new(&[cut(50_000, Victims::Data, Duration::ZERO)]);
        smol::block_on(async {
            let [mut client, mut server] = world.pair(1).await.unwrap();
            let [_control, _] = world.pair(0).await.unwrap();
            let error = client.write_all(&[7; 60_000]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let mut got = Vec::new();
            let error = server.read_to_end(&mut got).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            assert!(got.len() <= 50_000);
            let traffic = world.link.traffic();
            assert_eq!((traffic.carried, traffic.sessions), (50_000, 1));
            assert_eq!(traffic.cuts[0].carried, 50_000);
            // The plan has no more.
            let [mut client, mut server] = world.pair(1).await.unwrap();
            client.write_all(&[7; 60_000]).await.unwrap();
            drop(client);
            assert_eq!(server.read_to_end(&mut got).await.unwrap(), 60_000);
        });
    }

    #[test]
    fn who_waits_for_a_reply_learns_of_the_break() {
        for (what, data_lives) in [(Victims::All, false), (Victims::Control, true)] {
            let world = World::new(&[cut(100, what, Duration::ZERO)]);
            smol::block_on(async {
                let [mut control, _server] = world.pair(0).await.unwrap();
                let [mut data, _sink] = world.pair(1).await.unwrap();
                let reading = async { control.read(&mut [0; 10]).await };
                let writing = async {
                    data.write_all(&[7; 100]).await.unwrap();
                    data.write_all(&[7; 100]).await
                };
                let (read, written) = smol::future::zip(reading, writing).await;
                assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
                assert_eq!(written.is_ok(), data_lives);
            });
        }
    }

    #[test]
    fn nobody_gets_through_while_it_is_down() {
        let outage = Duration::from_millis(300);
        let world = World::new(&[cut(10, Victims::All, outage)]);
        smol::block_on(async {
            let [mut data, _sink] = world.pair(1).await.unwrap();
            data.write_all(&[7; 10]).await.unwrap();
            // A machine that stood still meanwhile has missed it.
            if let Err(error) = world.pair(0).await {
                assert_eq!(error.kind(), io::ErrorKind::NetworkUnreachable);
                assert_eq!(world.link.traffic().refused, 1);
            }
            while world.link.traffic().down_for.is_some() {
                smol::Timer::after(Duration::from_millis(10)).await;
            }
            assert!(world.pair(0).await.is_ok());
        });
    }

    #[test]
    fn it_leads_nowhere_but_to_this_machine() {
        let world = World::new(&[]);
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 21));
        let connecting = world.link.connect(elsewhere, PATIENCE);
        let refused = smol::block_on(connecting).err().unwrap();
        assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
    }
}
