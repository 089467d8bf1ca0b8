//! What the devices made: the measure for what has to arrive.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// A file that a device finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    /// The watch it is for, and its path below that watch's directory.
    pub(super) path: String,
    /// Size in bytes.
    pub(super) size: u64,
    /// SHA-256 of the bytes as the device had them, before they went to disk.
    pub(super) sha256: [u8; 32],
}

impl Made {
    /// What becomes of `content`.
    pub(super) fn of(path: String, content: &[u8]) -> Made {
        Made {
            path,
            size: content.len() as u64,
            sha256: Sha256::digest(content).into(),
        }
    }
}

/// All files that were made, in order.
#[derive(Default)]
pub(super) struct Ledger(RefCell<Vec<Made>>);

impl Ledger {
    /// Enters a file. Before it gets its final name: nothing that can be seen
    /// is ever missing here.
    pub(super) fn enter(&self, made: Made) {
        self.0.borrow_mut().push(made);
    }

    /// Files and bytes of one device.
    pub(super) fn count(&self, watch: &str) -> (u64, u64) {
        let made = self.0.borrow();
        let of_watch = |made: &&Made| {
            let rest = made.path.strip_prefix(watch);
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let files = made.iter().filter(of_watch);
        files.fold((0, 0), |(files, bytes), made| {
            (files + 1, bytes + made.size)
        })
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Made> {
        self.0.borrow().clone()
    }
}

/// Writes a list that `sha256sum -c` reads, of paths below `root`.
///
/// # Errors
/// What the disk says.
pub(super) fn write_sums(made: &[Made], root: &str, path: &Path) -> io::Result<()> {
    let mut list = io::BufWriter::new(File::create(path)?);
    for made in made {
        writeln!(list, "{}  {root}/{}", hex(&made.sha256), made.path)?;
    }
    list.flush()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
