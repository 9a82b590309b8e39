//! A unit's payload on its way into the worker's stdin: attach over WebSocket (kubernetes-streams 1, 2).
//!
//! The attach is for stdin alone. Its `Success` then means that the last byte is in the process's pipe, and comes long
//! before the process ends; with stdout it would mean the process's end and tell nothing about stdin. Whatever breaks, the
//! process sees the same clean end of its stdin: so a session that ended otherwise has cut the payload.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use http::{
    HeaderMap, Method, Request,
    header::{
        CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{sync::watch, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::{
    client::{self, Api, ApiError},
    pod::WORKER,
};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";

const STDIN: u8 = 0;
const ERROR: u8 = 3;
/// "Close this channel", in v5 only.
const CLOSE: u8 = 255;

/// Bytes of payload in one message. Messages are never fragmented: the server takes each fragment for a message.
const FRAME: usize = 64 * 1024;
/// Bytes read from the file at once.
const BLOCK: usize = 4 * FRAME;
/// Bytes between two words on how far the payload came.
const NOTE: u64 = 16 * 1024 * 1024;
/// How long the server's last words are waited for after it no longer takes anything.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Longest message from the server; it has a status to send, nothing more.
const ANSWER: usize = 1024 * 1024;

/// The payload: a file, and how long it is.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    file: Arc<File>,
    length: u64,
}

impl Payload {
    /// Opens the payload of a unit. Blocks.
    pub(crate) fn open(path: &std::path::Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Messages for the bytes from `from` on, with the channel in front of each.
    async fn messages(&self, from: u64) -> io::Result<Vec<Bytes>> {
        let left = usize::try_from(self.length - from).unwrap_or(usize::MAX).min(BLOCK);
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut block = Vec::with_capacity(left + left.div_ceil(FRAME));
            let mut at = from;
            while block.len() < left + left.div_ceil(FRAME) {
                block.push(STDIN);
                let begin = block.len();
                let count = FRAME.min(left + left.div_ceil(FRAME) - begin);
                block.resize(begin + count, 0);
                file.read_exact_at(block.get_mut(begin..).unwrap_or_default(), at)?;
                at += u64::try_from(count).map_err(io::Error::other)?;
            }
            io::Result::Ok(Bytes::from(block))
        };
        let mut block = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        let mut messages = Vec::with_capacity(left.div_ceil(FRAME));
        while !block.is_empty() {
            messages.push(block.split_to(block.len().min(FRAME + 1)));
        }
        Ok(messages)
    }
}

/// What became of a payload that was not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// All of it was handed over to the process.
    HandedOver,
    /// The session came to its end first: the process ended without reading all of it.
    Unread,
}

/// What became of a payload that did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    /// No session came about: nothing reached the process, its stdin is as it was.
    #[error("{0}")]
    NotBegun(ApiError),
    /// The kubelet had no running container to attach to: too early, or too late.
    #[error("{0}")]
    NoContainer(String),
    /// The session broke: the process has seen the end of its stdin after part of the payload.
    #[error("{message}")]
    Cut {
        /// Bytes that went out.
        sent: u64,
        /// What broke it.
        message: String,
    },
    /// The payload could not be read.
    #[error("{0}")]
    Payload(io::Error),
}

/// Sends the payload and ends stdin. `progress` is told now and then how many bytes went out.
pub(crate) async fn send(
    api: &Api,
    namespace: &str,
    pod: &str,
    payload: &Payload,
    progress: watch::Sender<u64>,
) -> Result<Delivery, AttachError> {
    let (socket, half_close) = open(api, namespace, pod).await?;
    let (to_server, from_server) = socket.split();
    let mut progress = Progress { sent: 0, told: progress };
    pump(to_server, from_server, payload, half_close, &mut progress).await.map_err(|fault| match fault {
        Fault::NoContainer(message) => AttachError::NoContainer(message),
        Fault::Broken(message) => AttachError::Cut { sent: progress.sent, message },
        Fault::Payload(fault) => AttachError::Payload(fault),
    })
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Opens a session. True if it can end stdin and go on.
async fn open(api: &Api, namespace: &str, pod: &str) -> Result<(Socket, bool), AttachError> {
    let key = generate_key();
    let request = request(namespace, pod, &key).map_err(AttachError::NotBegun)?;
    let answer = api.upgrade(&request).await.map_err(|fault| match fault {
        // The kubelet's own words, passed on by v4 (kubernetes-streams 1.5).
        ApiError::Refused { code: 500, message, .. } if is_no_container(&message) => AttachError::NoContainer(message),
        // The request went out and nothing came back: an attach may have been opened and broken.
        ApiError::Unreachable { message, sent: true } => AttachError::Cut { sent: 0, message },
        fault => AttachError::NotBegun(fault),
    })?;
    let broken = |message: String| AttachError::Cut { sent: 0, message };
    let half_close = agreement(answer.headers(), &key).map_err(|words| broken(words.to_owned()))?;
    let upgraded = hyper::upgrade::on(answer).await.map_err(|fault| broken(client::words(&fault)))?;
    let config = WebSocketConfig::default().max_message_size(Some(ANSWER)).max_frame_size(Some(ANSWER));
    Ok((WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await, half_close))
}

fn request(namespace: &str, pod: &str, key: &str) -> Result<Request<Bytes>, ApiError> {
    let path = format!("{}/attach?container={WORKER}&stdin=true", client::pod_path(namespace, pod));
    let mut request = client::request(Method::GET, &path, Bytes::new())?;
    let key = HeaderValue::from_str(key).map_err(|fault| ApiError::Malformed(fault.to_string()))?;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, key);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("v5.channel.k8s.io, v4.channel.k8s.io"));
    Ok(request)
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

