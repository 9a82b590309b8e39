//! Requests to the API server. What its refusals mean is in `fault`, paths are in `request`.
//!
//! kube's client carries TLS, proxies and credentials; requests, answers and retries are our own, for kube's retries
//! repeat a POST and its attach stands still when both directions are busy.

mod fault;
mod request;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};
use worknode_protocol::config::model::KubernetesType;

use self::fault::{is_handshake, refusal, unreachable};
pub(crate) use self::{
    fault::{ApiError, words},
    request::{ALL_PODS, encode, get_pod, pod_path, pods_path, request},
};
use super::{
    attach::Choices,
    auth::{Access, Environment, Source},
    pool::{Connection, Pool},
    retry::Patience,
    watch::Feeds,
};

/// Longest wait for the answer to a request that is not a stream. The API server gives up after 60 s itself.
const ANSWER: Duration = Duration::from_secs(60);
/// Logs followed at the same time from which on requests are spared, at the price of a second.
const CROWD: usize = 32;
/// Time between two readings of credentials because of failed handshakes.
const BETWEEN_REFRESHES: Duration = Duration::from_secs(10);
/// Longest object that is read: etcd holds 1.5 MiB, encoded once more as JSON.
const OBJECT_BYTES: usize = 16 * 1024 * 1024;

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

    /// A request whose answer is text, of `limit` bytes at most.
    pub(crate) async fn bytes(&self, request: &Request<Bytes>, limit: usize) -> Result<Bytes, ApiError> {
        let whole = async {
            let answer = self.send(request).await?;
            let body = Limited::new(answer.into_body(), limit).collect().await;
            Ok(body.map_err(|fault| ApiError::Unreachable { message: words(&*fault), sent: true })?.to_bytes())
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
