//! Data connections: which way, to where, and with whose TLS session.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::failure::{Class, Failure, Step};
use super::options::DataChoice;
use super::profile::DataMode;
use super::session::Session;
use super::tls::{Connector, Tcp};
use super::wire::Wire;
use crate::ftp::address;
use crate::ftp::command::Command;
use crate::ftp::reply::Reply;
use crate::sys::{Listener, Sys, timeout};

/// Where the next data connection will be.
pub(super) enum Target {
    /// We connect to this address.
    Passive(SocketAddr),
    /// The server connects to this socket.
    Active(Box<dyn Listener>),
}

/// Everything that opening one takes; it borrows nothing of the session.
pub(super) struct Opening {
    pub(super) sys: Sys,
    pub(super) connector: Option<Connector>,
    pub(super) target: Target,
    pub(super) control_peer: SocketAddr,
    pub(super) limit: Duration,
    pub(super) tcp: Option<Tcp>,
}

impl Opening {
    /// TCP alone.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        let connected = match &self.target {
            Target::Passive(to) => self.sys.net.connect(*to, self.limit).await,
            Target::Active(listener) => {
                let accepting = accept(&**listener, self.control_peer);
                timeout(&*self.sys.clock, self.limit, accepting)
                    .await
                    .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        self.tcp = Some(connected.map_err(|error| self.failure(&error))?);
        Ok(())
    }

    /// TCP, unless there already, then TLS that resumes the control
    /// connection's session.
    pub(super) async fn open(mut self) -> Result<Wire, Failure> {
        if self.tcp.is_none() {
            self.connect().await?;
        }
        let Some(tcp) = self.tcp.take() else {
            return Err(self.failure(&io::ErrorKind::NotConnected.into()));
        };
        let Some(connector) = &self.connector else {
            return Ok(Wire::Plain(tcp));
        };
        match timeout(&*self.sys.clock, self.limit, connector.connect(tcp)).await {
            Ok(Ok(tls)) => Ok(Wire::Tls(Box::new(tls.into()))),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(self.failure(&io::ErrorKind::TimedOut.into())),
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let subject = match &self.target {
            Target::Passive(to) => format!("to {to}"),
            Target::Active(_) => format!("from {}", self.control_peer.ip()),
        };
        Failure::new(
            Class::Data,
            Step::DataConnection,
            &subject,
            error.to_string(),
        )
    }
}

/// The first connection that comes from the server's own address.
async fn accept(listener: &dyn Listener, control_peer: SocketAddr) -> io::Result<Tcp> {
    loop {
        let (tcp, from) = listener.accept().await?;
        if from.ip() == control_peer.ip() {
            return Ok(tcp);
        }
        log::warn!("a data connection from {from} is refused: the server is {control_peer}");
    }
}

impl Session {
    /// The way that data connections are made now.
    pub(super) fn data_mode(&self) -> DataMode {
        match self.server.options.data {
            DataChoice::Only(mode) => mode,
            DataChoice::Auto => self.trying.or(self.server.profile.borrow().data).unwrap_or(
                // What every server of this century knows, and IPv6 needs.
                DataMode::Epsv,
            ),
        }
    }

    /// Whether the way is known to work here.
    pub(super) fn data_mode_is_proven(&self) -> bool {
        self.trying.is_none() && self.server.profile.borrow().data == Some(self.data_mode())
    }

    /// The present way did not work: the next one from now on, unless the user
    /// chose the one.
    pub(super) fn try_other_data_mode(&mut self) {
        if self.server.options.data != DataChoice::Auto {
            return;
        }
        let mut mode = self.data_mode().next();
        while self.peer.is_ipv6() && matches!(mode, DataMode::Pasv | DataMode::Port) {
            mode = mode.next();
        }
        log::info!(
            "{}: trying {mode:?} for data connections",
            self.server.options.name
        );
        self.trying = Some(mode);
    }

    /// The present way carried a file.
    pub(super) fn data_mode_worked(&mut self) {
        let mode = self.data_mode();
        self.trying = None;
        self.server.learn(|profile| profile.data = Some(mode));
    }

    /// The command that asks for a passive port, when that is the present way.
    pub(super) fn passive_command(&self) -> Option<Command> {
        match self.data_mode() {
            DataMode::Epsv => Some(Command::Epsv(None)),
            DataMode::Pasv => Some(Command::Pasv),
            DataMode::Eprt | DataMode::Port => None,
        }
    }

    /// Where the reply to it points: the server's word is taken for the port
    /// alone (RFC 2577 §3: never let a server make us connect elsewhere).
    pub(super) fn passive_address(&self, reply: &Reply) -> Option<SocketAddr> {
        let port = match self.data_mode() {
            DataMode::Epsv => address::parse_epsv(reply)?,
            _ => {
                let told = address::parse_pasv(reply)?;
                if told.ip() != &self.peer.ip() {
                    log::debug!("PASV names {}, {} is used", told.ip(), self.peer.ip());
                }
                told.port()
            }
        };
        Some(address::data_address(self.peer, port))
    }

    /// Agrees with the server on the next data connection; with `auto`, by
    /// each way until one is accepted.
    pub(super) async fn target(&mut self) -> Result<Target, Failure> {
        let mut refusal = None;
        for _ in DataMode::ALL {
            let reply = match self.passive_command() {
                Some(command) => {
                    let reply = self.call(Step::DataConnection, &command).await?;
                    if let Some(to) = self.passive_address(&reply) {
                        return Ok(Target::Passive(to));
                    }
                    reply
                }
                None => {
                    let listener = self.listen()?;
                    let command = self.active_command(&*listener)?;
                    let reply = self.call(Step::DataConnection, &command).await?;
                    if reply.is_completion() {
                        return Ok(Target::Active(listener));
                    }
                    reply
                }
            };
            refusal = Some(Failure::refused(
                Step::DataConnection,
                &self.server.peer(),
                &reply,
            ));
            if self.server.options.data != DataChoice::Auto {
                break;
            }
            self.try_other_data_mode();
        }
        let nothing = || {
            let message = "no way to make one";
            Failure::new(
                Class::Data,
                Step::DataConnection,
                &self.server.peer(),
                message,
            )
        };
        let mut failure = refusal.unwrap_or_else(nothing);
        failure.class = Class::Data;
        Err(failure)
    }

    fn listen(&self) -> Result<Box<dyn Listener>, Failure> {
        let wire = self.link.dialogue.wire();
        wire.local_addr()
            .and_then(|local| self.sys.net.listen(SocketAddr::new(local.ip(), 0)))
            .map_err(|error| self.local_failure(&error))
    }

    fn active_command(&self, listener: &dyn Listener) -> Result<Command, Failure> {
        let local = listener
            .local_addr()
            .map_err(|error| self.local_failure(&error))?;
        match (self.data_mode(), local) {
            (DataMode::Port, SocketAddr::V4(local)) => Ok(Command::Port(local)),
            _ => Ok(Command::Eprt(local)),
        }
    }

    fn local_failure(&self, error: &io::Error) -> Failure {
        let message = error.to_string();
        Failure::new(
            Class::Data,
            Step::DataConnection,
            &self.server.peer(),
            message,
        )
    }
}
