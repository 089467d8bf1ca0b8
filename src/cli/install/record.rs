//! What an installation put in place, as sha256sum(1) writes and checks it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where it is, below the root.
pub(super) const PLACE: &str = "usr/local/share/edgespool/installed";

/// The files with their hashes.
#[derive(Debug, Default)]
pub(super) struct Record(BTreeMap<PathBuf, String>);

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not there.
    Missing,
    /// An install put it there, and nobody changed it.
    Ours,
    /// Somebody else's, or changed.
    Foreign,
}

impl Record {
    /// The record below this root; empty where there is none.
    pub(super) fn read(root: &Path) -> Record {
        let text = fs::read_to_string(root.join(PLACE)).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once("  /"));
        Record(
            lines
                .map(|(hash, path)| (path.into(), hash.to_owned()))
                .collect(),
        )
    }

    /// Notes a file (a path below the root) that stands there with this content.
    pub(super) fn note(&mut self, path: &Path, content: &[u8]) {
        self.0.insert(path.to_owned(), hash(content));
    }

    /// How a file stands, below this root.
    pub(super) fn standing(&self, root: &Path, path: &Path) -> Standing {
        match fs::read(root.join(path)) {
            Ok(content) if self.0.get(path) == Some(&hash(&content)) => Standing::Ours,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Standing::Missing,
            _ => Standing::Foreign,
        }
    }

    /// The files, below the root.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// Whether nothing was ever installed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes it down below the root.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn write(&self, root: &Path) -> io::Result<()> {
        let mut text = String::new();
        for (path, hash) in &self.0 {
            // Writing to a string does not fail.
            let _written = writeln!(text, "{hash}  /{}", path.display());
        }
        super::write(&root.join(PLACE), text.as_bytes(), 0o644)
    }
}

fn hash(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _written = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_notices_changes() {
        let root = tempfile::tempdir().unwrap();
        let (path, gone) = (Path::new("etc/x"), Path::new("gone"));
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join(path), "content").unwrap();
        let mut record = Record::default();
        assert_eq!(record.standing(root.path(), path), Standing::Foreign);
        record.note(path, b"content");
        record.note(gone, b"");
        record.write(root.path()).unwrap();
        let record = Record::read(root.path());
        assert_eq!(record.standing(root.path(), path), Standing::Ours);
        assert_eq!(record.standing(root.path(), gone), Standing::Missing);
        fs::write(root.path().join(path), "changed").unwrap();
        assert_eq!(record.standing(root.path(), path), Standing::Foreign);
    }
}
