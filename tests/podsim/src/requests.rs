//! What has been asked of the API: a bounded log of requests, and counts that are never forgotten.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// Requests kept one by one; counts go on beyond it.
const LOG_LIMIT: usize = 100_000;

/// One request, as it was understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `delete`, `deletecollection`, `patch`, `update`; for paths that are no
    /// resource the HTTP method in lower case.
    pub verb: String,
    /// `pods`, `pods/log`, `pods/attach`, `namespaces`, ...; for paths that are no resource the path.
    pub resource: String,
    /// Empty if the request is for all of them.
    pub namespace: String,
    /// Empty if the request names none: a list, or a create (there the name is in the body).
    pub name: String,
    /// Of the account; empty if there was no valid token.
    pub user: String,
    /// Path and query.
    pub target: String,
}

/// Read access to the requests so far. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Requests {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Mutex<Log>,
    total: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    recent: VecDeque<Request>,
    counts: BTreeMap<(String, String), u64>,
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::new(Inner { log: Mutex::default(), total: watch::Sender::new(0) }) }
    }

    pub(crate) fn record(&self, request: Request) {
        let mut log = self.lock();
        *log.counts.entry((request.verb.clone(), request.resource.clone())).or_default() += 1;
        log.recent.push_back(request);
        if log.recent.len() > LOG_LIMIT {
            log.recent.pop_front();
        }
        drop(log);
        self.inner.total.send_modify(|total| *total += 1);
    }

    /// Requests of this verb and resource since the start, refused ones included.
    pub fn count(&self, verb: &str, resource: &str) -> u64 {
        self.lock().counts.get(&(verb.to_owned(), resource.to_owned())).copied().unwrap_or(0)
    }

    /// All counts, by (verb, resource).
    pub fn counts(&self) -> BTreeMap<(String, String), u64> {
        self.lock().counts.clone()
    }

    /// All requests since the start.
    pub fn total(&self) -> u64 {
        *self.inner.total.borrow()
    }

    /// The last 100,000 requests, oldest first.
    pub fn recent(&self) -> Vec<Request> {
        self.lock().recent.iter().cloned().collect()
    }

    /// Those among the recent ones that name this pod, or are a watch of it alone; what is asked of all pods is
    /// not among them.
    pub fn of_pod(&self, name: &str) -> Vec<Request> {
        let watched = format!("fieldSelector=metadata.name%3D{name}");
        let about = |request: &&Request| {
            request.resource.starts_with("pods")
                && (request.name == name || request.target.split(['?', '&']).any(|part| part == watched))
        };
        self.lock().recent.iter().filter(about).cloned().collect()
    }

    /// Woken at every request, with their number.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.inner.total.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.inner.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
