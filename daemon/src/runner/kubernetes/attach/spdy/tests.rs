//! Whole sessions, against a server of a few lines.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{io::DuplexStream, sync::watch, task::JoinHandle};

use super::{
    super::{
        Delivery,
        pump::{Progress, pump},
        tests::payload,
    },
    frame::{Decoder, Frame},
    *,
};

/// What the server does with a session.
#[derive(Clone, Copy, Debug)]
struct Server {
    /// Takes so many bytes of stdin and then no more.
    room: usize,
    /// Then it says this on the error stream, or ends without a word.
    word: Option<&'static str>,
    /// It waits for the end of stdin first.
    patient: bool,
    /// It pings after each frame.
    pings: bool,
}

const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;

impl Server {
    const GOOD: Self = Self { room: usize::MAX, word: Some(SUCCESS), patient: true, pings: false };

    /// What it took, whether stdin was ended, and the pings that came.
    async fn serve(self, mut io: DuplexStream) -> (Vec<u8>, bool, Vec<u32>) {
        let (mut packer, mut decoder) = (Packer::new().unwrap(), Decoder::default());
        let (mut taken, mut ended, mut pings) = (Vec::new(), false, Vec::new());
        let mut buffer = vec![0; 4096];
        'session: loop {
            while let Some(frame) = decoder.next().unwrap() {
                match frame {
                    Frame::Headers { reply: false, stream, .. } => {
                        let mut reply = vec![0x80, 3, 0, 2, 0, 0, 0];
                        let block = packer.block(&[]).unwrap();
                        reply.push(u8::try_from(4 + block.len()).unwrap());
                        reply.extend(stream.to_be_bytes());
                        reply.extend(block);
                        io.write_all(&reply).await.unwrap();
                    }
                    Frame::Data { stream: STDIN, fin, bytes } => {
                        taken.extend_from_slice(&bytes);
                        ended |= fin;
                        if self.pings && io.write_all(&frame::ping(2)).await.is_err() {
                            break 'session;
                        }
                    }
                    Frame::Ping(id) => pings.push(id),
                    other => panic!("{other:?}"),
                }
                if ended || (!self.patient && taken.len() >= self.room) {
                    break 'session;
                }
            }
            match io.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => decoder.push(&buffer[..count]),
            }
        }
        if let Some(word) = self.word {
            let mut frame = frame::data_head(ERROR, false, word.len()).to_vec();
            frame.extend(word.as_bytes());
            let _ = io.write_all(&frame).await;
            // The rest of what went out, until the client has heard the word.
            loop {
                while let Some(frame) = decoder.next().unwrap() {
                    ended |= matches!(frame, Frame::Data { stream: STDIN, fin: true, .. });
                }
                match io.read(&mut buffer).await {
                    Ok(count @ 1..) => decoder.push(&buffer[..count]),
                    _ => break,
                }
            }
        }
        taken.truncate(self.room);
        (taken, ended, pings)
    }
}

struct Session {
    result: Result<Delivery, Fault>,
    sent: u64,
    taken: Vec<u8>,
    ended: bool,
    pings: Vec<u32>,
}

async fn session(bytes: &[u8], server: Server) -> Session {
    let (client, other) = tokio::io::duplex(64 * 1024);
    let server: JoinHandle<_> = tokio::spawn(server.serve(other));
    let (from_server, to_server) = tokio::io::split(client);
    let (mouth, ear) = begin(to_server, from_server, false).await.unwrap();
    let mut progress = Progress::new(watch::channel(0).0);
    let result = pump(mouth, ear.listen(), &payload(bytes), &mut progress).await;
    let (taken, ended, pings) = server.await.unwrap();
    Session { result, sent: progress.sent, taken, ended, pings }
}

#[test]
fn the_streams_are_opened_in_one_write() {
    let opening = opening(false).unwrap();
    let mut decoder = Decoder::default();
    decoder.push(&opening);
    let mut unpacker = headers::Unpacker::new();
    for (number, kind) in [(1, &b"error"[..]), (3, b"stdin")] {
        let Some(Frame::Headers { reply: false, stream, fin: false, block }) = decoder.next().unwrap() else {
            panic!("no stream")
        };
        assert_eq!(stream, number);
        let expected = [b"\0\0\0\x01\0\0\0\x0astreamtype\0\0\0\x05", kind].concat();
        assert_eq!(unpacker.block(&block).unwrap(), expected);
    }
    assert_eq!(decoder.next(), Ok(None));
}

#[tokio::test]
async fn the_payload_goes_out_and_stdin_is_ended() {
    const CHUNK: usize = 32 * 1024;
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 20 * CHUNK + 17] {
        let bytes: Vec<u8> = (0..length).map(|number| u8::try_from(number % 251).unwrap()).collect();
        let session = session(&bytes, Server::GOOD).await;
        assert!(matches!(session.result, Ok(Delivery::HandedOver)), "{length}: {:?}", session.result);
        assert!(session.taken == bytes && session.ended, "{length}");
        assert_eq!(session.sent, u64::try_from(length).unwrap());
    }
}

