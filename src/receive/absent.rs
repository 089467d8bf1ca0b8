//! In place of the embedded FTP server, in a build without the feature `receive`.

/// What to receive: nothing, so there is no value of this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReceiveOptions {}
