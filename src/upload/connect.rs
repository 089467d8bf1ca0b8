//! From a host name to a session that is logged in.
//!
//! Never in clear text unless the user said so by name: a refused `AUTH TLS`,
//! a refused `PROT P` or a certificate that is not trusted ends the try.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::dialogue::Dialogue;
use super::failure::{Class, Failure, Step};
use super::options::{ServerOptions, TlsMode};
use super::profile::{Profile, Resuming};
use super::tls::{Connector, Tcp, TlsSetup, Untrusted};
use super::wire::{Wire, describe_tls};
use crate::ftp::command::{Command, Protection, TransferType};
use crate::ftp::feat::Features;
use crate::ftp::quirks::ServerKind;
use crate::sys::{Sys, Wall, timeout};

/// A destination: its options, whom it is trusted by, and what was learned
/// about it. All sessions to it share one.
pub struct Server {
    pub(super) options: ServerOptions,
    pub(super) tls: Option<TlsSetup>,
    pub(super) profile: RefCell<Profile>,
    learned: Cell<bool>,
    /// How uploads go on, as far as the next process will know.
    kept: Cell<Resuming>,
}

impl Server {
    /// Reads certificates and keys. `floor` is a time that is known to have
    /// passed (see the module description of certificates and clocks);
    /// `profile` is what was learned before, and stored.
    ///
    /// # Errors
    /// [`Class::Tls`] when a certificate, key or host name cannot be used.
    pub async fn prepare(
        sys: &Sys,
        options: ServerOptions,
        profile: Profile,
        floor: Wall,
    ) -> Result<Rc<Server>, Failure> {
        let tls = match options.tls {
            TlsMode::None => None,
            TlsMode::Explicit | TlsMode::Implicit => {
                Some(TlsSetup::load(sys, &options, floor).await?)
            }
        };
        Ok(Rc::new(Server {
            options,
            tls,
            learned: Cell::new(false),
            kept: Cell::new(profile.resuming),
            profile: RefCell::new(profile),
        }))
    }

