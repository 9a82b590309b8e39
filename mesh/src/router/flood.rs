//! Routing updates: the own ones, and what becomes of those of others (mesh-protocol 4).

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use worknode_protocol::mesh::{Extension, RoutingUpdate, name_hash};

use super::table::{Applied, is_name};
use super::{DEBOUNCE, Event, LinkId, Now, Router, UPDATE_PERIOD};

/// Characters of an update ID (mesh-protocol 4.1).
const ID_CHARACTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Longest update ID taken from others, in bytes; receptor's have eight.
const MAX_ID_LENGTH: usize = 64;

/// At least this lies between two goes of notices about processes of our name, and between two alarms.
const NOTICE_PERIOD: Duration = Duration::from_secs(1);

/// How many processes of our name are told of in one go.
const MAX_NOTICES: usize = 16;

impl Router {
    /// Has an own update sent soon.
    pub(super) fn request_update(&mut self, now: Now) {
        self.update_due = self.update_due.min(now.clock + DEBOUNCE);
    }

    /// The next own update.
    pub(super) fn make_update(&mut self, suspected_duplicate: u64) -> RoutingUpdate {
        self.sequence += 1;
        let random = &mut self.random;
        let characters = || ID_CHARACTERS.get(random.random_range(0..ID_CHARACTERS.len())).copied().map(char::from);
        RoutingUpdate {
            node_id: self.own.to_string(),
            update_id: std::iter::repeat_with(characters).take(8).flatten().collect(),
            update_epoch: self.epoch,
            update_sequence: self.sequence,
            connections: self.peers.iter().map(|(name, peer)| (name.to_string(), peer.cost)).collect(),
            forwarding_node: self.own.to_string(),
            suspected_duplicate,
            worknode: Some(Extension { max_message: self.max_message(), link_cost: None }),
        }
    }

    /// Sends an own update on every link, or, with an epoch, the word that the process of that epoch is a duplicate.
    pub(super) fn send_own_update(&mut self, now: Now, suspected_duplicate: u64) {
        if suspected_duplicate == 0 {
            self.update_due = now.clock + UPDATE_PERIOD - self.jitter();
            self.sync_lost(now);
        }
        if self.peers.is_empty() {
            return;
        }
        let update = self.make_update(suspected_duplicate);
        let links: Vec<LinkId> = self.peers.values().flat_map(|peer| &peer.links).copied().collect();
        self.send_to(update, &links);
    }

    /// Sends an own update on one link.
    pub(super) fn send_own_update_to(&mut self, link: LinkId) {
        let update = self.make_update(0);
        self.send_to(update, &[link]);
    }

    /// Sends an own update on `links`; a worknode is told the cost of the link as well.
    fn send_to(&mut self, mut update: RoutingUpdate, links: &[LinkId]) {
        // Most links have the same cost, and then the same message.
        let mut made: Vec<(Option<f64>, Option<Bytes>)> = Vec::new();
        for link in links {
            let Some(session) = self.links.get(link).and_then(|link| link.session.as_ref()) else { continue };
            let cost = session.worknode.then_some(session.cost);
            let known = made.iter().find(|(known, _)| *known == cost).map(|(_, message)| message.clone());
            let message = known.unwrap_or_else(|| {
                update.worknode = update.worknode.map(|extension| Extension { link_cost: cost, ..extension });
                let message = update.encode().map(Bytes::from);
                made.push((cost, message.clone()));
                message
            });
            if let Some(message) = message {
                self.send(*link, message);
            }
        }
    }

    pub(super) fn received_update(&mut self, now: Now, link: LinkId, message: &[u8]) {
        let update = match RoutingUpdate::decode(message) {
            Ok(update) => update,
            Err(error) => return self.event(Event::Dropped { link, reason: error.to_string() }),
        };
        let Some(session) = self.links.get(&link).map(|link| &link.session) else { return };
        if session.is_none() {
            self.establish(now, link, &update);
        } else if self.check_update(now, link, &update) {
            self.process_update(now, link, update);
        }
    }

