//! Uploads: STOR, APPE, STOU.
//!
//! The answer is 226 only when the file is complete and durable. What was cut
//! stays to be continued, and nobody takes it for a whole file: an upload is
//! cut when the data connection breaks, when the client says ABOR, and when its
//! control connection is gone by the time the data ends, because a client that
//! dies closes both.
//!
//! Over TLS an end without close_notify may be an attacker's, who cuts a file
//! short. curl, lftp, rclone, ftplib and our own client send it; some devices
//! and frameworks never do, and would never get a file through: so that end
//! counts, unless `require_close_notify` is set.

use std::io;
use std::time::Duration;

use smol::io::AsyncWriteExt;

use super::transfer::{BUFFER_BYTES, Ended, FAREWELL_LIMIT, Inflow, cut_answer};
use super::{End, Session, refusal};
use crate::base::Mono;
use crate::ftp::serve::ascii::FromNet;
use crate::ftp::serve::{Answer, Store};
use crate::receive::files::{Account, FileError, Incoming, Upload, VirtualPath};
use crate::receive::journal::Record;
use crate::receive::tls::Way;
use crate::sys::{Wire, timeout};

/// Why an upload does not go on.
enum Stopped {
    File(FileError),
    Data(Ended),
}

impl From<Ended> for Stopped {
    fn from(ended: Ended) -> Stopped {
        Stopped::Data(ended)
    }
}

impl Session {
    /// STOR, APPE and STOU, with REST before them or not.
    pub(super) async fn receive(
        &mut self,
        store: Store,
        path: &[u8],
        ascii: bool,
    ) -> Result<Answer, End> {
        let Some(account) = self.account.clone() else {
            return Ok(Answer::new(530, "log in with USER and PASS first"));
        };
        let incoming = match self.open(&account, store, path).await {
            Ok(incoming) => incoming,
            Err(error) => {
                self.data = None;
                return Ok(refusal(&error));
            }
        };
        let name = incoming.path().to_bytes();
        let text = match store {
            // RFC 1123 §4.1.2.9: this is how the client learns the name.
            Store::Unique => [b"FILE: ", &name[..]].concat(),
            _ => b"go ahead".to_vec(),
        };
        let began = self.shared.sys.clock.mono();
        let text = String::from_utf8_lossy(&text).into_owned();
        let wire = match self.begin(Way::In, &text).await? {
            Ok(wire) => wire,
            Err(answer) => {
                self.drop_cut(incoming).await;
                return Ok(answer);
            }
        };
        self.store(&account, incoming, wire, ascii, began).await
    }

    async fn open(
        &mut self,
        account: &Account,
        store: Store,
        path: &[u8],
    ) -> Result<Incoming, FileError> {
        let (path, how) = match store {
            Store::New => (self.resolve(path)?, Upload::Store),
            Store::At(offset) => (self.resolve(path)?, Upload::StoreAt(offset)),
            Store::Append => (self.resolve(path)?, Upload::Append),
            // RFC 959: in the current directory. A name is a hint that nobody
            // needs to take.
            Store::Unique => (self.resolve(b"")?, Upload::Unique),
        };
        account.open_upload(&path, how).await
    }

    /// From the first byte to the answer.
    async fn store(
        &mut self,
        account: &Account,
        incoming: Incoming,
        wire: Wire,
        ascii: bool,
        began: Mono,
    ) -> Result<Answer, End> {
        let path = incoming.path().clone();
        let (mut inflow, mut bytes) = (Inflow::new(wire), 0);
        let (incoming, stopped) = self.take_in(&mut inflow, incoming, ascii, &mut bytes).await;
        let mut lost = None;
        let answer = match (incoming, stopped) {
            (Some(incoming), None) => {
                let _gone =
                    timeout(&*self.shared.sys.clock, FAREWELL_LIMIT, inflow.wire.close()).await;
                self.complete(account, incoming).await
            }
            (incoming, stopped) => {
                if let Some(incoming) = incoming {
                    self.drop_cut(incoming).await;
                }
                match stopped {
                    Some(Stopped::File(error)) => refusal(&error),
                    Some(Stopped::Data(ended)) => {
                        let answer = cut_answer(&ended);
                        if let Ended::Lost(error) = ended {
                            lost = Some(error);
                        }
                        answer
                    }
                    None => Answer::new(451, "the upload was lost"),
                }
            }
        };
        drop(inflow);
        self.note("stored", account, &path, bytes, began, &answer);
        match lost {
            Some(error) => Err(End::Gone(error)),
            None => Ok(answer),
        }
    }

