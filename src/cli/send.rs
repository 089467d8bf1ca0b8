//! `send`: files straight to a server, with no configuration and no spool.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::bar::Bar;
use super::text::count;
use super::{Exit, args, complain, say};
use crate::base::{ByteSize, format_span};
use crate::ftp::secret::Secret;
use crate::ftp::url::{FtpUrl, Scheme};
use crate::schedule::{Backoff, RetryOptions};
use crate::sys::{File, Kind, LocalFuture, Mono, Sys, Wall};
use crate::upload::{
    Class, Delivered, Failure, Feed, Job, Profile, Proof, Server, ServerOptions, Session, TlsMode,
};

/// Refusals of one file before it is given up.
const ATTEMPTS_MAX: u32 = 3;
/// First and longest wait between two tries.
const RETRY: RetryOptions = RetryOptions {
    first: Duration::from_millis(500),
    max: Duration::from_secs(10),
};

/// Uploads the files; prints a line on stdout for each that arrived.
pub(crate) fn run(sys: &Sys, send: &args::Send) -> Exit {
    let (options, items) = match prepare(sys, send) {
        Ok(prepared) => prepared,
        Err(problem) => {
            complain(&problem);
            return Exit::Usage;
        }
    };
    if options.tls == TlsMode::None {
        log::warn!("ftp:// sends the password and the files in clear text (ftpes:// does not)");
    }
    let mut queue = Queue::new(sys, items);
    let ended = smol::block_on(deliver_all(sys, options, &mut queue, send.patience));
    queue.bar.finish();
    match ended {
        Ok(()) if queue.refused > 0 => Exit::DeadLetter,
        Ok(()) => Exit::Done,
        Err(failure) => {
            complain(&failure.to_string());
            let left = queue.waiting.len();
            complain(&format!(
                "not sent yet: {} (the same command goes on with it)",
                count(left as u64, "file")
            ));
            match failure.class {
                Class::Login => Exit::Login,
                Class::ServerFull | Class::Data => Exit::Queued,
                Class::Source => Exit::Failed,
                _ => Exit::Unavailable,
            }
        }
    }
}

struct Item {
    shown: String,
    job: Job,
    refusals: u32,
}

fn prepare(sys: &Sys, send: &args::Send) -> Result<(ServerOptions, Vec<Item>), String> {
    let Some((url, files)) = send.files_and_url.split_last() else {
        return Err("name the files and then the URL".to_owned());
    };
    let text = url.to_str().ok_or("the URL is not text")?;
    let url = FtpUrl::parse(text).map_err(|e| {
        format!(
            "{text:?} is no URL to send to: {e} (the URL comes last, as in ftpes://user@host/dir/)"
        )
    })?;
    let is_dir = url.path.ends_with(b"/");
    if files.len() > 1 && !is_dir {
        return Err("several files need a directory: end the URL with /".to_owned());
    }
    let items = files.iter().map(|file| item(sys, file, &url.path, is_dir));
    let items = items.collect::<Result<_, _>>()?;
    Ok((options(&url, send)?, items))
}

fn options(url: &FtpUrl, send: &args::Send) -> Result<ServerOptions, String> {
    let tls = match url.scheme {
        Scheme::Plain => TlsMode::None,
        Scheme::Explicit => TlsMode::Explicit,
        Scheme::Implicit => TlsMode::Implicit,
    };
    let mut options = ServerOptions::new(&url.host, &url.host, tls);
    options.port = url.port;
    if let Some(user) = &url.user {
        options.user = user.clone().into_bytes();
    }
    let given = std::env::var_os("EDGESPOOL_PASSWORD");
    options.password = match (&url.password, given) {
        (Some(password), _) => password.clone(),
        (None, Some(given)) => Secret::new(given.into_encoded_bytes()),
        (None, None) if url.user.is_none() => Secret::new(b"edgespool@".to_vec()),
        (None, None) => {
            return Err("no password: put it into $EDGESPOOL_PASSWORD or the URL".to_owned());
        }
    };
    options.ca_file = send.ca_file.clone();
    for pin in &send.pin {
        let parsed = crate::config::parse_pin(pin);
        options
            .pins
            .push(parsed.ok_or_else(|| format!("{pin:?} is no SHA-256"))?);
    }
    Ok(options)
}

fn item(sys: &Sys, file: &OsString, target: &[u8], is_dir: bool) -> Result<Item, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", Path::new(file).display());
    // A link named by hand is meant; the seam itself follows none.
    let path: PathBuf = std::fs::canonicalize(file).map_err(failed)?;
    let content = sys.fs.open(&path).map_err(failed)?;
    let meta = content.meta().map_err(failed)?;
    if meta.kind != Kind::File {
        return Err(format!(
            "{}: is not a regular file",
            Path::new(file).display()
        ));
    }
    let mut remote = target.to_vec();
    if is_dir {
        let name = Path::new(file).file_name().or(path.file_name());
        remote.extend_from_slice(name.unwrap_or(OsStr::new("file")).as_bytes());
    }
    // The same file gets the same temporary name when the command is repeated,
    // so that a cut upload is resumed; a changed one does not.
    let mut version = path.as_os_str().as_bytes().to_vec();
    version.extend_from_slice(&meta.size.to_le_bytes());
    version.extend_from_slice(&meta.mtime_ns.to_le_bytes());
    version.extend_from_slice(&meta.ino.to_le_bytes());
    let tag = format!(
        "{:08x}{:08x}",
        crc32c::crc32c(&version),
        crc32fast::hash(&version)
    );
    let job = Job {
        id: 0,
        tag,
        path: remote,
        size: meta.size,
        mtime: Some(Wall(meta.mtime_ns).secs()),
        content: Arc::<dyn File>::from(content),
        tried: true,
        is_later_version: false,
    };
    Ok(Item {
        shown: Path::new(file).display().to_string(),
        job,
        refusals: 0,
    })
}

