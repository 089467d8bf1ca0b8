//! The test file of `check`, and how it is delivered.

use std::io;
use std::sync::Arc;

use super::super::context::Context;
use crate::config::{self, Publish, remote::Facts};
use crate::ftp::path::RemotePath;
use crate::sys::{File, Kind, LocalFuture, Meta, Wall};
use crate::upload::{Class, Delivered, Failure, Feed, Job, Session, Step};

/// What is uploaded, and where to.
pub(super) struct TestFile {
    tag: String,
    /// Its final name on the server.
    pub(super) path: Vec<u8>,
    /// Its name until it is whole; the final one with `publish = "direct"`.
    pub(super) temporary: Vec<u8>,
    /// Its modification time.
    now: Wall,
}

impl TestFile {
    /// In the directory that files of the first watch go to.
    pub(super) fn new(context: &Context, server: &config::Server) -> Result<TestFile, String> {
        let Context { sys, config } = context;
        let now = sys.clock.wall();
        let tag = format!("{:016x}", sys.rng.next_u64());
        let name = format!("edgespool-check-{tag}.tmp").into_bytes();
        let watch = config.watches.iter().find(|w| w.server == server.name);
        let expanded = watch.or(config.watches.first()).and_then(|watch| {
            let facts = Facts {
                device: &config.device,
                watch: &watch.name,
                path: &name,
                mtime_ns: now.0,
                zone: &jiff::tz::TimeZone::system(),
            };
            watch.remote.expand(&facts).ok()
        });
        let like = RemotePath::new(&expanded.unwrap_or_else(|| b"/x".to_vec()));
        let path = like
            .and_then(|like| like.with_file_name(&name))
            .map_err(|e| e.to_string())?;
        let temporary = match server.publish {
            Publish::Rename => path.temporary(&tag).map_err(|e| e.to_string())?,
            Publish::Direct => path.clone(),
        };
        Ok(TestFile {
            tag,
            path: path.as_bytes().to_vec(),
            temporary: temporary.as_bytes().to_vec(),
            now,
        })
    }

    /// The first half, under the temporary name.
    pub(super) fn half(&self) -> Job {
        self.job(&self.temporary, HALF, false)
    }

    /// All of it, as an entry that was tried before.
    pub(super) fn whole(&self) -> Job {
        self.job(&self.path, SIZE, true)
    }

    fn job(&self, path: &[u8], size: u64, tried: bool) -> Job {
        Job {
            id: 1,
            tag: self.tag.clone(),
            path: path.to_vec(),
            size,
            mtime: Some(self.now.secs()),
            content: Arc::new(Pattern {
                size,
                mtime_ns: self.now.0,
            }),
            tried,
            is_later_version: false,
        }
    }
}

/// Runs one job to its end; gives how it was delivered, and the bytes that were
/// sent for it.
pub(super) async fn deliver(session: &mut Session, job: Job) -> Result<(Delivered, u64), Failure> {
    let mut feed = One {
        job: Some(job),
        end: None,
    };
    let ran = session.run(&mut feed).await;
    match feed.end {
        Some((sent, result)) => result.map(|delivered| (delivered, sent)),
        None => {
            ran?;
            let nothing = "the session ended without a result";
            Err(Failure::new(
                Class::Network,
                Step::Store,
                "test file",
                nothing,
            ))
        }
    }
}

/// A feed of one job.
struct One {
    job: Option<Job>,
    end: Option<(u64, Result<Delivered, Failure>)>,
}

impl Feed for One {
    fn try_next(&mut self) -> Option<Job> {
        self.job.take()
    }

    fn progress(&mut self, _id: u64, _position: u64) {}

    fn throttle(&mut self, _bytes: usize) -> Option<LocalFuture<'static, ()>> {
        None
    }

    fn done(&mut self, _id: u64, sent: u64, result: Result<Delivered, Failure>) {
        self.end = Some((sent, result));
    }
}

/// Made-up content in which every offset looks different: the bytes of a
/// counter, so that a wrong resume is noticed, and CR LF in plenty, so that a
/// transfer in ASCII is too.
struct Pattern {
    size: u64,
    mtime_ns: i64,
}

impl File for Pattern {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        for (byte, at) in buf.iter_mut().zip(offset..self.size) {
            *byte = pattern(at);
            filled += 1;
        }
        Ok(filled)
    }

    fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(Meta {
            kind: Kind::File,
            dev: 0,
            ino: 0,
            size: self.size,
            mtime_ns: self.mtime_ns,
            ctime_ns: 0,
            mode: 0o400,
            nlink: 1,
        })
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn pattern(at: u64) -> u8 {
    let [low, high, ..] = (at / 4).to_le_bytes();
    match at % 4 {
        0 => low,
        1 => high,
        2 => b'\r',
        _ => b'\n',
    }
}

/// Bytes; small, because the link may be metered.
pub(super) const SIZE: u64 = 4096;
/// What the cut upload leaves.
pub(super) const HALF: u64 = 2048;
