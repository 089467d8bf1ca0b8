//! One control connection of the model.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use edgespool::ftp::command::{Command, DigestCommand, Verb, parse};
use edgespool::ftp::time::FtpTime;
use edgespool::sys::{Clock, Listener, Net, Stream, timeout};
use smol::io::{AsyncReadExt, AsyncWriteExt};

use super::Server;
use crate::net::SERVER;

/// How long a server waits for a data connection.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);
/// How long it waits for the next byte or command.
const IDLE_LIMIT: Duration = Duration::from_secs(300);

/// Why a session ends.
struct Gone;

struct Session {
    server: Rc<Server>,
    control: Box<dyn Stream>,
    input: Vec<u8>,
    passive: Option<Box<dyn Listener>>,
    active: Option<SocketAddr>,
    restart: u64,
    rename_from: Option<Vec<u8>>,
    /// Final replies are lost.
    mute: bool,
}

pub async fn serve(server: Rc<Server>, control: Box<dyn Stream>) {
    let mut session = Session {
        server,
        control,
        input: Vec::new(),
        passive: None,
        active: None,
        restart: 0,
        rename_from: None,
        mute: false,
    };
    let _gone = session.run().await;
}

impl Session {
    async fn run(&mut self) -> Result<(), Gone> {
        let greeting = format!("220 {}", self.server.manners.get().software);
        self.reply(&greeting).await?;
        loop {
            let line = self.line().await?;
            let command = match parse(&line) {
                Ok(command) => command,
                Err(error) => {
                    self.reply(&format!("{} {error}", error.reply_code()))
                        .await?;
                    continue;
                }
            };
            self.obey_or_not(command).await?;
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>, Gone> {
        loop {
            if let Some(end) = self.input.iter().position(|b| *b == b'\n') {
                return Ok(self.input.drain(..=end).collect());
            }
            let mut chunk = [0; 1024];
            let clock = self.server.clock.clone();
            let read = timeout(&clock, IDLE_LIMIT, self.control.read(&mut chunk)).await;
            match read {
                Ok(Ok(got)) if got > 0 => self.input.extend_from_slice(&chunk[..got]),
                _ => return Err(Gone),
            }
        }
    }

    async fn reply(&mut self, text: &str) -> Result<(), Gone> {
        let moods = self.server.moods.get();
        if self.server.is_moody() && self.server.dice.one_in(moods.late_one_in) {
            let late = Duration::from_millis(self.server.dice.below(20_000));
            self.server.clock.sleep(late).await;
        }
        if self.mute && !text.starts_with('1') {
            return Ok(());
        }
        let line = format!("{text}\r\n");
        self.control
            .write_all(line.as_bytes())
            .await
            .map_err(|_| Gone)
    }

    /// The server's mood decides whether the command is obeyed.
    async fn obey_or_not(&mut self, command: Command) -> Result<(), Gone> {
        let (moods, dice) = (self.server.moods.get(), self.server.dice.clone());
        if self.server.is_moody() && !matches!(command.verb(), Verb::User | Verb::Pass | Verb::Quit)
        {
            if dice.one_in(moods.close_one_in) {
                self.reply("421 Service not available").await?;
                return Err(Gone);
            }
            if dice.one_in(moods.mute_one_in) {
                self.mute = true;
                self.obey(command).await?;
                return Err(Gone);
            }
            // A time that is not set leaves nothing to tell a version by.
            let time = matches!(command.verb(), Verb::Mfmt | Verb::Mdtm | Verb::Feat);
            if !time && dice.one_in(moods.refuse_one_in) {
                return self
                    .refuse(&command, dice.pick(&["450", "451", "425"]))
                    .await;
            }
            // No server says that a file is not there when it is.
            let question = matches!(command.verb(), Verb::Size | Verb::Xmd5 | Verb::Feat);
            if !time && !question && dice.one_in(moods.reject_one_in) {
                return self
                    .refuse(&command, dice.pick(&["550", "553", "550"]))
                    .await;
            }
        }
        self.obey(command).await
    }

    async fn refuse(&mut self, command: &Command, code: &str) -> Result<(), Gone> {
        if command.verb() == Verb::Stor || command.verb() == Verb::Appe {
            (self.passive, self.active) = (None, None);
        }
        self.restart = 0;
        self.reply(&format!("{code} Not now")).await
    }

    async fn obey(&mut self, command: Command) -> Result<(), Gone> {
        let transfers = matches!(command, Command::Stor(_) | Command::Appe(_));
        let forgets = transfers || self.server.manners.get().forgets_rest;
        let restart = match forgets {
            true => std::mem::take(&mut self.restart),
            false => self.restart,
        };
        let rename_from = self.rename_from.take();
        let manners = self.server.manners.get();
        match command {
            Command::User(_) => self.reply("331 Password?").await,
            Command::Pass(_) => self.reply("230 Welcome").await,
            Command::Feat => self.features().await,
            Command::Type(_) | Command::Opts(_) | Command::Noop => self.reply("200 Fine").await,
            Command::Quit => {
                self.reply("221 Bye").await?;
                Err(Gone)
            }
            Command::Epsv(_) if manners.epsv => {
                let port = self.listen();
                self.reply(&format!("229 Passive (|||{port}|)")).await
            }
            Command::Pasv => {
                let port = self.listen();
                // Behind a NAT the address is of no use; only the port counts.
                self.reply(&format!(
                    "227 Passive (10,0,0,1,{},{})",
                    port >> 8,
                    port & 255
                ))
                .await
            }
            Command::Eprt(addr) => self.active(addr).await,
            Command::Port(addr) => self.active(addr.into()).await,
            Command::Rest(offset) if manners.rest => {
                self.restart = offset;
                self.reply("350 Restarting").await
            }
            Command::Stor(path) => self.store(path, restart, false).await,
            Command::Appe(path) => self.store(path, 0, true).await,
            Command::Rnfr(path) => self.rename_from(path).await,
            Command::Rnto(path) => self.rename_to(rename_from, &path).await,
            Command::Mkd(path) => {
                let made = self.server.store.borrow_mut().make_dir(&path);
                self.reply(if made { "257 Made" } else { "550 Exists" })
                    .await
            }
            Command::Dele(path) => {
                let gone = self.server.store.borrow_mut().delete(&path);
                self.reply(if gone {
                    "250 Deleted"
                } else {
                    "550 No such file"
                })
                .await
            }
            other => self.answer(other).await,
        }
    }

    /// Questions about a file, and settings of its time.
    async fn answer(&mut self, command: Command) -> Result<(), Gone> {
        let manners = self.server.manners.get();
        let text = {
            let mut store = self.server.store.borrow_mut();
            match command {
                Command::Size(path) => store
                    .files
                    .get(&path)
                    .map(|file| format!("213 {}", file.bytes.len())),
                Command::Mdtm(path) => store
                    .files
                    .get(&path)
                    .map(|file| format!("213 {}", FtpTime::from_unix(file.mtime).unwrap())),
                Command::Mfmt(time, path) if manners.mfmt => {
                    store.files.get_mut(&path).map(|file| {
                        file.mtime = time.unix_secs();
                        format!("213 Modify={time}; file")
                    })
                }
                Command::MdtmSet(time, path) if manners.software.contains("vsFTPd") => {
                    store.files.get_mut(&path).map(|file| {
                        file.mtime = time.unix_secs();
                        "213 File modification time set.".to_owned()
                    })
                }
                Command::Digest(DigestCommand::Xmd5, path) if manners.hashes => {
                    store.files.get(&path).map(|file| {
                        use md5::Digest;
                        let digest = md5::Md5::digest(&file.bytes);
                        let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
                        format!("250 {hex}")
                    })
                }
                _ => Some("502 Not implemented".to_owned()),
            }
        };
        let text = text.unwrap_or("550 No such file".to_owned());
        self.reply(&text).await
    }

    async fn features(&mut self) -> Result<(), Gone> {
        let manners = self.server.manners.get();
        let mut lines = vec!["211-Features:", " SIZE", " MDTM", " UTF8"];
        let all = [
            (manners.epsv, " EPSV"),
            (manners.rest, " REST STREAM"),
            (manners.mfmt, " MFMT"),
            (manners.hashes, " XMD5"),
        ];
        lines.extend(all.iter().filter(|(has, _)| *has).map(|(_, line)| *line));
        lines.push("211 End");
        self.reply(&lines.join("\r\n")).await
    }

    fn listen(&mut self) -> u16 {
        let any = SocketAddr::new(SERVER.parse().unwrap(), 0);
        let listener = self.server.net.listen(any).unwrap();
        let port = listener.local_addr().unwrap().port();
        (self.passive, self.active) = (Some(listener), None);
        port
    }

    async fn active(&mut self, addr: SocketAddr) -> Result<(), Gone> {
        (self.passive, self.active) = (None, Some(addr));
        self.reply("200 Fine").await
    }

    async fn rename_from(&mut self, path: Vec<u8>) -> Result<(), Gone> {
        if self.server.store.borrow().files.contains_key(&path) {
            self.rename_from = Some(path);
            self.reply("350 To what?").await
        } else {
            self.reply("550 No such file").await
        }
    }

    async fn rename_to(&mut self, from: Option<Vec<u8>>, to: &[u8]) -> Result<(), Gone> {
        let Some(from) = from else {
            return self.reply("503 RNFR first").await;
        };
        let refuses = self.server.manners.get().rename_refuses_existing;
        let renamed = {
            let mut store = self.server.store.borrow_mut();
            (!refuses || !store.files.contains_key(to)) && store.rename(&from, to)
        };
        self.reply(if renamed {
            "250 Renamed"
        } else {
            "553 Not renamed"
        })
        .await
    }

    async fn store(&mut self, path: Vec<u8>, offset: u64, append: bool) -> Result<(), Gone> {
        let manners = self.server.manners.get();
        if !self.server.store.borrow().has_dir_of(&path) {
            (self.passive, self.active) = (None, None);
            return self.reply("553 Could not create file").await;
        }
        if self.is_full(1) {
            (self.passive, self.active) = (None, None);
            return self.reply("452 Insufficient storage").await;
        }
        // Before anything is said: a late reply makes no late STOR.
        let begin = self.open(&path, offset, append && manners.appends);
        if manners.early_150 {
            self.reply("150 Go on").await?;
        }
        let Some(data) = self.connect().await else {
            return self.reply("425 No data connection").await;
        };
        if !manners.early_150 {
            self.reply("150 Go on").await?;
        }
        let outcome = self.receive(data, &path, begin).await;
        match outcome {
            Received::All => self.reply("226 Stored").await,
            Received::Broken if manners.content_with_half => self.reply("226 Stored").await,
            Received::Broken => self.reply("426 Connection lost").await,
            Received::Full => self.reply("552 No space left").await,
            Received::ControlGone => Err(Gone),
        }
    }

    /// Where the first byte goes.
    fn open(&self, path: &[u8], offset: u64, append: bool) -> usize {
        let now = self.server.clock.wall().secs();
        let mut store = self.server.store.borrow_mut();
        let file = store.files.entry(path.to_vec()).or_default();
        file.mtime = now;
        let offset = usize::try_from(offset).unwrap();
        if append {
            return file.bytes.len();
        }
        match offset {
            0 => file.bytes.clear(),
            // What lies behind the new bytes stays.
            _ => file.bytes.resize(file.bytes.len().max(offset), 0),
        }
        offset
    }

    async fn connect(&mut self) -> Option<Box<dyn Stream>> {
        let clock = self.server.clock.clone();
        if let Some(listener) = self.passive.take() {
            let accepted = timeout(&clock, ACCEPT_LIMIT, listener.accept()).await;
            return accepted.ok()?.ok().map(|(stream, _)| stream);
        }
        let addr = self.active.take()?;
        self.server.net.connect(addr, ACCEPT_LIMIT).await.ok()
    }

    fn is_full(&self, more: u64) -> bool {
        let moods = self.server.moods.get();
        let used = self.server.store.borrow().used();
        self.server.is_moody() && moods.room.is_some_and(|room| used + more > room)
    }

    async fn receive(&mut self, mut data: Box<dyn Stream>, path: &[u8], mut at: usize) -> Received {
        let needs_control = self.server.manners.get().transfer_needs_control;
        let clock = self.server.clock.clone();
        let mut chunk = [0; 8192];
        loop {
            let reading = timeout(&clock, IDLE_LIMIT, data.read(&mut chunk));
            let got = match self.unless_control_ends(needs_control, reading).await {
                None => return Received::ControlGone,
                Some(Ok(Ok(0))) => return Received::All,
                Some(Ok(Ok(got))) => got,
                Some(_) => return Received::Broken,
            };
            if self.is_full(got as u64) {
                return Received::Full;
            }
            let mut store = self.server.store.borrow_mut();
            let Some(file) = store.files.get_mut(path) else {
                continue;
            };
            let end = at + got;
            let size = file.bytes.len().max(end);
            file.bytes.resize(size, 0);
            file.bytes[at..end].copy_from_slice(&chunk[..got]);
            at = end;
        }
    }

    /// Reads ahead on the control connection meanwhile; `None` when it ends.
    async fn unless_control_ends<T>(
        &mut self,
        watch: bool,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        if !watch {
            return Some(work.await);
        }
        let (control, input) = (&mut self.control, &mut self.input);
        let watching = async {
            let mut chunk = [0; 1024];
            while let Ok(got @ 1..) = control.read(&mut chunk).await {
                input.extend_from_slice(&chunk[..got]);
            }
            None
        };
        smol::future::or(async { Some(work.await) }, watching).await
    }
}

enum Received {
    All,
    Broken,
    Full,
    ControlGone,
}
