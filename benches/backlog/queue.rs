//! A spool with one lane that only grows, made without flushes.

use std::any::Any;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgespool::spool::{How, Options, Spool, Taking};
use edgespool::sys::{Create, DirEntry, File, Fs, Meta, Space, Sys, Writers};

use crate::common::server_section;
use crate::common::servers::Server;

/// Files that are made, and taken, at a time.
const BATCH: usize = 4096;
/// Bytes of each file.
const SIZE: usize = 1000;

pub(crate) fn options() -> Options {
    Options {
        max_size: 1 << 40,
        min_free: 0,
        ..Options::default()
    }
}

/// A spool with one lane that only grows.
pub(crate) struct Queue {
    pub(crate) dir: PathBuf,
    pub(crate) spool: PathBuf,
    files: usize,
}

impl Queue {
    pub(crate) fn new(dir: &Path) -> Queue {
        fs::create_dir_all(dir.join("source")).unwrap();
        Queue {
            dir: dir.to_owned(),
            spool: dir.join("spool"),
            files: 0,
        }
    }

    /// Takes files until so many were taken.
    pub(crate) fn grow(&mut self, files: usize) {
        let mut sys = Sys::os().unwrap();
        sys.fs = Arc::new(Unflushed(sys.fs.clone()));
        let mut spool = Spool::open(&sys, &self.spool, options()).unwrap();
        while self.files < files {
            let next = (self.files + BATCH).min(files);
            let takings: Vec<Taking> = (self.files..next).map(|n| self.produce(&sys, n)).collect();
            let taken = spool.take("camera", &takings);
            assert!(taken.iter().all(Result::is_ok));
            self.files = next;
        }
    }

    fn produce(&self, sys: &Sys, n: usize) -> Taking {
        let source = self.dir.join(format!("source/{n:07}.jpg"));
        fs::write(&source, [b'x'; SIZE]).unwrap();
        Taking {
            path: format!("2026/11/{n:07}.jpg").into_bytes(),
            how: How::Move,
            closed: true,
            expect: sys.fs.meta(&source).unwrap(),
            source,
        }
    }

    /// The configuration of an agent that delivers it.
    pub(crate) fn config(&self, server: &Server) -> PathBuf {
        let config = self.dir.join("edgespool.toml");
        let text = format!(
            "device = \"bench\"\n\
             [spool]\ndir = \"spool\"\nmin_free = \"0\"\nmax_size = \"100GiB\"\n{}\
             [[watch]]\nname = \"camera\"\ndir = \"source\"\nserver = \"s\"\n\
             remote = \"/{{name}}\"\n",
            server_section("s", server, None)
        );
        fs::write(&config, text).unwrap();
        config
    }
}

/// The disk without its flushes, to make a long queue in less than an hour.
struct Unflushed(Arc<dyn Fs>);

struct UnflushedFile(Box<dyn File>);

impl File for UnflushedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
    fn meta(&self) -> io::Result<Meta> {
        self.0.meta()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Fs for Unflushed {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(UnflushedFile(self.0.open(path)?)))
    }
    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        Ok(Box::new(UnflushedFile(self.0.create(path, create)?)))
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.0.meta(path)
    }
    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        self.0.read_dir(path, each)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.0.unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_fs(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.0.lock(path)
    }
    fn writers(&self, path: &Path) -> io::Result<Writers> {
        self.0.writers(path)
    }
}
