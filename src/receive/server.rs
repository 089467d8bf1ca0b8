//! The receiver: it listens, and serves each client by a task of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use smol::LocalExecutor;
use smol::channel::{Receiver as Ear, Sender as Mouth, bounded};
use smol::io::AsyncWriteExt;

use super::error::ReceiveError;
use super::files::Received;
use super::hook::{Hook, WORKERS};
use super::inbox::Inbox;
use super::journal::Journal;
use super::limits::{Limits, Refusal};
use super::options::{ReceiveOptions, TlsUse};
use super::session::{Control, Session};
use super::tls::ServerTls;
use super::users::Users;
use crate::sys::{Listener, Mono, Sys, Tcp, Wire, timeout};

/// Is told what happens.
pub trait Observer {
    /// A file was received, durably.
    fn received(&self, received: &Received);
}

/// An FTP server. Call order: [`Receiver::bind`], then [`Receiver::run`] until
/// [`Receiver::stop`].
pub struct Receiver {
    shared: Rc<Shared>,
    listeners: Vec<Rc<Listening>>,
    /// When it ends, once it stops.
    deadline: Cell<Option<Mono>>,
    /// Says that the deadline has changed.
    shorter: (Mouth<()>, Ear<()>),
}

struct Listening {
    listener: Box<dyn Listener>,
    address: SocketAddr,
    implicit: bool,
}

/// What all sessions share.
pub(super) struct Shared {
    pub(super) sys: Sys,
    pub(super) options: ReceiveOptions,
    pub(super) users: Users,
    pub(super) limits: RefCell<Limits>,
    pub(super) tls: Option<ServerTls>,
    pub(super) journal: Journal,
    pub(super) stop: Stop,
    hook: Hook,
    observer: Rc<dyn Observer>,
    warned: RefCell<BTreeSet<String>>,
    sessions: (Mouth<()>, Ear<()>),
}

impl Shared {
    /// Tells everyone of a file, unless it is to be renamed first.
    pub(super) fn received(&self, received: &Received) {
        if received.waits() {
            return;
        }
        self.observer.received(received);
        self.hook.add(received);
    }

    /// Says once for each user that the password can be read on its way.
    pub(super) fn warn_of_clear_text(&self, user: &str) {
        let mut warned = self.warned.borrow_mut();
        if warned.len() < WARNED_MAX && warned.insert(user.to_owned()) {
            log::warn!("{user} logs in without TLS: whoever listens learns the password");
        }
    }
}

/// Says to all sessions, once and for good, that the server stops.
#[derive(Clone)]
pub(super) struct Stop(Mouth<()>, Ear<()>);

impl Stop {
    fn new() -> Stop {
        let (mouth, ear) = bounded(1);
        Stop(mouth, ear)
    }

    fn say(&self) {
        self.0.close();
    }

    /// Ends when the server stops.
    pub(super) async fn wait(&self) {
        // Nothing is ever sent; only closing ends this.
        let _closed = self.1.recv().await;
    }
}

impl Receiver {
    /// Reads or makes the certificate, and listens. `state_dir` is where the
    /// certificate and the journal are kept; without one they live as long as
    /// the process, and there are log lines alone.
    ///
    /// # Errors
    /// When an address is taken, or the certificate cannot be used.
    pub async fn bind(
        sys: &Sys,
        options: ReceiveOptions,
        inbox: Rc<dyn Inbox>,
        state_dir: Option<&Path>,
        observer: Rc<dyn Observer>,
    ) -> Result<Receiver, ReceiveError> {
        let tls = match options.tls {
            TlsUse::None => None,
            TlsUse::Required | TlsUse::Optional => {
                let (world, options) = (sys.clone(), options.clone());
                let dir = state_dir.map(Path::to_owned);
                let load = move || ServerTls::load(&world, &options, dir.as_deref());
                Some(sys.pool.run(load).await?)
            }
        };
        let implicit = options.listen_implicit.iter().filter(|_| tls.is_some());
        let addresses = options.listen.iter().map(|address| (*address, false));
        let addresses = addresses.chain(implicit.map(|address| (*address, true)));
        let listeners = addresses
            .map(|(address, implicit)| listen(sys, address, implicit))
            .collect::<Result<_, _>>()?;
        let shared = Shared {
            users: Users::new(sys, &options, inbox),
            limits: RefCell::new(Limits::new(&options)),
            tls,
            journal: Journal::new(sys, state_dir),
            stop: Stop::new(),
            hook: Hook::new(sys, options.on_received.clone()),
            observer,
            warned: RefCell::default(),
            sessions: bounded(1),
            sys: sys.clone(),
            options,
        };
        let shared = Rc::new(shared);
        Ok(Receiver {
            shared,
            listeners,
            deadline: Cell::new(None),
            shorter: bounded(1),
        })
    }

    /// Where it listens, and whether with TLS from the first byte on.
    #[must_use]
    pub fn addresses(&self) -> Vec<(SocketAddr, bool)> {
        let each = self.listeners.iter();
        each.map(|l| (l.address, l.implicit)).collect()
    }

    /// The SHA-256 of the certificate: hexadecimal digits, colons between pairs.
    #[must_use]
    pub fn fingerprint(&self) -> Option<&str> {
        self.shared.tls.as_ref().map(ServerTls::fingerprint)
    }