    /// What is known about it now.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile.borrow().clone()
    }

    /// Whether something was learned since the last call: then the profile is
    /// worth storing.
    pub fn take_learned(&self) -> bool {
        self.learned.replace(false)
    }

    /// Takes note that a profile is on stable storage, so that the next process
    /// will begin with it.
    pub fn kept(&self, profile: &Profile) {
        self.kept.set(profile.resuming);
    }

    /// Whether the next process will know that files may have been appended to
    /// here. It trusts none of the temporary files that it finds then.
    pub(super) fn is_appending_kept(&self) -> bool {
        self.kept.get() == Resuming::Appe
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// Changes what is known.
    pub(super) fn learn(&self, change: impl FnOnce(&mut Profile)) {
        let before = self.profile();
        let mut profile = self.profile.borrow_mut();
        change(&mut profile);
        if *profile != before {
            log::debug!("{}: learned {:?}", self.options.name, *profile);
            self.learned.set(true);
        }
    }

    /// Host and port, for messages.
    pub(super) fn peer(&self) -> String {
        let ServerOptions { host, port, .. } = &self.options;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

/// What a login brings.
pub(super) struct LoggedIn {
    pub(super) dialogue: Dialogue,
    pub(super) connector: Option<Connector>,
    pub(super) features: Features,
    pub(super) kind: ServerKind,
}

/// Is told of each step that worked, with what was found.
pub type Observer<'a> = &'a mut dyn FnMut(Step, &str);

/// All of it, within `connect_timeout` a step.
pub(super) async fn log_in(
    sys: &Sys,
    server: &Server,
    observe: Observer<'_>,
) -> Result<LoggedIn, Failure> {
    let options = &server.options;
    let tcp = connect(sys, server, observe).await?;
    let connector = connector(server)?;
    let wire = match (&connector, options.tls) {
        (Some(connector), TlsMode::Implicit) => {
            let wire = handshake(sys, server, connector, tcp).await?;
            observe(Step::Tls, &describe_tls(&wire));
            wire
        }
        _ => Wire::Plain(tcp),
    };
    let limit = options.connect_timeout;
    let mut dialogue = Dialogue::new(wire, sys.clock.clone(), server.peer(), limit);
    let greeting = dialogue.greeting().await?;
    if !greeting.is_completion() {
        return Err(Failure::refused(Step::Greeting, &server.peer(), &greeting));
    }
    observe(Step::Greeting, &greeting.text());
    let mut kind = ServerKind::from_reply(&greeting);
    if let (Some(connector), TlsMode::Explicit) = (&connector, options.tls) {
        dialogue = upgrade(sys, server, connector, dialogue).await?;
        observe(Step::Tls, &describe_tls(dialogue.wire()));
    }
    authenticate(server, &mut dialogue).await?;
    observe(Step::Login, &String::from_utf8_lossy(&options.user));
    let features = settle_terms(server, &mut dialogue, &mut kind).await?;
    observe(Step::Features, &describe(kind, &features));
    server.learn(|profile| {
        profile.software = kind.as_str().to_owned();
        // It may have been learned from another program, or another version.
        profile.no_size &= !features.size;
    });
    dialogue.set_limit(options.stall_timeout);
    dialogue.set_iac(kind.iac());
    Ok(LoggedIn {
        dialogue,
        connector,
        features,
        kind,
    })
}

/// TCP to the first address that answers.
async fn connect(sys: &Sys, server: &Server, observe: Observer<'_>) -> Result<Tcp, Failure> {
    let ServerOptions {
        host,
        port,
        connect_timeout,
        ..
    } = &server.options;
    let fail = |step, error: &io::Error| {
        let message = match error.kind() {
            io::ErrorKind::TimedOut => format!("no answer for {} s", connect_timeout.as_secs()),
            _ => error.to_string(),
        };
        Failure::new(Class::Network, step, &server.peer(), message)
    };
    let looked_up = timeout(&*sys.clock, *connect_timeout, sys.net.resolve(host, *port)).await;
    let addresses = looked_up
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|error| {
            fail(Step::Resolve, &error).with_remedy("check host, and the device's DNS settings")
        })?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match sys.net.connect(address, *connect_timeout).await {
            Ok(tcp) => {
                observe(Step::Resolve, &address.ip().to_string());
                observe(Step::Connect, &address.to_string());
                return Ok(tcp);
            }
            Err(error) => {
                log::debug!("{address}: {error}");
                last = error;
            }
        }
    }
    Err(fail(Step::Connect, &last)
        .with_remedy("check host and port, that the server runs, and firewalls on the way"))
}

fn connector(server: &Server) -> Result<Option<Connector>, Failure> {
    let Some(tls) = &server.tls else {
        return Ok(None);
    };
    let only_tls12 = server.profile.borrow().tickets_run_out && tls.allows_tls12();
    match tls.connector(only_tls12) {
        Ok(connector) => Ok(Some(connector)),
        Err(error) => Err(Failure::new(
            Class::Tls,
            Step::Prepare,
            &server.options.name,
            error.to_string(),
        )),
    }
}

/// TLS on a new control connection.
async fn handshake(
    sys: &Sys,
    server: &Server,
    connector: &Connector,
    tcp: Tcp,
) -> Result<Wire, Failure> {
    let limit = server.options.connect_timeout;
    match timeout(&*sys.clock, limit, connector.connect(tcp)).await {
        Ok(Ok(tls)) => Ok(Wire::Tls(Box::new(tls.into()))),
        Ok(Err(error)) => Err(tls_failure(&server.peer(), &error)),
        Err(_) => {
            let message = format!("the TLS handshake did not end within {} s", limit.as_secs());
            Err(Failure::new(Class::Tls, Step::Tls, &server.peer(), message)
                .with_remedy("is it implicit TLS on this port? set tls to what the server does"))
        }
    }
}

/// `AUTH TLS` (RFC 4217 §4), then the handshake.
async fn upgrade(
    sys: &Sys,
    server: &Server,
    connector: &Connector,
    mut dialogue: Dialogue,
) -> Result<Dialogue, Failure> {
    let reply = dialogue
        .call(Step::Tls, &Command::Auth(b"TLS".to_vec()))
        .await?;
    if reply.code() != 234 {
        return Err(Failure::refused(Step::Tls, &server.peer(), &reply));
    }
    let (wire, control) = dialogue.into_parts()?;
    let Wire::Plain(tcp) = wire else {
        let message = "there is TLS already";
        return Err(Failure::new(Class::Tls, Step::Tls, &server.peer(), message));
    };
    let wire = handshake(sys, server, connector, tcp).await?;
    let limit = server.options.connect_timeout;
    Ok(Dialogue::resume(
        (wire, control),
        sys.clock.clone(),
        server.peer(),
        limit,
    ))
}

