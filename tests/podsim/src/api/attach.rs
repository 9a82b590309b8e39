//! `.../pods/NAME/attach` over WebSocket, protocols v5 and v4 (kubernetes-streams 1).

use std::io;
use std::sync::Arc;

use http::Method;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    UPGRADE,
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::Exchange;
use super::body::{Answer, whole};
use super::log::choose_container;
use super::websocket::{FrameReader, FrameWriter, Opcode, Received, accept_key};
use crate::connections::{Registered, Use};
use crate::faults::Effect;
use crate::kubelet::{Container, Stdin, Wanted};
use crate::refusal::Refusal;
use crate::resource::text_at;
use crate::store::{Key, Object};
use crate::wire::Close;

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

/// Streams asked for in the query.
#[derive(Debug, Clone, Copy)]
struct Streams {
    stdin: bool,
    output: Wanted,
}

pub(super) fn answer(exchange: Exchange, key: &Key) -> Result<Answer, Refusal> {
    let query = &exchange.call.query;
    let pod = exchange.cluster.store.get(key).ok_or_else(|| Refusal::not_found("pods", &key.name))?;
    let container = choose_container(&pod.value, query.text("container"), &key.name)?;
    if text_at(&pod.value, "spec.nodeName").is_empty() {
        return Err(Refusal::bad_request(format!("pod {} does not have a host assigned", key.name)));
    }
    let streams = Streams {
        stdin: query.flag("stdin"),
        output: Wanted { stdout: query.flag("stdout"), stderr: query.flag("stderr") },
    };
    let headers = &exchange.parts.headers;
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or("");
    if upgrade.is_empty() {
        return Err(Refusal::bad_request("Upgrade request required"));
    }
    if !upgrade.eq_ignore_ascii_case("websocket") {
        let message = format!("podsim attaches by WebSocket only, not by {upgrade}");
        return Err(Refusal::new(501, "NotImplemented", message));
    }
    if exchange.parts.method != Method::GET {
        return Ok(whole(405, HeaderValue::from_static("text/plain; charset=utf-8"), "bad method\n"));
    }
    let Some(protocol) = Protocol::choose(headers) else {
        let mut answer = whole(403, HeaderValue::from_static("text/plain"), "");
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Ok(answer);
    };
    let found = find_container(&exchange, &pod, &container);
    if protocol != Protocol::V5
        && let Err(message) = &found
    {
        return Err(Refusal::text(500, message.clone()));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|value| value.to_str().ok()).unwrap_or("");
    let accept = accept_key(key);
    Ok(upgrade_to(exchange, protocol, streams, found, &accept, &pod.key.name))
}

/// Answers 101 and leaves the session to a task of its own.
fn upgrade_to(
    mut exchange: Exchange,
    protocol: Protocol,
    streams: Streams,
    found: Result<Arc<Container>, String>,
    accept: &str,
    pod: &str,
) -> Answer {
    exchange.on.connection.set_use(Use::Attach, pod);
    let cut = match exchange.effect {
        Some(Effect::CutAfter { bytes }) => Some((bytes, Close::Drop)),
        Some(Effect::ResetAfter { bytes }) => Some((bytes, Close::Reset)),
        _ => None,
    };
    let session = Session { protocol, streams, on: Arc::clone(&exchange.on), cut };
    // Joined before the answer, so that no output after the 101 is missed.
    let output = found.as_ref().ok().map(|container| container.attached.join(streams.output));
    if let Some(upgraded) = exchange.parts.extensions.remove::<OnUpgrade>() {
        exchange.tasks.spawn(async move {
            let gate = Arc::clone(&session.on.connection.gate);
            tokio::select! {
                biased;
                () = gate.closed() => {}
                ended = session.run(upgraded, found, output) => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "an attach session broke");
                    }
                }
            }
        });
    }
    let mut answer = whole(101, HeaderValue::from_static("text/plain"), "");
    let headers = answer.headers_mut();
    headers.clear();
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    for (name, value) in [
        (UPGRADE, text("websocket")),
        (CONNECTION, text("Upgrade")),
        (SEC_WEBSOCKET_ACCEPT, text(accept)),
        (SEC_WEBSOCKET_PROTOCOL, text(protocol.name())),
    ] as [(HeaderName, HeaderValue); 4]
    {
        headers.insert(name, value);
    }
    answer
}

