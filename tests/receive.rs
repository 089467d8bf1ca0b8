//! The receiver against real clients: curl, lftp, Python's ftplib, and our own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;

use common::receiver::{Receiver, Tls, arg, succeeded};
use common::{Tree, content, wait_until};

/// Nothing, one byte, around the buffers, and more than sockets hold.
const SIZES: [usize; 6] = [0, 1, 65_535, 131_072, 131_073, 5_000_000];

fn tree(seed: u64) -> Tree {
    let file = |(n, size): (usize, &usize)| {
        let name = format!("dir {n}/image-{n} ü.jpg").into_bytes();
        (name, content(seed + n as u64, *size))
    };
    Tree(SIZES.iter().enumerate().map(file).collect())
}

#[test]
fn curl_brings_every_byte_there_and_back() {
    let receiver = Receiver::start();
    let local = receiver.scratch("curl");
    for (n, size) in SIZES.into_iter().enumerate() {
        for (tls, version) in [
            (Tls::None, "1.2"),
            (Tls::Explicit, "1.2"),
            (Tls::Explicit, "1.3"),
            (Tls::Implicit, "1.2"),
            (Tls::Implicit, "1.3"),
        ] {
            let name = format!("a/{n}-{tls:?}-{version}.bin");
            let (up, down) = (local.join("up"), local.join("down"));
            let bytes = content(n as u64, size);
            fs::write(&up, &bytes).unwrap();
            let url = format!("{}/{name}", receiver.url(tls));
            let options = [
                format!("--tlsv{version}"),
                "--tls-max".into(),
                version.into(),
            ];
            let args = [
                "-T".into(),
                arg(&up),
                "--ftp-create-dirs".into(),
                url.clone(),
            ];
            succeeded(&receiver.curl(tls, options.iter().chain(&args)));
            assert!(
                fs::read(receiver.root().join(&name)).unwrap() == bytes,
                "{name}"
            );
            let args = ["-o".into(), arg(&down), url];
            succeeded(&receiver.curl(tls, options.iter().chain(&args)));
            assert!(fs::read(&down).unwrap() == bytes, "{name}");
        }
    }
    let said = receiver.stdout();
    let received = said.lines().filter(|line| line.starts_with("received /a/"));
    assert_eq!(received.count(), 5 * SIZES.len(), "{said}");
}

#[test]
fn curl_continues_what_was_cut_both_ways() {
    let receiver = Receiver::start();
    let bytes = content(7, 3_000_000);
    let local = receiver.scratch("curl").join("file");
    for tls in Tls::ALL {
        let name = format!("{tls:?}.bin");
        succeeded(&receiver.python(
            tls,
            &format!(
                "ftp = connect()\nftp.voidcmd('TYPE I')\nconn = ftp.transfercmd('STOR {name}')\n\
                 conn.sendall(bytes(1000))\n\
                 import struct\n\
                 conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n\
                 conn.close()\nrefused(42, ftp.voidresp)\n"
            ),
        ));
        fs::write(&local, &bytes[..1_000_000]).unwrap();
        let url = format!("{}/{name}", receiver.url(tls));
        succeeded(&receiver.curl(tls, ["-T".into(), arg(&local), url.clone()]));
        fs::write(&local, &bytes).unwrap();
        let args = ["-C", "1000000", "-a", "-T"].map(str::to_owned);
        let args = args.into_iter().chain([arg(&local), url.clone()]);
        succeeded(&receiver.curl(tls, args));
        assert!(
            fs::read(receiver.root().join(&name)).unwrap() == bytes,
            "{tls:?}"
        );
        fs::write(&local, &bytes[..2_000_000]).unwrap();
        let args = ["-C".into(), "-".into(), "-o".into(), arg(&local), url];
        succeeded(&receiver.curl(tls, args));
        assert!(fs::read(&local).unwrap() == bytes, "{tls:?}");
    }
}

