//! What a shared watch knows of the pods that it shows, and who wants to know it. No I/O.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use crate::runner::kubernetes::view::Pod;

/// Pods kept that nobody has asked for yet. A unit asks for its pod right after it was made, so there are few; but whoever
/// may make pods in the namespace can give them our label.
const UNCLAIMED: usize = 4096;

/// What a subscriber sees of its pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Its last known state.
    pub(super) pod: Option<Arc<Pod>>,
    /// The watch does not show it any more.
    pub(super) missing: bool,
}

/// One pod, by its uid: one of the same name made later is another one.
struct Entry {
    seen: Seen,
    /// In which list it was last found.
    found: u64,
    /// Who wants to know; none: nobody yet.
    claim: Option<Claim>,
}

struct Claim {
    news: watch::Sender<Seen>,
    subscribers: usize,
    /// The last list that had been begun when the first of them came: it may have been made before the pod.
    since: u64,
}

/// The pods of a shared watch.
#[derive(Default)]
pub(super) struct Store {
    pods: HashMap<String, Entry>,
    unclaimed: usize,
    /// Lists begun so far.
    lists: u64,
}

impl Store {
    /// A list of all pods is about to be asked for.
    pub(super) fn begin_list(&mut self) {
        self.lists += 1;
    }

    /// A pod of that list.
    pub(super) fn listed(&mut self, pod: Pod) {
        let lists = self.lists;
        if let Some(entry) = self.put(pod) {
            entry.found = lists;
        }
    }

    /// The list is complete: what it should have held and did not is missing.
    pub(super) fn end_list(&mut self) {
        let lists = self.lists;
        self.pods.retain(|_, entry| match &entry.claim {
            _ if entry.found == lists => true,
            Some(claim) if claim.since < lists => {
                entry.seen.missing = true;
                claim.news.send_replace(entry.seen.clone());
                true
            }
            Some(_) => true,
            None => false,
        });
        self.unclaimed = self.pods.values().filter(|entry| entry.claim.is_none()).count();
    }

    /// A pod looks like this now.
    pub(super) fn changed(&mut self, pod: Pod) {
        self.put(pod);
    }

    /// A pod is not there any more, or has lost the label. This is its last state.
    pub(super) fn deleted(&mut self, pod: Pod) {
        let uid = pod.metadata.uid.clone();
        let Some(entry) = self.pods.get_mut(&uid) else { return };
        match &entry.claim {
            Some(claim) => {
                entry.seen = Seen { pod: Some(Arc::new(pod)), missing: true };
                claim.news.send_replace(entry.seen.clone());
            }
            None => {
                self.pods.remove(&uid);
                self.unclaimed -= 1;
            }
        }
    }

    fn put(&mut self, pod: Pod) -> Option<&mut Entry> {
        let uid = pod.metadata.uid.clone();
        if !self.pods.contains_key(&uid) {
            if self.unclaimed >= UNCLAIMED {
                return None;
            }
            self.unclaimed += 1;
        }
        let entry = self.pods.entry(uid).or_insert_with(Entry::unclaimed);
        entry.seen = Seen { pod: Some(Arc::new(pod)), missing: false };
        if let Some(claim) = &entry.claim {
            claim.news.send_replace(entry.seen.clone());
        }
        Some(entry)
    }

    /// Tells of the pod with this uid from now on, beginning with what is known of it. Every subscriber leaves in the end.
    pub(super) fn subscribe(&mut self, uid: &str) -> watch::Receiver<Seen> {
        if self.pods.get(uid).is_some_and(|entry| entry.claim.is_none()) {
            self.unclaimed -= 1;
        }
        let since = self.lists;
        let entry = self.pods.entry(uid.to_owned()).or_insert_with(Entry::unclaimed);
        let news = || watch::Sender::new(entry.seen.clone());
        let claim = entry.claim.get_or_insert_with(|| Claim { news: news(), subscribers: 0, since });
        claim.subscribers += 1;
        claim.news.subscribe()
    }

    /// A subscriber of this pod leaves. After the last one nothing is known of it any more.
    pub(super) fn leave(&mut self, uid: &str) {
        let Some(claim) = self.pods.get_mut(uid).and_then(|entry| entry.claim.as_mut()) else { return };
        claim.subscribers -= 1;
        if claim.subscribers == 0 {
            self.pods.remove(uid);
        }
    }
}

impl Entry {
    fn unclaimed() -> Self {
        Self { seen: Seen::default(), found: 0, claim: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = uid.to_owned();
        pod.metadata.resource_version = version.to_owned();
        pod
    }

    /// What a subscriber sees: version of the pod, and whether it is missing.
    fn sight(news: &watch::Receiver<Seen>) -> (String, bool) {
        let seen = news.borrow();
        let version = seen.pod.as_ref().map(|pod| pod.metadata.resource_version.clone());
        (version.unwrap_or_default(), seen.missing)
    }

    #[test]
    fn subscribers_see_their_own_pod_alone() {
        let mut store = Store::default();
        let (mut a, mut b) = (store.subscribe("a"), store.subscribe("b"));
        assert_eq!(sight(&a), (String::new(), false));
        store.changed(pod("a", "1"));
        assert!(a.has_changed().unwrap() && !b.has_changed().unwrap());
        assert_eq!(sight(&a), ("1".into(), false));
        store.deleted(pod("b", "2"));
        assert_eq!(sight(&b), ("2".into(), true));
        a.mark_unchanged();
        b.mark_unchanged();
        store.leave("b");
        store.changed(pod("b", "3"));
        assert!(!a.has_changed().unwrap());
    }

    #[test]
    fn who_comes_late_sees_what_is() {
        let mut store = Store::default();
        store.changed(pod("a", "1"));
        store.changed(pod("a", "2"));
        assert_eq!(sight(&store.subscribe("a")), ("2".into(), false));
        let second = store.subscribe("a");
        store.leave("a");
        store.changed(pod("a", "3"));
        assert_eq!(sight(&second), ("3".into(), false));
        store.leave("a");
        assert!(store.pods.is_empty());
        assert_eq!(store.unclaimed, 0);
    }

    #[test]
    fn a_list_tells_what_is_missing_but_not_of_pods_younger_than_itself() {
        let mut store = Store::default();
        let old = store.subscribe("old");
        store.changed(pod("old", "1"));
        store.changed(pod("nobody's", "1"));
        store.begin_list();
        let young = store.subscribe("young");
        store.listed(pod("other", "5"));
        store.end_list();
        assert_eq!(sight(&old), ("1".into(), true));
        assert_eq!(sight(&young), (String::new(), false));
        assert_eq!(store.pods.len(), 3, "nobody's pod is forgotten");
        assert_eq!(store.unclaimed, 1);
        // It was not gone after all: its label was off for a while.
        store.changed(pod("old", "6"));
        assert_eq!(sight(&old), ("6".into(), false));
        store.begin_list();
        store.listed(pod("old", "6"));
        store.end_list();
        assert_eq!(sight(&old), ("6".into(), false));
        assert_eq!(sight(&young), (String::new(), true));
    }

    #[test]
    fn strangers_cannot_fill_the_memory() {
        let mut store = Store::default();
        for number in 0..UNCLAIMED + 10 {
            store.changed(pod(&number.to_string(), "1"));
        }
        assert_eq!(store.pods.len(), UNCLAIMED);
        let late = store.subscribe("own");
        store.changed(pod("own", "2"));
        assert_eq!(sight(&late), ("2".into(), false));
        store.deleted(pod("7", "3"));
        store.changed(pod("new", "4"));
        assert!(store.pods.contains_key("new"));
    }
}