/// `Err` is the kubelet's text.
fn find_container(exchange: &Exchange, pod: &Object, container: &str) -> Result<Arc<Container>, String> {
    let not_found = || format!("container {container} not found in pod {}_{}", pod.key.name, pod.key.namespace);
    let handle = exchange.cluster.kubelet.handle(pod.uid()).ok_or_else(not_found)?;
    let run = handle.runs_of(container).current.ok_or_else(not_found)?;
    if run.end().is_some() {
        let task = run.id.trim_start_matches("containerd://");
        return Err(format!(
            "Internal error occurred: error attaching to container: failed to load task: no running task found: task {task} not found: not found"
        ));
    }
    Ok(run)
}

struct Session {
    protocol: Protocol,
    streams: Streams,
    on: Arc<Registered>,
    /// End the connection after so many bytes of stdin.
    cut: Option<(u64, Close)>,
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
        output: Option<mpsc::Receiver<(crate::log::Source, bytes::Bytes)>>,
    ) -> io::Result<()> {
        let upgraded = upgraded.await.map_err(io::Error::other)?;
        let (read, write) = tokio::io::split(TokioIo::new(upgraded));
        let (mut reader, mut writer) = (FrameReader::new(read), FrameWriter::new(write));
        let established = match self.streams.output {
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
        let ends_stdin = self.streams.stdin || self.protocol != Protocol::V5;
        let stdin = StdinGuard(container.stdin.clone().filter(|_| ends_stdin));
        if !self.streams.stdin {
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
        pongs: mpsc::Sender<bytes::Bytes>,
    ) -> io::Result<InputEnd> {
        let mut left = self.cut.map(|(bytes, _)| bytes);
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
                (STDIN, _) => {
                    if let Some(left) = &mut left {
                        payload.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                        *left = left.saturating_sub(u64::try_from(payload.len()).unwrap_or(u64::MAX));
                    }
                    stdin.send(payload).await;
                    if left == Some(0) {
                        self.on.connection.gate.close(self.cut.map_or(Close::Drop, |(_, how)| how));
                    }
                }
                (CLOSE, Protocol::V5) => match payload.as_ref() {
                    [STDIN] if self.half_close(stdin).await => return Ok(InputEnd::Done),
                    // Nothing is read from the others.
                    [STDIN..=RESIZE] => {}
                    _ => return Ok(InputEnd::Closed),
                },
                _ => {}
            }
        }
    }

    /// True: the session is over with it. With `stdinOnce` the process reads EOF and output goes on; a session that
    /// has none ends when all is delivered. Without, there is no EOF, only an end of the session
    /// (kubernetes-streams 1.5, 2.5).
    async fn half_close(&self, stdin: &StdinGuard) -> bool {
        let no_output = !self.streams.output.stdout && !self.streams.output.stderr;
        match &stdin.0 {
            Some(stdin) if stdin.once => {
                stdin.close();
                if no_output {
                    stdin.delivered().await;
                }
                no_output
            }
            Some(_) => true,
            None => no_output,
        }
    }

    /// Sends output until it ends: with stdout and stderr, or for a session without them with the container.
    async fn output(
        &self,
        writer: &mut FrameWriter<WriteHalf<Io>>,
        mut output: mpsc::Receiver<(crate::log::Source, bytes::Bytes)>,
        mut pongs: mpsc::Receiver<bytes::Bytes>,
        _container: &Container,
    ) -> io::Result<()> {
        loop {
            tokio::select! {
                biased;
                Some(data) = pongs.recv() => writer.pong(&data).await?,
                chunk = output.recv() => match chunk {
                    Some((crate::log::Source::Stdout, bytes)) => writer.channel(STDOUT, &bytes).await?,
                    Some((crate::log::Source::Stderr, bytes)) => writer.channel(STDERR, &bytes).await?,
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

fn failure_status(why: &str) -> Value {
    // The API server wraps what the kubelet said when it could not upgrade.
    let cause = if why.starts_with("Internal error occurred") {
        why.to_owned()
    } else {
        format!("unable to upgrade connection: {why}")
    };
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {cause}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": cause}]},
        "code": 500,
    })
}

/// A session's hold on stdin: with `stdinOnce` its end, however it comes, is the end of stdin.
struct StdinGuard(Option<Stdin>);

impl StdinGuard {
    async fn send(&self, bytes: bytes::Bytes) {
        if let Some(stdin) = &self.0 {
            stdin.send(bytes).await;
        }
    }

    fn end(&self) {
        if let Some(stdin) = self.0.as_ref().filter(|stdin| stdin.once) {
            stdin.close();
        }
    }
}

impl Drop for StdinGuard {
    fn drop(&mut self) {
        self.end();
    }
}
