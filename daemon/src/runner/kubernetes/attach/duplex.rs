//! A session for both directions: stdin and stdout, each at its own pace.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use tokio::io::{ReadHalf, WriteHalf};
use tokio_tungstenite::tungstenite::Message;

use super::{
    AttachError, Target,
    choice::{Io, Session, Socket, open},
    pump::Mouth,
    spdy, websocket,
    word::{Fault, Word},
};

/// The way to the worker's stdin. It is never ended by it, but by the end of the session.
pub(crate) struct Voice(To);

/// What the worker writes to stdout from now on.
pub(crate) struct Ear(From);

enum To {
    WebSocket(websocket::Mouth<SplitSink<Socket, Message>>),
    Spdy(spdy::Mouth<WriteHalf<Io>>),
}

enum From {
    WebSocket(SplitStream<Socket>),
    Spdy(Box<spdy::Ear<ReadHalf<Io>>>),
}

/// Opens a session.
pub(crate) async fn open_duplex(target: &Target<'_>) -> Result<(Voice, Ear), AttachError> {
    Ok(match open(target).await? {
        Session::WebSocket(mouth, from_server) => (Voice(To::WebSocket(mouth)), Ear(From::WebSocket(from_server))),
        Session::Spdy(mouth, ear) => (Voice(To::Spdy(mouth)), Ear(From::Spdy(ear))),
    })
}

impl Voice {
    /// Sends bytes and sees to it that they are on their way. Errors are words for people.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> Result<(), String> {
        match &mut self.0 {
            To::WebSocket(mouth) => send(mouth, bytes).await,
            To::Spdy(mouth) => send(mouth, bytes).await,
        }
    }
}

async fn send<M: Mouth>(mouth: &mut M, mut bytes: Bytes) -> Result<(), String> {
    while !bytes.is_empty() {
        mouth.send(bytes.split_to(bytes.len().min(M::CHUNK))).await?;
    }
    mouth.flush().await
}

impl Ear {
    /// Some bytes, or why there are no more. May be dropped and asked again.
    pub(crate) async fn next(&mut self) -> Result<Bytes, AttachError> {
        let heard = match &mut self.0 {
            From::WebSocket(from_server) => websocket::next_output(from_server).await,
            From::Spdy(ear) => ear.next_output().await,
        };
        heard.map_err(|word| match word {
            Word::Success => AttachError::cut_before_the_first_byte("the session was ended"),
            word => match word.into_fault() {
                Err(Fault::NoContainer(message)) => AttachError::NoContainer(message),
                Err(Fault::Broken(message)) => AttachError::cut_before_the_first_byte(message),
                Err(Fault::Payload(fault)) => AttachError::Payload(fault),
                Ok(_) => AttachError::cut_before_the_first_byte("the session was ended"),
            },
        })
    }
}
