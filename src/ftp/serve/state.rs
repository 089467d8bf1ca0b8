//! What a session remembers between commands, and what each command means in
//! it.
//!
//! [`State::accept`] takes one command and says what to do: send an answer, or
//! do something that needs the disk or the network and answer then. It checks
//! the order of commands (RFC 959 §5.4, RFC 4217 §4 to §10) and everything
//! else that can be checked without touching anything. Whoever drives it
//! reports back what became of the requests that change it:
//! [`State::logged_in`], [`State::secured`], [`State::cleared`],
//! [`State::changed_dir`] and [`State::renames`].

use std::net::{IpAddr, SocketAddr};

use super::answer::Answer;
use super::listing::{Facts, Form};
use super::options;
use crate::ftp::command::{
    Argument, Command, DigestCommand, FileStructure, ParseError, Protection, TransferMode,
    TransferType, Verb,
};
use crate::ftp::path::quote;
use crate::ftp::secret::Secret;
use crate::ftp::time::FtpTime;
use crate::ftp::verify::Algorithm;

/// Whether there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// No login and no data without it.
    Required,
    /// As the client likes.
    Optional,
    /// There is none.
    None,
}

/// What is settled when a client connects.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The client's address.
    pub peer: IpAddr,
    /// Whether there is TLS.
    pub secrecy: Secrecy,
    /// TLS was there before the greeting.
    pub implicit: bool,
}

/// What to do about a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this.
    Answer(Answer),
    /// Do this, and answer then.
    Do(Request),
}

/// How an upload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// STOR: from the beginning.
    New,
    /// REST, then STOR: from this byte on.
    At(u64),
    /// APPE: behind what is there.
    Append,
    /// STOU: under a name that is free.
    Unique,
}

/// How to answer a request for a passive port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passive {
    /// PASV: with an IPv4 address.
    Pasv,
    /// EPSV: with the port alone.
    Epsv,
}

/// What needs the disk or the network. Paths are as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Send the answer, forget what was received behind the command, begin TLS,
    /// and tell [`State::secured`].
    StartTls(Answer),
    /// Send the answer, end TLS, and tell [`State::cleared`].
    EndTls(Answer),
    /// Check the password, and tell [`State::logged_in`].
    Login(Argument, Secret),
    /// Send the answer and end the session.
    Quit(Answer),
    /// Nothing is transferred: close a port that waits for a data connection.
    Abort,
    /// Wait for a data connection on a port.
    Listen(Passive),
    /// Connect to the client, when there is something to transfer. The address
    /// is the client's own.
    Connect(SocketAddr),
    /// An upload. The path of STOU may be empty.
    Receive {
        /// How it is stored.
        store: Store,
        /// Where.
        path: Argument,
        /// Line ends are converted.
        ascii: bool,
    },
    /// A download.
    Send {
        /// What.
        path: Argument,
        /// From this byte on.
        offset: u64,
        /// Line ends are converted.
        ascii: bool,
    },
    /// A directory over a data connection; an empty path is the current one.
    List(Form, Argument),
    /// A directory or file over the control connection.
    Status(Argument),
    /// MLST: facts of one path; an empty one is the current directory.
    Facts(Argument),
    /// CWD and CDUP; tell [`State::changed_dir`].
    ChangeDir(Argument),
    /// SIZE.
    Size(Argument),
    /// MDTM.
    Modified(Argument),
    /// MFMT, and its older relatives; the answer is that of the verb.
    SetModified(Verb, FtpTime, Argument),
    /// SITE CHMOD.
    SetMode(u16, Argument),
    /// DELE.
    Delete(Argument),
    /// MKD.
    MakeDir(Argument),
    /// RMD.
    RemoveDir(Argument),
    /// RNFR: whether it is there; tell [`State::renames`].
    RenameFrom(Argument),
    /// RNTO: from, to.
    Rename(Argument, Argument),
    /// HASH and its relatives.
    Digest(DigestCommand, Algorithm, Argument),
}

/// See the module's description.
#[derive(Debug)]
pub struct State {
    pub(super) terms: Terms,
    pub(super) facts: Facts,
    pub(super) hash: Algorithm,
    login: Login,
    tls: bool,
    pbsz: bool,
    private: bool,
    epsv_only: bool,
    ascii: bool,
    rest: u64,
    rename_from: Option<Argument>,
    cwd: Vec<u8>,
}

#[derive(Debug)]
enum Login {
    Nobody,
    /// USER came, PASS did not.
    Named(Argument),
    Done(Argument),
}

