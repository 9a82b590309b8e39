//! The states of one pod, as they come.
//!
//! Who follows a pod takes [`Watch::next`] and nothing else. Behind it is one watch for all units of a node in a namespace
//! under an identity ([`feed`], [`store`]), which tells each its own pod's states. A pod without the node's label (receptor
//! made it, or `labelunits` is off) has a watch of its own by name ([`own`]), and so has one that the shared watch cannot
//! tell of, because a role forbids it or the label was taken off.

mod feed;
mod lines;
mod own;
mod store;

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};

#[cfg(test)]
pub(crate) use self::feed::LINGER;
pub(crate) use self::feed::{Feeds, List, selector};
use self::{
    feed::{Key, Subscription, Trouble},
    own::OwnWatch,
};
use super::{
    client::{Api, ApiError},
    names,
    retry::Patience,
    view::Pod,
};

/// A pod that the shared watch has not shown for so long after its unit subscribed is asked for by name: it may have gone
/// just before, or something took its label off.
const UNSEEN: Duration = Duration::from_secs(5);

/// What became of the pod.
#[derive(Debug)]
pub(crate) enum Event {
    /// It looks like this now.
    Pod(Arc<Pod>),
    /// It is gone. With its last state where that is known.
    Gone(Option<Arc<Pod>>),
}

/// The watch of one pod. Dropping it, also while [`Watch::next`] waits, ends it.
pub(crate) struct Watch<'a> {
    api: &'a Api,
    pod: &'a Pod,
    patience: Patience,
    eyes: Eyes<'a>,
}

enum Eyes<'a> {
    Shared(Shared),
    Own(Box<OwnWatch<'a>>),
}

/// What the shared watch says to one unit.
enum Word {
    Event(Event),
    /// Ask by name.
    Doubt,
    Failed(ApiError),
}

impl<'a> Watch<'a> {
    /// Watches from the state that `pod` is in: the next event is one after it.
    pub(crate) fn from(api: &'a Api, pod: &'a Pod, patience: Patience) -> Self {
        let eyes = match pod.metadata.labels.get(names::NODE_LABEL).filter(|node| !node.is_empty()) {
            Some(node) => {
                let key = Key { namespace: pod.metadata.namespace.clone(), node: node.clone() };
                Eyes::Shared(Shared::new(api.feeds().subscribe(api, key, &pod.metadata.uid), pod, patience))
            }
            None => Eyes::Own(Box::new(OwnWatch::from(api, pod, patience))),
        };
        Self { api, pod, patience, eyes }
    }

    /// The next state. Fails once patience is at its end, or at once if the API refuses for good.
    pub(crate) async fn next(&mut self) -> Result<Event, ApiError> {
        loop {
            match &mut self.eyes {
                Eyes::Own(watch) => return watch.next().await,
                Eyes::Shared(shared) => match shared.next().await {
                    Word::Event(event) => return Ok(event),
                    Word::Failed(fault) => return Err(fault),
                    Word::Doubt => {
                        tracing::debug!(pod = self.pod.path(), "watching the pod by its name");
                        self.eyes = Eyes::Own(Box::new(OwnWatch::anew(self.api, self.pod, self.patience)));
                    }
                },
            }
        }
    }
}

/// One unit at a shared watch.
struct Shared {
    at: Subscription,
    patience: Patience,
    /// Version of the state that was told last.
    told: String,
    /// When to ask by name if the watch has not shown the pod; none: it has.
    unseen: Option<Instant>,
}

impl Shared {
    fn new(mut at: Subscription, pod: &Pod, patience: Patience) -> Self {
        // What was there at the begin may be older than `pod`, or newer.
        at.seen.mark_changed();
        let unseen = Some(at.begin + UNSEEN);
        Self { at, patience, told: pod.metadata.resource_version.clone(), unseen }
    }

    async fn next(&mut self) -> Word {
        loop {
            let trouble = self.at.health.borrow_and_update().trouble.clone();
            if let Some(word) = trouble.as_ref().and_then(|trouble| self.over(trouble)) {
                return word;
            }
            let patience_ends = trouble.as_ref().and_then(|trouble| self.patience.ends(self.begin(trouble)));
            // As long as there is trouble it is no wonder that the pod is not shown.
            let unseen = self.unseen.filter(|_| trouble.is_none());
            tokio::select! {
                biased;
                // The sender lives as long as the subscription.
                _ = self.at.seen.changed() => {
                    if let Some(word) = self.look() {
                        return word;
                    }
                }
                _ = self.at.health.changed() => {
                    self.unseen = self.unseen.map(|_| Instant::now() + UNSEEN);
                }
                () = at(patience_ends) => {
                    if let Some(trouble) = trouble {
                        return Word::Failed(trouble.fault);
                    }
                }
                () = at(unseen) => return Word::Doubt,
            }
        }
    }

    /// The pod as the watch shows it now, if that is news.
    fn look(&mut self) -> Option<Word> {
        let seen = self.at.seen.borrow_and_update().clone();
        if seen.missing {
            // The kubelet sets the grace to nothing as its last act. Otherwise the pod may only have lost its label.
            let ended = |pod: &Arc<Pod>| pod.metadata.deletion_grace_period_seconds == Some(0);
            return Some(match seen.pod {
                Some(pod) if ended(&pod) => Word::Event(Event::Gone(Some(pod))),
                _ => Word::Doubt,
            });
        }
        let pod = seen.pod?;
        self.unseen = None;
        let version = &pod.metadata.resource_version;
        if *version == self.told || is_older(version, &self.told) {
            return None;
        }
        self.told.clone_from(version);
        Some(Word::Event(Event::Pod(pod)))
    }

    /// What there is to say of a watch that is over, or has failed too often.
    fn over(&self, trouble: &Trouble) -> Option<Word> {
        let refused =
            matches!(trouble.fault, ApiError::Auth(_) | ApiError::Limited(_)) || trouble.fault.code() == Some(401);
        match trouble.ends {
            true if refused => Some(Word::Failed(trouble.fault.clone())),
            // The role may allow to watch one pod, or the API says then what is wrong.
            true => Some(Word::Doubt),
            false if self.patience.is_over(trouble.failures) => Some(Word::Failed(trouble.fault.clone())),
            false => None,
        }
    }

    /// When the trouble began for this unit.
    fn begin(&self, trouble: &Trouble) -> Instant {
        trouble.since.max(self.at.begin)
    }
}

/// True if both versions are numbers and the first is the smaller one: the store may lag behind what a GET has shown.
fn is_older(version: &str, than: &str) -> bool {
    matches!((version.parse::<u64>(), than.parse::<u64>()), (Ok(version), Ok(than)) if version < than)
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
