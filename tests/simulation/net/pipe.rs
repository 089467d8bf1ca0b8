//! One connection: two pipes, each with a delay, a bounded buffer, and maybe a
//! byte at which it ends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use edgespool::sys::{Clock, Stream};
use smol::io::{AsyncRead, AsyncWrite};

use crate::time::{Dice, SimClock, Sleep};

/// What fits between the two ends.
const BUFFER: usize = 64 << 10;

/// How a connection ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Both ends see a reset.
    Reset,
    /// Nobody hears anything any more.
    Silence,
    /// The reading end sees an ordinary end of the data, the writing one a reset.
    Close,
}

/// Where and how.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Counted on what the dialling end writes; else on what it reads.
    pub outward: bool,
    pub after: u64,
    /// Counted where they arrive: what was sent behind them is lost.
    pub arriving: bool,
    pub ending: Ending,
}

impl Cut {
    pub fn random(dice: &Dice, within: u64) -> Cut {
        Cut {
            outward: dice.percent(60),
            after: dice.below(if dice.percent(50) { 600 } else { within }),
            arriving: dice.percent(40),
            ending: dice.pick(&[Ending::Reset, Ending::Reset, Ending::Silence, Ending::Close]),
        }
    }
}

/// One direction.
#[derive(Default)]
pub struct Pipe {
    /// Bytes, and when they arrive.
    on_the_way: VecDeque<(Duration, Vec<u8>)>,
    buffered: usize,
    passed: u64,
    cut: Option<(u64, Ending)>,
    arrived: u64,
    arrival_cut: Option<(u64, Ending)>,
    ended: bool,
    broken: bool,
    silent: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    other: Weak<Mutex<Pipe>>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }

    /// Bytes that were written to it.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    pub fn reset(&mut self) {
        if !self.silent {
            self.broken = true;
            self.on_the_way.clear();
            self.wake();
        }
    }

    pub fn silence(&mut self) {
        self.silent = true;
        self.on_the_way.clear();
    }

    fn end(&mut self) {
        if !self.silent {
            self.ended = true;
            self.wake();
        }
    }
}

/// One end of a connection.
pub struct End {
    clock: SimClock,
    delay: Duration,
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    local: SocketAddr,
    peer: SocketAddr,
    arrival: Option<Sleep>,
}

/// A new connection: the dialling end, and the other.
pub fn connection(
    clock: &SimClock,
    delay: Duration,
    from: SocketAddr,
    to: SocketAddr,
) -> (End, End) {
    let there = Arc::new(Mutex::new(Pipe::default()));
    let back = Arc::new(Mutex::new(Pipe::default()));
    there.lock().unwrap().other = Arc::downgrade(&back);
    back.lock().unwrap().other = Arc::downgrade(&there);
    let end = |incoming: &Arc<Mutex<Pipe>>, outgoing: &Arc<Mutex<Pipe>>, local, peer| End {
        clock: clock.clone(),
        delay,
        incoming: incoming.clone(),
        outgoing: outgoing.clone(),
        local,
        peer,
        arrival: None,
    };
    (end(&back, &there, from, to), end(&there, &back, to, from))
}

impl End {
    /// What it writes to, and what it reads from.
    pub fn pipes(&self) -> [Arc<Mutex<Pipe>>; 2] {
        [self.outgoing.clone(), self.incoming.clone()]
    }

    /// Lets the connection end there.
    pub fn cut(&self, cut: Cut) {
        let pipe = if cut.outward {
            &self.outgoing
        } else {
            &self.incoming
        };
        let mut pipe = pipe.lock().unwrap();
        let at = Some((cut.after, cut.ending));
        match cut.arriving {
            true => pipe.arrival_cut = at,
            false => pipe.cut = at,
        }
    }

    fn out(&self) -> MutexGuard<'_, Pipe> {
        self.outgoing.lock().unwrap()
    }
}

/// Ends the connection that `pipe` is one direction of.
fn fall(pipe: &mut Pipe, ending: Ending) {
    let other = pipe.other.upgrade();
    match ending {
        Ending::Reset => pipe.reset(),
        Ending::Silence => pipe.silence(),
        Ending::Close => pipe.end(),
    }
    if let Some(other) = other {
        let mut other = other.lock().unwrap();
        match ending {
            Ending::Silence => other.silence(),
            Ending::Reset | Ending::Close => other.reset(),
        }
    }
}

impl AsyncRead for End {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let now = self.clock.mono().0;
            let incoming = self.incoming.clone();
            let mut pipe = incoming.lock().unwrap();
            if pipe.broken {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if let Some(arrival) = &mut self.arrival {
                if Pin::new(arrival).poll(context).is_pending() {
                    pipe.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
                self.arrival = None;
            }
            let ended = pipe.ended;
            let (cut_on_arrival, arrived) = (pipe.arrival_cut, pipe.arrived);
            match pipe.on_the_way.front_mut() {
                Some((at, _)) if *at > now => {
                    self.arrival = Some(self.clock.timer(*at));
                }
                Some((_, bytes)) => {
                    let mut got = bytes.len().min(buf.len());
                    if let Some((after, ending)) = cut_on_arrival {
                        got = got.min(usize::try_from(after - arrived).unwrap());
                        if got == 0 {
                            pipe.arrival_cut = None;
                            pipe.on_the_way.clear();
                            // The end that was sent does not arrive any more.
                            pipe.ended = false;
                            fall(&mut pipe, ending);
                            continue;
                        }
                    }
                    buf[..got].copy_from_slice(&bytes[..got]);
                    bytes.drain(..got);
                    let all_read = bytes.is_empty();
                    if all_read {
                        pipe.on_the_way.pop_front();
                    }
                    pipe.buffered -= got;
                    pipe.arrived += got as u64;
                    if let Some(writer) = pipe.writer.take() {
                        writer.wake();
                    }
                    return Poll::Ready(Ok(got));
                }
                None if ended => return Poll::Ready(Ok(0)),
                None => {
                    pipe.reader = Some(context.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let arrives = self.clock.mono().0 + self.delay;
        let mut pipe = self.out();
        if pipe.broken || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = BUFFER - pipe.buffered;
        if room == 0 {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut taken = data.len().min(room);
        let cut = pipe
            .cut
            .filter(|(after, _)| pipe.passed + taken as u64 >= *after);
        if let Some((after, _)) = cut {
            taken = usize::try_from(after - pipe.passed).unwrap();
        }
        pipe.passed += taken as u64;
        pipe.buffered += taken;
        if !pipe.silent && taken > 0 {
            pipe.on_the_way.push_back((arrives, data[..taken].to_vec()));
            if let Some(reader) = pipe.reader.take() {
                reader.wake();
            }
        }
        if let Some((_, ending)) = cut {
            pipe.cut = None;
            fall(&mut pipe, ending);
            if taken == 0 {
                return match ending {
                    Ending::Silence => {
                        pipe.buffered += data.len().min(room);
                        Poll::Ready(Ok(data.len().min(room)))
                    }
                    _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                };
            }
        }
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.out().end();
        Poll::Ready(Ok(()))
    }
}

impl Stream for End {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }

    fn unacked(&self) -> Option<u64> {
        Some(self.out().buffered as u64)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.out().end();
        let mut incoming = self.incoming.lock().unwrap();
        if !incoming.ended || !incoming.on_the_way.is_empty() {
            incoming.reset();
        }
    }
}
