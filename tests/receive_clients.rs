//! Programs of other people against the receiver, beyond what `receive.rs` does
//! with curl, lftp and ftplib: whole trees there and back, ten thousand files,
//! one of two gigabytes, and a receiver that goes away in between.
//!
//! A client that the machine does not have is unpacked from its package.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::gateway::Gateway;
use common::receiver::{Receiver, Tls, arg, lftp, peak_memory, succeeded};
use common::{Tree, content, wait_until};

/// Odd names, nothing, one byte, around the buffers, and more than sockets hold.
fn tree(seed: u64) -> Tree {
    let sizes = [0, 1, 65_536, 131_073, 3_000_000];
    let file = |(n, size): (usize, &usize)| {
        let name = format!("dir {n}/über-{n} (a) [b].jpg").into_bytes();
        (name, content(seed + n as u64, *size))
    };
    Tree(sizes.iter().enumerate().map(file).collect())
}

/// What a client printed, with its command line, unless it succeeded.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    println!("{command:?}");
    succeeded(&output)
}

#[test]
fn ncftp_takes_trees_there_and_back() {
    let receiver = Receiver::start();
    let (up, down) = (receiver.scratch("up"), receiver.scratch("down"));
    let tree = tree(1);
    tree.write(&up.join("there"));
    let ncftp = |program: &str, more: &[&str]| {
        let port = receiver.addr.port().to_string();
        let mut command = receiver.client(program);
        command.args(["-u", "camera", "-p", &receiver.password, "-P", &port]);
        run(command.args(more));
    };
    // Passive, and active.
    for way in ["-F", "-E"] {
        let name = format!("/in{way}");
        let local = arg(&up.join("there"));
        ncftp("ncftpput", &[way, "-R", "-m", "127.0.0.1", &name, &local]);
        tree.assert_same(&Tree::read(&receiver.root().join(&name[1..]).join("there")));
        let (back, whence) = (arg(&down), format!("{name}/there"));
        ncftp("ncftpget", &[way, "-R", "127.0.0.1", &back, &whence]);
        tree.assert_same(&Tree::read(&down.join("there")));
        fs::remove_dir_all(down.join("there")).unwrap();
    }
}

#[test]
fn ncftpput_goes_on_with_what_is_there() {
    let receiver = Receiver::start();
    let local = receiver.scratch("up").join("image.jpg");
    let bytes = content(9, 1_000_000);
    fs::write(&local, &bytes).unwrap();
    fs::write(receiver.root().join("image.jpg"), &bytes[..400_000]).unwrap();
    let port = receiver.addr.port().to_string();
    let mut command = receiver.client("ncftpput");
    // With sendfile its 3.2.6 sends all of it, from the beginning.
    command.args(["-s", "-z", "-u", "camera", "-P", &port]);
    command.args(["-p", &receiver.password]);
    run(command.args(["127.0.0.1", "/"]).arg(&local));
    assert!(fs::read(receiver.root().join("image.jpg")).unwrap() == bytes);
}

