//! `check`: the offline check, then every server step by step.
//!
//! A server is logged in to twice. The first session stores half of a test
//! file under its temporary name, as a cut upload leaves it; the second
//! delivers the file the way the agent would: it finds the half, goes on behind
//! it, verifies, and renames. Then the file is deleted.

use std::io::Write;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::assemble::server_options;
use super::context::{Context, Trouble};
use super::{Exit, offline, text};
use crate::config::{self, remote::Facts};
use crate::ftp::path::RemotePath;
use crate::spool::Spool;
use crate::sys::{File, Kind, LocalFuture, Meta, Sys, Wall};
use crate::upload::{
    Class, Delivered, Failure, Feed, IfExists, Job, Profile, Proof, Publish, Server, ServerOptions,
    Session, Step, VerifyMode,
};

/// Checks everything; the first failure decides the exit status.
pub(super) fn run(sys: &Sys, file: &Path, out: &mut dyn Write) -> Result<Exit, Trouble> {
    let outcome = offline(sys, file);
    for line in &outcome.out {
        writeln!(out, "{line}")?;
    }
    let context = match Context::load(sys, file) {
        Ok(context) => context,
        // Its findings are on the page already.
        Err(Trouble::Config(_)) => return Ok(Exit::Config),
        Err(trouble) => return Err(trouble),
    };
    let mut exit = outcome.code;
    let spool = context.look().ok().flatten();
    for server in &context.config.servers {
        out.flush()?;
        let mut page = Page {
            name: &server.name,
            out,
            written: Ok(()),
        };
        let checked = smol::block_on(check(&context, spool.as_ref(), server, &mut page));
        let code = match checked {
            Ok(()) => Exit::Done,
            Err(failure) => {
                page.line("FAILED", &failure.to_string());
                code_of(failure.class)
            }
        };
        page.written?;
        if exit == Exit::Done {
            exit = code;
        }
    }
    Ok(exit)
}

fn code_of(class: Class) -> Exit {
    match class {
        Class::Network => Exit::Unavailable,
        Class::Login => Exit::Login,
        _ => Exit::Failed,
    }
}

/// The lines about one server.
struct Page<'a> {
    name: &'a str,
    out: &'a mut dyn Write,
    written: std::io::Result<()>,
}

impl Page<'_> {
    fn ok(&mut self, what: &str) {
        self.line("ok", what);
    }

    /// Each line is seen at once: the next step may take its time.
    fn line(&mut self, word: &str, what: &str) {
        if self.written.is_ok() {
            let what = text::safe(what.as_bytes());
            self.written = writeln!(self.out, "{word} server {:?}: {what}", self.name)
                .and_then(|()| self.out.flush());
        }
    }

    fn step(&mut self, step: Step, found: &str) {
        let what = match step {
            Step::Resolve => "address",
            Step::Connect => "connected to",
            Step::Greeting => "greeting",
            Step::Tls => "secured with",
            Step::Login => "logged in as",
            Step::Features => "features",
            _ => "done",
        };
        self.ok(&format!("{what} {found}"));
    }
}

async fn check(
    context: &Context,
    spool: Option<&Spool>,
    server: &config::Server,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let sys = &context.sys;
    let mut options = server_options(server);
    // The name is the check's own: nothing of the user's is in the way.
    options.if_exists = IfExists::Overwrite;
    let known = spool.and_then(|spool| spool.profile(&server.name));
    let known = known.map_or_else(Profile::default, |bytes| Profile::decode(&bytes));
    let floor = spool.and_then(Spool::clock_floor).unwrap_or(Wall(0));
    let test = TestFile::new(context, server, options.publish)
        .map_err(|e| Failure::new(Class::File, Step::Prepare, &server.name, e))?;

    let first = half_options(&options);
    let half = Server::prepare(sys, first, known, floor).await?;
    let mut session =
        Session::open_observed(sys, &half, &mut |s, found| page.step(s, found)).await?;
    let stored = deliver(&mut session, test.half()).await;
    if let Err(failure) = stored {
        clean_up(session, &test).await;
        return Err(failure);
    }
    page.ok(&format!("stored {HALF} bytes as {}", show(&test.temporary)));
    session.quit().await;

    let whole = Server::prepare(sys, options, half.profile(), floor).await?;
    let mut session = Session::open(sys, &whole).await?;
    let delivered = deliver(&mut session, test.whole()).await;
    if let Ok((delivered, sent)) = &delivered {
        tell(page, &test, delivered, *sent, &whole);
    } else {
        clean_up(session, &test).await;
        return delivered.map(drop);
    }
    session.delete(&test.path).await?;
    page.ok("deleted the test file");
    session.quit().await;
    for fact in whole.profile().facts() {
        page.ok(&format!("learned: {fact}"));
    }
    Ok(())
}

/// What the delivery of the whole file showed.
fn tell(
    page: &mut Page<'_>,
    test: &TestFile,
    delivered: &Delivered,
    sent: u64,
    server: &Rc<Server>,
) {
    match sent < SIZE {
        true => page.ok(&format!("resumed, and sent the other {sent} bytes")),
        false => page.line(
            "warning",
            "cannot resume: an upload that was cut starts again from its first byte",
        ),
    }
    match delivered.proof {
        Proof::Hash(algorithm) => page.ok(&format!("verified by its {algorithm} hash")),
        Proof::Size => page.ok("verified by its size (no hash is offered)"),
        Proof::Reply if server.options().verify == VerifyMode::None => {
            page.ok("not verified (verify = \"none\")");
        }
        Proof::Reply => page.line("warning", "nothing to verify with: its reply is believed"),
    }
    if test.temporary != test.path {
        page.ok(&format!("renamed to {}", show(&test.path)));
    }
}