#[test]
fn lftp_mirrors_trees_both_ways() {
    for tls in Tls::ALL {
        let receiver = Receiver::start();
        let (up, down) = (receiver.scratch("up"), receiver.scratch("down"));
        let tree = tree(20);
        tree.write(&up);
        let script = format!("mirror -R -P 3 {} /mirrored", up.display());
        succeeded(&receiver.lftp(tls, &script));
        tree.assert_same(&Tree::read(&receiver.root().join("mirrored")));
        let script = format!("mirror -P 3 /mirrored {}", down.display());
        succeeded(&receiver.lftp(tls, &script));
        tree.assert_same(&Tree::read(&down));
        // Times came along: there is nothing to do.
        let script = format!("mirror --dry-run /mirrored {}", down.display());
        let said = succeeded(&receiver.lftp(tls, &script));
        assert!(!said.contains("get"), "{said}");
        // With LIST alone it finds the same.
        let listed = receiver.scratch("listed");
        let script = format!(
            "set ftp:use-mlsd false; mirror /mirrored {}",
            listed.display()
        );
        succeeded(&receiver.lftp(tls, &script));
        tree.assert_same(&Tree::read(&listed));
    }
}

#[test]
fn every_command_does_what_its_rfc_says() {
    for tls in Tls::ALL {
        let receiver = Receiver::start();
        succeeded(&receiver.python(tls, COMMANDS));
        let read = |name: &str| fs::read(receiver.root().join(name)).unwrap();
        assert_eq!(read("text"), b"one\ntwo\n");
        assert_eq!(read("grown"), b"firstsecond");
    }
}

const COMMANDS: &str = r#"
import hashlib, zlib
ftp = connect()
assert "edgespool" in ftp.getwelcome()
assert ftp.pwd() == "/"
body = os.urandom(100_000)
assert ftp.storbinary("STOR a", io.BytesIO(body)).startswith("226")
assert fetch(ftp, "a") == body and fetch(ftp, "a", rest=99_990) == body[99_990:]
assert ftp.size("a") == 100_000
ftp.voidcmd("TYPE I")
refused(554, ftp.transfercmd, "RETR a", 100_001)

# Appending, and going on in the midst.
ftp.storbinary("STOR grown", io.BytesIO(b"first"))
ftp.storbinary("APPE grown", io.BytesIO(b"second"))

# Names of the server's choice.
names = set()
for n in range(3):
    ftp.voidcmd("TYPE I")
    with ftp.transfercmd("STOU") as conn:
        conn.sendall(b"unique%d" % n)
        if isinstance(conn, ssl.SSLSocket): conn.unwrap()
    assert ftp.voidresp().startswith("226")
assert len(ftp.nlst()) == 5, ftp.nlst()

# Text.
ftp.storlines("STOR text", io.BytesIO(b"one\r\ntwo\r\n"))
lines = []
ftp.retrlines("RETR text", lines.append)
assert lines == ["one", "two"], lines
ftp.voidcmd("TYPE A")
with ftp.transfercmd("RETR text") as conn:
    raw = b""
    while part := conn.recv(1000): raw += part
    if isinstance(conn, ssl.SSLSocket): conn.unwrap()
ftp.voidresp()
assert raw == b"one\r\ntwo\r\n", raw
refused(550, ftp.sendcmd, "SIZE text")
ftp.voidcmd("TYPE I")

# Directories.
assert ftp.mkd('d "q" d') == '/d "q" d'
ftp.cwd('d "q" d')
assert ftp.pwd() == '/d "q" d'
ftp.storbinary("STOR inner", io.BytesIO(b"x"))
ftp.cwd("../../..")
assert ftp.pwd() == "/"
refused(550, ftp.rmd, 'd "q" d')
refused(550, ftp.cwd, "nowhere")
refused(550, ftp.cwd, "a")
facts = dict(ftp.mlsd())
assert facts["a"]["type"] == "file" and facts["a"]["size"] == "100000", facts
assert facts['d "q" d']["type"] == "dir"
listing = []
ftp.dir("-la", listing.append)
assert any(line.startswith("-rw") and line.endswith(" a") for line in listing), listing
assert any(line.startswith("d") and line.endswith('d "q" d') for line in listing)
assert ftp.nlst('d "q" d') == ["inner"]
one = ftp.sendcmd("MLST a")
assert "size=100000;" in one and one.splitlines()[1].endswith("; /a"), one
assert " a" in ftp.sendcmd("STAT a")

