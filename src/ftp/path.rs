//! Paths on the server: bytes with `/` between the names.

use std::fmt;

use crate::ftp::reply::Reply;

/// Bytes of a whole path.
pub const PATH_BYTES_MAX: usize = 4096;
/// Bytes of one name: the limit of nearly every file system.
pub const NAME_BYTES_MAX: usize = 255;

/// Why bytes are not a path to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathError {
    /// Nothing, or slashes and dots alone where a name is needed.
    Empty,
    /// CR, LF or NUL, which no command line can carry.
    LineBreak,
    /// A `..` between slashes: where it leads is the server's secret.
    ParentSegment,
    /// More than [`PATH_BYTES_MAX`] bytes.
    TooLong,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the remote path is empty"),
            Self::LineBreak => f.write_str("the remote path contains a line break or a zero byte"),
            Self::ParentSegment => f.write_str("the remote path contains \"..\""),
            Self::TooLong => {
                write!(f, "the remote path is longer than {PATH_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for PathError {}

/// A normalised path: no empty, `.` or `..` segments, no slash at the end
/// (but for the root), nothing that could break a command line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RemotePath(Vec<u8>);

impl RemotePath {
    /// Normalises `bytes`. A leading slash is kept: such a path begins at the
    /// root that the server shows, others at the current directory.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(PathError::LineBreak);
        }
        let absolute = bytes.starts_with(b"/");
        let mut path = Vec::with_capacity(bytes.len());
        for segment in segments(bytes) {
            if segment == b".." {
                return Err(PathError::ParentSegment);
            }
            if absolute || !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(segment);
        }
        if path.is_empty() {
            if !absolute {
                return Err(PathError::Empty);
            }
            path.push(b'/');
        }
        Ok(Self(path))
    }

    /// This directory with `below` behind it, whether or not `below` begins with a slash.
    ///
    /// # Errors
    /// See [`PathError`].
    pub fn join(&self, below: &[u8]) -> Result<Self, PathError> {
        Self::new(&[self.as_bytes(), b"/", below].concat())
    }

    /// The bytes, as for a command's argument.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the path begins at the root.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with(b"/")
    }

    /// The last name; empty for the root.
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The directory above; `None` where that is the root or the current directory.
    pub fn parent(&self) -> Option<Self> {
        let slash = self
            .0
            .iter()
            .rposition(|b| *b == b'/')
            .filter(|at| *at > 0)?;
        self.0.get(..slash).map(|head| Self(head.to_vec()))
    }

    /// The directories above from the top down, in the order to make them:
    /// `/a`, `/a/b` for `/a/b/c`.
    pub fn parents(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self
            .0
            .iter()
            .enumerate()
            .filter(|(at, b)| **b == b'/' && *at > 0);
        slashes.filter_map(|(at, _)| self.0.get(..at).map(|head| Self(head.to_vec())))
    }

    /// The same directory, another last name.
    ///
    /// # Errors
    /// See [`PathError`]; `name` must be one name.
    pub fn with_file_name(&self, name: &[u8]) -> Result<Self, PathError> {
        if segments(name).count() != 1 {
            return Err(PathError::Empty);
        }
        match self.parent() {
            Some(directory) => directory.join(name),
            None if self.is_absolute() => Self::new(&[b"/", name].concat()),
            None => Self::new(name),
        }
    }

    /// Where to upload before publishing: `.<name>.<id>.part` in the same
    /// directory. A name that would become too long is cut (between UTF-8
    /// characters) and gets a hash of the whole; `id` keeps it unique.
    ///
    /// # Errors
    /// [`PathError::Empty`] for the root, [`PathError::TooLong`] for an
    /// impossible `id` or a path at the limit.
    pub fn temporary(&self, id: &str) -> Result<Self, PathError> {
        let name = self.file_name();
        if name.is_empty() {
            return Err(PathError::Empty);
        }
        let around = "..".len() + id.len() + ".part".len();
        let room = NAME_BYTES_MAX
            .checked_sub(around)
            .ok_or(PathError::TooLong)?;
        let short = shortened(name, room).ok_or(PathError::TooLong)?;
        let temporary = [b".", &short[..], b".", id.as_bytes(), b".part"].concat();
        self.with_file_name(&temporary)
    }
}

impl fmt::Display for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::ftp::text::printable(&self.0, PATH_BYTES_MAX))
    }
}

impl fmt::Debug for RemotePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// The path in a 257 reply to PWD or MKD: between quotes, a quote within
/// doubled (RFC 959, appendix II). `None` without one.
pub fn parse_quoted(reply: &Reply) -> Option<Vec<u8>> {
    if reply.code() != 257 {
        return None;
    }
    let text = reply.last_line();
    let open = text.iter().position(|b| *b == b'"')?;
    let mut rest = text.get(open + 1..)?.iter().copied().peekable();
    let mut path = Vec::new();
    while let Some(byte) = rest.next() {
        if byte == b'"' && rest.next_if_eq(&b'"').is_none() {
            return Some(path);
        }
        path.push(byte);
    }
    None
}

/// `path` in quotes, for a 257 reply.
pub fn quote(path: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(path.len() + 2);
    quoted.push(b'"');
    for &byte in path {
        if byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

fn segments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|b| *b == b'/')
        .filter(|segment| !matches!(segment, [] | [b'.']))
}

