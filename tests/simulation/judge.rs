//! Whether the promises were kept, from what the producers wrote, what the
//! server holds, and what the ledger says.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use edgespool::spool::{Proof, Receipt};
use edgespool::upload::{IfExists, Publish};
use edgespool::watch::Take;

use super::producer::{Page, WATCHED};
use super::server::Store;
use super::world::World;

/// A content so short that two versions may share it.
const TELLING: usize = 16;
/// Files that the agent may have open at once, in all lanes and sessions.
const OPEN_MAX: u64 = 64;

struct Judge<'a> {
    world: &'a World,
    pages: &'a BTreeMap<PathBuf, Page>,
    store: &'a Store,
    /// Records that were damaged.
    rotten: u64,
    receipts: Vec<Receipt>,
    /// Every version can be told from every other one.
    exact: bool,
}

/// Says the first promise that was broken.
///
/// # Errors
/// That, for the person who reads the log.
pub fn judge(world: &World, rotten: u64) -> Result<(), String> {
    let book = world.book.borrow();
    let store = world.server.store.borrow();
    let judge = Judge {
        world,
        pages: &book.pages,
        store: &store,
        rotten,
        receipts: receipts(world)?,
        exact: world.server.always_told_versions() && rotten == 0,
    };
    judge.nothing_partial()?;
    judge.nothing_twice()?;
    judge.nothing_deleted()?;
    judge.all_arrived()?;
    judge.nothing_left()?;
    judge.receipts_are_right()?;
    judge.bounds()
}

fn receipts(world: &World) -> Result<Vec<Receipt>, String> {
    let spool = world
        .open_spool()
        .map_err(|e| format!("the spool does not open: {e:?}"))?;
    let mut receipts = Vec::new();
    let read = spool.history(None, &mut |receipt| {
        receipts.push(receipt.clone());
        true
    });
    read.map_err(|e| format!("the ledger cannot be read: {e:?}"))?;
    Ok(receipts)
}

fn path_of(remote: &[u8]) -> PathBuf {
    let path = remote.strip_prefix(b"/").unwrap_or(remote);
    Path::new(std::ffi::OsStr::from_bytes(path)).to_owned()
}

fn is_recovered(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "recovered")
}

/// The name before `keep-both` gave it a number: `image-7-2.jpg` was `image-7.jpg`.
fn unnumbered(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".jpg").unwrap_or(&name);
    match stem.match_indices('-').nth(1) {
        Some((at, _)) => path.with_file_name(format!("{}.jpg", &stem[..at])),
        None => path.to_owned(),
    }
}

