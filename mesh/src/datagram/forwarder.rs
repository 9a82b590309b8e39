//! The way of every datagram (mesh-protocol 3.2): firewall, then a service of this node or the link to the next hop.
//!
//! It is taken by whoever has a datagram, at once and without asking anybody: routes are a snapshot that the driver
//! publishes, and all queues take or refuse without waiting.

use std::{collections::HashMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use worknode_protocol::config::model::mesh::FirewallAction;
use worknode_protocol::mesh::{DataHeader, HEADER_LENGTH, Problem, ServiceName, Unreachable, name_hash, take_hop};

use super::{
    Datagram, Dropped, FlowKey, Inbox, ListenError, Notice, Outbox, Queued, Service,
    drops::Drops,
    service::{PING, Services, UNREACH},
};
use crate::{
    firewall::{Firewall, Route},
    router::{LinkId, Routes},
};

/// Nodes that may forward a message that begins here (mesh-protocol 3.2).
pub(crate) const MOST_HOPS: u8 = 30;

/// The routes, and the links they lead over.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Made by the router.
    pub(crate) routes: Arc<Routes>,
    /// The queues of all links.
    pub(crate) links: Arc<HashMap<LinkId, Arc<Outbox>>>,
}

/// What became of a datagram that began on this node.
#[derive(Debug)]
pub(crate) enum Sent {
    /// It is on its way, or lost without anybody's fault but the network's.
    Yes,
    /// It can be tried again when there is room.
    Full(Blocked),
    /// It went nowhere.
    No(Unsent),
}

/// Why a datagram of this node went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// The node is not known, or no way to it.
    NoRoute,
    /// It is longer than a message can be.
    TooLong,
}

/// Where there is no room at present.
#[derive(Clone, Debug)]
pub(crate) struct Blocked {
    /// The queue of the link.
    pub(crate) outbox: Arc<Outbox>,
    /// The flow in it.
    pub(crate) flow: FlowKey,
    /// Length of the message that found none, in bytes.
    pub(crate) length: usize,
}

/// Where a datagram comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Here,
    Link,
}

/// The data way of a node.
#[derive(Debug)]
pub(crate) struct Forwarder {
    own: String,
    own_hash: u64,
    view: watch::Receiver<View>,
    services: Arc<Services>,
    /// None: there are no rules.
    firewall: Option<Firewall>,
    drops: Drops,
}

impl Forwarder {
    /// The data way of the node `own`. `view` is what the driver publishes.
    pub(crate) fn new(own: String, firewall: Option<Firewall>, view: watch::Receiver<View>) -> Self {
        let own_hash = name_hash(&own);
        Self { own, own_hash, view, services: Arc::default(), firewall, drops: Drops::default() }
    }

    /// The name of this node.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// What was dropped.
    pub(crate) fn dropped(&self) -> Dropped {
        self.drops.get()
    }

    /// The present routes and links.
    pub(crate) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Returns when there is a way to a node; never, once the mesh has ended.
    pub(crate) async fn reachable(&self, node: &str) {
        if self.view.clone().wait_for(|view| view.routes.way(node).is_some()).await.is_err() {
            std::future::pending().await
        }
    }

    /// Opens a service for datagrams.
    pub(crate) fn open(&self, name: &str) -> Result<Service, ListenError> {
        self.services.open(name)
    }

    /// Opens a service with a name that nobody else has.
    pub(crate) fn ephemeral(&self) -> Service {
        self.services.ephemeral()
    }

    /// Whether this node has a service.
    pub(crate) fn has_service(&self, name: ServiceName) -> bool {
        name.is(PING) || name.is(UNREACH) || self.services.inbox(name).is_some()
    }

    /// Whether `node` is a name of this node.
    pub(crate) fn is_own(&self, node: &str) -> bool {
        node == self.own || node.eq_ignore_ascii_case("localhost")
    }

    /// The hash of a node's name; `localhost` is this node.
    pub(crate) fn hash_of(&self, node: &str) -> u64 {
        if self.is_own(node) { self.own_hash } else { name_hash(node) }
    }

    /// The name behind a hash, if it is known.
    pub(crate) fn name_of(&self, hash: u64) -> Option<Arc<str>> {
        if hash == self.own_hash {
            return Some(Arc::from(self.own.as_str()));
        }
        self.view.borrow().routes.by_hash(hash).map(|node| Arc::clone(node.name))
    }

    /// Sends a datagram from a service of this node, which at most `hops` nodes may forward, this one included.
    pub(crate) fn send(&self, from: ServiceName, to: (u64, ServiceName), hops: u8, payload: &[u8]) -> Sent {
        let header = DataHeader {
            hops_to_live: hops,
            from_node: self.own_hash,
            to_node: to.0,
            from_service: from,
            to_service: to.1,
        };
        let mut message = BytesMut::with_capacity(HEADER_LENGTH + payload.len());
        message.extend_from_slice(&header.encode());
        message.extend_from_slice(payload);
        self.pass(header, message, Origin::Here)
    }

