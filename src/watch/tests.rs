//! Whole watchers on real directories. Nothing here depends on how long anything
//! takes: each test waits for what must come, for as long as `PATIENCE`.

use std::cell::RefCell;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::rc::Rc;
use std::sync::Arc;

use smol::LocalExecutor;
use smol::channel::{Receiver, Sender, bounded};
use tempfile::TempDir;

use super::*;
use crate::sys::{LocalFuture, Sys, timeout};

mod rounds;
mod running;

const PATIENCE: Duration = Duration::from_secs(30);

/// A quiet that no test waits for.
const LONG: Duration = Duration::from_secs(3600);

struct World {
    sys: Sys,
    dir: TempDir,
}

impl World {
    fn new() -> World {
        World {
            sys: Sys::os().unwrap(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> WatchOptions {
        WatchOptions {
            quiet: LONG,
            ..WatchOptions::new("test", self.dir.path())
        }
    }

    fn write(&self, path: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }

    async fn once(&self, options: &WatchOptions) -> (OnceReport, Vec<String>) {
        let (report, mut found) = self.once_in_order(options).await;
        found.sort();
        (report, found)
    }

    async fn once_in_order(&self, options: &WatchOptions) -> (OnceReport, Vec<String>) {
        let (out, offers) = bounded::<Vec<Ready>>(1);
        let collected = RefCell::new(Vec::new());
        let collect = async {
            while let Ok(batch) = offers.recv().await {
                assert!(batch.len() <= BATCH_MAX);
                collected.borrow_mut().extend(batch.iter().map(shown));
            }
        };
        let scan = scan_once(&self.sys, options, never_taken(), out);
        let (report, ()) = smol::future::zip(scan, collect).await;
        (report.unwrap(), collected.into_inner())
    }
}

fn shown(ready: &Ready) -> String {
    String::from_utf8_lossy(&ready.path).into_owned()
}

fn never_taken() -> AlreadyTaken {
    Arc::new(())
}

/// Runs `test` beside a watcher; `test` gets what the watcher offers.
fn watching<F>(
    world: &World,
    options: WatchOptions,
    source: Rc<dyn HintSource>,
    test: impl FnOnce(Offers, Control) -> F,
) where
    F: Future<Output = ()>,
{
    let (out, offers) = bounded(1);
    let (watcher, control) =
        Watcher::start(&world.sys, source, options, never_taken(), out).unwrap();
    let executor = LocalExecutor::new();
    let watching = executor.spawn(watcher.run());
    let offers = Offers {
        sys: world.sys.clone(),
        offers,
        seen: Vec::new(),
    };
    smol::block_on(executor.run(async {
        test(offers, control).await;
        drop(watching);
    }));
}

struct Offers {
    sys: Sys,
    offers: Receiver<Vec<Ready>>,
    seen: Vec<Ready>,
}

impl Offers {
    async fn wait_for(&mut self, path: &[u8]) -> Ready {
        loop {
            if let Some(at) = self.seen.iter().position(|ready| ready.path == path) {
                return self.seen.remove(at);
            }
            let next = timeout(self.sys.clock.as_ref(), PATIENCE, self.offers.recv());
            let batch = next.await.expect("the file is offered in time");
            self.seen.extend(batch.unwrap());
        }
    }
}

/// Hints from the test.
struct Script(RefCell<Option<Receiver<Hint>>>);

impl Script {
    fn new() -> (Sender<Hint>, Rc<Script>) {
        let (sender, receiver) = bounded(64);
        (sender, Rc::new(Script(RefCell::new(Some(receiver)))))
    }
}

impl HintSource for Script {
    fn open<'a>(
        &'a self,
        _: &'a Path,
        _: bool,
    ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>> {
        let receiver = self.0.borrow().clone();
        Box::pin(async move {
            let receiver = receiver.ok_or(NoHints::Missing)?;
            Ok(Box::new(Scripted(receiver)) as Box<dyn Hints>)
        })
    }
}

struct Scripted(Receiver<Hint>);

impl Hints for Scripted {
    fn next(&mut self) -> LocalFuture<'_, Hint> {
        Box::pin(async { self.0.recv().await.unwrap() })
    }

    fn try_next(&mut self) -> Option<Hint> {
        self.0.try_recv().ok()
    }

    fn barrier(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn inotify(world: &World) -> Rc<dyn HintSource> {
    Rc::new(Inotify::new(world.sys.pool.clone()))
}

/// Options under which a file found by a scan is finished a moment later.
fn at_once(world: &World) -> WatchOptions {
    WatchOptions {
        quiet: Duration::from_millis(1),
        ..world.options()
    }
}
