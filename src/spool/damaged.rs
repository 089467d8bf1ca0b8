//! Logs in which records were lost, kept for inspection, within bounds.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::sys::Fs;

/// Bytes that are kept.
const KEPT_MAX: u64 = 16 << 20;
/// Logs that are kept.
const LOGS_MAX: usize = 64;

/// Moves a damaged log into `dir`, after the oldest ones there made way.
/// They are numbered in the order in which they came.
pub(super) fn keep(fs: &dyn Fs, dir: &Path, lane_dir: &Path, log: &Path) -> io::Result<()> {
    let mut kept = Vec::new();
    fs.read_dir(dir, &mut |entry| {
        kept.push((number_of(&entry.name), entry.name));
        kept.len() < 2 * LOGS_MAX
    })?;
    kept.sort();
    let next = kept.iter().filter_map(|(no, _)| *no).max();
    let next = next.map_or(0, |no| no.wrapping_add(1));
    let size_of = |path: &Path| fs.meta(path).map_or(0, |meta| meta.size);
    let mut bytes = size_of(log);
    let mut left = Vec::new();
    // The newest are kept, as many as there is room for.
    for (_, name) in kept.into_iter().rev() {
        bytes = bytes.saturating_add(size_of(&dir.join(&name)));
        if bytes > KEPT_MAX || left.len() + 1 >= LOGS_MAX {
            log::warn!(
                "{} made way for a newer damaged log",
                dir.join(&name).display()
            );
            fs.unlink(&dir.join(&name))?;
        } else {
            left.push(name);
        }
    }
    let (lane, name) = (lane_dir.file_name(), log.file_name());
    let name = format!(
        "{next:08x}-{}-{}",
        lane.unwrap_or_default().display(),
        name.unwrap_or_default().display()
    );
    fs.rename(log, &dir.join(name))
}

fn number_of(name: &OsString) -> Option<u32> {
    let digits = name.to_str()?.get(..8)?;
    u32::from_str_radix(digits, 16).ok()
}
