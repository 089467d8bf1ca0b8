//! A bad link: a proxy between an FTP client and a server, that cuts, stalls,
//! loses replies, delays, limits and counts.
//!
//! It listens on another loopback address (127.0.0.2, ...) on the very ports
//! that the server uses: the control port and every passive port. So nothing
//! needs to be rewritten and TLS passes through: the reply to EPSV names a port
//! only, and a client that believes of PASV's reply only the port (as it must)
//! comes here too.
//!
//! ```ignore
//! let proxy = Proxy::before(&server);
//! proxy.inject(Fault { on: Channel::Data, way: Way::ToServer, after: 70_000, act: Act::End(End::Reset) });
//! // ... upload to proxy.addr() ...
//! assert_eq!(proxy.faults_left(), 0);
//! assert!(proxy.delivered(Channel::Data, Way::ToServer) <= size + lost);
//! ```

mod relay;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use relay::Relay;

use crate::common::servers::Server;

/// Which kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Control,
    Data,
}

/// Which direction bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    ToServer,
    ToClient,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides get a reset.
    Reset,
    /// Both sides get an orderly end.
    Close,
    /// Nothing passes any more, in both directions, and neither side is told;
    /// not even when the other one goes away.
    Silence,
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Ends this connection.
    End(End),
    /// Holds this direction for so long, then goes on.
    Stall(Duration),
    /// Holds this direction until what [`Proxy::settle_when`] names holds, however
    /// slow the machine is.
    Settle,
    /// Ends all control connections; this one goes on.
    EndControl(End),
    /// From before the bytes that trigger it, drops what the server says on all
    /// control connections, and ends each at the first byte dropped. On
    /// `Channel::Data` with `after` the size of the upload it loses the 226.
    LoseReply(End),
}

/// Something that happens once, on the first connection it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// On which kind of connection.
    pub on: Channel,
    /// In which direction bytes are counted.
    pub way: Way,
    /// Happens when exactly so many bytes have been delivered on one
    /// connection; 0 means before the first, or at its end if it has none.
    pub after: u64,
    /// What happens.
    pub act: Act,
}

/// What passed on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Its kind.
    pub channel: Channel,
    /// Bytes delivered to the server.
    pub to_server: u64,
    /// Bytes delivered to the client.
    pub to_client: u64,
}

/// A running proxy; ends with everything that passes through it when dropped.
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    listeners: Vec<Arc<TcpListener>>,
    acceptors: Vec<JoinHandle<()>>,
}

/// What the proxy's threads share.
struct Shared {
    upstream: IpAddr,
    control_port: u16,
    ended: AtomicBool,
    refusing: AtomicBool,
    delay_us: AtomicU64,
    rate: AtomicU64,
    faults: Mutex<Vec<Fault>>,
    traffic: Mutex<Vec<Arc<relay::Counters>>>,
    relays: Mutex<Vec<Weak<Relay>>>,
    settled: Mutex<Condition>,
}

/// Something to wait for.
type Condition = Arc<dyn Fn() -> bool + Send + Sync>;

impl Proxy {
    /// Starts a proxy in front of a server.
    pub fn before(server: &Server) -> Self {
        Self::start(server.addr(), server.passive.clone())
    }

    /// Starts a proxy in front of a control port and its passive ports.
    pub fn start(control: SocketAddr, passive: RangeInclusive<u16>) -> Self {
        let (host, listeners) = listen(control.port(), &passive);
        let shared = Arc::new(Shared {
            upstream: control.ip(),
            control_port: control.port(),
            ended: AtomicBool::new(false),
            refusing: AtomicBool::new(false),
            delay_us: AtomicU64::new(0),
            rate: AtomicU64::new(0),
            faults: Mutex::default(),
            traffic: Mutex::default(),
            relays: Mutex::default(),
            settled: Mutex::new(Arc::new(|| true)),
        });
        let acceptors = listeners.iter().map(|listener| {
            let (listener, shared) = (Arc::clone(listener), Arc::clone(&shared));
            thread::spawn(move || accept(&listener, &shared))
        });
        let acceptors = acceptors.collect();
        Self {
            addr: SocketAddr::new(host, control.port()),
            shared,
            listeners,
            acceptors,
        }
    }

