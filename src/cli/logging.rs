//! Where log lines go: to stderr, for a person or for the journal.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use crate::config;

/// Starts logging. `-v` shows the FTP dialogue, `-vv` everything.
///
/// Where stderr is the journal (`JOURNAL_STREAM` names it) each line begins with
/// its priority, as sd-daemon(3) has it, and carries no time: the journal adds
/// its own. Elsewhere each line carries the time: the local one on a terminal,
/// RFC 3339 in a file.
pub(crate) fn start(level: LevelFilter, verbose: u8) {
    let form = match std::env::var_os("JOURNAL_STREAM") {
        Some(stream) if is_stderr(&stream) => Form::Journal,
        _ if std::io::stderr().is_terminal() => Form::Terminal(TimeZone::system()),
        _ => Form::File,
    };
    let logger = Logger {
        form,
        everything: verbose >= 2,
        inner: SimpleLogger::new().with_level(LevelFilter::Trace),
    };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        set_level(level, verbose);
    }
}

/// Logs up to this level from now on, or more if `-v` was given.
pub(crate) fn set_level(level: LevelFilter, verbose: u8) {
    log::set_max_level(match verbose {
        0 => level,
        1 => level.max(LevelFilter::Debug),
        _ => LevelFilter::Trace,
    });
}

/// The configuration's `level`, as the log has it.
pub(crate) fn filter(level: config::Level) -> LevelFilter {
    match level {
        config::Level::Off => LevelFilter::Off,
        config::Level::Error => LevelFilter::Error,
        config::Level::Warn => LevelFilter::Warn,
        config::Level::Info => LevelFilter::Info,
        config::Level::Debug => LevelFilter::Debug,
        config::Level::Trace => LevelFilter::Trace,
    }
}

/// Whether `device:inode` is what stderr is connected to: a redirected stderr
/// goes elsewhere, although the service's environment still names the journal.
fn is_stderr(stream: &OsStr) -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else {
        return false;
    };
    *stream == *OsStr::new(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

struct Logger {
    form: Form,
    /// Lines of libraries too.
    everything: bool,
    inner: SimpleLogger,
}

enum Form {
    Journal,
    Terminal(TimeZone),
    File,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("edgespool") || metadata.target() == "ftp";
        let most = if ours || self.everything {
            LevelFilter::Trace
        } else {
            LevelFilter::Warn
        };
        metadata.level() <= log::max_level().min(most)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // What stands in brackets: a module's name helps only who debugs it.
        let now = Timestamp::now();
        let brackets = match &self.form {
            _ if self.everything => record.target().to_owned(),
            Form::Terminal(zone) => now.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
            Form::Journal | Form::File => format!("{now:.0}"),
        };
        let (level, args) = (record.level(), record.args());
        let line = match self.form {
            Form::Terminal(_) => return self.show(record, &brackets),
            Form::Journal => format!("<{}>{args}\n", priority(level)),
            Form::File => format!("{level:<5} [{brackets}] {args}\n"),
        };
        // Nothing can be said where the reader of stderr is gone, and the work goes on.
        let _gone = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

impl Logger {
    /// Shows a line on the terminal, unless that is gone: a logger that cannot print
    /// would end the program.
    fn show(&self, record: &Record<'_>, brackets: &str) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let metadata = Metadata::builder()
            .level(record.level())
            .target(brackets)
            .build();
        let shown = Record::builder()
            .metadata(metadata)
            .args(*record.args())
            .build();
        self.inner.log(&shown);
    }
}

/// As sd-daemon(3) numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}
