//! The server: the receiver on loopback, with TLS and a certificate of its own.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::Trouble;
use super::compare::Arrival;
use super::world::{DEVICE, Destination, USER, World};
use crate::base::Secret;
use crate::config::parse_pin;
use crate::receive::{
    Folder, Lockout, NoInbox, Observer, PasswordHash, Permissions, Quota, ReceiveOptions, Received,
    Receiver, Target, TlsUse, User,
};
use crate::sys::Sys;

/// The receiver, and what it has received.
pub(super) struct Central {
    receiver: Rc<Receiver>,
    running: Task<()>,
    guest_book: Rc<GuestBook>,
}

impl Central {
    /// Starts it on a free port; it serves while `tasks` are run.
    ///
    /// # Errors
    /// When it cannot listen, or has no certificate.
    pub(super) async fn start(
        sys: &Sys,
        world: &World,
        tasks: &Rc<LocalExecutor<'static>>,
    ) -> Result<(Central, Destination), Trouble> {
        let failed = |why: &str| Trouble::Receiver(why.to_owned());
        let password = password().ok_or(failed("there are no random numbers"))?;
        let guest_book = Rc::new(GuestBook::default());
        let receiver = Receiver::bind(
            sys,
            options(world, password.clone()),
            Rc::new(NoInbox),
            Some(&world.receiver()),
            guest_book.clone(),
        )
        .await
        .map_err(|e| failed(&e.to_string()))?;
        let addresses = receiver.addresses();
        let (addr, _) = addresses.first().ok_or(failed("it has no address"))?;
        let fingerprint = receiver.fingerprint().and_then(parse_pin);
        let destination = Destination {
            addr: *addr,
            fingerprint: fingerprint.ok_or(failed("it has no certificate"))?,
            password,
        };
        let receiver = Rc::new(receiver);
        let serving = receiver.clone();
        let central = Central {
            receiver,
            running: tasks.spawn(async move { serving.run().await }),
            guest_book,
        };
        Ok((central, destination))
    }

    /// What has arrived, in order.
    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        self.guest_book.0.borrow().clone()
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.receiver.stop(STOP_LIMIT);
        self.running.await;
    }
}

/// Who came.
#[derive(Default)]
struct GuestBook(RefCell<Vec<Arrival>>);

impl Observer for GuestBook {
    fn received(&self, received: &Received) {
        let path = received.path.to_bytes();
        self.0.borrow_mut().push(Arrival {
            path: made_path(&String::from_utf8_lossy(&path)),
            size: received.size,
            from: received.from,
        });
    }
}

/// What the device called a file that was uploaded under this name: it comes
/// under a temporary one, `.<name>.<id>.part`, and gets its own when it is whole.
fn made_path(uploaded: &str) -> String {
    let below = uploaded.trim_start_matches('/');
    let below = below.strip_prefix(DEVICE).unwrap_or(below);
    let below = below.trim_start_matches('/');
    let (dir, name) = below.rsplit_once('/').unwrap_or(("", below));
    let inner = name.strip_prefix('.').and_then(|n| n.strip_suffix(".part"));
    match inner.and_then(|inner| inner.rsplit_once('.')) {
        Some((name, _id)) => format!("{dir}/{name}"),
        None => below.to_owned(),
    }
}

fn options(world: &World, password: Secret) -> ReceiveOptions {
    let user = User {
        name: USER.to_owned(),
        password: PasswordHash::Plain(password),
        folders: vec![Folder {
            name: Vec::new(),
            target: Target::Dir(world.server()),
        }],
        permissions: Permissions::ALL,
        quota: Quota::default(),
        from: Vec::new(),
    };
    ReceiveOptions {
        server_name: "edgespool demo".to_owned(),
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        listen_implicit: Vec::new(),
        tls: TlsUse::Required,
        certificate: None,
        passive_ports: None,
        external_address: None,
        max_sessions: SESSIONS_MAX,
        sessions_per_user: SESSIONS_MAX,
        sessions_per_address: SESSIONS_MAX,
        login_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(300),
        stall_timeout: Duration::from_secs(60),
        // A connection that broke is no end of a file.
        require_close_notify: true,
        lockout: Lockout {
            failures: 0,
            time: Duration::ZERO,
        },
        users: vec![user],
        anonymous: None,
        on_received: None,
    }
}

/// One that nobody can guess: everyone on this machine can connect.
fn password() -> Option<Secret> {
    let mut random = [0; 16];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut random).ok()?;
    Some(Secret::from(super::made::hex(&random).as_str()))
}

/// The agent has one session; those that broke may not be noticed yet.
const SESSIONS_MAX: usize = 16;
/// For a transfer that is under way, which there is only when the demo is
/// interrupted.
const STOP_LIMIT: Duration = Duration::ZERO;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_that_of_its_file() {
        for (uploaded, made) in [
            ("/demo/camera/.a-1.jpg.1a1043d7-0.part", "camera/a-1.jpg"),
            ("/demo/camera/a-1.jpg", "camera/a-1.jpg"),
            ("/demo/sensor/.b.csv.x.partial", "sensor/.b.csv.x.partial"),
        ] {
            assert_eq!(made_path(uploaded), made);
        }
    }

    #[test]
    fn no_two_passwords_are_the_same() {
        let text = |secret: Option<Secret>| secret.unwrap().expose().to_vec();
        assert_ne!(text(password()), text(password()));
    }
}
