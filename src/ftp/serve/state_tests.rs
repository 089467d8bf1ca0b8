use proptest::prelude::*;

use super::*;
use crate::ftp::command::parse;
use crate::ftp::feat::Features;
use crate::ftp::reply::ReplyParser;

fn state(secrecy: Secrecy) -> State {
    State::new(Terms {
        peer: "192.0.2.7".parse().unwrap(),
        secrecy,
        implicit: false,
    })
}

fn logged_in() -> State {
    let mut state = state(Secrecy::Optional);
    state.logged_in(b"camera".to_vec());
    state
}

fn code(state: &mut State, line: &str) -> u16 {
    match state.accept(parse(line.as_bytes())) {
        Step::Answer(answer) => answer.code(),
        Step::Do(request) => panic!("{line}: {request:?}"),
    }
}

fn request(state: &mut State, line: &str) -> Request {
    match state.accept(parse(line.as_bytes())) {
        Step::Answer(answer) => panic!("{line}: {answer}"),
        Step::Do(request) => request,
    }
}

#[test]
fn nothing_but_a_login_comes_before_the_login() {
    let mut state = state(Secrecy::Optional);
    for line in [
        "STOR a", "LIST", "PASV", "PWD", "RNTO a", "SIZE a", "TYPE I", "STAT",
    ] {
        assert_eq!(code(&mut state, line), 530, "{line}");
    }
    assert_eq!(code(&mut state, "PASS x"), 503);
    assert_eq!(code(&mut state, "USER camera"), 331);
    let login = request(&mut state, "PASS x");
    assert_eq!(
        login,
        Request::Login(b"camera".to_vec(), Secret::new(b"x".to_vec()))
    );
    assert_eq!(code(&mut state, "PWD"), 530);
    state.logged_in(b"camera".to_vec());
    assert_eq!(code(&mut state, "PWD"), 257);
    assert_eq!(code(&mut state, "USER other"), 331);
    assert_eq!(code(&mut state, "PWD"), 530);
}

#[test]
fn required_tls_comes_before_login_and_data() {
    let mut state = state(Secrecy::Required);
    assert_eq!(code(&mut state, "USER camera"), 530);
    assert_eq!(code(&mut state, "PASS x"), 503);
    assert!(matches!(
        request(&mut state, "AUTH TLS"),
        Request::StartTls(_)
    ));
    state.secured();
    assert_eq!(code(&mut state, "USER camera"), 331);
    state.logged_in(b"camera".to_vec());
    assert_eq!(code(&mut state, "STOR a"), 521);
    assert_eq!(code(&mut state, "PROT P"), 503);
    assert_eq!(code(&mut state, "PBSZ 0"), 200);
    assert_eq!(code(&mut state, "PROT C"), 534);
    assert_eq!(code(&mut state, "PROT S"), 536);
    assert_eq!(code(&mut state, "PROT P"), 200);
    assert!(matches!(
        request(&mut state, "STOR a"),
        Request::Receive { .. }
    ));
    assert_eq!(code(&mut state, "CCC"), 534);
}

#[test]
fn tls_forgets_what_was_said_in_clear() {
    let mut state = state(Secrecy::Optional);
    assert_eq!(code(&mut state, "USER mallory"), 331);
    state.secured();
    assert_eq!(code(&mut state, "PASS x"), 503);
    assert_eq!(code(&mut state, "AUTH TLS"), 503);
}

#[test]
fn clear_control_keeps_the_login_and_the_protection() {
    let mut state = state(Secrecy::Optional);
    assert_eq!(code(&mut state, "CCC"), 533);
    state.secured();
    state.logged_in(b"camera".to_vec());
    assert_eq!(code(&mut state, "PBSZ 0"), 200);
    assert_eq!(code(&mut state, "PROT P"), 200);
    assert!(matches!(request(&mut state, "CCC"), Request::EndTls(_)));
    state.cleared();
    assert!(state.protects_data());
    assert_eq!(code(&mut state, "PWD"), 257);
    assert_eq!(code(&mut state, "PROT C"), 503);
}

