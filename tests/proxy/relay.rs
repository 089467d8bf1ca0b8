//! One relayed connection: two threads for each direction, one that reads and
//! one that delivers when the delay is over.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Act, Channel, End, Shared, Traffic, Way};

/// Bytes delivered on one connection.
pub(super) struct Counters {
    channel: Channel,
    to_server: AtomicU64,
    to_client: AtomicU64,
    /// On a control connection: the bytes, to the server and to the client.
    heard: [Mutex<Vec<u8>>; 2],
}

/// The two sockets of one connection through the proxy.
pub(super) struct Relay {
    client: TcpStream,
    server: TcpStream,
    counters: Arc<Counters>,
    /// The sockets are given up.
    dead: AtomicBool,
    /// Bytes are read and thrown away.
    silent: AtomicBool,
    /// How it ends at the next byte to the client.
    losing: Mutex<Option<End>>,
}

/// A piece of the stream and when it is due; empty at the end of the stream.
type Piece = (Instant, Vec<u8>);

/// Connects to the server and relays until both directions have ended.
pub(super) fn run(shared: &Arc<Shared>, channel: Channel, client: TcpStream, server: SocketAddr) {
    if shared.refusing.load(Ordering::Relaxed) {
        return reset(&client);
    }
    let delay = Duration::from_micros(shared.delay_us.load(Ordering::Relaxed));
    // The last part of a handshake arrives three delays after it began.
    thread::sleep(delay * 3);
    let Ok(server) = TcpStream::connect(server) else {
        return reset(&client);
    };
    for socket in [&client, &server] {
        // A thread that waits to write looks now and then whether it is over.
        let _ = socket.set_write_timeout(Some(Duration::from_millis(100)));
        let _ = socket.set_nodelay(true);
    }
    let counters = Arc::new(Counters {
        channel,
        to_server: AtomicU64::new(0),
        to_client: AtomicU64::new(0),
        heard: Default::default(),
    });
    let relay = Arc::new(Relay {
        client,
        server,
        counters: Arc::clone(&counters),
        dead: AtomicBool::new(false),
        silent: AtomicBool::new(false),
        losing: Mutex::new(None),
    });
    shared.traffic.lock().unwrap().push(counters);
    shared.relays.lock().unwrap().push(Arc::downgrade(&relay));
    let pieces_max = if delay.is_zero() {
        1
    } else {
        PIECES_IN_DELAY_MAX
    };
    let directions = [Way::ToServer, Way::ToClient].map(|way| {
        let (sender, receiver) = sync_channel(pieces_max);
        let (relay, reading) = (Arc::clone(&relay), Arc::clone(&relay));
        let shared = Arc::clone(shared);
        thread::spawn(move || reading.read(way, delay, &sender));
        thread::spawn(move || relay.deliver_all(&shared, way, &receiver))
    });
    drop(relay);
    for direction in directions {
        let _ = direction.join();
    }
}

impl Counters {
    pub(super) fn read(&self) -> Traffic {
        Traffic {
            channel: self.channel,
            to_server: self.of(Way::ToServer).load(Ordering::Relaxed),
            to_client: self.of(Way::ToClient).load(Ordering::Relaxed),
        }
    }

    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    pub(super) fn heard(&self, way: Way) -> Vec<u8> {
        self.heard[way as usize].lock().unwrap().clone()
    }

    /// Counts what was delivered.
    fn add(&self, way: Way, bytes: &[u8]) {
        if self.channel == Channel::Control {
            self.heard[way as usize].lock().unwrap().extend(bytes);
        }
        self.of(way)
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }

    fn of(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }
}

impl Relay {
    pub(super) fn channel(&self) -> Channel {
        self.counters.channel
    }

    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Ends the connection.
    pub(super) fn end(&self, end: End) {
        match end {
            End::Silence => self.silent.store(true, Ordering::Relaxed),
            End::Close => {
                self.dead.store(true, Ordering::Relaxed);
                let _ = self.client.shutdown(Shutdown::Both);
                let _ = self.server.shutdown(Shutdown::Both);
            }
            End::Reset => {
                self.dead.store(true, Ordering::Relaxed);
                reset(&self.client);
                reset(&self.server);
            }
        }
    }

