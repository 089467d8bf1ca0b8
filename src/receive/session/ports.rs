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
        let ports = shared.options.passive_ports;
        let (target, port) = match Target::listen(&shared.sys, self.local.ip(), ports) {
            Ok(listening) => listening,
            Err(error) => {
                log::warn!("{}: no port for a data connection: {error}", self.peer);
                return Answer::new(425, "no port is free for a data connection");
            }
        };
        let answer = match how {
            Passive::Epsv => format!("Entering Extended Passive Mode (|||{port}|)"),
            Passive::Pasv => match self.advertised() {
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

    /// What PASV says: what the user configured, but to this machine itself.
    fn advertised(&self) -> Option<Ipv4Addr> {
        let own = match self.local.ip().to_canonical() {
            IpAddr::V4(ip) => ip,
            IpAddr::V6(_) => return None,
        };
        let outside = self.shared.options.external_address;
        let outside = outside.filter(|_| !self.peer.is_loopback());
        Some(outside.unwrap_or(own))
    }

    /// ABOR when nothing is transferred, or any more.
    pub(super) fn abort(&mut self) -> Answer {
        match self.data.take() {
            Some(_) => Answer::new(225, "no transfer now; the port is closed"),
            None => Answer::new(226, "no transfer now"),
        }
    }
}
