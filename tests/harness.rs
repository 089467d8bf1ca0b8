//! Proves the test infrastructure itself: every server starts in every variant
//! and takes an upload through the proxy, and the proxy does what it says.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use common::proxy::{Act, Channel, End, Fault, Proxy, Way};
use common::servers::{Certificate, Kind, Server, Variant};
use common::{content, wait_until};

/// Uploads with curl by way of the proxy; returns curl's exit code.
fn curl(server: &Server, proxy: &Proxy, name: &str, bytes: &[u8], more: &[&str]) -> i32 {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, bytes).unwrap();
    let scheme = if server.variant == Variant::Implicit {
        "ftps"
    } else {
        "ftp"
    };
    let mut command = Command::new("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--upload-file",
        ])
        .arg(file);
    command.arg(format!(
        "{scheme}://{}:{}@{}/",
        server.user,
        server.password,
        proxy.addr()
    ));
    if server.variant.is_explicit() {
        command.arg("--ssl-reqd");
    }
    if server.variant.is_tls() {
        // With TLS 1.3 curl closes on unread tickets, and the reset cuts the file.
        command.args(["--tls-max", "1.2"]);
    }
    if let Some(ca) = &server.ca {
        command.arg("--cacert").arg(ca);
    }
    if server.variant == Variant::ExplicitClientCertificate {
        let (cert, key) = server.client.as_ref().unwrap();
        command.arg("--cert").arg(cert).arg("--key").arg(key);
    }
    command.args(more).status().unwrap().code().unwrap()
}

/// Starts the server in all its variants, and stores a file in each that allows it.
fn all_variants(kind: Kind) {
    let bytes = content(1, 300_000);
    for variant in Variant::ALL.into_iter().filter(|v| kind.supports(*v)) {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        let code = curl(&server, &proxy, "image.jpg", &bytes, &[]);
        if variant == Variant::Readonly {
            assert_ne!(code, 0, "{server:?}");
            assert_eq!(server.get("image.jpg"), None, "{server:?}");
            continue;
        }
        assert_eq!(code, 0, "{server:?}; its log:\n{}", server.log());
        assert!(server.get("image.jpg") == Some(bytes.clone()), "{server:?}");
        // The proxy counts what it has written, which the server may have read by then.
        let passed = || proxy.delivered(Channel::Data, Way::ToServer) >= bytes.len() as u64;
        wait_until("the proxy has counted the file", passed);
        server.put("made/by/test.txt", b"x");
    }
}

#[test]
fn vsftpd_takes_files_in_every_variant() {
    all_variants(Kind::Vsftpd);
}

#[test]
fn proftpd_takes_files_in_every_variant() {
    all_variants(Kind::Proftpd);
}

#[test]
fn pure_ftpd_takes_files_in_every_variant() {
    all_variants(Kind::PureFtpd);
}

#[test]
fn pyftpdlib_takes_files_in_every_variant() {
    all_variants(Kind::Pyftpdlib);
}

#[test]
fn bad_certificates_are_refused_by_a_client_that_looks() {
    for kind in Kind::ALL {
        for bad in [
            Certificate::SelfSigned,
            Certificate::Expired,
            Certificate::WrongHost,
        ] {
            let server = Server::start_with(kind, Variant::Explicit, bad);
            let proxy = Proxy::before(&server);
            assert_eq!(
                curl(&server, &proxy, "f", b"x", &[]),
                60,
                "{server:?} {bad:?}"
            );
            assert_eq!(
                curl(&server, &proxy, "f", b"x", &["--insecure"]),
                0,
                "{server:?} {bad:?}"
            );
        }
    }
}

#[test]
fn limits_of_the_server_are_felt() {
    for (kind, variant) in [
        (Kind::Vsftpd, Variant::DiskFull),
        (Kind::Proftpd, Variant::DiskFull),
        (Kind::PureFtpd, Variant::DiskFull),
        (Kind::Proftpd, Variant::Quota),
        (Kind::PureFtpd, Variant::Quota),
    ] {
        let server = Server::start(kind, variant);
        let proxy = Proxy::before(&server);
        let code = curl(&server, &proxy, "big", &content(2, 20_000_000), &[]);
        assert_ne!(code, 0, "{server:?}");
    }
}

#[test]
fn a_stopped_server_is_gone_and_comes_back_with_its_files() {
    for kind in Kind::ALL {
        let mut server = Server::start(kind, Variant::Plain);
        server.put("kept", b"here");
        let open = Session::open(server.addr());
        server.stop();
        assert!(TcpStream::connect(server.addr()).is_err(), "{server:?}");
        drop(open);
        server.start_again();
        assert_eq!(server.get("kept").unwrap(), b"here");
        let mut session = Session::open(server.addr());
        assert_eq!(session.send("SIZE kept"), 213, "{server:?}");
    }
}

/// A raw FTP client of a few lines.
struct Session {
    control: BufReader<TcpStream>,
}

