//! The commands on files and directories that need no data connection.

use super::list::item;
use super::{Session, refusal};
use crate::ftp::command::Verb;
use crate::ftp::path::quote;
use crate::ftp::serve::{Answer, Request, listing};
use crate::ftp::time::FtpTime;
use crate::receive::files::{Account, FileError, VirtualPath};
use crate::receive::journal::Record;
use crate::sys::{Kind, Meta};

impl Session {
    /// Does one of them, and answers.
    pub(super) async fn on_files(&mut self, request: Request) -> Answer {
        let Some(account) = self.account.clone() else {
            return Answer::new(530, "log in with USER and PASS first");
        };
        let done = match request {
            Request::Status(path) if path.is_empty() => return self.status(),
            Request::Rename(from, to) => self.rename(&account, &from, &to).await,
            Request::ChangeDir(path) => self.change_dir(&account, &path).await,
            Request::RenameFrom(path) => self.rename_from(&account, path).await,
            other => self.on_file(&account, other).await,
        };
        done.unwrap_or_else(|error| refusal(&error))
    }

    async fn on_file(&mut self, account: &Account, request: Request) -> Result<Answer, FileError> {
        let fine = |text: &str| Answer::new(250, text);
        Ok(match request {
            Request::Status(path) => self.list_here(account, &path).await?,
            Request::Facts(path) => self.facts(account, &path).await?,
            Request::Digest(command, algorithm, path) => {
                self.digest(account, command, algorithm, &path).await?
            }
            Request::Size(path) => {
                let meta = account.meta(&self.resolve(&path)?).await?;
                Answer::new(213, of_file(&meta)?.size.to_string())
            }
            Request::Modified(path) => {
                let meta = account.meta(&self.resolve(&path)?).await?;
                Answer::new(213, time(of_file(&meta)?)?.to_string())
            }
            Request::SetModified(verb, time, path) => {
                let path = self.resolve(&path)?;
                account.set_mtime(&path, time.unix_secs()).await?;
                set_time(verb, time, &path)
            }
            Request::SetMode(mode, path) => {
                let path = self.resolve(&path)?;
                account.set_mode(&path, u32::from(mode) & 0o777).await?;
                Answer::new(200, "mode set")
            }
            Request::Delete(path) => {
                account.delete(&self.resolve(&path)?).await?;
                fine("deleted")
            }
            Request::RemoveDir(path) => {
                account.remove_dir(&self.resolve(&path)?).await?;
                fine("removed")
            }
            Request::MakeDir(path) => {
                let path = self.resolve(&path)?;
                match account.make_dir(&path).await {
                    // As clients expect it that make directories to be sure.
                    Err(FileError::Exists) => return Ok(Answer::new(550, "it exists already")),
                    made => made?,
                }
                Answer::new(257, [&quote(&path.to_bytes())[..], b" made"].concat())
            }
            other => {
                // What is left has a path of its own, or nothing to do with files.
                log::error!("{other:?} has no place among the files");
                Answer::new(502, "this server does without that command")
            }
        })
    }

    async fn change_dir(&mut self, account: &Account, path: &[u8]) -> Result<Answer, FileError> {
        let path = self.resolve(path)?;
        account.enter(&path).await?;
        let path = path.to_bytes();
        let text = [&quote(&path)[..], b" is the current directory"].concat();
        self.state.changed_dir(path);
        Ok(Answer::new(250, text))
    }

    async fn rename_from(&mut self, account: &Account, path: Vec<u8>) -> Result<Answer, FileError> {
        account.rename_from(&self.resolve(&path)?).await?;
        self.state.renames(path);
        Ok(Answer::new(350, "and its new name, please"))
    }

    /// RNTO. In a lane's folder it may be what makes a file complete.
    async fn rename(
        &mut self,
        account: &Account,
        from: &[u8],
        to: &[u8],
    ) -> Result<Answer, FileError> {
        let (from, to) = (self.resolve(from)?, self.resolve(to)?);
        let now = self.shared.sys.clock.mono();
        if let Some(received) = account.rename(&from, &to).await? {
            self.shared.received(&received);
            let record = Record {
                what: "taken",
                user: account.name(),
                peer: self.peer,
                path: &to.to_bytes(),
                bytes: received.size,
                span: self.shared.sys.clock.mono().since(now),
                reply: (250, "renamed"),
            };
            self.shared.journal.add(&record);
        }
        Ok(Answer::new(250, "renamed"))
    }

    async fn facts(&mut self, account: &Account, path: &[u8]) -> Result<Answer, FileError> {
        let path = self.resolve(path)?;
        let item = item(path.to_bytes(), &account.meta(&path).await?, account);
        let facts = listing::machine(self.state.facts(), &item);
        let line = [facts.as_bytes(), &item.name].concat();
        Ok(Answer::many(250, "Facts:", [line], "End"))
    }

    /// STAT without a path.
    pub(super) fn status(&self) -> Answer {
        let mut lines = vec![format!("connected from {}", self.peer)];
        if let Some(account) = &self.account {
            lines.push(format!("logged in as {}", account.name()));
        }
        lines.extend(self.state.describe());
        Answer::many(211, "edgespool:", lines, "End")
    }
}

fn of_file(meta: &Meta) -> Result<&Meta, FileError> {
    match meta.kind {
        Kind::File => Ok(meta),
        Kind::Dir => Err(FileError::IsDirectory),
        Kind::Symlink | Kind::Other => Err(FileError::NotFound),
    }
}

fn time(meta: &Meta) -> Result<FtpTime, FileError> {
    let seconds = meta.mtime_ns.div_euclid(1_000_000_000);
    FtpTime::from_unix(seconds).ok_or(FileError::NotFound)
}

fn set_time(verb: Verb, time: FtpTime, path: &VirtualPath) -> Answer {
    let shown = path.to_bytes();
    match verb {
        Verb::Mfmt => {
            let head = format!("Modify={time}; ");
            Answer::new(213, [head.as_bytes(), &shown].concat())
        }
        _ => Answer::new(200, "time set"),
    }
}
