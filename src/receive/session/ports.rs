//! Passive ports: PASV and EPSV.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use super::Session;
use crate::ftp::address::format_port;
use crate::ftp::serve::{Answer, Passive};
use crate::receive::data::Target;

impl Session {
    /// Waits on a port from now on; the one before is closed.
    pub(super) fn listen(&mut self, how: Passive) -> Answer {
        self.data = None;
        let shared = &self.shared;
        let (ports, outside) = (
            shared.options.passive_ports,
            shared.options.external_address,
        );
        let (target, port) = match Target::listen(&shared.sys, self.local, ports) {
            Ok(listening) => listening,
            Err(error) => {
                log::warn!("{}: no port for a data connection: {error}", self.peer);
                return Answer::new(425, "no port is free for a data connection");
            }
        };
        let answer = match how {
            Passive::Epsv => format!("Entering Extended Passive Mode (|||{port}|)"),
            Passive::Pasv => match advertised(self.local.ip(), self.peer, outside) {
                Some(ip) => {
                    let numbers = format_port(SocketAddrV4::new(ip, port));
                    format!("Entering Passive Mode ({numbers})")
                }
                None => return Answer::new(425, "PASV is for IPv4; use EPSV"),
            },
        };
        self.data = Some(target);
        let code = match how {
            Passive::Pasv => 227,
            Passive::Epsv => 229,
        };
        Answer::new(code, answer)
    }

    /// ABOR when nothing is transferred, or any more.
    pub(super) fn abort(&mut self) -> Answer {
        match self.data.take() {
            Some(_) => Answer::new(225, "no transfer now; the port is closed"),
            None => Answer::new(226, "no transfer now"),
        }
    }
}

/// What PASV says: what the user configured, but to this machine itself.
fn advertised(local: IpAddr, peer: IpAddr, outside: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
    let own = match local.to_canonical() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => return None,
    };
    let outside = outside.filter(|_| !peer.is_loopback());
    Some(outside.unwrap_or(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pasv_tells_the_address_that_the_client_can_reach() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let outside = Some(Ipv4Addr::new(203, 0, 113, 7));
        let tell = |local: &str, peer: &str, outside| {
            advertised(ip(local), ip(peer), outside).map(|ip| ip.to_string())
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(tell("10.0.0.2", "198.51.100.1", None), said("10.0.0.2"));
        assert_eq!(
            tell("10.0.0.2", "198.51.100.1", outside),
            said("203.0.113.7")
        );
        assert_eq!(tell("127.0.0.1", "127.0.0.1", outside), said("127.0.0.1"));
        assert_eq!(tell("::ffff:10.0.0.2", "10.0.0.3", None), said("10.0.0.2"));
        assert_eq!(tell("::1", "::1", outside), None);
    }
}
