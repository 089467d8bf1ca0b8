//! What most commands begin with: the configuration, the spool, the agent.

use std::fmt;
use std::io;
use std::path::Path;

use super::Exit;
use crate::config::{self, Config, Env, Invalid, WhenFull};
use crate::spool::{self, Spool, SpoolError};
use crate::status::report::Report;
use crate::status::{AskError, Request, Response, ask};
use crate::sys::Sys;

/// A valid configuration, in the world that it is used in.
pub(crate) struct Context {
    /// The world.
    pub(crate) sys: Sys,
    /// The configuration.
    pub(crate) config: Config,
}

/// Why a command came to no result.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The configuration is wrong.
    Config(Invalid),
    /// The spool cannot be used.
    Spool(SpoolError),
    /// A running agent gave no answer.
    Agent(AskError),
    /// What was named does not exist, or is no name.
    Usage(String),
    /// Anything else, in one line.
    Other(String),
    /// Nobody reads the results any more, or they cannot be written.
    Output(io::Error),
}

impl Trouble {
    /// The exit status it ends with.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Trouble::Config(_) => Exit::Config,
            Trouble::Spool(SpoolError::Locked { .. }) => Exit::Queued,
            Trouble::Usage(_) => Exit::Usage,
            // As with `| head`: the reader has what it wanted.
            Trouble::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Trouble::Spool(_) | Trouble::Agent(_) | Trouble::Other(_) | Trouble::Output(_) => {
                Exit::Failed
            }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Config(invalid) => invalid.fmt(f),
            Trouble::Spool(error) => with_causes(error, f),
            Trouble::Agent(error) => error.fmt(f),
            Trouble::Usage(message) | Trouble::Other(message) => f.write_str(message),
            Trouble::Output(error) => write!(f, "the results cannot be written: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<SpoolError> for Trouble {
    fn from(error: SpoolError) -> Trouble {
        Trouble::Spool(error)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Output(error)
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Trouble {
        Trouble::Output(error.into())
    }
}

impl Context {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Trouble::Config`] with every mistake.
    pub(crate) fn load(sys: &Sys, file: &Path) -> Result<Context, Trouble> {
        let loaded = Env::with_os(sys, |env| config::load(file, env)).map_err(Trouble::Config)?;
        Ok(Context {
            sys: sys.clone(),
            config: loaded.config,
        })
    }

    /// Opens the spool for looking, beside an agent too; `None` when there is
    /// no spool yet.
    ///
    /// # Errors
    /// What the spool says.
    pub(crate) fn look(&self) -> Result<Option<Spool>, Trouble> {
        let dir = &self.config.spool.dir;
        match self.sys.fs.meta(&dir.join("format")) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Ok(Some(Spool::open_read_only(
                &self.sys,
                dir,
                self.spool_options(),
            )?)),
        }
    }

    /// Opens the spool for changing it; no agent may have it.
    ///
    /// # Errors
    /// What the spool says.
    pub(crate) fn own(&self) -> Result<Spool, Trouble> {
        Ok(Spool::open(
            &self.sys,
            &self.config.spool.dir,
            self.spool_options(),
        )?)
    }

    /// Asks the running agent; `None` when none runs.
    ///
    /// # Errors
    /// [`Trouble::Agent`] when one runs but cannot be asked.
    pub(crate) fn ask(&self, request: &Request) -> Result<Option<Response>, Trouble> {
        match smol::block_on(ask(&self.config.status.socket, request)) {
            Ok(response) => Ok(Some(response)),
            Err(AskError::NoAgent) => Ok(None),
            Err(error) => Err(Trouble::Agent(error)),
        }
    }

    /// What the running agent says of itself; `None` when none runs.
    ///
    /// # Errors
    /// [`Trouble::Agent`] when one runs but gives no proper answer.
    pub(crate) fn report(&self) -> Result<Option<Report>, Trouble> {
        let Some(response) = self.ask(&Request::Status)? else {
            return Ok(None);
        };
        if !response.ok {
            return Err(Trouble::Other(response.message));
        }
        serde_json::from_value(response.data)
            .map(Some)
            .map_err(|_| Trouble::Agent(AskError::Garbled))
    }

    fn spool_options(&self) -> spool::Options {
        let wanted = &self.config.spool;
        spool::Options {
            max_size: wanted.max_size.0,
            min_free: wanted.min_free.0,
            when_full: match wanted.when_full {
                WhenFull::Pause => spool::WhenFull::Pause,
                WhenFull::DropOldest => spool::WhenFull::DropOldest,
                WhenFull::DropNewest => spool::WhenFull::DropNewest,
            },
            ..spool::Options::default()
        }
    }
}

fn with_causes(error: &dyn std::error::Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{error}")?;
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(f, ": {error}")?;
        cause = error.source();
    }
    Ok(())
}
