//! Requests to the API server, and what its refusals mean.
//!
//! kube's client carries TLS, proxies and credentials; requests, answers and retries are our own, for kube's retries
//! repeat a POST and its attach stands still when both directions are busy.

use std::{
    error::Error,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};
use worknode_protocol::config::model::KubernetesType;

use super::{
    attach::Choices,
    auth::{Access, AuthError, Environment, Source},
    limiter::NeverAccepts,
    pool::{Connection, Pool},
    retry::Patience,
    watch::Feeds,
};

/// Longest wait for the answer to a request that is not a stream. The API server gives up after 60 s itself.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for the words of a refusal.
const REFUSAL: Duration = Duration::from_secs(10);
/// Logs followed at the same time from which on requests are spared, at the price of a second.
const CROWD: usize = 32;
/// Time between two readings of credentials because of failed handshakes.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(10);
/// Longest object that is read: etcd holds 1.5 MiB, encoded once more as JSON.
const OBJECT_BYTES: usize = 16 * 1024 * 1024;
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

    fn timed_out() -> Self {
        Self::Unreachable { message: "no answer from the API server".to_owned(), sent: true }
    }
}

/// One of those who follow logs under an identity.
pub(crate) struct InCrowd(Arc<()>);

impl InCrowd {
    /// True if there are so many that requests are worth sparing.
    pub(crate) fn is_large(&self) -> bool {
        Arc::strong_count(&self.0) > CROWD
    }
}

/// The API server as one unit sees it.
pub(crate) struct Api {
    pool: Arc<Pool>,
    source: Source,
    kind: Arc<KubernetesType>,
    world: Environment,
    current: Mutex<Arc<Connection>>,
    /// The namespace that came with the credentials.
    pub(crate) default_namespace: String,
}

/// What [`Api::connect`] needs to know.
#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) pool: Arc<Pool>,
    pub(crate) source: Source,
    pub(crate) kind: Arc<KubernetesType>,
    pub(crate) world: Environment,
    /// The unit's namespace is known already.
    pub(crate) named: bool,
}

impl Api {
    /// Reads the credentials and makes a client, or shares one. Nothing is sent yet.
    pub(crate) async fn connect(way: Way) -> Result<Self, ApiError> {
        let Way { pool, source, kind, world, named } = way;
        let work = move || {
            let access = Access::load(&source, &kind, named, &world)?;
            let default_namespace = access.namespace.clone();
            let current = Mutex::new(pool.connect(access, None)?);
            Ok(Self { pool, source, kind, world, current, default_namespace })
        };
        tokio::task::spawn_blocking(work).await.map_err(|fault| ApiError::Malformed(fault.to_string()))?
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts as one that follows a log, as long as the answer lives.
    pub(crate) fn follows_log(&self) -> InCrowd {
        InCrowd(Arc::clone(&self.connection().shared.logs))
    }

    /// The same for another task.
    pub(crate) fn share(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            source: self.source.clone(),
            kind: Arc::clone(&self.kind),
            world: self.world.clone(),
            current: Mutex::new(self.connection()),
            default_namespace: self.default_namespace.clone(),
        }
    }

    /// The shared watches under this identity.
    pub(crate) fn feeds(&self) -> Arc<Feeds> {
        Arc::clone(&self.connection().shared.feeds)
    }

    /// As [`Api::object`], for a pod that is to be made: few are asked for at a time.
    pub(crate) async fn create<T: DeserializeOwned>(&self, request: &Request<Bytes>) -> Result<T, ApiError> {
        let shared = Arc::clone(&self.connection().shared);
        // The semaphore is never closed.
        let _permit = shared.creations.acquire().await;
        self.object(request).await
    }

    /// Digest of the credentials that are in use.
    pub(crate) fn identity(&self) -> [u8; 32] {
        self.connection().identity
    }

    /// What is known of the ways to attach.
    pub(crate) fn attach_choices(&self) -> &Choices {
        &self.pool.attach
    }

    /// Reads the credentials once more, after they were refused over this connection. Of many units that are refused at
    /// once one does it, and runs a plugin, for all.
    async fn refresh(&self, refused: &Arc<Connection>) -> Result<(), ApiError> {
        if !Arc::ptr_eq(&self.connection(), refused) {
            return Ok(());
        }
        let mut refreshed = refused.shared.refreshed.lock().await;
        if let Some(newer) = self.pool.newer_than(refused) {
            *self.current.lock().unwrap_or_else(PoisonError::into_inner) = newer;
            return Ok(());
        }
        self.read_anew(Arc::clone(refused)).await?;
        *refreshed = Some(Instant::now());
        Ok(())
    }

    /// The same after the handshake failed, as it does where certificates were replaced. Not again and again: the server
    /// may be another one, for hours.
    async fn refresh_after_handshake(&self, failed: &Arc<Connection>) {
        let recently = |at: Instant| at.elapsed() < BETWEEN_REFRESHES;
        let refreshed = *failed.shared.refreshed.lock().await;
        if refreshed.is_some_and(recently) && self.pool.newer_than(failed).is_none() {
            return;
        }
        if let Err(fault) = self.refresh(failed).await {
            tracing::debug!(error = %fault, "credentials could not be read anew");
        }
    }