    /// Sessions now.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.shared.limits.borrow().sessions()
    }

    /// Serves clients until [`Receiver::stop`].
    pub async fn run(&self) {
        // Of its own, so that all sessions end with it.
        let executor = Rc::new(LocalExecutor::new());
        for listening in &self.listeners {
            let accepting = accept(
                Rc::downgrade(&executor),
                self.shared.clone(),
                listening.clone(),
            );
            executor.spawn(accepting).detach();
        }
        for _ in 0..WORKERS {
            let shared = self.shared.clone();
            executor
                .spawn(async move { shared.hook.work().await })
                .detach();
        }
        let shared = self.shared.clone();
        executor
            .spawn(async move { shared.journal.work().await })
            .detach();
        let serving = async {
            self.shared.stop.wait().await;
            smol::future::or(self.until_all_are_gone(), self.until_the_deadline()).await;
            self.shared.journal.finish().await;
        };
        executor.run(serving).await;
    }

    /// Has [`Receiver::run`] end: transfers under way have `limit` to end, and
    /// what they have stored by then can be continued. A shorter limit may
    /// follow a longer one.
    pub fn stop(&self, limit: Duration) {
        let at = self.shared.sys.clock.mono().after(limit);
        let deadline = self.deadline.get().map_or(at, |before| before.min(at));
        self.deadline.set(Some(deadline));
        self.shared.stop.say();
        // Full means that a word is there already.
        let _word = self.shorter.0.try_send(());
    }

    async fn until_the_deadline(&self) {
        let clock = &*self.shared.sys.clock;
        while let Some(deadline) = self.deadline.get().filter(|at| clock.mono() < *at) {
            let shorter = async {
                let _word = self.shorter.1.recv().await;
            };
            smol::future::or(clock.sleep_until(deadline), shorter).await;
        }
    }

    async fn until_all_are_gone(&self) {
        while self.sessions() > 0 {
            // Each session that ends leaves a word, or one is there already.
            let _one = self.shared.sessions.1.recv().await;
        }
    }
}

fn listen(sys: &Sys, address: SocketAddr, implicit: bool) -> Result<Rc<Listening>, ReceiveError> {
    let fail = |error| ReceiveError::Listen(address, error);
    let listener = sys.net.listen(address).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok(Rc::new(Listening {
        listener,
        address,
        implicit,
    }))
}

type Executor = std::rc::Weak<LocalExecutor<'static>>;

/// Serves who connects, until the server stops.
async fn accept(executor: Executor, shared: Rc<Shared>, listening: Rc<Listening>) {
    let stop = shared.stop.clone();
    let accepting = async {
        loop {
            match listening.listener.accept().await {
                Ok((tcp, remote)) => {
                    admit(&executor, &shared, tcp, remote, listening.implicit).await;
                }
                Err(error) => {
                    // A client that is gone already, or no descriptor is free.
                    log::warn!("accept: {error}");
                    let now = shared.sys.clock.mono();
                    shared.sys.clock.sleep_until(now.after(ACCEPT_PAUSE)).await;
                }
            }
        }
    };
    smol::future::or(accepting, stop.wait()).await;
}

async fn admit(
    executor: &Executor,
    shared: &Rc<Shared>,
    tcp: Tcp,
    remote: SocketAddr,
    implicit: bool,
) {
    let peer = remote.ip().to_canonical();
    let now = shared.sys.clock.mono();
    let admitted = shared.limits.borrow_mut().admit(peer, now);
    if let Err(refusal) = admitted {
        log::info!("{peer}: {refusal}");
        if !implicit {
            refuse(tcp, refusal).await;
        }
        return;
    }
    let Some(executor) = executor.upgrade() else {
        return;
    };
    let shared = shared.clone();
    let serving = async move {
        let _admitted = Admitted {
            shared: shared.clone(),
            peer,
        };
        if let Some((local, control)) = connect(&shared, tcp, peer, implicit).await {
            let ends = (remote, local);
            let session = Session::new(&shared, ends, control, now);
            session.run().await;
        }
    };
    executor.spawn(serving).detach();
}

/// What fits into the socket's buffer, which is empty.
async fn refuse(mut tcp: Tcp, refusal: Refusal) {
    let line = format!("421 {refusal}\r\n");
    let _gone = smol::future::poll_once(tcp.write(line.as_bytes())).await;
}

/// The control connection, with TLS if it is the implicit port.
async fn connect(
    shared: &Shared,
    tcp: Tcp,
    peer: IpAddr,
    implicit: bool,
) -> Option<(SocketAddr, Control)> {
    let local = tcp.local_addr().ok()?;
    let limit = shared.options.login_timeout;
    let wire = match &shared.tls {
        Some(tls) if implicit => {
            let secured = timeout(&*shared.sys.clock, limit, tls.control(tcp)).await;
            match secured {
                Ok(Ok(wire)) => wire,
                Ok(Err(error)) => {
                    log::info!("{peer}: TLS: {error}");
                    return None;
                }
                Err(_) => return None,
            }
        }
        _ => Wire::Plain(tcp),
    };
    let limit = shared.options.stall_timeout;
    Some((local, Control::new(&shared.sys, wire, limit)))
}

/// Counts a session for as long as it lives.
struct Admitted {
    shared: Rc<Shared>,
    peer: IpAddr,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.limits.borrow_mut().gone(self.peer);
        // Full means that a word is there already.
        let _word = self.shared.sessions.0.try_send(());
    }
}

/// After a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Users who are warned of; there are few.
const WARNED_MAX: usize = 256;