# Times, modes, names.
assert ftp.sendcmd("MFMT 20200102030405 a").startswith("213 Modify=20200102030405;")
assert ftp.sendcmd("MDTM a") == "213 20200102030405"
assert ftp.sendcmd("SITE CHMOD 600 a").startswith("200")
assert ftp.rename("a", "b").startswith("250")
refused(550, ftp.sendcmd, "RNFR a")
refused(503, ftp.sendcmd, "RNTO c")
refused(550, ftp.delete, "a")

# Digests.
for command, hasher in [("XMD5", "md5"), ("XSHA", "sha1"), ("XSHA1", "sha1"),
                        ("XSHA256", "sha256"), ("XSHA512", "sha512")]:
    assert ftp.sendcmd(command + " b").split()[-1].lower() == hashlib.new(hasher, body).hexdigest()
assert int(ftp.sendcmd("XCRC b").split()[-1], 16) == zlib.crc32(body)
assert ftp.sendcmd("HASH b").split()[1:4:2] == ["SHA-256", hashlib.sha256(body).hexdigest()]
ftp.sendcmd("OPTS HASH MD5")
assert ftp.sendcmd("HASH b").split()[1:4:2] == ["MD5", hashlib.md5(body).hexdigest()]
assert "HASH CRC32;MD5*;" in ftp.sendcmd("FEAT")

ftp.delete("b")
ftp.delete('/d "q" d/inner')
ftp.rmd('d "q" d')
assert ftp.sendcmd("STAT").startswith("211")
assert ftp.sendcmd("HELP").startswith("214")
assert ftp.sendcmd("SYST").startswith("215 UNIX")
assert ftp.sendcmd("NOOP").startswith("200")
assert ftp.quit().startswith("221")
"#;

#[test]
fn data_connections_go_every_way_over_ipv4_and_ipv6() {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let receiver = Receiver::start_at(listen, &[]);
        for tls in Tls::ALL {
            succeeded(&receiver.python(tls, EVERY_WAY));
        }
    }
}

const EVERY_WAY: &str = r#"
ftp = connect()
v6 = ftp.af == socket.AF_INET6
body = os.urandom(200_000)
ways = ["EPSV", "EPRT"] if v6 else ["PASV", "EPSV", "PORT", "EPRT"]
for way in ways:
    ftp.set_pasv(way in ("PASV", "EPSV"))
    ftp.trust_server_pasv_ipv4_address = True
    if way == "EPSV":
        ftp.makepasv = lambda: ftplib.parse229(ftp.sendcmd("EPSV"), ftp.sock.getpeername())
    if way == "PASV":
        ftp.makepasv = lambda: ftplib.parse227(ftp.sendcmd("PASV"))
    ftp.sendport = ftplib.FTP.sendport.__get__(ftp)
    if way == "EPRT":
        ftp.sendport = lambda host, port: ftp.sendeprt(host, port)
    name = way + os.environ["TLS"]
    ftp.storbinary("STOR " + name, io.BytesIO(body))
    assert fetch(ftp, name) == body, way
if v6:
    refused(425, ftp.sendcmd, "PASV")
    refused(522, ftp.sendcmd, "PORT 127,0,0,1,4,1")
    refused(522, ftp.sendcmd, "EPSV 1")
refused(504, ftp.sendcmd, "EPRT |2|::2|2000|" if v6 else "PORT 127,0,0,2,8,8")
ftp.sendcmd("EPSV ALL")
refused(503, ftp.sendcmd, "PASV")
refused(425, ftp.sendcmd, "LIST")
"#;

