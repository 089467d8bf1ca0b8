//! The receiver's rules, each told to a receiver in this process: limits, times,
//! ports, who may connect, and what is done with a received file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::dialogue::Dialogue;
use common::receiver::succeeded;
use common::servers::client;
use common::wait_until;
use edgespool::base::Secret;
use edgespool::receive::{
    Folder, Lockout, NoInbox, Observer, PasswordHash, Permissions, Quota, ReceiveOptions, Received,
    Receiver, Target, TlsUse, User,
};
use edgespool::sys::Sys;

/// Longer than any machine needs.
const LONG: Duration = Duration::from_secs(300);
/// So short that a test can wait for its end.
const SHORT: Duration = Duration::from_millis(1500);

/// A receiver on a thread of its own; stopped when dropped.
struct Served {
    addr: SocketAddr,
    implicit: Option<SocketAddr>,
    dir: tempfile::TempDir,
    stop: smol::channel::Sender<()>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Nobody;

impl Observer for Nobody {
    fn received(&self, _: &Received) {}
}

fn options(root: &Path) -> ReceiveOptions {
    let user = User {
        name: "camera".to_owned(),
        password: PasswordHash::Plain(Secret::from("secret")),
        folders: vec![Folder {
            name: Vec::new(),
            target: Target::Dir(root.to_owned()),
        }],
        permissions: Permissions::ALL,
        quota: Quota::default(),
        from: Vec::new(),
    };
    ReceiveOptions {
        server_name: "test".to_owned(),
        listen: vec![([127, 0, 0, 1], 0).into()],
        listen_implicit: Vec::new(),
        tls: TlsUse::None,
        certificate: None,
        passive_ports: None,
        external_address: None,
        max_sessions: 100,
        sessions_per_user: 100,
        sessions_per_address: 100,
        login_timeout: LONG,
        idle_timeout: LONG,
        stall_timeout: LONG,
        require_close_notify: false,
        lockout: Lockout {
            failures: 0,
            time: LONG,
        },
        users: vec![user],
        anonymous: None,
        on_received: None,
    }
}

impl Served {
    fn with(change: impl FnOnce(&mut ReceiveOptions)) -> Served {
        let dir = tempfile::tempdir().unwrap();
        for name in ["root", "state"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let mut options = options(&dir.path().join("root"));
        change(&mut options);
        let state = dir.path().join("state");
        let (stop, stopped) = smol::channel::bounded(1);
        let (told, tell) = mpsc::channel();
        let thread = thread::spawn(move || {
            smol::block_on(serve(options, &state, &stopped, &told));
        });
        let addresses = tell.recv().unwrap();
        let find = |wanted| addresses.iter().find(|(_, tls)| *tls == wanted);
        Served {
            addr: find(false).unwrap().0,
            implicit: find(true).map(|(addr, _)| *addr),
            dir,
            stop,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> Dialogue {
        Dialogue::connect(self.addr)
    }

    fn log_in(&self) -> Dialogue {
        Dialogue::logged_in(self.addr, "camera", "secret")
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.dir.path().join(path)).ok()
    }
}

async fn serve(
    options: ReceiveOptions,
    state: &Path,
    stopped: &smol::channel::Receiver<()>,
    told: &mpsc::Sender<Vec<(SocketAddr, bool)>>,
) {
    let sys = Sys::os().unwrap();
    let (inbox, observer) = (Rc::new(NoInbox), Rc::new(Nobody));
    let receiver = Receiver::bind(&sys, options, inbox, Some(state), observer)
        .await
        .unwrap();
    told.send(receiver.addresses()).unwrap();
    let stopping = async {
        let _ = stopped.recv().await;
        receiver.stop(LONG);
        std::future::pending::<()>().await;
    };
    smol::future::or(receiver.run(), stopping).await;
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.close();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking());
        }
    }
}

/// A port that waits for a data connection.
fn passive(client: &mut Dialogue) -> u16 {
    let reply = client.say("EPSV");
    reply.split('|').nth(3).unwrap().parse().unwrap()
}

#[test]
fn who_says_nothing_hears_421() {
    let served = Served::with(|options| {
        options.login_timeout = SHORT;
        options.idle_timeout = 2 * SHORT;
    });
    let mut silent = served.connect();
    assert!(silent.reply().starts_with("220 "));
    let mut idle = served.log_in();
    assert!(silent.reply().starts_with("421 "));
    assert_eq!(silent.reply(), "");
    assert!(idle.reply().starts_with("421 "));
    assert_eq!(idle.reply(), "");
}

#[test]
fn a_silent_data_connection_ends_and_the_upload_can_go_on() {
    let served = Served::with(|options| options.stall_timeout = SHORT);
    let mut client = served.log_in();
    let mut data = client.begin("STOR slow");
    data.write_all(b"first").unwrap();
    assert!(client.reply().starts_with("426 "));
    assert!(client.say("REST 5").starts_with("350 "));
    assert!(client.store("STOR slow", b"second").starts_with("226 "));
    assert_eq!(served.read("root/slow").unwrap(), b"firstsecond");
}