impl State {
    /// A session that just began.
    #[must_use]
    pub fn new(terms: Terms) -> State {
        State {
            terms,
            facts: Facts::default(),
            hash: Algorithm::Sha256,
            login: Login::Nobody,
            tls: terms.implicit,
            pbsz: terms.implicit,
            private: terms.implicit,
            epsv_only: false,
            ascii: true, // RFC 959 §3.1.1.1
            rest: 0,
            rename_from: None,
            cwd: b"/".to_vec(),
        }
    }

    /// The user who is logged in.
    #[must_use]
    pub fn user(&self) -> Option<&[u8]> {
        match &self.login {
            Login::Done(user) => Some(user),
            Login::Nobody | Login::Named(_) => None,
        }
    }

    /// The current directory, absolute.
    #[must_use]
    pub fn cwd(&self) -> &[u8] {
        &self.cwd
    }

    /// Whether data connections are protected.
    #[must_use]
    pub fn protects_data(&self) -> bool {
        self.private
    }

    /// The facts that MLSD and MLST show.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// One line about the session, for STAT.
    #[must_use]
    pub fn describe(&self) -> [String; 2] {
        let kind = if self.ascii { "A" } else { "I" };
        let data = if self.private { "protected" } else { "clear" };
        let control = if self.tls { "TLS" } else { "clear" };
        [
            format!("TYPE {kind}, MODE S, STRU F"),
            format!("control connection {control}, data connections {data}"),
        ]
    }

    /// The password was right: the user begins in the root.
    pub fn logged_in(&mut self, user: Argument) {
        self.login = Login::Done(user);
        self.cwd = b"/".to_vec();
    }

    /// TLS began: what was said before it does not count (RFC 4217 §4.4).
    pub fn secured(&mut self) {
        let private = self.private;
        *self = State::new(self.terms);
        self.tls = true;
        self.private = private;
    }

    /// TLS ended by CCC; data connections stay as they were.
    pub fn cleared(&mut self) {
        self.tls = false;
    }

    /// CWD went to this absolute path.
    pub fn changed_dir(&mut self, path: Vec<u8>) {
        self.cwd = path;
    }

    /// RNFR was right: RNTO may follow.
    pub fn renames(&mut self, from: Argument) {
        self.rename_from = Some(from);
    }

    /// What to do about a command, or about a line that is none.
    pub fn accept(&mut self, command: Result<Command, ParseError>) -> Step {
        let rename_from = self.rename_from.take();
        let command = match command {
            Ok(command) => command,
            Err(error) => return answer(error.reply_code(), &error.to_string()),
        };
        let command = match self.before_login(command) {
            Ok(step) => return step,
            Err(command) => command,
        };
        if !matches!(self.login, Login::Done(_)) {
            return answer(530, "log in with USER and PASS first");
        }
        let command = match self.about_data(command) {
            Ok(step) => return step,
            Err(command) => command,
        };
        on_files(command, rename_from, self)
    }

    /// What may be said at any time; the command comes back when it is not of
    /// that kind.
    fn before_login(&mut self, command: Command) -> Result<Step, Command> {
        Ok(match command {
            Command::User(name) => self.named(name),
            Command::Pass(secret) => self.password(secret),
            Command::Acct(_) => answer(202, "there are no accounts"),
            Command::Auth(mechanism) => self.auth(&mechanism),
            Command::Pbsz(_) if !self.tls => answer(503, "AUTH TLS comes first"),
            Command::Pbsz(_) => {
                self.pbsz = true;
                answer(200, "PBSZ=0")
            }
            Command::Prot(level) => self.prot(level),
            Command::Ccc => self.clear(),
            Command::Feat => Step::Answer(self.features()),
            Command::Opts(argument) => Step::Answer(self.opts(&argument)),
            Command::Help(argument) => Step::Answer(options::help(&argument)),
            Command::Noop => answer(200, "fine"),
            Command::Syst => answer(215, "UNIX Type: L8"),
            Command::Quit => Step::Do(Request::Quit(Answer::new(221, "goodbye"))),
            Command::Host(_) | Command::Pret(_) | Command::Rein | Command::Raw(_) => {
                answer(502, "this server does without that command")
            }
            other => return Err(other),
        })
    }

    fn named(&mut self, name: Argument) -> Step {
        self.login = Login::Nobody;
        if self.terms.secrecy == Secrecy::Required && !self.tls {
            return answer(530, "log in over TLS only: AUTH TLS comes first");
        }
        self.login = Login::Named(name);
        answer(331, "the password, please")
    }

