//! The devices that write files, and the book of what they wrote.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use edgespool::watch::Hint;

use super::disk::SimFs;
use super::hints::Kernel;
use super::time::{Dice, SimClock};

/// Where the files appear.
pub const WATCHED: &str = "/data";
/// How the agent names a source that it looks at before it removes it.
const ASIDE: &[u8] = b".edgespool-taken-";

/// Every content that a path had when it was whole.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub versions: Vec<Vec<u8>>,
    /// The newest version is on the disk for good and was not taken back: it
    /// must arrive.
    pub certain: bool,
    /// Lengths and times (in seconds, as FTP tells them) of the versions.
    stamps: BTreeSet<(usize, i64)>,
    /// Two versions have the same length and time: where the server offers no
    /// hash, nobody can tell which one it has.
    pub ambiguous: bool,
}

impl Page {
    /// Whether two versions of this length are the same: what one brought to the
    /// server counts for both.
    pub fn repeats(&self, size: u64) -> bool {
        let versions = || self.versions.iter().filter(|v| v.len() as u64 == size);
        versions().count() > versions().collect::<BTreeSet<_>>().len()
    }

    fn note(&mut self, disk: &SimFs, file: &Path, content: Vec<u8>) {
        let mtime = disk.raw().mtime(file);
        let stamp = (content.len(), mtime.div_euclid(1_000_000_000));
        self.ambiguous |= !self.stamps.insert(stamp);
        self.versions.push(content);
    }
}

/// What was written, by path below [`WATCHED`].
#[derive(Default)]
pub struct Book {
    pub pages: BTreeMap<PathBuf, Page>,
    /// The file that somebody goes on with, and its inode.
    growing: Option<(PathBuf, u64)>,
}

impl Book {
    fn write(&mut self, disk: &SimFs, path: &Path, content: Vec<u8>, certain: bool) {
        log::info!(
            "written: {}: {}, certain: {certain}",
            path.display(),
            shown(&content)
        );
        let page = self.pages.entry(path.to_owned()).or_default();
        page.note(disk, &Path::new(WATCHED).join(path), content);
        page.certain = certain;
    }

    fn take_back(&mut self, path: &Path) {
        log::info!("removed: {}", path.display());
        if let Some(page) = self.pages.get_mut(path) {
            page.certain = false;
        }
    }

    /// Whether the newest version of a lane's path may be so long.
    pub fn is_newest(&self, lane: &str, path: &[u8], size: u64) -> bool {
        let path = Path::new(lane).join(OsStr::from_bytes(path));
        let page = self.pages.get(&path);
        let newest = page.and_then(|page| page.versions.last());
        newest.is_none_or(|newest| newest.len() as u64 == size)
    }

    /// After a power cut: what stands at the source now is what there is.
    pub fn note_damage(&mut self, disk: &SimFs) {
        self.note_broken_off(disk);
        for file in disk.raw().files(Path::new(WATCHED)) {
            let mut path = file.strip_prefix(WATCHED).unwrap().to_owned();
            let name = path.file_name().unwrap().as_bytes().to_owned();
            if let Some(name) = name.strip_prefix(ASIDE) {
                // The agent looks at it, and gives it back.
                path.set_file_name(OsStr::from_bytes(name));
            } else if name.starts_with(b".") {
                continue;
            }
            let content = disk.raw().content(&file).unwrap();
            let page = self.pages.entry(path).or_default();
            if page.versions.last() != Some(&content) {
                log::info!(
                    "after the power cut: {}: {}",
                    file.display(),
                    shown(&content)
                );
                page.certain = false;
                page.note(disk, &file, content);
            }
        }
    }
}

impl Book {
    /// Some of what was to follow may be there, wherever the file stands now; or
    /// nothing, and the same content has another time.
    fn note_broken_off(&mut self, disk: &SimFs) {
        let Some((path, ino)) = self.growing.take() else {
            return;
        };
        let (Some(content), Some(page)) = (disk.raw().content_of(ino), self.pages.get_mut(&path))
        else {
            return;
        };
        log::info!("broken off: {}: {}", path.display(), shown(&content));
        (page.certain, page.ambiguous) = (false, true);
        page.versions.push(content);
    }
}

/// A content, short.
pub fn shown(content: &[u8]) -> String {
    let end = content.len().min(12);
    format!("{} bytes {}", content.len(), content[..end].escape_ascii())
}

/// A device that writes files, until it has written them all.
pub struct Producer {
    pub disk: SimFs,
    pub clock: SimClock,
    pub dice: Dice,
    pub kernel: Kernel,
    pub lanes: &'static [&'static str],
    pub book: Rc<RefCell<Book>>,
    /// Files and rewrites in all.
    pub actions: u64,
    /// Longest pause between two.
    pub pause_max: Duration,
    /// Every write is flushed before the next one.
    pub careful: bool,
    /// No file is longer.
    pub len_max: usize,
    /// Some take their time when they go on with a file.
    pub dawdles: Option<Dice>,
}

impl Producer {
    pub async fn run(self) {
        let mut serial = 0;
        for _ in 0..self.actions {
            let pause = u64::try_from(self.pause_max.as_millis()).unwrap();
            let pause = Duration::from_millis(self.dice.below(pause + 1));
            self.clock.sleep(pause).await;
            serial += 1;
            let old = self.old_path();
            match (self.dice.below(10), old) {
                (0, Some(path)) => self.remove(&path),
                (1, Some(path)) => self.append(&path, serial).await,
                (2 | 3, Some(path)) => self.rename_in(&path, serial),
                (4, _) => self.write_slowly(&self.new_path(serial), serial).await,
                _ => self.rename_in_and_on(&self.new_path(serial), serial).await,
            }
        }
    }