#[test]
fn rclone_syncs_both_ways_with_and_without_tls() {
    for tls in Tls::ALL {
        let receiver = Receiver::start();
        let (up, down) = (receiver.scratch("up"), receiver.scratch("down"));
        let tree = tree(2);
        tree.write(&up);
        let secret = run(receiver
            .client("rclone")
            .args(["obscure", &receiver.password]));
        let addr = match tls {
            Tls::Implicit => receiver.implicit,
            Tls::None | Tls::Explicit => receiver.addr,
        };
        let rclone = |args: &[&str]| {
            let mut command = receiver.client("rclone");
            command.args(["--config", "/dev/null", "--retries", "1"]);
            command.env("SSL_CERT_FILE", receiver.certificate());
            command.args(["--ftp-host", "127.0.0.1", "--ftp-user", "camera"]);
            command.args(["--ftp-port", &addr.port().to_string()]);
            command.args(["--ftp-pass", secret.trim()]);
            command.args(match tls {
                Tls::None => None,
                Tls::Explicit => Some("--ftp-explicit-tls"),
                Tls::Implicit => Some("--ftp-tls"),
            });
            run(command.args(args))
        };
        rclone(&["sync", &arg(&up), ":ftp:/synced"]);
        tree.assert_same(&Tree::read(&receiver.root().join("synced")));
        rclone(&["check", "--download", &arg(&up), ":ftp:/synced"]);
        rclone(&["sync", ":ftp:/synced", &arg(&down)]);
        tree.assert_same(&Tree::read(&down));
        // Times came along: there is nothing to do, until a file is gone.
        fs::remove_dir_all(up.join("dir 4")).unwrap();
        let before = receiver.stdout().lines().count();
        rclone(&["sync", &arg(&up), ":ftp:/synced"]);
        assert_eq!(receiver.stdout().lines().count(), before);
        Tree::read(&up).assert_same(&Tree::read(&receiver.root().join("synced")));
    }
}

#[test]
fn wput_brings_trees_and_goes_on_with_what_is_there() {
    for tls in [Tls::None, Tls::Explicit] {
        let receiver = Receiver::start();
        let up = receiver.scratch("up");
        let mut tree = tree(3);
        // It takes names as they are for parts of a URL.
        tree.0 = (tree.0.into_values().enumerate())
            .map(|(n, bytes)| (format!("dir-{n}/image-{n}.jpg").into_bytes(), bytes))
            .collect();
        tree.write(&up);
        let begun = receiver.root().join("in/dir-4");
        fs::create_dir_all(&begun).unwrap();
        let (part, whole) = (
            begun.join("image-4.jpg"),
            &tree.0[&b"dir-4/image-4.jpg"[..]],
        );
        fs::write(&part, &whole[..1_000_000]).unwrap();
        let mut command = receiver.client("wput");
        // It takes the tickets of TLS 1.3 for the end of the connection.
        let priorities = receiver.scratch("gnutls").join("priorities");
        fs::write(&priorities, "[overrides]\ndisabled-version = tls1.3\n").unwrap();
        command.env("GNUTLS_SYSTEM_PRIORITY_FILE", priorities);
        command.args(["--binary", "--tries=1", "-v"]);
        command.arg(match tls {
            Tls::None => "--disable-tls",
            _ => "--force-tls",
        });
        command.arg(format!("--basename={}/", up.display()));
        for n in 0..tree.0.len() {
            command.arg(up.join(format!("dir-{n}")));
        }
        let (user, secret, addr) = (&receiver.user, &receiver.password, receiver.addr);
        command.arg(format!("ftp://{user}:{secret}@{addr}/in/"));
        run(&mut command);
        tree.assert_same(&Tree::read(&receiver.root().join("in")));
    }
}

#[test]
fn ftplib_brings_every_byte_there_and_back() {
    let receiver = Receiver::start();
    for tls in Tls::ALL {
        succeeded(&receiver.python(
            tls,
            r#"
ftp = connect()
for size in (0, 1, 65_535, 65_536, 131_073, 5_000_000):
    body = os.urandom(size)
    name = "%s %d" % (os.environ["TLS"], size)
    ftp.storbinary("STOR " + name, io.BytesIO(body))
    assert ftp.size(name) == size
    assert fetch(ftp, name) == body, size
ftp.quit()
"#,
        ));
    }
}