    fn password(&mut self, secret: Secret) -> Step {
        match std::mem::replace(&mut self.login, Login::Nobody) {
            Login::Named(name) => Step::Do(Request::Login(name, secret)),
            before => {
                self.login = before;
                answer(503, "USER comes first")
            }
        }
    }

    fn auth(&mut self, mechanism: &[u8]) -> Step {
        if self.terms.secrecy == Secrecy::None {
            return answer(502, "there is no TLS here");
        }
        if self.tls {
            return answer(503, "TLS is on already");
        }
        match mechanism.trim_ascii().to_ascii_uppercase().as_slice() {
            b"TLS" | b"TLS-C" => {}
            // These protect the data connections without PROT.
            b"SSL" | b"TLS-P" => self.private = true,
            _ => return answer(504, "only AUTH TLS is known"),
        }
        Step::Do(Request::StartTls(Answer::new(234, "TLS, please")))
    }

    fn prot(&mut self, level: Protection) -> Step {
        if !self.tls || !self.pbsz {
            return answer(503, "AUTH TLS and PBSZ come first");
        }
        match level {
            Protection::Private => {
                self.private = true;
                answer(200, "data connections are protected")
            }
            Protection::Clear if self.terms.secrecy == Secrecy::Required => {
                answer(534, "data connections must be protected here")
            }
            Protection::Clear => {
                self.private = false;
                answer(200, "data connections are in clear text")
            }
            Protection::Safe | Protection::Confidential => answer(536, "TLS has PROT C and P"),
        }
    }

    fn clear(&self) -> Step {
        if !self.tls {
            return answer(533, "the control connection is not protected");
        }
        if self.terms.secrecy == Secrecy::Required || self.terms.implicit {
            return answer(534, "the control connection stays protected here");
        }
        Step::Do(Request::EndTls(Answer::new(200, "clear text from now on")))
    }

    /// What is about transfers to come.
    fn about_data(&mut self, command: Command) -> Result<Step, Command> {
        Ok(match command {
            Command::Type(TransferType::Ascii) => self.set_ascii(true),
            Command::Type(TransferType::Image | TransferType::Local(8)) => self.set_ascii(false),
            Command::Type(_) => answer(504, "there are TYPE A and I"),
            Command::Mode(TransferMode::Stream) => answer(200, "MODE S"),
            Command::Mode(_) => answer(504, "there is MODE S alone"),
            Command::Stru(FileStructure::File) => answer(200, "STRU F"),
            Command::Stru(_) => answer(504, "there is STRU F alone"),
            Command::Allo(_) => answer(202, "nothing needs to be allocated"),
            Command::Abor => Step::Do(Request::Abort),
            Command::Rest(offset) => {
                self.rest = offset;
                answer(350, &format!("the next transfer begins at {offset}"))
            }
            Command::EpsvAll => {
                self.epsv_only = true;
                answer(200, "only EPSV from now on")
            }
            Command::Epsv(family) => self.epsv(family),
            Command::Pasv if self.epsv_only => answer(503, "EPSV ALL was said"),
            Command::Pasv if self.terms.peer.is_ipv6() => answer(425, "IPv6 needs EPSV"),
            Command::Pasv => Step::Do(Request::Listen(Passive::Pasv)),
            Command::Port(to) => self.connect(to.into()),
            Command::Eprt(to) => self.connect(to),
            other => return Err(other),
        })
    }

    fn set_ascii(&mut self, ascii: bool) -> Step {
        self.ascii = ascii;
        answer(200, if ascii { "TYPE A" } else { "TYPE I" })
    }

    fn family(&self) -> u8 {
        if self.terms.peer.is_ipv4() { 1 } else { 2 }
    }

    fn epsv(&self, family: Option<u8>) -> Step {
        let own = self.family();
        if family.is_some_and(|family| family != own) {
            return answer(522, &format!("not this protocol, use ({own})"));
        }
        Step::Do(Request::Listen(Passive::Epsv))
    }

    /// PORT and EPRT, to the client itself and to no service of its machine
    /// (RFC 2577 §3).
    fn connect(&self, to: SocketAddr) -> Step {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        if self.epsv_only {
            return answer(503, "EPSV ALL was said");
        }
        if to.is_ipv4() != self.terms.peer.is_ipv4() {
            let own = self.family();
            return answer(522, &format!("not this protocol, use ({own})"));
        }
        if to.ip() != self.terms.peer || to.port() < 1024 {
            return answer(504, "only to your own address, and a port from 1024 on");
        }
        Step::Do(Request::Connect(to))
    }