    fn old_path(&self) -> Option<PathBuf> {
        let book = self.book.borrow();
        let at = self.dice.size(book.pages.len());
        book.pages.keys().nth(at).cloned()
    }

    fn new_path(&self, serial: u64) -> PathBuf {
        let dir = self.dice.pick(&["", "", "day", "day/hour", "a b"]);
        let dir = Path::new(self.dice.pick(self.lanes)).join(dir);
        let place = Self::place(&dir);
        if self.disk.raw().make_dirs(&place) {
            self.kernel.tell(&place, Hint::CreatedDir);
        }
        dir.join(format!("image-{serial}.jpg"))
    }

    /// No two are alike, though many are as long as others.
    fn content(&self, serial: u64) -> Vec<u8> {
        let len = match self.dice.below(12) {
            0 => 0,
            1 => self.dice.size(self.len_max.min(200_000)),
            2..=6 => 1000,
            _ => self.dice.size(6000),
        };
        let len = len.min(self.len_max);
        let mut content = format!("{serial}:{};", self.dice.below(u64::MAX)).into_bytes();
        while content.len() < len {
            let byte = self.dice.below(256);
            content.extend_from_slice(&byte.to_le_bytes());
        }
        content.truncate(len.max(if len == 0 { 0 } else { 24 }));
        content
    }

    fn place(path: &Path) -> PathBuf {
        Path::new(WATCHED).join(path)
    }

    /// A temporary name, then the final one, as good writers do.
    fn rename_in(&self, path: &Path, serial: u64) {
        let (disk, to) = (self.disk.raw(), Self::place(path));
        let content = self.content(serial);
        let from = to.with_file_name(format!(".{serial}.tmp"));
        let Some(ino) = disk.open_writer(&from, true) else {
            return;
        };
        disk.append(ino, &content);
        disk.close_writer(ino);
        disk.sync(ino);
        disk.rename(&from, &to);
        let certain = self.careful || self.dice.percent(60);
        if certain {
            disk.sync_dir(to.parent().unwrap());
        }
        self.kernel.tell(&to, Hint::Finished);
        self.book
            .borrow_mut()
            .write(&self.disk, path, content, certain);
    }

    /// The same, and some think better of it.
    async fn rename_in_and_on(&self, path: &Path, serial: u64) {
        self.rename_in(path, serial);
        if let Some(dice) = self.dawdles.as_ref().filter(|dice| dice.percent(75)) {
            let pause = Duration::from_millis(dice.below(500));
            self.clock.sleep(pause).await;
            self.append(path, serial).await;
        }
    }

    /// A file that was there all along.
    pub fn place_whole(&self, path: &Path, content: &[u8]) {
        let (disk, to) = (self.disk.raw(), Self::place(path));
        disk.make_dirs(to.parent().unwrap());
        if let Some(ino) = disk.open_writer(&to, true) {
            disk.append(ino, content);
            disk.close_writer(ino);
            self.finish(ino, path, content.to_vec());
        }
    }

    /// Piece by piece under the final name.
    async fn write_slowly(&self, path: &Path, serial: u64) {
        let to = Self::place(path);
        let content = self.content(serial);
        let Some(ino) = self.disk.raw().open_writer(&to, true) else {
            return;
        };
        self.kernel.tell(&to, Hint::CreatedFile);
        let cuts = self.disk.cuts();
        for piece in content.chunks(content.len() / 3 + 1) {
            self.disk.raw().append(ino, piece);
            let pause = Duration::from_millis(self.dice.below(4000));
            self.clock.sleep(pause).await;
            if self.disk.cuts() > cuts {
                return;
            }
        }
        self.disk.raw().close_writer(ino);
        self.finish(ino, path, content);
    }

    async fn append(&self, path: &Path, serial: u64) {
        let to = Self::place(path);
        let (disk, cuts) = (self.disk.raw(), self.disk.cuts());
        let mut content = disk.content(&to).unwrap_or_default();
        let more = self.content(serial);
        if more.is_empty() || content.len() + more.len() > self.len_max {
            return;
        }
        let Some(ino) = disk.open_writer(&to, false) else {
            return;
        };
        self.book.borrow_mut().growing = Some((path.to_owned(), ino));
        let (first, rest) = more.split_at(more.len() / 2);
        for piece in [first, rest] {
            if let Some(dice) = &self.dawdles {
                let longest = dice.pick(&[100, 5_000, 60_000]);
                let pause = Duration::from_millis(dice.below(longest));
                self.clock.sleep(pause).await;
                if self.disk.cuts() > cuts {
                    return;
                }
            }
            disk.append(ino, piece);
        }
        disk.close_writer(ino);
        self.book.borrow_mut().growing = None;
        content.extend_from_slice(&more);
        self.finish(ino, path, content);
    }

    fn finish(&self, ino: u64, path: &Path, content: Vec<u8>) {
        self.kernel.tell(&Self::place(path), Hint::Finished);
        let certain = self.careful || self.dice.percent(60);
        if certain {
            self.disk.raw().sync(ino);
            self.disk
                .raw()
                .sync_dir(Self::place(path).parent().unwrap());
        }
        self.book
            .borrow_mut()
            .write(&self.disk, path, content, certain);
    }

    fn remove(&self, path: &Path) {
        if self.disk.raw().unlink(&Self::place(path)) {
            self.book.borrow_mut().take_back(path);
        }
    }
}