/// lftp, whose data connections are cut again and again, both ways.
/// Stopped properly, and killed, between two commands of one lftp.
#[test]
fn lftp_goes_on_with_a_receiver_that_was_restarted() {
    for tls in Tls::ALL {
        let mut receiver = Receiver::start_on_its_own_ports();
        let (up, down) = (receiver.scratch("up"), receiver.scratch("down"));
        let signs = receiver.scratch("signs");
        let tree = tree(4);
        tree.write(&up);
        let up = up.display();
        let script = format!(
            "{PATIENCE}; mirror -R {up} /one; {}; mirror -R {up} /two; {}; mirror / {}",
            pause(&signs.join("stopped")),
            pause(&signs.join("killed")),
            down.display(),
        );
        let mut lftp = receiver.lftp_command(tls, &script);
        let lftp = lftp.stdout(Stdio::piped()).stderr(Stdio::piped());
        let lftp = lftp.spawn().unwrap();
        for sign in ["stopped", "killed"] {
            wait_until("lftp pauses", || signs.join(sign).exists());
            assert_eq!(logins(&receiver.stderr()), 1, "{tls:?}: {sign}");
            if sign == "stopped" {
                assert_eq!(receiver.terminate(), Some(0));
            }
            receiver = receiver.restart();
            fs::remove_file(signs.join(sign)).unwrap();
        }
        succeeded(&lftp.wait_with_output().unwrap());
        assert_eq!(logins(&receiver.stderr()), 1, "{tls:?}");
        for place in ["one", "two"] {
            tree.assert_same(&Tree::read(&receiver.root().join(place)));
            tree.assert_same(&Tree::read(&down.join(place)));
        }
    }
}

#[test]
fn lftp_comes_back_after_it_was_idle_for_too_long() {
    for tls in Tls::ALL {
        let mut gateway = Gateway::new(Gateway::nowhere(), SENDS_IDLE_AWAY);
        let dir = |name: &str| gateway.agent.dir().join(name);
        for name in ["pushed", "home", "up", "down"] {
            fs::create_dir(dir(name)).unwrap();
        }
        let (up, down, idle) = (dir("up"), dir("down"), dir("idle"));
        let (stored, home) = (dir("pushed/tree"), dir("home"));
        let certificate = gateway.agent.spool().join("receive/receive.crt");
        gateway.start();
        let tree = tree(5);
        tree.write(&up);
        let script = format!(
            "{PATIENCE}; mirror -R {} /tree; {}; mirror /tree {}",
            up.display(),
            pause(&idle),
            down.display()
        );
        let url = match tls {
            Tls::Implicit => format!("ftps://{}", implicit_address(&gateway)),
            Tls::None | Tls::Explicit => format!("ftp://{}", gateway.addr()),
        };
        let login = ("camera", "secret");
        let mut lftp = lftp((&url, tls), login, (&certificate, &home), &script);
        let lftp = lftp.stdout(Stdio::piped()).stderr(Stdio::piped());
        let lftp = lftp.spawn().unwrap();
        wait_until("lftp pauses", || idle.exists());
        wait_until("it is sent away", || {
            gateway.agent.stderr().contains("< 421 no command came")
        });
        assert_eq!(logins(&gateway.agent.stderr()), 1, "{tls:?}");
        fs::remove_file(&idle).unwrap();
        succeeded(&lftp.wait_with_output().unwrap());
        assert!(logins(&gateway.agent.stderr()) > 1, "{tls:?}");
        tree.assert_same(&Tree::read(&stored));
        tree.assert_same(&Tree::read(&down));
    }
}

/// Where a gateway listens with TLS from the first byte on.
fn implicit_address(gateway: &Gateway) -> String {
    let log = gateway.agent.stderr();
    let mut lines = log.lines().filter_map(|line| {
        let address = line.strip_suffix(" with TLS")?;
        Some(address.split_once("receive: listening on ")?.1.to_owned())
    });
    lines.next().unwrap()
}

/// Sessions in which the user logged in, by the receiver's log.
fn logins(log: &str) -> usize {
    log.matches("> USER camera").count()
}

/// For lftp: makes a file, and waits until somebody removes it.
fn pause(sign: &Path) -> String {
    let sign = sign.display();
    format!("shell \"touch {sign}; timeout 600 sh -c 'while [ -e {sign} ]; do sleep 0.05; done'\"")
}

