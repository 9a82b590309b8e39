//! Requests to the API server, and what its refusals mean.
//!
//! kube's client carries TLS, proxies and credentials; requests, answers and retries are our own, for kube's retries
//! repeat a POST and its attach stands still when both directions are busy.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use worknode_protocol::config::model::{KubeTuning, KubernetesType};

use super::{
    absence::Absence,
    attach::Choices,
    auth::{Access, AuthError, Environment, Source},
    limiter::{Limiter, NeverAccepts},
    retry::Patience,
    watch::Feeds,
};

/// Longest wait for the answer to a request that is not a stream. The API server gives up after 60 s itself.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest wait for the words of a refusal.
const REFUSAL: Duration = Duration::from_secs(10);
/// Pods asked for at the same time under one identity. A creation takes the API server some 20 ms (webhooks and quotas are
/// asked, the store writes): 16 at a time keep it busy, and more would only wait there, beyond its limits of fairness, and
/// be answered with 429.
pub(crate) const CREATIONS: usize = 16;
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
            Self::Unreachable { .. } | Self::Malformed(_) => true,
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

/// One client of one cluster under one identity. Units share it; nothing in it changes.
struct Connection {
    identity: [u8; 32],
    client: kube::Client,
    shared: Arc<Shared>,
}

/// What the units under one identity share, also after its credentials were read anew.
struct Shared {
    limiter: Limiter,
    /// Permits for pods that are being asked for.
    creations: Semaphore,
    feeds: Arc<Feeds>,
    absence: Absence,
}

impl Shared {
    fn new(limits: &KubeTuning) -> Self {
        Self {
            limiter: Limiter::new(limits),
            creations: Semaphore::new(CREATIONS),
            feeds: Arc::default(),
            absence: Absence::default(),
        }
    }
}

/// The clients in use, by identity. A client that no unit uses goes.
pub(crate) struct Pool {
    limits: KubeTuning,
    connections: Mutex<HashMap<[u8; 32], Weak<Connection>>>,
    attach: Choices,
}

impl Pool {
    pub(crate) fn new(tuning: KubeTuning) -> Self {
        Self { limits: tuning, connections: Mutex::default(), attach: Choices::default() }
    }

    /// A client for this access: one in use if `fresh` is not asked for. Blocks: a credential plugin may run.
    fn connect(&self, access: Access, fresh: bool) -> Result<Arc<Connection>, ApiError> {
        let identity = access.identity;
        let known = self.lock().get(&identity).and_then(Weak::upgrade);
        if let Some(known) = known.as_ref().filter(|_| !fresh) {
            return Ok(Arc::clone(known));
        }
        let shared = known.map_or_else(|| Arc::new(Shared::new(&self.limits)), |known| Arc::clone(&known.shared));
        let client = kube::Client::try_from(access.config).map_err(|fault| AuthError::Invalid(words(&fault)))?;
        let connection = Arc::new(Connection { identity, client, shared });
        let mut connections = self.lock();
        connections.retain(|_, connection| connection.strong_count() > 0);
        connections.insert(identity, Arc::downgrade(&connection));
        Ok(connection)
    }

    /// How many shared watches there are.
    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.lock().values().filter_map(Weak::upgrade).map(|connection| connection.shared.feeds.len()).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Weak<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
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
            let current = Mutex::new(pool.connect(access, false)?);
            Ok(Self { pool, source, kind, world, current, default_namespace })
        };
        tokio::task::spawn_blocking(work).await.map_err(|fault| ApiError::Malformed(fault.to_string()))?
    }

    fn connection(&self) -> Arc<Connection> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
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

    /// Reads the credentials once more, after they were refused.
    async fn refresh(&self) -> Result<(), ApiError> {
        let (pool, source, kind, world) =
            (self.pool.clone(), self.source.clone(), self.kind.clone(), self.world.clone());
        let work = move || pool.connect(Access::load(&source, &kind, true, &world)?, true);
        let connection =
            tokio::task::spawn_blocking(work).await.map_err(|fault| ApiError::Malformed(fault.to_string()))??;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = connection;
        Ok(())
    }

    async fn send(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let answer = self.send_or_refresh(request).await;
        self.connection().shared.absence.judge(answer)
    }

    /// Sends a request; a refused credential is read again once.
    async fn send_or_refresh(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        match self.send_once(request).await {
            Err(ApiError::Refused { code: 401, .. }) => {
                self.refresh().await?;
                self.send_once(request).await
            }
            answer => answer,
        }
    }

    async fn send_once(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let connection = self.connection();
        connection.shared.limiter.wait().await?;
        let request = request.clone().map(Body::from);
        let answer = connection.client.send(request).await.map_err(|fault| unreachable(&fault))?;
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
        match self.upgrade_once(request).await {
            Err(ApiError::Refused { code: 401, .. }) => {
                self.refresh().await?;
                self.upgrade_once(request).await
            }
            answer => answer,
        }
    }

    async fn upgrade_once(&self, request: &Request<Bytes>) -> Result<Response<Body>, ApiError> {
        let connection = self.connection();
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
