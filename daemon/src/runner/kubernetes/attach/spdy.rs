//! Attach by SPDY/3.1 and POST (kubernetes-streams 3): for accounts that may `create` attaches but not `get` them.
//!
//! | File | Holds |
//! |---|---|
//! | `frame` | frames to and from bytes |
//! | `headers`, `dictionary` | the blocks of headers in some of them |
//! | `hearing` | what the server's frames amount to |
//!
//! These do no I/O. This file does, and nothing else. There is no flow control but TCP's: windows are neither kept nor
//! needed.

mod dictionary;
mod frame;
mod headers;
mod hearing;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{
    Method,
    header::{CONTENT_LENGTH, HeaderName, HeaderValue, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    sync::mpsc,
    time::timeout,
};

use self::{
    headers::{HeaderError, Packer},
    hearing::{ERROR, Heard, Hearing, STDIN, STDOUT},
};
use super::{
    AttachError, Target, pump,
    word::{Fault, Word},
};
use crate::runner::kubernetes::client;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const V4: HeaderValue = HeaderValue::from_static("v4.channel.k8s.io");
const SPDY: HeaderValue = HeaderValue::from_static("SPDY/3.1");

/// Longest wait for the streams to be answered: a server that gave up on them says nothing (kubernetes-streams 3.3).
const ANSWER: Duration = Duration::from_secs(60);
/// Between two pings of a session that waits: runtimes and proxies end silent ones.
const PINGS: Duration = Duration::from_secs(5);
/// The server's pings that wait to be answered. More are not: it asks again.
const PONGS: usize = 4;
/// Bytes read at once.
const READ: usize = 16 * 1024;

type Io = TokioIo<hyper::upgrade::Upgraded>;

/// Opens a session: one stream for the server's last word, one for stdin.
pub(super) async fn open(target: &Target<'_>) -> Result<(Mouth<WriteHalf<Io>>, Ear<ReadHalf<Io>>), AttachError> {
    let mut request = target.request(Method::POST, "stdin=true")?;
    let headers = request.headers_mut();
    headers.insert(UPGRADE, SPDY);
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(PROTOCOL_VERSION, V4);
    let answer = target.upgrade(&request).await?;
    if answer.headers().get(PROTOCOL_VERSION) != Some(&V4) {
        return Err(AttachError::cut_before_the_first_byte("the server does not speak v4 of the channel protocol"));
    }
    let upgraded = hyper::upgrade::on(answer).await;
    let upgraded = upgraded.map_err(|fault| AttachError::cut_before_the_first_byte(client::words(&fault)))?;
    let (from_server, to_server) = tokio::io::split(TokioIo::new(upgraded));
    begin(to_server, from_server, target.output).await.map_err(|fault| match fault {
        Fault::NoContainer(message) => AttachError::NoContainer(message),
        Fault::Broken(message) => AttachError::cut_before_the_first_byte(message),
        Fault::Payload(fault) => AttachError::Payload(fault),
    })
}

/// Opens the streams and waits until the server has taken both.
async fn begin<W: AsyncWrite + Unpin, R: AsyncRead + Unpin>(
    mut to_server: W,
    from_server: R,
    output: bool,
) -> Result<(Mouth<W>, Ear<R>), Fault> {
    let broken = |fault: std::io::Error| Fault::Broken(fault.to_string());
    let opening = opening(output).map_err(|fault| Fault::Broken(fault.to_string()))?;
    to_server.write_all(&opening).await.map_err(broken)?;
    to_server.flush().await.map_err(broken)?;
    let (pongs, to_answer) = mpsc::channel(PONGS);
    let mut ear = Ear { from_server, hearing: Hearing::new(output), buffer: BytesMut::new(), pongs };
    match timeout(ANSWER, ear.established()).await {
        Ok(Ok(())) => Ok((Mouth { to_server, to_answer, next_ping: 1 }, ear)),
        Ok(Err(word)) => match word.into_fault() {
            Ok(_) => Err(Fault::Broken("the session ended before it began".to_owned())),
            Err(fault) => Err(fault),
        },
        Err(_) => Err(Fault::Broken("the server did not open the streams".to_owned())),
    }
}

fn opening(output: bool) -> Result<Vec<u8>, HeaderError> {
    let mut packer = Packer::new()?;
    let mut bytes = Vec::new();
    let stdout = output.then_some((STDOUT, "stdout"));
    for (stream, kind) in [(ERROR, "error"), (STDIN, "stdin")].into_iter().chain(stdout) {
        bytes.extend(frame::syn_stream(stream, &packer.block(&[("streamtype", kind)])?));
    }
    Ok(bytes)
}

/// Sends data frames, and pings while it waits.
pub(super) struct Mouth<W> {
    to_server: W,
    /// Pings of the server's.
    to_answer: mpsc::Receiver<u32>,
    /// Numbers of ours are odd.
    next_ping: u32,
}

impl<W: AsyncWrite + Unpin> Mouth<W> {
    async fn data(&mut self, fin: bool, bytes: &[u8]) -> std::io::Result<()> {
        let mut frame = BytesMut::with_capacity(frame::HEAD + bytes.len());
        while let Ok(id) = self.to_answer.try_recv() {
            frame.extend_from_slice(&frame::ping(id));
        }
        frame.extend_from_slice(&frame::data_head(STDIN, fin, bytes.len()));
        frame.extend_from_slice(bytes);
        self.to_server.write_all(&frame).await
    }

