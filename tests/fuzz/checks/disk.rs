//! A disk in memory: names and contents, nothing more. It can be copied whole,
//! so that each input begins with the same disk.

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use edgespool::base::{Mono, Wall};
use edgespool::sys::os::OsNet;
use edgespool::sys::{
    Clock, Create, DirEntry, File, Fs, Kind, LocalFuture, Meta, Pool, Rng, Space, Sys, Writers,
};

#[derive(Clone, Default)]
struct Tree {
    /// Files by their inode number, directories by 0.
    names: BTreeMap<PathBuf, u64>,
    contents: BTreeMap<u64, Vec<u8>>,
    last_ino: u64,
}

/// The disk; a clone is the same disk.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Tree>>);

impl Disk {
    /// A disk with these directories.
    pub fn with_dirs(dirs: &[&str]) -> Disk {
        let disk = Disk::default();
        for dir in dirs {
            disk.tree().names.insert(dir.into(), 0);
        }
        disk
    }

    /// Another disk with the same files.
    pub fn copy(&self) -> Disk {
        Disk(Arc::new(Mutex::new(self.tree().clone())))
    }

    /// The content of a file.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let tree = self.tree();
        tree.contents.get(tree.names.get(path)?).cloned()
    }

    /// Writes a file anew.
    pub fn put(&self, path: &Path, content: &[u8]) {
        let mut tree = self.tree();
        let ino = tree.new_file(path);
        tree.contents.insert(ino, content.to_vec());
    }

    /// A world with this disk, in which time stands still.
    pub fn sys(&self) -> Sys {
        let pool = Pool::inline();
        Sys {
            fs: Arc::new(self.clone()),
            clock: Arc::new(Still),
            rng: Arc::new(Still),
            net: Arc::new(OsNet::new(pool.clone())),
            pool,
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap()
    }

    fn open_file(&self, ino: u64) -> Box<dyn File> {
        let disk = self.clone();
        Box::new(OpenFile { disk, ino })
    }
}

impl Tree {
    fn find(&self, path: &Path) -> io::Result<u64> {
        let found = self.names.get(path).copied();
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new_file(&mut self, path: &Path) -> u64 {
        self.last_ino += 1;
        self.names.insert(path.to_owned(), self.last_ino);
        self.contents.insert(self.last_ino, Vec::new());
        self.last_ino
    }

    fn meta(&self, ino: u64) -> Meta {
        let size = self
            .contents
            .get(&ino)
            .map_or(0, |bytes| bytes.len() as u64);
        let time = 1_700_000_000_000_000_000;
        Meta {
            kind: if ino == 0 { Kind::Dir } else { Kind::File },
            dev: 1,
            ino,
            size,
            mtime_ns: time,
            ctime_ns: time,
            mode: 0o600,
            nlink: 1,
        }
    }
}

struct OpenFile {
    disk: Disk,
    ino: u64,
}

impl File for OpenFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let tree = self.disk.tree();
        let content = &tree.contents[&self.ino];
        let from = usize::try_from(offset).unwrap().min(content.len());
        let got = buf.len().min(content.len() - from);
        buf[..got].copy_from_slice(&content[from..from + got]);
        Ok(got)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut tree = self.disk.tree();
        let content = tree.contents.get_mut(&self.ino).unwrap();
        let from = usize::try_from(offset).unwrap();
        content.resize(content.len().max(from + data.len()), 0);
        content[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(self.disk.tree().meta(self.ino))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut tree = self.disk.tree();
        let content = tree.contents.get_mut(&self.ino).unwrap();
        content.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Fs for Disk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let ino = self.tree().find(path)?;
        Ok(self.open_file(ino))
    }

    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        let mut tree = self.tree();
        let ino = match (tree.find(path), create) {
            (Ok(_), Create::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(ino), Create::Keep) => ino,
            (Err(_), _) => tree.new_file(path),
        };
        drop(tree);
        Ok(self.open_file(ino))
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let tree = self.tree();
        Ok(tree.meta(tree.find(path)?))
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        let names: Vec<PathBuf> = {
            let tree = self.tree();
            tree.find(path)?;
            let below = tree.names.keys().filter(|p| p.parent() == Some(path));
            below.cloned().collect()
        };
        for name in names.iter().filter_map(|path| path.file_name()) {
            let name = name.to_owned();
            if !each(DirEntry { name, kind: None }) {
                break;
            }
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        if tree.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        tree.find(path.parent().unwrap_or(path))?;
        tree.names.insert(path.to_owned(), 0);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        let ino = tree.find(from)?;
        tree.find(to.parent().unwrap_or(to))?;
        tree.names.remove(from);
        tree.names.insert(to.to_owned(), ino);
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut tree = self.tree();
        tree.find(path)?;
        tree.names.remove(path);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.unlink(path)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_fs(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space {
            total: 1 << 41,
            free: 1 << 40,
        })
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(()))
    }

    fn writers(&self, _: &Path) -> io::Result<Writers> {
        Ok(Writers::None)
    }
}

/// A clock that stands, and the same number again and again.
struct Still;

impl Clock for Still {
    fn mono(&self) -> Mono {
        Mono::default()
    }

    fn wall(&self) -> Wall {
        Wall::from_secs(1_800_000_000)
    }

    fn sleep_until(&self, _: Mono) -> LocalFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl Rng for Still {
    fn next_u64(&self) -> u64 {
        0x1234_5678_9abc_def0
    }
}
