use proptest::prelude::*;

use super::*;

fn events(control: &mut Control, input: &[u8]) -> Vec<Event> {
    control.handle_input(input).unwrap();
    std::iter::from_fn(|| control.poll_event().unwrap()).collect()
}

fn greeted() -> Control {
    let mut control = Control::new();
    assert!(matches!(
        events(&mut control, b"220 hi\r\n")[..],
        [Event::Greeting(_)]
    ));
    control
}

fn codes(events: &[Event]) -> Vec<(Tag, u16)> {
    let code = |event: &Event| match event {
        Event::Reply { tag, reply, .. } | Event::Preliminary { tag, reply, .. } => {
            Some((*tag, reply.code()))
        }
        _ => None,
    };
    events.iter().filter_map(code).collect()
}

#[test]
fn replies_to_pipelined_commands_are_matched_in_order() {
    let mut control = greeted();
    let epsv = control.send(&Command::Epsv(None)).unwrap();
    let stor = control.send(&Command::Stor(b"f".to_vec())).unwrap();
    let size = control.send(&Command::Size(b"f".to_vec())).unwrap();
    assert_eq!(control.take_output(), b"EPSV\r\nSTOR f\r\nSIZE f\r\n");
    assert!(!control.has_output());
    let seen = events(
        &mut control,
        b"229 ok (|||99|)\r\n150 go\r\n226 done\r\n213 1\r\n",
    );
    assert_eq!(
        codes(&seen),
        [(epsv, 229), (stor, 150), (stor, 226), (size, 213)]
    );
    assert!(matches!(
        seen[1],
        Event::Preliminary {
            verb: Verb::Stor,
            ..
        }
    ));
    assert_eq!(control.in_flight().count(), 0);
}

#[test]
fn a_greeting_may_be_announced() {
    let mut control = Control::new();
    let seen = events(&mut control, b"120 wait\r\n220 hi\r\n220 what\r\n");
    assert!(matches!(
        seen[..],
        [
            Event::Greeting(_),
            Event::Greeting(_),
            Event::Unsolicited(_)
        ]
    ));
}

#[test]
fn after_421_nothing_is_answered() {
    let mut control = greeted();
    control.send(&Command::Noop).unwrap();
    let seen = events(&mut control, b"421 Timeout.\r\n530 log in\r\n");
    assert!(matches!(
        seen[..],
        [Event::Closing(_), Event::Unsolicited(_)]
    ));
    assert!(control.is_closing());
    assert_eq!(control.send(&Command::Noop), Err(ControlError::Closing));
    assert_eq!(control.in_flight().count(), 1);
}

#[test]
fn a_full_house_answers_421_instead_of_a_greeting() {
    let mut control = Control::new();
    assert!(matches!(
        events(&mut control, b"421 full\r\n")[..],
        [Event::Closing(_)]
    ));
}

#[test]
fn an_answer_to_another_command_is_an_error() {
    let mut control = greeted();
    control.send(&Command::Stor(b"f".to_vec())).unwrap();
    control.send(&Command::Size(b"f".to_vec())).unwrap();
    control
        .handle_input(b"150 go\r\n213 0\r\n226 done\r\n")
        .unwrap();
    assert!(matches!(
        control.poll_event(),
        Ok(Some(Event::Preliminary { .. }))
    ));
    let error = control.poll_event().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the reply \"213 0\" cannot be the answer to STOR"
    );
}

#[test]
fn the_queue_of_commands_is_bounded() {
    let mut control = greeted();
    for _ in 0..IN_FLIGHT_MAX {
        control.send(&Command::Noop).unwrap();
    }
    assert_eq!(control.send(&Command::Noop), Err(ControlError::Full));
    let seen = events(&mut control, b"200 ok\r\n");
    assert_eq!(seen.len(), 1);
    assert!(control.send(&Command::Noop).is_ok());
}

#[test]
fn a_refused_command_leaves_no_trace() {
    let mut control = greeted();
    let evil = Command::Stor(b"a\nDELE b".to_vec());
    assert!(matches!(control.send(&evil), Err(ControlError::Command(_))));
    assert!(!control.has_output());
    assert_eq!(control.in_flight().count(), 0);
}

#[test]
fn clear_text_behind_the_answer_to_auth_stops_tls() {
    for (extra, clean) in [(&b""[..], true), (b"230 come in\r\n", false), (b"2", false)] {
        let mut control = greeted();
        control.send(&Command::Auth(b"TLS".to_vec())).unwrap();
        control.take_output();
        control
            .handle_input(&[b"234 go\r\n", extra].concat())
            .unwrap();
        assert!(matches!(
            control.poll_event(),
            Ok(Some(Event::Reply { .. }))
        ));
        assert_eq!(control.start_tls().is_ok(), clean, "{extra:?}");
    }
}

#[test]
fn unread_input_is_bounded() {
    let mut control = greeted();
    let chunk = [b'x'; 65_536];
    let refused = (0..100).find(|_| control.handle_input(&chunk).is_err());
    assert!(refused.is_some_and(|chunks| chunks * chunk.len() <= REPLY_BYTES_MAX));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_input_never_panics(pieces: Vec<Vec<u8>>, sent in 0_usize..4) {
        let mut control = Control::new();
        for _ in 0..sent {
            control.send(&Command::Noop).unwrap();
        }
        for piece in pieces {
            control.handle_input(&piece).unwrap();
            while let Ok(Some(_)) = control.poll_event() {}
        }
    }
}
