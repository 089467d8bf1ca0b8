//! What nobody should do to the receiver: come in great numbers, dawdle, flood,
//! guess, and be somebody else. And `kill -9`, which just happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::dialogue::Dialogue;
use common::gateway::Gateway;
use common::receiver::{Receiver, Tls, peak_memory, succeeded};
use common::{content, number, seed, wait_until};

fn logged_in(receiver: &Receiver) -> Dialogue {
    Dialogue::logged_in(receiver.addr, &receiver.user, &receiver.password)
}

#[test]
fn two_hundred_uploads_at_once_take_bounded_memory() {
    let receiver = Receiver::start();
    let before = peak_memory(receiver.pid());
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| logged_in(&receiver)).collect();
    let idle = peak_memory(receiver.pid()) - before;
    assert!(idle < SESSIONS * IDLE_MAX + SLACK, "{idle} bytes more");
    let mut uploads: Vec<_> = sessions
        .iter_mut()
        .enumerate()
        .map(|(n, session)| session.begin(&format!("STOR f{n}")))
        .collect();
    let bytes = content(5, 512 << 10);
    for part in bytes.chunks(64 << 10) {
        for data in &mut uploads {
            data.write_all(part).unwrap();
        }
    }
    drop(uploads);
    for (n, session) in sessions.iter_mut().enumerate() {
        session.expect(226);
        assert!(fs::read(receiver.root().join(format!("f{n}"))).unwrap() == bytes);
    }
    let busy = peak_memory(receiver.pid()) - before;
    assert!(busy < SESSIONS * BUSY_MAX + SLACK, "{busy} bytes more");
    println!("{idle} bytes more for {SESSIONS} sessions, {busy} for their uploads");
}

#[test]
fn two_hundred_uploads_at_once_over_tls_take_bounded_memory() {
    let receiver = Receiver::start();
    let before = peak_memory(receiver.pid());
    let script = format!(
        "body = os.urandom(300_000)\nsessions = [connect() for n in range({SESSIONS})]\n\
         for ftp in sessions: ftp.voidcmd('TYPE I')\n\
         data = [ftp.transfercmd('STOR f%d' % n) for n, ftp in enumerate(sessions)]\n\
         for conn in data: conn.sendall(body)\n\
         for conn in data:\n    conn.unwrap()\n    conn.close()\n\
         for ftp in sessions: assert ftp.voidresp().startswith('226')\n\
         for n in range({SESSIONS}): assert fetch(sessions[0], 'f%d' % n) == body\n"
    );
    succeeded(&receiver.python(Tls::Explicit, &script));
    let busy = peak_memory(receiver.pid()) - before;
    println!("{busy} bytes more for {SESSIONS} sessions with TLS");
    assert!(busy < SESSIONS * TLS_MAX + SLACK, "{busy} bytes more");
}

/// An upload that was begun: the name, its content's seed, its size, and whether
/// 226 was the answer.
type Shot = (String, u64, usize, bool);

/// Uploads one file after another until the receiver is gone.
fn shoot(addr: SocketAddr, login: (&str, &str), next: &AtomicUsize, shots: &Mutex<Vec<Shot>>) {
    let mut rng = fastrand::Rng::new();
    let Ok(stream) = TcpStream::connect(addr) else {
        return;
    };
    drop(stream);
    let mut session = Dialogue::connect(addr);
    for line in [
        "",
        &format!("USER {}", login.0),
        &format!("PASS {}", login.1),
        "TYPE I",
    ] {
        if !line.is_empty() && !session.try_send(format!("{line}\r\n"))
            || session.reply().is_empty()
        {
            return;
        }
    }
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed) as u64;
        let size = [0, 1, 5_000, 70_000, 400_000, 3_000_000][rng.usize(..6)];
        let name = format!("f{n}");
        let reply = session.store(format!("STOR {name}"), &content(n, size));
        let received = reply.starts_with("226");
        shots.lock().unwrap().push((name, n, size, received));
        if !received {
            return;
        }
    }
}