impl Session {
    fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let mut session = Self {
            control: BufReader::new(stream),
        };
        assert_eq!(session.reply(), Some(220));
        assert_eq!(session.send("USER ftptest"), 331);
        assert_eq!(session.send("PASS testpass"), 230);
        assert_eq!(session.send("TYPE I"), 200);
        session
    }

    /// The code of the next reply; `None` when the connection ends.
    fn reply(&mut self) -> Option<u16> {
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return line[..3].parse().ok();
            }
        }
    }

    fn send(&mut self, command: &str) -> u16 {
        self.control
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())
            .unwrap();
        self.reply().unwrap()
    }

    /// Opens a data connection and begins to store a file.
    fn begin(&mut self, name: &str) -> TcpStream {
        let control = self.control.get_mut();
        control.write_all(b"EPSV\r\n").unwrap();
        let mut line = String::new();
        self.control.read_line(&mut line).unwrap();
        let port = line.split('|').nth(3).unwrap().parse().unwrap();
        let ip = self.control.get_ref().peer_addr().unwrap().ip();
        let data = TcpStream::connect(SocketAddr::new(ip, port)).unwrap();
        data.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        assert!(matches!(self.send(&format!("STOR {name}")), 125 | 150));
        data
    }
}

fn data_fault(after: u64, act: Act) -> Fault {
    Fault {
        on: Channel::Data,
        way: Way::ToServer,
        after,
        act,
    }
}

#[test]
fn a_cut_delivers_exactly_so_many_bytes() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let proxy = Proxy::before(&server);
    let bytes = content(3, 200_000);
    for (n, end) in [
        (0, End::Close),
        (1, End::Close),
        (70_001, End::Close),
        (99_999, End::Reset),
    ] {
        let before = proxy.delivered(Channel::Data, Way::ToServer);
        proxy.inject(data_fault(n, Act::End(end)));
        let mut session = Session::open(proxy.addr());
        let mut data = session.begin("cut");
        let _ = data.write_all(&bytes);
        drop(data);
        assert_eq!(
            session.reply(),
            Some(if end == End::Close { 226 } else { 426 })
        );
        assert_eq!(proxy.faults_left(), 0);
        assert_eq!(proxy.delivered(Channel::Data, Way::ToServer) - before, n);
        let stored = server.get("cut").unwrap();
        assert!(bytes.starts_with(&stored), "a prefix is stored");
        assert!(end == End::Reset || stored.len() as u64 == n);
    }
}

#[test]
fn a_lost_reply_leaves_the_file_whole() {
    for kind in Kind::ALL {
        let server = Server::start(kind, Variant::Plain);
        let proxy = Proxy::before(&server);
        let bytes = content(4, 100_000);
        for (name, end) in [("reset", End::Reset), ("close", End::Close)] {
            proxy.inject(data_fault(bytes.len() as u64, Act::LoseReply(end)));
            let mut session = Session::open(proxy.addr());
            let mut data = session.begin(name);
            data.write_all(&bytes).unwrap();
            drop(data);
            assert_eq!(session.reply(), None, "{server:?}");
            assert_eq!(proxy.faults_left(), 0);
            wait_until("the file is whole", || {
                server.get(name).as_ref() == Some(&bytes)
            });
        }
    }
}

#[test]
fn a_silent_link_tells_nobody() {
    let server = Server::start(Kind::Vsftpd, Variant::Plain);
    let proxy = Proxy::before(&server);
    let mut session = Session::open(proxy.addr());
    let mut data = session.begin("half");
    data.write_all(&content(5, 1000)).unwrap();
    wait_until("the first bytes arrive", || {
        server.get("half").is_some_and(|f| f.len() == 1000)
    });
    proxy.cut(End::Silence);
    data.write_all(&content(5, 1000)).unwrap();
    drop(data);
    session
        .control
        .get_ref()
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert_eq!(session.reply(), None);
    assert_eq!(server.get("half").unwrap().len(), 1000);
    assert_eq!(proxy.delivered(Channel::Data, Way::ToServer), 1000);
    // A new connection is not affected.
    Session::open(proxy.addr());
}

#[test]
fn a_control_connection_can_be_cut_within_a_reply() {
    let server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    let proxy = Proxy::before(&server);
    proxy.inject(Fault {
        on: Channel::Control,
        way: Way::ToClient,
        after: 2,
        act: Act::End(End::Reset),
    });
    let stream = TcpStream::connect(proxy.addr()).unwrap();
    let mut line = Vec::new();
    let result = BufReader::new(stream).read_until(b'\n', &mut line);
    assert!(result.is_err() || line == b"22", "{line:?}");
    assert_eq!(proxy.traffic()[0].to_client, 2);
}

#[test]
fn a_refusing_link_and_an_absent_server_give_no_greeting() {
    let mut server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    let proxy = Proxy::before(&server);
    let greeted = |proxy: &Proxy| {
        let stream = TcpStream::connect(proxy.addr()).unwrap();
        BufReader::new(stream)
            .read_until(b'\n', &mut Vec::new())
            .is_ok_and(|n| n > 0)
    };
    assert!(greeted(&proxy));
    proxy.refuse(true);
    assert!(!greeted(&proxy));
    proxy.heal();
    assert!(greeted(&proxy));
    server.stop();
    assert!(!greeted(&proxy));
}

#[test]
fn delay_and_limit_hold_at_least() {
    let server = Server::start(Kind::Pyftpdlib, Variant::Plain);
    let proxy = Proxy::before(&server);
    proxy.delay(Duration::from_millis(50));
    let mut session = Session::open(proxy.addr());
    let begun = std::time::Instant::now();
    assert_eq!(session.send("NOOP"), 200);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    proxy.limit(100_000);
    let begun = std::time::Instant::now();
    let mut data = session.begin("slow");
    data.write_all(&content(6, 30_000)).unwrap();
    drop(data);
    assert_eq!(session.reply(), Some(226));
    assert!(begun.elapsed() >= Duration::from_millis(300));
}