    fn read(&self, way: Way, delay: Duration, sender: &SyncSender<Piece>) {
        let mut from = if way == Way::ToServer {
            &self.client
        } else {
            &self.server
        };
        loop {
            let mut piece = vec![0; PIECE_SIZE];
            let result = from.read(&mut piece);
            if self.dead.load(Ordering::Relaxed) {
                return;
            }
            match result {
                Ok(count) => piece.truncate(count),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) if self.silent.load(Ordering::Relaxed) => piece.clear(),
                // One side's reset is passed on.
                Err(_) => return self.end(End::Reset),
            }
            let is_end = piece.is_empty();
            if sender.send((Instant::now() + delay, piece)).is_err() || is_end {
                return;
            }
        }
    }

    fn deliver_all(&self, shared: &Shared, way: Way, receiver: &Receiver<Piece>) {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.dead.load(Ordering::Relaxed) {
                return;
            }
            self.deliver(shared, way, &piece);
        }
        // The other side of a dead link keeps its socket until the link goes.
        while self.silent.load(Ordering::Relaxed) && !self.dead.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Delivers a piece, with the faults that happen in it.
    fn deliver(&self, shared: &Shared, way: Way, mut piece: &[u8]) {
        let is_end = piece.is_empty();
        let counter = self.counters.of(way);
        loop {
            let passed = counter.load(Ordering::Relaxed);
            let fault = shared.take_fault(self.channel(), way, passed, piece.len());
            if let Some((_, Act::LoseReply(end))) = fault {
                for relay in shared.live_relays(Some(Channel::Control)) {
                    *relay.losing.lock().unwrap() = Some(end);
                }
                continue;
            }
            let Some((count, act)) = fault else { break };
            let (now, later) = piece.split_at(count);
            self.write(shared, way, now);
            piece = later;
            match act {
                Act::Stall(time) => thread::sleep(time),
                Act::Settle => self.settle(shared),
                Act::EndControl(end) => {
                    let control = shared.live_relays(Some(Channel::Control));
                    control.iter().for_each(|relay| relay.end(end));
                }
                Act::End(end) => return self.end(end),
                Act::LoseReply(_) => {}
            }
        }
        if is_end {
            if !self.silent.load(Ordering::Relaxed) {
                let _ = self.target(way).shutdown(Shutdown::Write);
            }
        } else {
            self.write(shared, way, piece);
        }
    }

    fn settle(&self, shared: &Shared) {
        let settled = Arc::clone(&shared.settled.lock().unwrap());
        let deadline = Instant::now() + SETTLE_MAX;
        while !settled() && !self.is_over() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn write(&self, shared: &Shared, way: Way, mut bytes: &[u8]) {
        if way == Way::ToClient && !bytes.is_empty() {
            let losing = *self.losing.lock().unwrap();
            if let Some(end) = losing {
                return self.end(end);
            }
        }
        let mut to = self.target(way);
        let rate = shared.rate.load(Ordering::Relaxed);
        while !bytes.is_empty() && !self.is_over() {
            // With a limit, twenty small steps a second instead of few big ones.
            let step = if rate == 0 {
                bytes.len() as u64
            } else {
                (rate / 20).max(1)
            };
            let step = usize::try_from(step).unwrap().min(bytes.len());
            match to.write(&bytes[..step]) {
                Ok(count) => {
                    self.counters.add(way, &bytes[..count]);
                    bytes = &bytes[count..];
                    if let Some(nanos) = (count as u64 * 1_000_000_000).checked_div(rate) {
                        thread::sleep(Duration::from_nanos(nanos));
                    }
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return self.end(End::Reset),
            }
        }
    }

    fn is_over(&self) -> bool {
        self.dead.load(Ordering::Relaxed) || self.silent.load(Ordering::Relaxed)
    }

    fn target(&self, way: Way) -> &TcpStream {
        match way {
            Way::ToServer => &self.server,
            Way::ToClient => &self.client,
        }
    }
}

/// Makes closing the socket send a reset, and wakes whoever reads it. The reset
/// goes out when the last thread has let go of the socket.
fn reset(socket: &TcpStream) {
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    let _ = socket.shutdown(Shutdown::Read);
}

const PIECE_SIZE: usize = 16 * 1024;

/// A test whose condition does not come about fails by what it compares.
const SETTLE_MAX: Duration = Duration::from_secs(60);

/// With a delay, at most so much of the stream is under way: 16 MiB.
const PIECES_IN_DELAY_MAX: usize = 1024;