    async fn read_anew(&self, refused: Arc<Connection>) -> Result<(), ApiError> {
        let (pool, source, kind, world) =
            (self.pool.clone(), self.source.clone(), self.kind.clone(), self.world.clone());
        let work = move || pool.connect(Access::load(&source, &kind, true, &world)?, Some(&refused));
        let connection =
            tokio::task::spawn_blocking(work).await.map_err(|fault| ApiError::Malformed(fault.to_string()))?;
        // A file that is just being replaced, a plugin whose own server is away: a later try may find them well.
        let connection =
            connection.map_err(|fault| ApiError::Unreachable { message: fault.to_string(), sent: false })?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        Ok(())
    }

    /// A stream broke: the API server may be away.
    pub(crate) fn note_broken(&self, fault: &ApiError) {
        self.connection().shared.absence.note(fault);
    }

    async fn send(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let answer = self.send_or_refresh(request).await;
        self.connection().shared.absence.judge(answer)
    }

    /// Sends a request; a refused credential is read again once.
    async fn send_or_refresh(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let connection = self.connection();
        match self.send_once(&connection, request).await {
            Err(ApiError::Refused { code: 401, .. }) => {
                self.refresh(&connection).await?;
                self.send_once(&self.connection(), request).await
            }
            answer => answer,
        }
    }

    async fn send_once(
        &self,
        connection: &Arc<Connection>,
        request: &Request<Bytes>,
    ) -> Result<Response<Body>, ApiError> {
        connection.shared.limiter.wait().await?;
        let request = request.clone().map(Body::from);
        let answer = match connection.client.send(request).await {
            Ok(answer) => answer,
            Err(fault) => {
                if is_handshake(&fault) {
                    self.refresh_after_handshake(connection).await;
                }
                return Err(unreachable(&fault));
            }
        };
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// A request whose answer is an object.
    pub(crate) async fn object<T: DeserializeOwned>(&self, request: &Request<Bytes>) -> Result<T, ApiError> {
        let whole = async {
            let answer = self.send(request).await?;
            let body = Limited::new(answer.into_body(), OBJECT_BYTES).collect().await;
            let body = body.map_err(|fault| ApiError::Unreachable { message: words(&*fault), sent: true })?.to_bytes();
            serde_json::from_slice(&body).map_err(|fault| ApiError::Malformed(fault.to_string()))
        };
        timeout(ANSWER, whole).await.unwrap_or_else(|_| Err(ApiError::timed_out()))
    }

    /// A request whose answer is a stream. Its head may take as long as the stream is silent.
    pub(crate) async fn stream(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        self.send(request).await
    }

    /// Asks for another protocol on this connection. The answer is the server's, whatever it says, with status 101 if it
    /// agrees; that does not say that it has reached the container (kubernetes-streams 1.2).
    pub(crate) async fn upgrade(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let answer = self.upgrade_or_refresh(request).await;
        self.connection().shared.absence.judge(answer)
    }

    async fn upgrade_or_refresh(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let connection = self.connection();
        match Self::upgrade_once(&connection, request).await {
            Err(ApiError::Refused { code: 401, .. }) => {
                self.refresh(&connection).await?;
                Self::upgrade_once(&self.connection(), request).await
            }
            answer => answer,
        }
    }

    async fn upgrade_once(connection: &Arc<Connection>, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        connection.shared.limiter.wait().await?;
        let answer = timeout(ANSWER, connection.client.send(request.clone().map(Body::from))).await;
        let answer = answer.map_err(|_| ApiError::timed_out())?.map_err(|fault| unreachable(&fault))?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS { Ok(answer) } else { Err(refusal(answer).await) }
    }

    /// As [`Api::object`], until it works, until it cannot work, or until patience ends.
    pub(crate) async fn object_patiently<T: DeserializeOwned>(
        &self,
        request: &Request<Bytes>,
        patience: Patience,
    ) -> Result<T, ApiError> {
        let mut tries = patience.tries();
        loop {
            let begin = Instant::now();
            let fault = match self.object(request).await {
                Err(fault) if fault.is_temporary() => fault,
                answer => return answer,
            };
            let Some(pause) = tries.after_failure(begin.elapsed(), fault.retry_after()) else { return Err(fault) };
            tracing::debug!(path = request.uri().path(), error = %fault, ?pause, "trying again");
            tokio::time::sleep(pause).await;
        }
    }
}

/// A request below `/api/v1/namespaces/NS/pods`. `path` has been encoded.
pub(crate) fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, ApiError> {
    let mut request = Request::builder().method(method).uri(path).header(http::header::ACCEPT, "application/json");
    if !body.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, "application/json");
    }
    request.body(body).map_err(|fault| ApiError::Malformed(fault.to_string()))
}

/// The path of the pods of all namespaces.
pub(crate) const ALL_PODS: &str = "/api/v1/pods";

/// The path of the pods of a namespace.
pub(crate) fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/pods", encode(namespace))
}

/// The path of a pod.
pub(crate) fn pod_path(namespace: &str, name: &str) -> String {
    format!("{}/{}", pods_path(namespace), encode(name))
}

/// The request for a pod as it is now.
pub(crate) fn get_pod(namespace: &str, name: &str) -> Result<Request<Bytes>, ApiError> {
    request(Method::GET, &pod_path(namespace, name), Bytes::new())
}

/// Percent-encodes what has a meaning in a path or a query: names come from users.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A path of dots only would be taken apart by proxies.
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !matches!(text, "." | "..")) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
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
async fn refusal(answer: Response<Body>) -> ApiError {
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
fn is_handshake(fault: &(dyn Error + 'static)) -> bool {
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

fn unreachable(fault: &kube::Error) -> ApiError {
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
