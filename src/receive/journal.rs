//! What was transferred: a log line each, and one line of JSON in a file that
//! cannot grow without end.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use smol::channel::{Receiver, Sender, bounded};

use crate::ftp::text::printable;
use crate::sys::{Create, Fs, Sys, Wall};

/// One transfer that came to an end, well or not.
pub(super) struct Record<'a> {
    /// `stored`, `retrieved` or `taken` (renamed into a lane).
    pub(super) what: &'static str,
    pub(super) user: &'a str,
    pub(super) peer: IpAddr,
    /// The path as the client knows it.
    pub(super) path: &'a [u8],
    /// Bytes that went over the data connection.
    pub(super) bytes: u64,
    pub(super) span: Duration,
    /// The code of the final reply, and its words.
    pub(super) reply: (u16, &'a str),
}

/// Where the records go. They are written behind the transfers' backs, so that
/// no client waits for them.
pub(super) struct Journal {
    sys: Sys,
    file: Option<PathBuf>,
    queue: (Sender<String>, Receiver<String>),
}

impl Journal {
    /// `dir` holds `received.jsonl` and, before it, `received.1.jsonl`; without
    /// one there are log lines alone.
    pub(super) fn new(sys: &Sys, dir: Option<&Path>) -> Journal {
        Journal {
            sys: sys.clone(),
            file: dir.map(|dir| dir.join("received.jsonl")),
            queue: bounded(QUEUE_MAX),
        }
    }

    /// Logs one, and has it written soon.
    pub(super) fn add(&self, record: &Record<'_>) {
        let (user, path) = (record.user, printable(record.path, PATH_CHARS_MAX));
        let (code, words) = record.reply;
        let line = format!(
            "{user}@{}: {} {path}, {} bytes in {:.3} s: {code} {words}",
            record.peer,
            record.what,
            record.bytes,
            record.span.as_secs_f64(),
        );
        let level = match code {
            ..400 => log::Level::Info,
            _ => log::Level::Warn,
        };
        log::log!(level, "{line}");
        let queued = self.file.is_none()
            || self
                .queue
                .0
                .try_send(record.json(self.sys.clock.wall()))
                .is_ok();
        if !queued {
            log::warn!("the receiver's journal leaves this out: {QUEUE_MAX} records wait");
        }
    }

    /// Writes what comes; never ends.
    pub(super) async fn work(&self) {
        while let Ok(first) = self.queue.1.recv().await {
            self.write(first).await;
        }
    }

    /// Writes what still waits.
    pub(super) async fn finish(&self) {
        if let Ok(first) = self.queue.1.try_recv() {
            self.write(first).await;
        }
    }

    /// Writes one and those that wait behind it. What cannot be written is said
    /// and forgotten: the journal is for people, and no promise depends on it.
    async fn write(&self, first: String) {
        let mut lines = first;
        while lines.len() < BATCH_BYTES_MAX
            && let Ok(line) = self.queue.1.try_recv()
        {
            lines.push_str(&line);
        }
        let Some(file) = self.file.clone() else {
            return;
        };
        let fs = self.sys.fs.clone();
        let append = move || append(&*fs, &file, lines.as_bytes());
        if let Err(error) = self.sys.pool.run(append).await {
            log::warn!("the receiver's journal: {error}");
        }
    }
}

impl Record<'_> {
    fn json(&self, now: Wall) -> String {
        let time = jiff::Timestamp::from_nanosecond(now.0.into()).unwrap_or_default();
        let mut line = serde_json::json!({
            "time": format!("{time:.3}"),
            "what": self.what,
            "user": self.user,
            "from": self.peer.to_string(),
            "path": String::from_utf8_lossy(self.path),
            "bytes": self.bytes,
            "seconds": self.span.as_secs_f64(),
            "reply": self.reply.0,
        })
        .to_string();
        line.push('\n');
        line
    }
}

fn append(fs: &dyn Fs, path: &Path, line: &[u8]) -> io::Result<()> {
    let file = fs.create(path, Create::Keep)?;
    let size = file.meta()?.size;
    if size + line.len() as u64 <= FILE_BYTES_MAX {
        return file.write_at(line, size);
    }
    fs.rename(path, &path.with_extension("1.jsonl"))?;
    fs.create(path, Create::Keep)?.write_at(line, 0)
}

/// Of each of the two files.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Records that wait to be written, at most.
const QUEUE_MAX: usize = 1024;
/// Of records that are written at once, about.
const BATCH_BYTES_MAX: usize = 64 << 10;
/// Of a path that is logged.
const PATH_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsFs;

    #[test]
    fn two_files_hold_the_newest_lines_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("received.jsonl");
        let line = vec![b'x'; 100_000];
        for _ in 0..35 {
            append(&OsFs, &path, &line).unwrap();
        }
        let size = |name: &str| dir.path().join(name).metadata().unwrap().len();
        assert_eq!(size("received.jsonl"), 500_000);
        assert_eq!(size("received.1.jsonl"), 1_000_000);
        assert_eq!(dir.path().read_dir().unwrap().count(), 2);
    }

    #[test]
    fn a_record_is_one_line_of_json_whatever_the_path() {
        let record = Record {
            what: "stored",
            user: "camera",
            peer: "192.0.2.7".parse().unwrap(),
            path: b"/a\n\"b\xff",
            bytes: 7,
            span: Duration::from_millis(1500),
            reply: (226, "fine"),
        };
        let line = record.json(Wall(1_577_934_245_000_000_000));
        assert_eq!(line.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["path"], "/a\n\"b\u{fffd}");
        assert_eq!(read["time"], "2020-01-02T03:04:05.000Z");
        assert_eq!((&read["bytes"], &read["seconds"]), (&7.into(), &1.5.into()));
    }
}
