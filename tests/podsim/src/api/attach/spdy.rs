//! A session over SPDY/3.1 (kubernetes-streams 3).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::{Output, Request, Session as Common, StdinGuard, failure_status, switching};
use crate::api::body::{Answer, refused};
use crate::api::spdy::{CANCEL, Frame, FrameReader, FrameWriter, OK, Received};
use crate::kubelet::Container;
use crate::log::Source;
use crate::refusal::Refusal;

const PROTOCOLS: [&str; 4] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// Largest data frame that is sent.
const CHUNK: usize = 32 * 1024;
/// Answers to the client's frames that wait until the output side has written what is before them.
const REPLIES: usize = 16;

/// Answers 101 and leaves the session to a task of its own.
pub(super) fn answer(request: Request) -> Result<Answer, Refusal> {
    request.check_as_kubelet()?;
    let offered: Vec<String> = request
        .exchange
        .parts
        .headers
        .get_all(&PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(|protocol| protocol.trim().to_owned())
        .collect();
    if offered.is_empty() {
        return Err(Refusal::text(400, "unable to upgrade: X-Stream-Protocol-Version is required\n"));
    }
    // The client's order counts.
    let chosen = offered.iter().find_map(|offer| PROTOCOLS.into_iter().find(|known| offer == known));
    let Some(protocol) = chosen else {
        let words = format!(
            "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
            offered.join(" "),
            PROTOCOLS.join(" ")
        );
        let mut answer = refused(&Refusal::text(403, format!("{words}\n{words}\n")));
        for protocol in PROTOCOLS {
            answer.headers_mut().append(ACCEPTED, HeaderValue::from_static(protocol));
        }
        return Ok(answer);
    };
    let plain_errors = protocol != "v4.channel.k8s.io";
    request.begin(|upgraded, common, found, output| Session { common, plain_errors }.run(upgraded, found, output));
    Ok(switching([(UPGRADE, HeaderValue::from_static("SPDY/3.1")), (PROTOCOL, HeaderValue::from_static(protocol))]))
}

type Io = TokioIo<hyper::upgrade::Upgraded>;

struct Session {
    common: Common,
    /// Before v4 a success has no words, and a failure only those.
    plain_errors: bool,
}

/// Numbers of the streams, by type.
#[derive(Default)]
struct Opened(BTreeMap<String, u32>);

impl Opened {
    fn number(&self, kind: &str) -> Option<u32> {
        self.0.get(kind).copied()
    }
}

/// How the client's side came to its end.
enum InputEnd {
    /// The connection is over: nobody hears an answer.
    Broken,
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
        // A container that is not there was refused before the 101.
        let (Ok(container), Some(output)) = (found, output) else { return Ok(()) };
        let stdin = StdinGuard(container.stdin.clone());
        if !self.common.streams.stdin {
            stdin.end();
        }
        let Some(opened) = self.open(&mut reader, &mut writer).await? else { return Ok(()) };
        let (replies, to_write) = mpsc::channel(REPLIES);
        let input = self.input(&mut reader, &stdin, &opened, replies);
        let how = tokio::select! {
            end = input => end?,
            end = self.output(&mut writer, &opened, output, to_write) => {
                end?;
                InputEnd::Done
            }
        };
        drop(stdin);
        match how {
            InputEnd::Broken => Ok(()),
            InputEnd::Done => self.finish(&mut writer, &opened, None).await,
        }
    }

    /// Waits for exactly the streams that the query names. Where one is missing this is for ever, and silent
    /// (kubernetes-streams 3.3). `None`: the client has gone.
    async fn open(
        &self,
        reader: &mut FrameReader<ReadHalf<Io>>,
        writer: &mut FrameWriter<WriteHalf<Io>>,
    ) -> io::Result<Option<Opened>> {
        let streams = self.common.streams;
        let asked = [
            ("error", true),
            ("stdin", streams.stdin),
            ("stdout", streams.output.stdout),
            ("stderr", streams.output.stderr),
        ];
        let mut opened = Opened::default();
        let mut deaf = false;
        loop {
            let is_open = |(kind, asked): &(&str, bool)| !asked || opened.number(kind).is_some();
            if asked.iter().all(is_open) {
                return Ok(Some(opened));
            }
            match reader.next(true).await? {
                Received::End => return Ok(None),
                Received::Frame(Frame::SynStream { stream, headers }) => {
                    // A name in capitals is a fault of the protocol, after which nothing is answered.
                    deaf |= headers.iter().any(|(name, _)| name.bytes().any(|byte| byte.is_ascii_uppercase()));
                    let kind = headers.into_iter().find(|(name, _)| name == "streamtype");
                    if let (false, Some((_, kind))) = (deaf, kind) {
                        writer.reply(stream).await?;
                        opened.0.insert(kind, stream);
                    }
                }
                Received::Frame(Frame::Ping(id)) if id % 2 == 1 && !deaf => writer.ping(id).await?,
                Received::Frame(_) => {}
            }
        }
    }

    /// Takes the client's frames until the session is to end.
    async fn input(
        &self,
        reader: &mut FrameReader<ReadHalf<Io>>,
        stdin: &StdinGuard,
        opened: &Opened,
        pings: mpsc::Sender<u32>,
    ) -> io::Result<InputEnd> {
        let mut cut = self.common.cut;
        let own = opened.number("stdin");
        let mut ended = false;
        loop {
            let frame = match reader.next(false).await {
                Ok(Received::Frame(frame)) => frame,
                Ok(Received::End) | Err(_) => return Ok(InputEnd::Broken),
            };
            match frame {
                Frame::Data { stream, fin, bytes } if Some(stream) == own && !ended => {
                    self.common.feed(stdin, bytes, &mut cut).await;
                    ended = fin;
                    if fin && self.common.half_close(stdin).await {
                        return Ok(InputEnd::Done);
                    }
                }
                // The process reads its end; the session goes on to its own.
                Frame::Reset { stream } if Some(stream) == own => {
                    ended = true;
                    stdin.end();
                }
                // As it was sent. Its own would be even; they are answers then.
                Frame::Ping(id) if id % 2 == 1 => {
                    // The receiver lives as long as the session.
                    let _ = pings.send(id).await;
                }
                Frame::GoAway => return Ok(InputEnd::Broken),
                _ => {}
            }
        }
    }

    /// Sends output until it ends: with stdout and stderr, or for a session without them with the container.
    async fn output(
        &self,
        writer: &mut FrameWriter<WriteHalf<Io>>,
        opened: &Opened,
        mut output: Output,
        mut pings: mpsc::Receiver<u32>,
    ) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(id) = pings.recv() => writer.ping(id).await?,
                chunk = output.recv() => {
                    let Some((source, bytes)) = chunk else { return Ok(()) };
                    let kind = if source == Source::Stdout { "stdout" } else { "stderr" };
                    if let Some(stream) = opened.number(kind) {
                        self.send(writer, stream, bytes).await?;
                    }
                }
            }
        }
    }

    async fn send(&self, writer: &mut FrameWriter<WriteHalf<Io>>, stream: u32, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            writer.data(stream, false, &bytes.split_to(bytes.len().min(CHUNK))).await?;
        }
        Ok(())
    }

    /// The ends of the streams, the last words, the end of the connection (kubernetes-streams 3.5).
    async fn finish(
        &self,
        writer: &mut FrameWriter<WriteHalf<Io>>,
        opened: &Opened,
        failure: Option<&str>,
    ) -> io::Result<()> {
        for kind in ["stdout", "stderr"] {
            if let Some(stream) = opened.number(kind) {
                writer.data(stream, true, b"").await?;
            }
        }
        let last_words = match (self.plain_errors, failure) {
            (true, why) => why.map(str::to_owned),
            (false, None) => Some(r#"{"metadata":{},"status":"Success"}"#.to_owned()),
            (false, Some(why)) => Some(failure_status(why).to_string()),
        };
        if let (Some(stream), Some(text)) = (opened.number("error"), last_words) {
            writer.data(stream, false, text.as_bytes()).await?;
        }
        for kind in ["error", "stdin"] {
            if let Some(stream) = opened.number(kind) {
                writer.reset(stream, CANCEL).await?;
            }
        }
        writer.go_away(opened.0.values().copied().max().unwrap_or(0), OK).await?;
        writer.shutdown().await
    }
}