#[test]
fn what_had_its_226_is_whole_after_kill_9_and_the_rest_goes_on() {
    let mut rng = fastrand::Rng::with_seed(seed());
    let mut receiver = Receiver::start();
    let (next, mut confirmed) = (AtomicUsize::new(0), 0);
    let kills = number("EDGESPOOL_CRASHES").unwrap_or(20);
    for kill in 0..kills {
        let shots = Mutex::new(Vec::new());
        let (addr, login) = (
            receiver.addr,
            (receiver.user.clone(), receiver.password.clone()),
        );
        receiver = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| shoot(addr, (&login.0, &login.1), &next, &shots));
            }
            // At least one file each time, so that something can be lost.
            wait_until("a file is there", || {
                shots.lock().unwrap().iter().any(|s| s.3)
            });
            thread::sleep(Duration::from_millis(rng.u64(0..300)));
            receiver.restart()
        });
        let mut session = logged_in(&receiver);
        for (name, n, size, received) in shots.into_inner().unwrap() {
            let (path, bytes) = (receiver.root().join(&name), content(n, size));
            if received {
                confirmed += 1;
                assert!(
                    fs::read(&path).unwrap() == bytes,
                    "kill {kill}: {name} of {size}"
                );
                fs::remove_file(path).unwrap();
                continue;
            }
            let there = fs::read(&path).unwrap_or_default();
            assert!(bytes.starts_with(&there), "kill {kill}: {name} of {size}");
            // The sticky bit says that a file is not finished.
            let mode = fs::metadata(&path).map(|meta| meta.permissions().mode());
            let finished = mode.is_ok_and(|mode| mode & 0o1000 == 0);
            assert!(
                !finished || there.len() == size,
                "kill {kill}: {name} of {size}"
            );
            if !there.is_empty() {
                let told = there.len() - usize::from(!finished);
                let size = session.say(format!("SIZE {name}"));
                match told {
                    // As if nothing had come.
                    0 => assert!(size.starts_with("550 "), "{size}"),
                    _ => assert_eq!(size, format!("213 {told}\r\n")),
                }
                session.say(format!("REST {}", there.len()));
            }
            let reply = session.store(format!("STOR {name}"), &bytes[there.len()..]);
            assert!(reply.starts_with("226"), "kill {kill}: {name}: {reply:?}");
            assert!(
                fs::read(&path).unwrap() == bytes,
                "kill {kill}: {name} of {size}"
            );
            fs::remove_file(path).unwrap();
        }
    }
    println!("{kills} kills, {confirmed} files had their 226");
}

