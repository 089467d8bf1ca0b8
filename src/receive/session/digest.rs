//! HASH, XCRC, XMD5, XSHA and their like.

use std::fmt::Write as _;

use super::Session;
use crate::ftp::command::DigestCommand;
use crate::ftp::digest::Hasher;
use crate::ftp::serve::Answer;
use crate::ftp::verify::Algorithm;
use crate::receive::files::{Account, FileError};
use crate::sys::File;

impl Session {
    /// Reads the file step by step, so that the threads for the disk serve
    /// others in between.
    pub(super) async fn digest(
        &mut self,
        account: &Account,
        command: DigestCommand,
        algorithm: Algorithm,
        path: &[u8],
    ) -> Result<Answer, FileError> {
        let file = account.open_for_digest(&self.resolve(path)?).await?;
        let mut hasher = Hasher::new(algorithm);
        let mut size = 0;
        loop {
            let (from, file) = (size, file.clone());
            let step = move || add(&*file, from, hasher);
            let (added, after) = self.shared.sys.pool.run(step).await?;
            hasher = after;
            size += added;
            if added == 0 {
                break;
            }
        }
        let mut text = String::new();
        for byte in hasher.finish() {
            // Writing to a string never fails.
            let _written = write!(text, "{byte:02x}");
        }
        Ok(answer(command, algorithm, &text, size, path))
    }
}

/// Adds up to [`STEP_BYTES`] from there on.
fn add(file: &dyn File, from: u64, mut hasher: Hasher) -> Result<(u64, Hasher), FileError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut added = 0;
    while added < STEP_BYTES {
        let count = file.read_at(&mut buffer, from + added)?;
        if count == 0 {
            break;
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
        added += count as u64;
    }
    Ok((added, hasher))
}

/// In the words of the drafts, and of the servers that had the commands first.
fn answer(
    command: DigestCommand,
    algorithm: Algorithm,
    digest: &str,
    size: u64,
    path: &[u8],
) -> Answer {
    let with_path = |head: &str, tail: &str| [head.as_bytes(), path, tail.as_bytes()].concat();
    match command {
        DigestCommand::Hash => Answer::new(
            213,
            with_path(&format!("{algorithm} 0-{size} {digest} "), ""),
        ),
        DigestCommand::Md5 => Answer::new(251, with_path("", &format!(" {digest}"))),
        _ => Answer::new(250, digest.to_ascii_uppercase()),
    }
}

const BUFFER_BYTES: usize = 64 << 10;
/// Read before others have their turn.
const STEP_BYTES: u64 = 4 << 20;
