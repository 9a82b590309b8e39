//! Routing, without I/O: who is connected with whom, how to reach each node, which services there are.
//!
//! A [`Router`] is told what happens ([`Router::link_opened`], [`Router::received`], [`Router::timers`], ...) and when, and
//! answers with what is to be done ([`Router::poll_output`]). It reads no clock and no random source, so it runs the
//! same under the driver and, by the thousand, in made-up time (`sim`).
//!
//! What goes over the links is receptor's protocol (mesh-protocol 2, 4 and 5). What it does beyond it, a receptor node
//! does not notice:
//!
//! - A new link is told at once all that is known, so that two parts that meet know each other after one flood. Receptor
//!   has each node flood anew when it hears of an unknown one; that is done only if a receptor node is known.
//! - A way counts when both its ends list it.
//! - An update that says nothing new is passed on every third time, if no receptor node is known.
//! - Two worknodes may have several links, each of its own cost ([`Extension`](worknode_protocol::mesh::Extension)).

mod ads;
mod advertise;
mod flood;
mod link;
mod names;
mod node;
mod paths;
mod recent;
mod routes;
mod sync;
mod table;
#[cfg(test)]
mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use worknode_protocol::control::{Advertisement, ConnectionCost, NodeStatus};
use worknode_protocol::id::NodeId;
use worknode_protocol::mesh::{MAX_MESSAGE_LENGTH, MessageType};

pub(crate) use names::Names;
pub use routes::{RoutedNode, Routes, Way};
pub use types::{CloseReason, Event, Limits, LinkId, LinkSettings, Now, Output, OwnService};

use ads::Ads;
use link::{Link, Peer};
use paths::FirstHop;
use recent::Recent;
use table::{NodeIndex, Table};

/// Own updates go to every peer this often (mesh-protocol 4.3): they also keep the links from being idle.
const UPDATE_PERIOD: Duration = Duration::from_secs(10);

/// How much earlier than that the next own update may be, so that a mesh started at once does not beat as one.
const UPDATE_JITTER: Duration = Duration::from_secs(1);

/// What happens within this time goes into one own update, or one calculation of routes (mesh-protocol 4.3).
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Own advertisements are repeated this often (mesh-protocol 5).
const ADVERTISEMENT_PERIOD: Duration = Duration::from_secs(60);

/// How often what has aged is looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);

/// A node out of reach for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

/// The routing of one node. See the [module](self).
#[derive(Debug)]
pub struct Router {
    own: NodeId,
    epoch: u64,
    sequence: u64,
    random: StdRng,
    limits: Limits,

    links: BTreeMap<LinkId, Link>,
    peers: BTreeMap<Arc<str>, Peer>,
    table: Table,
    ads: Ads,
    own_services: BTreeMap<String, OwnService>,
    /// The latest time given in an own advertisement.
    last_time: Timestamp,
    /// Notices of duplicates that went by.
    suspicions: Recent,
    routes: Arc<Routes>,
    outputs: VecDeque<Output>,

    /// Links that wait for the peer's name, by when the next own greeting is due.
    greetings: BTreeSet<(Duration, LinkId)>,
    /// Links that are still being told what is known.
    syncing: BTreeSet<LinkId>,
    sync_due: Duration,
    update_due: Duration,
    /// When the routes are to be calculated; `None`: nothing has changed.
    routes_due: Option<Duration>,
    routes_made: Option<Duration>,
    advertisement_due: Duration,
    sweep_due: Duration,
    /// Other processes of our name that the others are to be told of.
    duplicates: BTreeSet<u64>,
    notice_due: Duration,
    alarm_due: Duration,
}

impl Router {
    /// The router of the node `node`, whose process began at `epoch` (seconds since 1970 times 2^24, and 24 random
    /// bits); `seed` is where its random names come from.
    pub fn new(node: NodeId, epoch: u64, seed: u64, limits: Limits) -> Self {
        Self::among(Names::default(), node, epoch, seed, limits)
    }

