//! Data connections of the server: on which port, from where, and to where.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::sys::{Listener, Rng, Sys, Tcp};

/// Where the next data connection comes from.
pub(super) enum Target {
    /// The client connects to this port of ours.
    Passive(Box<dyn Listener>),
    /// We connect to this address, which is the client's own.
    Active(SocketAddr),
}

impl Target {
    /// A port to wait on, at the address that the client connected to.
    pub(super) fn listen(
        sys: &Sys,
        local: SocketAddr,
        ports: Option<(u16, u16)>,
    ) -> io::Result<(Target, u16)> {
        let listener = match ports {
            None => sys.net.listen(with_port(local, 0))?,
            Some(range) => listen_in(sys, local, range)?,
        };
        let port = listener.local_addr()?.port();
        Ok((Target::Passive(listener), port))
    }

    /// The connection itself, without TLS. Only the client's own address
    /// counts: whoever else knocks is turned away.
    pub(super) async fn open(self, sys: &Sys, peer: IpAddr) -> io::Result<Tcp> {
        match self {
            Target::Passive(listener) => loop {
                let (tcp, from) = listener.accept().await?;
                if from.ip().to_canonical() == peer {
                    return Ok(tcp);
                }
                log::warn!("a data connection from {from} is refused: the client is {peer}");
            },
            Target::Active(to) => sys.net.connect(to, super::session::DATA_LIMIT).await,
        }
    }
}

/// The first free port of the range, beginning anywhere in it, so that nobody
/// can tell which one is next.
fn listen_in(sys: &Sys, local: SocketAddr, range: (u16, u16)) -> io::Result<Box<dyn Listener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for port in ports(&*sys.rng, range) {
        match sys.net.listen(with_port(local, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The address with another port; a link-local one keeps its scope.
pub(super) fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

fn ports(rng: &dyn Rng, (first, last): (u16, u16)) -> impl Iterator<Item = u16> {
    let count = u64::from(last.saturating_sub(first)) + 1;
    let begin = rng.next_u64() % count;
    (0..count).filter_map(move |n| u16::try_from(u64::from(first) + (begin + n) % count).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u64);

    impl Rng for Always {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn every_port_of_the_range_is_tried_once() {
        let tried: Vec<_> = ports(&Always(7), (5000, 5004)).collect();
        assert_eq!(tried, [5002, 5003, 5004, 5000, 5001]);
        let tried: Vec<_> = ports(&Always(u64::MAX), (65535, 65535)).collect();
        assert_eq!(tried, [65535]);
    }
}
