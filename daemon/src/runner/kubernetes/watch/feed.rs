//! One watch for all units of one node, in one namespace, under one identity.
//!
//! A task lists the pods with the node's label, watches from there, and puts what it hears into a [`Store`]. It tries for
//! ever, for how long a unit bears an unreachable API server is the unit's affair: [`Health`] tells it since when there has
//! been trouble. The task ends some time after the last unit has left, or where the API refuses for good.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    lines::{Line, Lines, Next, SHORT},
    store::{Seen, Store},
};
use crate::runner::kubernetes::{
    client::{self, Api, ApiError},
    names,
    retry::{Patience, Tries},
    view::Pod,
};

/// How long a watch goes on that nobody needs: for units that follow one another.
pub(crate) const LINGER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });

/// Which pods are watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    /// Value of the label `worknode/node`.
    pub(super) node: String,
}

/// How the watch is.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// What stands in its way, if anything.
    pub(super) trouble: Option<Trouble>,
}

/// What stands in the way of the watch.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    /// Since when.
    pub(super) since: Instant,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The last one.
    pub(super) fault: ApiError,
    /// The watch is over.
    pub(super) ends: bool,
}

/// The watches of one identity. Locked for single look-ups only.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<HashMap<Key, Arc<Feed>>>);

impl Feeds {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Feed>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes to the pod with this uid; begins the watch if nobody has yet.
    pub(super) fn subscribe(self: &Arc<Self>, api: &Api, key: Key, uid: &str) -> Subscription {
        let mut feeds = self.lock();
        let feed = match feeds.get(&key) {
            Some(feed) => Arc::clone(feed),
            None => {
                let feed = Arc::new(Feed::new(key.clone()));
                feeds.insert(key, Arc::clone(&feed));
                tokio::spawn(Arc::clone(&feed).run(api.share(), Arc::clone(self)));
                feed
            }
        };
        // Under the lock: a watch without users is taken out under it.
        feed.users.send_modify(|users| *users += 1);
        drop(feeds);
        let (seen, health) = (feed.store().subscribe(uid), feed.health.subscribe());
        Subscription { feed, uid: uid.to_owned(), seen, health, begin: Instant::now() }
    }

    /// How many watches there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Takes a watch out if nobody uses it.
    fn remove_unused(&self, feed: &Arc<Feed>) -> bool {
        let mut feeds = self.lock();
        let unused = *feed.users.borrow() == 0;
        if unused {
            feeds.remove(&feed.key);
        }
        unused
    }

    /// Takes a watch out that is over: who comes next begins another.
    fn remove(&self, feed: &Arc<Feed>) {
        let mut feeds = self.lock();
        if feeds.get(&feed.key).is_some_and(|known| Arc::ptr_eq(known, feed)) {
            feeds.remove(&feed.key);
        }
    }
}

/// The part that one unit has in a shared watch.
pub(super) struct Subscription {
    feed: Arc<Feed>,
    uid: String,
    /// The unit's pod.
    pub(super) seen: watch::Receiver<Seen>,
    /// The watch.
    pub(super) health: watch::Receiver<Health>,
    /// When it began.
    pub(super) begin: Instant,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.store().leave(&self.uid);
        self.feed.users.send_modify(|users| *users -= 1);
    }
}

/// One shared watch.
struct Feed {
    key: Key,
    store: Mutex<Store>,
    health: watch::Sender<Health>,
    users: watch::Sender<usize>,
}

impl Feed {
    fn new(key: Key) -> Self {
        let (store, health, users) = (Mutex::default(), watch::Sender::default(), watch::Sender::default());
        Self { key, store, health, users }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Self>, api: Api, feeds: Arc<Feeds>) {
        let mut ending = Ending { feed: &self, feeds: &feeds, words: None };
        tokio::select! {
            () = self.unused(&feeds) => {}
            fault = self.follow(&api) => ending.words = Some(fault),
        }
    }

    /// Returns when nobody has used it for a while. It is taken out by then.
    async fn unused(self: &Arc<Self>, feeds: &Feeds) {
        let mut users = self.users.subscribe();
        loop {
            // The sender is this feed's own.
            let _ = users.wait_for(|users| *users == 0).await;
            let used = tokio::select! {
                biased;
                _ = users.wait_for(|users| *users > 0) => true,
                () = sleep(LINGER) => false,
            };
            if !used && feeds.remove_unused(self) {
                return;
            }
        }
    }

    /// Watches until the API refuses for good.
    async fn follow(&self, api: &Api) -> ApiError {
        let mut tries = Patience::new(Duration::MAX).tries();
        let mut version = None;
        loop {
            let begin = Instant::now();
            let fault = match self.round(api, &mut version, &mut tries).await {
                Ok(()) => continue,
                Err(fault) if fault.is_temporary() => fault,
                Err(fault) => return fault,
            };
            api.note_broken(&fault);
            let pause = tries.after_failure(begin.elapsed(), fault.retry_after()).unwrap_or(SHORT);
            tracing::debug!(namespace = self.key.namespace, error = %fault, ?pause, "watching the pods again");
            self.note_trouble(fault);
            sleep(pause).await;
        }
    }

