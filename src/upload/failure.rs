//! What went wrong, whose fault it is, and what a person can do about it.

use std::fmt;

use crate::ftp::reply::Reply;

/// Who pays for a failure (and only they do).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The server is away, slow or broken: it backs off, no file loses a try.
    Network,
    /// The login is refused: tried again slowly, so that no account is locked.
    Login,
    /// No TLS, or a certificate that is not trusted: the server backs off.
    Tls,
    /// No room (452, 552): the server waits longer.
    ServerFull,
    /// The data connection (425, 426, 451): another way, then again.
    Data,
    /// The server refuses this one file (550, 553, 501): counts towards the
    /// dead letter.
    File,
    /// Our own side cannot read the file; the server is not to blame.
    Source,
    /// Told to stop.
    Cancelled,
}

/// Where in the work it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading certificates, keys and roots.
    Prepare,
    /// Looking the host name up.
    Resolve,
    /// TCP.
    Connect,
    /// Waiting for 220.
    Greeting,
    /// `AUTH TLS`, the handshake, `PBSZ`, `PROT`.
    Tls,
    /// `USER`, `PASS`.
    Login,
    /// `FEAT`, `TYPE I`.
    Features,
    /// Asking what is there already (`SIZE` before an upload).
    Look,
    /// `EPSV`, `PASV`, `EPRT`, `PORT`, and the connection itself.
    DataConnection,
    /// `STOR`, `APPE`, and the bytes.
    Store,
    /// `SIZE` or a hash after the upload.
    Verify,
    /// `RNFR`, `RNTO`.
    Publish,
    /// `MKD`.
    MakeDirectory,
    /// `DELE`.
    Delete,
    /// Any other command.
    Command,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Prepare => "prepare TLS",
            Step::Resolve => "look up the host",
            Step::Connect => "connect",
            Step::Greeting => "get a greeting",
            Step::Tls => "set up TLS",
            Step::Login => "log in",
            Step::Features => "agree on features",
            Step::Look => "look at what is there",
            Step::DataConnection => "open a data connection",
            Step::Store => "upload",
            Step::Verify => "verify",
            Step::Publish => "rename",
            Step::MakeDirectory => "make the directory",
            Step::Delete => "delete",
            Step::Command => "run the command",
        })
    }
}

/// One failure, in words that stand alone on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who pays.
    pub class: Class,
    /// Where it happened.
    pub step: Step,
    /// On what: a host and port, or a path on the server.
    pub subject: String,
    /// What was said or seen.
    pub message: String,
    /// The reply code, when a reply was the cause.
    pub code: Option<u16>,
    /// What a person can do about it.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure with no reply behind it.
    #[must_use]
    pub fn new(class: Class, step: Step, subject: &str, message: impl Into<String>) -> Failure {
        Failure {
            class,
            step,
            subject: subject.to_owned(),
            message: message.into(),
            code: None,
            remedy: None,
        }
    }

    /// The failure that a negative reply means at this step.
    #[must_use]
    pub fn refused(step: Step, subject: &str, reply: &Reply) -> Failure {
        let text = reply.text();
        let class = classify(step, reply.code(), &text);
        Failure {
            class,
            step,
            subject: subject.to_owned(),
            message: text,
            code: Some(reply.code()),
            remedy: remedy(class, step).map(str::to_owned),
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy = Some(remedy.into());
        self
    }

    /// Whether the control connection is of no more use.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(
            self.class,
            Class::Network | Class::Login | Class::Tls | Class::Cancelled
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} ({}): {}",
            self.step, self.subject, self.message
        )?;
        match &self.remedy {
            Some(remedy) => write!(f, " ({remedy})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// Whose fault a negative reply is. Codes first; the text only where servers
/// use one code for two things.
fn classify(step: Step, code: u16, text: &str) -> Class {
    let login = matches!(step, Step::Login);
    match code {
        421 => Class::Network,
        530 if login && speaks_of_crowd(text) => Class::Network,
        430 | 530 | 532 | 331 | 332 if login => Class::Login,
        500..=599 if login => Class::Login,
        _ if login => Class::Network,
        _ if matches!(step, Step::Greeting | Step::Connect | Step::Features) => Class::Network,
        _ if matches!(step, Step::Tls) => Class::Tls,
        452 | 552 => Class::ServerFull,
        // vsftpd and Pure-FTPd have no code of their own for a full disk.
        450..=553 if speaks_of_room(text) => Class::ServerFull,
        // RFC 4217 calls for 522; vsftpd and Pure-FTPd say 521 and 522 for
        // several wants, and ProFTPD hides the one in a 425.
        521 | 522 | 533 | 534 | 535 | 536 => Class::Tls,
        425 | 426 | 450 | 451 => Class::Data,
        400..=499 => Class::Data,
        530 | 532 => Class::Login,
        _ => Class::File,
    }
}

/// ProFTPD answers a full house with the code of a wrong password.
fn speaks_of_crowd(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["maximum number", "too many", "try again later", "try later"]
        .iter()
        .any(|words| text.contains(words))
}

fn speaks_of_room(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    [
        "no space",
        "disk full",
        "disk quota",
        "quota exceeded",
        "writing to local file",
        "error during write",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn remedy(class: Class, step: Step) -> Option<&'static str> {
    match (class, step) {
        (Class::Login, _) => Some("check user and password"),
        (Class::Tls, Step::Tls) => {
            Some("the server must offer TLS; tls = \"none\" sends everything in clear text")
        }
        (Class::ServerFull, _) => Some("make room on the server, or raise the account's quota"),
        (Class::File, Step::Publish) => {
            Some("give the account the right to rename, or set publish = \"direct\"")
        }
        (Class::File, Step::Store | Step::MakeDirectory) => {
            Some("check that the account may write there")
        }
        (Class::Network, Step::Greeting | Step::Login) => {
            Some("the server takes no more sessions now; it is tried again later")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_one_pays() {
        let cases = [
            (Step::Login, 530, "Login incorrect.", Class::Login),
            (
                Step::Login,
                530,
                "Sorry, the maximum number of allowed clients (2) are already connected.",
                Class::Network,
            ),
            (Step::Greeting, 421, "too many users", Class::Network),
            (Step::Store, 421, "Timeout.", Class::Network),
            (
                Step::Store,
                425,
                "Unable to build data connection",
                Class::Data,
            ),
            (
                Step::Store,
                426,
                "Failure reading network stream.",
                Class::Data,
            ),
            (
                Step::Store,
                451,
                "Failure writing to local file.",
                Class::ServerFull,
            ),
            (
                Step::Store,
                452,
                "No space left on device",
                Class::ServerFull,
            ),
            (Step::Store, 552, "Quota exceeded", Class::ServerFull),
            (Step::Store, 522, "session reuse required", Class::Tls),
            (Step::Store, 550, "Permission denied.", Class::File),
            (Step::Store, 553, "Could not create file.", Class::File),
            (Step::Publish, 501, "bad name", Class::File),
            (Step::Tls, 500, "Unknown command.", Class::Tls),
        ];
        for (step, code, text, class) in cases {
            assert_eq!(classify(step, code, text), class, "{step:?} {code} {text}");
        }
    }

    #[test]
    fn a_failure_reads_as_one_line() {
        let failure = Failure::new(Class::Network, Step::Connect, "h:21", "connection refused")
            .with_remedy("is it on?");
        assert_eq!(
            failure.to_string(),
            "cannot connect (h:21): connection refused (is it on?)"
        );
    }
}
