//! `.../pods/NAME/attach`: what both transports have in common (kubernetes-streams 1 to 3).

mod spdy;
mod websocket;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HeaderName, HeaderValue, UPGRADE};
use hyper::upgrade::OnUpgrade;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Exchange;
use super::body::{Answer, whole};
use super::log::choose_container;
use crate::connections::{Registered, Use};
use crate::faults::Effect;
use crate::kubelet::{Container, Stdin, Wanted};
use crate::log::Source;
use crate::refusal::Refusal;
use crate::resource::text_at;
use crate::store::{Key, Object};
use crate::wire::Close;

/// How long a connection says nothing that is to say nothing any more.
const SILENCE: Duration = Duration::from_secs(24 * 3600);

/// What a container writes, for one session.
type Output = mpsc::Receiver<(Source, Bytes)>;

/// Streams asked for in the query.
#[derive(Debug, Clone, Copy)]
struct Streams {
    stdin: bool,
    output: Wanted,
}

/// A request that names a pod and a container, and asks for another protocol.
struct Request {
    exchange: Exchange,
    pod: String,
    streams: Streams,
    /// `Err` is the kubelet's text.
    found: Result<Arc<Container>, String>,
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
    let upgrade = exchange.header(&UPGRADE);
    if upgrade.is_empty() {
        return Err(Refusal::bad_request("Upgrade request required"));
    }
    let is_websocket = upgrade.eq_ignore_ascii_case("websocket");
    let found = find_container(&exchange, &pod, &container);
    let request = Request { pod: key.name.clone(), streams, found, exchange };
    // Any other protocol is taken for SPDY.
    if is_websocket { websocket::answer(request) } else { spdy::answer(request) }
}

impl Exchange {
    /// A header's text, or nothing.
    fn header(&self, name: &HeaderName) -> &str {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

impl Request {
    /// What the kubelet refuses before it answers 101. Only v5 does not ask it.
    fn check_as_kubelet(&self) -> Result<(), Refusal> {
        let accept = self.exchange.header(&ACCEPT);
        if !accept.is_empty() && !accept.contains("*/*") {
            return Err(Refusal::text(406, "406: Not Acceptable\n\nAvailable representations: "));
        }
        let Streams { stdin, output: Wanted { stdout, stderr } } = self.streams;
        if !stdin && !stdout && !stderr {
            return Err(Refusal::text(400, "you must specify at least 1 of stdin, stdout, stderr"));
        }
        self.found.as_ref().map(drop).map_err(|message| Refusal::text(500, message.clone()))
    }

    /// Leaves the session to a task of its own, which waits for the answer to be out.
    fn begin<F>(mut self, session: impl FnOnce(OnUpgrade, Session, Result<Arc<Container>, String>, Option<Output>) -> F)
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let on = Arc::clone(&self.exchange.on);
        on.connection.set_use(Use::Attach, &self.pod);
        let cut = match self.exchange.effect {
            Some(Effect::CutAfter { bytes }) => Some((bytes, Cut::Connection(Close::Drop))),
            Some(Effect::ResetAfter { bytes }) => Some((bytes, Cut::Connection(Close::Reset))),
            Some(Effect::EndStdinAfter { bytes }) => Some((bytes, Cut::Stdin)),
            _ => None,
        };
        // Joined before the answer, so that no output after the 101 is missed.
        let output = self.found.as_ref().ok().map(|container| container.attached.join(self.streams.output));
        let Some(upgraded) = self.exchange.parts.extensions.remove::<OnUpgrade>() else { return };
        let gate = Arc::clone(&on.connection.gate);
        let session = session(upgraded, Session { streams: self.streams, on, cut }, self.found, output);
        self.exchange.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = gate.closed() => {}
                ended = session => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "an attach session broke");
                    }
                }
            }
        });
    }
}

/// `101 Switching Protocols` with these headers.
fn switching<const N: usize>(headers: [(HeaderName, HeaderValue); N]) -> Answer {
    let mut answer = whole(101, HeaderValue::from_static("text/plain"), "");
    answer.headers_mut().clear();
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().extend(headers);
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

/// What a session of either transport needs.
struct Session {
    streams: Streams,
    on: Arc<Registered>,
    /// What is ended after so many bytes of stdin.
    cut: Option<(u64, Cut)>,
}

/// An end before its time.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Of the client's connection.
    Connection(Close),
    /// Of the process's stdin; the client hears nothing more.
    Stdin,
}

impl Session {
    /// Hands bytes to the process, as many as `cut` lets through, and cuts the connection after them.
    async fn feed(&self, stdin: &StdinGuard, mut bytes: Bytes, cut: &mut Option<(u64, Cut)>) {
        if let Some((left, _)) = cut {
            bytes.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        stdin.send(bytes).await;
        match *cut {
            Some((0, Cut::Connection(how))) => self.on.connection.gate.close(how),
            Some((0, Cut::Stdin)) => {
                self.on.connection.gate.freeze(SILENCE);
                stdin.end();
            }
            _ => {}
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
    async fn send(&self, bytes: Bytes) {
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
