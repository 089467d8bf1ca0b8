use proptest::prelude::*;

use super::*;

fn line(command: &Command) -> Vec<u8> {
    let mut out = Vec::new();
    command.encode(&mut out).unwrap();
    out
}

#[test]
fn commands_look_as_the_rfcs_write_them() {
    let time = FtpTime::parse(b"20200102030405").unwrap();
    let path = b"a b".to_vec();
    for (command, expected) in [
        (Command::User(b"me".to_vec()), "USER me\r\n"),
        (Command::Pass(Secret::new(b"pw".to_vec())), "PASS pw\r\n"),
        (Command::Pass(Secret::new(Vec::new())), "PASS\r\n"),
        (Command::Auth(b"TLS".to_vec()), "AUTH TLS\r\n"),
        (Command::Pbsz(0), "PBSZ 0\r\n"),
        (Command::Prot(Protection::Private), "PROT P\r\n"),
        (Command::Type(TransferType::Image), "TYPE I\r\n"),
        (Command::Type(TransferType::Local(8)), "TYPE L 8\r\n"),
        (Command::Epsv(None), "EPSV\r\n"),
        (Command::EpsvAll, "EPSV ALL\r\n"),
        (
            Command::Port("10.0.0.1:513".parse().unwrap()),
            "PORT 10,0,0,1,2,1\r\n",
        ),
        (
            Command::Eprt("[::1]:6446".parse().unwrap()),
            "EPRT |2|::1|6446|\r\n",
        ),
        (
            Command::Mfmt(time, path.clone()),
            "MFMT 20200102030405 a b\r\n",
        ),
        (
            Command::MdtmSet(time, path.clone()),
            "MDTM 20200102030405 a b\r\n",
        ),
        (
            Command::SiteUtime(time, path.clone()),
            "SITE UTIME 20200102030405 a b\r\n",
        ),
        (
            Command::SiteChmod(0o644, path.clone()),
            "SITE CHMOD 644 a b\r\n",
        ),
        (
            Command::Digest(DigestCommand::Xsha256, path),
            "XSHA256 \"a b\"\r\n",
        ),
        (Command::Rest(u64::MAX), "REST 18446744073709551615\r\n"),
        (Command::List(Vec::new()), "LIST\r\n"),
        (Command::Raw(b"XYZZY plugh".to_vec()), "XYZZY plugh\r\n"),
    ] {
        assert_eq!(String::from_utf8(line(&command)).unwrap(), expected);
    }
}

#[test]
fn no_argument_smuggles_a_second_command_in() {
    let mut out = b"before".to_vec();
    for evil in [&b"a\r\nDELE b"[..], b"a\nb", b"a\0b", b"\r"] {
        for command in [
            Command::Stor(evil.to_vec()),
            Command::Raw(evil.to_vec()),
            Command::Pass(Secret::new(evil.to_vec())),
            Command::SiteChmod(0o600, evil.to_vec()),
        ] {
            assert_eq!(
                command.encode(&mut out),
                Err(CommandError::LineBreak(command.verb()))
            );
        }
    }
    assert_eq!(
        Command::Stor(Vec::new()).encode(&mut out),
        Err(CommandError::Empty(Verb::Stor))
    );
    let long = Command::Stor(vec![b'a'; COMMAND_BYTES_MAX]);
    assert_eq!(
        long.encode(&mut out),
        Err(CommandError::TooLong(Verb::Stor))
    );
    assert_eq!(out, b"before");
}

#[test]
fn the_byte_255_is_doubled_unless_told_not_to() {
    let command = Command::Stor(b"\xff".to_vec());
    assert_eq!(line(&command), b"STOR \xff\xff\r\n");
    let mut raw = Vec::new();
    command.encode_with(Iac::Raw, &mut raw).unwrap();
    assert_eq!(raw, b"STOR \xff\r\n");
}

#[test]
fn logs_show_no_password() {
    for (command, shown) in [
        (Command::Pass(Secret::new(b"hunter2".to_vec())), "PASS ****"),
        (Command::Raw(b"pass hunter2".to_vec()), "PASS ****"),
        (Command::Raw(b" \tPaSs\thunter2".to_vec()), "PASS ****"),
        (Command::Acct(Secret::new(b"hunter2".to_vec())), "ACCT ****"),
        (Command::Stor(b"a\x1bb".to_vec()), "STOR a\\x1bb"),
        (Command::Pwd, "PWD"),
    ] {
        assert_eq!(command.masked(), shown);
        assert_eq!(format!("{command:?}"), format!("Command({shown})"));
    }
}