/// What ends a session badly.
#[derive(Debug)]
enum Fault {
    NoContainer(String),
    Broken(String),
    Payload(io::Error),
}

/// How far the payload came.
struct Progress {
    sent: u64,
    told: watch::Sender<u64>,
}

/// Both directions at once. The server's words count for more than a write that failed: they say why.
async fn pump<E: std::fmt::Display>(
    to_server: impl Sink<Message, Error = E> + Unpin,
    from_server: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    payload: &Payload,
    half_close: bool,
    progress: &mut Progress,
) -> Result<Delivery, Fault> {
    let mut heard = std::pin::pin!(listen(from_server));
    let told = tokio::select! {
        biased;
        word = &mut heard => {
            return match word {
                // Before the last byte was out.
                Word::Success => Ok(Delivery::Unread),
                word => word.into_fault(),
            };
        }
        told = tell(to_server, payload, half_close, progress) => told,
    };
    match told {
        Ok(()) => match heard.await {
            Word::Success => Ok(Delivery::HandedOver),
            // v4 ends stdin by ending the session; what was sent before has arrived (kubernetes-streams 1.4).
            Word::Closed if !half_close => Ok(Delivery::HandedOver),
            word => word.into_fault(),
        },
        Err(Fault::Broken(message)) => match timeout(LAST_WORDS, heard).await {
            Ok(Word::Success) => Ok(Delivery::Unread),
            Ok(Word::Failure(words)) => Word::Failure(words).into_fault(),
            _ => Err(Fault::Broken(message)),
        },
        Err(fault) => Err(fault),
    }
}

/// Sends the payload and the end of stdin.
async fn tell<E: std::fmt::Display>(
    mut to_server: impl Sink<Message, Error = E> + Unpin,
    payload: &Payload,
    half_close: bool,
    progress: &mut Progress,
) -> Result<(), Fault> {
    let broken = |fault: E| Fault::Broken(fault.to_string());
    while progress.sent < payload.length {
        for message in payload.messages(progress.sent).await.map_err(Fault::Payload)? {
            let count = message.len().saturating_sub(1);
            to_server.feed(Message::Binary(message)).await.map_err(broken)?;
            progress.sent += u64::try_from(count).unwrap_or_default();
        }
        let sent = progress.sent;
        progress.told.send_if_modified(|told| sent - *told >= NOTE && std::mem::replace(told, sent) != sent);
    }
    let end = if half_close {
        Message::Binary(Bytes::from_static(&[CLOSE, STDIN]))
    } else {
        Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
    };
    to_server.send(end).await.map_err(broken)
}

/// The server's last word.
#[derive(Debug)]
enum Word {
    Success,
    Failure(String),
    /// A close frame, which says nothing.
    Closed,
    Broken(String),
}

impl Word {
    fn into_fault(self) -> Result<Delivery, Fault> {
        Err(match self {
            Self::Failure(message) if is_no_container(&message) => Fault::NoContainer(message),
            Self::Failure(message) | Self::Broken(message) => Fault::Broken(message),
            Self::Success | Self::Closed => Fault::Broken("the server closed the session without a word".to_owned()),
        })
    }
}

/// Reads until the server has said its last word. Channels of output are not asked for and passed over.
async fn listen(mut from_server: impl Stream<Item = Result<Message, tungstenite::Error>> + Unpin) -> Word {
    loop {
        let bytes = match from_server.next().await {
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Close(_))) => return Word::Closed,
            Some(Ok(_)) => continue,
            Some(Err(fault)) => return Word::Broken(fault.to_string()),
            None => return Word::Broken("connection closed".to_owned()),
        };
        if let Some((&ERROR, text)) = bytes.split_first()
            && let Ok(status) = serde_json::from_slice::<Status>(text)
        {
            return if status.status == "Success" { Word::Success } else { Word::Failure(status.message) };
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    status: String,
    message: String,
}

/// The kubelet's words where there is no container to attach to, before its start and after its end.
fn is_no_container(message: &str) -> bool {
    message.contains("not found in pod") || message.contains("no running task found")
}

#[cfg(test)]
mod tests;
