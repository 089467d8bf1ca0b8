//! Directory trees compared byte by byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// All regular files below a directory: path below it, and content.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Tree {
    /// Reads all files below `dir`.
    pub fn read(dir: &Path) -> Self {
        let mut tree = Self::default();
        tree.add(dir, b"");
        tree
    }

    /// Writes all files below `dir`, making directories.
    pub fn write(&self, dir: &Path) {
        for (path, content) in &self.0 {
            let path = dir.join(OsStr::from_bytes(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// Panics, naming the first differences, unless both are the same.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        let mut differences = Vec::new();
        for path in self.0.keys().chain(other.0.keys()) {
            let (a, b) = (self.0.get(path), other.0.get(path));
            if a != b {
                let size = |c: Option<&Vec<u8>>| {
                    c.map_or("missing".into(), |c| format!("{} bytes", c.len()))
                };
                let name = String::from_utf8_lossy(path);
                let at = a
                    .zip(b)
                    .map(|(a, b)| a.iter().zip(b).take_while(|(a, b)| a == b).count());
                differences.push(format!(
                    "{name}: {} / {}, same up to {at:?}",
                    size(a),
                    size(b)
                ));
            }
        }
        differences.dedup();
        differences.truncate(20);
        assert!(
            differences.is_empty(),
            "trees differ:\n{}",
            differences.join("\n")
        );
    }

    fn add(&mut self, dir: &Path, prefix: &[u8]) {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let mut path = prefix.to_vec();
            path.extend(entry.file_name().as_bytes());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                path.push(b'/');
                self.add(&entry.path(), &path);
            } else if kind.is_file() {
                match fs::read(entry.path()) {
                    // Whoever works there took it in this very instant.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                    read => self.0.insert(path, read.unwrap()),
                };
            }
        }
    }
}

/// Bytes that look random, the same for the same seed, and different at every
/// offset that a wrong resume could confuse.
pub fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; size];
    rng.fill(&mut bytes);
    bytes
}