    /// One watch from its begin to its end, with a list before it where no version is known to go on from.
    async fn round(&self, api: &Api, version: &mut Option<String>, tries: &mut Tries) -> Result<(), ApiError> {
        let selector = selector(&self.key.node);
        let from = match version {
            Some(version) => version.clone(),
            None => {
                let listed = self.list(api, &selector).await?;
                self.well(tries);
                version.insert(listed).clone()
            }
        };
        let mut lines = Lines::open(api, &self.key.namespace, &selector, &from).await?;
        // A watch that ends at once shows nothing: so it must last for a moment, or tell something, to be well.
        let mut lasted = Box::pin(sleep(SHORT));
        let mut shown = false;
        loop {
            let next = tokio::select! {
                next = lines.next() => next?,
                () = &mut lasted, if !shown => {
                    shown = true;
                    self.well(tries);
                    continue;
                }
            };
            *version = match next {
                Next::End => return Ok(()),
                Next::Silent => None,
                Next::Line(Line::TooOld) => {
                    *version = None;
                    return Err(ApiError::too_old());
                }
                Next::Line(Line::Bookmark(version)) => Some(version),
                Next::Line(Line::Pod(pod)) => {
                    let version = pod.metadata.resource_version.clone();
                    self.store().changed(*pod);
                    Some(version)
                }
                Next::Line(Line::Deleted(pod)) => {
                    let version = pod.metadata.resource_version.clone();
                    self.store().deleted(*pod);
                    Some(version)
                }
            };
            if version.is_none() {
                return Ok(());
            }
            self.well(tries);
        }
    }

    /// Reads all pods. Answers the version to watch from.
    async fn list(&self, api: &Api, selector: &str) -> Result<String, ApiError> {
        self.store().begin_list();
        let path = client::pods_path(&self.key.namespace);
        let mut list = List::default();
        loop {
            let page = list.next(api, &path, selector).await?;
            let mut store = self.store();
            page.into_iter().for_each(|pod| store.listed(pod));
            if let Some(version) = list.version() {
                store.end_list();
                return Ok(version);
            }
        }
    }

    fn well(&self, tries: &mut Tries) {
        tries.reset();
        self.health.send_if_modified(|health| health.trouble.take().is_some());
    }

    fn note_trouble(&self, fault: ApiError) {
        self.health.send_modify(|health| {
            let before = health.trouble.take();
            let failures = before.as_ref().map_or(0, |trouble| trouble.failures).saturating_add(1);
            let since = before.map_or_else(Instant::now, |trouble| trouble.since);
            health.trouble = Some(Trouble { since, failures, fault, ends: false });
        });
    }
}

/// Tells the subscribers that the watch is over, however its task ends.
struct Ending<'a> {
    feed: &'a Arc<Feed>,
    feeds: &'a Feeds,
    words: Option<ApiError>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.feeds.remove(self.feed);
        let fault = self.words.take();
        let fault = fault.unwrap_or_else(|| ApiError::Malformed("the shared watch is over".to_owned()));
        let trouble = Trouble { since: Instant::now(), failures: 1, fault, ends: true };
        self.feed.health.send_replace(Health { trouble: Some(trouble) });
    }
}

/// The parameter of a query that selects a node's pods. `node` is the label's value.
pub(crate) fn selector(node: &str) -> String {
    format!("labelSelector={}%3D{}", client::encode(names::NODE_LABEL), client::encode(node))
}

/// A list that is read page by page: an answer with all pods could be larger than what is read of one.
#[derive(Default)]
pub(crate) struct List {
    next: String,
    version: Option<String>,
}

/// Pods of one page. A pod may have some 20 KiB.
const PAGE: usize = 100;

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Pod>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(default)]
    r#continue: String,
}

impl List {
    /// The next page of the pods at `path`.
    pub(crate) async fn next(&mut self, api: &Api, path: &str, selector: &str) -> Result<Vec<Pod>, ApiError> {
        let mut path = format!("{path}?{selector}&limit={PAGE}");
        if !self.next.is_empty() {
            path.push_str(&format!("&continue={}", client::encode(&self.next)));
        }
        let page = api.object::<Page>(&client::request(http::Method::GET, &path, bytes::Bytes::new())?).await;
        let page = page.map_err(|fault| match fault.code() {
            // The list took so long that its pages are forgotten: begin anew.
            Some(410) => ApiError::too_old(),
            _ => fault,
        })?;
        self.next = page.metadata.r#continue;
        if self.next.is_empty() {
            self.version = Some(page.metadata.resource_version);
        }
        Ok(page.items)
    }

    /// After the last page: the version that the list shows.
    pub(crate) fn version(&self) -> Option<String> {
        self.version.clone()
    }
}