/// `name` in at most `room` bytes; `None` when not even the hash has room.
fn shortened(name: &[u8], room: usize) -> Option<Vec<u8>> {
    if name.len() <= room {
        return Some(name.to_vec());
    }
    let mut kept = room.checked_sub("~01234567".len())?;
    // Not in the middle of a character: some servers refuse broken UTF-8.
    let continues = |at: usize| name.get(at).is_some_and(|b| (0x80..0xC0).contains(b));
    let uncut = kept;
    while continues(kept) && kept > 0 && uncut - kept < 3 {
        kept -= 1;
    }
    let mut short = name.get(..kept)?.to_vec();
    short.extend_from_slice(format!("~{:08x}", crc32fast::hash(name)).as_bytes());
    Some(short)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RemotePath {
        RemotePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn paths_are_normalised() {
        for (given, normal) in [
            ("/a//b/./c/", "/a/b/c"),
            ("a/b", "a/b"),
            ("./a", "a"),
            ("/", "/"),
            ("//.", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(path(given).as_bytes(), normal.as_bytes(), "{given}");
        }
    }

    #[test]
    fn dangerous_paths_are_refused() {
        for (given, error) in [
            (&b""[..], PathError::Empty),
            (b".", PathError::Empty),
            (b"/a/../b", PathError::ParentSegment),
            (b"a\r\nDELE b", PathError::LineBreak),
            (b"a\0", PathError::LineBreak),
        ] {
            assert_eq!(RemotePath::new(given), Err(error), "{given:?}");
        }
        assert_eq!(
            RemotePath::new(&[b'a'; PATH_BYTES_MAX + 1]),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn directories_come_from_the_top_down() {
        let parents: Vec<_> = path("/a/b/c").parents().collect();
        assert_eq!(parents, [path("/a"), path("/a/b")]);
        let parents: Vec<_> = path("a/b/c").parents().collect();
        assert_eq!(parents, [path("a"), path("a/b")]);
        assert_eq!(path("/a").parents().count(), 0);
        assert_eq!(path("/a").parent(), None);
        assert_eq!(path("/").parents().count(), 0);
    }

    #[test]
    fn joining_stays_below() {
        assert_eq!(path("/a").join(b"/b/c").unwrap(), path("/a/b/c"));
        assert_eq!(path("/").join(b"b").unwrap(), path("/b"));
        assert_eq!(path("/a").join(b"../b"), Err(PathError::ParentSegment));
        assert_eq!(path("/a/b").with_file_name(b"c").unwrap(), path("/a/c"));
        assert_eq!(path("a").with_file_name(b"c").unwrap(), path("c"));
        assert!(path("a").with_file_name(b"c/d").is_err());
    }

    #[test]
    fn temporary_names_stand_beside_the_file() {
        assert_eq!(
            path("/d/f.jpg").temporary("7k").unwrap(),
            path("/d/.f.jpg.7k.part")
        );
        assert_eq!(path("/f").temporary("7k").unwrap(), path("/.f.7k.part"));
        assert_eq!(path("f").temporary("7k").unwrap(), path(".f.7k.part"));
        assert_eq!(path("/").temporary("7k"), Err(PathError::Empty));
        assert_eq!(
            path("/f").temporary(&"x".repeat(250)),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn long_temporary_names_are_cut_between_characters() {
        let long = "ü".repeat(127);
        let name = path(&long).temporary("12345").unwrap();
        assert!(name.as_bytes().len() <= NAME_BYTES_MAX);
        assert!(std::str::from_utf8(name.as_bytes()).is_ok());
        let other = path(&format!("{}u", "ü".repeat(126)))
            .temporary("12345")
            .unwrap();
        assert_ne!(name, other);
    }

    #[test]
    fn quoted_paths_are_read() {
        for (text, expected) in [
            ("\"/\" is the current directory", Some("/")),
            ("\"/a \"\"b\"\" c\"", Some("/a \"b\" c")),
            ("/a is the current directory", None),
            ("\"/a", None),
        ] {
            let parsed = parse_quoted(&Reply::new(257, text.as_bytes()));
            assert_eq!(parsed.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn normalising_twice_changes_nothing(bytes in "[a./\\x{fc}]{0,20}") {
            if let Ok(once) = RemotePath::new(bytes.as_bytes()) {
                prop_assert_eq!(RemotePath::new(once.as_bytes()), Ok(once));
            }
        }

        #[test]
        fn quoting_comes_back(bytes in "[a-c\" /]{0,20}") {
            let quoted = quote(bytes.as_bytes());
            prop_assert_eq!(parse_quoted(&Reply::new(257, &quoted)), Some(bytes.into_bytes()));
        }

        #[test]
        fn temporary_names_always_fit(name: Vec<u8>, id in "[0-9a-f]{1,40}") {
            if let Ok(path) = RemotePath::new(&name)
                && let Ok(temporary) = path.temporary(&id)
            {
                prop_assert!(temporary.file_name().len() <= NAME_BYTES_MAX);
                prop_assert_eq!(temporary.parent(), path.parent());
            }
        }
    }
}