    /// Takes a data message that came over a link.
    pub(crate) fn receive(&self, message: BytesMut) {
        let Ok((header, _)) = DataHeader::decode(&message) else {
            return self.drops.malformed.count();
        };
        // Its sender is elsewhere: it has been counted here, and nobody else is to be told.
        let _ = self.pass(header, message, Origin::Link);
    }

    fn pass(&self, header: DataHeader, mut message: BytesMut, origin: Origin) -> Sent {
        let verdict = self.judge(&header);
        if verdict != FirewallAction::Accept {
            self.drops.blocked.count();
            if verdict == FirewallAction::Reject {
                self.tell(&header, Problem::BlockedByFirewall);
            }
            return Sent::Yes;
        }
        if header.to_node == self.own_hash {
            self.deliver(&header, message.freeze().slice(HEADER_LENGTH..));
            return Sent::Yes;
        }
        if !take_hop(&mut message) {
            self.drops.expired.count();
            self.tell(&header, Problem::MessageExpired);
            return Sent::Yes;
        }
        let Some(outbox) = self.next_hop(header.to_node) else {
            self.drops.no_route.count();
            return Sent::No(Unsent::NoRoute);
        };
        self.queue(&header, outbox, message.freeze(), origin)
    }

    /// The longest message that should be sent to a node: what the first link carries in one piece, or less where it is
    /// known that another link on the way carries less.
    pub(crate) fn longest_message(&self, node: u64) -> Option<usize> {
        let view = self.view.borrow();
        let way = view.routes.by_hash(node)?.way?;
        let first = view.links.get(&way.link)?.uncut();
        let all = way.max_message.and_then(|longest| usize::try_from(longest).ok());
        Some(all.map_or(first, |all| all.min(first)))
    }

    fn next_hop(&self, node: u64) -> Option<Arc<Outbox>> {
        let view = self.view.borrow();
        let way = view.routes.by_hash(node)?.way?;
        view.links.get(&way.link).cloned()
    }

    fn queue(&self, header: &DataHeader, outbox: Arc<Outbox>, message: Bytes, origin: Origin) -> Sent {
        let Some(flow) = message.get(4..).and_then(|names| names.first_chunk::<32>()).copied() else {
            return Sent::Yes;
        };
        let short = [header.from_service, header.to_service].iter().any(|name| name.is(PING) || name.is(UNREACH));
        let length = message.len();
        let queued = if short { outbox.push_short(&flow, message) } else { outbox.push_flow(&flow, message) };
        match (queued, origin) {
            (Queued::Yes, _) => Sent::Yes,
            (Queued::Full, Origin::Here) if !short => Sent::Full(Blocked { outbox, flow, length }),
            (Queued::Never, Origin::Here) => {
                self.drops.no_room.count();
                Sent::No(Unsent::TooLong)
            }
            (Queued::Full | Queued::Never, _) => {
                self.drops.no_room.count();
                Sent::Yes
            }
        }
    }

    /// What the firewall says. With rules, both names must be known, as rules speak of names.
    fn judge(&self, header: &DataHeader) -> FirewallAction {
        let Some(firewall) = &self.firewall else { return FirewallAction::Accept };
        let (Some(from), Some(to)) = (self.name_of(header.from_node), self.name_of(header.to_node)) else {
            return FirewallAction::Drop;
        };
        firewall.judge(&Route {
            from_node: &from,
            from_service: header.from_service,
            to_node: &to,
            to_service: header.to_service,
        })
    }

    /// A datagram for this node.
    fn deliver(&self, header: &DataHeader, payload: Bytes) {
        if header.to_service.is(PING) {
            self.answer(header);
        } else if header.to_service.is(UNREACH) {
            self.take_notice(header, &payload);
        } else if let Some(inbox) = self.services.inbox(header.to_service) {
            self.put(&inbox, header, payload);
        } else {
            self.drops.no_service.count();
            self.tell(header, Problem::ServiceUnknown);
        }
    }

    fn put(&self, inbox: &Inbox, header: &DataHeader, payload: Bytes) {
        let datagram = Datagram { from_node: header.from_node, from_service: header.from_service, payload };
        if !inbox.push(datagram) {
            self.drops.no_room.count();
        }
    }

    /// Answers a probe with nothing (mesh-protocol 6). A probe from a `ping` or `unreach` is none: two nodes would answer
    /// each other for ever.
    fn answer(&self, probe: &DataHeader) {
        if let Ok(ping) = ServiceName::parse(PING)
            && !probe.from_service.is(PING)
            && !probe.from_service.is(UNREACH)
        {
            let _ = self.send(ping, (probe.from_node, probe.from_service), MOST_HOPS, &[]);
        }
    }

