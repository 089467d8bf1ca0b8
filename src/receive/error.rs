//! Why a receiver cannot start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a receiver cannot start.
#[derive(Debug)]
pub enum ReceiveError {
    /// It cannot listen there.
    Listen(SocketAddr, io::Error),
    /// A file of the certificate or its key cannot be read, written or used.
    Certificate(PathBuf, String),
    /// The certificate and the key cannot be used together, or none can be made.
    Tls(String),
}

impl fmt::Display for ReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReceiveError::Listen(address, error) => {
                write!(f, "cannot listen on {address}: {error}")
            }
            ReceiveError::Certificate(path, why) => write!(f, "{}: {why}", path.display()),
            ReceiveError::Tls(why) => write!(f, "the receiver's certificate: {why}"),
        }
    }
}

impl std::error::Error for ReceiveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ReceiveError::Listen(_, error) => Some(error),
            _ => None,
        }
    }
}
