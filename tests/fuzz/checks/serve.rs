//! The receiver's side of a control connection, from bytes to replies.

use std::net::{IpAddr, Ipv4Addr};

use edgespool::ftp::command::{COMMAND_BYTES_MAX, Command, ParseError};
use edgespool::ftp::reply::ReplyParser;
use edgespool::ftp::serve::{Answer, Lines, Request, Secrecy, State, Step, Terms};

/// Whatever a client sends, in pieces of any size: each of its lines gets exactly
/// one final answer, which is one reply on the wire, and what is held is bounded.
/// The first byte says how large the pieces are and how much TLS is asked for.
pub fn sessions(data: &[u8]) {
    let Some((&first, stream)) = data.split_first() else {
        return;
    };
    let mut state = State::new(Terms {
        peer: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        secrecy: [Secrecy::Required, Secrecy::Optional, Secrecy::None][usize::from(first % 3)],
        implicit: first % 5 == 0,
    });
    let (mut lines, mut answers) = (Lines::new(), 0);
    for mut rest in stream.chunks(usize::from(first) * 40 + 1) {
        while !rest.is_empty() {
            let room = lines.room();
            assert!(room > 0 && room <= 2 * COMMAND_BYTES_MAX);
            let (now, later) = rest.split_at(rest.len().min(room));
            lines.push(now);
            rest = later;
            while let Some(command) = lines.next_command() {
                answer(&mut state, command);
                answers += 1;
            }
        }
    }
    let ends = stream.iter().filter(|b| **b == b'\n').count();
    assert_eq!(answers, ends, "answers to so many lines");
}

fn answer(state: &mut State, command: Result<Command, ParseError>) {
    match state.accept(command) {
        Step::Answer(answer) => is_one_final_reply(&answer),
        Step::Do(request) => obey(state, request),
    }
    assert!(state.cwd().len() <= COMMAND_BYTES_MAX);
}

fn is_one_final_reply(answer: &Answer) {
    assert!((200..600).contains(&answer.code()));
    let mut bytes = Vec::new();
    answer.encode(&mut bytes);
    assert!(bytes.len() <= REPLY_BYTES_MAX);
    let mut input = &bytes[..];
    let reply = ReplyParser::new().next(&mut input).unwrap().unwrap();
    assert_eq!(reply.code(), answer.code());
    assert!(input.is_empty(), "a second reply");
}

/// As a session would whose disk and network do whatever they are asked.
fn obey(state: &mut State, request: Request) {
    match request {
        Request::StartTls(answer) => {
            is_one_final_reply(&answer);
            state.secured();
        }
        Request::EndTls(answer) => {
            is_one_final_reply(&answer);
            state.cleared();
        }
        Request::Quit(answer) => is_one_final_reply(&answer),
        Request::Login(user, _) => state.logged_in(user),
        Request::RenameFrom(path) => state.renames(path),
        Request::ChangeDir(path) => state.changed_dir(path),
        request => assert!(state.user().is_some(), "{request:?} without login"),
    }
}

/// The longest is PWD's, in which each quotation mark stands twice.
const REPLY_BYTES_MAX: usize = 2 * COMMAND_BYTES_MAX + 64;