/// All of it came, and then the link was cut: a client that asks for the size
/// must not be content before it has heard 226.
#[test]
fn a_cut_upload_is_never_as_long_as_what_came() {
    let served = Served::with(|options| options.stall_timeout = SHORT);
    for (name, again) in [("stored", "STOR"), ("appended", "APPE")] {
        let mut client = served.log_in();
        let mut data = client.begin(&format!("STOR {name}"));
        data.write_all(b"all of it").unwrap();
        assert!(client.reply().starts_with("426 "));
        assert_eq!(client.say(format!("SIZE {name}")), "213 8\r\n");
        assert!(client.say(format!("XCRC {name}")).starts_with("550 "));
        if again == "STOR" {
            assert!(client.say("REST 8").starts_with("350 "));
        }
        assert!(
            client
                .store(format!("{again} {name}"), b"t")
                .starts_with("226 ")
        );
        assert_eq!(served.read(&format!("root/{name}")).unwrap(), b"all of it");
        assert_eq!(client.say(format!("SIZE {name}")), "213 9\r\n");
        assert!(client.say(format!("XCRC {name}")).starts_with("250 "));
    }
    let mut client = served.log_in();
    let _data = client.begin("STOR nothing");
    assert!(client.reply().starts_with("426 "));
    assert!(client.say("SIZE nothing").starts_with("550 "));
}

/// As long as the system still sends, a 226 would be a promise.
#[test]
fn a_download_that_did_not_arrive_is_not_answered_by_226() {
    let served = Served::with(|_| {});
    fs::write(served.dir.path().join("root/image"), [7; 200_000]).unwrap();
    let mut client = served.log_in();
    let data = client.begin("RETR image");
    // Closed with something unread it sends a reset.
    data.peek(&mut [0]).unwrap();
    drop(data);
    assert!(client.reply().starts_with("426 "));
    let mut data = client.begin("RETR image");
    let mut read = Vec::new();
    assert_eq!(data.read_to_end(&mut read).unwrap(), 200_000);
    // Who waits for it before closing gets it, too.
    assert!(client.reply().starts_with("226 "));
}

/// What is on its way has not arrived, however long that takes.
#[test]
fn a_download_is_not_over_before_the_client_has_taken_it() {
    let served = Served::with(|_| {});
    // Less than the system takes from the receiver, more than it keeps for us.
    fs::write(served.dir.path().join("root/image"), [7; 1_000_000]).unwrap();
    let mut client = served.log_in();
    let mut data = client.begin("RETR image");
    thread::sleep(SHORT);
    assert!(client.say("NOOP").starts_with("200 "));
    let mut read = Vec::new();
    assert_eq!(data.read_to_end(&mut read).unwrap(), 1_000_000);
    client.expect(226);
    let served = Served::with(|options| options.stall_timeout = SHORT);
    fs::write(served.dir.path().join("root/image"), [7; 1_000_000]).unwrap();
    let mut client = served.log_in();
    let _unread = client.begin("RETR image");
    client.expect(426);
}

/// Between AUTH TLS, or the connection to the implicit port, and the end of the
/// handshake.
#[test]
fn who_is_silent_instead_of_beginning_tls_is_let_go_in_time() {
    let served = Served::with(|options| {
        options.login_timeout = SHORT;
        options.tls = TlsUse::Optional;
        options.listen_implicit = vec![([127, 0, 0, 1], 0).into()];
    });
    let mut explicit = served.connect();
    assert!(explicit.reply().starts_with("220 "));
    assert!(explicit.say("AUTH TLS").starts_with("234 "));
    let mut implicit = Dialogue::connect(served.implicit.unwrap());
    assert_eq!(explicit.reply(), "");
    assert_eq!(implicit.reply(), "");
}

/// Its time begins when it says so, however long it has been there.
#[test]
fn who_logs_in_again_has_the_whole_time_for_it() {
    let served = Served::with(|options| {
        options.login_timeout = 3 * SHORT;
        options.tls = TlsUse::Optional;
    });
    let script = format!(
        "import ftplib, ssl, time\n\
         ftp = ftplib.FTP_TLS(context=ssl._create_unverified_context(), timeout=60)\n\
         ftp.connect('127.0.0.1', {})\n\
         login = lambda: ftplib.FTP.login(ftp, 'camera', 'secret')\n\
         login()\ntime.sleep({seconds})\nlogin()\ntime.sleep({seconds})\n\
         ftp.auth()\nlogin()\nftp.prot_p()\nassert ftp.nlst() == []\nftp.quit()\n",
        served.addr.port(),
        seconds = (3 * SHORT).as_secs() + 1,
    );
    let mut python = client("python3", "python3", LONG);
    succeeded(&python.args(["-c", &script]).output().unwrap());
}