/// `USER`, and `PASS` when asked for.
async fn authenticate(server: &Server, dialogue: &mut Dialogue) -> Result<(), Failure> {
    let options = &server.options;
    let mut reply = dialogue
        .call(Step::Login, &Command::User(options.user.clone()))
        .await?;
    if reply.code() == 331 {
        reply = dialogue
            .call(Step::Login, &Command::Pass(options.password.clone()))
            .await?;
    }
    if reply.is_completion() {
        return Ok(());
    }
    let user = String::from_utf8_lossy(&options.user);
    Err(Failure::refused(
        Step::Login,
        &format!("{user} at {}", server.peer()),
        &reply,
    ))
}

/// What the session needs, in one flight: features, protection, type.
async fn settle_terms(
    server: &Server,
    dialogue: &mut Dialogue,
    kind: &mut ServerKind,
) -> Result<Features, Failure> {
    let feat = dialogue.queue(Step::Features, &Command::Feat)?;
    let protection = if server.tls.is_some() {
        let _answered_before_prot = dialogue.queue(Step::Tls, &Command::Pbsz(0))?;
        Some(dialogue.queue(Step::Tls, &Command::Prot(Protection::Private))?)
    } else {
        None
    };
    let image = dialogue.queue(Step::Features, &Command::Type(TransferType::Image))?;
    let reply = dialogue.reply(Step::Features, feat).await?;
    if *kind == ServerKind::Unknown {
        *kind = ServerKind::from_reply(&reply);
    }
    let features = Features::parse(&reply);
    if let Some(tag) = protection {
        let reply = dialogue.reply(Step::Tls, tag).await?;
        if !reply.is_completion() {
            return Err(Failure::refused(Step::Tls, &server.peer(), &reply)
                .with_remedy("the server must allow PROT P, or file contents would be readable"));
        }
    }
    let reply = dialogue.reply(Step::Features, image).await?;
    if !reply.is_completion() {
        return Err(Failure::refused(Step::Features, &server.peer(), &reply));
    }
    Ok(features)
}

/// What failed in a handshake and what to do, for a person.
pub(super) fn tls_failure(peer: &str, error: &io::Error) -> Failure {
    use rustls::{CertificateError as Bad, Error};
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let message = match inner {
        // Its own Display would show the field names of our type.
        Some(Error::InvalidCertificate(Bad::Other(other))) => other.to_string(),
        _ => error.to_string(),
    };
    let remedy = match inner {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::Other(other) if matches!(other.0.downcast_ref(), Some(Untrusted::Pin { .. })) => {
                "if the server has a new certificate, correct pin_sha256"
            }
            Bad::Other(_) | Bad::UnknownIssuer | Bad::BadSignature => {
                "if it is the server's, pin it with pin_sha256 (send: --pin), or name its authority \
                 in ca_file (send: --ca-file)"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "the server needs a new certificate",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => "check this device's clock",
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "set host to the name in the certificate, or pin it with pin_sha256"
            }
            _ => "check ca_file and pin_sha256",
        },
        Some(Error::InvalidMessage(_)) => "is there TLS on this port? check tls and port",
        Some(_) => "the server's TLS settings and min_tls may not fit",
        // Not TLS's own: the connection broke.
        None => return Failure::new(Class::Network, Step::Tls, peer, message),
    };
    Failure::new(Class::Tls, Step::Tls, peer, message).with_remedy(remedy)
}

fn describe(kind: ServerKind, features: &Features) -> String {
    let mut words = vec![kind.as_str().to_owned()];
    for (offered, name) in [
        (features.epsv, "EPSV"),
        (features.rest_stream, "REST"),
        (features.size, "SIZE"),
        (features.mfmt, "MFMT"),
    ] {
        if offered {
            words.push(name.to_owned());
        }
    }
    words.extend(
        features
            .digest_commands
            .iter()
            .map(|command| command.verb().to_string()),
    );
    words.join(", ")
}

/// A short wait for what is most likely on its way already.
pub(super) const GRACE: Duration = Duration::from_secs(5);
