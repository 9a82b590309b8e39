//! A session over WebSocket, protocols v5 and v4 (kubernetes-streams 1).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::{Output, Request, Session as Common, StdinGuard, failure_status, switching};
use crate::api::body::{Answer, whole};
use crate::api::websocket::{FrameReader, FrameWriter, Opcode, Received, accept_key};
use crate::kubelet::{Container, Wanted};
use crate::log::Source;
use crate::refusal::Refusal;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Pongs that wait until the output side has written what is before them.
const PONGS: usize = 4;

/// The sub-protocol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Has a half-close; ends in the API server, which knows nothing of the container before the upgrade.
    V5,
    /// No half-close; comes from the kubelet, which refuses before the upgrade.
    V4,
    /// Without a name: as v4, with errors as plain text.
    Unnamed,
}

impl Protocol {
    /// `None`: nothing in common.
    fn choose(headers: &HeaderMap) -> Option<Self> {
        let offered: Vec<&str> = headers
            .get_all(SEC_WEBSOCKET_PROTOCOL)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .map(str::trim)
            .collect();
        match offered.as_slice() {
            [] => Some(Self::Unnamed),
            some if some.contains(&"v5.channel.k8s.io") => Some(Self::V5),
            some if some.contains(&"v4.channel.k8s.io") => Some(Self::V4),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::V4 => "v4.channel.k8s.io",
            Self::Unnamed => "",
        }
    }
}

/// Answers 101 and leaves the session to a task of its own.
pub(super) fn answer(request: Request) -> Result<Answer, Refusal> {
    let headers = &request.exchange.parts.headers;
    if request.exchange.parts.method != Method::GET {
        return Ok(whole(405, HeaderValue::from_static("text/plain; charset=utf-8"), "bad method\n"));
    }
    let Some(protocol) = Protocol::choose(headers) else {
        let mut answer = whole(403, HeaderValue::from_static("text/plain"), "");
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(answer);
    };
    if protocol != Protocol::V5 {
        request.check_as_kubelet()?;
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accept = HeaderValue::from_str(&accept_key(key)).unwrap_or(HeaderValue::from_static(""));
    request.begin(|upgraded, common, found, output| Session { protocol, common }.run(upgraded, found, output));
    Ok(switching([
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name())),
    ]))
}

struct Session {
    protocol: Protocol,
    common: Common,
}

type Io = TokioIo<hyper::upgrade::Upgraded>;

/// How the client's side came to its end.
#[derive(Debug, PartialEq, Eq)]
enum InputEnd {
    /// The connection is over: nobody hears an answer.
    Broken,
    /// It closed the session, or broke the rules: answered with a close frame alone.
    Closed,
    /// All that the session was for has been done.
    Done,
}

impl Session {
    async fn run(
        self,
        upgraded: OnUpgrade,
        found: Result<Arc<Container>, String>,
        output: Option<Output>,
    ) -> io::Result<()> {
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let established = match self.common.streams.output {
            Wanted { stdout: true, .. } => STDOUT,
            Wanted { stderr: true, .. } => STDERR,
            Wanted { .. } => ERROR,
        };
        writer.channel(established, b"").await?;
        let (container, output) = match (found, output) {
            (Ok(container), Some(output)) => (container, output),
            (found, _) => {
                let why = found.err().unwrap_or_default();
                return self.finish(&mut writer, Some(&why)).await;
            }
        };
        // Where the kubelet ends the protocol, a session without stdin reads as one whose stdin has ended at once.
        let ends_stdin = self.common.streams.stdin || self.protocol != Protocol::V5;
        let stdin = StdinGuard(container.stdin.clone().filter(|_| ends_stdin));
        if !self.common.streams.stdin {
            stdin.end();
        }
        let (pongs, pong_queue) = mpsc::channel(PONGS);
        let input = self.input(&mut reader, &stdin, pongs);
        let how = tokio::select! {
            end = input => end?,
            end = self.output(&mut writer, output, pong_queue, &container) => {
                end?;
                InputEnd::Done
            }
        };
        drop(stdin);
        match how {
            InputEnd::Broken => Ok(()),
            InputEnd::Closed => {
                writer.close().await?;
                writer.shutdown().await
            }
            InputEnd::Done => self.finish(&mut writer, None).await,
        }
    }

    /// Takes the client's frames until the session is to end.
    async fn input(
        &self,
        reader: &mut FrameReader<ReadHalf<Io>>,
        stdin: &StdinGuard,
        pongs: mpsc::Sender<Bytes>,
    ) -> io::Result<InputEnd> {
        let mut cut = self.common.cut;
        loop {
            let frame = match reader.next().await {
                Ok(Received::Frame(frame)) => frame,
                Ok(Received::Violation) => return Ok(InputEnd::Closed),
                Ok(Received::End) | Err(_) => return Ok(InputEnd::Broken),
            };
            let mut payload = match frame.opcode {
                Opcode::Data => frame.payload,
                Opcode::Close => return Ok(InputEnd::Closed),
                Opcode::Pong => continue,
                Opcode::Ping => {
                    // The receiver lives as long as the session.
                    let _ = pongs.send(frame.payload).await;
                    continue;
                }
            };
            let Some(&channel) = payload.first() else { continue };
            let _ = payload.split_to(1);
            match (channel, self.protocol) {
                (STDIN, _) => self.common.feed(stdin, payload, &mut cut).await,
                (CLOSE, Protocol::V5) => match payload.as_ref() {
                    [STDIN] if self.common.half_close(stdin).await => return Ok(InputEnd::Done),
                    // Nothing is read from the others.
                    [STDIN..=RESIZE] => {}
                    _ => return Ok(InputEnd::Closed),
                },
                _ => {}
            }
        }
    }

    /// Sends output until it ends: with stdout and stderr, or for a session without them with the container.
    async fn output(
        &self,
        writer: &mut FrameWriter<WriteHalf<Io>>,
        mut output: Output,
        mut pongs: mpsc::Receiver<Bytes>,
        _container: &Container,
    ) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(data) = pongs.recv() => writer.pong(&data).await?,
                chunk = output.recv() => match chunk {
                    Some((Source::Stdout, bytes)) => writer.channel(STDOUT, &bytes).await?,
                    Some((Source::Stderr, bytes)) => writer.channel(STDERR, &bytes).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    /// The last words on channel 3, the close frame, the end.
    async fn finish<W: AsyncWrite + Unpin>(
        &self,
        writer: &mut FrameWriter<W>,
        failure: Option<&str>,
    ) -> io::Result<()> {
        let last_words = match (self.protocol, failure) {
            (Protocol::Unnamed, None) => None,
            (Protocol::Unnamed, Some(why)) => Some(why.to_owned()),
            (_, None) => Some(r#"{"metadata":{},"status":"Success"}"#.to_owned()),
            (_, Some(why)) => Some(failure_status(why).to_string()),
        };
        if let Some(text) = last_words {
            writer.channel(ERROR, text.as_bytes()).await?;
        }
        writer.close().await?;
        writer.shutdown().await
    }
}
