//! Directories: LIST, NLST and MLSD over a data connection, STAT over the
//! control connection.

use super::transfer::{Ended, Outgoing};
use super::{End, Session, refusal};
use crate::ftp::serve::Answer;
use crate::ftp::serve::listing::{self, Facts, Form, Item, ItemKind};
use crate::receive::files::{Account, FileError, Listing, VirtualPath};
use crate::receive::tls::Way;
use crate::sys::{Kind, Meta};

/// Where the entries come from.
enum Source {
    Dir(Listing),
    /// A file that was asked for by its name.
    One(Option<Item>),
}

impl Session {
    /// LIST, NLST and MLSD.
    pub(super) async fn list(&mut self, form: Form, path: &[u8]) -> Result<Answer, End> {
        let Some(account) = self.account.clone() else {
            return Ok(Answer::new(530, "log in with USER and PASS first"));
        };
        let opened = match self.resolve(path) {
            Ok(path) => open(&account, form, &path).await,
            Err(error) => Err(error),
        };
        let mut source = match opened {
            Ok(source) => source,
            Err(error) => {
                self.data = None;
                return Ok(refusal(&error));
            }
        };
        let mut outgoing = match self.begin(Way::Out, "here comes the listing").await? {
            Ok(wire) => Outgoing::new(wire),
            Err(answer) => return Ok(answer),
        };
        let facts = self.state.facts();
        loop {
            let items = match self.next_items(source, &account).await {
                Ok((_, items)) if items.is_empty() => break,
                Ok((rest, items)) => {
                    source = rest;
                    items
                }
                Err(error) => return Ok(refusal(&error)),
            };
            let text = write(form, facts, &items, self.now());
            if let Some(ended) = self.put(&mut outgoing, &text).await {
                return self.cut(ended);
            }
        }
        match self.finish(outgoing).await {
            Ended::Whole => Ok(Answer::new(226, "that was all")),
            ended => self.cut(ended),
        }
    }

    /// STAT with a path: bounded, because it goes over the control connection.
    pub(super) async fn list_here(
        &mut self,
        account: &Account,
        path: &[u8],
    ) -> Result<Answer, FileError> {
        let path = self.resolve(path)?;
        let source = open(account, Form::Long, &path).await?;
        let (_, items) = self.next_items(source, account).await?;
        let text = write(Form::Long, Facts::default(), &items, self.now());
        let lines = text.split(|b| *b == b'\n').map(<[u8]>::trim_ascii_end);
        let lines = lines.filter(|line| !line.is_empty());
        let last = match items.len() {
            STEP => "there may be more: use LIST",
            _ => "End",
        };
        Ok(Answer::many(213, "Status:", lines, last))
    }

    async fn next_items(
        &mut self,
        source: Source,
        account: &Account,
    ) -> Result<(Source, Vec<Item>), FileError> {
        match source {
            Source::One(item) => Ok((Source::One(None), item.into_iter().collect())),
            Source::Dir(mut listing) => {
                let step = move || {
                    let names = listing.next(STEP);
                    (listing, names)
                };
                let (listing, names) = self.shared.sys.pool.run(step).await;
                let items = names?.into_iter();
                let items = items.map(|(name, meta)| item(name, &meta, account));
                Ok((Source::Dir(listing), items.collect()))
            }
        }
    }

    fn now(&self) -> i64 {
        self.shared.sys.clock.wall().0.div_euclid(1_000_000_000)
    }
}

async fn open(account: &Account, form: Form, path: &VirtualPath) -> Result<Source, FileError> {
    match account.list(path).await {
        Ok(listing) => Ok(Source::Dir(listing)),
        Err(FileError::NotDirectory) if form != Form::Machine => {
            let meta = account.meta(path).await?;
            Ok(Source::One(Some(item(
                path.name().to_vec(),
                &meta,
                account,
            ))))
        }
        Err(error) => Err(error),
    }
}

fn write(form: Form, facts: Facts, items: &[Item], now: i64) -> Vec<u8> {
    let mut text = Vec::new();
    for item in items {
        listing::write(form, facts, item, now, &mut text);
    }
    text
}

/// What a client may know of a file.
pub(super) fn item(name: Vec<u8>, meta: &Meta, account: &Account) -> Item {
    let kind = match meta.kind {
        Kind::File => ItemKind::File,
        Kind::Dir => ItemKind::Dir,
        Kind::Symlink | Kind::Other => ItemKind::Other,
    };
    Item {
        name,
        kind,
        size: meta.size,
        modified: meta.mtime_ns.div_euclid(1_000_000_000),
        mode: meta.mode,
        unique: (meta.dev, meta.ino),
        perm: perm(kind, account),
    }
}

/// RFC 3659 §7.5.5.
fn perm(kind: ItemKind, account: &Account) -> String {
    let may = account.permissions();
    let letters: &[(bool, char)] = match kind {
        ItemKind::File => &[
            (may.overwrite, 'a'),
            (may.delete, 'd'),
            (may.rename, 'f'),
            (may.read, 'r'),
            (may.overwrite, 'w'),
        ],
        ItemKind::Dir => &[
            (may.upload, 'c'),
            (may.delete, 'd'),
            (true, 'e'),
            (may.rename, 'f'),
            (may.list, 'l'),
            (may.mkdir, 'm'),
            (may.delete, 'p'),
        ],
        ItemKind::Other => &[(may.delete, 'd')],
    };
    let granted = letters.iter().filter(|(granted, _)| *granted);
    granted.map(|(_, letter)| *letter).collect()
}

/// Entries that are read, and held, at a time.
const STEP: usize = 128;
