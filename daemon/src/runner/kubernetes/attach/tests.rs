//! The pump, as a WebSocket's and as SPDY's.

use std::{
    io::Write,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures_util::{Sink, StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio_tungstenite::tungstenite::{self, Message, protocol::frame::coding::CloseCode};

use super::{payload::BLOCK, *};

const FRAME: usize = <websocket::Mouth<Ear> as pump::Mouth>::CHUNK;
const STDIN: u8 = 0;
const CLOSE: u8 = 255;

pub(super) fn payload(bytes: &[u8]) -> Payload {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    Payload::open(file.path()).unwrap()
}

/// The server's ear: takes so many bytes, then blocks or breaks.
struct Ear {
    heard: Arc<Mutex<Vec<Message>>>,
    room: usize,
    breaks: bool,
}

impl Sink<Message> for Ear {
    type Error = &'static str;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match (self.room, self.breaks) {
            (0, true) => Poll::Ready(Err("broken pipe")),
            (0, false) => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        self.room = self.room.saturating_sub(message.len());
        self.heard.lock().unwrap().push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

const SUCCESS: &[u8] = b"\x03{\"metadata\":{},\"status\":\"Success\"}";

fn binary(bytes: &[u8]) -> Result<Message, tungstenite::Error> {
    Ok(Message::Binary(Bytes::copy_from_slice(bytes)))
}

fn failure(message: &str) -> Result<Message, tungstenite::Error> {
    let status = serde_json::json!({"status": "Failure", "message": message, "code": 500});
    binary(format!("\x03{status}").as_bytes())
}

/// What the server says, and whether it waits until it has heard everything.
struct Words {
    words: Vec<Result<Message, tungstenite::Error>>,
    patient: bool,
}

struct Session {
    result: Result<Delivery, Fault>,
    sent: u64,
    heard: Vec<Message>,
}

async fn session(bytes: &[u8], half_close: bool, room: usize, breaks: bool, mouth: Words) -> Session {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = Ear { heard: Arc::clone(&heard), room, breaks };
    let listening = Arc::clone(&heard);
    let begin = stream::once(async move {
        let over = |message: &Message| {
            matches!(message, Message::Close(_)) || message.clone().into_data()[..] == [CLOSE, STDIN]
        };
        while mouth.patient && !listening.lock().unwrap().last().is_some_and(over) {
            tokio::task::yield_now().await;
        }
        stream::iter(mouth.words)
    });
    let from_server = Box::pin(begin.flatten());
    let mut progress = Progress::new(watch::channel(0).0);
    let mouth = websocket::Mouth { to_server: ear, half_close };
    let result = pump(mouth, websocket::listen(from_server), &payload(bytes), &mut progress).await;
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    Session { result, sent: progress.sent, heard }
}

fn received(messages: &[Message]) -> Vec<u8> {
    let data = messages.iter().filter_map(|message| match message {
        Message::Binary(bytes) if bytes[0] == STDIN => Some(&bytes[1..]),
        _ => None,
    });
    data.flatten().copied().collect()
}

#[tokio::test]
async fn the_payload_goes_out_in_whole_messages_and_stdin_is_ended() {
    for length in [0, 1, FRAME - 1, FRAME, FRAME + 1, BLOCK, 3 * BLOCK + 17] {
        let bytes: Vec<u8> = (0..length).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let mouth = Words { words: vec![binary(b"\x01"), binary(SUCCESS)], patient: true };
        let session = session(&bytes, true, usize::MAX, false, mouth).await;
        assert!(matches!(session.result, Ok(Delivery::HandedOver)), "{length}: {:?}", session.result);
        assert!(received(&session.heard) == bytes, "{length}");
        assert!(session.heard.iter().all(|message| message.len() <= FRAME + 1));
        assert_eq!(session.heard.last().unwrap().clone().into_data()[..], [255, 0]);
        assert_eq!(session.sent, u64::try_from(length).unwrap());
    }
}

#[tokio::test]
async fn the_old_protocol_ends_stdin_by_its_close() {
    let mouth = Words { words: vec![Ok(Message::Close(None))], patient: true };
    let session = session(b"hello", false, usize::MAX, false, mouth).await;
    assert!(matches!(session.result, Ok(Delivery::HandedOver)));
    assert!(matches!(session.heard.last(), Some(Message::Close(Some(frame))) if frame.code == CloseCode::Normal));
}

#[tokio::test]
async fn a_process_that_ends_first_has_not_read_all() {
    let bytes = vec![0; 10 * BLOCK];
    for breaks in [false, true] {
        let mouth = Words { words: vec![binary(SUCCESS)], patient: false };
        let session = session(&bytes, true, BLOCK, breaks, mouth).await;
        assert!(matches!(session.result, Ok(Delivery::Unread)), "{:?}", session.result);
    }
}

#[tokio::test]
async fn no_container_is_no_cut() {
    for words in [
        "Internal error occurred: unable to upgrade connection: container worker not found in pod b9_default",
        "error attaching to container: failed to load task: no running task found: task af46 not found: not found",
    ] {
        let mouth = Words { words: vec![failure(words)], patient: false };
        let session = session(b"hello", true, usize::MAX, false, mouth).await;
        assert!(
            matches!(&session.result, Err(Fault::NoContainer(message)) if message == words),
            "{:?}",
            session.result
        );
    }
    let mouth = Words { words: vec![failure("out of memory")], patient: true };
    assert!(matches!(session(b"hello", true, usize::MAX, false, mouth).await.result, Err(Fault::Broken(_))));
}

#[tokio::test]
async fn an_end_without_a_word_is_a_cut() {
    for (half_close, words) in [
        (true, vec![]),
        (true, vec![Ok(Message::Close(None))]),
        (false, vec![]),
        (true, vec![Err(tungstenite::Error::ConnectionClosed)]),
    ] {
        let mouth = Words { words, patient: true };
        let session = session(b"hello", half_close, usize::MAX, false, mouth).await;
        assert!(matches!(session.result, Err(Fault::Broken(_))), "{:?}", session.result);
        assert_eq!(session.sent, 5);
    }
}

/// Whatever happens when: all of it was handed over only if all of it, and the end of stdin, went out.
#[tokio::test(start_paused = true)]
async fn nothing_is_called_delivered_that_did_not_go_out() {
    let seeds = std::env::var("WORKNODE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(1000);
    for seed in 0..seeds {
        let rng = &mut StdRng::seed_from_u64(seed);
        let bytes = vec![7; rng.random_range(0..3 * FRAME)];
        let room = if rng.random_bool(0.5) { usize::MAX } else { rng.random_range(0..4 * FRAME) };
        let words = match rng.random_range(0..5) {
            0 => vec![],
            1 => vec![Ok(Message::Close(None))],
            2 => vec![failure("something broke")],
            3 => vec![binary(b"\x01"), binary(SUCCESS)],
            _ => vec![binary(SUCCESS)],
        };
        let (half_close, breaks) = (rng.random(), rng.random());
        let patient = rng.random_bool(0.5) && room == usize::MAX;
        let session = session(&bytes, half_close, room, breaks, Words { words, patient }).await;
        let whole = received(&session.heard) == bytes && session.heard.len() > bytes.len().div_ceil(FRAME);
        assert!(!matches!(session.result, Ok(Delivery::HandedOver)) || whole, "seed {seed}");
        assert!(session.sent <= u64::try_from(bytes.len()).unwrap(), "seed {seed}");
    }
}