    /// Why no transfer can begin now.
    fn refuses_transfer(&self) -> Option<Step> {
        let clear = self.terms.secrecy == Secrecy::Required && !self.private;
        clear.then(|| {
            answer(
                521,
                "data connections must be protected: PROT P comes first",
            )
        })
    }

    fn receive(&mut self, store: Store, path: Argument) -> Step {
        let rest = std::mem::take(&mut self.rest);
        let store = match store {
            Store::New if rest > 0 => Store::At(rest),
            other => other,
        };
        let ascii = self.ascii;
        if ascii && matches!(store, Store::At(_)) {
            return answer(501, "REST needs TYPE I");
        }
        self.refuses_transfer()
            .unwrap_or(Step::Do(Request::Receive { store, path, ascii }))
    }

    fn send(&mut self, path: Argument) -> Step {
        let offset = std::mem::take(&mut self.rest);
        let ascii = self.ascii;
        if ascii && offset > 0 {
            return answer(501, "REST needs TYPE I");
        }
        let request = Request::Send {
            path,
            offset,
            ascii,
        };
        self.refuses_transfer().unwrap_or(Step::Do(request))
    }

    fn list(&mut self, form: Form, argument: Argument) -> Step {
        self.rest = 0;
        let path = match form {
            Form::Machine => argument,
            Form::Long | Form::Names => without_options(&argument),
        };
        self.refuses_transfer()
            .unwrap_or(Step::Do(Request::List(form, path)))
    }
}

/// What is about files. All other commands were dealt with before.
fn on_files(command: Command, rename_from: Option<Argument>, state: &mut State) -> Step {
    Step::Do(match command {
        Command::Stor(path) => return state.receive(Store::New, path),
        Command::Appe(path) => return state.receive(Store::Append, path),
        Command::Stou(path) => return state.receive(Store::Unique, path),
        Command::Retr(path) => return state.send(path),
        Command::List(path) => return state.list(Form::Long, path),
        Command::Nlst(path) => return state.list(Form::Names, path),
        Command::Mlsd(path) => return state.list(Form::Machine, path),
        Command::Size(_) if state.ascii => return answer(550, "SIZE needs TYPE I"),
        Command::Size(path) => Request::Size(path),
        Command::Pwd => {
            let text = [&quote(&state.cwd)[..], b" is the current directory"].concat();
            return Step::Answer(Answer::new(257, text));
        }
        Command::Rnto(to) => match rename_from {
            Some(from) => Request::Rename(from, to),
            None => return answer(503, "RNFR comes first"),
        },
        Command::Digest(command, path) => Request::Digest(command, state.algorithm(command), path),
        Command::Site(text) if text.trim_ascii().eq_ignore_ascii_case(b"HELP") => {
            return Step::Answer(options::site_help());
        }
        Command::Site(_) => return answer(504, "SITE HELP lists what there is"),
        Command::Mlst(path) => Request::Facts(path),
        Command::Stat(path) => Request::Status(without_options(&path)),
        Command::Cwd(path) => Request::ChangeDir(path),
        Command::Cdup => Request::ChangeDir(b"..".to_vec()),
        Command::Mdtm(path) => Request::Modified(path),
        Command::Mfmt(time, path) => Request::SetModified(Verb::Mfmt, time, path),
        Command::MdtmSet(time, path) => Request::SetModified(Verb::Mdtm, time, path),
        Command::SiteUtime(time, path) => Request::SetModified(Verb::Site, time, path),
        Command::SiteChmod(mode, path) => Request::SetMode(mode, path),
        Command::Dele(path) => Request::Delete(path),
        Command::Mkd(path) => Request::MakeDir(path),
        Command::Rmd(path) => Request::RemoveDir(path),
        Command::Rnfr(path) => Request::RenameFrom(path),
        _ => return answer(502, "this server does without that command"),
    })
}

fn answer(code: u16, text: &str) -> Step {
    Step::Answer(Answer::new(code, text))
}

/// The path behind the options of `ls` (`-la path`) that clients send along.
fn without_options(argument: &[u8]) -> Argument {
    let mut rest = argument.trim_ascii_start();
    while rest.starts_with(b"-") {
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        rest = rest.get(end..).unwrap_or_default().trim_ascii_start();
    }
    rest.to_vec()
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