#[tokio::test]
async fn a_process_that_ends_first_has_not_read_all() {
    let server = Server { room: 100_000, patient: false, ..Server::GOOD };
    let session = session(&vec![7; 1_000_000], server).await;
    assert!(matches!(session.result, Ok(Delivery::Unread)), "{:?}", session.result);
    assert_eq!(session.taken.len(), 100_000);
}

#[tokio::test]
async fn an_end_without_a_word_is_a_cut() {
    for (patient, room) in [(true, usize::MAX), (false, 100_000)] {
        let server = Server { word: None, patient, room, ..Server::GOOD };
        let session = session(&vec![7; 1_000_000], server).await;
        assert!(matches!(session.result, Err(Fault::Broken(_))), "{:?}", session.result);
    }
}

#[tokio::test]
async fn no_container_is_no_cut() {
    let word = r#"{"status":"Failure","message":"Internal error occurred: container worker not found in pod a_b"}"#;
    let session = session(b"x", Server { word: Some(word), ..Server::GOOD }).await;
    assert!(matches!(session.result, Err(Fault::NoContainer(_))), "{:?}", session.result);
}

#[tokio::test]
async fn pings_of_the_server_are_answered_and_none_of_ours() {
    let session = session(&vec![7; 500_000], Server { pings: true, ..Server::GOOD }).await;
    assert!(matches!(session.result, Ok(Delivery::HandedOver)));
    assert!(!session.pings.is_empty() && session.pings.iter().all(|id| *id == 2), "{:?}", session.pings);
}

/// A server that takes everything and then says nothing for a minute, as one does whose process does not read.
#[tokio::test(start_paused = true)]
async fn a_session_that_waits_is_kept_alive() {
    let (client, mut server) = tokio::io::duplex(64 * 1024);
    let (from_server, to_server) = tokio::io::split(client);
    let (_pongs, to_answer) = mpsc::channel(1);
    let mouth = Mouth { to_server, to_answer, next_ping: 1 };
    let (pongs, _answers) = mpsc::channel(1);
    let ear = Ear { from_server, hearing: Hearing::new(false), buffer: BytesMut::new(), pongs };
    let waiting = tokio::spawn(async move {
        let mut progress = Progress::new(watch::channel(0).0);
        pump(mouth, ear.listen(), &payload(b""), &mut progress).await
    });
    let begin = tokio::time::Instant::now();
    let mut decoder = Decoder::default();
    let mut pings = Vec::new();
    let mut buffer = [0; 64];
    while pings.len() < 12 {
        let count = server.read(&mut buffer).await.unwrap();
        decoder.push(&buffer[..count]);
        // As a real server, it sends them back.
        server.write_all(&buffer[..count]).await.unwrap();
        while let Some(frame) = decoder.next().unwrap() {
            match frame {
                Frame::Ping(id) => pings.push(id),
                Frame::Data { stream: STDIN, fin: true, .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(pings, (0..12).map(|number| 2 * number + 1).collect::<Vec<u32>>());
    assert_eq!(begin.elapsed(), 12 * PINGS);
    drop(server);
    assert!(matches!(waiting.await.unwrap(), Err(Fault::Broken(_))));
}

#[tokio::test(start_paused = true)]
async fn streams_that_nobody_answers_are_not_waited_for_without_end() {
    let (client, _server) = tokio::io::duplex(64 * 1024);
    let (from_server, to_server) = tokio::io::split(client);
    let fault = begin(to_server, from_server, false).await.map(drop).unwrap_err();
    assert!(matches!(fault, Fault::Broken(words) if words == "the server did not open the streams"));
}

/// Whatever happens when: all of it was handed over only if all of it, and the end of stdin, went out.
#[tokio::test(start_paused = true)]
async fn nothing_is_called_delivered_that_did_not_go_out() {
    let seeds = std::env::var("WORKNODE_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    for seed in 0..seeds {
        let rng = &mut StdRng::seed_from_u64(seed);
        let bytes = vec![7; rng.random_range(0..200_000)];
        let word = match rng.random_range(0..3) {
            0 => None,
            1 => Some(SUCCESS),
            _ => Some(r#"{"status":"Failure","message":"something broke"}"#),
        };
        let server = Server { room: rng.random_range(1..200_000), word, patient: rng.random(), pings: rng.random() };
        let session = session(&bytes, server).await;
        let whole = session.ended && session.sent == u64::try_from(bytes.len()).unwrap();
        assert!(!matches!(session.result, Ok(Delivery::HandedOver)) || whole, "seed {seed}: {server:?}");
        assert!(session.sent <= u64::try_from(bytes.len()).unwrap(), "seed {seed}");
    }
}
