//! A client that says just what a test tells it to.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use super::WAIT_MAX;

/// A control connection.
pub struct Dialogue {
    stream: BufReader<TcpStream>,
    server: SocketAddr,
}

impl Dialogue {
    /// Connects, and reads the greeting.
    pub fn greeted(server: SocketAddr) -> Dialogue {
        let mut dialogue = Dialogue::connect(server);
        dialogue.expect(220);
        dialogue
    }

    /// Connects, from whatever address the system chooses.
    pub fn connect(server: SocketAddr) -> Dialogue {
        Dialogue::over(TcpStream::connect(server).unwrap(), server)
    }

    /// Connects from another of this machine's addresses.
    pub fn connect_from(from: IpAddr, server: SocketAddr) -> Dialogue {
        let domain = socket2::Domain::for_address(server);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect(&server.into()).unwrap();
        Dialogue::over(socket.into(), server)
    }

    fn over(stream: TcpStream, server: SocketAddr) -> Dialogue {
        stream.set_read_timeout(Some(WAIT_MAX)).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = BufReader::new(stream);
        Dialogue { stream, server }
    }

    /// Connects and logs in, for binary transfers.
    pub fn logged_in(server: SocketAddr, user: &str, password: &str) -> Dialogue {
        let mut dialogue = Dialogue::greeted(server);
        dialogue.log_in(user, password);
        dialogue
    }

    #[track_caller]
    pub fn log_in(&mut self, user: &str, password: &str) {
        self.send(format!("USER {user}\r\nPASS {password}\r\nTYPE I\r\n"));
        self.expect(331);
        self.expect(230);
        self.expect(200);
    }

    /// Sends a command, and gives its reply.
    pub fn say(&mut self, line: impl AsRef<[u8]>) -> String {
        self.send([line.as_ref(), b"\r\n"].concat());
        self.reply()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes as they are; `false` when the connection is broken.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next reply, all of its lines; empty when the connection has ended.
    pub fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            match self.stream.read_until(b'\n', &mut line) {
                Ok(count) if count > 0 => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("no reply in time"),
                Ok(_) | Err(_) => return reply,
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            let ends = line.get(3..4) == Some(" ") && line.as_bytes()[..3].is_ascii();
            reply += &line;
            if ends && reply[..3] == line[..3] {
                return reply;
            }
        }
    }

    /// The next reply, which must have this code.
    #[track_caller]
    pub fn expect(&mut self, code: u16) -> String {
        let reply = self.reply();
        assert!(reply.starts_with(&code.to_string()), "{code}: {reply:?}");
        reply
    }

    /// A data connection, made in passive mode; `None` when that is refused.
    pub fn data(&mut self) -> Option<TcpStream> {
        let reply = self.say("EPSV");
        let port = reply.split('|').nth(3)?.parse().ok()?;
        let data = TcpStream::connect((self.server.ip(), port)).ok()?;
        data.set_read_timeout(Some(WAIT_MAX)).unwrap();
        Some(data)
    }

    /// Begins an upload by `command`, with its data connection.
    #[track_caller]
    pub fn begin(&mut self, command: &str) -> TcpStream {
        let data = self.data().unwrap();
        let reply = self.say(command);
        assert!(reply.starts_with("150"), "{command}: {reply:?}");
        data
    }

    /// A whole upload; the final reply, or the first one that refuses it. Empty
    /// when the server is gone.
    pub fn store(&mut self, command: impl AsRef<[u8]>, bytes: &[u8]) -> String {
        let Some(mut data) = self.data() else {
            return String::new();
        };
        if !self.try_send([command.as_ref(), b"\r\n"].concat()) {
            return String::new();
        }
        let reply = self.reply();
        if !reply.starts_with("150") {
            return reply;
        }
        if data.write_all(bytes).is_err() {
            let _ = data.shutdown(std::net::Shutdown::Both);
        }
        drop(data);
        self.reply()
    }

    /// A whole transfer to us: what came, and the reply that ended it.
    pub fn fetch(&mut self, command: impl AsRef<[u8]>) -> (Vec<u8>, String) {
        let (mut data, mut bytes) = (self.data().unwrap(), Vec::new());
        let reply = self.say(command);
        if !reply.starts_with("150") {
            return (bytes, reply);
        }
        let _ = data.read_to_end(&mut bytes);
        (bytes, self.reply())
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