/// What is still to be sent, and what the terminal shows of it.
struct Queue {
    sys: Sys,
    waiting: VecDeque<Item>,
    doing: Vec<Item>,
    next_id: u64,
    refused: u64,
    last_failure: Option<Failure>,
    progress: Rc<Cell<Mono>>,
    bar: Bar,
    done_bytes: u64,
}

impl Queue {
    fn new(sys: &Sys, items: Vec<Item>) -> Queue {
        let total = items.iter().map(|item| item.job.size).sum();
        Queue {
            sys: sys.clone(),
            waiting: items.into(),
            doing: Vec::new(),
            next_id: 0,
            refused: 0,
            last_failure: None,
            progress: Rc::new(Cell::new(sys.clock.mono())),
            bar: Bar::new(total),
            done_bytes: 0,
        }
    }

    fn arrived(&mut self, item: &Item, delivered: &Delivered) {
        let proof = match delivered.proof {
            _ if delivered.skipped => "it was there already",
            Proof::Hash(_) => "the hash is right",
            Proof::Size => "the size is right",
            Proof::Reply => "the server says so",
        };
        self.done_bytes += item.job.size;
        self.bar.suspend(|| {
            say(&format!(
                "{} -> {} ({}, {proof})",
                item.shown,
                delivered.path.escape_ascii(),
                ByteSize(item.job.size)
            ));
        });
    }

    fn failed(&mut self, mut item: Item, failure: Failure) {
        if matches!(failure.class, Class::File | Class::Source) {
            item.refusals += 1;
            if item.refusals >= ATTEMPTS_MAX || failure.class == Class::Source {
                self.refused += 1;
                self.bar
                    .suspend(|| complain(&format!("{}: {failure}", item.shown)));
                return;
            }
        }
        self.last_failure = Some(failure);
        self.waiting.push_back(item);
    }
}

impl Feed for Queue {
    fn try_next(&mut self) -> Option<Job> {
        let mut item = self.waiting.pop_front()?;
        self.next_id += 1;
        item.job.id = self.next_id;
        self.bar.name(&item.shown);
        let job = item.job.clone();
        self.doing.push(item);
        Some(job)
    }

    fn progress(&mut self, _id: u64, position: u64) {
        self.progress.set(self.sys.clock.mono());
        self.bar.set(self.done_bytes + position);
    }

    fn throttle(&mut self, _bytes: usize) -> Option<LocalFuture<'static, ()>> {
        None
    }

    fn done(&mut self, id: u64, _sent: u64, result: Result<Delivered, Failure>) {
        let Some(at) = self.doing.iter().position(|item| item.job.id == id) else {
            return;
        };
        let item = self.doing.swap_remove(at);
        match result {
            Ok(delivered) => {
                self.progress.set(self.sys.clock.mono());
                self.arrived(&item, &delivered);
            }
            Err(failure) => self.failed(item, failure),
        }
    }
}

/// Tries until nothing is left or the patience is over.
async fn deliver_all(
    sys: &Sys,
    options: ServerOptions,
    queue: &mut Queue,
    patience: Duration,
) -> Result<(), Failure> {
    let server = Server::prepare(sys, options, Profile::default(), Wall::default()).await?;
    let mut backoff = Backoff::new(RETRY);
    while !queue.waiting.is_empty() {
        let failure = match one_session(sys, &server, queue).await {
            Err(failure) => failure,
            Ok(()) => match queue.last_failure.take() {
                Some(failure) if !queue.waiting.is_empty() => failure,
                _ => continue,
            },
        };
        let hopeless = matches!(failure.class, Class::Login | Class::Tls);
        let idle = sys.clock.mono().since(queue.progress.get());
        if hopeless || idle >= patience {
            return Err(failure);
        }
        if idle.is_zero() {
            backoff.succeeded();
        }
        let wait = backoff.after_failure(sys.rng.next_u64());
        queue
            .bar
            .suspend(|| log::warn!("{failure}; trying again in {}", format_span(wait)));
        sys.clock.sleep_until(sys.clock.mono().after(wait)).await;
    }
    Ok(())
}

async fn one_session(sys: &Sys, server: &Rc<Server>, queue: &mut Queue) -> Result<(), Failure> {
    let mut session = Session::open(sys, server).await?;
    session.run(queue).await?;
    session.quit().await;
    Ok(())
}
