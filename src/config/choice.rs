//! The choices of the file: each is one word of a few.

use std::fmt;

use super::value::{Words, show_word};

/// Declares an enum whose variants are words of the file.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl Words for $name {
            const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                show_word(*self, f)
            }
        }
    };
}

choice! {
    /// What happens to new files when the spool has no room.
    WhenFull {
        /// They stay at the source until there is room.
        #[default]
        Pause = "pause",
        /// The oldest entry of the spool goes; the ledger records it.
        DropOldest = "drop-oldest",
        /// The new file goes; the ledger records it.
        DropNewest = "drop-newest",
    }
}

choice! {
    /// How a connection is secured.
    Tls {
        /// AUTH TLS on the FTP port (RFC 4217).
        #[default]
        Explicit = "explicit",
        /// TLS from the first byte, on a port of its own.
        Implicit = "implicit",
        /// Clear text.
        None = "none",
    }
}

choice! {
    /// The oldest TLS version that is accepted.
    MinTls {
        /// TLS 1.2.
        #[default]
        V12 = "1.2",
        /// TLS 1.3.
        V13 = "1.3",
    }
}

choice! {
    /// How data connections are opened.
    DataMode {
        /// What the server is found to support.
        #[default]
        Auto = "auto",
        /// EPSV (RFC 2428).
        Epsv = "epsv",
        /// PASV (RFC 959).
        Pasv = "pasv",
        /// EPRT (RFC 2428): the server connects to us.
        Eprt = "eprt",
        /// PORT (RFC 959): the server connects to us.
        Port = "port",
    }
}

choice! {
    /// How a file gets its final name on the server.
    Publish {
        /// Uploaded under a temporary name, checked, then renamed.
        #[default]
        Rename = "rename",
        /// Uploaded under its final name.
        Direct = "direct",
    }
}

choice! {
    /// How an upload is checked.
    Verify {
        /// By hash where the server has one, else by size.
        #[default]
        Auto = "auto",
        /// By hash, or not delivered.
        Hash = "hash",
        /// By size.
        Size = "size",
        /// The server's reply is believed.
        None = "none",
    }
}

choice! {
    /// What happens when the final name is taken.
    IfExists {
        /// The new file replaces the old one.
        #[default]
        Overwrite = "overwrite",
        /// The new file gets a name of its own.
        KeepBoth = "keep-both",
        /// The new file counts as delivered.
        Skip = "skip",
    }
}

choice! {
    /// What it means when the uploaded file is gone before the check.
    IfGone {
        /// It was lost: it is sent again.
        #[default]
        Resend = "resend",
        /// The server's side took it: it is delivered.
        Delivered = "delivered",
    }
}

choice! {
    /// How a file shows that it is finished.
    Ready {
        /// Its writer closed it, or it was renamed into place.
        #[default]
        Close = "close",
        /// It has not changed for the time `quiet`.
        Quiet = "quiet",
        /// A marker file stands beside it.
        Marker = "marker",
    }
}

choice! {
    /// How a file gets into the spool.
    Take {
        /// It leaves its directory.
        #[default]
        Move = "move",
        /// It stays; each version is taken once.
        Copy = "copy",
    }
}

choice! {
    /// Which entries of a lane go first.
    Order {
        /// The oldest.
        #[default]
        Oldest = "oldest",
        /// The newest; a share is kept for the backlog.
        Newest = "newest",
    }
}

choice! {
    /// What becomes of the spooled bytes once delivered.
    After {
        /// They are deleted.
        #[default]
        Delete = "delete",
        /// They go to the archive.
        Archive = "archive",
    }
}

choice! {
    /// How much is logged.
    Level {
        /// Nothing.
        Off = "off",
        /// What needs somebody.
        Error = "error",
        /// What may need somebody.
        Warn = "warn",
        /// What was done.
        #[default]
        Info = "info",
        /// How it was done; the FTP dialogue, with secrets masked.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}
