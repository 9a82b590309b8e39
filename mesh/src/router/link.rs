//! Links: how they are established, checked and ended (mesh-protocol 2).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use worknode_protocol::json;
use worknode_protocol::mesh::{MAX_MESSAGE_LENGTH, REJECT, RoutingUpdate};

use super::paths::FirstHop;
use super::sync::Sync;
use super::table::{NodeIndex, is_name};
use super::{CloseReason, Event, LinkId, LinkSettings, Now, Output, Router};

/// A greeting is repeated after this time until the peer has said who it is.
const GREETING_PERIOD: Duration = Duration::from_secs(1);

/// How often a link is greeted before it is given up.
const GREETINGS: u32 = 11;

/// What a cost takes in the own update at least: another link to the peer may have a longer one.
const COST_LENGTH: usize = 8;

/// What the own update has beside its peers, with a node ID of 255 bytes, all of them escaped, twice.
const UPDATE_LENGTH: usize = 3_500;

#[derive(Debug)]
pub(super) struct Link {
    pub(super) settings: LinkSettings,
    /// Greetings sent.
    greeted: u32,
    /// When the next is due.
    greeting_due: Duration,
    /// What is known of the peer, once it has said who it is.
    pub(super) session: Option<Session>,
}

/// An established link.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) peer: Arc<str>,
    pub(super) cost: f64,
    /// Epoch of the peer's process, 0 as long as it has only passed on the word of others.
    pub(super) epoch: u64,
    /// Whether the peer is a worknode.
    pub(super) worknode: bool,
    /// Whether the peer has listed us.
    pub(super) confirmed: bool,
    /// What the peer is still to be told.
    pub(super) sync: Sync,
    /// Something for the peer was lost: it is to be told all again.
    pub(super) lost: bool,
}

/// A node with which there are established links.
#[derive(Debug)]
pub(super) struct Peer {
    /// Its place in the table, which it keeps as long as there are links.
    index: NodeIndex,
    /// What it adds to the own update, in bytes.
    length: usize,
    /// Cost of the best link.
    pub(super) cost: f64,
    /// The best link first: the cheapest, the oldest of them.
    pub(super) links: Vec<LinkId>,
}

/// What a peer of this name adds to the own update, at that cost.
fn encoded_length(name: &str, cost: f64) -> usize {
    json::to_string(name).len() + json::to_string(&cost).len().max(COST_LENGTH) + ":,".len()
}

impl Peer {
    pub(super) fn best(&self) -> Option<LinkId> {
        self.links.first().copied()
    }

    pub(super) fn first_hop(&self, links: &BTreeMap<LinkId, Link>) -> Option<FirstHop> {
        let link = self.best()?;
        let max_message = u32::try_from(links.get(&link)?.settings.max_message).unwrap_or(u32::MAX);
        Some(FirstHop { peer: self.index, link, cost: self.cost, max_message })
    }

    /// Orders the links anew after one has come or gone.
    fn sort(&mut self, links: &BTreeMap<LinkId, Link>) {
        let cost =
            |link: &LinkId| links.get(link).and_then(|link| link.session.as_ref()).map_or(f64::INFINITY, |s| s.cost);
        self.links.sort_by(|a, b| cost(a).total_cmp(&cost(b)).then(a.cmp(b)));
        self.cost = self.links.first().map_or(self.cost, cost);
    }
}

impl Router {
    /// A link is there: its peer is told who we are.
    pub fn link_opened(&mut self, now: Now, link: LinkId, settings: LinkSettings) {
        self.links.insert(link, Link { settings, greeted: 0, greeting_due: now.clock, session: None });
        self.greet(now, link);
    }

