//! Our side of a file: read in chunks on the pool, one chunk ahead of the
//! network, and hashed on the way when a hash is wanted.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crate::ftp::digest::Hasher;
use crate::sys::{File, Pool};

/// Reads one file from an offset to its end. Two chunks are in memory at most.
pub(super) struct Source {
    file: Arc<dyn File>,
    pool: Pool,
    /// Where the next read begins.
    offset: u64,
    /// The size that was promised.
    end: u64,
    chunk_len: usize,
    hasher: Option<Hasher>,
    ahead: Option<Reading>,
    spare: Vec<u8>,
}

type Reading = Pin<Box<dyn Future<Output = Read>>>;

struct Read {
    buf: Vec<u8>,
    hasher: Option<Hasher>,
    result: io::Result<()>,
}

impl Source {
    /// Reads from `offset` to `end`; `hasher` sees every byte that is read.
    pub(super) fn new(
        file: Arc<dyn File>,
        pool: Pool,
        (offset, end): (u64, u64),
        chunk_len: usize,
        hasher: Option<Hasher>,
    ) -> Source {
        Source {
            file,
            pool,
            offset,
            end,
            chunk_len,
            hasher,
            ahead: None,
            spare: Vec::new(),
        }
    }

    /// Puts the next chunk into `chunk`, whose old buffer is used again; it is
    /// empty at the end.
    ///
    /// # Errors
    /// What the disk says; `UnexpectedEof` when the file is shorter than promised.
    pub(super) async fn next(&mut self, chunk: &mut Vec<u8>) -> io::Result<()> {
        self.spare = std::mem::take(chunk);
        if let Some(rest) = self.take_cached() {
            *chunk = rest;
            return Ok(());
        }
        self.begin();
        let Some(reading) = self.ahead.take() else {
            return Ok(());
        };
        let read = reading.await;
        self.hasher = read.hasher;
        read.result?;
        *chunk = read.buf;
        self.begin();
        if let Some(ahead) = &mut self.ahead {
            // Only a polled read has begun. What is ready at once is kept too.
            if let Some(read) = smol::future::poll_once(ahead).await {
                self.ahead = Some(Box::pin(std::future::ready(read)));
            }
        }
        Ok(())
    }

    /// The file and the part of it that is left, when nobody has to see the
    /// bytes: then they need not be read at all. Call it before [`Source::next`].
    /// A small file is faster read than handed to a thread.
    pub(super) fn unseen(&self) -> Option<(Arc<dyn File>, u64, u64)> {
        let unseen = self.hasher.is_none() && self.ahead.is_none();
        (unseen && self.left() > SMALL_LEN).then(|| (self.file.clone(), self.offset, self.end))
    }

    /// Goes on at `offset`: what stands before it was sent unseen.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// The hash of all that was read.
    pub(super) fn into_hash(self) -> Option<Vec<u8>> {
        self.hasher.map(Hasher::finish)
    }

    fn left(&self) -> u64 {
        self.end.saturating_sub(self.offset)
    }

    /// All that is left, when it is little and in memory already: most files
    /// were written a moment ago, and two changes of threads cost more than
    /// reading one.
    fn take_cached(&mut self) -> Option<Vec<u8>> {
        let left = self.left();
        if self.ahead.is_some() || left == 0 || left > SMALL_LEN {
            return None;
        }
        let mut buf = std::mem::take(&mut self.spare);
        buf.resize(usize::try_from(left).ok()?, 0);
        match self.file.read_cached(&mut buf, self.offset) {
            Ok(n) if n == buf.len() => {}
            _ => {
                self.spare = buf;
                return None;
            }
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf);
        }
        self.offset = self.end;
        Some(buf)
    }

    fn begin(&mut self) {
        let left = self.left();
        if self.ahead.is_some() || left == 0 {
            return;
        }
        let len = usize::try_from(left).map_or(self.chunk_len, |left| left.min(self.chunk_len));
        let mut buf = std::mem::take(&mut self.spare);
        buf.resize(len, 0);
        let (file, pool, offset) = (self.file.clone(), self.pool.clone(), self.offset);
        let mut hasher = self.hasher.take();
        self.offset += len as u64;
        self.ahead = Some(Box::pin(async move {
            pool.run(move || {
                let result = fill(&*file, &mut buf, offset);
                if let (Some(hasher), Ok(())) = (&mut hasher, &result) {
                    hasher.update(&buf);
                }
                Read {
                    buf,
                    hasher,
                    result,
                }
            })
            .await
        }));
    }
}

/// What is read at once when it is in memory.
const SMALL_LEN: u64 = 64 << 10;

/// The file has an end before the size that was promised.
pub(super) fn shrank() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file is shorter than it was when it was queued",
    )
}

fn fill(file: &dyn File, mut buf: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        let got = file.read_at(buf, offset)?;
        if got == 0 {
            return Err(shrank());
        }
        offset += got as u64;
        buf = buf.get_mut(got..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Kind, Meta};

    /// Content, and whether some of it is in memory.
    struct Bytes(Vec<u8>, bool);

    impl File for Bytes {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
            let n = rest.len().min(buf.len()).min(90); // short reads are allowed
            buf[..n].copy_from_slice(&rest[..n]);
            Ok(n)
        }
        fn read_cached(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            match self.1 {
                true => self.read_at(buf, offset),
                false => Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        fn write_at(&self, _data: &[u8], _offset: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn meta(&self) -> io::Result<Meta> {
            Ok(Meta {
                kind: Kind::File,
                dev: 0,
                ino: 0,
                size: self.0.len() as u64,
                mtime_ns: 0,
                ctime_ns: 0,
                mode: 0,
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

    fn read(
        content: &[u8],
        cached: bool,
        range: (u64, u64),
        pool: Pool,
    ) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let file = Arc::new(Bytes(content.to_vec(), cached));
        let hasher = Hasher::Crc32(crc32fast::Hasher::new());
        let mut source = Source::new(file, pool, range, 16, Some(hasher));
        let (mut all, mut chunk) = (Vec::new(), Vec::new());
        smol::block_on(async {
            loop {
                source.next(&mut chunk).await?;
                if chunk.is_empty() {
                    break Ok(());
                }
                all.extend_from_slice(&chunk);
            }
        })
        .map(|()| (all, source.into_hash().unwrap()))
    }

    #[test]
    fn every_byte_comes_once_and_is_hashed() {
        let content: Vec<u8> = (0..=255).collect();
        for pool in [Pool::inline(), Pool::new(2).unwrap()] {
            for from in [0, 1, 15, 16, 17, 170, 255, 256] {
                for cached in [false, true] {
                    let (all, hash) = read(&content, cached, (from, 256), pool.clone()).unwrap();
                    let expected = &content[usize::try_from(from).unwrap()..];
                    assert_eq!(all, expected);
                    assert_eq!(hash, crc32fast::hash(expected).to_be_bytes());
                }
            }
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error_and_never_a_short_upload() {
        for cached in [false, true] {
            let error = read(b"short", cached, (0, 100), Pool::inline()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
}
