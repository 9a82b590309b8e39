use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use worknode_protocol::id::NodeId;
use worknode_protocol::mesh::{Extension, REJECT, RoutingUpdate, ServiceAdvertisement};

use super::super::{CloseReason, Event, Limits, LinkId, LinkSettings, Now, Output, Router, Routes};

/// Epoch of routers that do not care.
pub(super) const EPOCH: u64 = 30_118_872_685_188_754;

pub(super) const START: &str = "2026-11-21T01:31:50.918Z";

pub(super) fn at(clock: Duration) -> Now {
    let start: Timestamp = START.parse().unwrap();
    Now { clock, wall: start + SignedDuration::try_from(clock).unwrap() }
}

/// One router, driven by hand.
pub(super) struct Bench {
    pub(super) router: Router,
    pub(super) clock: Duration,
    pub(super) sent: Vec<(LinkId, Bytes)>,
    pub(super) closed: Vec<(LinkId, CloseReason)>,
    pub(super) events: Vec<Event>,
    pub(super) routes: Vec<Arc<Routes>>,
}

impl Bench {
    pub(super) fn new(name: &str) -> Self {
        Self::with(name, EPOCH, Limits::default())
    }

    pub(super) fn with(name: &str, epoch: u64, limits: Limits) -> Self {
        let router = Router::new(NodeId::parse(name).unwrap(), epoch, epoch, limits);
        let clock = Duration::ZERO;
        Self { router, clock, sent: vec![], closed: vec![], events: vec![], routes: vec![] }
    }

    pub(super) fn now(&self) -> Now {
        at(self.clock)
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Send { link, message } => self.sent.push((link, message)),
                Output::Close { link, reason } => self.closed.push((link, reason)),
                Output::Routes(routes) => self.routes.push(routes),
                Output::Event(event) => self.events.push(event),
            }
        }
    }

    pub(super) fn open(&mut self, link: u64, settings: LinkSettings) {
        self.router.link_opened(self.now(), LinkId(link), settings);
        self.drain();
    }

    pub(super) fn close(&mut self, link: u64) {
        self.router.link_closed(self.now(), LinkId(link));
        self.drain();
    }

    pub(super) fn receive(&mut self, link: u64, message: &[u8]) {
        self.router.received(self.now(), LinkId(link), message);
        self.drain();
    }

    pub(super) fn update(&mut self, link: u64, update: &RoutingUpdate) {
        self.receive(link, &update.encode().unwrap());
    }

    /// Lets time pass, with all that is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(due) = self.router.next_timer().filter(|due| *due <= end) {
            self.clock = due.max(self.clock);
            self.router.timers(self.now());
            self.drain();
        }
        self.clock = end;
    }

    /// Opens a link and establishes it with a receptor node.
    pub(super) fn connect(&mut self, link: u64, peer: &str) {
        self.open(link, LinkSettings::default());
        self.update(link, &update(peer, 1, &[]));
    }

    pub(super) fn forget_sent(&mut self) {
        self.sent.clear();
        self.events.clear();
        self.closed.clear();
    }

    /// The updates sent on `link`.
    pub(super) fn updates(&self, link: u64) -> Vec<RoutingUpdate> {
        let sent = self.sent.iter().filter(|(on, message)| *on == LinkId(link) && message.first() == Some(&1));
        sent.map(|(_, message)| RoutingUpdate::decode(message).unwrap()).collect()
    }

    pub(super) fn ads(&self, link: u64) -> Vec<ServiceAdvertisement> {
        let sent = self.sent.iter().filter(|(on, message)| *on == LinkId(link) && message.first() == Some(&2));
        sent.map(|(_, message)| ServiceAdvertisement::decode(message).unwrap()).collect()
    }

    pub(super) fn rejects(&self, link: u64) -> usize {
        self.sent.iter().filter(|(on, message)| *on == LinkId(link) && **message == *REJECT).count()
    }

    /// The link by which `node` is reached, 0 if it is not.
    pub(super) fn way(&self, node: &str) -> u64 {
        self.router.routes().way(node).map_or(0, |way| way.link.0)
    }
}

/// An update as a receptor node sends it of itself.
pub(super) fn update(node: &str, sequence: u64, connections: &[(&str, f64)]) -> RoutingUpdate {
    RoutingUpdate {
        node_id: node.to_owned(),
        update_id: format!("{node}{sequence:05}"),
        update_epoch: EPOCH,
        update_sequence: sequence,
        connections: connections.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect(),
        forwarding_node: node.to_owned(),
        suspected_duplicate: 0,
        worknode: None,
    }
}

/// The same, as a worknode does.
pub(super) fn own_kind(link_cost: Option<f64>, mut update: RoutingUpdate) -> RoutingUpdate {
    update.worknode = Some(Extension { max_message: 65_507, link_cost });
    update
}

/// The same, passed on by `via`.
pub(super) fn via(via: &str, mut update: RoutingUpdate) -> RoutingUpdate {
    update.forwarding_node = via.to_owned();
    update
}

/// Two routers, joined by links without delay.
pub(super) struct Pair {
    pub(super) a: Bench,
    pub(super) b: Bench,
    up: Vec<u64>,
}

impl Pair {
    pub(super) fn new() -> Self {
        Self { a: Bench::new("a"), b: Bench::new("b"), up: vec![] }
    }

    pub(super) fn join(&mut self, link: u64, at_a: LinkSettings, at_b: LinkSettings) {
        self.up.push(link);
        self.a.open(link, at_a);
        self.b.open(link, at_b);
        self.pass(Duration::from_millis(500));
    }

    /// Lets one end notice that a link is gone.
    pub(super) fn cut(&mut self, link: u64) {
        self.up.retain(|up| *up != link);
    }

    fn exchange(&mut self) {
        let mut closed: VecDeque<u64> = VecDeque::new();
        for _ in 0..100 {
            let (from_a, from_b) = (std::mem::take(&mut self.a.sent), std::mem::take(&mut self.b.sent));
            if from_a.is_empty() && from_b.is_empty() {
                break;
            }
            for (link, message) in from_a.into_iter().filter(|(link, _)| self.up.contains(&link.0)) {
                self.b.receive(link.0, &message);
            }
            for (link, message) in from_b.into_iter().filter(|(link, _)| self.up.contains(&link.0)) {
                self.a.receive(link.0, &message);
            }
            let ended = |bench: &Bench| bench.closed.iter().map(|(link, _)| link.0).collect::<Vec<_>>();
            closed.extend(ended(&self.a).into_iter().chain(ended(&self.b)));
            while let Some(link) = closed.pop_front() {
                if self.up.contains(&link) {
                    self.cut(link);
                    self.a.close(link);
                    self.b.close(link);
                }
            }
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.a.clock + time;
        while self.a.clock < end {
            self.exchange();
            self.a.pass(Duration::from_millis(10));
            self.b.pass(Duration::from_millis(10));
        }
        self.exchange();
    }
}
