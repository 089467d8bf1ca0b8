//! `check`: the offline check, then every server step by step.
//!
//! A server is logged in to twice. The first session stores half of a test
//! file under its temporary name, as a cut upload leaves it; the second
//! delivers the file the way the agent would: it finds the half, goes on behind
//! it, verifies, and renames. Then the file is deleted.

mod probe;

use self::probe::{HALF, SIZE, TestFile, deliver};
use super::assemble::server_options;
use super::context::{Context, Trouble};
use super::{Exit, offline, text};
use crate::config;
use crate::spool::Spool;
use crate::sys::{Sys, Wall};
use crate::upload::{
    Class, Delivered, Failure, IfExists, Profile, Proof, Publish, Server, ServerOptions, Session,
    Step, VerifyMode,
};
use std::io::Write;
use std::path::Path;
use std::rc::Rc;

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
    let mut options = server_options(server);
    // The name is the check's own: nothing of the user's is in the way.
    options.if_exists = IfExists::Overwrite;
    let test = TestFile::new(context, server)
        .map_err(|e| Failure::new(Class::File, Step::Prepare, &server.name, e))?;
    let stored = spool.and_then(|spool| spool.profile(&server.name));
    let known = stored.map_or_else(Profile::default, |bytes| Profile::decode(&bytes));
    let floor = spool.and_then(Spool::clock_floor).unwrap_or(Wall(0));

    let half = half_options(&options);
    let half = Server::prepare(&context.sys, half, known, floor).await?;
    store_half(&context.sys, &half, (&test, options.verify), page).await?;
    let whole = Server::prepare(&context.sys, options, half.profile(), floor).await?;
    deliver_whole(&context.sys, &whole, &test, page).await?;
    for fact in whole.profile().facts() {
        page.ok(&format!("learned: {fact}"));
    }
    Ok(())
}

/// Logs in, sees whether `verify` can be had there, and leaves what a cut
/// upload leaves.
async fn store_half(
    sys: &Sys,
    server: &Rc<Server>,
    (test, verify): (&TestFile, VerifyMode),
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let mut observe = |step, found: &str| page.step(step, found);
    let mut session = Session::open_observed(sys, server, &mut observe).await?;
    session.can_verify(verify)?;
    if let Err(failure) = deliver(&mut session, test.half()).await {
        clean_up(session, test).await;
        return Err(failure);
    }
    let name = text::safe(&test.temporary);
    page.ok(&format!("stored {HALF} bytes as {name}"));
    session.quit().await;
    Ok(())
}

/// Delivers the file as the agent would after the cut, and deletes it.
async fn deliver_whole(
    sys: &Sys,
    server: &Rc<Server>,
    test: &TestFile,
    page: &mut Page<'_>,
) -> Result<(), Failure> {
    let mut session = Session::open(sys, server).await?;
    match deliver(&mut session, test.whole()).await {
        Ok((delivered, sent)) => tell(page, test, &delivered, sent, server),
        Err(failure) => {
            clean_up(session, test).await;
            return Err(failure);
        }
    }
    session.delete(&test.path).await?;
    page.ok("deleted the test file");
    session.quit().await;
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
        page.ok(&format!("renamed to {}", text::safe(&test.path)));
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