impl Judge<'_> {
    fn is_direct(&self) -> bool {
        self.world.options.publish == Publish::Direct
    }

    /// P3 and P4: whatever got a final name was a whole version of that file.
    fn nothing_partial(&self) -> Result<(), String> {
        for publish in &self.store.publishes {
            let path = unnumbered(&path_of(&publish.path));
            let is_whole = |page: &Page| page.versions.contains(&publish.bytes);
            let whole = match self.rotten > 0 && is_recovered(&path) {
                true => self.pages.values().any(is_whole),
                false => self.pages.get(&path).is_some_and(is_whole),
            };
            if !whole {
                return Err(format!(
                    "{} was published with {} bytes that are no version of it",
                    path.display(),
                    publish.bytes.len()
                ));
            }
        }
        Ok(())
    }

    /// P4: each version got its final name once.
    fn nothing_twice(&self) -> Result<(), String> {
        let mut counts: BTreeMap<(PathBuf, &[u8]), usize> = BTreeMap::new();
        for publish in self.store.publishes.iter().filter(|_| self.exact) {
            let path = unnumbered(&path_of(&publish.path));
            *counts.entry((path, &publish.bytes)).or_default() += 1;
        }
        for ((path, bytes), count) in counts {
            let Some(page) = self.pages.get(&path).filter(|page| !page.ambiguous) else {
                continue;
            };
            // The same content may have been written again.
            let written = page.versions.iter().filter(|v| *v == bytes).count();
            if count > written && bytes.len() >= TELLING {
                return Err(format!("{} was published {count} times", path.display()));
            }
        }
        Ok(())
    }

    /// P4: a file that is fully there is never deleted to be sent anew.
    fn nothing_deleted(&self) -> Result<(), String> {
        for deleted in self
            .store
            .deleted
            .iter()
            .filter(|d| d.bytes.len() >= TELLING)
        {
            let path = path_of(&deleted.path);
            let name = path.file_name().unwrap().to_string_lossy();
            let whole = self
                .pages
                .values()
                .any(|page| page.versions.contains(&deleted.bytes));
            if name.ends_with(".part") && whole {
                return Err(format!(
                    "{} was deleted though it was whole",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// P1 and P2: the newest version of every file is there.
    fn all_arrived(&self) -> Result<(), String> {
        let mut spared = self.rotten;
        for (path, page) in self.pages {
            if page.ambiguous || self.arrived(path, page) || self.evicted(path, page) {
                continue;
            }
            // P5: damage costs at most one record, which may be that of an eviction.
            if spared > 0 && (self.recovered(page) || self.world.options.evicts()) {
                spared -= 1;
                continue;
            }
            return Err(format!(
                "{}: {} versions were written, the newest of {:?} bytes; it is not on the server",
                path.display(),
                page.versions.len(),
                page.versions.last().map(Vec::len),
            ));
        }
        Ok(())
    }

    fn arrived(&self, path: &Path, page: &Page) -> bool {
        let newest = page.versions.last();
        let mut there = self
            .store
            .files
            .iter()
            .filter(|(remote, _)| unnumbered(&path_of(remote)) == path);
        match self.world.options.if_exists {
            IfExists::KeepBoth if page.certain => there.any(|(_, f)| Some(&f.bytes) == newest),
            // What was there first stays.
            IfExists::Skip if page.certain => there.any(|(_, f)| page.versions.contains(&f.bytes)),
            IfExists::Overwrite if page.certain => there.any(|(_, f)| Some(&f.bytes) == newest),
            // What broke off stays under a name that was given up.
            IfExists::KeepBoth if self.is_direct() => true,
            _ => there.all(|(_, file)| page.versions.contains(&file.bytes)),
        }
    }

    /// P2's exception: the user chose it, and the ledger says so.
    fn evicted(&self, path: &Path, page: &Page) -> bool {
        let newest = page.versions.last().map(|bytes| bytes.len() as u64);
        self.world.options.evicts()
            && self.receipts.iter().any(|r| {
                let own = Path::new(&r.watch).join(OsStr::from_bytes(&r.path));
                // A newer version may come in the instant in which one is dropped.
                let is_newest = Some(r.size) == newest || self.world.disk.is_slow();
                r.proof == Proof::Evicted && own == path && is_newest
            })
    }

    /// P5: its record is lost, its bytes are not.
    fn recovered(&self, page: &Page) -> bool {
        let files = self.store.files.iter();
        let mut recovered = files.filter(|(remote, _)| is_recovered(&path_of(remote)));
        recovered.any(|(_, file)| Some(&file.bytes) == page.versions.last())
    }

    /// Nothing waits for ever: the source and the spool are empty.
    fn nothing_left(&self) -> Result<(), String> {
        let mut left = self.world.disk.raw().files(Path::new(WATCHED));
        left.retain(|path| !path.file_name().unwrap().as_bytes().starts_with(b"."));
        if self.world.options.take == Take::Move && !left.is_empty() {
            return Err(format!("left at the source: {left:?}"));
        }
        let spool = self.world.open_spool();
        let spool = spool.map_err(|e| format!("the spool does not open: {e:?}"))?;
        let stats = spool.stats();
        if stats.waiting.files > 0 {
            return Err(format!(
                "{} files are left in the spool",
                stats.waiting.files
            ));
        }
        let mut blobs = self.world.disk.raw().files(Path::new("/spool/lanes"));
        blobs.retain(|path| path.components().count() == 6);
        if !blobs.is_empty() {
            return Err(format!("blobs nobody knows of: {blobs:?}"));
        }
        Ok(())
    }

    /// Every publish has its receipt, and every receipt its publish.
    fn receipts_are_right(&self) -> Result<(), String> {
        let mut balance: BTreeMap<(&[u8], u64), i64> = BTreeMap::new();
        for publish in &self.store.publishes {
            let key = (publish.path.as_slice(), publish.bytes.len() as u64);
            *balance.entry(key).or_default() += 1;
        }
        let published = |proof| matches!(proof, Proof::Hash | Proof::Size | Proof::Reply);
        for receipt in self.receipts.iter().filter(|r| published(r.proof)) {
            let key = (receipt.remote.as_slice(), receipt.size);
            *balance.entry(key).or_default() -= 1;
        }
        for ((remote, size), count) in balance {
            let wrong = match self.exact {
                _ if self.is_direct() || self.rotten > 0 => false,
                // What was evicted may have been published before a crash.
                true if count > 0 => !self.world.options.evicts(),
                _ => count < 0,
            };
            let page = self.pages.get(&unnumbered(&path_of(remote)));
            let wrong = wrong && page.is_none_or(|page| !page.ambiguous && !page.repeats(size));
            if wrong && size as usize >= TELLING {
                return Err(format!(
                    "{} of {size} bytes: {count} more publishes than receipts",
                    path_of(remote).display()
                ));
            }
        }
        Ok(())
    }

    /// P7.
    fn bounds(&self) -> Result<(), String> {
        let open = self.world.disk.open_max();
        match open <= OPEN_MAX {
            true => Ok(()),
            false => Err(format!("{open} files were open at once")),
        }
    }
}