#[test]
fn data_connections_never_go_to_anybody_else() {
    let receiver = Receiver::start();
    fs::write(receiver.root().join("bait"), b"bait").unwrap();
    let victim = TcpListener::bind("127.0.0.2:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let port = victim.local_addr().unwrap().port();
    let (high, low) = (port >> 8, port & 255);
    let mut session = logged_in(&receiver);
    for (line, code) in [
        (format!("PORT 127,0,0,2,{high},{low}"), "504"),
        (format!("PORT 0,0,0,0,{high},{low}"), "504"),
        (format!("PORT 255,255,255,255,{high},{low}"), "504"),
        (format!("PORT 10,0,0,1,{high},{low}"), "504"),
        (format!("PORT 127,0,0,1,{high}"), "501"),
        (format!("PORT 127,0,0,257,{high},{low}"), "501"),
        (format!("PORT 127,0,0,2,{high},{low}\0"), "50"),
        (format!("EPRT |1|127.0.0.2|{port}|"), "504"),
        (format!("EPRT |2|::1|{port}|"), "522"),
        (format!("EPRT |2|::ffff:127.0.0.2|{port}|"), "5"),
        (format!("EPRT |1|127.0.0.2%25lo|{port}|"), "501"),
        (format!("EPRT |3|127.0.0.2|{port}|"), "5"),
        ("EPRT |1|localhost|25|".to_owned(), "501"),
        ("PORT 127,0,0,1,0,25".to_owned(), "504"),
        ("PORT 127,0,0,1,0,22".to_owned(), "504"),
        ("PORT 127,0,0,1,3,255".to_owned(), "504"),
        ("EPRT |1|127.0.0.1|1023|".to_owned(), "504"),
        ("EPRT |1|127.0.0.1|0|".to_owned(), "50"),
        ("EPRT |1|127.0.0.1|65536|".to_owned(), "501"),
    ] {
        let reply = session.say(&line);
        assert!(reply.starts_with(code), "{line}: {reply:?}");
        for transfer in ["RETR bait", "LIST", "STOR caught"] {
            let reply = session.say(transfer);
            assert!(reply.starts_with("425"), "{line}, {transfer}: {reply:?}");
        }
    }
    assert_eq!(victim.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // The client's own address and a high port are fine.
    let own = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = own.local_addr().unwrap().port();
    let line = format!("PORT 127,0,0,1,{},{}", port >> 8, port & 255);
    assert!(session.say(line).starts_with("200"));
    session.send("RETR bait\r\n");
    let mut got = Vec::new();
    own.accept().unwrap().0.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"bait");
}

#[test]
fn an_endless_line_is_one_mistake() {
    let receiver = Receiver::start();
    let mut session = logged_in(&receiver);
    let before = peak_memory(receiver.pid());
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        session.send(&chunk);
    }
    session.send("\r\nNOOP\r\n");
    session.expect(500);
    session.expect(200);
    // No line end ever, and nothing but line ends.
    let mut other = logged_in(&receiver);
    other.send(vec![b' '; 4 << 20]);
    drop(other);
    session.send("\r\n".repeat(10_000) + "PWD\r\n");
    for _ in 0..10_000 {
        session.expect(500);
    }
    session.expect(257);
    let grown = peak_memory(receiver.pid()) - before;
    assert!(grown < SLACK, "{grown} bytes more");
}