#[test]
fn lines_of_real_clients_are_understood() {
    for (line, command) in [
        (&b"user me\r\n"[..], Command::User(b"me".to_vec())),
        (b"PASS", Command::Pass(Secret::new(Vec::new()))),
        (b"XPWD\r\n", Command::Pwd),
        (b"\xff\xf4\xff\xf2ABOR\r\n", Command::Abor),
        (b"TYPE A N", Command::Type(TransferType::Ascii)),
        (b"TYPE L8", Command::Type(TransferType::Local(8))),
        (b"ALLO 10 R 2", Command::Allo(10)),
        (b"EPSV all", Command::EpsvAll),
        (b"EPSV 2", Command::Epsv(Some(2))),
        (b"STOR  a ", Command::Stor(b" a ".to_vec())),
        (
            b"MDTM 20200230000000 x",
            Command::Mdtm(b"20200230000000 x".to_vec()),
        ),
        (
            b"SITE CHMOD 755 a b",
            Command::SiteChmod(0o755, b"a b".to_vec()),
        ),
        (b"SITE HELP", Command::Site(b"HELP".to_vec())),
    ] {
        assert_eq!(parse(line), Ok(command), "{line:?}");
    }
}

#[test]
fn other_lines_are_refused_with_the_right_code() {
    for (line, code) in [
        (&b""[..], 500),
        (b"XYZZY", 500),
        (b"NOOP\nDELE x", 500),
        (b"STOR a\0b", 500),
        (b"STOR", 501),
        (b"STOR ", 501),
        (b"PWD x", 501),
        (b"REST -1", 501),
        (b"REST 18446744073709551616", 501),
        (b"MFMT 2020 x", 501),
        (b"SITE CHMOD 99999 x", 501),
        (b"EPRT |1|::1|2000|", 501),
        (b"EPRT ||::1|2000|", 501),
        (b"EPRT |3|::1|2000|", 522),
        (b"TYPE X", 504),
        (b"MODE q", 504),
    ] {
        assert_eq!(parse(line).unwrap_err().reply_code(), code, "{line:?}");
    }
    assert_eq!(
        parse(&vec![b'A'; COMMAND_BYTES_MAX + 1]),
        Err(ParseError::BadLine)
    );
}

#[test]
fn every_verb_has_a_grammar() {
    for verb in Verb::ALL {
        let bare = parse(verb.as_str().as_bytes());
        assert_ne!(bare, Err(ParseError::UnknownVerb), "{verb}");
    }
}

#[test]
fn a_path_with_blanks_is_one_word_to_the_x_commands() {
    let sent = |command, path: &[u8]| line(&Command::Digest(command, path.to_vec()));
    for (path, expected) in [
        (&b"/plain"[..], &b"XSHA256 /plain"[..]),
        (b"/a b", b"XSHA256 \"/a b\""),
        (b"/a\tb", b"XSHA256 \"/a\tb\""),
        (b"/a \"b\\", b"XSHA256 \"/a \\\"b\\\\\""),
        (b"/a\"b\\", b"XSHA256 /a\"b\\"),
    ] {
        assert_eq!(
            sent(DigestCommand::Xsha256, path).trim_ascii_end(),
            expected
        );
    }
    assert_eq!(sent(DigestCommand::Hash, b"/a b"), b"HASH /a b\r\n");
    assert_eq!(sent(DigestCommand::Md5, b"/a b"), b"MD5 /a b\r\n");
}

fn any_command() -> impl Strategy<Value = Command> {
    let path = prop::collection::vec(
        any::<u8>().prop_filter("line", |b| !b"\r\n\0".contains(b)),
        1..20,
    );
    let time = (-62_167_219_200_i64..=253_402_300_799).prop_map(|s| FtpTime::from_unix(s).unwrap());
    prop_oneof![
        path.clone().prop_map(Command::Stor),
        path.clone().prop_map(Command::Rnto),
        path.clone().prop_map(|p| Command::Pass(Secret::new(p))),
        path.clone()
            .prop_map(|p| Command::Digest(DigestCommand::Hash, p)),
        (time.clone(), path.clone()).prop_map(|(t, p)| Command::Mfmt(t, p)),
        (time, path.clone()).prop_map(|(t, p)| Command::SiteUtime(t, p)),
        (0_u16..0o10000, path).prop_map(|(m, p)| Command::SiteChmod(m, p)),
        any::<u64>().prop_map(Command::Rest),
        any::<(std::net::Ipv4Addr, u16)>()
            .prop_map(|(ip, port)| Command::Port(SocketAddrV4::new(ip, port.max(1)))),
        any::<(std::net::IpAddr, u16)>()
            .prop_map(|(ip, port)| Command::Eprt(SocketAddr::new(ip.to_canonical(), port.max(1)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_command_survives_the_wire(command in any_command()) {
        prop_assert_eq!(parse(&line(&command)), Ok(command));
    }

    #[test]
    fn random_lines_never_panic(bytes: Vec<u8>) {
        if let Ok(command) = parse(&bytes) {
            let _ = command.masked();
            let _ = command.encode(&mut Vec::new());
        }
    }
}