    /// A link has ended.
    pub fn link_closed(&mut self, now: Now, link: LinkId) {
        let Some(closed) = self.links.remove(&link) else { return };
        self.greetings.remove(&(closed.greeting_due, link));
        self.syncing.remove(&link);
        let Some(session) = closed.session else { return };
        if let Some(peer) = self.peers.get_mut(&session.peer) {
            peer.links.retain(|other| *other != link);
            peer.sort(&self.links);
            if peer.links.is_empty() {
                self.peers.remove(&session.peer);
            }
        }
        self.event(Event::LinkDown { link, peer: session.peer });
        self.request_update(now);
        // Not put off: what is sent on that link is lost.
        self.calculate(now);
    }

    /// Ends a link from here.
    pub(super) fn close(&mut self, now: Now, link: LinkId, reason: CloseReason) {
        self.link_closed(now, link);
        self.outputs.push_back(Output::Close { link, reason });
    }

    /// Ends a link after telling the peer that it is not wanted.
    pub(super) fn reject(&mut self, now: Now, link: LinkId, reason: CloseReason) {
        self.send(link, Bytes::from_static(REJECT));
        self.close(now, link, reason);
    }

    /// Greets all links whose peers have not said yet who they are, as far as it is due.
    pub(super) fn greet_again(&mut self, now: Now) {
        while let Some((_, link)) = self.greetings.first().copied().filter(|(due, _)| *due <= now.clock) {
            if self.links.get(&link).is_some_and(|link| link.greeted < GREETINGS) {
                self.greet(now, link);
            } else {
                self.close(now, link, CloseReason::NoGreeting);
            }
        }
    }

    fn greet(&mut self, now: Now, id: LinkId) {
        let greeting = self.make_update(0).encode();
        let Some(link) = self.links.get_mut(&id) else { return };
        self.greetings.remove(&(link.greeting_due, id));
        link.greeted += 1;
        link.greeting_due = now.clock + GREETING_PERIOD;
        self.greetings.insert((link.greeting_due, id));
        if let Some(greeting) = greeting {
            self.send(id, greeting.into());
        }
    }

    /// The first routing update of a link names the peer: it is checked, and the link is established or rejected.
    pub(super) fn establish(&mut self, now: Now, id: LinkId, update: &RoutingUpdate) {
        let name = update.forwarding_node.as_str();
        if name.is_empty() {
            return;
        }
        if let Err(reason) = self.check_peer(now, id, update) {
            return self.reject(now, id, reason);
        }
        let Some(index) = self.table.linked(name) else {
            return self.reject(now, id, CloseReason::TooManyPeers);
        };
        let Some(link) = self.links.get_mut(&id) else { return };
        self.greetings.remove(&(link.greeting_due, id));
        let peer: Arc<str> = self.table.node(index).map_or_else(|| name.into(), |node| node.name.text.clone());
        let cost = link.settings.cost_of(name);
        link.session = Some(Session {
            peer: peer.clone(),
            cost,
            epoch: 0,
            worknode: false,
            confirmed: false,
            sync: Sync::default(),
            lost: false,
        });
        self.recognize(id, update);
        let entry = self.peers.entry(peer.clone()).or_insert_with(|| Peer {
            index,
            length: encoded_length(name, cost),
            cost,
            links: Vec::new(),
        });
        entry.links.push(id);
        entry.sort(&self.links);
        self.event(Event::LinkUp { link: id, peer, cost });
        self.begin_sync(now, id);
        self.request_update(now);
        self.routes_changed(now);
    }

    /// Notes what process is at the other end, and whether it is a worknode, from its first update of itself.
    fn recognize(&mut self, id: LinkId, update: &RoutingUpdate) {
        let session = self.links.get_mut(&id).and_then(|link| link.session.as_mut());
        if let Some(session) = session.filter(|session| session.epoch == 0 && *session.peer == update.node_id) {
            session.epoch = update.update_epoch;
            session.worknode = update.worknode.is_some();
        }
    }

    /// A message for a link was dropped, for want of room: its peer is told all once more, when the next updates go out.
    pub fn lost(&mut self, link: LinkId) {
        if let Some(session) = self.links.get_mut(&link).and_then(|link| link.session.as_mut()) {
            session.lost = true;
        }
    }