    /// A notice is for the service whose datagram failed, if it is one of this node's.
    fn take_notice(&self, header: &DataHeader, payload: &[u8]) {
        let Ok(about) = Unreachable::decode(payload) else { return self.drops.malformed.count() };
        if about.from_node != self.own {
            return;
        }
        let inbox = ServiceName::parse(&about.from_service).ok().and_then(|name| self.services.inbox(name));
        let reporter = self.name_of(header.from_node);
        if let (Some(inbox), Some(reporter)) = (inbox, reporter) {
            inbox.push_notice(Notice { reporter: reporter.to_string(), about });
        }
    }

    /// Tells the source of a datagram what happened to it. Never about a notice (mesh-protocol 6).
    fn tell(&self, failed: &DataHeader, problem: Problem) {
        if failed.from_service.is(UNREACH) {
            return;
        }
        let (Some(from), Some(to)) = (self.name_of(failed.from_node), self.name_of(failed.to_node)) else { return };
        let notice = Unreachable {
            from_node: from.to_string(),
            to_node: to.to_string(),
            from_service: failed.from_service.to_string(),
            to_service: failed.to_service.to_string(),
            problem: problem.to_string(),
        };
        if let Ok(unreach) = ServiceName::parse(UNREACH) {
            let _ = self.send(unreach, (failed.from_node, unreach), MOST_HOPS, &notice.encode());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use worknode_protocol::config::model::mesh::{FirewallRule, Pattern};

    use super::*;

    fn forwarder(rules: &[FirewallRule]) -> Forwarder {
        let firewall = (!rules.is_empty()).then(|| Firewall::new(rules).unwrap());
        Forwarder::new("own".to_owned(), firewall, watch::channel(View::default()).1)
    }

    fn parse(name: &str) -> ServiceName {
        ServiceName::parse(name).unwrap()
    }

    fn unsent(sent: &Sent) -> Option<Unsent> {
        if let Sent::No(unsent) = sent { Some(*unsent) } else { None }
    }

    #[tokio::test]
    async fn what_is_for_this_node_comes_to_its_service() {
        let forwarder = forwarder(&[]);
        let service = forwarder.open("svc").unwrap();
        let own = forwarder.hash_of("localhost");
        // Delivery needs no hops (mesh-protocol 3.2).
        forwarder.send(parse("from"), (own, parse("svc")), 0, b"payload");
        let datagram = service.inbox().datagram().await;
        assert_eq!((datagram.from_node, datagram.from_service), (name_hash("own"), parse("from")));
        assert_eq!(datagram.payload, "payload");
        let sent = forwarder.send(parse("from"), (name_hash("other"), parse("svc")), MOST_HOPS, b"");
        assert_eq!(unsent(&sent), Some(Unsent::NoRoute));
    }

    /// mesh-protocol 9: reject tells, drop is silent.
    #[tokio::test]
    async fn a_rule_rejects_with_words_or_drops_in_silence() {
        let rule = |action, to: &str| FirewallRule {
            action,
            from_node: None,
            to_node: None,
            from_service: None,
            to_service: Some(Pattern::Exact(to.to_owned())),
        };
        let rules = [rule(FirewallAction::Reject, "closed"), rule(FirewallAction::Drop, "silent")];
        let forwarder = forwarder(&rules);
        let sender = forwarder.ephemeral();
        let own = forwarder.hash_of("own");
        for to in ["silent", "closed", "nothere"] {
            forwarder.send(sender.name(), (own, parse(to)), MOST_HOPS, b"");
        }
        for (to, problem) in [("closed", Problem::BlockedByFirewall), ("nothere", Problem::ServiceUnknown)] {
            let notice = sender.inbox().notice().await;
            assert_eq!((notice.reporter.as_str(), notice.about.to_service.as_str()), ("own", to));
            assert!(notice.about.is(problem));
        }
        assert_eq!(forwarder.dropped().blocked, 2);
    }

    proptest! {
        /// Whatever comes over a link is delivered, or counted under one cause.
        #[test]
        fn any_message_is_taken_or_counted(
            mut messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..40),
            for_us in prop::collection::vec(any::<bool>(), 40),
        ) {
            let forwarder = forwarder(&[]);
            for (message, for_us) in messages.iter_mut().zip(for_us) {
                if let Some(first) = message.first_mut() {
                    *first = 0;
                }
                if let Some(to) = message.get_mut(12..20).filter(|_| for_us) {
                    to.copy_from_slice(&name_hash("own").to_be_bytes());
                }
                let before = total(forwarder.dropped());
                forwarder.receive(BytesMut::from(&message[..]));
                prop_assert!(total(forwarder.dropped()) > before, "there is no service, and no link");
            }
        }
    }

    fn total(dropped: Dropped) -> u64 {
        let Dropped { malformed, no_route, expired, blocked, no_room, no_service } = dropped;
        malformed + no_route + expired + blocked + no_room + no_service
    }
}
