//! The API: one function from request to answer, and a file for each thing that can be asked.

mod attach;
mod body;
mod call;
mod create;
mod delete;
mod discovery;
mod list;
mod log;
mod patch;
mod review;
mod spdy;
mod table;
mod validation;
mod watch;
mod websocket;

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WARNING};
use http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio_util::task::TaskTracker;

use crate::accounts::Identity;
use crate::cluster::Cluster;
use crate::connections::{Registered, Use};
use crate::faults::Effect;
use crate::refusal::Refusal;
use crate::requests::Request;
use crate::resource::Resource;
use crate::store::Key;
use crate::wire::Close;
use body::Answer;
use call::{Call, Target};

pub(crate) use delete::{DeleteOptions, delete_pod, evict_pod};

/// Largest body that is read, in bytes; as the API server's own.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The connection is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer was lost on purpose")]
pub(crate) struct Lost;

/// A request on its way through the API.
struct Exchange {
    cluster: Arc<Cluster>,
    on: Arc<Registered>,
    /// Owner of what goes on after the answer: attach sessions.
    tasks: TaskTracker,
    identity: Identity,
    call: Call,
    parts: Parts,
    body: Incoming,
    effect: Option<Effect>,
}

/// A version 4 UUID, as the API gives every object.
pub(crate) fn new_uid() -> String {
    let bits = rand::random::<u128>() & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let (a, rest) = hex.split_at(8);
    let (b, rest) = rest.split_at(4);
    let (c, rest) = rest.split_at(4);
    let (d, e) = rest.split_at(4);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Answers one request.
pub(crate) async fn answer(
    cluster: Arc<Cluster>,
    on: Arc<Registered>,
    tasks: TaskTracker,
    request: hyper::Request<Incoming>,
) -> Result<Answer, Lost> {
    let (parts, body) = request.into_parts();
    let call = Call::parse(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or(""));
    let authorization = parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap_or(""));
    let identity = cluster.accounts.identify(authorization);
    let request = Request {
        verb: call.verb.to_owned(),
        resource: call.resource(),
        namespace: call.namespace().unwrap_or("").to_owned(),
        name: call.name().unwrap_or("").to_owned(),
        user: identity.as_ref().map(|identity| identity.user.clone()).unwrap_or_default(),
        target: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
    };
    tracing::debug!(verb = request.verb, target = request.target, "request");
    let effect = cluster.traps.spring(&request);
    cluster.requests.record(request);
    on.connection.set_use(Use::Request, call.name().unwrap_or(""));
    let Some(identity) = identity else { return Ok(body::refused(&Refusal::unauthorized())) };
    if !allowed(&identity, &call) || effect == Some(Effect::Deny) {
        return Ok(body::refused(&forbidden(&identity, &call)));
    }
    Exchange { cluster, on, tasks, identity, call, parts, body, effect }.run().await
}

fn allowed(identity: &Identity, call: &Call) -> bool {
    match &call.target {
        Target::Path(path) => identity.may_read(path),
        Target::Unknown => identity.may_read("/api"),
        Target::Resource { .. } => identity.may(call.verb, &call.resource(), call.namespace()),
    }
}

fn forbidden(identity: &Identity, call: &Call) -> Refusal {
    match &call.target {
        Target::Path(path) => Refusal::forbidden_path(&identity.user, call.verb, path),
        _ => Refusal::forbidden(&identity.user, call.verb, &call.resource(), call.name(), call.namespace()),
    }
}

impl Exchange {
    /// Answers, with what a trap has in store for this request.
    async fn run(self) -> Result<Answer, Lost> {
        let on = Arc::clone(&self.on);
        match self.effect.clone() {
            None | Some(Effect::Deny | Effect::Silence | Effect::Gone | Effect::EndStdinAfter { .. }) => {
                Ok(self.dispatch().await)
            }
            Some(Effect::Refuse { code, reason, message, retry_after }) => {
                let refusal = Refusal { retry_after, ..Refusal::new(code, &reason, message) };
                Ok(body::refused(&refusal))
            }
            Some(Effect::TooManyRequests { retry_after }) => {
                let refusal = Refusal::text(429, "Too many requests, please try again later.\n");
                Ok(body::refused(&Refusal { retry_after: Some(retry_after), ..refusal }))
            }
            Some(Effect::LoseRequest) => {
                on.connection.gate.close(Close::Drop);
                Err(Lost)
            }
            Some(Effect::LoseAnswer) => {
                drop(self.dispatch().await);
                on.connection.gate.close(Close::Drop);
                Err(Lost)
            }
            Some(Effect::Delay { millis }) => {
                tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
                Ok(self.dispatch().await)
            }
            Some(Effect::CutAfter { bytes }) => Ok(body::cut_after(self.dispatch().await, bytes, Close::Drop, on)),
            Some(Effect::ResetAfter { bytes }) => Ok(body::cut_after(self.dispatch().await, bytes, Close::Reset, on)),
        }
    }

