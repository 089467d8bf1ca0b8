//! A server's processes, in namespaces of their own, ended as one.

use std::fs::{self, File};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::install::Programs;
use super::{Kind, Server, USER, Variant};

/// A running server.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Runs `command`, a program and its arguments, as the server's process.
    pub(super) fn start(server: &Server, programs: &Programs, command: &[String]) -> Self {
        let dir = server.dir();
        let root = &server.root;
        let mut shell = if is_root() {
            let mut unshare = Command::new("unshare");
            // The shell is the first process of its PID namespace: when it ends,
            // the kernel ends all others there, whatever sessions they made.
            unshare.args([
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--kill-child",
            ]);
            unshare.args(["sh", "-c", IN_NAMESPACES, "sh"]);
            unshare.arg(private_etc(server)).arg(root);
            unshare.arg(if server.variant == Variant::DiskFull {
                "1m"
            } else {
                ""
            });
            unshare
        } else {
            assert!(
                server.kind == Kind::Pyftpdlib,
                "{} needs root for an /etc of its own: run the tests as root (in a container, or \
                 with `sudo -E`)",
                server.kind.name()
            );
            let mut sh = Command::new("sh");
            sh.args(["-c", ALONE, "sh"]);
            sh
        };
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("stderr"))
            .unwrap();
        shell
            .args(command)
            .env("LC_ALL", "C.UTF-8")
            .env("LD_LIBRARY_PATH", programs.loader_path())
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if server.variant == Variant::ExplicitTls12 {
            shell.env("OPENSSL_CONF", tls12_only(dir));
        }
        own_root(server);
        let child = shell
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {server:?}: {e}"));
        Self { child }
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Where this process sees a path of the server's mount namespace.
    pub(super) fn sees(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        root.join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its shell reads this pipe to the end; with the shell goes the server.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Gives a file of the server's directory to the user that logs in there.
pub(super) fn give_to_user(path: &Path) {
    if is_root() {
        chown(path, Some(UID), Some(UID)).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn own_root(server: &Server) {
    // Pure-FTPd has no setting that refuses uploads; the directory does.
    if server.variant == Variant::Readonly && server.kind == Kind::PureFtpd {
        return;
    }
    give_to_user(&server.root);
}

/// An /etc with one user whose home, and so whose chroot, is the root.
fn private_etc(server: &Server) -> PathBuf {
    let etc = server.dir().join("etc");
    fs::create_dir_all(etc.join("pam.d")).unwrap();
    let home = server.root.display();
    let write = |name: &str, text: String| fs::write(etc.join(name), text).unwrap();
    write(
        "passwd",
        format!(
            "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/nonexistent:/bin/false\n\
             {USER}:x:{UID}:{UID}::{home}:/bin/sh\n"
        ),
    );
    write(
        "group",
        format!("root:x:0:\nnogroup:x:65534:\n{USER}:x:{UID}:\n"),
    );
    write(
        "shadow",
        format!("root:*:19000::::::\n{USER}:{PASSWORD_HASH}:19000::::::\n"),
    );
    write(
        "nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n".into(),
    );
    write("hosts", "127.0.0.1 localhost\n::1 localhost\n".into());
    write("shells", "/bin/sh\n".into());
    write("pam.d/ftp", PAM.into());
    write(
        "pam.d/other",
        "auth required pam_deny.so\naccount required pam_deny.so\n".into(),
    );
    let _ = fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"));
    etc
}

/// For the servers that have no setting for it.
fn tls12_only(dir: &Path) -> PathBuf {
    let file = dir.join("openssl.cnf");
    let text = "openssl_conf=a\n[a]\nssl_conf=b\n[b]\nsystem_default=c\n\
                [c]\nMinProtocol=TLSv1.2\nMaxProtocol=TLSv1.2\n";
    fs::write(&file, text).unwrap();
    file
}

/// Runs `$4...` with `$1` as /etc and, if `$3` names a size, a tmpfs on `$2`,
/// until standard input ends.
const IN_NAMESPACES: &str = r#"
set -e
mount --bind "$1" /etc
if [ -f /var/log/wtmp ]; then mount --bind /dev/null /var/log/wtmp; fi
if [ "$3" ]; then mount -t tmpfs -o size="$3",mode=755,uid=64100,gid=64100 tmpfs "$2"; fi
shift 3
("$@" </dev/null; echo "the server ended: $?" >&2) &
read -r _ || true
"#;

/// The same with no namespace, for a server of one process.
const ALONE: &str = r#"
"$@" </dev/null &
read -r _
kill -KILL $!
wait
"#;

/// Nobody's on any machine we met; the name is known only in the private /etc.
const UID: u32 = 64_100;

/// Of `PASSWORD`, in the SHA-512 form of crypt(3).
const PASSWORD_HASH: &str = "$6$edgespool$nHuz/X/r2LavGmJaENDIhpY6cSbatJ7OxhQbugsaA4XR5O8agUcU2vcq9do3NH.Wj3UfyxTf86uXTxBmpnY9H0";

const PAM: &str = "auth required pam_unix.so\naccount required pam_unix.so\n\
                   session required pam_permit.so\n";
