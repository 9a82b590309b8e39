//! A receptor node, as far as routing goes, written from its protocol (mesh-protocol 2 and 4): to see how worknodes get
//! on with such nodes, and how these do among themselves.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use worknode_protocol::mesh::{REJECT, RoutingUpdate};

use crate::router::{CloseReason, LinkId, LinkSettings, Now, Output};

const DEBOUNCE: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_secs(10);
const GREETING_PERIOD: Duration = Duration::from_secs(1);
const GREETINGS: u32 = 11;

/// The routing of a receptor node.
#[derive(Debug)]
pub(super) struct Receptor {
    own: String,
    epoch: u64,
    sequence: u64,
    random: StdRng,
    links: BTreeMap<LinkId, Link>,
    connections: BTreeMap<String, LinkId>,
    stamps: BTreeMap<String, (u64, u64)>,
    seen: BTreeSet<String>,
    known: BTreeMap<String, BTreeMap<String, f64>>,
    /// Costs of the ways there are.
    pub(super) ways: BTreeMap<String, f64>,
    /// It took itself for a duplicate, and ended.
    pub(super) ended: bool,
    flood_due: Duration,
    table_due: Option<Duration>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
struct Link {
    cost: f64,
    greeted: u32,
    greeting_due: Duration,
    peer: Option<String>,
    listed: bool,
}

impl Receptor {
    pub(super) fn new(own: &str, epoch: u64, seed: u64) -> Self {
        Self {
            own: own.to_owned(),
            epoch,
            sequence: 0,
            random: StdRng::seed_from_u64(seed),
            links: BTreeMap::new(),
            connections: BTreeMap::new(),
            stamps: BTreeMap::new(),
            seen: BTreeSet::new(),
            known: BTreeMap::new(),
            ways: BTreeMap::new(),
            ended: false,
            flood_due: PERIOD,
            table_due: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn link_opened(&mut self, now: Now, link: LinkId, settings: &LinkSettings) {
        let state = Link { cost: settings.cost, greeted: 0, greeting_due: now.clock, peer: None, listed: false };
        self.links.insert(link, state);
        self.greet(now);
    }

    pub(super) fn link_closed(&mut self, now: Now, link: LinkId) {
        let Some(Link { peer: Some(peer), .. }) = self.links.remove(&link) else { return };
        self.connections.remove(&peer);
        if let Some(costs) = self.known.get_mut(&peer) {
            costs.remove(&self.own);
        }
        if let Some(costs) = self.known.get_mut(&self.own) {
            costs.remove(&peer);
        }
        self.request_flood(now);
        self.request_table(now);
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        let greeting = self.links.values().filter(|link| link.peer.is_none()).map(|link| link.greeting_due).min();
        [greeting, Some(self.flood_due), self.table_due].into_iter().flatten().min()
    }

    pub(super) fn timers(&mut self, now: Now) {
        self.greet(now);
        if now.clock >= self.flood_due {
            self.flood_due = now.clock + PERIOD;
            self.send_own(0);
        }
        if self.table_due.is_some_and(|due| now.clock >= due) {
            self.table_due = None;
            self.calculate();
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn request_flood(&mut self, now: Now) {
        self.flood_due = self.flood_due.min(now.clock + DEBOUNCE);
    }

    fn request_table(&mut self, now: Now) {
        self.table_due = Some(self.table_due.map_or(now.clock + DEBOUNCE, |due| due.min(now.clock + DEBOUNCE)));
    }

    fn greet(&mut self, now: Now) {
        let due = |link: &Link| link.peer.is_none() && link.greeting_due <= now.clock;
        let links: Vec<_> = self.links.iter().filter(|(_, link)| due(link)).map(|(id, _)| *id).collect();
        for id in links {
            let update = self.own_update(0);
            let Some(link) = self.links.get_mut(&id) else { continue };
            if link.greeted == GREETINGS {
                self.close(now, id, CloseReason::NoGreeting);
                continue;
            }
            link.greeted += 1;
            link.greeting_due = now.clock + GREETING_PERIOD;
            self.send(id, &update);
        }
    }

    fn own_update(&mut self, suspected_duplicate: u64) -> RoutingUpdate {
        self.sequence += 1;
        let cost = |(peer, link): (&String, &LinkId)| Some((peer.clone(), self.links.get(link)?.cost));
        RoutingUpdate {
            node_id: self.own.clone(),
            update_id: format!("{:08x}", self.random.random::<u32>()),
            update_epoch: self.epoch,
            update_sequence: self.sequence,
            connections: self.connections.iter().filter_map(cost).collect(),
            forwarding_node: self.own.clone(),
            suspected_duplicate,
            worknode: None,
        }
    }

    fn send_own(&mut self, suspected_duplicate: u64) {
        if !self.connections.is_empty() {
            let update = self.own_update(suspected_duplicate);
            self.flood(&update, "");
        }
    }

    fn send(&mut self, link: LinkId, update: &RoutingUpdate) {
        if let Some(message) = update.encode() {
            self.outputs.push_back(Output::Send { link, message: message.into() });
        }
    }

    fn flood(&mut self, update: &RoutingUpdate, except: &str) {
        let Some(message) = update.encode().map(Bytes::from) else { return };
        for (_, link) in self.connections.iter().filter(|(peer, _)| *peer != except) {
            self.outputs.push_back(Output::Send { link: *link, message: message.clone() });
        }
    }

    fn close(&mut self, now: Now, link: LinkId, reason: CloseReason) {
        self.link_closed(now, link);
        self.links.remove(&link);
        self.outputs.push_back(Output::Close { link, reason });
    }

    fn reject(&mut self, now: Now, link: LinkId, reason: CloseReason) {
        self.outputs.push_back(Output::Send { link, message: Bytes::from_static(REJECT) });
        self.close(now, link, reason);
    }

    pub(super) fn received(&mut self, now: Now, link: LinkId, message: &[u8]) {
        if self.ended || !self.links.contains_key(&link) {
            return;
        }
        if message == REJECT {
            return self.close(now, link, CloseReason::Rejected);
        }
        // What it does not know it ignores.
        let Ok(update) = RoutingUpdate::decode(message).map(|update| RoutingUpdate { worknode: None, ..update }) else {
            return;
        };
        match self.links.get(&link).and_then(|link| link.peer.clone()) {
            None => self.establish(now, link, &update.forwarding_node),
            Some(peer) => self.established(now, link, &peer, update),
        }
    }

    fn establish(&mut self, now: Now, id: LinkId, peer: &str) {
        if peer == self.own {
            return self.reject(now, id, CloseReason::OwnId);
        }
        if self.connections.contains_key(peer) {
            return self.reject(now, id, CloseReason::AlreadyConnected(peer.to_owned()));
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        link.peer = Some(peer.to_owned());
        let cost = link.cost;
        self.connections.insert(peer.to_owned(), id);
        self.known.entry(self.own.clone()).or_default().insert(peer.to_owned(), cost);
        self.known.entry(peer.to_owned()).or_default().insert(self.own.clone(), cost);
        self.request_flood(now);
        self.request_table(now);
    }

    fn established(&mut self, now: Now, id: LinkId, peer: &str, update: RoutingUpdate) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if update.forwarding_node != peer {
            let reason = CloseReason::IdChanged(peer.to_owned(), update.forwarding_node);
            return self.reject(now, id, reason);
        }
        if update.node_id == peer {
            match update.connections.get(&self.own) {
                None if link.listed => return self.reject(now, id, CloseReason::NoLongerListed(peer.to_owned())),
                None => return,
                Some(cost) if *cost != link.cost => {
                    let (ours, theirs) = (link.cost.to_string(), cost.to_string());
                    let reason = CloseReason::CostDisagreement { peer: peer.to_owned(), ours, theirs };
                    return self.reject(now, id, reason);
                }
                Some(_) => link.listed = true,
            }
        }
        self.process(now, peer, update);
    }

    fn process(&mut self, now: Now, from: &str, mut update: RoutingUpdate) {
        if update.node_id.is_empty() || (update.node_id == self.own && update.update_epoch == self.epoch) {
            return;
        }
        if update.node_id == self.own {
            if update.suspected_duplicate == self.epoch {
                self.ended = true;
            } else if update.update_epoch > self.epoch {
                self.send_own(update.update_epoch);
            }
            return;
        }
        if !self.seen.insert(update.update_id.clone()) {
            return;
        }
        let new = (update.update_epoch, update.update_sequence);
        if update.suspected_duplicate == 0 {
            match self.stamps.get(&update.node_id) {
                Some(known) if new <= *known => return,
                Some(_) => {}
                None => self.request_flood(now),
            }
            self.stamps.insert(update.node_id.clone(), new);
            self.learn(now, &update);
        } else if let Some(known) = self.stamps.get_mut(&update.node_id)
            && known.0 == update.suspected_duplicate
        {
            *known = new;
        }
        update.forwarding_node.clone_from(&self.own);
        self.flood(&update, from);
    }

    fn learn(&mut self, now: Now, update: &RoutingUpdate) {
        if self.known.get(&update.node_id) == Some(&update.connections) {
            return;
        }
        self.known.insert(update.node_id.clone(), update.connections.clone());
        for (node, costs) in &mut self.known {
            if *node != self.own && !update.connections.contains_key(node) {
                costs.remove(&update.node_id);
            }
        }
        self.request_table(now);
    }

    fn calculate(&mut self) {
        let mut ways: BTreeMap<String, f64> = BTreeMap::new();
        // Costs are not negative, so their bits have their order.
        let mut queue = BinaryHeap::from([Reverse((0_u64, self.own.as_str()))]);
        while let Some(Reverse((cost, node))) = queue.pop() {
            if ways.contains_key(node) || !self.known.contains_key(node) {
                continue;
            }
            let cost = f64::from_bits(cost);
            ways.insert(node.to_owned(), cost);
            let further = self.known.get(node).into_iter().flatten();
            queue.extend(further.map(|(next, more)| Reverse(((cost + more).to_bits(), next.as_str()))));
        }
        ways.remove(&self.own);
        if ways != self.ways {
            self.ways = ways;
            self.outputs.push_back(Output::Routes(Arc::default()));
        }
    }
}
