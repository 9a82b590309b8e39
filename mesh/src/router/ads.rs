//! Advertisements held: the last word on each service, and what was withdrawn lately (mesh-protocol 5).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use worknode_protocol::mesh::ServiceAdvertisement;

use super::Limits;
use super::table::SPARE;

/// An advertisement that was not repeated for so long is dropped: three periods, and some more.
const EXPIRY: Duration = Duration::from_secs(200);

/// An advertisement of a node that cannot be reached is dropped after this time.
const UNREACHABLE_EXPIRY: Duration = Duration::from_secs(60);

/// For so long it is remembered that a service was withdrawn, so that the word of it does not circle (12.2).
const CANCEL_MEMORY: Duration = Duration::from_secs(600);

/// When all are of worth, so long passes before it is looked again for one that is not.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A node and its service.
pub(super) type Key = (Arc<str>, Box<str>);

/// The last word on a service.
#[derive(Debug)]
pub(super) struct Ad {
    pub(super) time: Timestamp,
    pub(super) cancel: bool,
    /// As it came: it is passed on unchanged.
    pub(super) message: Bytes,
    heard: Duration,
    /// The node has been started anew since: what it says now counts, whatever its clock shows.
    outdated: bool,
}

impl Ad {
    /// What it says; `None` if the service was withdrawn.
    pub(super) fn read(&self) -> Option<ServiceAdvertisement> {
        ServiceAdvertisement::decode(&self.message).ok().filter(|_| !self.cancel)
    }
}

/// What an advertisement was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Known already, or older than what is known.
    Old,
    /// Stored, and to be passed on.
    News,
    /// Nothing more is held.
    Full,
}

#[derive(Debug)]
pub(super) struct Ads {
    held: BTreeMap<Key, Ad>,
    bytes: usize,
    limits: Limits,
    /// Nothing could be dropped; not before this time is that tried again.
    look_again: Option<Duration>,
}

impl Ads {
    pub(super) fn new(limits: Limits) -> Self {
        Self { held: BTreeMap::new(), bytes: 0, limits, look_again: None }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Ad> {
        self.held.values()
    }

    /// The advertisement behind `key` in their order, without those withdrawn.
    pub(super) fn next_after(&self, key: Option<&Key>) -> Option<(&Key, Bytes)> {
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.held.range((from, Bound::Unbounded));
        rest.find(|(_, ad)| !ad.cancel).map(|(key, ad)| (key, ad.message.clone()))
    }

    /// Takes in an advertisement. `is_reachable` tells of which nodes those held are worth more than others.
    pub(super) fn take(
        &mut self,
        now: Duration,
        ad: &ServiceAdvertisement,
        message: Bytes,
        is_reachable: impl Fn(&str) -> bool,
    ) -> Taken {
        let key: Key = (ad.node_id.as_str().into(), ad.service.as_str().into());
        let known = self.held.get(&key);
        if known.is_some_and(|known| ad.time <= known.time && (!known.outdated || ad.time == known.time)) {
            return Taken::Old;
        }
        self.remove(&key);
        if !self.make_room(now, message.len(), is_reachable) {
            return Taken::Full;
        }
        self.bytes += message.len();
        self.held.insert(key, Ad { time: ad.time, cancel: ad.cancel, message, heard: now, outdated: false });
        Taken::News
    }

    fn remove(&mut self, key: &Key) {
        if let Some(ad) = self.held.remove(key) {
            self.bytes -= ad.message.len();
        }
    }

    /// A new process of `node` is there.
    pub(super) fn node_restarted(&mut self, node: &str) {
        let first: Key = (node.into(), "".into());
        for (_, ad) in self.held.range_mut(first..).take_while(|((of, _), _)| **of == *node) {
            ad.outdated = true;
        }
    }

    /// Makes room for one more: withdrawals go first, then what nodes out of reach have said, the oldest first. Some more is
    /// dropped than is needed, and if nothing can be, it is not looked for again at once: it costs a look at all.
    fn make_room(&mut self, now: Duration, bytes: usize, is_reachable: impl Fn(&str) -> bool) -> bool {
        let full = |ads: &Self, count: usize, bytes: usize| {
            ads.held.len() + count > ads.limits.advertisements || ads.bytes + bytes > ads.limits.advertisement_bytes
        };
        if !full(self, 1, bytes) {
            return true;
        }
        if self.look_again.is_some_and(|at| now < at) {
            return false;
        }
        let worthless = self.held.iter().filter(|((node, _), ad)| ad.cancel || !is_reachable(node));
        let mut worthless: Vec<_> = worthless.map(|(key, ad)| ((!ad.cancel, ad.heard), key.clone())).collect();
        worthless.sort_unstable();
        let (more, more_bytes) = (self.limits.advertisements / SPARE, self.limits.advertisement_bytes / SPARE);
        for (_, key) in worthless {
            if !full(self, 1 + more, bytes + more_bytes) {
                break;
            }
            self.remove(&key);
        }
        let still_full = full(self, 1, bytes);
        self.look_again = still_full.then_some(now + LOOK_AGAIN);
        !still_full
    }

    /// Drops what has expired; `own` does not expire.
    pub(super) fn sweep(&mut self, now: Duration, own: &str, is_reachable: impl Fn(&str) -> bool) {
        let expired = |(node, _): &Key, ad: &Ad| {
            let life = match ad.cancel {
                true => CANCEL_MEMORY,
                false if is_reachable(node) => EXPIRY,
                false => UNREACHABLE_EXPIRY,
            };
            (**node != *own || ad.cancel) && now >= ad.heard + life
        };
        let expired: Vec<Key> =
            self.held.iter().filter(|(key, ad)| expired(key, ad)).map(|(key, _)| key.clone()).collect();
        for key in &expired {
            self.remove(key);
        }
    }
}