    async fn ping(&mut self, id: u32) -> std::io::Result<()> {
        self.to_server.write_all(&frame::ping(id)).await?;
        self.to_server.flush().await
    }
}

impl<W: AsyncWrite + Unpin> pump::Mouth for Mouth<W> {
    const CHUNK: usize = 32 * 1024;

    fn ends_stdin_alone(&self) -> bool {
        true
    }

    async fn send(&mut self, chunk: Bytes) -> Result<(), String> {
        self.data(false, &chunk).await.map_err(|fault| fault.to_string())
    }

    async fn flush(&mut self) -> Result<(), String> {
        self.to_server.flush().await.map_err(|fault| fault.to_string())
    }

    async fn end(&mut self) -> Result<(), String> {
        let ended = async {
            self.data(true, &[]).await?;
            self.to_server.flush().await
        };
        ended.await.map_err(|fault| fault.to_string())
    }

    async fn stay(&mut self) -> String {
        let mut times = tokio::time::interval_at(tokio::time::Instant::now() + PINGS, PINGS);
        loop {
            let id = tokio::select! {
                Some(id) = self.to_answer.recv() => id,
                _ = times.tick() => {
                    let own = self.next_ping;
                    // From the last odd number back to the first.
                    self.next_ping = own.wrapping_add(2);
                    own
                }
            };
            if let Err(fault) = self.ping(id).await {
                return fault.to_string();
            }
        }
    }
}

/// Reads what the server says.
pub(super) struct Ear<R> {
    from_server: R,
    hearing: Hearing,
    buffer: BytesMut,
    pongs: mpsc::Sender<u32>,
}

impl<R: AsyncRead + Unpin> Ear<R> {
    /// Reads until the server has said its last word.
    pub(super) async fn listen(mut self) -> Word {
        loop {
            if let Heard::Over(word) = self.next().await {
                return word;
            }
        }
    }

    /// The next output on stdout, or the server's last word.
    pub(super) async fn next_output(&mut self) -> Result<Bytes, Word> {
        loop {
            match self.next().await {
                Heard::Output(bytes) => return Ok(bytes),
                Heard::Over(word) => return Err(word),
                Heard::Established | Heard::Ping(_) => {}
            }
        }
    }

    async fn established(&mut self) -> Result<(), Word> {
        loop {
            match self.next().await {
                Heard::Established => return Ok(()),
                Heard::Over(word) => return Err(word),
                Heard::Ping(_) | Heard::Output(_) => {}
            }
        }
    }

    async fn next(&mut self) -> Heard {
        loop {
            match self.hearing.next() {
                Some(Heard::Ping(id)) => {
                    // Where the other half is busy, others wait already, and the server asks again.
                    let _ = self.pongs.try_send(id);
                    return Heard::Ping(id);
                }
                Some(heard) => return heard,
                None => {}
            }
            self.buffer.clear();
            self.buffer.reserve(READ);
            match self.from_server.read_buf(&mut self.buffer).await {
                Ok(0) => return Heard::Over(self.hearing.end("connection closed")),
                Ok(_) => self.hearing.feed(&self.buffer),
                Err(fault) => return Heard::Over(self.hearing.end(&fault.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests;
