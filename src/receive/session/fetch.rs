//! Downloads: RETR.

use std::sync::Arc;

use super::transfer::{BUFFER_BYTES, Ended, Outgoing, cut_answer};
use super::{End, Session, refusal};
use crate::ftp::serve::Answer;
use crate::ftp::serve::ascii::ToNet;
use crate::receive::files::{Account, FileError, VirtualPath};
use crate::receive::tls::Way;
use crate::sys::File;

impl Session {
    /// RETR, with REST before it or not.
    pub(super) async fn send(
        &mut self,
        path: &[u8],
        offset: u64,
        ascii: bool,
    ) -> Result<Answer, End> {
        let Some(account) = self.account.clone() else {
            return Ok(Answer::new(530, "log in with USER and PASS first"));
        };
        let (path, file, size) = match self.open_file(&account, path, offset).await {
            Ok(opened) => opened,
            Err(error) => {
                self.data = None;
                return Ok(refusal(&error));
            }
        };
        let text = match ascii {
            true => "here comes the text".to_owned(),
            // Clients read the number for their progress.
            false => format!("here it comes ({} bytes)", size - offset),
        };
        let began = self.shared.sys.clock.mono();
        let mut outgoing = match self.begin(Way::Out, &text).await? {
            Ok(wire) => Outgoing::new(wire),
            Err(answer) => return Ok(answer),
        };
        let stopped = match ascii {
            true => self.send_text(&mut outgoing, file).await,
            false => self.send_bytes(&mut outgoing, file, offset).await,
        };
        let bytes = outgoing.sent;
        let ended = match stopped {
            Ok(()) => Ok(self.finish(outgoing).await),
            Err(error) => Err(error),
        };
        let answer = match &ended {
            Ok(Ended::Whole) => Answer::new(226, "sent"),
            Ok(ended) => cut_answer(ended),
            Err(Unsent::File(error)) => refusal(error),
            Err(Unsent::Data(ended)) => cut_answer(ended),
        };
        self.note("retrieved", &account, &path, bytes, began, &answer);
        match ended {
            Ok(Ended::Lost(error)) | Err(Unsent::Data(Ended::Lost(error))) => Err(End::Gone(error)),
            _ => Ok(answer),
        }
    }

    async fn open_file(
        &mut self,
        account: &Account,
        path: &[u8],
        offset: u64,
    ) -> Result<(VirtualPath, Arc<dyn File>, u64), FileError> {
        let path = self.resolve(path)?;
        let file = account.open_download(&path).await?;
        let looked = file.clone();
        let size = self.shared.sys.pool.run(move || looked.meta()).await?.size;
        match offset > size {
            true => Err(FileError::BadOffset),
            false => Ok((path, file, size)),
        }
    }

    /// By the kernel where it can, else through a buffer.
    async fn send_bytes(
        &mut self,
        outgoing: &mut Outgoing,
        file: Arc<dyn File>,
        offset: u64,
    ) -> Result<(), Unsent> {
        let mut at = offset;
        while let Some(sending) = outgoing.wire.send_file(&file, at, SEND_BYTES) {
            match self.beside(sending).await {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(count)) => {
                    at += count as u64;
                    outgoing.sent += count as u64;
                }
                Ok(Err(error)) if error.kind() == std::io::ErrorKind::Unsupported => break,
                Ok(Err(error)) => return Err(Unsent::Data(Ended::Broken(error))),
                Err(ended) => return Err(Unsent::Data(ended)),
            }
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count;
            (buffer, count) = self.read(&file, buffer, at).await?;
            if count == 0 {
                return Ok(());
            }
            at += count as u64;
            let part = buffer.get(..count).unwrap_or_default();
            if let Some(ended) = self.put(outgoing, part).await {
                return Err(Unsent::Data(ended));
            }
        }
    }

    async fn send_text(
        &mut self,
        outgoing: &mut Outgoing,
        file: Arc<dyn File>,
    ) -> Result<(), Unsent> {
        let (mut buffer, mut at) = (vec![0; BUFFER_BYTES], 0);
        let (mut text, mut converter) = (Vec::with_capacity(2 * BUFFER_BYTES), ToNet::default());
        loop {
            let count;
            (buffer, count) = self.read(&file, buffer, at).await?;
            if count == 0 {
                return Ok(());
            }
            at += count as u64;
            text.clear();
            converter.convert(buffer.get(..count).unwrap_or_default(), &mut text);
            if let Some(ended) = self.put(outgoing, &text).await {
                return Err(Unsent::Data(ended));
            }
        }
    }

    async fn read(
        &mut self,
        file: &Arc<dyn File>,
        mut buffer: Vec<u8>,
        at: u64,
    ) -> Result<(Vec<u8>, usize), Unsent> {
        let file = file.clone();
        let read = move || {
            let count = file.read_at(&mut buffer, at);
            (buffer, count)
        };
        let (buffer, count) = self.shared.sys.pool.run(read).await;
        match count {
            Ok(count) => Ok((buffer, count)),
            Err(error) => Err(Unsent::File(error.into())),
        }
    }
}

/// Why a download does not go on.
enum Unsent {
    File(FileError),
    Data(Ended),
}

/// What the kernel is asked to send at a time.
const SEND_BYTES: usize = 1 << 20;