#[test]
fn tls_sessions_resume_on_every_data_connection() {
    let receiver = Receiver::start();
    for version in ["TLSv1_2", "TLSv1_3"] {
        let script = format!(
            "context = ssl.create_default_context(cafile=os.environ['CERT'])\n\
             context.minimum_version = context.maximum_version = ssl.TLSVersion.{version}\n\
             ftp = connect(context=context)\n\
             for n in range(20):\n    \
                 ftp.storbinary('STOR x', io.BytesIO(b'x'))\n    \
                 assert fetch(ftp, 'x') == b'x'\n\
             assert Reusing.resumed == [True] * 40, Reusing.resumed\n"
        );
        for tls in [Tls::Explicit, Tls::Implicit] {
            succeeded(&receiver.python(tls, &script));
        }
    }
}

#[test]
fn an_aborted_upload_is_cut_and_the_session_goes_on() {
    let receiver = Receiver::start();
    for tls in Tls::ALL {
        succeeded(&receiver.python(
            tls,
            r#"
ftp = connect()
ftp.voidcmd("TYPE I")
conn = ftp.transfercmd("STOR cut")
conn.sendall(bytes(50_000))
assert ftp.sendcmd("NOOP").startswith("200")
assert ftp.sendcmd("STAT").startswith("211")
tls = os.environ["TLS"] != "None"
if tls:
    ftp.putline("ABOR")
else:
    # Telnet's interrupt, its mark as urgent data, and the command.
    ftp.sock.sendall(b"\xff\xf4\xff")
    ftp.sock.sendall(b"\xf2", socket.MSG_OOB)
    ftp.sock.sendall(b"ABOR\r\n")
first = ftp.getmultiline()
assert first.startswith("426"), first
assert ftp.getmultiline().startswith("226")
conn.close()
assert ftp.sendcmd("ABOR").startswith("226")
ftp.storbinary("STOR whole", io.BytesIO(b"x"))
assert fetch(ftp, "whole") == b"x"
if not tls:
    # All of it urgent, as ftplib does it.
    ftp.storbinary("STOR large", io.BytesIO(bytes(20_000_000)))
    ftp.voidcmd("TYPE I")
    conn = ftp.transfercmd("RETR large")
    assert ftp.abort().startswith("426")
    assert ftp.voidresp().startswith("226")
    conn.close()
assert ftp.sendcmd("NOOP").startswith("200")
"#,
        ));
    }
    let said = receiver.stdout();
    assert!(!said.contains("/cut"), "{said}");
}

#[test]
fn an_upload_that_outlives_its_control_connection_is_not_whole() {
    let receiver = Receiver::start();
    for tls in Tls::ALL {
        succeeded(&receiver.python(
            tls,
            r#"
ftp = connect()
ftp.voidcmd("TYPE I")
conn = ftp.transfercmd("STOR dies")
conn.sendall(bytes(50_000))
ftp.file.close()
ftp.sock.close()
conn.close()
"#,
        ));
        wait_until("the upload is noted", || {
            receiver.stderr().matches("stored /dies").count() == 1 + tls as usize
        });
    }
    let said = receiver.stdout();
    assert!(!said.contains("/dies"), "{said}");
}

#[test]
fn nothing_that_came_before_tls_is_served_in_it() {
    let receiver = Receiver::start();
    fs::write(receiver.root().join("precious"), b"x").unwrap();
    succeeded(&receiver.python(
        Tls::None,
        r#"
import time
ftp = connect(login=False)
ftp.sock.sendall(b"AUTH TLS\r\nUSER camera\r\nPASS correct-horse\r\nDELE precious\r\n")
assert ftp.getline().startswith("234")
ctx.check_hostname = False
tls = ctx.wrap_socket(ftp.sock)
tls.settimeout(5)
tls.sendall(b"NOOP\r\nPWD\r\n")
got = b""
while got.count(b"\n") < 2: got += tls.recv(1000)
assert got.startswith(b"200") and b"\n530" in got, got
"#,
    ));
    assert!(receiver.root().join("precious").exists());
}