    fn process_update(&mut self, now: Now, link: LinkId, update: RoutingUpdate) {
        if update.node_id.is_empty() {
            return;
        }
        if update.node_id == self.own.as_str() {
            return self.process_own_name(now, &update);
        }
        if !is_name(&update.node_id) || update.update_id.len() > MAX_ID_LENGTH {
            let reason = "a name that can be none".to_owned();
            return self.event(Event::Dropped { link, reason });
        }
        if update.suspected_duplicate != 0 {
            if self.suspicions.is_new(name_hash(&update.update_id)) {
                if self.table.apply_suspicion(now.clock, &update) {
                    self.ads.node_restarted(&update.node_id);
                }
                self.pass_on(update);
            }
            return;
        }
        match self.table.apply(now.clock, &update) {
            Applied::Old => self.tell_of_later_process(now, link, &update),
            Applied::Full => {
                let reason = "more nodes than can be held, or a name that is none".to_owned();
                self.event(Event::Dropped { link, reason });
            }
            Applied::Stored { unknown, restarted, changed, forward } => {
                if restarted {
                    self.ads.node_restarted(&update.node_id);
                }
                if unknown {
                    // A worknode is told of us by the sync of its link, if no receptor node stands between.
                    if self.table.has_foreign() {
                        self.request_update(now);
                    }
                }
                if changed {
                    self.routes_changed(now);
                }
                if forward {
                    self.pass_on(update);
                }
            }
        }
    }

    /// Whoever passes on the word of a process while a later one of its name is known, is told of that one. So it reaches
    /// the process that was spoken of, which objects and is heard again: its clock was set back, or somebody lied.
    fn tell_of_later_process(&mut self, now: Now, link: LinkId, update: &RoutingUpdate) {
        let Some(index) = self.table.find(&update.node_id) else { return };
        if self.table.knows_later_process(now.clock, index, update.update_epoch)
            && let Some(message) = self.stored_update(index)
        {
            self.send(link, message);
        }
    }

    /// Somebody speaks in our name. We say who we are, and do not end because of it (mesh-protocol 4.2, 1 and 12.1).
    fn process_own_name(&mut self, now: Now, update: &RoutingUpdate) {
        if update.update_epoch == self.epoch {
            return;
        }
        let accused = update.suspected_duplicate == self.epoch;
        let newer = update.update_epoch > self.epoch;
        if (accused || newer) && now.clock >= self.alarm_due {
            self.alarm_due = now.clock + NOTICE_PERIOD;
            let via = update.forwarding_node.as_str().into();
            self.event(Event::Duplicate { epoch: update.update_epoch, accused, via });
        }
        if newer && self.duplicates.len() < MAX_NOTICES {
            self.duplicates.insert(update.update_epoch);
            self.object(now);
        }
    }

    /// Tells all of the processes of our name that came up, if that was not done just now.
    ///
    /// Whoever holds such a process's epoch would not listen to us any more: that of an earlier process of ours, when the
    /// clock was set back. The notice makes them, and ends a duplicate that is a receptor node.
    pub(super) fn object(&mut self, now: Now) {
        if now.clock < self.notice_due || self.duplicates.is_empty() {
            return;
        }
        self.notice_due = now.clock + NOTICE_PERIOD;
        for epoch in std::mem::take(&mut self.duplicates) {
            self.send_own_update(now, epoch);
        }
        self.request_update(now);
    }

    /// Passes an update on to all peers but the one it came from.
    fn pass_on(&mut self, mut update: RoutingUpdate) {
        let from = std::mem::replace(&mut update.forwarding_node, self.own.to_string());
        if self.peers.len() < 2 {
            return;
        }
        update.worknode = update.worknode.map(|extension| Extension { link_cost: None, ..extension });
        if let Some(message) = update.encode() {
            self.flood(&message.into(), Some(&from));
        }
    }
}
