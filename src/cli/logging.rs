//! Where log lines go: to stderr, for a person or for the journal.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

/// Starts logging. `-v` shows the FTP dialogue, `-vv` everything.
///
/// Under systemd (`JOURNAL_STREAM` is set and stderr is no terminal) each line
/// begins with its priority, as sd-daemon(3) has it, and carries no time: the
/// journal adds its own.
pub(crate) fn start(level: LevelFilter, verbose: u8) {
    let level = match verbose {
        0 => level,
        1 => level.max(LevelFilter::Debug),
        _ => LevelFilter::Trace,
    };
    let own = Own {
        level,
        everything: verbose >= 2,
    };
    let inner = SimpleLogger::new().with_level(LevelFilter::Trace);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let logger = Logger {
        own,
        journal,
        inner,
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

struct Own {
    level: LevelFilter,
    everything: bool,
}

struct Logger {
    own: Own,
    journal: bool,
    inner: SimpleLogger,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("edgespool") || metadata.target() == "ftp";
        let most = if ours || self.own.everything {
            LevelFilter::Trace
        } else {
            LevelFilter::Warn
        };
        metadata.level() <= self.own.level.max(log::max_level()).min(most)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if !self.journal {
            self.inner.log(record);
            return;
        }
        let priority = match record.level() {
            Level::Error => 3,
            Level::Warn => 4,
            Level::Info => 6,
            Level::Debug | Level::Trace => 7,
        };
        // Nothing can be said where stderr itself is gone.
        let _gone = writeln!(std::io::stderr().lock(), "<{priority}>{}", record.args());
    }

    fn flush(&self) {}
}
