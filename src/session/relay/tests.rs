use bytes::BytesMut;

use super::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

const ERROR: &[u8] = b"SERROR\0VERROR\0C22012\0Mdivision by zero\0\0";

/// Feeds messages in pieces of `step` bytes; the events in order, and the tags that reached the client.
fn run(expects: &[Expect], messages: &[Vec<u8>], step: usize) -> (Vec<Event>, Vec<u8>, Relay) {
    let mut relay = Relay::default();
    expects.iter().cloned().for_each(|expect| relay.expect(expect));
    let bytes: Vec<u8> = messages.concat();
    let (mut incoming, mut outgoing, mut events) = (BytesMut::new(), BytesMut::new(), Vec::new());
    for piece in bytes.chunks(step) {
        incoming.extend_from_slice(piece);
        loop {
            match relay.advance(&mut incoming, &mut outgoing).unwrap() {
                Event::Dry => break,
                event => events.push(event),
            }
        }
    }
    relay.emit_now(&mut outgoing);
    let mut tags = Vec::new();
    while let Some(frame) = protocol::frame(&outgoing, 1 << 20).unwrap() {
        tags.push(frame.tag);
        outgoing.advance(frame.len);
    }
    assert!(outgoing.is_empty(), "nothing is passed in part for ever");
    (events, tags, relay)
}

fn check(case: &str, expects: &[Expect], messages: &[Vec<u8>], tags: &str) -> Relay {
    let (events, whole, _) = run(expects, messages, usize::MAX);
    assert_eq!(String::from_utf8_lossy(&whole), tags, "{case}");
    // However the bytes arrive, the client sees the same, and the session hears the same.
    for step in [1, 2, 3, 7] {
        let (same_events, same_tags, _) = run(expects, messages, step);
        assert_eq!((same_events, same_tags), (events.clone(), whole.clone()), "{case}, in steps of {step}");
    }
    run(expects, messages, usize::MAX).2
}

fn own(tag: u8) -> Expect {
    Expect::Own(message(tag, b"").into())
}

#[test]
fn a_simple_query_passes_as_it_is() {
    let row = message(b'D', b"\0\x01\0\0\0\x011");
    let messages = [message(b'T', b"\0\0"), row.clone(), row, message(b'C', b"SELECT 2\0"), message(b'Z', b"I")];
    let relay = check("rows", &[Expect::Query { pass: true }], &messages, "TDDCZ");
    assert!(relay.is_idle());
}

#[test]
fn what_goldseam_caused_is_taken_out_and_what_it_answers_is_put_in() {
    let expects = [
        Expect::Parse { pass: false, statement: None },
        Expect::Bind { pass: false },
        Expect::Execute { pass: false },
        own(b'1'),
        Expect::Bind { pass: true },
        Expect::Execute { pass: true },
        Expect::Sync { pass: true },
    ];
    let messages = [
        message(b'1', b""),
        message(b'2', b""),
        message(b'C', b"BEGIN\0"),
        message(b'2', b""),
        message(b'D', b"\0\0"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"T"),
    ];
    check("a BEGIN of ours", &expects, &messages, "12DCZ");
}

#[test]
fn an_error_skips_what_was_sent_before_the_sync() {
    let expects = [
        Expect::Parse { pass: true, statement: Some(7) },
        Expect::Bind { pass: true },
        own(b'1'),
        Expect::Execute { pass: true },
        Expect::Sync { pass: true },
    ];
    let mut relay = check("sync sent", &expects, &[message(b'E', ERROR), message(b'Z', b"I")], "EZ");
    assert!(!relay.is_skipping() && relay.is_idle());
    assert_eq!(relay.take_undone(), (vec![7], false));

    let relay = check("sync not sent yet", &expects[..4], &[message(b'E', ERROR)], "E");
    assert!(relay.is_skipping());
}

#[test]
fn a_begin_that_fails_before_a_simple_query_needs_a_sync() {
    let expects = [Expect::Parse { pass: false, statement: None }, Expect::Query { pass: true }];
    let (events, tags, mut relay) = run(&expects, &[message(b'E', ERROR)], 3);
    assert_eq!((events, tags), (vec![Event::NeedSync], b"E".to_vec()));
    assert!(relay.awaits_ready());
    let (mut incoming, mut outgoing) = (BytesMut::from(&message(b'Z', b"I")[..]), BytesMut::new());
    assert_eq!(relay.advance(&mut incoming, &mut outgoing).unwrap(), Event::Ready(b'I'));
}

#[test]
fn a_provoked_error_is_told_in_goldseams_words() {
    let ours: bytes::Bytes = message(b'E', b"C0A000\0\0").into();
    let mut relay = Relay::default();
    relay.expect(Expect::Refusal(ours.clone()));
    let (mut incoming, mut outgoing) = (BytesMut::from(&message(b'E', ERROR)[..]), BytesMut::new());
    relay.advance(&mut incoming, &mut outgoing).unwrap();
    assert_eq!(outgoing, ours);
}

#[test]
fn notices_and_notifications_pass_at_any_time() {
    let messages =
        [message(b'N', ERROR), message(b'A', b"\0\0\0\x01c\0\0"), message(b'C', b"X\0"), message(b'Z', b"I")];
    check("in a query", &[Expect::Query { pass: true }], &messages, "NACZ");
}

#[test]
fn a_server_that_breaks_the_protocol_is_found_out() {
    let cases: &[(&str, Vec<u8>)] = &[
        ("an answer that nobody asked for", message(b'C', b"X\0")),
        ("ready too early", message(b'Z', b"I")),
        ("an unknown message", message(b'?', b"")),
        ("a length below its own", vec![b'E', 0, 0, 0, 3]),
        ("a length of 4 GB", vec![b'E', 0xff, 0xff, 0xff, 0xff]),
    ];
    for (case, bytes) in cases {
        let mut relay = Relay::default();
        relay.expect(Expect::Bind { pass: true });
        let error = relay.advance(&mut BytesMut::from(&bytes[..]), &mut BytesMut::new()).unwrap_err();
        assert_eq!(error.code, SqlState::PROTOCOL_VIOLATION, "{case}");
    }
}

#[test]
fn copy_takes_the_sync_that_was_sent_with_it() {
    let mut relay = Relay::default();
    relay.expect(Expect::Execute { pass: true });
    relay.expect(Expect::Sync { pass: true });
    relay.enter_copy();
    assert!(!relay.awaits_ready());
}