#[test]
fn data_connections_go_to_the_client_alone() {
    let mut state = logged_in();
    let own = SocketAddr::from(([192, 0, 2, 7], 2000));
    assert_eq!(
        request(&mut state, "PORT 192,0,2,7,7,208"),
        Request::Connect(own)
    );
    assert_eq!(
        request(&mut state, "EPRT |1|192.0.2.7|2000|"),
        Request::Connect(own)
    );
    for (line, expected) in [
        ("PORT 192,0,2,8,7,208", 504),
        ("PORT 192,0,2,7,0,22", 504),
        ("EPRT |1|127.0.0.1|2000|", 504),
        ("EPRT |2|::1|2000|", 522),
        ("EPRT |3|a.b|2000|", 522),
        ("EPSV 2", 522),
        ("EPSV 1000", 501),
        ("PORT 192,0,2,7,7", 501),
    ] {
        assert_eq!(code(&mut state, line), expected, "{line}");
    }
    assert_eq!(
        request(&mut state, "EPSV 1"),
        Request::Listen(Passive::Epsv)
    );
    assert_eq!(code(&mut state, "EPSV ALL"), 200);
    for line in ["PASV", "PORT 192,0,2,7,7,208", "EPRT |1|192.0.2.7|2000|"] {
        assert_eq!(code(&mut state, line), 503, "{line}");
    }
    assert_eq!(request(&mut state, "EPSV"), Request::Listen(Passive::Epsv));
}

#[test]
fn rest_is_for_the_next_transfer_alone() {
    let mut state = logged_in();
    assert_eq!(code(&mut state, "TYPE I"), 200);
    assert_eq!(code(&mut state, "REST 10"), 350);
    assert_eq!(request(&mut state, "EPSV"), Request::Listen(Passive::Epsv));
    let store = |state: &mut State| match request(state, "STOR a") {
        Request::Receive { store, .. } => store,
        other => panic!("{other:?}"),
    };
    assert_eq!(store(&mut state), Store::At(10));
    assert_eq!(store(&mut state), Store::New);
    assert_eq!(code(&mut state, "REST 10"), 350);
    assert!(matches!(request(&mut state, "LIST"), Request::List(..)));
    assert_eq!(store(&mut state), Store::New);
    assert_eq!(code(&mut state, "TYPE A"), 200);
    assert_eq!(code(&mut state, "REST 10"), 350);
    assert_eq!(code(&mut state, "STOR a"), 501);
    assert_eq!(code(&mut state, "SIZE a"), 550);
}

#[test]
fn rnto_follows_rnfr_and_nothing_else() {
    let mut state = logged_in();
    assert_eq!(code(&mut state, "RNTO b"), 503);
    state.renames(b"a".to_vec());
    assert_eq!(
        request(&mut state, "RNTO b"),
        Request::Rename(b"a".to_vec(), b"b".to_vec())
    );
    state.renames(b"a".to_vec());
    assert_eq!(code(&mut state, "NOOP"), 200);
    assert_eq!(code(&mut state, "RNTO b"), 503);
}

#[test]
fn what_nobody_implements_is_refused_by_the_code_for_it() {
    let mut state = logged_in();
    for (line, expected) in [
        ("TYPE E", 504),
        ("TYPE L 7", 504),
        ("TYPE L 8", 200),
        ("MODE Z", 504),
        ("MODE S", 200),
        ("STRU R", 504),
        ("SITE EXEC rm", 504),
        ("SITE HELP", 214),
        ("HELP", 214),
        ("ALLO 10", 202),
        ("REIN", 502),
        ("HOST a", 502),
        ("PRET STOR a", 502),
        ("FROB", 500),
        ("STOR", 501),
        ("OPTS UTF8 ON", 200),
        ("OPTS HASH MD5", 200),
        ("OPTS HASH FROB", 501),
        ("OPTS MLST size;", 200),
        ("OPTS FROB", 501),
        ("ACCT x", 202),
        ("SYST", 215),
    ] {
        assert_eq!(code(&mut state, line), expected, "{line}");
    }
}