    async fn dispatch(self) -> Answer {
        self.route().await.unwrap_or_else(|refusal| body::refused(&refusal))
    }

    async fn route(self) -> Result<Answer, Refusal> {
        let (resource, namespace, name, sub) = match self.call.target.clone() {
            Target::Path(path) if path == review::PATH && self.call.verb == "post" => {
                check_is_json(&self.parts)?;
                return review::answer(&self.identity, &read(self.body).await?);
            }
            Target::Path(path) => return discovery::answer(&self.parts.method, &path),
            Target::Unknown => return Err(Refusal::no_such_path()),
            Target::Resource { resource, namespace, name, sub } => (resource, namespace, name, sub),
        };
        let place = namespace.as_deref().unwrap_or("");
        let key = name.as_deref().map(|name| Key::new(resource, place, name));
        match (self.call.verb, key, resource, sub.as_deref()) {
            ("get", Some(key), Resource::Pods, Some("log")) => log::answer(&self, &key),
            ("get" | "create", Some(key), Resource::Pods, Some("attach")) => attach::answer(self, &key),
            ("create", Some(key), Resource::Pods, Some("eviction")) => self.evict(key).await,
            ("get", Some(key), _, None) => list::get(&self, &key),
            ("list", None, ..) => list::list(&self, resource, namespace.as_deref()),
            ("watch", key, _, None) => {
                watch::answer(&self, resource, namespace.as_deref(), key.as_ref().map(|key| key.name.as_str()))
            }
            ("create", None, ..) if resource.namespaced() != place.is_empty() => self.create(resource, place).await,
            ("patch", Some(key), _, None) => self.patch(key).await,
            ("update", Some(key), _, None) => list::get(&self, &key).and(Err(Refusal::method_not_allowed())),
            ("delete", Some(key), _, None) => self.delete(key).await,
            ("deletecollection", None, ..) if resource.namespaced() != place.is_empty() => {
                self.delete_all(resource, place).await
            }
            (_, _, _, Some(sub)) if !["log", "attach", "eviction", "status"].contains(&sub) => {
                Err(Refusal::no_such_path())
            }
            _ => Err(Refusal::method_not_allowed()),
        }
    }

    async fn create(self, resource: Resource, namespace: &str) -> Result<Answer, Refusal> {
        let Self { cluster, call, parts, body, .. } = self;
        check_is_json(&parts)?;
        let bytes = read(body).await?;
        let created = create::create(&cluster, resource, namespace, &call.query, &bytes)?;
        let mut answer = body::json_bytes(201, created.object.json.clone());
        for warning in created.warnings {
            let text = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{text}\"")) {
                answer.headers_mut().append(WARNING, value);
            }
        }
        Ok(answer)
    }

    async fn patch(self, key: Key) -> Result<Answer, Refusal> {
        let Self { cluster, parts, body, .. } = self;
        patch::patch(&cluster, &key, content_type(&parts), &read(body).await?)
    }

    async fn evict(self, key: Key) -> Result<Answer, Refusal> {
        let Self { cluster, parts, body, .. } = self;
        check_is_json(&parts)?;
        delete::eviction(&cluster, &key, &read(body).await?).await
    }

    async fn delete(self, key: Key) -> Result<Answer, Refusal> {
        let Self { cluster, call, body, .. } = self;
        let options = DeleteOptions::parse(&call.query, &read(body).await?)?;
        delete::delete(&cluster, &key, &options).await
    }

    async fn delete_all(self, resource: Resource, namespace: &str) -> Result<Answer, Refusal> {
        let Self { cluster, call, body, .. } = self;
        let options = DeleteOptions::parse(&call.query, &read(body).await?)?;
        delete::delete_all(&cluster, resource, namespace, &call.query, &options).await
    }
}

fn content_type(parts: &Parts) -> &str {
    parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Objects are read as JSON alone; what says nothing is taken for it.
fn check_is_json(parts: &Parts) -> Result<(), Refusal> {
    match content_type(parts) {
        "" => Ok(()),
        json if json.starts_with("application/json") => Ok(()),
        other => Err(Refusal::unsupported_media_type(other, "application/json")),
    }
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::body_too_large(BODY_LIMIT)),
        Err(error) => Err(Refusal::bad_request(format!("unable to read request body: {error}"))),
    }
}
