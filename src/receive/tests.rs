//! What the tests of the receiver share.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::base::Secret;
use crate::sys::LocalFuture;

/// Options for a test: generous limits, on loopback.
pub(super) fn options(users: Vec<User>) -> ReceiveOptions {
    let minute = Duration::from_secs(60);
    ReceiveOptions {
        server_name: "test".to_owned(),
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        listen_implicit: Vec::new(),
        tls: TlsUse::Optional,
        certificate: None,
        passive_ports: None,
        external_address: None,
        max_sessions: 200,
        sessions_per_user: 100,
        sessions_per_address: 100,
        login_timeout: minute,
        idle_timeout: minute,
        stall_timeout: minute,
        require_close_notify: false,
        lockout: Lockout {
            failures: 10,
            time: 10 * minute,
        },
        users,
        anonymous: None,
        on_received: None,
    }
}

/// A user with the password `secret` and a directory, who may upload.
pub(super) fn user(name: &str, dir: &Path) -> User {
    User {
        name: name.to_owned(),
        password: PasswordHash::Plain(Secret::from("secret")),
        folders: vec![Folder {
            name: Vec::new(),
            target: Target::Dir(dir.to_owned()),
        }],
        permissions: Permissions::UPLOAD,
        quota: Quota::default(),
        from: Vec::new(),
    }
}

/// A spool of one lane, in memory but for the staged files.
pub(super) struct MemoryInbox {
    pub(super) staging: PathBuf,
    pub(super) room: Arc<MemoryRoom>,
    /// Names and contents, in order.
    pub(super) taken: RefCell<Vec<(String, Vec<u8>)>>,
    /// What the next calls are answered with.
    pub(super) refusal: RefCell<Option<InboxError>>,
    pub(super) calls: Cell<usize>,
}

/// Bytes that there is still room for.
pub(super) struct MemoryRoom(pub(super) AtomicU32);

impl Room for MemoryRoom {
    fn free(&self, staged: u64) -> u64 {
        u64::from(self.0.load(Ordering::Relaxed)).saturating_sub(staged)
    }

    fn has(&self, staged: u64, more: u64) -> bool {
        staged + more <= u64::from(self.0.load(Ordering::Relaxed))
    }

    fn waiting(&self) -> (u64, u64) {
        (0, 0)
    }
}

impl MemoryInbox {
    pub(super) fn new(staging: &Path) -> MemoryInbox {
        MemoryInbox {
            staging: staging.to_owned(),
            room: Arc::new(MemoryRoom(AtomicU32::new(1 << 30))),
            taken: RefCell::default(),
            refusal: RefCell::default(),
            calls: Cell::new(0),
        }
    }
}

impl Inbox for MemoryInbox {
    fn staging(&self, lane: &str) -> io::Result<PathBuf> {
        match lane {
            "lane" => Ok(self.staging.clone()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn wants(&self, _: &str, path: &[u8]) -> bool {
        !path.ends_with(b".part")
    }

    fn room(&self, _: &str) -> Arc<dyn Room> {
        self.room.clone()
    }

    fn take<'a>(
        &'a self,
        lane: &'a str,
        path: &'a [u8],
        staged: Staged,
    ) -> LocalFuture<'a, Result<(), InboxError>> {
        Box::pin(async move {
            assert_eq!(lane, "lane");
            self.calls.set(self.calls.get() + 1);
            if let Some(refusal) = self.refusal.borrow().clone() {
                return Err(refusal);
            }
            let content = std::fs::read(staged.path()).unwrap();
            std::fs::remove_file(staged.path()).unwrap();
            let path = String::from_utf8(path.to_vec()).unwrap();
            self.taken.borrow_mut().push((path, content));
            Ok(())
        })
    }
}
