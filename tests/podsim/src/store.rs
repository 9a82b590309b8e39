//! All objects, their versions, and the changes of the recent past.
//!
//! One lock guards a few lines at a time. Every change gets the next version number and goes into a bounded history;
//! watches read the history from the version they have, and are woken through a `watch` channel, so that no change is
//! ever queued per watcher.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::resource::Resource;

/// The first version that is given out. Above 1, so that a client can ask for one that is too old.
const FIRST_VERSION: u64 = 100;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) resource: Resource,
    /// Empty for what has no namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(resource: Resource, namespace: &str, name: &str) -> Self {
        Self { resource, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn pod(namespace: &str, name: &str) -> Self {
        Self::new(Resource::Pods, namespace, name)
    }
}

/// One version of an object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) key: Key,
    pub(crate) version: u64,
    pub(crate) value: Value,
    /// `value` as it is sent.
    pub(crate) json: Bytes,
}

impl Object {
    pub(crate) fn uid(&self) -> &str {
        crate::resource::text_at(&self.value, "metadata.uid")
    }

    /// It is on its way out.
    pub(crate) fn terminating(&self) -> bool {
        self.value.pointer("/metadata/deletionTimestamp").is_some()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

/// One step in the life of an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) kind: ChangeKind,
    /// The object as it was; absent when added.
    pub(crate) before: Option<Arc<Object>>,
    /// The object as it is, or as it was last.
    pub(crate) after: Arc<Object>,
}

/// What a watch finds when it looks for news.
pub(crate) enum News {
    /// In order; the second is the version up to which the watch has seen everything.
    Changes(Vec<Change>, u64),
    /// The version asked for has left the history, which now begins at this one.
    TooOld(u64),
}

pub(crate) struct Store {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
    history_limit: usize,
}

struct Inner {
    version: u64,
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Change>,
    /// Changes up to and including this version are no longer known.
    forgotten: u64,
}

impl Store {
    pub(crate) fn new(history_limit: usize) -> Self {
        let inner = Inner {
            version: FIRST_VERSION,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: FIRST_VERSION,
        };
        Self { inner: Mutex::new(inner), version: watch::Sender::new(FIRST_VERSION), history_limit }
    }

    /// Nothing that holds the lock can leave half a change behind, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Woken at every change, with the newest version.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Whether what came after this version is no longer known.
    pub(crate) fn has_forgotten(&self, version: u64) -> bool {
        version < self.lock().forgotten
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.lock().objects.get(key).cloned()
    }

    /// Objects in order of namespace and name, and the version at which this was all; every namespace if `None`.
    pub(crate) fn list(&self, resource: Resource, namespace: Option<&str>) -> (Vec<Arc<Object>>, u64) {
        let inner = self.lock();
        let from = Key::new(resource, namespace.unwrap_or(""), "");
        let found = inner
            .objects
            .range(from..)
            .take_while(|(key, _)| key.resource == resource && namespace.is_none_or(|one| key.namespace == one))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (found, inner.version)
    }

    /// Adds an object, unless `check` refuses: it sees all objects, and nothing changes between it and the addition.
    /// `Err(None)`: the key is taken.
    pub(crate) fn add<E>(
        &self,
        key: Key,
        value: Value,
        check: impl FnOnce(&BTreeMap<Key, Arc<Object>>) -> Result<(), E>,
    ) -> Result<Arc<Object>, Option<E>> {
        let mut inner = self.lock();
        if inner.objects.contains_key(&key) {
            return Err(None);
        }
        check(&inner.objects).map_err(Some)?;
        let object = inner.stamp(key.clone(), value);
        inner.objects.insert(key, Arc::clone(&object));
        self.record(&mut inner, ChangeKind::Added, None, Arc::clone(&object));
        Ok(object)
    }

    /// Changes the object if it is there and still has this uid (any, if empty). `edit` returns whether it changed
    /// anything. Gives the object as it is afterwards.
    pub(crate) fn edit(&self, key: &Key, uid: &str, edit: impl FnOnce(&mut Value) -> bool) -> Option<Arc<Object>> {
        let mut inner = self.lock();
        let before = inner.objects.get(key).filter(|object| uid.is_empty() || object.uid() == uid).cloned()?;
        let mut value = before.value.clone();
        if !edit(&mut value) {
            return Some(before);
        }
        let after = inner.stamp(key.clone(), value);
        inner.objects.insert(key.clone(), Arc::clone(&after));
        self.record(&mut inner, ChangeKind::Modified, Some(before), Arc::clone(&after));
        Some(after)
    }

