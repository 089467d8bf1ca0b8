//! What can be asked of a running agent.

use serde::{Deserialize, Serialize};

/// A question or an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// What goes on; the answer's `data` is the document of `status --json`.
    Status,
    /// Stop uploading for these watches; none named means all.
    Pause {
        /// The watches' names.
        watches: Vec<String>,
    },
    /// Go on uploading for these watches; none named means all.
    Resume {
        /// The watches' names.
        watches: Vec<String>,
    },
    /// Upload what waits now, whatever the schedule says.
    Flush {
        /// The watches' names; none named means all.
        watches: Vec<String>,
    },
    /// Try dead letters again; none named means all.
    Retry {
        /// Ids as `queue list` shows them.
        ids: Vec<String>,
    },
    /// Drop entries for good; none named means all dead letters.
    Drop {
        /// Ids as `queue list` shows them.
        ids: Vec<String>,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// Whether it was done.
    pub ok: bool,
    /// One line for a person: what was done, or why not.
    pub message: String,
    /// What was asked for, if anything.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl Response {
    /// It was done.
    pub fn done(message: impl Into<String>) -> Response {
        Response {
            ok: true,
            message: message.into(),
            data: serde_json::Value::Null,
        }
    }

    /// It could not be done.
    pub fn refused(message: impl Into<String>) -> Response {
        Response {
            ok: false,
            message: message.into(),
            data: serde_json::Value::Null,
        }
    }

    /// The answer to a question.
    #[must_use]
    pub fn with(data: serde_json::Value) -> Response {
        Response {
            ok: true,
            message: String::new(),
            data,
        }
    }
}
