//! What went wrong with a request: the API server's refusals, and what stands between it and here.

use std::{error::Error, time::Duration};

use http::{Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::Deserialize;
use tokio::time::timeout;

use crate::runner::kubernetes::{auth::AuthError, limiter::NeverAccepts};

/// Longest wait for the words of a refusal.
const REFUSAL: Duration = Duration::from_secs(10);
/// Longest refusal.
const REFUSAL_BYTES: usize = 256 * 1024;

/// Why a request failed. `Display` is what a unit's detail quotes.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The API server said no.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The API's reason, such as `AlreadyExists`.
        reason: String,
        /// Its words, verbatim.
        message: String,
        /// What the refusal is about, such as `pods` or `pods/log`.
        kind: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No answer. `sent` is false if the request certainly never went out.
    #[error("{message}")]
    Unreachable {
        /// What the network said.
        message: String,
        /// It may have been carried out.
        sent: bool,
    },
    /// The API server has just come back and refuses what it may allow in a moment. Nothing was carried out.
    #[error("{0}")]
    NotReady(String),
    /// The client-side limiter lets nothing out.
    #[error(transparent)]
    Limited(#[from] NeverAccepts),
    /// An answer that is not what it should be.
    #[error("{0}")]
    Malformed(String),
    /// There are no credentials to ask with.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl ApiError {
    /// The HTTP status of a refusal.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// True if the object asked for does not exist. The kubelet's own 404 for a container that it does not know yet is
    /// none of these (kubernetes-streams 4.4).
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, kind, .. } if kind == "pods" || kind.is_empty())
    }

    /// True if trying again may help.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            // Not overload but a limit of the store (kubernetes-streams 7).
            Self::Refused { code: 500, message, .. } => !message.contains("request is too large"),
            Self::Refused { code, .. } => matches!(code, 408 | 429 | 500..=599),
            Self::Unreachable { .. } | Self::NotReady(_) | Self::Malformed(_) => true,
            Self::Limited(_) | Self::Auth(_) => false,
        }
    }

    /// What the server wants to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The API server knows no changes since the version asked for: reading anew helps.
    pub(crate) fn too_old() -> Self {
        Self::Malformed("too old resource version".to_owned())
    }

    pub(super) fn timed_out() -> Self {
        Self::Unreachable { message: "no answer from the API server".to_owned(), sent: true }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    kind: String,
}

/// The words of an answer that is none.
pub(super) async fn refusal(answer: Response<Body>) -> ApiError {
    let code = answer.status();
    let retry_after = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = retry_after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    let body = timeout(REFUSAL, Limited::new(answer.into_body(), REFUSAL_BYTES).collect()).await;
    let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    let status = serde_json::from_slice::<Status>(&body).unwrap_or_default();
    let message = if status.message.is_empty() { plain_words(code, &body) } else { status.message };
    ApiError::Refused { code: code.as_u16(), reason: status.reason, message, kind: status.details.kind, retry_after }
}

/// An answer that is no `Status`: the kubelet's, or a proxy's.
fn plain_words(code: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let first = text.trim().lines().next().unwrap_or_default();
    if first.is_empty() || first.starts_with('<') { code.to_string() } else { first.chars().take(500).collect() }
}

/// True if the TLS handshake, or the server's words about it, stand in the way.
pub(super) fn is_handshake(fault: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(fault);
    while let Some(fault) = cause {
        // An I/O error hides what it is made of from `source`.
        let inner = fault.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if fault.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        cause = fault.source();
    }
    false
}

pub(super) fn unreachable(fault: &kube::Error) -> ApiError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(fault);
    let mut sent = true;
    while let Some(fault) = cause {
        if fault.downcast_ref::<hyper_util::client::legacy::Error>().is_some_and(|fault| fault.is_connect()) {
            sent = false;
        }
        cause = fault.source();
    }
    ApiError::Unreachable { message: words(fault), sent }
}

/// The innermost words of a chain of errors: the outer ones say only which layer passed them on.
pub(crate) fn words(fault: &(dyn Error + 'static)) -> String {
    let mut innermost = fault;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