/// lftp's own first pause is 30 s.
const PATIENCE: &str = "set net:max-retries 10; set net:reconnect-interval-base 1; \
                        set net:reconnect-interval-multiplier 1";

/// A user with a directory; the gateway's watch has one of its own.
const SENDS_IDLE_AWAY: &str = "listen_implicit = \"127.0.0.1:0\"\nidle_timeout = \"3s\"\n\
    [[receive.user]]\nname = \"camera\"\npassword = \"secret\"\n\
    dir = \"pushed\"\npermissions = [\"all\"]\n\
    [[receive.user]]\nname = \"other\"\npassword = \"secret\"\nwatch = \"camera\"\n";

#[test]
fn ten_thousand_files_come_in_one_session() {
    let receiver = Receiver::start();
    let before = peak_memory(receiver.pid());
    let script = format!(
        "ftp = connect()\nfor n in range({FILES}):\n    \
             if n % 1000 == 0: ftp.mkd('d%d' % (n // 1000))\n    \
             answer = ftp.storbinary('STOR d%d/f%d' % (n // 1000, n), io.BytesIO(b'%d,' % n * (n % 97)))\n    \
             assert answer.startswith('226'), answer\n\
         assert len(ftp.nlst('d3')) == 1000\nftp.quit()\n"
    );
    succeeded(&receiver.python(Tls::None, &script));
    for n in 0..FILES {
        let path = format!("d{}/f{n}", n / 1000);
        let stored = fs::read(receiver.root().join(&path)).unwrap();
        assert_eq!(
            stored,
            format!("{n},").repeat(n % 97).into_bytes(),
            "{path}"
        );
    }
    let said = receiver.stdout();
    let received = said.lines().filter(|line| line.starts_with("received /d"));
    assert_eq!(received.count(), FILES);
    let grown = peak_memory(receiver.pid()) - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
}

#[test]
fn two_gigabytes_come_and_go_in_bounded_memory() {
    let receiver = Receiver::start();
    let before = peak_memory(receiver.pid());
    let curl = |tls: Tls, args: &[&str]| {
        let mut command = receiver.client("curl");
        command.args(["-sS", "--ssl-reqd", "--cacert"]);
        command.arg(receiver.certificate());
        let login = format!("{}:{}", receiver.user, receiver.password);
        command.args(["--user", &login]).args(args);
        command.arg(format!("{}/large", receiver.url(tls)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut sending = curl(Tls::Explicit, &["-T", "-"]);
    let mut pipe = sending.stdin.take().unwrap();
    for n in 0..LARGE / BLOCK as u64 {
        pipe.write_all(&block(n)).unwrap();
    }
    drop(pipe);
    assert!(sending.wait().unwrap().success());
    is_the_large_file(File::open(receiver.root().join("large")).unwrap());
    let mut fetching = curl(Tls::Explicit, &["-o", "-"]);
    is_the_large_file(fetching.stdout.take().unwrap());
    assert!(fetching.wait().unwrap().success());
    let grown = peak_memory(receiver.pid()) - before;
    assert!(grown < GROWTH_MAX, "{grown} bytes more");
}

fn is_the_large_file(mut from: impl Read) {
    let mut read = vec![0; BLOCK];
    for n in 0..LARGE / BLOCK as u64 {
        from.read_exact(&mut read).unwrap();
        assert!(read == block(n), "block {n}");
    }
    assert_eq!(from.read(&mut read).unwrap(), 0);
}

/// Different for each `n`, and quickly made.
fn block(n: u64) -> Vec<u8> {
    let mut bytes = vec![0; BLOCK];
    let mut value = n + 1;
    for word in bytes.chunks_exact_mut(8) {
        value = value
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        word.copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

const FILES: usize = 10_000;
const LARGE: u64 = 2 << 30;
const BLOCK: usize = 1 << 20;

/// Two buffers of 64 KiB and TLS for the one session, and the allocator's slack;
/// nothing that grows with the files.
const GROWTH_MAX: u64 = 8 << 20;
