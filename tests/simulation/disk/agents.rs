//! The disk as the agent sees it: counted, and it may fail.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use edgespool::sys::{Create, DirEntry, File, Fs, Kind, Meta, Space, Writers};

use super::fault::Op;
use super::tree::Change;
use super::{SimFs, State, Write};

struct SimFile {
    fs: SimFs,
    path: PathBuf,
    ino: u64,
}

impl SimFile {
    fn open(fs: &SimFs, path: &Path, ino: u64) -> Box<dyn File> {
        let mut state = fs.state();
        state.open += 1;
        state.open_max = state.open_max.max(state.open);
        Box::new(SimFile {
            fs: fs.clone(),
            path: path.to_owned(),
            ino,
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.fs.state().open -= 1;
    }
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(28)
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs.linger();
        let mut state = self.fs.state();
        if state.crashed {
            return Err(io::Error::other("the power is out"));
        }
        if let Some(error) = state.fault(Op::Read, &self.path) {
            return Err(error);
        }
        let content = &state.inode(self.ino)?.now;
        let from = content.len().min(usize::try_from(offset).unwrap());
        let got = buf.len().min(content.len() - from);
        buf[..got].copy_from_slice(&content[from..from + got]);
        Ok(got)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.fs.begin(Op::Write, &self.path)?;
        let offset = usize::try_from(offset).unwrap();
        let fits = state.room(self.ino, offset, data.len());
        state.write(self.ino, Write::At(offset, data[..fits].to_vec()))?;
        if fits < data.len() {
            Err(no_space())
        } else {
            Ok(())
        }
    }

    fn meta(&self) -> io::Result<Meta> {
        self.fs.linger();
        self.fs.state().meta_of(&self.path, self.ino)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.fs.begin(Op::Write, &self.path)?;
        state.write(self.ino, Write::Len(usize::try_from(len).unwrap()))
    }

    fn sync(&self) -> io::Result<()> {
        let begun = self.fs.begin(Op::Sync, &self.path);
        let failed = begun
            .as_ref()
            .err()
            .is_some_and(|e| e.raw_os_error().is_some());
        let mut state = match begun {
            Ok(state) => state,
            Err(e) if failed => {
                // The pages are gone from the queue, and never stored.
                let mut state = self.fs.state();
                if let Some(inode) = state.inodes.get_mut(&self.ino) {
                    inode.unflushed.clear();
                }
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        if state.faults.skips(Op::Sync, &self.path) {
            return Ok(());
        }
        state.flush(self.ino);
        Ok(())
    }
}

impl Fs for SimFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.linger();
        let mut state = self.state();
        if let Some(error) = state.fault(Op::Open, path) {
            return Err(error);
        }
        let ino = state.tree.find(path)?;
        drop(state);
        Ok(SimFile::open(self, path, ino))
    }

    fn create(&self, path: &Path, create: Create) -> io::Result<Box<dyn File>> {
        let found = self.state().tree.find(path);
        let ino = match (found, create) {
            (Ok(_), Create::New) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(ino), Create::Keep) => ino,
            (Err(_), _) => {
                let mut state = self.begin(Op::Create, path)?;
                if state.used() >= state.capacity {
                    return Err(no_space());
                }
                state.make(path, Kind::File)?
            }
        };
        Ok(SimFile::open(self, path, ino))
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.linger();
        let state = self.state();
        let ino = state.tree.find(path)?;
        state.meta_of(path, ino)
    }

    fn read_dir(&self, path: &Path, each: &mut dyn FnMut(DirEntry) -> bool) -> io::Result<()> {
        self.linger();
        let names: Vec<(OsString, Kind)> = {
            let mut state = self.state();
            if let Some(error) = state.fault(Op::Open, path) {
                return Err(error);
            }
            if !state.tree.is_dir(path, &state.inodes) {
                return Err(io::ErrorKind::NotFound.into());
            }
            let below = state.tree.below(path);
            below
                .map(|(name, ino)| (name, state.inodes[&ino].kind))
                .collect()
        };
        for (name, kind) in names {
            if !each(DirEntry {
                name,
                kind: Some(kind),
            }) {
                break;
            }
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Create, path)?;
        if state.tree.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.make(path, Kind::Dir).map(drop)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin(Op::Rename, to)?.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Rename, to)?;
        match state.tree.find(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(_) => state.rename(from, to),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Unlink, path)?;
        let ino = state.tree.find(path)?;
        state.tree.change(Change::Unlink(path.to_owned(), ino));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::Unlink, path)?;
        let ino = state.tree.find(path)?;
        if state.tree.below(path).next().is_some() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.tree.change(Change::Unlink(path.to_owned(), ino));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::SyncDir, path)?;
        if !state.faults.skips(Op::SyncDir, path) {
            state.tree.flush_dir(path);
        }
        Ok(())
    }

    fn sync_fs(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin(Op::SyncFs, path)?;
        if state.faults.skips(Op::SyncFs, path) {
            return Ok(());
        }
        let dev = state.dev(path);
        let mounts = state.mounts.clone();
        let on = |p: &Path| {
            mounts
                .iter()
                .position(|m| p.starts_with(m))
                .map_or(1, |at| at as u64 + 2)
                == dev
        };
        let inos: Vec<u64> = {
            let names = state.tree.now.iter();
            names
                .filter(|(path, _)| on(path))
                .map(|(_, ino)| *ino)
                .collect()
        };
        inos.into_iter().for_each(|ino| state.flush(ino));
        state.tree.flush_where(&on);
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        let state = self.state();
        Ok(Space {
            total: state.capacity,
            free: state.capacity.saturating_sub(state.used()),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        drop(self.create(path, Create::Keep)?);
        let mut state = self.state();
        if std::mem::replace(&mut state.locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Unlock(self.clone())))
    }

    fn writers(&self, path: &Path) -> io::Result<Writers> {
        self.linger();
        let state = self.state();
        let ino = state.tree.find(path)?;
        Ok(match state.inode(ino)?.writers {
            0 => Writers::None,
            _ => Writers::Some,
        })
    }
}

impl State {
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let ino = self.tree.find(from)?;
        if self.dev(from) != self.dev(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        if !self.tree.is_dir(to.parent().unwrap(), &self.inodes) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.tree
            .change(Change::Rename(from.to_owned(), to.to_owned(), ino));
        let now = self.now_ns();
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.ctime_ns = now;
        }
        Ok(())
    }
}

struct Unlock(SimFs);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}
