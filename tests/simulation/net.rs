//! A network of pipes: connections with delay, bounded buffers, and an end that
//! may come at any byte.

mod pipe;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use edgespool::sys::{Clock, Listener, LocalFuture, Net, Stream};

use super::time::{Dice, SimClock};
use pipe::Pipe;
pub use pipe::{Cut, End, Ending};

/// Where the server is.
pub const SERVER: &str = "192.0.2.21";
/// Where the agent is.
pub const DEVICE: &str = "192.0.2.99";
/// The control port.
pub const CONTROL_PORT: u16 = 21;

/// How the links are.
#[derive(Clone, Default)]
pub struct Weather {
    /// One in so many connections is cut somewhere; 0: none.
    pub cut_one_in: u64,
    /// One in so many connections is not made.
    pub refuse_one_in: u64,
    /// Cuts come within so many bytes, in either direction.
    pub within: u64,
    /// Longest delay of one direction.
    pub delay_max: Duration,
    /// From here on it is fine.
    pub until: Duration,
}

struct Switch {
    listeners: BTreeMap<SocketAddr, Backlog>,
    next_port: u16,
    /// Listeners so far.
    listened: u64,
    weather: Weather,
    dice: Dice,
    /// Every connection, to cut them all at once.
    pipes: Vec<Weak<Mutex<Pipe>>>,
    /// The agent's next connection is cut there, for a sweep.
    cut_next: Option<(u64, Cut)>,
    /// Connections so far.
    steps: u64,
    /// Every connection, to see how much went over it.
    recorded: Option<Vec<[Arc<Mutex<Pipe>>; 2]>>,
}

impl Switch {
    fn free_port(&mut self) -> u16 {
        self.next_port = self.next_port.checked_add(1).unwrap_or(20_000);
        self.next_port
    }
}

#[derive(Default)]
struct Backlog {
    /// Which of the listeners that this address had it belongs to.
    serial: u64,
    waiting: VecDeque<(End, SocketAddr)>,
    waker: Option<Waker>,
}

/// One party's view of the network.
#[derive(Clone)]
pub struct SimNet {
    switch: Arc<Mutex<Switch>>,
    clock: SimClock,
    own: &'static str,
}

impl SimNet {
    /// The agent's view.
    pub fn new(dice: Dice, clock: SimClock) -> SimNet {
        let switch = Switch {
            listeners: BTreeMap::new(),
            next_port: 40_000,
            listened: 0,
            weather: Weather::default(),
            dice,
            pipes: Vec::new(),
            cut_next: None,
            steps: 0,
            recorded: None,
        };
        SimNet {
            switch: Arc::new(Mutex::new(switch)),
            clock,
            own: DEVICE,
        }
    }

    /// The server's view of the same network.
    pub fn at_server(&self) -> SimNet {
        SimNet {
            own: SERVER,
            ..self.clone()
        }
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.switch().weather = weather;
    }

    /// From now on, how much goes over each connection is remembered.
    pub fn record(&self) {
        self.switch().recorded = Some(Vec::new());
    }

    /// Bytes that the dialling end of each connection wrote, and read.
    pub fn recorded(&self) -> Vec<[u64; 2]> {
        let switch = self.switch();
        let recorded = switch.recorded.iter().flatten();
        let passed = |pipe: &Arc<Mutex<Pipe>>| pipe.lock().unwrap().passed();
        recorded
            .map(|[out, back]| [passed(out), passed(back)])
            .collect()
    }

    /// The `n`-th connection from now is cut that way after so many bytes.
    pub fn cut_nth(&self, n: u64, cut: Cut) {
        let mut switch = self.switch();
        let at = switch.steps + n;
        switch.cut_next = Some((at, cut));
    }

    /// Both ends of every connection see it end, or nobody hears anything any more.
    pub fn cut_all(&self, silent: bool) {
        let pipes = std::mem::take(&mut self.switch().pipes);
        for pipe in pipes.iter().filter_map(Weak::upgrade) {
            let mut pipe = pipe.lock().unwrap();
            if silent { pipe.silence() } else { pipe.reset() }
        }
    }

