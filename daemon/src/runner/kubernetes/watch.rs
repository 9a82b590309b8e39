//! The states of one pod, as they come.
//!
//! One watch per pod for now. Who follows a pod takes [`Watch::next`] and nothing else, so that one watch may come to serve
//! many pods.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::BodyExt;
use kube::client::Body;
use rand::RngExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::{
    client::{self, Api, ApiError},
    retry::{Patience, Tries},
    view::{Metadata, Pod},
};

/// How long one watch lasts, in seconds: long enough to cost nothing, short enough for any proxy.
const LASTS: std::ops::Range<u32> = 240..300;
/// Silence after which the pod is looked at once more: a healthy API server sends a bookmark every minute
/// (kubernetes-streams 5). A frozen or vanished one sends nothing.
const SILENCE: Duration = Duration::from_secs(100);
/// A watch that ends before this is no watch.
const SHORT: Duration = Duration::from_secs(1);
/// Longest event: an object of etcd's limit, encoded as JSON.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// What became of the pod.
#[derive(Debug)]
pub(crate) enum Event {
    /// It looks like this now.
    Pod(Box<Pod>),
    /// It is gone. With its last state where that is known.
    Gone(Option<Box<Pod>>),
}

/// The watch of one pod. Dropping it, also while [`Watch::next`] waits, ends it.
pub(crate) struct Watch<'a> {
    api: &'a Api,
    namespace: String,
    name: String,
    /// The pod's uid: one of the same name made later is another one.
    uid: String,
    /// Where to go on; none: the pod is to be read first.
    version: Option<String>,
    stream: Option<Events>,
    tries: Tries,
}

impl<'a> Watch<'a> {
    /// Watches from the state that `pod` is in: the next event is the first one after it.
    pub(crate) fn from(api: &'a Api, pod: &Pod, patience: Patience) -> Self {
        Self {
            api,
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            version: Some(pod.metadata.resource_version.clone()).filter(|version| !version.is_empty()),
            stream: None,
            tries: patience.tries(),
        }
    }

    /// The next state. Fails once patience is at its end, or at once if the API refuses for good.
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            let begin = Instant::now();
            match self.step().await {
                Ok(Some(event)) => return Ok(event),
                Ok(None) => {}
                Err(fault) if fault.is_temporary() => {
                    self.stream = None;
                    let pause = self.tries.after_failure(begin.elapsed(), fault.retry_after());
                    let Some(pause) = pause else { return Err(fault) };
                    tracing::debug!(pod = self.name, error = %fault, ?pause, "watching the pod again");
                    tokio::time::sleep(pause).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// One step: the pod read, the watch opened, or an event. `None`: nothing to tell.
    async fn step(&mut self) -> Result<Option<Event>, ApiError> {
        let Some(version) = self.version.clone() else { return self.read().await.map(Some) };
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.open(&version).await?);
            return Ok(None);
        };
        match timeout(SILENCE, stream.next()).await {
            Ok(Ok(Some(line))) => self.event(&line),
            // Its time is over, or the API server leaves: go on from the same version.
            Ok(Ok(None)) if stream.begin.elapsed() >= SHORT => {
                self.stream = None;
                Ok(None)
            }
            Ok(Ok(None)) => Err(ApiError::Unreachable { message: "watch ended at once".to_owned(), sent: true }),
            Ok(Err(fault)) => Err(fault),
            Err(_) => {
                self.forget();
                Ok(None)
            }
        }
    }

    /// The pod is to be read before the next watch.
    fn forget(&mut self) {
        self.stream = None;
        self.version = None;
    }

    async fn read(&mut self) -> Result<Event, ApiError> {
        let request = client::get_pod(&self.namespace, &self.name)?;
        match self.api.object::<Pod>(&request).await {
            Ok(pod) if pod.metadata.uid == self.uid => {
                self.tries.reset();
                self.version = Some(pod.metadata.resource_version.clone());
                Ok(Event::Pod(Box::new(pod)))
            }
            Ok(_) => Ok(Event::Gone(None)),
            Err(fault) if fault.is_not_found() => Ok(Event::Gone(None)),
            Err(fault) => Err(fault),
        }
    }

    async fn open(&mut self, version: &str) -> Result<Events, ApiError> {
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&fieldSelector=metadata.name%3D{}&resourceVersion={}&timeoutSeconds={}",
            client::pods_path(&self.namespace),
            client::encode(&self.name),
            client::encode(version),
            rand::rng().random_range(LASTS),
        );
        let request: Request<Bytes> = client::request(Method::GET, &path, Bytes::new())?;
        // The head of the answer comes at once, or not at all.
        let answer = timeout(SILENCE, self.api.stream(&request)).await;
        let answer =
            answer.map_err(|_| ApiError::Unreachable { message: "no answer to a watch".to_owned(), sent: true })??;
        Ok(Events { body: answer.into_body(), buffer: BytesMut::new(), searched: 0, begin: Instant::now() })
    }

    fn event(&mut self, line: &[u8]) -> Result<Option<Event>, ApiError> {
        let malformed = |fault: serde_json::Error| ApiError::Malformed(fault.to_string());
        let event: Line<'_> = serde_json::from_slice(line).map_err(malformed)?;
        match event.kind {
            "ERROR" => {
                let status: Status = serde_json::from_str(event.object.get()).map_err(malformed)?;
                self.forget();
                // Too old a version (410) comes inside a successful answer (kubernetes-streams 5).
                if status.code == 410 {
                    return Err(ApiError::Malformed(status.message));
                }
                Err(ApiError::Refused {
                    code: status.code,
                    reason: String::new(),
                    message: status.message,
                    kind: String::new(),
                    retry_after: None,
                })
            }
            "BOOKMARK" => {
                let bookmark: Bookmark = serde_json::from_str(event.object.get()).map_err(malformed)?;
                self.version = Some(bookmark.metadata.resource_version);
                self.tries.reset();
                Ok(None)
            }
            kind => {
                let pod: Pod = serde_json::from_str(event.object.get()).map_err(malformed)?;
                self.version = Some(pod.metadata.resource_version.clone());
                self.tries.reset();
                if pod.metadata.uid != self.uid {
                    return Ok(None);
                }
                let pod = Box::new(pod);
                Ok(Some(if kind == "DELETED" { Event::Gone(Some(pod)) } else { Event::Pod(pod) }))
            }
        }
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    message: String,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: Metadata,
}

/// Lines of a watch's answer.
struct Events {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line feed.
    searched: usize,
    begin: Instant,
}

impl Events {
    /// The next line; `None` at the end, proper or not. May be dropped at any time without losing anything.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let fresh = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = memchr::memchr(b'\n', fresh) {
                let line = self.buffer.split_to(self.searched + end + 1).freeze();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.searched > EVENT_BYTES {
                return Err(ApiError::Malformed("event of a watch is too long".to_owned()));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(fault)) => {
                    let message = client::words(&fault);
                    return Err(ApiError::Unreachable { message, sent: true });
                }
                None => return Ok(None),
            }
        }
    }
}
