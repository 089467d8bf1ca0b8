//! Hints as a kernel gives them: most of them, not all, and now and then only
//! that some were lost.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use edgespool::sys::LocalFuture;
use edgespool::watch::{Hint, HintSource, Hints, NoHints};
use smol::channel::{Receiver, Sender, unbounded};

use super::time::Dice;

/// One in so many hints is lost for good.
const LOST_ONE_IN: u64 = 15;
/// One in so many is lost, and said to be.
const OVERFLOW_ONE_IN: u64 = 30;

/// A directory, and who listens there.
type Listener = (PathBuf, Sender<Hint>);

/// Who listens where.
#[derive(Clone)]
pub struct Kernel {
    listeners: Rc<RefCell<Vec<Listener>>>,
    dice: Dice,
}

impl Kernel {
    pub fn new(dice: Dice) -> Kernel {
        Kernel {
            listeners: Rc::default(),
            dice,
        }
    }

    /// Something happened at `path`.
    pub fn tell(&self, path: &Path, make: impl Fn(PathBuf) -> Hint) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|(_, sender)| !sender.is_closed());
        for (_, sender) in listeners.iter().filter(|(dir, _)| path.starts_with(dir)) {
            if self.dice.one_in(LOST_ONE_IN) {
                continue;
            }
            let hint = match self.dice.one_in(OVERFLOW_ONE_IN) {
                true => Hint::Rescan,
                false => make(path.to_owned()),
            };
            let _closed = sender.try_send(hint);
        }
    }
}

impl HintSource for Kernel {
    fn open<'a>(
        &'a self,
        dir: &'a Path,
        _recursive: bool,
    ) -> LocalFuture<'a, Result<Box<dyn Hints>, NoHints>> {
        let (sender, receiver) = unbounded();
        self.listeners.borrow_mut().push((dir.to_owned(), sender));
        Box::pin(async move { Ok(Box::new(Heard(receiver)) as Box<dyn Hints>) })
    }
}

struct Heard(Receiver<Hint>);

impl Hints for Heard {
    fn next(&mut self) -> LocalFuture<'_, Hint> {
        Box::pin(async {
            let hint = self.0.recv().await;
            hint.unwrap_or_else(|_| Hint::Lost("the kernel is gone".into()))
        })
    }

    fn try_next(&mut self) -> Option<Hint> {
        self.0.try_recv().ok()
    }

    fn barrier(&self) -> LocalFuture<'_, ()> {
        Box::pin(async {})
    }
}