    fn check_peer(&mut self, now: Now, id: LinkId, update: &RoutingUpdate) -> Result<(), CloseReason> {
        let name = update.forwarding_node.as_str();
        let Some(settings) = self.links.get(&id).map(|link| &link.settings) else { return Ok(()) };
        if name == self.own.as_str() {
            return Err(CloseReason::OwnId);
        }
        if !is_name(name) {
            return Err(CloseReason::BadName);
        }
        if !settings.allowed_peers.is_empty() && settings.allowed_peers.iter().all(|allowed| allowed != name) {
            return Err(CloseReason::NotAllowed(name.to_owned()));
        }
        if settings.certified.as_ref().is_some_and(|names| names.iter().all(|certified| certified != name)) {
            return Err(CloseReason::NotCertified(name.to_owned()));
        }
        let certified = settings.certified.is_some();
        let cost = settings.cost_of(name);
        if self.peers.contains_key(name) {
            return self.check_further_link(now, certified, update);
        }
        let others: usize = self.peers.values().map(|peer| peer.length).sum();
        let length = others + encoded_length(name, cost);
        if UPDATE_LENGTH + length > MAX_MESSAGE_LENGTH {
            return Err(CloseReason::TooManyPeers);
        }
        Ok(())
    }

    /// Whether a peer may have one more link: if both ends are worknodes, and it is the same process. Otherwise the
    /// newcomer loses, as with receptor; but one whose certificate proves the name takes the place of an older process.
    fn check_further_link(&mut self, now: Now, certified: bool, update: &RoutingUpdate) -> Result<(), CloseReason> {
        let name = update.forwarding_node.as_str();
        let links = self.peers.get(name).map(|peer| peer.links.clone()).unwrap_or_default();
        let sessions = || links.iter().filter_map(|link| self.links.get(link)?.session.as_ref());
        let from_peer = update.node_id == name;
        let one_process = sessions().all(|session| session.epoch == update.update_epoch && session.worknode);
        if from_peer && update.worknode.is_some() && one_process && links.len() < self.limits.links_per_peer {
            return Ok(());
        }
        if from_peer && certified && sessions().all(|session| session.epoch < update.update_epoch) {
            for link in links {
                self.close(now, link, CloseReason::Replaced(name.to_owned()));
            }
            return Ok(());
        }
        Err(CloseReason::AlreadyConnected(name.to_owned()))
    }

    /// Checks what comes over an established link. `false`: it is not to be processed as an update (mesh-protocol 2, 6).
    pub(super) fn check_update(&mut self, now: Now, id: LinkId, update: &RoutingUpdate) -> bool {
        let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) else { return false };
        let peer = session.peer.clone();
        if update.forwarding_node != *peer {
            let reason = CloseReason::IdChanged(peer.to_string(), update.forwarding_node.clone());
            self.reject(now, id, reason);
            return false;
        }
        if update.node_id != *peer {
            return true;
        }
        self.recognize(id, update);
        let Some(session) = self.links.get_mut(&id).and_then(|link| link.session.as_mut()) else { return false };
        let listed = match update.worknode {
            Some(extension) if session.worknode => extension.link_cost,
            _ => update.connections.get(self.own.as_str()).copied(),
        };
        let Some(theirs) = listed else {
            if session.confirmed {
                self.reject(now, id, CloseReason::NoLongerListed(peer.to_string()));
            } else {
                // The peer has not heard of us: the greeting was lost.
                self.send_own_update_to(id);
            }
            return false;
        };
        let ours = session.cost;
        if theirs.to_bits() != ours.to_bits() && theirs != ours {
            let (ours, theirs) = (json::to_string(&ours), json::to_string(&theirs));
            self.reject(now, id, CloseReason::CostDisagreement { peer: peer.to_string(), ours, theirs });
            return false;
        }
        if !std::mem::replace(&mut session.confirmed, true) {
            self.event(Event::LinkConfirmed { link: id, peer });
        }
        true
    }
}
