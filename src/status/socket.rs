//! The Unix socket itself.

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use smol::Timer;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};

use super::{Request, Response};
use crate::sys::LocalFuture;

/// The agent's side: answers one request.
pub trait Answer {
    /// Does what is asked, or says why not.
    fn answer(&self, request: Request) -> LocalFuture<'_, Response>;
}

/// Why a running agent gave no answer.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens: no agent runs on this spool.
    NoAgent,
    /// The socket is there but could not be used.
    Io(io::Error),
    /// The answer was not one.
    Garbled,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::NoAgent => f.write_str("no agent is running"),
            AskError::Io(e) => write!(f, "the running agent cannot be asked: {e}"),
            AskError::Garbled => f.write_str("the running agent gave no proper answer"),
        }
    }
}

impl std::error::Error for AskError {}

/// Listens at `path`, in place of a socket that an earlier agent left behind.
/// The caller holds the spool's lock, so no other agent listens there.
///
/// # Errors
/// When something that is no socket stands there, or the directory refuses.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it is not a socket",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers requests, one at a time, for as long as it is polled.
pub async fn serve(listener: &UnixListener, agent: &dyn Answer) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let answering = async { answer_one(stream, agent).await.unwrap_or(()) };
                smol::future::or(answering, async {
                    Timer::after(PATIENCE).await;
                })
                .await;
            }
            Err(e) => {
                log::warn!("control socket: {e}");
                Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn answer_one(mut stream: UnixStream, agent: &dyn Answer) -> io::Result<()> {
    let mut line = Vec::new();
    let mut chunk = [0; 1024];
    while !line.contains(&b'\n') && line.len() < REQUEST_MAX {
        let got = stream.read(&mut chunk).await?;
        if got == 0 {
            break;
        }
        line.extend_from_slice(chunk.get(..got).unwrap_or_default());
    }
    let response = match serde_json::from_slice(&line) {
        Ok(request) => agent.answer(request).await,
        Err(e) => Response::refused(format!("not a request: {e}")),
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    stream.write_all(&text).await?;
    stream.close().await
}

/// Asks the agent that listens at `path`.
///
/// # Errors
/// [`AskError::NoAgent`] when none runs; else what went wrong.
pub async fn ask(path: &Path, request: &Request) -> Result<Response, AskError> {
    let mut stream = UnixStream::connect(path)
        .await
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => AskError::NoAgent,
            _ => AskError::Io(e),
        })?;
    let mut line = serde_json::to_vec(request).map_err(|_| AskError::Garbled)?;
    line.push(b'\n');
    let exchange = async {
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        (&mut stream)
            .take(ANSWER_MAX)
            .read_to_end(&mut answer)
            .await?;
        io::Result::Ok(answer)
    };
    let patience = async {
        Timer::after(PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let answer = smol::future::or(exchange, patience)
        .await
        .map_err(AskError::Io)?;
    serde_json::from_slice(&answer).map_err(|_| AskError::Garbled)
}

const REQUEST_MAX: usize = 64 << 10;
const ANSWER_MAX: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Answer for Echo {
        fn answer(&self, request: Request) -> LocalFuture<'_, Response> {
            Box::pin(async move { Response::done(format!("{request:?}")) })
        }
    }

    #[test]
    fn a_request_reaches_the_agent_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let asked = smol::block_on(async {
            let listener = bind(&path).unwrap();
            let serving = async {
                serve(&listener, &Echo).await;
                unreachable!("it serves for ever")
            };
            smol::future::or(ask(&path, &Request::Status), serving).await
        });
        assert_eq!(asked.unwrap(), Response::done("Status"));
    }

    #[test]
    fn without_an_agent_the_caller_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let asked = smol::block_on(ask(&dir.path().join("none"), &Request::Status));
        assert!(matches!(asked, Err(AskError::NoAgent)));
    }

    #[test]
    fn a_file_that_stands_in_the_way_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
