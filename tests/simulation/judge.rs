//! Whether the promises were kept, from what the producers wrote, what the
//! server holds, and what the ledger says.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::producer::{Page, WATCHED};
use super::server::Store;
use super::world::World;

/// A content so short that two versions may share it.
const TELLING: usize = 16;

/// Says the first promise that was broken.
///
/// # Errors
/// That, for the person who reads the log.
pub fn judge(world: &World, damaged: bool) -> Result<(), String> {
    let book = world.book.borrow();
    let store = world.server.store.borrow();
    nothing_partial(&book.pages, &store, damaged)?;
    // Where neither a hash nor a time tells a file from an earlier version of the
    // same length, it is sent again rather than taken for delivered.
    let manners = world.server.manners.get();
    let tells = manners.hashes || manners.mfmt || manners.software.contains("vsFTPd");
    let exact = tells && !damaged;
    if exact {
        nothing_twice(&store)?;
    }
    all_arrived(&book.pages, &store, damaged)?;
    nothing_left(world)?;
    receipts(world, &store, exact)
}

fn path_of(remote: &[u8]) -> PathBuf {
    let path = remote.strip_prefix(b"/").unwrap_or(remote);
    Path::new(std::ffi::OsStr::from_bytes(path)).to_owned()
}

/// P3 and P4: whatever got a final name was a whole version of that file.
fn nothing_partial(
    pages: &BTreeMap<PathBuf, Page>,
    store: &Store,
    damaged: bool,
) -> Result<(), String> {
    for publish in &store.publishes {
        let path = path_of(&publish.path);
        let whole = if damaged && path.starts_with("recovered") {
            pages
                .values()
                .any(|page| page.versions.contains(&publish.bytes))
        } else {
            pages
                .get(&path)
                .is_some_and(|page| page.versions.contains(&publish.bytes))
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
fn nothing_twice(store: &Store) -> Result<(), String> {
    let mut seen: BTreeMap<(&[u8], &[u8]), u32> = BTreeMap::new();
    for publish in &store.publishes {
        let count = seen.entry((&publish.path, &publish.bytes)).or_default();
        *count += 1;
        if *count > 1 && publish.bytes.len() >= TELLING {
            return Err(format!(
                "{} was published twice",
                path_of(&publish.path).display()
            ));
        }
    }
    Ok(())
}

/// P1 and P2: the newest version of every file is there.
fn all_arrived(
    pages: &BTreeMap<PathBuf, Page>,
    store: &Store,
    damaged: bool,
) -> Result<(), String> {
    for (path, page) in pages {
        let remote = [b"/", path.as_os_str().as_bytes()].concat();
        let there = store.files.get(&remote);
        let newest = page.versions.last();
        let recovered = || {
            damaged
                && store
                    .publishes
                    .iter()
                    .any(|p| path_of(&p.path).starts_with("recovered") && Some(&p.bytes) == newest)
        };
        let arrived = match there {
            None => !page.certain,
            Some(file) if page.certain => Some(&file.bytes) == newest,
            Some(file) => page.versions.contains(&file.bytes),
        };
        if !arrived && !recovered() {
            return Err(format!(
                "{}: {} versions were written, the newest of {:?} bytes; on the server: {:?} bytes",
                path.display(),
                page.versions.len(),
                newest.map(Vec::len),
                there.map(|file| file.bytes.len())
            ));
        }
    }
    Ok(())
}

/// Nothing waits for ever: the source and the spool are empty.
fn nothing_left(world: &World) -> Result<(), String> {
    let left = world.disk.raw().files(Path::new(WATCHED));
    let left: Vec<_> = left
        .iter()
        .filter(|path| !path.file_name().unwrap().as_bytes().starts_with(b"."))
        .collect();
    if world.options.take == edgespool::watch::Take::Move && !left.is_empty() {
        return Err(format!("left at the source: {left:?}"));
    }
    let spool = world
        .open_spool()
        .map_err(|e| format!("the spool does not open: {e:?}"))?;
    let stats = spool.stats();
    if stats.waiting.files > 0 {
        return Err(format!(
            "{} files are left in the spool",
            stats.waiting.files
        ));
    }
    let blobs = world.disk.raw().files(Path::new("/spool/lanes"));
    let blobs: Vec<_> = blobs
        .iter()
        .filter(|path| path.components().count() == 6)
        .collect();
    if !blobs.is_empty() {
        return Err(format!("blobs nobody knows of: {blobs:?}"));
    }
    Ok(())
}

/// Every publish has its receipt, and every receipt its publish.
fn receipts(world: &World, store: &Store, exact: bool) -> Result<(), String> {
    let spool = world
        .open_spool()
        .map_err(|e| format!("the spool does not open: {e:?}"))?;
    let mut balance: BTreeMap<(Vec<u8>, u64), i64> = BTreeMap::new();
    for publish in &store.publishes {
        let key = (publish.path.clone(), publish.bytes.len() as u64);
        *balance.entry(key).or_default() += 1;
    }
    let read = spool.history(None, &mut |receipt| {
        *balance
            .entry((receipt.remote.clone(), receipt.size))
            .or_default() -= 1;
        true
    });
    read.map_err(|e| format!("the ledger cannot be read: {e:?}"))?;
    for ((remote, size), count) in balance {
        let missing = if exact { count != 0 } else { count < 0 };
        if missing && size as usize >= TELLING {
            return Err(format!(
                "{} of {size} bytes: {count} more publishes than receipts",
                path_of(&remote).display()
            ));
        }
    }
    Ok(())
}