#[test]
fn commands_that_come_together_are_answered_in_their_order() {
    let receiver = Receiver::start();
    for tls in Tls::ALL {
        succeeded(&receiver.python(
            tls,
            r#"
ftp = connect()
names = ["n%d" % n for n in range(50)]
ftp.sock.sendall(b"".join(b"MKD %s\r\nSIZE %s\r\n" % (n.encode(), n.encode()) for n in names))
ftp.sock.sendall(b"TYPE I\r\nNOOP\r\nFROB\r\n")
for name in names:
    made = ftp.getmultiline()
    assert made.startswith('257 "/%s"' % name), made
    size = ftp.getmultiline()
    assert size.startswith("550"), size
assert [ftp.getmultiline()[:3] for _ in range(3)] == ["200", "200", "500"]
for name in names: ftp.rmd(name)
"#,
        ));
    }
}

#[test]
fn our_own_client_delivers_in_few_round_trips() {
    let receiver = Receiver::start();
    let local = receiver.scratch("own");
    let files: Vec<_> = (0..10).map(|n| local.join(format!("f{n}.bin"))).collect();
    for (n, file) in files.iter().enumerate() {
        fs::write(file, content(n as u64, 10_000 * n)).unwrap();
    }
    let tls = format!("ftpes://camera:correct-horse@{}/in/", receiver.addr);
    let args = ["-v".to_owned(), "send".to_owned()].into_iter();
    let args = args.chain(files.iter().map(|file| arg(file))).chain([tls]);
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_edgespool"));
    command.env("SSL_CERT_FILE", receiver.certificate());
    let output = command.args(args).output().unwrap();
    succeeded(&output);
    for file in &files {
        let there = receiver.root().join("in").join(file.file_name().unwrap());
        assert_eq!(fs::read(there).unwrap(), fs::read(file).unwrap());
    }
}

#[test]
fn a_signal_ends_it_and_its_certificate_stays() {
    let mut receiver = Receiver::start();
    let first = receiver.fingerprint.clone();
    assert_eq!(first.len(), 95, "{first}");
    let receiver_again = {
        assert_eq!(receiver.terminate(), Some(0));
        receiver.restart()
    };
    assert_eq!(receiver_again.fingerprint, first);
    let key = receiver_again.certificate().with_extension("key");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn required_tls_lets_nobody_in_without_and_no_tls_offers_none() {
    let receiver = Receiver::start_at("127.0.0.1:0", &["--tls", "required"]);
    succeeded(&receiver.python(
        Tls::None,
        "ftp = connect(login=False)\nrefused(530, ftp.sendcmd, 'USER camera')\n",
    ));
    succeeded(&receiver.python(
        Tls::Explicit,
        "ftp = connect()\nrefused(534, ftp.sendcmd, 'PROT C')\nrefused(534, ftp.sendcmd, 'CCC')\n\
         ftp.storbinary('STOR x', io.BytesIO(b'x'))\n",
    ));
    let receiver = Receiver::start_at("127.0.0.1:0", &["--tls", "none"]);
    succeeded(&receiver.python(
        Tls::None,
        "ftp = connect()\nrefused(502, ftp.sendcmd, 'AUTH TLS')\n\
         assert 'AUTH' not in ftp.sendcmd('FEAT')\n",
    ));
}

#[test]
fn what_is_not_given_is_made_up_and_works() {
    let receiver = Receiver::start_unnamed();
    assert_eq!(receiver.user, "edgespool");
    assert_eq!(receiver.password.len(), 16, "{}", receiver.password);
    succeeded(&receiver.python(Tls::Explicit, "connect().quit()\n"));
    let other = Receiver::start_unnamed();
    assert_ne!(receiver.password, other.password);
}

#[test]
fn the_control_connection_can_go_back_to_clear_text() {
    let receiver = Receiver::start();
    let file = receiver.scratch("curl").join("file");
    let bytes = content(3, 300_000);
    fs::write(&file, &bytes).unwrap();
    for mode in ["active", "passive"] {
        let url = format!("{}/{mode}", receiver.url(Tls::Explicit));
        let args = ["--ftp-ssl-ccc", "--ftp-ssl-ccc-mode", mode, "-T"].map(str::to_owned);
        let args = args.into_iter().chain([arg(&file), url]);
        succeeded(&receiver.curl(Tls::Explicit, args));
        assert!(
            fs::read(receiver.root().join(mode)).unwrap() == bytes,
            "{mode}"
        );
    }
}