    /// Takes the object out, if it is there and has this uid (any, if empty), after a last edit.
    pub(crate) fn remove(&self, key: &Key, uid: &str, edit: impl FnOnce(&mut Value)) -> Option<Arc<Object>> {
        let mut inner = self.lock();
        let before = inner.objects.get(key).filter(|object| uid.is_empty() || object.uid() == uid).cloned()?;
        let mut value = before.value.clone();
        edit(&mut value);
        let last = inner.stamp(key.clone(), value);
        inner.objects.remove(key);
        self.record(&mut inner, ChangeKind::Deleted, Some(before), Arc::clone(&last));
        Some(last)
    }

    /// What has happened to this resource since `version`.
    pub(crate) fn news(&self, resource: Resource, namespace: Option<&str>, version: u64) -> News {
        let inner = self.lock();
        if version < inner.forgotten {
            return News::TooOld(inner.forgotten);
        }
        let start = inner.history.partition_point(|change| change.version <= version);
        let changes = inner
            .history
            .range(start..)
            .filter(|change| {
                let key = &change.after.key;
                key.resource == resource && namespace.is_none_or(|one| key.namespace == one)
            })
            .cloned()
            .collect();
        News::Changes(changes, inner.version)
    }

    /// Forgets all changes, as a compaction does: whoever asks for what came before now gets 410.
    pub(crate) fn forget_history(&self) {
        let mut inner = self.lock();
        // A version of its own, so that also the newest one given out so far is too old.
        inner.version += 1;
        inner.forgotten = inner.version;
        inner.history.clear();
        self.version.send_replace(inner.version);
    }

    fn record(&self, inner: &mut Inner, kind: ChangeKind, before: Option<Arc<Object>>, after: Arc<Object>) {
        let version = after.version;
        inner.history.push_back(Change { version, kind, before, after });
        if inner.history.len() > self.history_limit
            && let Some(oldest) = inner.history.pop_front()
        {
            inner.forgotten = oldest.version;
        }
        self.version.send_replace(version);
    }
}

impl Inner {
    fn stamp(&mut self, key: Key, mut value: Value) -> Arc<Object> {
        self.version += 1;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        }
        // A `Value` has string keys only, so it can always be written.
        let json = serde_json::to_vec(&value).map(Bytes::from).unwrap_or_default();
        Arc::new(Object { key, version: self.version, value, json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store_with(names: &[&str]) -> Store {
        let store = Store::new(3);
        for name in names {
            let object = json!({"metadata": {"name": name, "uid": format!("uid-{name}")}});
            store.add::<()>(Key::pod("default", name), object, |_| Ok(())).unwrap();
        }
        store
    }

    #[test]
    fn every_change_is_news_once() {
        let store = store_with(&["a", "b"]);
        let News::Changes(changes, version) = store.news(Resource::Pods, None, FIRST_VERSION) else { panic!() };
        assert_eq!(changes.iter().map(|c| c.after.key.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let News::Changes(changes, _) = store.news(Resource::Pods, None, version) else { panic!() };
        assert!(changes.is_empty());
    }

    #[test]
    fn what_has_left_the_history_is_too_old() {
        let store = store_with(&["a", "b", "c", "d"]);
        assert!(matches!(store.news(Resource::Pods, None, FIRST_VERSION), News::TooOld(_)));
        let newest = store.version();
        assert!(matches!(store.news(Resource::Pods, None, newest), News::Changes(..)));
        store.forget_history();
        assert!(matches!(store.news(Resource::Pods, None, newest), News::TooOld(_)));
    }

    #[test]
    fn a_namesake_with_another_uid_is_left_alone() {
        let store = store_with(&["a"]);
        let key = Key::pod("default", "a");
        assert!(store.remove(&key, "uid-other", |_| ()).is_none());
        assert!(store.edit(&key, "uid-other", |_| true).is_none());
        assert!(store.remove(&key, "uid-a", |_| ()).is_some());
        assert!(store.get(&key).is_none());
    }

    #[test]
    fn a_list_keeps_to_its_namespace() {
        let store = store_with(&["a"]);
        store.add::<()>(Key::pod("other", "x"), json!({"metadata": {}}), |_| Ok(())).unwrap();
        assert_eq!(store.list(Resource::Pods, Some("default")).0.len(), 1);
        assert_eq!(store.list(Resource::Pods, None).0.len(), 2);
        assert!(store.list(Resource::Namespaces, None).0.is_empty());
    }
}
