//! One client, from its greeting to its end.
//!
//! [`Session::run`] reads commands one by one, lets `ftp::serve` say what they
//! mean, does it, and answers. A session that waits holds no buffers; those of
//! a transfer are of fixed size.

mod control;
mod digest;
mod fetch;
mod files;
mod list;
mod login;
mod ports;
mod secure;
mod store;
mod tail;
mod transfer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::data::{Target, with_port};
use super::files::{Account, FileError, VirtualPath};
use super::options::TlsUse;
use super::server::Shared;
use crate::base::Mono;
use crate::ftp::command::{Command, ParseError};
use crate::ftp::serve::{Answer, Request, Secrecy, State, Step, Terms};
use crate::sys::timeout;

pub(super) use control::Control;

/// One client.
pub(super) struct Session {
    shared: Rc<Shared>,
    peer: IpAddr,
    /// The peer as the system has it, with its scope.
    remote: SocketAddr,
    local: SocketAddr,
    control: Control,
    state: State,
    account: Option<Rc<Account>>,
    data: Option<Target>,
    /// Since when nobody is logged in, or when somebody last was.
    alone_since: Mono,
    wrong_passwords: u32,
}

/// How a session ends.
pub(super) enum End {
    /// The client said QUIT, or was told goodbye.
    Said,
    /// The control connection broke.
    Gone(io::Error),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> End {
        End::Gone(error)
    }
}

impl Session {
    /// A client that connected at `began`.
    pub(super) fn new(
        shared: &Rc<Shared>,
        (remote, local): (SocketAddr, SocketAddr),
        control: Control,
        began: Mono,
    ) -> Session {
        let peer = remote.ip().to_canonical();
        let terms = Terms {
            peer,
            secrecy: match shared.options.tls {
                TlsUse::Required => Secrecy::Required,
                TlsUse::Optional => Secrecy::Optional,
                TlsUse::None => Secrecy::None,
            },
            implicit: control.is_tls(),
        };
        Session {
            shared: shared.clone(),
            peer,
            remote,
            local,
            control,
            state: State::new(terms),
            account: None,
            data: None,
            alone_since: began,
            wrong_passwords: 0,
        }
    }

    /// Serves it to its end.
    pub(super) async fn run(mut self) {
        match self.serve().await {
            End::Said => self.control.close().await,
            End::Gone(error) => log::debug!("{}: control connection: {error}", self.peer),
        }
        self.log_out();
    }

    async fn serve(&mut self) -> End {
        let name = &self.shared.options.server_name;
        let greeting = Answer::new(220, format!("edgespool at {name}: ready"));
        if let Err(error) = self.control.answer_now(&greeting).await {
            return End::Gone(error);
        }
        loop {
            if let Err(end) = self.turn().await {
                return end;
            }
        }
    }

    /// One command and its answer.
    async fn turn(&mut self) -> Result<(), End> {
        let command = self.next_command().await?;
        if let Ok(command) = &command {
            log::debug!(target: "ftp", "> {}", command.masked());
        }
        let answer = match self.state.accept(command) {
            Step::Answer(answer) => answer,
            Step::Do(Request::StartTls(answer)) => return self.start_tls(&answer).await,
            Step::Do(Request::EndTls(answer)) => return self.end_tls(&answer).await,
            Step::Do(request) => self.perform(request).await?,
        };
        Ok(self.control.answer(&answer).await?)
    }

    /// The next command, in time.
    async fn next_command(&mut self) -> Result<Result<Command, ParseError>, End> {
        let (clock, stop) = (self.shared.sys.clock.clone(), self.shared.stop.clone());
        let in_use = self.state.user().is_some();
        let span = match in_use {
            true => self.shared.options.idle_timeout,
            false => self.time_to_log_in(),
        };
        let next = async { Some(self.control.command().await) };
        let stopped = async {
            stop.wait().await;
            None
        };
        let heard = timeout(&*clock, span, smol::future::or(next, stopped)).await;
        if in_use {
            // This command may end it: AUTH and USER begin a login anew.
            self.alone_since = clock.mono();
        }
        let goodbye = match heard {
            Ok(Some(Ok(Some(command)))) => return Ok(command),
            Ok(Some(Ok(None))) => return Err(End::Gone(io::ErrorKind::UnexpectedEof.into())),
            Ok(Some(Err(error))) => return Err(End::Gone(error)),
            Ok(None) => "the server stops",
            Err(_) if in_use => "no command came for too long",
            Err(_) => "no login came in time",
        };
        self.control.answer_now(&Answer::new(421, goodbye)).await?;
        Err(End::Said)
    }

    /// What is left of the time in which somebody has to log in.
    fn time_to_log_in(&self) -> Duration {
        let spent = self.shared.sys.clock.mono().since(self.alone_since);
        self.shared.options.login_timeout.saturating_sub(spent)
    }

    /// Does what needs the disk or the network, and gives the final answer.
    async fn perform(&mut self, request: Request) -> Result<Answer, End> {
        match request {
            Request::Quit(answer) => {
                self.control.answer_now(&answer).await?;
                Err(End::Said)
            }
            Request::Login(user, secret) => self.log_in(user, &secret).await,
            Request::Abort => Ok(self.abort()),
            Request::Listen(how) => Ok(self.listen(how)),
            Request::Connect(to) => {
                self.data = Some(Target::Active(with_port(self.remote, to.port())));
                Ok(Answer::new(
                    200,
                    "there, when there is something to transfer",
                ))
            }
            Request::Receive { store, path, ascii } => self.receive(store, &path, ascii).await,
            Request::Send {
                path,
                offset,
                ascii,
            } => self.send(&path, offset, ascii).await,
            Request::List(form, path) => self.list(form, &path).await,
            other => Ok(self.on_files(other).await),
        }
    }

    /// The path that the client means.
    fn resolve(&self, path: &[u8]) -> Result<VirtualPath, FileError> {
        VirtualPath::root().join(self.state.cwd())?.join(path)
    }
}

fn refusal(error: &FileError) -> Answer {
    Answer::new(error.code(), error.to_string())
}

/// For a data connection to come about, TLS included.
pub(super) const DATA_LIMIT: Duration = Duration::from_secs(30);
