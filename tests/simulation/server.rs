//! A model of an FTP server: what it keeps, how it differs from others, and how
//! it fails. It remembers every publish, for the judge.

mod session;
mod store;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::time::Duration;

use edgespool::sys::{Clock, Net};
use smol::{LocalExecutor, Task};

use super::net::{CONTROL_PORT, SERVER, SimNet};
use super::time::{Dice, SimClock};
pub use store::Store;

/// What kind of server it is.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    pub epsv: bool,
    pub rest: bool,
    /// A REST holds for the next command only (RFC 3659 §5.3), else until the
    /// next transfer.
    pub forgets_rest: bool,
    /// APPE goes on at the end of the file; else it replaces the file.
    pub appends: bool,
    pub mfmt: bool,
    pub hashes: bool,
    /// A rename over an existing file is refused.
    pub rename_refuses_existing: bool,
    /// 150 before the data connection stands.
    pub early_150: bool,
    /// Half a file on a cut data connection is answered with 226.
    pub content_with_half: bool,
    /// A transfer ends with its control connection.
    pub transfer_needs_control: bool,
    pub software: &'static str,
}

impl Manners {
    pub fn random(dice: &Dice) -> Manners {
        Manners {
            epsv: !dice.one_in(6),
            rest: !dice.one_in(6),
            forgets_rest: dice.one_in(3),
            appends: !dice.one_in(3),
            mfmt: dice.percent(60),
            hashes: dice.percent(40),
            rename_refuses_existing: dice.one_in(6),
            early_150: dice.percent(50),
            content_with_half: dice.percent(60),
            transfer_needs_control: dice.percent(50),
            software: dice.pick(&["(vsFTPd 3.0.5)", "ProFTPD Server", "FTP ready"]),
        }
    }

    /// Whether a hash or a time tells a file from an earlier version of the same
    /// length. Where nothing does, it is sent again rather than taken for
    /// delivered.
    fn tells_versions(&self) -> bool {
        self.hashes || self.mfmt || self.software.contains("vsFTPd")
    }

    /// One without surprises, for sweeps.
    pub fn plain() -> Manners {
        Manners {
            epsv: true,
            rest: true,
            forgets_rest: false,
            appends: true,
            mfmt: true,
            hashes: false,
            rename_refuses_existing: false,
            early_150: true,
            content_with_half: true,
            transfer_needs_control: true,
            software: "FTP ready",
        }
    }
}

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moods {
    /// One in so many commands is refused with a 4yz.
    pub refuse_one_in: u64,
    /// One in so many is refused with a 5yz.
    pub reject_one_in: u64,
    /// One in so many is obeyed, and the connection lost before the reply.
    pub mute_one_in: u64,
    /// One in so many replies is late.
    pub late_one_in: u64,
    /// One in so many commands ends the session with 421.
    pub close_one_in: u64,
    /// Bytes of room; beyond it 452 or 552.
    pub room: Option<u64>,
    pub until: Duration,
}

pub struct Server {
    net: SimNet,
    clock: SimClock,
    dice: Dice,
    pub manners: Cell<Manners>,
    /// See [`Manners::tells_versions`]: it always did.
    tells_versions: Cell<bool>,
    pub moods: Cell<Moods>,
    pub store: RefCell<Store>,
    sessions: RefCell<Vec<Task<()>>>,
    listening: RefCell<Option<Task<()>>>,
    /// Weak, because the tasks hold the server.
    tasks: Weak<LocalExecutor<'static>>,
}

impl Server {
    pub fn start(
        net: &SimNet,
        clock: &SimClock,
        dice: &Dice,
        manners: Manners,
        tasks: &Rc<LocalExecutor<'static>>,
    ) -> Rc<Server> {
        let server = Rc::new(Server {
            net: net.at_server(),
            clock: clock.clone(),
            dice: dice.fork(),
            manners: Cell::new(manners),
            tells_versions: Cell::new(manners.tells_versions()),
            moods: Cell::default(),
            store: RefCell::default(),
            sessions: RefCell::default(),
            listening: RefCell::default(),
            tasks: Rc::downgrade(tasks),
        });
        server.listen();
        server
    }

    /// It is another one from the next session on.
    pub fn change(&self, manners: Manners) {
        log::info!("the server changes: {manners:?}");
        self.manners.set(manners);
        // What was told by a hash before may be asked for by its time now.
        self.tells_versions.set(false);
    }

    pub fn always_told_versions(&self) -> bool {
        self.tells_versions.get()
    }

    fn listen(self: &Rc<Self>) {
        let addr = SocketAddr::new(SERVER.parse().unwrap(), CONTROL_PORT);
        let listener = self.net.listen(addr).unwrap();
        let server = self.clone();
        let Some(tasks) = self.tasks.upgrade() else {
            return;
        };
        let listening = tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(tasks) = server.tasks.upgrade() else {
                    return;
                };
                let session = tasks.spawn(session::serve(server.clone(), stream));
                let mut sessions = server.sessions.borrow_mut();
                sessions.retain(|task| !task.is_finished());
                sessions.push(session);
            }
        });
        *self.listening.borrow_mut() = Some(listening);
    }

    /// Goes down hard, forgets part of what was never renamed, and stays away.
    pub fn crash(self: &Rc<Self>, away: Duration) {
        log::info!("the server crashes, and is away for {away:?}");
        self.sessions.borrow_mut().clear();
        self.listening.borrow_mut().take();
        self.store.borrow_mut().lose_temporary(&self.dice);
        let server = self.clone();
        let back = async move {
            server.clock.sleep(away).await;
            if server.listening.borrow().is_none() {
                server.listen();
            }
        };
        if let Some(tasks) = self.tasks.upgrade() {
            tasks.spawn(back).detach();
        }
    }

    fn is_moody(&self) -> bool {
        self.clock.mono().0 < self.moods.get().until
    }
}