    /// The same, as one of many in a process that share the names of nodes.
    pub(crate) fn among(names: Names, node: NodeId, epoch: u64, seed: u64, limits: Limits) -> Self {
        let mut router = Self {
            table: Table::new(node.as_str(), limits, names),
            ads: Ads::new(limits),
            own: node,
            epoch,
            sequence: 0,
            random: StdRng::seed_from_u64(seed),
            limits,
            links: BTreeMap::new(),
            peers: BTreeMap::new(),
            own_services: BTreeMap::new(),
            suspicions: Recent::default(),
            last_time: Timestamp::MIN,
            routes: Arc::default(),
            outputs: VecDeque::new(),
            greetings: BTreeSet::new(),
            syncing: BTreeSet::new(),
            sync_due: Duration::ZERO,
            update_due: UPDATE_PERIOD,
            routes_due: None,
            routes_made: None,
            advertisement_due: ADVERTISEMENT_PERIOD,
            sweep_due: SWEEP_PERIOD,
            duplicates: BTreeSet::new(),
            notice_due: Duration::ZERO,
            alarm_due: Duration::ZERO,
        };
        router.routes = Arc::new(router.make_routes(&[], &[]));
        router
    }

    /// Takes in a message of a link: routing, advertisement or reject. Others are passed over.
    pub fn received(&mut self, now: Now, link: LinkId, message: &[u8]) {
        if !self.links.contains_key(&link) {
            return;
        }
        match MessageType::of(message) {
            Some(MessageType::Routing) => self.received_update(now, link, message),
            Some(MessageType::Advertisement) => self.received_advertisement(now, link, message),
            Some(MessageType::Reject) => self.close(now, link, CloseReason::Rejected),
            Some(MessageType::Data) | None => {}
        }
    }

