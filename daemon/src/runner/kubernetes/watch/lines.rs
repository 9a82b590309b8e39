//! The answer to a watch: one JSON object per line, for as long as it lasts.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Method;
use http_body_util::BodyExt;
use kube::client::Body;
use rand::RngExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use crate::runner::kubernetes::{
    client::{self, Api, ApiError},
    view::{Metadata, Pod},
};

/// How long one watch lasts, in seconds: long enough to cost nothing, short enough for any proxy.
const LASTS: std::ops::Range<u32> = 240..300;
/// Silence after which the pods are looked at once more: a healthy API server sends a bookmark every minute
/// (kubernetes-streams 5). A frozen or vanished one sends nothing.
const SILENCE: Duration = Duration::from_secs(if cfg!(test) { 10 } else { 100 });
/// A watch that ends before this is no watch.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// Longest event: an object of etcd's limit, encoded as JSON.
const EVENT_BYTES: usize = 16 * 1024 * 1024;

/// One line of the answer.
#[derive(Debug)]
pub(super) enum Line {
    /// A pod looks like this now.
    Pod(Box<Pod>),
    /// A pod is gone, or does not match any more. This is its last state.
    Deleted(Box<Pod>),
    /// Nothing happened up to this version.
    Bookmark(String),
    /// The API server knows no changes since the version asked for: the pods are to be read anew.
    TooOld,
}

/// What came of waiting for a line.
#[derive(Debug)]
pub(super) enum Next {
    /// A line.
    Line(Line),
    /// The time of this watch is over, or the API server leaves: another one may go on from the last version.
    End,
    /// Nothing came for so long that the pods are to be read anew.
    Silent,
}

/// A watch that was opened.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line feed.
    searched: usize,
    /// When it was opened.
    pub(super) begin: Instant,
}

impl Lines {
    /// Opens a watch of the pods in `namespace` that `selector` (a parameter of the query, encoded) selects.
    pub(super) async fn open(api: &Api, namespace: &str, selector: &str, version: &str) -> Result<Self, ApiError> {
        let path = format!(
            "{}?watch=true&allowWatchBookmarks=true&{selector}&resourceVersion={}&timeoutSeconds={}",
            client::pods_path(namespace),
            client::encode(version),
            rand::rng().random_range(LASTS),
        );
        let request = client::request(Method::GET, &path, Bytes::new())?;
        // The head of the answer comes at once, or not at all.
        let answer = timeout(SILENCE, api.stream(&request)).await;
        let answer =
            answer.map_err(|_| ApiError::Unreachable { message: "no answer to a watch".to_owned(), sent: true })??;
        Ok(Self { body: answer.into_body(), buffer: BytesMut::new(), searched: 0, begin: Instant::now() })
    }

    /// The next line. May be dropped at any time without losing anything. A watch that ends at once is an error, so that
    /// nobody opens one after the other without a pause.
    pub(super) async fn next(&mut self) -> Result<Next, ApiError> {
        match timeout(SILENCE, self.line()).await {
            Ok(Ok(Some(line))) => parse(&line).map(Next::Line),
            Ok(Ok(None)) if self.begin.elapsed() >= SHORT => Ok(Next::End),
            Ok(Ok(None)) => Err(ApiError::Unreachable { message: "watch ended at once".to_owned(), sent: true }),
            Ok(Err(fault)) => Err(fault),
            Err(_) => Ok(Next::Silent),
        }
    }

    /// The bytes of the next line; `None` at the end, proper or not.
    async fn line(&mut self) -> Result<Option<Bytes>, ApiError> {
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

#[derive(Deserialize)]
struct Raw<'a> {
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

fn parse(line: &[u8]) -> Result<Line, ApiError> {
    let malformed = |fault: serde_json::Error| ApiError::Malformed(fault.to_string());
    let raw: Raw<'_> = serde_json::from_slice(line).map_err(malformed)?;
    let object = raw.object.get();
    match raw.kind {
        "ERROR" => {
            let Status { code, message } = serde_json::from_str(object).map_err(malformed)?;
            // Too old a version comes inside a successful answer (kubernetes-streams 5).
            if code == 410 {
                return Ok(Line::TooOld);
            }
            let (reason, kind) = (String::new(), String::new());
            Err(ApiError::Refused { code, reason, message, kind, retry_after: None })
        }
        "BOOKMARK" => {
            let bookmark: Bookmark = serde_json::from_str(object).map_err(malformed)?;
            Ok(Line::Bookmark(bookmark.metadata.resource_version))
        }
        kind => {
            let pod: Box<Pod> = serde_json::from_str(object).map_err(malformed)?;
            Ok(if kind == "DELETED" { Line::Deleted(pod) } else { Line::Pod(pod) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_they_say() {
        let line = |text: &str| format!("{:?}", parse(text.as_bytes()));
        assert!(line(r#"{"type":"ADDED","object":{"metadata":{"uid":"u"}}}"#).starts_with("Ok(Pod("));
        assert!(line(r#"{"type":"MODIFIED","object":{"metadata":{"uid":"u"}}}"#).starts_with("Ok(Pod("));
        assert!(line(r#"{"type":"DELETED","object":{"metadata":{"uid":"u"}}}"#).starts_with("Ok(Deleted("));
        let bookmark = r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7"}}}"#;
        assert_eq!(line(bookmark), "Ok(Bookmark(\"7\"))");
        let expired = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}"#;
        assert_eq!(line(expired), "Ok(TooOld)");
        let other = r#"{"type":"ERROR","object":{"kind":"Status","code":500,"message":"m"}}"#;
        assert!(line(other).starts_with("Err(Refused { code: 500,"));
        for rubbish in ["", "{}", "[]", "{\"type\":\"ADDED\"}", "{\"type\":\"ADDED\",\"object\":1}"] {
            assert!(line(rubbish).starts_with("Err(Malformed("), "{rubbish}");
        }
    }
}
