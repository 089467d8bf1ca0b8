//! The configuration file: read, resolved, and checked as a whole.
//!
//! [`load`] reads the file in two steps. Each table is read as it is written,
//! key by key with its line (`section`), into plain structs with all defaults
//! filled in (`types`); then the checks across tables run (`cross`). No step
//! stops at a mistake, so one run lists them all, each as a [`Finding`] with
//! file, line and remedy. A [`Config`] exists only when there was none.
//!
//! Nothing here starts anything or changes anything on disk; passwords and
//! certificates that the file names are read along with it.

mod certs;
mod choice;
mod cross;
mod env;
mod files;
mod names;
mod password;
mod receive;
pub mod remote;
mod report;
mod section;
mod server;
mod settings;
pub mod template;
#[cfg(test)]
mod tests;
mod types;
mod value;
mod watch;

pub(crate) use certs::parse_pin;
pub use choice::{
    After, DataMode, IfExists, IfGone, Level, MinTls, Order, Publish, Ready, Take, Tls, Verify,
    WhenFull,
};
pub use env::Env;
pub use remote::Remote;
pub use report::{Finding, Severity};
pub use types::{
    Archive, ClientCert, Config, Log, Retry, Roots, Schedule, Server, Spool, Status, Watch,
};

use std::fmt;
use std::path::Path;

use toml::Spanned;
use toml::de::DeTable;

use cross::Tables;
use report::{Lines, Report};
use section::{Section, Source};

/// A configuration that can be used, and what its author should know.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings, in the order of the file.
    pub warnings: Vec<Finding>,
}

/// A configuration that cannot be used. Shown, it lists every finding on a line
/// of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// At least one mistake, and any warnings, in the order of the file.
    pub findings: Vec<Finding>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.findings.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

/// Reads and checks the file. Blocks on the disk; at start-up that is fine, a
/// reload runs it on the pool.
///
/// # Errors
/// Every mistake of the file, or that it cannot be read.
pub fn load(file: &Path, env: &Env<'_>) -> Result<Loaded, Invalid> {
    let report = Report::new(file.display().to_string());
    let config = read(file, env, &report);
    let findings = report.into_findings();
    let is_mistake = |finding: &Finding| finding.severity == Severity::Mistake;
    match config {
        Some(config) if !findings.iter().any(is_mistake) => Ok(Loaded {
            config,
            warnings: findings,
        }),
        _ => Err(Invalid { findings }),
    }
}

fn read(file: &Path, env: &Env<'_>, report: &Report) -> Option<Config> {
    let (content, meta) = match files::read(env.fs, file, FILE_MAX) {
        Ok(found) => found,
        Err(e) => {
            let text =
                format!("cannot be read: {e} (name the file with -c, or write one with init)");
            report.mistake(None, text);
            return None;
        }
    };
    let text = match std::str::from_utf8(&content) {
        Ok(text) => text,
        Err(e) => {
            let valid = content.get(..e.valid_up_to()).unwrap_or_default();
            let line = valid.iter().filter(|b| **b == b'\n').count() + 1;
            report.mistake(line, "is not UTF-8 text".to_owned());
            return None;
        }
    };
    let absolute = env.current_dir.join(file);
    let lines = Lines::of(text);
    let (table, damaged) = parse(text, &lines, report);
    let source = Source {
        report,
        lines: &lines,
        base: absolute.parent().unwrap_or(Path::new("/")),
        damaged,
    };
    let config = resolve(&source, table.get_ref(), &absolute, env);
    warn_of_readers(&source, table.get_ref(), files::is_public(&meta));
    Some(config)
}

/// Parses the text; broken lines are reported and the rest is read all the same.
fn parse<'t>(text: &'t str, lines: &Lines, report: &Report) -> (Spanned<DeTable<'t>>, bool) {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let line = error.span().map_or(1, |span| lines.at(span.start));
        let message = error.message().replace('\n', ", ");
        report.syntax(line, format!("syntax: {message}"));
    }
    (table, !errors.is_empty())
}

/// Reads every table, then checks them against each other.
fn resolve<'a>(
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    file: &Path,
    env: &Env<'_>,
) -> Config {
    let mut top = Section::new(source, table, 1, String::new());
    let device = settings::device(&mut top, env);
    let spool = settings::spool(top.table("spool"), env);
    let servers: Vec<_> = (top.tables("server").into_iter())
        .map(|section| server::read(section, env))
        .collect();
    let mut watches: Vec<_> = (top.tables("watch").into_iter())
        .filter_map(|section| watch::read(section, env))
        .collect();
    let schedules: Vec<_> = (top.tables("schedule").into_iter())
        .map(settings::schedule)
        .collect();
    let retry = settings::retry(top.table("retry"));
    let status = settings::status(top.table("status"), env, &spool.0.dir);
    let receive = receive::read(top.table("receive"), env, &device);
    let log = settings::log(top.table("log"));
    top.finish();
    if !source.damaged {
        let tables = Tables {
            report: source.report,
            fs: env.fs,
            spool: &spool,
            servers: &servers,
            watches: &watches,
            schedules: &schedules,
            receive: receive.as_ref(),
        };
        tables.check();
    }
    if let [(only, _)] = servers.as_slice() {
        for (watch, _) in watches.iter_mut().filter(|(w, _)| w.server.is_empty()) {
            watch.server.clone_from(&only.name);
        }
    }
    Config {
        file: file.to_owned(),
        device,
        spool: spool.0,
        servers: servers.into_iter().map(|(server, _)| server).collect(),
        watches: watches.into_iter().map(|(watch, _)| watch).collect(),
        schedules: schedules
            .into_iter()
            .map(|(schedule, _)| schedule)
            .collect(),
        retry,
        status,
        receive: receive.map(|read| read.options),
        log,
    }
}

/// A password in a file that everyone may read is no secret.
fn warn_of_readers(source: &Source<'_>, table: &DeTable<'_>, public: bool) {
    if !public {
        return;
    }
    let servers = table.get("server");
    let users = (table.get("receive"))
        .and_then(|receive| receive.get_ref().as_table())
        .and_then(|receive| receive.get("user"));
    let first = [servers, users]
        .into_iter()
        .flatten()
        .filter_map(|tables| tables.get_ref().as_array())
        .flatten()
        .filter_map(|table| table.get_ref().as_table())
        .find_map(|table| table.get_key_value("password"));
    if let Some((key, _)) = first {
        let text = "password can be read by everyone on this machine \
                    (chmod 600 this file, or use password_file)";
        let line = source.lines.at(key.span().start);
        source.report.warning(line, text.to_owned());
    }
}

/// A real file has some hundred lines.
const FILE_MAX: usize = 1 << 20;