#[test]
fn one_session_more_than_allowed_is_refused_until_another_ends() {
    for change in [
        (|options| options.max_sessions = 2) as fn(&mut ReceiveOptions),
        |options| options.sessions_per_address = 2,
    ] {
        let served = Served::with(change);
        let first = served.log_in();
        let _second = served.log_in();
        assert!(served.connect().reply().starts_with("421 "));
        drop(first);
        wait_until("there is room again", || {
            served.connect().reply().starts_with("220 ")
        });
    }
    let served = Served::with(|options| options.sessions_per_user = 1);
    let _first = served.log_in();
    let mut second = served.connect();
    second.reply();
    second.say("USER camera");
    assert!(second.say("PASS secret").starts_with("421 "));
}

#[test]
fn wrong_passwords_end_the_session_and_lock_the_address_out() {
    let served = Served::with(|options| options.lockout.failures = 3);
    let mut client = served.connect();
    client.reply();
    for expected in ["530 ", "530 ", "421 "] {
        client.say("USER camera");
        let reply = client.say("PASS wrong");
        assert!(reply.starts_with(expected), "{reply}");
    }
    assert_eq!(client.reply(), "");
    assert!(served.connect().reply().starts_with("421 "));
}

#[test]
fn passive_ports_stay_in_their_range() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let served = Served::with(|options| options.passive_ports = Some((port, port)));
    let (mut one, mut two) = (served.log_in(), served.log_in());
    assert_eq!(passive(&mut one), port);
    assert!(two.say("PASV").starts_with("425 "));
    assert_eq!(passive(&mut one), port);
    assert!(one.say("ABOR").starts_with("225 "));
    assert_eq!(passive(&mut two), port);
}

#[test]
fn nobody_else_can_use_a_clients_data_connection() {
    let served = Served::with(|_| {});
    let mut client = served.log_in();
    let port = passive(&mut client);
    let stranger =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let from: SocketAddr = ([127, 0, 0, 2], 0).into();
    stranger.bind(&from.into()).unwrap();
    let to: SocketAddr = ([127, 0, 0, 1], port).into();
    stranger.connect(&to.into()).unwrap();
    let mut stranger = TcpStream::from(stranger);
    let _ = stranger.write_all(b"not yours");
    let mut own = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(client.say("STOR mine").starts_with("150 "));
    own.write_all(b"mine").unwrap();
    drop(own);
    assert!(client.reply().starts_with("226 "));
    assert_eq!(served.read("root/mine").unwrap(), b"mine");
    // The stranger was turned away.
    let mut rest = Vec::new();
    let _ = stranger.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn a_received_file_is_told_to_a_program_and_to_the_journal() {
    let mark = tempfile::tempdir().unwrap();
    let said = mark.path().join("said");
    let script = format!(
        "printf '%s %s %s' \"$1\" \"$2\" \"$3\" > {}",
        said.display()
    );
    let served = Served::with(|options| {
        let words = ["sh", "-c", &script, "sh", "{path}", "{user}", "{size}"];
        options.on_received = Some(words.map(str::to_owned).to_vec());
    });
    let mut client = served.log_in();
    assert!(client.store("STOR a $(b)", b"1234567").starts_with("226 "));
    let path = served.dir.path().join("root/a $(b)");
    let expected = format!("{} camera 7", path.display());
    wait_until("the program ran", || {
        fs::read_to_string(&said).is_ok_and(|text| text == expected)
    });
    wait_until("the journal is written", || {
        served
            .read("state/received.jsonl")
            .is_some_and(|text| text.ends_with(b"\n"))
    });
    let journal = String::from_utf8(served.read("state/received.jsonl").unwrap()).unwrap();
    let line: serde_json::Value = serde_json::from_str(journal.trim_end()).unwrap();
    assert_eq!(line["path"], "/a $(b)");
    assert_eq!((&line["bytes"], &line["reply"]), (&7.into(), &226.into()));
}

#[test]
fn stopping_says_goodbye_and_keeps_what_came() {
    let served = Served::with(|_| {});
    let (mut idle, mut busy) = (served.log_in(), served.log_in());
    let mut data = busy.begin("STOR part");
    data.write_all(b"part").unwrap();
    wait_until("the part is stored", || {
        idle.say("SIZE part") == "213 3\r\n"
    });
    served.stop.close();
    assert!(idle.reply().starts_with("421 "));
    data.write_all(b" and rest").unwrap();
    drop(data);
    assert!(busy.reply().starts_with("226 "));
    assert!(busy.reply().starts_with("421 "));
    assert_eq!(served.read("root/part").unwrap(), b"part and rest");
}

#[test]
fn many_sessions_are_served_side_by_side() {
    let served = Served::with(|options| {
        options.max_sessions = 200;
        options.sessions_per_user = 200;
        options.sessions_per_address = 200;
    });
    let mut clients: Vec<_> = (0..200).map(|_| served.log_in()).collect();
    let mut data = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        data.push(client.begin(&format!("STOR f{n}")));
    }
    for (n, data) in data.iter_mut().enumerate() {
        data.write_all(format!("content {n}").as_bytes()).unwrap();
    }
    drop(data);
    for (n, client) in clients.iter_mut().enumerate() {
        assert!(client.reply().starts_with("226 "), "{n}");
        let stored = served.read(&format!("root/f{n}")).unwrap();
        assert_eq!(stored, format!("content {n}").into_bytes());
    }
}