    /// The end of a new connection to `addr`, if someone listens there.
    fn dial(&self, addr: SocketAddr) -> io::Result<End> {
        let now = self.clock.mono().0;
        let mut switch = self.switch();
        switch.steps += 1;
        let dice = switch.dice.clone();
        let weather = switch.weather.clone();
        let bad = now < weather.until;
        if bad && dice.one_in(weather.refuse_one_in) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if !switch.listeners.contains_key(&addr) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let delay = Duration::from_micros(
            dice.below(u64::try_from(weather.delay_max.as_micros()).unwrap() + 1),
        );
        let from = SocketAddr::new(self.own.parse().unwrap(), switch.free_port());
        let (mine, theirs) = pipe::connection(&self.clock, delay, from, addr);
        let cut = match switch.cut_next {
            Some((at, cut)) if at == switch.steps => Some(cut),
            _ if bad && dice.one_in(weather.cut_one_in) => Some(Cut::random(&dice, weather.within)),
            _ => None,
        };
        if let Some(cut) = cut {
            mine.cut(cut);
        }
        switch.pipes.retain(|pipe| pipe.strong_count() > 0);
        let pipes = mine.pipes();
        switch.pipes.extend(pipes.each_ref().map(Arc::downgrade));
        if let Some(recorded) = &mut switch.recorded {
            recorded.push(pipes);
        }
        let backlog = switch.listeners.get_mut(&addr).unwrap();
        backlog.waiting.push_back((theirs, from));
        if let Some(waker) = backlog.waker.take() {
            waker.wake();
        }
        Ok(mine)
    }
}

impl Net for SimNet {
    fn resolve(&self, host: &str, port: u16) -> LocalFuture<'_, io::Result<Vec<SocketAddr>>> {
        let addr = host.parse().map(|ip| vec![SocketAddr::new(ip, port)]);
        Box::pin(async move { addr.map_err(|_| io::ErrorKind::NotFound.into()) })
    }

    fn connect(
        &self,
        addr: SocketAddr,
        limit: Duration,
    ) -> LocalFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async move {
            let way = {
                let switch = self.switch();
                let most = switch.weather.delay_max.as_micros();
                Duration::from_micros(switch.dice.below(u64::try_from(most).unwrap() + 1))
            };
            if way > limit {
                self.clock.sleep(limit).await;
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.clock.sleep(way).await;
            self.dial(addr).map(|end| Box::new(end) as Box<dyn Stream>)
        })
    }

    fn listen(&self, addr: SocketAddr) -> io::Result<Box<dyn Listener>> {
        let mut switch = self.switch();
        let port = if addr.port() == 0 {
            switch.free_port()
        } else {
            addr.port()
        };
        let addr = SocketAddr::new(self.own.parse().unwrap(), port);
        switch.listened += 1;
        let serial = switch.listened;
        let backlog = Backlog {
            serial,
            ..Backlog::default()
        };
        switch.listeners.insert(addr, backlog);
        Ok(Box::new(SimListener {
            net: self.clone(),
            addr,
            serial,
        }))
    }
}

struct SimListener {
    net: SimNet,
    addr: SocketAddr,
    serial: u64,
}

impl Listener for SimListener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }

    fn accept(&self) -> LocalFuture<'_, io::Result<(Box<dyn Stream>, SocketAddr)>> {
        Box::pin(std::future::poll_fn(|context| {
            let mut switch = self.net.switch();
            let own = |backlog: &&mut Backlog| backlog.serial == self.serial;
            let Some(backlog) = switch.listeners.get_mut(&self.addr).filter(own) else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            match backlog.waiting.pop_front() {
                Some((end, from)) => Poll::Ready(Ok((Box::new(end) as Box<dyn Stream>, from))),
                None => {
                    backlog.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        }))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut switch = self.net.switch();
        let own = |backlog: &Backlog| backlog.serial == self.serial;
        if switch.listeners.get(&self.addr).is_some_and(own) {
            switch.listeners.remove(&self.addr);
        }
    }
}
