//! The protocol: whatever a peer sends is bounded, understood or refused, and
//! what was understood goes back onto the wire as the same thing.

use std::net::{Ipv4Addr, SocketAddr};

use edgespool::ftp::command::{self, COMMAND_BYTES_MAX, Command, DigestCommand};
use edgespool::ftp::feat::Features;
use edgespool::ftp::path::{NAME_BYTES_MAX, PATH_BYTES_MAX, RemotePath, parse_quoted, quote};
use edgespool::ftp::quirks::ServerKind;
use edgespool::ftp::reply::{LINES_MAX, Reply, ReplyError, ReplyParser, TEXT_BYTES_MAX};
use edgespool::ftp::time::FtpTime;
use edgespool::ftp::url::FtpUrl;
use edgespool::ftp::verify::{Algorithm, parse_digest, parse_mdtm, parse_size};
use edgespool::ftp::{address, feat};

use super::assert_one_line;

/// A stream of replies is the same in one piece and in pieces of any size.
pub fn replies(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else {
        return;
    };
    let step = usize::from(first % 32) + 1;
    let whole = read_replies(stream.chunks(stream.len().max(1)));
    let pieces = read_replies(stream.chunks(step));
    assert_eq!(whole, pieces, "in pieces of {step}");
    for reply in &whole.0 {
        assert!((100..700).contains(&reply.code()));
        assert!(reply.lines().count() <= LINES_MAX);
        assert!(reply.lines().map(|line| line.len() + 1).sum::<usize>() <= TEXT_BYTES_MAX);
        assert_one_line(&reply.to_string());
        ServerKind::from_reply(reply);
    }
}

fn read_replies<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ReplyError>) {
    let mut parser = ReplyParser::new();
    let mut replies = Vec::new();
    for mut piece in pieces {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(parser.next(&mut &b"220 hello\r\n"[..]), Err(error.clone()));
                    return (replies, Some(error));
                }
            }
        }
    }
    (replies, None)
}

/// A line that is a command is exactly one line again, and the same command.
pub fn commands(data: &[u8]) {
    let Ok(command) = command::parse(data) else {
        return;
    };
    assert_one_line(&command.masked());
    if let Command::Pass(secret) | Command::Acct(secret) = &command {
        let shown = format!("{command:?}");
        assert!(shown == "Command(PASS ****)" || shown == "Command(ACCT ****)");
        assert!(secret.expose().len() <= COMMAND_BYTES_MAX);
    }
    let mut wire = Vec::new();
    if command.encode(&mut wire).is_err() {
        assert!(wire.is_empty(), "half a command is left behind");
        return;
    }
    assert!(wire.len() <= COMMAND_BYTES_MAX);
    assert_eq!(wire.iter().position(|b| *b == b'\n'), Some(wire.len() - 1));
    assert_eq!(command::parse(&wire).as_ref(), Ok(&command));
}

/// What a server claims is kept within bounds; a refusal claims nothing.
pub fn features(data: &[u8]) {
    let said = Features::parse(&Reply::new(211, data));
    if let Some((command, algorithm)) = said.strongest_digest(&ALGORITHMS) {
        assert!(said.digest_commands.contains(&command));
        assert!(command != DigestCommand::Hash || said.hash.contains(&algorithm));
    }
    let refused = feat::Features::parse(&Reply::new(500, data));
    assert_eq!(format!("{refused:?}"), format!("{:?}", Features::default()));
}

/// A data connection goes to nobody but the peer, and an address that was read
/// is written as the same address.
pub fn addresses(data: &[u8]) {
    let peer = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 21));
    let pasv = address::parse_pasv(&Reply::new(227, data)).map(|said| said.port());
    let epsv = address::parse_epsv(&Reply::new(229, data));
    for port in [pasv, epsv].into_iter().flatten() {
        assert_ne!(port, 0);
        assert_eq!(address::data_address(peer, port).ip(), peer.ip());
    }
    if let Some(read) = address::parse_port(data) {
        let written = address::format_port(read);
        assert_eq!(address::parse_port(written.as_bytes()), Some(read));
    }
    if let Ok(read) = address::parse_eprt(data) {
        let written = address::format_eprt(read);
        let again = address::parse_eprt(written.as_bytes()).unwrap();
        assert_eq!(again.ip().to_canonical(), read.ip().to_canonical());
        assert_eq!(again.port(), read.port());
    }
}

