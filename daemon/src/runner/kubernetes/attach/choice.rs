//! Which transport is let through: by the server, by what stands before it, and by the account's role.
//!
//! A WebSocket is a `get` of `pods/attach`, SPDY a `create`. What worked is kept for each account and namespace, so that
//! not every pod pays for a request that is refused.

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::stream::{SplitSink, SplitStream};
use hyper_util::rt::TokioIo;
use tokio::io::{ReadHalf, WriteHalf};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use super::{ApiError, AttachError, Target, spdy, websocket};

/// How long it counts that SPDY worked and a WebSocket did not: roles and proxies change.
const KEPT: Duration = Duration::from_secs(3600);
/// Accounts and namespaces that are kept. Clients bring accounts of their own.
const LIMIT: usize = 1024;

pub(super) type Io = TokioIo<hyper::upgrade::Upgraded>;
pub(super) type Socket = WebSocketStream<Io>;

/// An open session, and its two halves.
pub(super) enum Session {
    WebSocket(websocket::Mouth<SplitSink<Socket, Message>>, SplitStream<Socket>),
    Spdy(spdy::Mouth<WriteHalf<Io>>, Box<spdy::Ear<ReadHalf<Io>>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    WebSocket,
    Spdy,
}

impl Transport {
    async fn open(self, target: &Target<'_>) -> Result<Session, AttachError> {
        Ok(match self {
            Self::WebSocket => {
                let (mouth, from_server) = websocket::open(target).await?;
                Session::WebSocket(mouth, from_server)
            }
            Self::Spdy => {
                let (mouth, ear) = spdy::open(target).await?;
                Session::Spdy(mouth, Box::new(ear))
            }
        })
    }
}

/// Opens a session by the first transport that is let through.
pub(super) async fn open(target: &Target<'_>) -> Result<Session, AttachError> {
    let choices = target.api.attach_choices();
    let key = (target.api.identity(), target.namespace.to_owned());
    let order = choices.order(&key);
    let mut refusals = Vec::with_capacity(order.len());
    for transport in order {
        match transport.open(target).await {
            Err(AttachError::NotBegun(fault)) if calls_for_another(&fault) => {
                tracing::debug!(pod = target.pod, ?transport, error = %fault, "attach is refused");
                refusals.push((transport, fault));
            }
            Ok(session) => {
                choices.keep(key, transport);
                return Ok(session);
            }
            Err(fault) => {
                // The kubelet's own words, or a session that broke: it was let through.
                if matches!(fault, AttachError::NoContainer(_) | AttachError::Cut { .. }) && !refusals.is_empty() {
                    choices.keep(key, transport);
                }
                return Err(fault);
            }
        }
    }
    choices.forget(&key);
    let namespace = target.namespace.to_owned();
    Err(AttachError::Refused(Box::new(Refusals { namespace, refusals })))
}

/// True if a refusal is of the transport, not of the attach itself (kubernetes-streams 1.5, 3.1).
fn calls_for_another(fault: &ApiError) -> bool {
    let ApiError::Refused { code, reason, message, .. } = fault else { return false };
    match code {
        // An answer as to a request without an upgrade; a method or protocol that is not known here; no right to one of
        // the two verbs, or no sub-protocol in common.
        200..=299 | 403 | 405 | 426 | 501 => true,
        // Of the API's own these are about pod and container. It says this where the upgrade was taken out on the way.
        400 => reason.is_empty() || message == "Upgrade request required",
        // Not the API's: something before it does not know the path.
        404 => reason.is_empty(),
        _ => false,
    }
}

/// That neither transport is let through.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(crate) namespace: String,
    refusals: Vec<(Transport, ApiError)>,
}

impl Refusals {
    /// True if the account's role is the reason, for both.
    pub(crate) fn are_of_the_role(&self) -> bool {
        let of_role = |fault: &ApiError| {
            matches!(fault, ApiError::Refused { code: 403, reason, message, .. }
                if reason == "Forbidden" && message.contains("\"pods/attach\""))
        };
        self.refusals.iter().all(|(_, fault)| of_role(fault))
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (transport, fault)) in self.refusals.iter().enumerate() {
            let between = if number == 0 { "" } else { "; " };
            let name = match transport {
                Transport::WebSocket => "WebSocket",
                Transport::Spdy => "SPDY",
            };
            write!(f, "{between}by {name}: {fault}")?;
        }
        Ok(())
    }
}

/// Digest of the credentials, and the namespace: roles are granted in one.
type Key = ([u8; 32], String);

/// For whom a WebSocket was refused and SPDY was not.
#[derive(Default)]
pub(crate) struct Choices(Mutex<HashMap<Key, Instant>>);

impl Choices {
    fn order(&self, key: &Key) -> [Transport; 2] {
        match self.lock().get(key) {
            Some(since) if since.elapsed() < KEPT => [Transport::Spdy, Transport::WebSocket],
            _ => [Transport::WebSocket, Transport::Spdy],
        }
    }

    fn keep(&self, key: Key, worked: Transport) {
        let mut spdy = self.lock();
        if worked == Transport::WebSocket {
            spdy.remove(&key);
            return;
        }
        if spdy.len() >= LIMIT && !spdy.contains_key(&key) {
            spdy.retain(|_, since| since.elapsed() < KEPT);
        }
        if spdy.len() < LIMIT || spdy.contains_key(&key) {
            // From the first time on: a WebSocket is to be tried again some day, however busy the account.
            let since = spdy.entry(key).or_insert_with(Instant::now);
            if since.elapsed() >= KEPT {
                *since = Instant::now();
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
