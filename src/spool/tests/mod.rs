//! What the spool promises, over a disk that loses what was not flushed.
#![allow(clippy::cast_possible_truncation)]

mod archive;
mod bounds;
mod crash;
mod damage;
mod failures;
mod full;
pub(crate) mod memory;
mod service;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::memory::MemoryFs;
use super::*;
use crate::sys::{Fs, Sys};

const DIR: &str = "/spool";

fn world() -> (MemoryFs, Sys) {
    let fs = MemoryFs::default();
    fs.create_dir(Path::new("/")).unwrap();
    fs.create_dir(Path::new("/src")).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    let mut sys = Sys::os().unwrap();
    sys.fs = Arc::new(fs.clone());
    (fs, sys)
}

fn open(sys: &Sys) -> Result<Spool, SpoolError> {
    Spool::open(sys, Path::new(DIR), Options::default())
}

/// A file at the source, ready to take.
fn ready(fs: &MemoryFs, name: &str, how: How) -> Taking {
    let source = PathBuf::from(format!("/src/{name}"));
    let expect = fs
        .meta(&source)
        .unwrap_or_else(|_| fs.put(&format!("/src/{name}"), name.as_bytes()));
    Taking {
        source,
        path: name.as_bytes().to_vec(),
        how,
        expect,
        closed: true,
    }
}

/// Path to content of everything that waits.
fn waiting(spool: &mut Spool) -> BTreeMap<String, Vec<u8>> {
    let mut entries = Vec::new();
    spool
        .list(&mut |entry| {
            entries.push(entry.clone());
            true
        })
        .unwrap();
    let content = |spool: &Spool, entry: &Entry| {
        let mut bytes = vec![0; entry.size as usize];
        spool
            .open_blob(entry.id)
            .unwrap()
            .read_at(&mut bytes, 0)
            .unwrap();
        bytes
    };
    let pairs = entries.iter().map(|entry| {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        (path, content(spool, entry))
    });
    pairs.collect()
}

fn delivered(spool: &mut Spool, id: EntryId) -> Settlement {
    let receipt = spool.entry(id).unwrap().receipt(1, Proof::Hash);
    Settlement { id, receipt }
}
