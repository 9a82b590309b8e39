//! Attach by WebSocket, protocols v5 and v4 (kubernetes-streams 1).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::{
    Sink, SinkExt, Stream, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::{
    HeaderMap, Method, Request,
    header::{
        HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{AttachError, Target, pump, word::Word};
use crate::runner::kubernetes::client::{self, ApiError};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
/// "Close this channel", in v5 only.
const CLOSE: u8 = 255;

/// Longest message from the server; it has a status to send, nothing more.
const ANSWER: usize = 1024 * 1024;
/// Between two pings of a session that waits. The API server needs none; what stands before it may.
const PINGS: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Both protocols, the better one first.
const ANY: HeaderValue = HeaderValue::from_static("v5.channel.k8s.io, v4.channel.k8s.io");
/// The one that ends in the API server.
const NEWEST: HeaderValue = HeaderValue::from_static(V5);

/// Opens a session.
pub(super) async fn open(
    target: &Target<'_>,
) -> Result<(Mouth<SplitSink<Socket, Message>>, SplitStream<Socket>), AttachError> {
    let (socket, half_close) = upgrade(target.request(Method::GET, "stdin=true")?, target, ANY).await?;
    let (to_server, from_server) = socket.split();
    Ok((Mouth { to_server, half_close }, from_server))
}

/// Opens a session for output alone. Never by v4: where the kubelet ends the protocol, a session without stdin reads as one
/// whose stdin has ended, and the process sees that end.
pub(super) async fn open_output(target: &Target<'_>, streams: &str) -> Result<Socket, AttachError> {
    Ok(upgrade(target.request(Method::GET, streams)?, target, NEWEST).await?.0)
}

async fn upgrade(
    mut request: Request<Bytes>,
    target: &Target<'_>,
    protocols: HeaderValue,
) -> Result<(Socket, bool), AttachError> {
    let key = generate_key();
    let encoded = HeaderValue::from_str(&key).map_err(|fault| ApiError::Malformed(fault.to_string()));
    let headers = request.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, encoded.map_err(AttachError::NotBegun)?);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, protocols);
    let answer = target.upgrade(&request).await?;
    let half_close = agreement(answer.headers(), &key).map_err(AttachError::cut_before_the_first_byte)?;
    let upgraded = hyper::upgrade::on(answer).await;
    let upgraded = upgraded.map_err(|fault| AttachError::cut_before_the_first_byte(client::words(&fault)))?;
    let config = WebSocketConfig::default().max_message_size(Some(ANSWER)).max_frame_size(Some(ANSWER));
    Ok((WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await, half_close))
}

/// What the server agreed to: true if it can end stdin and go on.
fn agreement(headers: &HeaderMap, key: &str) -> Result<bool, &'static str> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    if header(SEC_WEBSOCKET_ACCEPT) != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err("the server's answer to the WebSocket handshake is wrong");
    }
    match header(SEC_WEBSOCKET_PROTOCOL) {
        Some(protocol) if protocol == V5.as_bytes() => Ok(true),
        Some(protocol) if protocol == V4.as_bytes() => Ok(false),
        _ => Err("the server speaks neither v5 nor v4 of the channel protocol"),
    }
}

/// Sends messages. They are never fragmented: the server takes each fragment for a message.
pub(super) struct Mouth<S> {
    pub(super) to_server: S,
    /// The protocol can end stdin and go on.
    pub(super) half_close: bool,
}

impl<S: Sink<Message, Error: std::fmt::Display> + Unpin> pump::Mouth for Mouth<S> {
    const CHUNK: usize = 64 * 1024;

    fn ends_stdin_alone(&self) -> bool {
        self.half_close
    }

    async fn send(&mut self, chunk: Bytes) -> Result<(), String> {
        let mut message = BytesMut::with_capacity(1 + chunk.len());
        message.put_u8(STDIN);
        message.extend_from_slice(&chunk);
        self.to_server.feed(Message::Binary(message.freeze())).await.map_err(|fault| fault.to_string())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.to_server.flush().await.map_err(|fault| fault.to_string())
    }

    async fn end(&mut self) -> Result<(), String> {
        let end = if self.half_close {
            Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))
        } else {
            Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
        };
        self.to_server.send(end).await.map_err(|fault| fault.to_string())
    }

    async fn stay(&mut self) -> String {
        if !self.half_close {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(PINGS).await;
            if let Err(fault) = self.to_server.send(Message::Ping(Bytes::new())).await {
                return fault.to_string();
            }
        }
    }
}

/// The next output on stdout, or the server's last word.
pub(super) async fn next_output(
    from_server: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
) -> Result<Bytes, Word> {
    loop {
        match next(from_server).await? {
            (STDOUT, bytes) if !bytes.is_empty() => return Ok(bytes),
            (ERROR, text) => Word::read(&text).map_or(Ok(()), Err)?,
            _ => {}
        }
    }
}

/// The next message: its channel, and what it holds.
async fn next(
    from_server: &mut (impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin),
) -> Result<(u8, Bytes), Word> {
    loop {
        if let Some(message) = read(from_server.next().await)? {
            return Ok(message);
        }
    }
}

/// A message: its channel, and what it holds. None: one without.
pub(super) fn read(message: Option<Result<Message, tungstenite::Error>>) -> Result<Option<(u8, Bytes)>, Word> {
    match message {
        Some(Ok(Message::Binary(mut bytes))) => {
            let channel = bytes.first().copied();
            Ok(channel.map(|channel| (channel, bytes.split_off(1))))
        }
        Some(Ok(Message::Close(_))) => Err(Word::Closed),
        Some(Ok(_)) => Ok(None),
        Some(Err(fault)) => Err(Word::Broken(fault.to_string())),
        None => Err(Word::Broken("connection closed".to_owned())),
    }
}

/// Reads until the server has said its last word. Channels of output are not asked for and passed over.
pub(super) async fn listen(mut from_server: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin) -> Word {
    loop {
        match next(&mut from_server).await {
            Ok((ERROR, text)) => {
                if let Some(word) = Word::read(&text) {
                    return word;
                }
            }
            Ok(_) => {}
            Err(word) => return word,
        }
    }
}