#[test]
fn a_flood_of_commands_holds_up_its_own_session_alone() {
    let receiver = Receiver::start();
    let before = peak_memory(receiver.pid());
    let mut flood = logged_in(&receiver);
    // Nobody reads the answers, until the sockets are full of them.
    flood.stream().set_nonblocking(true).unwrap();
    let commands = b"HELP\r\nSTAT\r\nFEAT\r\nNOOP\r\n".repeat(1000);
    let mut sent = 0;
    let mut stuck = Instant::now();
    while stuck.elapsed() < Duration::from_secs(2) {
        match flood.stream().write(&commands[sent % commands.len()..]) {
            Ok(count) => {
                sent += count;
                stuck = Instant::now();
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
    let mut other = logged_in(&receiver);
    assert!(other.store("STOR quick", b"x").starts_with("226"));
    let grown = peak_memory(receiver.pid()) - before;
    assert!(
        grown < SLACK,
        "{grown} bytes more for {sent} bytes of commands"
    );
    // Each of them is answered, in order.
    flood.stream().set_nonblocking(false).unwrap();
    for n in 0..commands[..sent % commands.len()].len() / 24 * 4 {
        flood.expect([214, 211, 211, 200][n % 4]);
    }
}

#[test]
fn many_who_say_nothing_keep_nobody_out() {
    let receiver = Receiver::start();
    let silent: Vec<_> = (0..200)
        .map(|_| TcpStream::connect(receiver.addr).unwrap())
        .collect();
    let half: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(receiver.implicit).unwrap();
            stream.write_all(b"\x16\x03\x01").unwrap();
            stream
        })
        .collect();
    let mut session = logged_in(&receiver);
    assert!(session.store("STOR here", b"x").starts_with("226"));
    drop((silent, half));
}

/// A user with a directory of its own.
const USER: &str = "[[receive.user]]\nname = \"camera\"\npassword = \"secret\"\n\
                    watch = \"camera\"\npermissions = [\"all\"]\n";

#[test]
fn who_dawdles_is_sent_away_however_busy_it_looks() {
    let times = "login_timeout = \"2s\"\nidle_timeout = \"2s\"\nstall_timeout = \"2s\"\n";
    let mut gateway = Gateway::new(Gateway::nowhere(), &format!("{times}{USER}"));
    gateway.start();
    let dawdle = |session: &mut Dialogue, bytes: &str| {
        session
            .stream()
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let (mut bytes, mut heard) = (bytes.bytes().cycle(), Vec::new());
        let ended = AtomicBool::new(false);
        wait_until("it is sent away", || {
            session.try_send([bytes.next().unwrap()]);
            let mut buffer = [0; 1000];
            match session.stream().read(&mut buffer) {
                Ok(0) => ended.store(true, Ordering::Relaxed),
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => ended.store(true, Ordering::Relaxed),
            }
            ended.load(Ordering::Relaxed)
        });
        String::from_utf8_lossy(&heard).into_owned()
    };
    // Before the login whole commands do not help, after it half ones do not.
    let said = dawdle(
        &mut Dialogue::greeted(gateway.addr()),
        "NOOP\r\nUSER camera\r\n",
    );
    assert!(
        said.contains("\n421 ") || said.starts_with("421 "),
        "{said}"
    );
    let mut session = Dialogue::logged_in(gateway.addr(), "camera", "secret");
    let said = dawdle(&mut session, "x");
    assert!(said.starts_with("421 "), "{said}");
    // A data connection that nobody makes, and one that nobody feeds.
    let mut session = Dialogue::logged_in(gateway.addr(), "camera", "secret");
    session.say("EPSV");
    session.send("STOR never\r\n");
    session.expect(150);
    let reply = session.reply();
    assert!(reply.starts_with("42"), "{reply}");
    let data = session.begin("STOR never");
    session.expect(426);
    drop(data);
    // A handshake that never comes.
    let mut session = Dialogue::greeted(gateway.addr());
    session.say("AUTH TLS");
    assert_eq!(session.reply(), "");
}

#[test]
fn guessing_gets_slower_and_then_locks_the_address_out() {
    let lockout = "lockout = { failures = 4, time = \"1h\" }\n";
    let mut gateway = Gateway::new(Gateway::nowhere(), &format!("{lockout}{USER}"));
    gateway.start();
    let guess = |session: &mut Dialogue, user: &str| {
        session.say(format!("USER {user}"));
        let began = Instant::now();
        let reply = session.say("PASS guess");
        (reply, began.elapsed())
    };
    let [mut one, mut two] = [(), ()].map(|()| Dialogue::greeted(gateway.addr()));
    let mut least = Duration::from_millis(500);
    // Neither another session nor another name begins anew.
    for (n, user) in ["camera", "root", "camera"].into_iter().enumerate() {
        let session = if n == 1 { &mut two } else { &mut one };
        let (reply, took) = guess(session, user);
        assert_eq!(reply, "530 wrong user or password\r\n");
        assert!(took >= least, "{took:?}, not {least:?}");
        least *= 2;
    }
    guess(&mut two, "camera");
    let reply = Dialogue::connect(gateway.addr()).reply();
    assert!(reply.starts_with("421"), "{reply}");
    // A session that was there before is not let in either, not even with the
    // right password.
    one.say("USER camera");
    let reply = one.say("PASS secret");
    assert!(reply.starts_with("421"), "{reply}");
    let mut elsewhere = Dialogue::connect_from([127, 0, 0, 9].into(), gateway.addr());
    elsewhere.expect(220);
    elsewhere.log_in("camera", "secret");
}

const SESSIONS: u64 = 200;

/// What a session that waits may cost: its task and what it remembers.
const IDLE_MAX: u64 = 16 << 10;
/// What an upload may cost: two buffers of 64 KiB, a session, and the stacks of
/// the threads that write.
const BUSY_MAX: u64 = 160 << 10;
/// With TLS: two connections with a record of 16 KiB each way and its copy.
const TLS_MAX: u64 = 320 << 10;
/// For the allocator, and for whatever is made once.
const SLACK: u64 = 8 << 20;
