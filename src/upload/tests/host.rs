//! An FTP server in memory. It acts at once when a client writes, holds real
//! files, and does what its rules say instead where they match.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::Waker;

/// A deviation from what a good server does.
pub(super) struct Rule {
    /// What the command begins with.
    pub(super) on: &'static str,
    /// How many such commands it is for.
    pub(super) times: usize,
    /// What happens instead.
    pub(super) does: Does,
}

/// See [`Rule`].
#[derive(Clone)]
pub(super) enum Does {
    /// Says this; nothing is done.
    Say(Vec<u8>),
    /// Does it, and closes the control connection without a word.
    Lose,
    /// Closes the control connection; nothing is done.
    HangUp,
    /// Takes so many bytes, resets the data connection, and says this, if it is
    /// anything.
    Cut(usize, &'static str),
    /// Does it, and the file is taken away at once.
    TakeAway,
}

/// One control connection, and its data connection.
#[derive(Default)]
pub(super) struct Line {
    pub(super) out: VecDeque<u8>,
    pub(super) closed: bool,
    pub(super) reader: Option<Waker>,
    input: Vec<u8>,
    rest: usize,
    rename_from: Option<String>,
    pub(super) port: u16,
    storing: Option<Storing>,
    /// Bytes of the data connection, from its beginning.
    pub(super) data: Option<Vec<u8>>,
    pub(super) data_ended: bool,
    pub(super) data_reset: bool,
}

struct Storing {
    path: String,
    offset: usize,
    append: bool,
    rule: Option<Does>,
}

/// The server.
#[derive(Default)]
pub(super) struct Host {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) directories: BTreeSet<String>,
    /// Lines of FEAT.
    pub(super) features: Vec<&'static str>,
    pub(super) greeting: &'static str,
    pub(super) rules: Vec<Rule>,
    /// APPE puts the new bytes in the place of the file.
    pub(super) append_replaces: bool,
    /// Every command after the login, in order.
    pub(super) log: Vec<String>,
    pub(super) lines: Vec<Line>,
    pub(super) logins: usize,
    pub(super) next_port: u16,
}

impl Host {
    /// A new control connection; gives its number.
    pub(super) fn accept(&mut self) -> usize {
        let mut line = Line::default();
        line.out.extend(b"220 ");
        line.out.extend(self.greeting.as_bytes());
        line.out.extend(b"\r\n");
        self.lines.push(line);
        self.lines.len() - 1
    }

    /// A data connection to a passive port; gives the number of its session.
    pub(super) fn accept_data(&mut self, port: u16) -> Option<usize> {
        let at = self.lines.iter().position(|line| line.port == port)?;
        let line = &mut self.lines[at];
        (line.data, line.data_ended, line.data_reset) = (Some(Vec::new()), false, false);
        if line.storing.is_some() {
            self.say(at, b"150 go\r\n");
        }
        Some(at)
    }

    /// Bytes on a control connection.
    pub(super) fn hear(&mut self, at: usize, bytes: &[u8]) {
        self.lines[at].input.extend_from_slice(bytes);
        while let Some(end) = self.lines[at].input.iter().position(|b| *b == b'\n') {
            let command: Vec<u8> = self.lines[at].input.drain(..=end).collect();
            if !self.lines[at].closed {
                let command = String::from_utf8_lossy(&command).trim_end().to_owned();
                self.obey(at, &command);
            }
        }
    }

    /// What came on the data connection, or that it ended, may end a STOR.
    pub(super) fn settle_data(&mut self, at: usize) {
        let line = &mut self.lines[at];
        let (Some(storing), Some(data)) = (&line.storing, &line.data) else {
            return;
        };
        if let Some(Does::Cut(most, reply)) = storing.rule {
            if data.len() >= most || line.data_ended {
                self.store(at, most);
                self.lines[at].data_reset = true;
                if !reply.is_empty() {
                    self.say(at, format!("{reply}\r\n").as_bytes());
                }
            }
        } else if line.data_ended {
            let rule = storing.rule.clone();
            let path = storing.path.clone();
            self.store(at, usize::MAX);
            match rule {
                Some(Does::Lose) => self.hang_up(at),
                Some(Does::TakeAway) => {
                    self.files.remove(&path);
                    self.say(at, b"226 ok\r\n");
                }
                _ => self.say(at, b"226 ok\r\n"),
            }
        }
    }

    fn store(&mut self, at: usize, most: usize) {
        let line = &mut self.lines[at];
        let (Some(storing), Some(mut data)) = (line.storing.take(), line.data.take()) else {
            return;
        };
        data.truncate(most);
        let file = self.files.entry(storing.path).or_default();
        let offset = match (storing.append, self.append_replaces) {
            (true, true) => {
                file.clear();
                0
            }
            (true, false) => file.len(),
            (false, _) if storing.offset == 0 => {
                file.clear();
                0
            }
            (false, _) => storing.offset,
        };
        // The tail behind the new bytes stays, as on most servers.
        let end = offset + data.len();
        file.resize(file.len().max(end), 0);
        file[offset..end].copy_from_slice(&data);
    }

