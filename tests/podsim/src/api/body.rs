//! Bodies of answers: whole, streamed, and streamed until a fault cuts them off.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Body, Frame, SizeHint};
use serde_json::Value;

use crate::connections::Registered;
use crate::refusal::Refusal;
use crate::wire::Close;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer with a body that is all there.
pub(crate) fn whole(code: u16, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    with_headers(code, content_type, body)
}

pub(crate) fn json(code: u16, value: &Value) -> Answer {
    whole(code, JSON, value.to_string())
}

/// JSON that is written already.
pub(crate) fn json_bytes(code: u16, bytes: Bytes) -> Answer {
    whole(code, JSON, bytes)
}

/// Chunks as they come.
pub(crate) fn stream(
    content_type: HeaderValue,
    chunks: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Answer {
    let body = StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync();
    with_headers(200, content_type, body)
}

pub(crate) fn refused(refusal: &Refusal) -> Answer {
    let mut answer = if refusal.plain {
        whole(refusal.code, TEXT, refusal.message.clone())
    } else {
        whole(refusal.code, JSON, refusal.json())
    };
    if let Some(seconds) = refusal.retry_after {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

fn with_headers(code: u16, content_type: HeaderValue, body: UnsyncBoxBody<Bytes, io::Error>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// Lets `bytes` of the body through, then ends the connection.
pub(crate) fn cut_after(answer: Answer, bytes: u64, how: Close, on: std::sync::Arc<Registered>) -> Answer {
    answer.map(|inner| Cut { inner, left: bytes, how, on }.boxed_unsync())
}

struct Cut {
    inner: UnsyncBoxBody<Bytes, io::Error>,
    left: u64,
    how: Close,
    on: std::sync::Arc<Registered>,
}

impl Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            // hyper flushes when a body has nothing at the moment; the flush then ends the connection.
            self.on.connection.gate.close_after_flush(self.how);
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left = self.left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    /// Of the whole, so that a cut is not announced.
    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
