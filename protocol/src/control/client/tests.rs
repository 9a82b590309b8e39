use proptest::prelude::*;

use super::super::{Results, Submit, UnitCommand};
use super::*;
use crate::unit::State;

fn greeted() -> Client {
    let mut client = Client::new();
    client.handle_input(b"Receptor Control, node n1\n");
    assert_eq!(client.poll_event(), Ok(Some(Event::Greeted { node: "n1".to_owned() })));
    client
}

/// Gives a command, feeds the answer, and returns what it meant.
fn ask(client: &mut Client, request: &Request, answer: &str) -> Event {
    client.command(request).unwrap();
    assert_eq!(client.poll_event(), Ok(None));
    client.handle_input(answer.as_bytes());
    client.poll_event().unwrap().unwrap()
}

fn refused(event: Event) -> Refused {
    match event {
        Event::Refused(refused) => refused,
        other => panic!("{other:?}"),
    }
}

fn submit() -> Request {
    Request::Work(WorkRequest::Submit(Submit {
        node: "localhost".to_owned(),
        work_type: "cat".to_owned(),
        ..Submit::default()
    }))
}

fn results() -> Request {
    Request::Work(WorkRequest::Results(Results { unit: "fdHK6b5O".to_owned(), start: 6, ..Results::default() }))
}

fn about(request: fn(UnitCommand) -> WorkRequest) -> Request {
    Request::Work(request(UnitCommand { unit: "fdHK6b5O".to_owned(), signature: None }))
}

