//! `queue`: looks into the queue and acts on it.
//!
//! Looking reads the spool itself, beside a running agent too. Acting is asked
//! of the agent; where none runs, the spool is opened and changed directly.

mod act;
mod export;
mod list;
mod verify;

use std::io::Write;

use super::Exit;
use super::args::Queue;
use super::context::{Context, Trouble};

/// Runs one of the commands.
pub(super) fn run(context: &Context, queue: &Queue, out: &mut dyn Write) -> Result<Exit, Trouble> {
    match queue {
        Queue::List(args) => list::list(context, args, out),
        Queue::Show(args) => list::show(context, args, out),
        Queue::Retry(args) => act::retry(context, args, out),
        Queue::Drop(args) => act::drop(context, args, out),
        Queue::Pause(args) => act::pause(context, &args.watches, out),
        Queue::Resume(args) => act::resume(context, &args.watches, out),
        Queue::Flush(args) => act::flush(context, &args.watches, out),
        Queue::Verify => verify::run(context, out),
        Queue::Export(args) => export::run(context, &args.dir, out),
    }
}