    /// When [`Router::timers`] has something to do next, as [`Now::clock`].
    pub fn next_timer(&self) -> Option<Duration> {
        let greeting = self.greetings.first().map(|(due, _)| *due);
        let sync = (!self.syncing.is_empty()).then_some(self.sync_due);
        let notice = (!self.duplicates.is_empty()).then_some(self.notice_due);
        let periodic = self.update_due.min(self.advertisement_due).min(self.sweep_due);
        [greeting, sync, notice, Some(periodic), self.routes_due].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn timers(&mut self, now: Now) {
        self.greet_again(now);
        self.object(now);
        if now.clock >= self.sweep_due {
            self.sweep_due = now.clock + SWEEP_PERIOD;
            self.sweep(now);
        }
        if now.clock >= self.update_due {
            self.send_own_update(now, 0);
        }
        if now.clock >= self.advertisement_due {
            self.advertisement_due = now.clock + ADVERTISEMENT_PERIOD;
            self.advertise_all(now);
        }
        if now.clock >= self.sync_due {
            self.sync_more(now);
        }
        if self.routes_due.is_some_and(|due| now.clock >= due) {
            self.calculate(now);
        }
    }

    /// What is to be done next. To be asked after each other call until it answers `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The epoch of this process.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many nodes are known or mentioned, and how many advertisements are held.
    pub fn size(&self) -> (usize, usize) {
        (self.table.len(), self.ads.len())
    }

    /// The routes as they are now.
    pub fn routes(&self) -> Arc<Routes> {
        self.routes.clone()
    }

    /// The parts of `status` that tell of the mesh (mesh-protocol 10); the others are left empty.
    pub fn status(&self, now: Now) -> NodeStatus {
        let connections =
            self.peers.iter().map(|(name, peer)| ConnectionCost { node_id: name.to_string(), cost: peer.cost });
        let routing_table = self.routes.reachable().map(|(name, way)| (name.to_string(), way.next_hop.to_string()));
        NodeStatus {
            node_id: self.own.to_string(),
            connections: connections.collect(),
            routing_table: routing_table.collect(),
            known_connection_costs: self.known_costs(),
            advertisements: self.known_advertisements(now),
            ..NodeStatus::default()
        }
    }

    fn known_advertisements(&self, now: Now) -> Vec<Advertisement> {
        let mut known: Vec<Advertisement> =
            self.ads.iter().filter_map(|ad| ad.read()).map(Advertisement::from).collect();
        for ad in known.iter_mut().filter(|ad| ad.node_id == self.own.as_str()) {
            ad.time = now.wall;
        }
        known
    }

    fn known_costs(&self) -> BTreeMap<String, BTreeMap<String, f64>> {
        let mut known = BTreeMap::new();
        for (index, node) in self.table.iter() {
            let Some(entry) = &node.entry else { continue };
            let others = entry.costs().iter().filter_map(|(to, cost)| Some((self.table.place(*to)?, *cost)));
            let mutual = others.filter(|(to, _)| *to != NodeIndex::OWN && self.table.is_mutual(index, *to));
            let named = mutual.filter_map(|(to, cost)| Some((self.table.node(to)?.name.text.to_string(), cost)));
            let mut costs: BTreeMap<String, f64> = named.collect();
            if let Some(peer) = self.peers.get(&node.name.text) {
                costs.insert(self.own.to_string(), peer.cost);
            }
            known.insert(node.name.text.to_string(), costs);
        }
        if !self.peers.is_empty() || !known.is_empty() {
            let own = self.peers.iter().map(|(name, peer)| (name.to_string(), peer.cost)).collect();
            known.insert(self.own.to_string(), own);
        }
        known
    }

    fn send(&mut self, link: LinkId, message: Bytes) {
        self.outputs.push_back(Output::Send { link, message });
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// Puts `message` on the best link to each peer but one.
    fn flood(&mut self, message: &Bytes, except: Option<&str>) {
        let others = self.peers.iter().filter(|(name, _)| except != Some(&***name));
        let sends = others.filter_map(|(_, peer)| Some(Output::Send { link: peer.best()?, message: message.clone() }));
        self.outputs.extend(sends);
    }

    /// Has the routes calculated: at once, unless that was done just before.
    fn routes_changed(&mut self, now: Now) {
        let earliest = self.routes_made.map_or(now.clock, |made| made + DEBOUNCE);
        self.routes_due.get_or_insert(earliest.max(now.clock));
    }

    fn calculate(&mut self, now: Now) {
        self.routes_due = None;
        self.routes_made = Some(now.clock);
        let first_hops: Vec<FirstHop> = self.peers.values().filter_map(|peer| peer.first_hop(&self.links)).collect();
        let paths = paths::shortest(&self.table, &first_hops);
        self.table.reached(now.clock, |index| paths.get(index.position()).is_some_and(Option::is_some));
        let routes = self.make_routes(&first_hops, &paths);
        if *self.routes != routes {
            self.routes = Arc::new(routes);
            self.outputs.push_back(Output::Routes(self.routes.clone()));
        }
    }

    fn make_routes(&self, first_hops: &[FirstHop], paths: &[Option<paths::Path>]) -> Routes {
        let known = self.table.iter().filter(|(index, node)| *index == NodeIndex::OWN || node.entry.is_some());
        let ways = known.map(|(index, node)| (node.name.symbol, paths.get(index.position()).copied().flatten()));
        let peer = |hop: &FirstHop| self.table.node(hop.peer).map(|node| (hop.link, node.name.text.clone()));
        Routes::new(self.table.names().directory(), first_hops.iter().filter_map(peer).collect(), ways)
    }

    /// Longest message that all own links carry.
    fn max_message(&self) -> u32 {
        let links = self.links.values().filter(|link| link.session.is_some());
        let smallest = links.map(|link| link.settings.max_message).fold(MAX_MESSAGE_LENGTH, usize::min);
        u32::try_from(smallest).unwrap_or(u32::MAX)
    }

    fn sweep(&mut self, now: Now) {
        let gone = |table: &Table, index| {
            let since = table.entry(index).and_then(|entry| entry.unreachable_since);
            since.is_some_and(|since| now.clock >= since.clock() + FORGET_AFTER)
        };
        let forgotten: Vec<NodeIndex> =
            self.table.iter().map(|(index, _)| index).filter(|index| gone(&self.table, *index)).collect();
        for index in &forgotten {
            self.table.forget(*index);
        }
        if !forgotten.is_empty() {
            self.routes_changed(now);
        }
        self.sweep_advertisements(now);
    }

    fn jitter(&mut self) -> Duration {
        let range = u64::try_from(UPDATE_JITTER.as_millis()).unwrap_or(1);
        Duration::from_millis(self.random.random_range(0..range))
    }
}
