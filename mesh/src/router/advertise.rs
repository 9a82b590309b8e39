//! Advertisements: the own ones, and what becomes of those of others (mesh-protocol 5).

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use worknode_protocol::mesh::ServiceAdvertisement;

use super::ads::Taken;
use super::table::{NodeIndex, Table, is_name};
use super::{Event, LinkId, Now, OwnService, Router};

/// When others were told something else about an own service, they are told again after this time (mesh-protocol 11).
const CORRECTION: Duration = Duration::from_secs(5);

/// Longest name of a service taken from others, in bytes; on the wire of datagrams it has eight.
const MAX_SERVICE_LENGTH: usize = 64;

impl Router {
    /// Tells the others of a service of this node, now and as long as it is not withdrawn.
    pub fn advertise(&mut self, now: Now, service: OwnService) {
        self.send_advertisement(now, &service, false);
        self.own_services.insert(service.name.clone(), service);
    }

    /// Tells the others that a service of this node is gone.
    pub fn withdraw(&mut self, now: Now, service: &str) {
        if let Some(mut service) = self.own_services.remove(service) {
            service.tags = None;
            service.work_commands = None;
            self.send_advertisement(now, &service, true);
        }
    }

    pub(super) fn advertise_all(&mut self, now: Now) {
        for service in self.own_services.values().cloned().collect::<Vec<_>>() {
            self.send_advertisement(now, &service, false);
        }
    }

    fn send_advertisement(&mut self, now: Now, service: &OwnService, cancel: bool) {
        let ad = ServiceAdvertisement {
            node_id: self.own.to_string(),
            service: service.name.clone(),
            time: self.next_time(now),
            conn_type: service.conn_type.number(),
            tags: service.tags.clone(),
            work_commands: service.work_commands.clone(),
            cancel,
        };
        let Some(message) = ad.encode().map(Bytes::from) else { return };
        self.ads.take(now.clock, &ad, message.clone(), |node| is_reachable(&self.table, node));
        self.pass_on_advertisement(&ad, &message, None);
    }

    /// Puts an advertisement on the links to all peers but one.
    ///
    /// A withdrawal stays here while receptor nodes form a circle of their own: each of them passes it on each time it
    /// comes round, for ever, at thousands a second (mesh-protocol 12.2; seen also with a service they knew). Worknodes drop the
    /// service when it is not repeated.
    fn pass_on_advertisement(&mut self, ad: &ServiceAdvertisement, message: &Bytes, except: Option<&str>) {
        if !(ad.cancel && self.table.has_foreign_circle()) {
            self.flood(message, except);
        }
    }

    /// The wall clock, but later than each time given before, be it by an earlier process of this node.
    fn next_time(&mut self, now: Now) -> Timestamp {
        let next = self.last_time.checked_add(SignedDuration::from_nanos(1)).unwrap_or(Timestamp::MAX);
        self.last_time = now.wall.max(next);
        self.last_time
    }

    pub(super) fn received_advertisement(&mut self, now: Now, link: LinkId, message: &[u8]) {
        let Some(session) = self.links.get(&link).and_then(|link| link.session.as_ref()) else { return };
        let peer = session.peer.clone();
        let ad = match ServiceAdvertisement::decode(message) {
            Ok(ad) => ad,
            Err(error) => return self.event(Event::Dropped { link, reason: error.to_string() }),
        };
        if !is_name(&ad.node_id) || ad.service.len() > MAX_SERVICE_LENGTH {
            let reason = "an advertisement with a name that can be none".to_owned();
            return self.event(Event::Dropped { link, reason });
        }
        if ad.node_id == self.own.as_str() {
            return self.received_own_advertisement(now, &ad);
        }
        let message = Bytes::copy_from_slice(message);
        match self.ads.take(now.clock, &ad, message.clone(), |node| is_reachable(&self.table, node)) {
            Taken::Old => {}
            Taken::News => self.pass_on_advertisement(&ad, &message, Some(&peer)),
            Taken::Full => {
                let reason = "more advertisements than can be held".to_owned();
                self.event(Event::Dropped { link, reason });
            }
        }
    }

    /// What others say about an own service is not believed; if it is later than our own word, ours is said again.
    fn received_own_advertisement(&mut self, now: Now, ad: &ServiceAdvertisement) {
        if ad.time <= self.last_time {
            return;
        }
        self.last_time = ad.time;
        if self.own_services.contains_key(&ad.service) {
            self.advertisement_due = self.advertisement_due.min(now.clock + CORRECTION);
        }
    }

    pub(super) fn sweep_advertisements(&mut self, now: Now) {
        self.ads.sweep(now.clock, self.own.as_str(), |node| is_reachable(&self.table, node));
    }
}

fn is_reachable(table: &Table, node: &str) -> bool {
    let Some(index) = table.find(node) else { return false };
    index == NodeIndex::OWN || table.entry(index).is_some_and(|entry| entry.unreachable_since.is_none())
}
