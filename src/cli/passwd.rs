//! `receive passwd`: a password in, its hash out.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::{Exit, complain, say};
use crate::base::Secret;
use crate::receive::{MEMORY_KIB, PASSES, PasswordHash};
use crate::sys::Sys;

/// Asks for a password on the terminal, twice and without an echo, or reads one
/// line of standard input, and prints its hash.
pub(crate) fn run(sys: &Sys) -> Exit {
    match ask().and_then(|password| hash(sys, &password)) {
        Ok(hash) => {
            say(&hash);
            let memory = MEMORY_KIB >> 10;
            complain(&format!(
                "Argon2id with {memory} MiB and {PASSES} passes: write it as password_hash into \
                 [[receive.user]]"
            ));
            Exit::Done
        }
        Err(problem) => {
            complain(&problem);
            Exit::Failed
        }
    }
}

fn hash(sys: &Sys, password: &Secret) -> Result<String, String> {
    let mut salt = [0; 16];
    let filled = sys.rng.fill_secret(&mut salt);
    filled.map_err(|e| format!("the system gives no random numbers: {e}"))?;
    PasswordHash::make(password, &salt).ok_or_else(|| "there is not enough memory".to_owned())
}

fn ask() -> Result<Secret, String> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return password_of(read_line(&mut stdin.lock())?);
    }
    let first = password_of(prompt("Password: ")?)?;
    let second = prompt("Again: ")?;
    if first.expose() != second.as_slice() {
        return Err("the two are not the same".to_owned());
    }
    Ok(first)
}

/// What a client can send in a PASS command.
fn password_of(mut line: Zeroizing<Vec<u8>>) -> Result<Secret, String> {
    if line.is_empty() {
        return Err("the password is empty".to_owned());
    }
    if line.contains(&0) {
        return Err("the password contains a NUL".to_owned());
    }
    Ok(Secret::new(std::mem::take(&mut *line)))
}

/// One line, without its end; the rest is left alone.
fn read_line(input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = empty_line();
    let mut byte = Zeroizing::new([0]);
    while input.read(&mut *byte).map_err(|e| e.to_string())? > 0 {
        match *byte {
            [b'\n'] => break,
            [b] if line.len() < LINE_MAX => line.push(b),
            _ => return Err("the password is too long".to_owned()),
        }
    }
    if line.ends_with(b"\r") {
        line.pop();
    }
    Ok(line)
}

/// Asks on the terminal, and shows nothing of the answer.
fn prompt(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut terminal = io::stderr();
    let shown = terminal.write_all(text.as_bytes());
    shown
        .and_then(|()| terminal.flush())
        .map_err(|e| e.to_string())?;
    let line = {
        let _silent = Silent::begin().map_err(|e| e.to_string())?;
        read_keys(&mut io::stdin().lock())
    };
    let _only_a_line_end = terminal.write_all(b"\n");
    line
}

/// A line of keys, of which the terminal interprets none.
fn read_keys(input: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut line = empty_line();
    let mut key = Zeroizing::new([0]);
    while input.read(&mut *key).map_err(|e| e.to_string())? > 0 {
        match *key {
            [b'\r' | b'\n'] => return Ok(line),
            [DELETE | BACKSPACE] => {
                line.pop();
            }
            [CTRL_U] => line.clear(),
            [CTRL_C | CTRL_D] => break,
            [b] if line.len() < LINE_MAX => line.push(b),
            _ => return Err("the password is too long".to_owned()),
        }
    }
    Err("nothing was entered".to_owned())
}

/// Full from the start: growing would leave copies behind.
fn empty_line() -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(LINE_MAX))
}

/// The terminal without echo, lines and signals, until this is dropped: Ctrl-C
/// would else end the program and leave the terminal silent.
struct Silent {
    before: Termios,
}

impl Silent {
    fn begin() -> io::Result<Silent> {
        let stdin = io::stdin();
        let before = tcgetattr(stdin.as_fd())?;
        let mut silent = before.clone();
        silent.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VMIN] = 1;
        silent.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &silent)?;
        Ok(Silent { before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _best_effort = tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &self.before);
    }
}

const DELETE: u8 = 0x7F;
const BACKSPACE: u8 = 0x08;
const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;

/// No FTP client sends a longer line.
const LINE_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_input_is_the_password() {
        for (input, password) in [
            (&b"secret\n"[..], &b"secret"[..]),
            (b"secret\r\nmore\n", b"secret"),
            (b" with spaces ", b" with spaces "),
        ] {
            let line = read_line(&mut &*input).unwrap();
            assert_eq!(password_of(line).unwrap().expose(), password);
        }
        for input in [&b""[..], b"\n", b"a\0b\n"] {
            assert!(password_of(read_line(&mut &*input).unwrap()).is_err());
        }
        assert!(read_line(&mut &[b'a'; 513][..]).is_err());
    }

    #[test]
    fn keys_can_be_taken_back_and_the_line_given_up() {
        let read = |mut keys: &[u8]| read_keys(&mut keys).map(|line| line.to_vec());
        assert_eq!(read(b"ab\x7Fc\x08d\r"), Ok(b"ad".to_vec()));
        assert_eq!(read(b"wrong\x15right\n"), Ok(b"right".to_vec()));
        for keys in [&b"ab\x03\n"[..], b"\x04", b"ab"] {
            assert!(read(keys).is_err());
        }
    }

    #[test]
    fn the_hash_that_is_printed_is_one_that_the_config_takes() {
        let password = Secret::from("secret");
        let printed = hash(&Sys::os().unwrap(), &password).unwrap();
        let parsed = PasswordHash::parse(&printed).unwrap();
        assert!(parsed.verify(&password));
        let again = hash(&Sys::os().unwrap(), &password).unwrap();
        assert_ne!(printed, again);
    }
}