#[test]
fn a_greeting_that_is_none_is_refused() {
    for (bytes, ended) in [
        (&b"HTTP/1.1 400 Bad Request\r\n"[..], false),
        (b"Receptor Control, node \n", false),
        (b"\n", false),
        (b"", true),
        (b"Receptor Con", true),
        (&[b'x'; MAX_BANNER_BYTES + 1], false),
    ] {
        let mut client = Client::new();
        client.handle_input(bytes);
        if ended {
            client.handle_end();
        }
        assert_eq!(client.poll_event(), Err(ClientError::NoBanner), "{:?}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(ClientError::NoBanner.to_string(), "Failed to connect to Receptor socket");
}

#[test]
fn a_service_may_refuse_to_greet() {
    let mut client = Client::new();
    client.handle_input(b"ERROR: too many connections, at most 1 are served at once\n");
    let refusal = refused(client.poll_event().unwrap().unwrap());
    assert_eq!(refusal.text(), "too many connections, at most 1 are served at once");
    assert_eq!(client.command(&Request::Reload), Err(ClientError::NotNow));
}

#[test]
fn a_greeting_may_come_in_pieces() {
    let mut client = Client::new();
    for byte in b"  Receptor Control, node a b:c \r" {
        client.handle_input(&[*byte]);
        assert_eq!(client.poll_event(), Ok(None));
        assert_eq!(client.command(&Request::Reload), Err(ClientError::NotNow));
    }
    client.handle_input(b"\n");
    assert_eq!(client.poll_event(), Ok(Some(Event::Greeted { node: "a b:c".to_owned() })));
    assert!(client.is_idle());
}

/// The submit of control-protocol 3.7.
#[test]
fn a_submit() {
    let mut client = greeted();
    let created = ask(&mut client, &submit(), "Work unit created with ID fdHK6b5O. Send stdin data and EOF.\n");
    assert_eq!(created, Event::Created { unit: "fdHK6b5O".to_owned() });
    assert_eq!(client.command(&Request::Reload), Err(ClientError::NotNow));
    client.payload_sent().unwrap();
    client.handle_input(b"{\"result\":\"Job Started\",\"unitid\":\"fdHK6b5O\"}\n");
    client.handle_end();
    let Ok(Some(Event::Answered(answer))) = client.poll_event() else { panic!() };
    assert_eq!(answer.submitted(), Ok(("Job Started", "fdHK6b5O")));
    assert_eq!(client.poll_event(), Ok(None));
    assert_eq!(client.command(&Request::Reload), Err(ClientError::NotNow));
}

#[test]
fn a_submit_can_be_refused_before_and_after_the_payload() {
    let mut client = greeted();
    let before = refused(ask(&mut client, &submit(), "ERROR: unknown work type zzz\n"));
    assert_eq!((before.text(), before.line()), ("unknown work type zzz", "ERROR: unknown work type zzz"));
    assert!(client.is_idle());

    ask(&mut client, &submit(), "Work unit created with ID a. Send stdin data and EOF.\n");
    client.payload_sent().unwrap();
    client.handle_input(b"ERROR: extra\n");
    assert_eq!(refused(client.poll_event().unwrap().unwrap()).text(), "extra");
    assert!(!client.is_idle());
}

/// The results of control-protocol 3.10.
#[test]
fn results_are_raw_after_their_header() {
    let mut client = greeted();
    let streaming = ask(&mut client, &results(), "Streaming results for work unit fdHK6b5O\nworld\n\0");
    assert_eq!(streaming, Event::Streaming { unit: "fdHK6b5O".to_owned() });
    assert_eq!(client.poll_event(), Ok(None));
    assert_eq!(client.take_buffered(), b"world\n\0");

    let mut client = greeted();
    let unknown = refused(ask(&mut client, &results(), "ERROR: unknown work unit fdHK6b5O\n"));
    assert!(unknown.is_unknown_unit() && client.is_idle());
}

/// The dialogue of control-protocol 3.4.
#[test]
fn a_connection_greets_again() {
    let connect = Request::Connect { node: "n2".to_owned(), service: "control".to_owned(), tls: None };
    let mut client = greeted();
    let connected = ask(&mut client, &connect, "Connecting\nReceptor Control, node n2\n");
    assert_eq!(connected, Event::Connected);
    client.greet_again().unwrap();
    assert_eq!(client.poll_event(), Ok(Some(Event::Greeted { node: "n2".to_owned() })));
    let reply = "{\"From\":\"n1\",\"Success\":true,\"Time\":912502,\"TimeStr\":\"912.502µs\"}\n";
    let Event::Answered(answer) = ask(&mut client, &Request::Ping { target: "n1".to_owned() }, reply) else { panic!() };
    assert!(answer.is_true("Success"));
    assert_eq!(answer.text("TimeStr"), Some("912.502µs"));

    let mut client = greeted();
    let refusal = refused(ask(&mut client, &connect, "ERROR: context canceled\n"));
    assert_eq!(refusal.text(), "context canceled");
}

#[test]
fn answers_about_units() {
    let mut client = greeted();
    let line = "{\"Detail\":\"exit status 0\",\"ExtraData\":null,\"State\":2,\"StateName\":\"Succeeded\",\"StdoutSize\":11,\"WorkType\":\"cat\"}";
    let Event::Answered(answer) = ask(&mut client, &about(WorkRequest::Status), &format!("{line}\n")) else { panic!() };
    let status = answer.status().unwrap();
    assert_eq!((status.state, status.detail.as_str()), (State::Succeeded, "exit status 0"));

    let list = Request::Work(WorkRequest::List { unit: None });
    let Event::Answered(answer) = ask(&mut client, &list, &format!("{{\"b\":{line},\"a\":{line}}}\n")) else {
        panic!()
    };
    let units = answer.units().unwrap();
    assert_eq!(units.iter().map(|(unit, _)| unit.as_str()).collect::<Vec<_>>(), ["b", "a"]);

    let cancel = about(WorkRequest::Cancel);
    let Event::Answered(answer) = ask(&mut client, &cancel, "{\"cancel pending\":\"fdHK6b5O\"}\n") else { panic!() };
    assert_eq!(answer.outcome(), Ok(("cancel pending", "fdHK6b5O")));
}

#[test]
fn an_error_with_a_line_feed_does_not_answer_the_next_command() {
    // control-protocol 3.9: the line feed of the remote text is kept.
    let mut client = greeted();
    let text = "ERROR: error cancelling remote unit:  cannot\n\n";
    let refusal = refused(ask(&mut client, &about(WorkRequest::Cancel), text));
    assert_eq!(refusal.text(), "error cancelling remote unit:  cannot");
    let Event::Answered(answer) = ask(&mut client, &Request::Reload, "{\"Success\":true}\n") else { panic!() };
    assert!(answer.is_true("Success"));
}

#[test]
fn the_text_of_an_error_begins_at_its_eighth_character() {
    for (line, text) in [("ERROR: é x", "é x"), ("ERROR:x", ""), ("ERROR:", ""), ("ERROR:é x", " x")] {
        assert_eq!(Refused::read(line).unwrap().text(), text);
    }
    assert_eq!(Refused::read("Error: x"), None);
}

#[test]
fn answers_that_are_none_are_told() {
    for line in ["hello", "[]", "{", "Streaming results for work unit a"] {
        let mut client = greeted();
        client.command(&Request::Reload).unwrap();
        client.handle_input(format!("{line}\n").as_bytes());
        assert_eq!(client.poll_event(), Err(ClientError::Unexpected(line.to_owned())));
    }
    let mut client = greeted();
    client.command(&submit()).unwrap();
    client.handle_input(b"{\"result\":\"Job Started\"}\n");
    assert!(matches!(client.poll_event(), Err(ClientError::Unexpected(_))));
}

#[test]
fn an_end_before_the_answer_is_told() {
    let mut client = greeted();
    client.command(&Request::Reload).unwrap();
    client.handle_end();
    assert_eq!(client.poll_event(), Err(ClientError::Closed));

    // A last line without its line feed is a line.
    let mut client = greeted();
    client.command(&Request::Reload).unwrap();
    client.handle_input(b"{\"Success\":true}");
    client.handle_end();
    assert!(matches!(client.poll_event(), Ok(Some(Event::Answered(_)))));
}

#[test]
fn an_answer_is_bounded() {
    let mut client = Client::new().with_max_answer_bytes(10);
    client.handle_input(b"Receptor Control, node n1\n");
    client.poll_event().unwrap();
    client.command(&Request::Reload).unwrap();
    client.handle_input(b"{\"Success\":true");
    assert_eq!(client.poll_event(), Err(ClientError::LineTooLong { limit: 10 }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_client_fall(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        for request in [submit(), results(), Request::Reload, about(WorkRequest::Status)] {
            let mut client = greeted();
            client.command(&request).unwrap();
            for piece in &pieces {
                client.handle_input(piece);
                if client.poll_event().is_err() {
                    break;
                }
            }
            client.handle_end();
            let _ = client.poll_event();
        }
    }
}
