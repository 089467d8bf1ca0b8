use proptest::prelude::*;

use super::*;

/// All replies in `input`, fed in pieces of `step` bytes.
fn parse_all(input: &[u8], step: usize) -> (Vec<Reply>, Option<ReplyError>) {
    let mut parser = ReplyParser::new();
    let mut replies = Vec::new();
    for mut piece in input.chunks(step.max(1)) {
        loop {
            match parser.next(&mut piece) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error)),
            }
        }
        assert!(piece.is_empty(), "input left behind");
    }
    (replies, None)
}

fn one(input: &[u8]) -> Reply {
    let (mut replies, error) = parse_all(input, input.len());
    assert_eq!(error, None);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

#[test]
fn a_reply_of_one_line_is_read() {
    let reply = one(b"220 (vsFTPd 3.0.3)\r\n");
    assert_eq!(reply.code(), 220);
    assert_eq!(reply.first_line(), b"(vsFTPd 3.0.3)");
    assert_eq!(reply.to_string(), "220 (vsFTPd 3.0.3)");
    assert!(reply.is_completion() && reply.is_positive() && !reply.is_truncated());
}

#[test]
fn every_line_may_repeat_the_code() {
    let reply = one(
        b"220---------- Welcome to Pure-FTPd [privsep] [TLS] ----------\r\n\
        220-You are user number 1 of 49 allowed.\r\n\
        220 You will be disconnected after 15 minutes of inactivity.\r\n",
    );
    let lines: Vec<_> = reply.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[1], b"You are user number 1 of 49 allowed.");
}

#[test]
fn lines_between_may_begin_with_anything() {
    let reply = one(b"211-Features:\r\n EPRT\r\n200 is just text\r\n211-x\r\n\r\n211 End\r\n");
    let lines: Vec<_> = reply.lines().collect();
    assert_eq!(
        lines,
        [
            &b"Features:"[..],
            b" EPRT",
            b"200 is just text",
            b"x",
            b"",
            b"End"
        ]
    );
}

#[test]
fn bare_line_feeds_and_doubled_carriage_returns_end_lines() {
    let (replies, error) = parse_all(b"200 a\n\r\n200 b\r\r\n200\r\n", 99);
    assert_eq!(error, None);
    let lines: Vec<_> = replies.iter().map(Reply::first_line).collect();
    assert_eq!(lines, [&b"a"[..], b"b", b""]);
}

#[test]
fn replies_of_real_servers_are_read() {
    for (input, code, last) in [
        (
            &b"552-Disk quota exceeded\r\n STOR: notice\r\n552 removed\r\n"[..],
            552,
            &b"removed"[..],
        ),
        (
            b"213-Computing SHA-1 digest\r\n213 SHA-1 0-10 7435 f\r\n",
            213,
            b"SHA-1 0-10 7435 f",
        ),
        (
            b"250-Listing \"/f\":\r\n size=10; /f\r\n250 End MLST.\r\n",
            250,
            b"End MLST.",
        ),
        (
            b"200  MLST OPTS type;size;\r\n",
            200,
            b" MLST OPTS type;size;",
        ),
    ] {
        let reply = one(input);
        assert_eq!((reply.code(), reply.last_line()), (code, last));
    }
}

#[test]
fn another_code_within_a_reply_is_text() {
    let reply =
        one(b"451-Error during write to file\r\n213 10\r\n226-x\r\n451 Transfer aborted\r\n");
    assert_eq!(reply.code(), 451);
    assert_eq!(reply.lines().nth(1), Some(&b"213 10"[..]));
    assert_eq!(reply.last_line(), b"Transfer aborted");
}

#[test]
fn what_is_no_reply_is_an_error_for_good() {
    for line in [
        &b"SSH-2.0-OpenSSH_9\r\n"[..],
        b"22\r\n",
        b"2200 x\r\n",
        b"099 x\r\n",
        b"700 x\n",
        b"\x16\x03\x01\n",
    ] {
        let mut parser = ReplyParser::new();
        assert!(
            matches!(parser.next(&mut &line[..]), Err(ReplyError::NotAReply(_))),
            "{line:?}"
        );
        assert!(parser.next(&mut &b"200 ok\r\n"[..]).is_err());
    }
}

#[test]
fn an_endless_line_is_cut_and_then_given_up() {
    let mut parser = ReplyParser::new();
    let chunk = [b'2'; 4096];
    let mut fed = 0;
    while parser.next(&mut &chunk[..]).is_ok() {
        fed += chunk.len();
        assert!(fed <= REPLY_BYTES_MAX);
        assert!(parser.line.len() <= LINE_BYTES_MAX);
    }
    assert_eq!(parser.next(&mut &b""[..]), Err(ReplyError::Endless));
}

#[test]
fn a_long_reply_keeps_its_first_lines_and_its_last() {
    let mut input = b"214-Help\r\n".to_vec();
    for _ in 0..2000 {
        input.extend_from_slice(b" a line of help that is not short\r\n");
    }
    input.extend_from_slice(b"214 End of help\r\n");
    let reply = one(&input);
    assert_eq!(reply.lines().count(), LINES_MAX);
    assert_eq!(reply.last_line(), b"End of help");
    assert!(reply.is_truncated());
}

#[test]
fn a_reply_without_end_is_given_up() {
    let mut input = b"211-\n".to_vec();
    input.resize(REPLY_BYTES_MAX + 10, b'\n');
    assert_eq!(parse_all(&input, 999).1, Some(ReplyError::Endless));
}

#[test]
fn shown_text_is_one_safe_line() {
    let reply = one(b"550-\x1b]0;owned\x07 name\r\n\0\x7f\r\n550 bye\r\n");
    assert_eq!(reply.text(), "\\x1b]0;owned\\x07 name / \\x00\\x7f / bye");
}

fn reply_like() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        "[1-6][0-9]{2}[ -][ -~]{0,12}\r?\n",
        " [ -~]{0,12}\r\n",
        "(451|226|150)[ -]x\r\n",
        "[\r\n\\x00]{0,3}",
    ];
    prop::collection::vec(line, 0..12).prop_map(|lines| lines.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn pieces_of_any_size_give_the_same_replies(input in reply_like(), step in 1_usize..9) {
        prop_assert_eq!(parse_all(&input, step), parse_all(&input, usize::MAX));
    }

    #[test]
    fn random_bytes_never_panic(input: Vec<u8>, step in 1_usize..9) {
        let _ = parse_all(&input, step);
    }

    #[test]
    fn a_reply_survives_the_wire(code in 100_u16..700, text in "[ -~]{0,40}") {
        let reply = one(format!("{code} {text}\r\n").as_bytes());
        prop_assert_eq!(&reply, &Reply::new(code, text.as_bytes()));
    }
}