    /// Queues bytes for a control connection.
    pub(super) fn say(&mut self, at: usize, bytes: &[u8]) {
        let line = &mut self.lines[at];
        line.out.extend(bytes);
        if let Some(waker) = line.reader.take() {
            waker.wake();
        }
    }

    /// Ends a control connection, and what hangs on it.
    pub(super) fn hang_up(&mut self, at: usize) {
        self.lines[at].closed = true;
        self.lines[at].data_reset = true;
        self.say(at, b"");
    }

    fn rule_for(&mut self, command: &str) -> Option<Does> {
        let rule = self
            .rules
            .iter_mut()
            .find(|rule| rule.times > 0 && command.starts_with(rule.on))?;
        rule.times -= 1;
        Some(rule.does.clone())
    }

    fn obey(&mut self, at: usize, command: &str) {
        let rule = self.rule_for(command);
        let (verb, argument) = command.split_once(' ').unwrap_or((command, ""));
        if !matches!(verb, "USER" | "PASS" | "FEAT" | "TYPE") {
            self.log.push(command.to_owned());
        }
        match rule {
            Some(Does::Say(words)) => return self.say(at, &words),
            Some(Does::HangUp) => return self.hang_up(at),
            Some(Does::Lose) if !matches!(verb, "STOR" | "APPE") => {
                let _unsaid = self.answer(at, verb, argument);
                return self.hang_up(at);
            }
            _ => {}
        }
        if matches!(verb, "STOR" | "APPE") {
            return self.begin_to_store(at, verb, argument, rule);
        }
        let reply = self.answer(at, verb, argument);
        self.say(at, format!("{reply}\r\n").as_bytes());
    }

    fn begin_to_store(&mut self, at: usize, verb: &str, path: &str, rule: Option<Does>) {
        let offset = std::mem::take(&mut self.lines[at].rest);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if !parent.is_empty() && !self.directories.contains(parent) {
            return self.say(at, b"550 no such directory\r\n");
        }
        self.lines[at].storing = Some(Storing {
            path: path.to_owned(),
            offset,
            append: verb == "APPE",
            rule,
        });
        if self.lines[at].data.is_some() {
            self.say(at, b"150 go\r\n");
            self.settle_data(at);
        }
    }

    fn answer(&mut self, at: usize, verb: &str, argument: &str) -> String {
        let missing = || "550 no such file".to_owned();
        match verb {
            "USER" => "331 password".to_owned(),
            "PASS" => {
                self.logins += 1;
                "230 welcome".to_owned()
            }
            "FEAT" => {
                let lines: String = self.features.iter().map(|f| format!(" {f}\r\n")).collect();
                format!("211-Features\r\n{lines}211 End")
            }
            "EPSV" => {
                let port = self.new_port(at);
                format!("229 ok (|||{port}|)")
            }
            "PASV" => {
                // Another host than the one it is.
                let port = self.new_port(at);
                format!("227 ok (8,8,8,8,{},{})", port / 256, port % 256)
            }
            "SIZE" => match self.files.get(argument) {
                Some(file) => format!("213 {}", file.len()),
                None => missing(),
            },
            "REST" => {
                self.lines[at].rest = argument.parse().unwrap();
                "350 ok".to_owned()
            }
            "RNFR" if self.files.contains_key(argument) => {
                self.lines[at].rename_from = Some(argument.to_owned());
                "350 ok".to_owned()
            }
            "RNTO" => {
                let from = self.lines[at].rename_from.take();
                match from.and_then(|from| self.files.remove(&from)) {
                    Some(file) => {
                        self.files.insert(argument.to_owned(), file);
                        "250 renamed".to_owned()
                    }
                    None => "503 RNFR first".to_owned(),
                }
            }
            "DELE" => match self.files.remove(argument) {
                Some(_) => "250 gone".to_owned(),
                None => missing(),
            },
            "MKD" => match self.directories.insert(argument.to_owned()) {
                true => format!("257 \"{argument}\""),
                false => "550 exists".to_owned(),
            },
            "RNFR" => missing(),
            "TYPE" | "QUIT" => "200 ok".to_owned(),
            _ => "500 unknown".to_owned(),
        }
    }

    fn new_port(&mut self, at: usize) -> u16 {
        self.next_port += 1;
        self.lines[at].port = 40_000 + self.next_port;
        self.lines[at].data = None;
        self.lines[at].port
    }
}