/// A server that takes the half as it comes and asks nothing about it.
fn half_options(options: &ServerOptions) -> ServerOptions {
    ServerOptions {
        publish: Publish::Direct,
        verify: VerifyMode::None,
        mtime: false,
        ..options.clone()
    }
}

/// Leaves nothing behind, as far as the session still goes.
async fn clean_up(mut session: Session, test: &TestFile) {
    for path in [&test.temporary, &test.path] {
        if let Err(failure) = session.delete(path).await {
            log::debug!("{failure}");
            if failure.ends_session() {
                return;
            }
        }
    }
    session.quit().await;
}

fn show(path: &[u8]) -> String {
    text::safe(path)
}

/// What is uploaded, and where to.
struct TestFile {
    tag: String,
    path: Vec<u8>,
    temporary: Vec<u8>,
    /// Its modification time.
    now: Wall,
}

impl TestFile {
    /// In the directory that files of the first watch go to.
    fn new(
        context: &Context,
        server: &config::Server,
        publish: Publish,
    ) -> Result<TestFile, String> {
        let Context { sys, config } = context;
        let now = sys.clock.wall();
        let tag = format!("{:016x}", sys.rng.next_u64());
        let name = format!("edgespool-check-{tag}.tmp").into_bytes();
        let watch = config.watches.iter().find(|w| w.server == server.name);
        let expanded = watch.or(config.watches.first()).and_then(|watch| {
            let facts = Facts {
                device: &config.device,
                watch: &watch.name,
                path: &name,
                mtime_ns: now.0,
                zone: &jiff::tz::TimeZone::system(),
            };
            watch.remote.expand(&facts).ok()
        });
        let like = RemotePath::new(&expanded.unwrap_or_else(|| b"/x".to_vec()));
        let path = like
            .and_then(|like| like.with_file_name(&name))
            .map_err(|e| e.to_string())?;
        let temporary = match publish {
            Publish::Rename => path.temporary(&tag).map_err(|e| e.to_string())?,
            Publish::Direct => path.clone(),
        };
        Ok(TestFile {
            tag,
            path: path.as_bytes().to_vec(),
            temporary: temporary.as_bytes().to_vec(),
            now,
        })
    }

    fn half(&self) -> Job {
        self.job(&self.temporary, HALF, false)
    }

    fn whole(&self) -> Job {
        self.job(&self.path, SIZE, true)
    }

    fn job(&self, path: &[u8], size: u64, tried: bool) -> Job {
        Job {
            id: 1,
            tag: self.tag.clone(),
            path: path.to_vec(),
            size,
            mtime: Some(self.now.secs()),
            content: Arc::new(Pattern {
                size,
                mtime_ns: self.now.0,
            }),
            tried,
        }
    }
}

/// Runs one job to its end.
async fn deliver(session: &mut Session, job: Job) -> Result<(Delivered, u64), Failure> {
    let mut feed = One {
        job: Some(job),
        end: None,
    };
    let ran = session.run(&mut feed).await;
    match feed.end {
        Some((sent, result)) => result.map(|delivered| (delivered, sent)),
        None => {
            ran?;
            let nothing = "the session ended without a result";
            Err(Failure::new(
                Class::Network,
                Step::Store,
                "test file",
                nothing,
            ))
        }
    }
}

/// A feed of one job.
struct One {
    job: Option<Job>,
    end: Option<(u64, Result<Delivered, Failure>)>,
}

impl Feed for One {
    fn try_next(&mut self) -> Option<Job> {
        self.job.take()
    }

    fn progress(&mut self, _id: u64, _position: u64) {}

    fn throttle(&mut self, _bytes: usize) -> Option<LocalFuture<'static, ()>> {
        None
    }

    fn done(&mut self, _id: u64, sent: u64, result: Result<Delivered, Failure>) {
        self.end = Some((sent, result));
    }
}

/// Made-up content in which every offset looks different: the bytes of a
/// counter, so that a wrong resume is noticed, and CR LF in plenty, so that a
/// transfer in ASCII is too.
struct Pattern {
    size: u64,
    mtime_ns: i64,
}

impl File for Pattern {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let mut filled = 0;
        for (byte, at) in buf.iter_mut().zip(offset..self.size) {
            *byte = pattern(at);
            filled += 1;
        }
        Ok(filled)
    }

    fn write_at(&self, _data: &[u8], _offset: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn meta(&self) -> std::io::Result<Meta> {
        Ok(Meta {
            kind: Kind::File,
            dev: 0,
            ino: 0,
            size: self.size,
            mtime_ns: self.mtime_ns,
            ctime_ns: 0,
            mode: 0o400,
            nlink: 1,
        })
    }

    fn set_len(&self, _len: u64) -> std::io::Result<()> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }
}

fn pattern(at: u64) -> u8 {
    let [low, high, ..] = (at / 4).to_le_bytes();
    match at % 4 {
        0 => low,
        1 => high,
        2 => b'\r',
        _ => b'\n',
    }
}

/// Small, because the link may be metered.
const SIZE: u64 = 4096;
const HALF: u64 = 2048;
