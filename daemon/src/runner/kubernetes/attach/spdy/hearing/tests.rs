use proptest::prelude::*;

use super::{
    super::{frame, headers::Packer},
    *,
};

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;

/// The server's side, with the state that its blocks of headers need.
struct Server(Packer);

impl Server {
    fn new() -> Self {
        Self(Packer::new().unwrap())
    }

    fn control(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80, 3, 0, kind, 0, 0, 0, u8::try_from(payload.len()).unwrap()];
        frame.extend(payload);
        frame
    }

    fn reply(&mut self, stream: u32) -> Vec<u8> {
        let mut payload = stream.to_be_bytes().to_vec();
        payload.extend(self.0.block(&[]).unwrap());
        Self::control(2, &payload)
    }

    fn data(stream: u32, fin: bool, bytes: &[u8]) -> Vec<u8> {
        let mut frame = frame::data_head(stream, fin, bytes.len()).to_vec();
        frame.extend(bytes);
        frame
    }

    fn reset(stream: u32, status: u32) -> Vec<u8> {
        Self::control(3, &[stream.to_be_bytes(), status.to_be_bytes()].concat())
    }
}

/// All that is heard of these bytes, up to the end.
fn heard(hearing: &mut Hearing, bytes: &[u8]) -> Vec<String> {
    hearing.feed(bytes);
    let mut all = Vec::new();
    while let Some(heard) = hearing.next() {
        all.push(match &heard {
            Heard::Over(word) => format!("{word:?}"),
            heard => format!("{heard:?}"),
        });
        if matches!(heard, Heard::Over(_)) {
            break;
        }
    }
    all
}

fn once(bytes: &[u8]) -> Vec<String> {
    heard(&mut Hearing::new(false), bytes)
}

/// kubernetes-streams 3.5.
#[test]
fn a_good_session_from_its_beginning_to_its_end() {
    let mut server = Server::new();
    let mut hearing = Hearing::new(false);
    assert!(heard(&mut hearing, &server.reply(STDIN)).is_empty());
    assert_eq!(heard(&mut hearing, &server.reply(ERROR)), ["Established"]);
    assert!(heard(&mut hearing, &Server::control(6, &[0, 0, 0, 1])).is_empty(), "our own, sent back");
    assert_eq!(heard(&mut hearing, &Server::control(6, &[0, 0, 0, 2])), ["Ping(2)"]);
    let end = [
        Server::data(ERROR, false, SUCCESS.as_bytes()),
        Server::reset(ERROR, CANCEL),
        Server::reset(STDIN, CANCEL),
        Server::control(7, &[0, 0, 0, 7, 0, 0, 0, 0]),
    ];
    assert_eq!(heard(&mut hearing, &end.concat()), ["Success"]);
}

#[test]
fn a_word_in_pieces_is_one_word() {
    let text = r#"{"status":"Failure","message":"container worker not found in pod a_b"}"#;
    let frames: Vec<u8> = text.bytes().flat_map(|byte| Server::data(ERROR, false, &[byte])).collect();
    let long = once(&frames);
    assert!(long[0].contains("too long"), "{long:?}");
    let frames: Vec<u8> = text.as_bytes().chunks(30).flat_map(|piece| Server::data(ERROR, false, piece)).collect();
    assert_eq!(once(&frames), [r#"Failure("container worker not found in pod a_b")"#]);
}

#[test]
fn an_end_without_a_word_is_a_break() {
    let silence = r#"Broken("the server ended the session without a word")"#;
    for (bytes, end) in [
        (Server::reset(ERROR, CANCEL), silence),
        (Server::control(7, &[0; 8]), silence),
        (Server::data(ERROR, true, b""), silence),
        (Server::data(ERROR, true, b"plain text"), silence),
        (Server::reset(STDIN, 3), r#"Broken("the server refused stdin (SPDY status 3)")"#),
    ] {
        assert_eq!(once(&bytes), [end]);
    }
    let mut hearing = Hearing::new(false);
    assert!(heard(&mut hearing, &Server::reset(STDIN, CANCEL)).is_empty(), "the error stream says why");
    assert_eq!(hearing.end("connection closed"), Word::Broken("connection closed".to_owned()));
}

#[test]
fn output_that_was_not_asked_for_is_passed_over() {
    assert!(once(&Server::data(5, true, b"output")).is_empty());
    let mut hearing = Hearing::new(true);
    assert_eq!(heard(&mut hearing, &Server::data(5, true, b"output")), [r#"Output(b"output")"#]);
}

proptest! {
    /// No bytes end in anything but an orderly end, and none but a status on the error stream is a success.
    #[test]
    fn no_bytes_are_too_wild(frames: Vec<(u8, u32, Vec<u8>)>, pieces in 1_usize..50) {
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(kind, stream, payload)| {
                if kind % 2 == 0 {
                    Server::data(stream % 8, kind % 3 == 0, payload)
                } else {
                    Server::control(kind % 12, &[&stream.to_be_bytes()[..], payload].concat())
                }
            })
            .collect();
        let mut hearing = Hearing::new(false);
        for piece in bytes.chunks(pieces) {
            let heard = heard(&mut hearing, piece);
            prop_assert!(!heard.contains(&"Success".to_owned()));
            if heard.last().is_some_and(|last| last.starts_with("Broken")) {
                break;
            }
        }
    }
}