    /// Reads the data connection to its end, and writes all of it. While one
    /// buffer is written the next one is filled.
    async fn take_in(
        &mut self,
        inflow: &mut Inflow,
        incoming: Incoming,
        ascii: bool,
        bytes: &mut u64,
    ) -> (Option<Incoming>, Option<Stopped>) {
        let pool = self.shared.sys.pool.clone();
        let mut text = ascii.then(FromNet::default);
        let mut incoming = incoming;
        let (mut filling, mut spare) = (vec![0; BUFFER_BYTES], Vec::with_capacity(BUFFER_BYTES));
        let mut got = match self.next_part(inflow, &mut filling).await {
            Ok(got) => got,
            Err(ended) => return (Some(incoming), Some(ended.into())),
        };
        loop {
            *bytes += got as u64;
            spare.clear();
            let part = filling.get(..got).unwrap_or_default();
            match &mut text {
                None => spare.extend_from_slice(part),
                Some(text) => text.convert(part, &mut spare),
            }
            if let (0, Some(text)) = (got, text.take_if(|_| got == 0)) {
                text.finish(&mut spare);
            }
            let last = got == 0;
            let write = pool.run(move || {
                let written = incoming.write(&spare);
                (incoming, spare, written)
            });
            let next = async {
                match last {
                    true => Ok(0),
                    false => self.next_part(inflow, &mut filling).await,
                }
            };
            let ((back, buffer, written), next) = smol::future::zip(write, next).await;
            (incoming, spare) = (back, buffer);
            if let Err(error) = written {
                return (Some(incoming), Some(Stopped::File(error)));
            }
            match next {
                Ok(_) if last => return (Some(incoming), None),
                Ok(count) => got = count,
                Err(ended) => return (Some(incoming), Some(ended.into())),
            }
        }
    }

    /// The next bytes; 0 at the end that the client made. TLS says so with
    /// close_notify. TCP ends in the same way when the client's process does;
    /// then its control connection ends, too.
    async fn next_part(&mut self, inflow: &mut Inflow, buffer: &mut [u8]) -> Result<usize, Ended> {
        let lost = match self.beside(inflow.fill(buffer)).await? {
            Ok(0) if !inflow.wire.is_tls() => io::ErrorKind::UnexpectedEof.into(),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                log::debug!("{}: TLS ended without close_notify", self.peer);
                if self.shared.options.require_close_notify {
                    return Err(Ended::Broken(error));
                }
                error
            }
            Err(error) => return Err(Ended::Broken(error)),
        };
        match self.control.is_lost_within(DEATH_LIMIT).await {
            true => Err(Ended::Lost(lost)),
            false => Ok(0),
        }
    }

    async fn complete(&mut self, account: &Account, incoming: Incoming) -> Answer {
        match account.complete(incoming).await {
            Ok(received) => {
                self.shared.received(&received);
                Answer::new(226, format!("stored: {} bytes in all", received.size))
            }
            Err(error) => refusal(&error),
        }
    }

    /// Closing a file can take its time.
    async fn drop_cut(&mut self, incoming: Incoming) {
        self.shared.sys.pool.run(move || incoming.cut()).await;
    }

    /// Into the journal.
    pub(super) fn note(
        &self,
        what: &'static str,
        account: &Account,
        path: &VirtualPath,
        bytes: u64,
        began: Mono,
        answer: &Answer,
    ) {
        let text = answer.to_string();
        let record = Record {
            what,
            user: account.name(),
            peer: self.peer,
            path: &path.to_bytes(),
            bytes,
            span: self.shared.sys.clock.mono().since(began),
            reply: (answer.code(), text.get(4..).unwrap_or_default()),
        };
        self.shared.journal.add(&record);
    }
}

/// Between the ends of the two connections of a process that dies; each upload
/// in clear text takes so long more.
const DEATH_LIMIT: Duration = Duration::from_millis(2);
