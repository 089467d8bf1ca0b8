//! A directory being listed, in steps.

use std::sync::Arc;

use super::FileError;
use super::core::told;
use super::place::Place;
use crate::sys::{Dir, Meta};

/// A directory being listed, in steps. Blocking: it goes to the pool and back.
pub struct Listing {
    /// Folders of the user's root, which come first.
    folders: Vec<(Vec<u8>, Meta)>,
    inner: Option<Inner>,
    /// Names that folders stand before.
    hidden: Vec<Vec<u8>>,
}

struct Inner {
    dir: Box<dyn Dir>,
    place: Arc<Place>,
    at: Vec<u8>,
}

impl Listing {
    pub(super) fn of(place: Arc<Place>, at: Vec<u8>) -> Result<Listing, FileError> {
        let dir = place.tree.open_dir(&at)?;
        Ok(Listing {
            folders: Vec::new(),
            inner: Some(Inner { dir, place, at }),
            hidden: Vec::new(),
        })
    }

    /// The user's root: folders, and what stands in the root's own folder.
    pub(super) fn of_root(folders: Vec<(Vec<u8>, Meta)>, root: Option<Listing>) -> Listing {
        Listing {
            hidden: folders.iter().map(|(name, _)| name.clone()).collect(),
            inner: root.and_then(|root| root.inner),
            folders,
        }
    }

    /// The next names with what `lstat` says of them, at most `count`; empty at
    /// the end. What disappears meanwhile is left out.
    ///
    /// # Errors
    /// What the disk says.
    pub fn next(&mut self, count: usize) -> Result<Vec<(Vec<u8>, Meta)>, FileError> {
        let folders = self.folders.len().min(count);
        let mut found: Vec<_> = self.folders.drain(..folders).collect();
        let Some(inner) = &mut self.inner else {
            return Ok(found);
        };
        while found.len() < count {
            let Some(entry) = inner.dir.next_entry()? else {
                break;
            };
            let name = entry.name.into_encoded_bytes();
            if self.hidden.contains(&name) {
                continue;
            }
            let at = match inner.at.as_slice() {
                b"" => name.clone(),
                at => [at, b"/", &name].concat(),
            };
            if let Ok(meta) = inner.place.tree.meta(&at) {
                found.push((name, told(meta)));
            }
        }
        Ok(found)
    }
}