/// A time that was read is written as the same moment.
pub fn times(data: &[u8]) {
    if let Some(time) = parse_mdtm(&Reply::new(213, data)) {
        let text = time.to_string();
        assert_eq!(text.len(), 14);
        assert_eq!(FtpTime::parse(text.as_bytes()), Some(time));
        assert_eq!(FtpTime::from_unix(time.unix_secs()), Some(time));
    }
    if let Ok(secs) = <[u8; 8]>::try_from(data).map(i64::from_le_bytes)
        && let Some(time) = FtpTime::from_unix(secs)
    {
        assert_eq!(FtpTime::parse(time.to_string().as_bytes()), Some(time));
    }
}

/// Only a whole digest of the right length proves a file.
pub fn digests(data: &[u8]) {
    let reply = Reply::new(213, data);
    parse_size(&reply);
    for command in DIGEST_COMMANDS {
        if let Some(digest) = parse_digest(command, &reply) {
            assert!(digest.value().len() >= 4);
            assert!(!digest.proves(&digest.value()[1..], 0));
            assert_one_line(&format!("{digest:?}"));
        }
        assert!(parse_digest(command, &Reply::new(550, data)).is_none());
    }
}

/// A path that was accepted leads downwards, fits into a command, and is
/// accepted unchanged; quoting gives back what it was given.
pub fn paths(data: &[u8]) {
    if !data.contains(&b'\n') {
        let quoted = Reply::new(257, &quote(data));
        assert_eq!(parse_quoted(&quoted).as_deref(), Some(data));
    }
    if let Some(read) = parse_quoted(&Reply::new(257, data)) {
        assert_eq!(
            parse_quoted(&Reply::new(257, &quote(&read))),
            Some(read.clone())
        );
    }
    let Ok(path) = RemotePath::new(data) else {
        return;
    };
    let bytes = path.as_bytes();
    assert!(bytes.len() <= PATH_BYTES_MAX);
    assert!(!bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)));
    assert!(bytes.split(|b| *b == b'/').all(|name| name != b".."));
    assert_eq!(RemotePath::new(bytes).as_ref(), Ok(&path));
    assert_eq!(path.parents().last(), path.parent());
    assert_one_line(&path.to_string());
    if let Ok(temporary) = path.temporary("7-1f2e3d-4") {
        assert!(temporary.file_name().len() <= NAME_BYTES_MAX);
        assert_eq!(temporary.parent(), path.parent());
        assert_ne!(temporary, path);
    }
}

/// A URL that was read and is shown names the same place, without its password.
pub fn urls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let url = match FtpUrl::parse(text) {
        Ok(url) => url,
        Err(error) => return assert_one_line(&error.to_string()),
    };
    assert!(url.port != 0 && !url.host.is_empty());
    assert!(url.path.starts_with(b"/"));
    let shown = url.to_string();
    assert_one_line(&shown);
    let plain = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || *b == b'/')
    };
    let user = url.user.as_deref().unwrap_or_default();
    if plain(user.as_bytes()) && user.len() < 100 && plain(&url.path) && url.path.len() < 300 {
        let again = FtpUrl::parse(&shown).unwrap();
        assert_eq!((&again.host, again.port), (&url.host, url.port));
        assert_eq!((&again.user, &again.path), (&url.user, &url.path));
        assert!(again.password.is_none());
    }
}

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Crc32,
    Algorithm::Md5,
    Algorithm::Sha1,
    Algorithm::Sha256,
    Algorithm::Sha512,
];

const DIGEST_COMMANDS: [DigestCommand; 8] = [
    DigestCommand::Hash,
    DigestCommand::Md5,
    DigestCommand::Xcrc,
    DigestCommand::Xmd5,
    DigestCommand::Xsha,
    DigestCommand::Xsha1,
    DigestCommand::Xsha256,
    DigestCommand::Xsha512,
];
