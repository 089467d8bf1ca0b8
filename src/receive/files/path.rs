//! Paths as a user gives them: lexical, below a root that only looks like one.

use super::FileError;

/// An absolute path in a user's virtual tree: without `.`, `..`, empty parts,
/// NUL, CR and LF. Nothing on disk has been looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualPath {
    /// The parts, joined by slashes; empty for the root.
    inner: Vec<u8>,
}

impl VirtualPath {
    /// `/`.
    #[must_use]
    pub fn root() -> VirtualPath {
        VirtualPath::default()
    }

    /// Where `path` leads from here; one that begins with a slash begins at the
    /// root, and `..` stops there.
    ///
    /// # Errors
    /// `BadName` for a path that is too long or contains NUL, CR or LF.
    pub fn join(&self, path: &[u8]) -> Result<VirtualPath, FileError> {
        if path.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return Err(FileError::BadName("control characters"));
        }
        let mut inner = match path.first() {
            Some(b'/') => Vec::new(),
            _ => self.inner.clone(),
        };
        for part in path.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    let end = inner.iter().rposition(|b| *b == b'/').unwrap_or(0);
                    inner.truncate(end);
                }
                part if part.len() > NAME_MAX => return Err(FileError::BadName("too long")),
                part => {
                    if !inner.is_empty() {
                        inner.push(b'/');
                    }
                    inner.extend_from_slice(part);
                }
            }
            if inner.len() > PATH_MAX {
                return Err(FileError::BadName("too long"));
            }
        }
        Ok(VirtualPath { inner })
    }

    /// The directory that holds it; the root's is the root.
    #[must_use]
    pub fn parent(&self) -> VirtualPath {
        let end = self.inner.iter().rposition(|b| *b == b'/').unwrap_or(0);
        VirtualPath {
            inner: self.inner.get(..end).unwrap_or_default().to_vec(),
        }
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.inner.rsplit(|b| *b == b'/').next().unwrap_or_default()
    }

    /// The first part and the rest; both empty for the root.
    pub(super) fn split_first(&self) -> (&[u8], &[u8]) {
        let end = self.inner.iter().position(|b| *b == b'/');
        match end {
            Some(end) => (
                self.inner.get(..end).unwrap_or_default(),
                self.inner.get(end + 1..).unwrap_or_default(),
            ),
            None => (&self.inner, b""),
        }
    }

    /// The path without its leading slash.
    pub(super) fn relative(&self) -> &[u8] {
        &self.inner
    }

    /// The path as PWD and MLST show it, with its leading slash.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![b'/'];
        bytes.extend_from_slice(&self.inner);
        bytes
    }
}

/// The longest part of a path, in bytes.
const NAME_MAX: usize = 255;
/// The longest path, in bytes: a command line holds little more.
const PATH_MAX: usize = 2048;