    /// Where clients connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a fault; faults that fit the same bytes happen in the order added.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults.lock().unwrap().push(fault);
    }

    /// What [`Act::Settle`] waits for; nothing, unless told.
    pub fn settle_when(&self, condition: impl Fn() -> bool + Send + Sync + 'static) {
        *self.shared.settled.lock().unwrap() = Arc::new(condition);
    }

    /// The faults that have not happened yet.
    pub fn faults_left(&self) -> usize {
        self.shared.faults.lock().unwrap().len()
    }

    /// Forgets the faults that have not happened yet.
    pub fn heal(&self) {
        self.shared.faults.lock().unwrap().clear();
        self.refuse(false);
    }

    /// Delays each direction by this much, on connections made from now on. The
    /// handshake is delayed on the server's side only: a client sees its
    /// `connect` succeed a round trip too early.
    pub fn delay(&self, one_way: Duration) {
        let micros = u64::try_from(one_way.as_micros()).unwrap();
        self.shared.delay_us.store(micros, Ordering::Relaxed);
    }

    /// Limits each direction of each connection, in bytes a second; 0 is no limit.
    pub fn limit(&self, rate: u64) {
        self.shared.rate.store(rate, Ordering::Relaxed);
    }

    /// Whether new connections are reset at once.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refusing.store(refuse, Ordering::Relaxed);
    }

    /// Ends all connections there are.
    pub fn cut(&self, end: End) {
        for relay in self.shared.live_relays(None) {
            relay.end(end);
        }
    }

    /// Resets the connections that have fallen silent.
    pub fn cut_silent(&self) {
        for relay in self.shared.live_relays(None) {
            if relay.is_silent() {
                relay.end(End::Reset);
            }
        }
    }

    /// What passed on every connection so far, in the order they were made.
    pub fn traffic(&self) -> Vec<Traffic> {
        self.shared
            .traffic
            .lock()
            .unwrap()
            .iter()
            .map(|c| c.read())
            .collect()
    }

    /// The bytes that were delivered in one direction, for each control
    /// connection in the order they were made.
    pub fn heard(&self, way: Way) -> Vec<Vec<u8>> {
        let traffic = self.shared.traffic.lock().unwrap();
        let control = traffic.iter().filter(|c| c.channel() == Channel::Control);
        control.map(|c| c.heard(way)).collect()
    }

    /// A function that tells what was delivered to the server on each data
    /// connection so far; it does not need the proxy.
    pub fn data_traffic(&self) -> impl Fn() -> Vec<u64> + Send + Sync + use<> {
        let shared = Arc::downgrade(&self.shared);
        move || {
            let Some(shared) = shared.upgrade() else {
                return Vec::new();
            };
            let traffic = shared.traffic.lock().unwrap();
            let data = traffic.iter().map(|c| c.read());
            data.filter(|t| t.channel == Channel::Data)
                .map(|t| t.to_server)
                .collect()
        }
    }

    /// Bytes delivered on all connections of a kind in one direction.
    pub fn delivered(&self, channel: Channel, way: Way) -> u64 {
        let all = self.traffic().into_iter().filter(|t| t.channel == channel);
        all.map(|t| {
            if way == Way::ToServer {
                t.to_server
            } else {
                t.to_client
            }
        })
        .sum()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for listener in &self.listeners {
            // Wakes the thread that waits in accept.
            let _ = socket2::SockRef::from(&**listener).shutdown(std::net::Shutdown::Both);
        }
        for acceptor in self.acceptors.drain(..) {
            let _ = acceptor.join();
        }
        self.cut(End::Reset);
    }
}

impl Shared {
    /// Takes the first fault that happens among the `count` bytes after
    /// `passed`, with how many of those bytes still pass before it.
    fn take_fault(&self, on: Channel, way: Way, passed: u64, count: usize) -> Option<(usize, Act)> {
        let mut faults = self.faults.lock().unwrap();
        let reached = passed + count as u64;
        let fits =
            |f: &Fault| f.on == on && f.way == way && f.after >= passed && f.after <= reached;
        let index = faults.iter().position(fits)?;
        let fault = faults.remove(index);
        Some((usize::try_from(fault.after - passed).unwrap(), fault.act))
    }

    fn live_relays(&self, channel: Option<Channel>) -> Vec<Arc<Relay>> {
        let mut relays = self.relays.lock().unwrap();
        relays.retain(|relay| relay.strong_count() > 0);
        let live = relays.iter().filter_map(Weak::upgrade);
        live.filter(|relay| channel.is_none_or(|c| c == relay.channel()))
            .collect()
    }
}

/// Listens on all these ports of the first loopback address that has them free.
fn listen(control: u16, passive: &RangeInclusive<u16>) -> (IpAddr, Vec<Arc<TcpListener>>) {
    let mut why = None;
    for n in 2..=32 {
        let host = IpAddr::V4(Ipv4Addr::new(127, 0, 0, n));
        let ports = std::iter::once(control).chain(passive.clone());
        let all: io::Result<_> = ports
            .map(|port| TcpListener::bind((host, port)).map(Arc::new))
            .collect();
        match all {
            Ok(listeners) => return (host, listeners),
            Err(error) => why = Some(error),
        }
    }
    panic!("no loopback address has port {control} and {passive:?} free: {why:?}");
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let port = listener.local_addr().unwrap().port();
    let channel = if port == shared.control_port {
        Channel::Control
    } else {
        Channel::Data
    };
    while let Ok((client, _)) = listener.accept() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        let server = SocketAddr::new(shared.upstream, port);
        thread::spawn(move || relay::run(&shared, channel, client, server));
    }
}