#[test]
fn options_of_ls_are_no_path() {
    let mut state = logged_in();
    for (line, path) in [
        ("LIST -la", ""),
        ("LIST -a -l dir", "dir"),
        ("NLST my dir", "my dir"),
        ("LIST", ""),
    ] {
        let Request::List(_, found) = request(&mut state, line) else {
            panic!("{line}");
        };
        assert_eq!(found, path.as_bytes(), "{line}");
    }
}

#[test]
fn our_own_client_reads_the_features() {
    let mut state = logged_in();
    assert_eq!(code(&mut state, "OPTS HASH MD5"), 200);
    let mut bytes = Vec::new();
    state.features().encode(&mut bytes);
    let reply = ReplyParser::new().next(&mut &bytes[..]).unwrap().unwrap();
    let features = Features::parse(&reply);
    assert!(features.auth_tls && features.epsv && features.mfmt && features.rest_stream);
    assert!(features.size && features.mlst && features.utf8 && features.tvfs);
    assert_eq!(features.hash_selected, Some(Algorithm::Md5));
    assert_eq!(features.hash.len(), Algorithm::ALL.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_dialogue_is_answered_by_final_replies_of_one_kind(
        lines in prop::collection::vec(line(), 0..30),
        secrecy in prop::sample::select(vec![Secrecy::Required, Secrecy::Optional, Secrecy::None]),
    ) {
        let mut state = state(secrecy);
        for line in lines {
            match state.accept(parse(&line)) {
                Step::Answer(answer) => {
                    prop_assert!((200..600).contains(&answer.code()));
                    let mut bytes = Vec::new();
                    answer.encode(&mut bytes);
                    let mut input = &bytes[..];
                    let reply = ReplyParser::new().next(&mut input).unwrap().unwrap();
                    prop_assert_eq!(reply.code(), answer.code());
                    prop_assert!(input.is_empty());
                }
                Step::Do(request) => {
                    may_be_asked_for(&state, &request)?;
                    obey(&mut state, request);
                }
            }
        }
    }
}

/// What must hold whenever something is to be done.
fn may_be_asked_for(state: &State, request: &Request) -> Result<(), TestCaseError> {
    let free = matches!(
        request,
        Request::Login(..) | Request::Quit(_) | Request::StartTls(_) | Request::EndTls(_)
    );
    prop_assert!(free || state.user().is_some(), "{request:?} without login");
    let required = state.terms.secrecy == Secrecy::Required;
    if let Request::Login(..) = request {
        prop_assert!(state.tls || !required);
    }
    if let Request::Send { .. } | Request::Receive { .. } | Request::List(..) = request {
        prop_assert!(state.protects_data() || !required);
    }
    if let Request::Connect(to) = request {
        prop_assert_eq!(to.ip(), state.terms.peer);
        prop_assert!(to.port() >= 1024);
    }
    Ok(())
}

fn obey(state: &mut State, request: Request) {
    match request {
        Request::StartTls(_) => state.secured(),
        Request::EndTls(_) => state.cleared(),
        Request::Login(user, _) => state.logged_in(user),
        Request::RenameFrom(path) => state.renames(path),
        Request::ChangeDir(path) => state.changed_dir(path),
        _ => {}
    }
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let verbs: Vec<_> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
    let likely = prop::sample::select(vec![
        "USER a",
        "PASS b",
        "AUTH TLS",
        "PBSZ 0",
        "PROT P",
        "PROT C",
        "TYPE I",
        "RNFR a",
        "RNTO b",
        "PORT 192,0,2,7,7,208",
        "EPRT |1|192.0.2.7|80|",
        "EPRT |2|::1|2000|",
        "EPSV ALL",
        "CCC",
    ]);
    prop_oneof![
        likely.prop_map(|line| line.as_bytes().to_vec()),
        (prop::sample::select(verbs), "[ -~]{0,12}")
            .prop_map(|(verb, rest)| format!("{verb} {rest}").into_bytes()),
        any::<Vec<u8>>(),
    ]
}
