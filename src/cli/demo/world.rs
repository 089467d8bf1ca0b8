//! The directory that a demo plays in, and the config that it plays with.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::made::hex;
use super::{camera, sensor};
use crate::base::Secret;
use crate::sys::Rng;

/// A directory of its own below `$TMPDIR`; removed when it is dropped.
pub(super) struct World {
    dir: PathBuf,
    keep: bool,
}

/// Where the agent delivers to.
pub(super) struct Destination {
    /// The receiver's control port.
    pub(super) addr: SocketAddr,
    /// SHA-256 of its certificate.
    pub(super) fingerprint: [u8; 32],
    /// The password of [`USER`].
    pub(super) password: Secret,
}

/// Who logs in to the receiver.
pub(super) const USER: &str = "gateway";
/// The device's name, and its directory on the server.
pub(super) const DEVICE: &str = "demo";

impl World {
    /// Makes the directory; nobody else may look into it.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn new(rng: &dyn Rng, keep: bool) -> io::Result<World> {
        let parent = std::env::temp_dir();
        for _ in 0..NAMES_TRIED {
            let dir = parent.join(format!("edgespool-demo.{:08x}", rng.next_u64() >> 32));
            match DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => {
                    // Taken at once, so that what follows is removed on failure too.
                    let world = World { dir, keep };
                    for part in [world.device(camera::WATCH), world.device(sensor::WATCH)] {
                        fs::create_dir_all(part)?;
                    }
                    fs::create_dir(world.server())?;
                    fs::create_dir(world.receiver())?;
                    return Ok(world);
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// All of it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the devices write to.
    pub(super) fn devices(&self) -> PathBuf {
        self.dir.join("devices")
    }

    /// What one of them writes to.
    pub(super) fn device(&self, watch: &str) -> PathBuf {
        self.devices().join(watch)
    }

    /// What the receiver keeps for its user.
    pub(super) fn server(&self) -> PathBuf {
        self.dir.join("server")
    }

    /// What the receiver keeps for itself.
    pub(super) fn receiver(&self) -> PathBuf {
        self.dir.join("receiver")
    }

    /// The agent's config.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("edgespool.toml")
    }

    /// Where other commands reach the agent; `None` where the path is too long
    /// for a socket.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        let path = self.dir.join(SOCKET);
        (path.as_os_str().len() <= SOCKET_PATH_MAX).then_some(path)
    }

    /// The list for `sha256sum -c`.
    pub(super) fn sums(&self) -> PathBuf {
        self.dir.join("made.sha256")
    }

    /// Writes the agent's config, and the password that it names.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn write_config(&self, to: &Destination) -> io::Result<()> {
        let mut password = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.dir.join("password"))?;
        password.write_all(to.password.expose())?;
        password.write_all(b"\n")?;
        let mut text = config_text(to);
        if self.socket().is_some() {
            text += &format!("\n[status]\nsocket = \"{SOCKET}\"\n");
        }
        fs::write(self.config(), text)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed stays; the system cleans up here anyway.
            let _stays = fs::remove_dir_all(&self.dir);
        }
    }
}

fn config_text(to: &Destination) -> String {
    let (host, port, pin) = (to.addr.ip(), to.addr.port(), hex(&to.fingerprint));
    let (camera, sensor) = (camera::WATCH, sensor::WATCH);
    format!(
        r#"# What `edgespool demo` ran with.
device = "{DEVICE}"

[spool]
dir = "spool"
max_size = "64MiB"
min_free = "1MiB"

[[server]]
name = "central"
host = "{host}"
port = {port}
user = "{USER}"
password_file = "password"
# The receiver made its certificate by itself; this tells it from any other.
pin_sha256 = ["{pin}"]
stall_timeout = "20s"

[[watch]]
name = "{camera}"
dir = "devices/{camera}"
server = "central"
remote = "/{{device}}/{{watch}}/{{path}}"

[[watch]]
name = "{sensor}"
dir = "devices/{sensor}"
server = "central"
remote = "/{{device}}/{{watch}}/{{path}}"
priority = 7     # small and wanted soon: before the pictures

[retry]
first = "300ms"
max = "1s"
"#
    )
}

const NAMES_TRIED: u32 = 16;
const SOCKET: &str = "control.sock";
/// Linux has 108 bytes for a socket's path, with the NUL at its end.
const SOCKET_PATH_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Env};
    use crate::sys::Sys;
    use std::os::unix::fs::PermissionsExt;

    fn destination() -> Destination {
        Destination {
            addr: SocketAddr::from(([127, 0, 0, 1], 2121)),
            fingerprint: [0xa5; 32],
            password: Secret::new(b"made up".to_vec()),
        }
    }

    #[test]
    fn the_config_is_one_without_mistakes_or_warnings() {
        let sys = Sys::os().unwrap();
        let world = World::new(&*sys.rng, false).unwrap();
        world.write_config(&destination()).unwrap();
        let loaded = Env::with_os(&sys, |env| config::load(&world.config(), env)).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        let [server] = &loaded.config.servers[..] else {
            panic!("one server")
        };
        assert_eq!(server.pins, [[0xa5; 32]]);
        assert_eq!(loaded.config.watches.len(), 2);
        // Never that of an agent which serves this machine.
        assert_eq!(Some(loaded.config.status.socket), world.socket());
    }

    #[test]
    fn nobody_else_may_look_into_it_and_it_goes_unless_it_is_kept() {
        let sys = Sys::os().unwrap();
        for keep in [false, true] {
            let world = World::new(&*sys.rng, keep).unwrap();
            let dir = world.dir().to_owned();
            let mode = fs::metadata(&dir).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
            drop(world);
            assert_eq!(dir.exists(), keep);
            let _gone = fs::remove_dir_all(&dir);
        }
    }
}
