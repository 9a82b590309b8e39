//! Many routers in made-up time: for tests, and to measure how a large mesh behaves.
//!
//! A [`World`] has nodes and wires between them. A wire stands for a backend: it carries messages with a delay, loses
//! some if it is told to, and is dialled again when its link has ended. All that happens is drawn from one seed.

mod agenda;
mod graph;
mod measure;
mod node;
mod receptor;
#[cfg(test)]
mod tests;
mod truth;
mod wire;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use graph::Shape;
pub use measure::{Figures, Measure, measure, measure_receptor};
pub use wire::Quality;

use crate::router::{Limits, LinkId, LinkSettings, Names, Now, Output, Router};
use agenda::{Agenda, What};
use node::{Kind, Node};
use wire::{Session, Wire};

/// A link without a message for so long is ended by its session (mesh-protocol 4.5).
const IDLE: Duration = Duration::from_secs(21);

/// An ended link is dialled again after this time (mesh-protocol 1.1).
const REDIAL: Duration = Duration::from_secs(5);

/// When the time of a world begins.
const START: i64 = 1_795_000_000;

/// Many routers, wires between them, and a clock of their own.
#[derive(Debug)]
pub struct World {
    clock: Duration,
    random: StdRng,
    limits: Limits,
    /// All routers have the same.
    names: Names,
    nodes: Vec<Node>,
    wires: Vec<Wire>,
    links: HashMap<LinkId, (usize, usize)>,
    last_link: u64,
    agenda: Agenda,
}

impl World {
    /// Nodes and no wires yet.
    pub fn new(nodes: usize, seed: u64) -> Self {
        Self::with_limits(nodes, seed, Limits::default())
    }

    /// The same, with nodes that hold no more than `limits`.
    pub fn with_limits(nodes: usize, seed: u64, limits: Limits) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let names = Names::default();
        let nodes = (0..nodes).map(|place| Node::new(place, random.random(), limits, &names)).collect();
        Self {
            limits,
            names,
            clock: Duration::ZERO,
            random,
            nodes,
            wires: Vec::new(),
            links: HashMap::new(),
            last_link: 0,
            agenda: Agenda::default(),
        }
    }

    /// Worknodes linked in a certain shape, by wires of cost 1.
    pub fn in_shape(shape: Shape, nodes: usize, seed: u64) -> Self {
        let mut world = Self::new(nodes, seed);
        for (a, b) in shape.links(nodes, seed) {
            world.connect(a, b, 1.0, Quality::default());
        }
        world
    }

    /// Time since the start.
    pub fn clock(&self) -> Duration {
        self.clock
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// How many wires there are.
    pub fn wires(&self) -> usize {
        self.wires.len()
    }

    /// Lays a wire between two nodes, which is dialled at once. The answer is its place.
    pub fn connect(&mut self, a: usize, b: usize, cost: f64, quality: Quality) -> usize {
        let wire = self.wires.len();
        let spread = self.random.random_range(0.5..1.5);
        self.wires.push(Wire::new([a, b], cost, quality.with_delay(quality.delay.mul_f64(spread))));
        self.later(Duration::ZERO, What::Dial(wire));
        wire
    }

    /// A further node, without wires.
    pub fn add_node(&mut self) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node::new(place, self.random.random(), self.limits, &self.names));
        place
    }

    /// Cuts a wire, as a connection is reset: both ends notice.
    pub fn cut(&mut self, wire: usize) {
        let Some(wire) = self.wires.get_mut(wire) else { return };
        wire.wanted = false;
        let ended = wire.session.take();
        for link in ended.into_iter().flat_map(|session| session.links) {
            self.later(Duration::ZERO, What::Ended(link));
        }
    }

    /// Lets a cut or silenced wire work again.
    pub fn restore(&mut self, wire: usize) {
        let Some(found) = self.wires.get_mut(wire) else { return };
        found.silent = false;
        if !std::mem::replace(&mut found.wanted, true) {
            self.later(Duration::ZERO, What::Dial(wire));
        }
    }

    /// Has a wire lose everything, which neither end notices until the link is idle for too long.
    pub fn silence(&mut self, wire: usize) {
        if let Some(wire) = self.wires.get_mut(wire) {
            wire.silent = true;
        }
    }

    /// Sets how well all wires carry.
    pub fn set_quality(&mut self, loss: f64, reorders: bool) {
        for wire in &mut self.wires {
            wire.quality.loss = loss;
            wire.quality.reorders = reorders;
        }
    }

    /// Ends the process of a node and starts a new one, whose clock differs by `step` seconds from what it showed.
    pub fn restart(&mut self, node: usize, step: i64) {
        let seed = self.random.random();
        let (clock, limits) = (self.clock, self.limits);
        let Some(restarted) = self.nodes.get_mut(node) else { return };
        restarted.restart(clock, step, seed, limits, &self.names);
        let wires: Vec<usize> = (0..self.wires.len()).filter(|wire| self.is_end(*wire, node)).collect();
        for wire in wires {
            let Some(found) = self.wires.get_mut(wire) else { continue };
            let other = found.ends.iter().position(|end| *end != node).unwrap_or(0);
            if let Some(session) = found.session.take() {
                for link in session.links {
                    self.links.remove(&link);
                }
                if let Some(link) = session.links.get(other).copied() {
                    self.links.insert(link, (wire, other));
                    self.later(Duration::ZERO, What::Ended(link));
                }
                self.later(REDIAL, What::Dial(wire));
            }
        }
    }

    /// Has a node send any bytes on all its links, as a malicious one would.
    pub fn inject(&mut self, node: usize, message: &[u8]) {
        let wires: Vec<usize> = (0..self.wires.len()).filter(|wire| self.is_end(*wire, node)).collect();
        for wire in wires {
            let Some(found) = self.wires.get(wire) else { continue };
            let end = usize::from(found.ends.first() != Some(&node));
            self.carry(wire, end, Bytes::copy_from_slice(message));
        }
    }

    /// Does something with the router of a node, as its driver would.
    pub fn with_router(&mut self, node: usize, what: impl FnOnce(&mut Router, Now)) {
        self.tell(node, |node, now| {
            if let Kind::Worknode(router) = &mut node.kind {
                what(router, now);
            }
        });
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &str {
        self.nodes.get(node).map_or("", |node| &node.name)
    }

    /// The router of a node, if it is a worknode.
    pub fn router(&self, node: usize) -> Option<&Router> {
        match &self.nodes.get(node)?.kind {
            Kind::Worknode(router) => Some(router),
            Kind::Receptor(_) => None,
        }
    }

    /// The epoch of a node's process.
    pub fn epoch(&self, node: usize) -> u64 {
        self.nodes.get(node).map_or(0, Node::epoch)
    }

    /// Makes a node a receptor node, before it has wires.
    pub fn make_receptor(&mut self, node: usize) {
        let (clock, seed) = (self.clock, self.random.random());
        if let Some(node) = self.nodes.get_mut(node) {
            node.become_receptor(clock, seed);
        }
    }

    /// How many receptor nodes took themselves for duplicates and ended.
    pub fn ended(&self) -> usize {
        self.nodes.iter().filter(|node| node.kind.has_ended()).count()
    }

    /// The longest message that any node has sent, in bytes.
    pub fn longest_message(&self) -> usize {
        self.nodes.iter().map(|node| node.longest).max().unwrap_or_default()
    }

    /// Messages and bytes sent so far, by all nodes together.
    pub fn traffic(&self) -> (u64, u64) {
        self.nodes.iter().fold((0, 0), |(messages, bytes), node| (messages + node.sent, bytes + node.sent_bytes))
    }

    /// Links that nodes have ended of their own, and alarms about processes of one name.
    pub fn troubles(&self) -> (u64, u64) {
        self.nodes.iter().fold((0, 0), |(closed, alarms), node| (closed + node.closed, alarms + node.alarms))
    }

    fn is_end(&self, wire: usize, node: usize) -> bool {
        self.wires.get(wire).is_some_and(|wire| wire.ends.contains(&node))
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some((at, what)) = self.agenda.next(end) {
            self.clock = at;
            self.happen(what);
        }
        self.clock = end;
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive(link, message) => {
                let clock = self.clock;
                let Some((node, session, end)) = self.end_of(link) else { return };
                if let Some(heard) = session.heard.get_mut(end) {
                    *heard = clock;
                }
                self.tell(node, |node, now| node.kind.received(now, link, &message));
            }
            What::Ended(link) => {
                let Some((wire, end)) = self.links.remove(&link) else { return };
                let Some(node) = self.wires.get(wire).and_then(|wire| wire.ends.get(end)).copied() else { return };
                self.tell(node, |node, now| node.kind.link_closed(now, link));
            }
            What::Dial(wire) => self.dial(wire),
            What::LookForSilence(link) => self.look_for_silence(link),
            What::Timer(node) => {
                let clock = self.clock;
                let due = self.nodes.get_mut(node).is_some_and(|node| node.timer.take_if(|at| *at <= clock).is_some());
                if due {
                    self.tell(node, |node, now| node.kind.timers(now));
                }
            }
        }
    }

    /// The node, the session and the end of the wire that has `link`.
    fn end_of(&mut self, link: LinkId) -> Option<(usize, &mut Session, usize)> {
        let (wire, end) = *self.links.get(&link)?;
        let wire = self.wires.get_mut(wire)?;
        Some((*wire.ends.get(end)?, wire.session.as_mut()?, end))
    }

    fn dial(&mut self, wire: usize) {
        let Some(found) = self.wires.get_mut(wire).filter(|wire| wire.wanted && wire.session.is_none()) else { return };
        if found.silent {
            return self.later(REDIAL, What::Dial(wire));
        }
        let links = [LinkId(self.last_link + 1), LinkId(self.last_link + 2)];
        self.last_link += 2;
        found.session = Some(Session { links, heard: [self.clock; 2] });
        let (ends, cost) = (found.ends, found.cost);
        for (end, (link, node)) in links.into_iter().zip(ends).enumerate() {
            self.links.insert(link, (wire, end));
            self.later(IDLE, What::LookForSilence(link));
            self.tell(node, |node, now| {
                node.kind.link_opened(now, link, LinkSettings { cost, ..LinkSettings::default() });
            });
        }
    }

    fn look_for_silence(&mut self, link: LinkId) {
        let clock = self.clock;
        let Some((_, session, end)) = self.end_of(link) else { return };
        let heard = session.heard.get(end).copied().unwrap_or_default();
        if clock >= heard + IDLE {
            self.end_link(link);
            self.happen(What::Ended(link));
        } else {
            self.later(heard + IDLE - clock, What::LookForSilence(link));
        }
    }

    /// Has one end of a wire end its link; the other notices, unless the wire is silent.
    fn end_link(&mut self, link: LinkId) {
        let Some(&(wire, end)) = self.links.get(&link) else { return };
        let Some(found) = self.wires.get_mut(wire) else { return };
        let Some(session) = found.session.take() else { return };
        let (silent, delay) = (found.silent, found.quality.delay);
        if let Some(other) = session.links.get(1 - end).copied() {
            self.later(if silent { IDLE } else { delay }, What::Ended(other));
        }
        self.later(REDIAL, What::Dial(wire));
    }

    /// Tells a node something, and does what it answers.
    fn tell(&mut self, place: usize, what: impl FnOnce(&mut Node, Now)) {
        let clock = self.clock;
        let Some(node) = self.nodes.get_mut(place) else { return };
        what(node, node.now(clock));
        while let Some(output) = self.nodes.get_mut(place).and_then(|node| node.kind.poll_output()) {
            self.answer(place, output);
        }
        let Some(node) = self.nodes.get_mut(place) else { return };
        let next = node.kind.next_timer().map(|at| at.max(clock));
        if next.is_some_and(|next| node.timer.is_none_or(|set| next < set)) {
            node.timer = next;
            self.later(next.unwrap_or(clock) - clock, What::Timer(place));
        }
    }

    fn answer(&mut self, place: usize, output: Output) {
        match output {
            Output::Send { link, message } => {
                if let Some(node) = self.nodes.get_mut(place) {
                    node.count_sent(message.len());
                }
                if let Some(&(wire, end)) = self.links.get(&link) {
                    self.carry(wire, end, message);
                }
            }
            Output::Close { link, .. } => {
                if let Some(node) = self.nodes.get_mut(place) {
                    node.count_close();
                }
                self.end_link(link);
                self.links.remove(&link);
            }
            Output::Routes(routes) => {
                let clock = self.clock;
                if let Some(node) = self.nodes.get_mut(place) {
                    node.set_routes(clock, routes);
                }
            }
            Output::Event(event) => {
                if let Some(node) = self.nodes.get_mut(place) {
                    node.count_event(&event);
                }
            }
        }
    }

    /// Carries a message from one end of a wire to the other.
    fn carry(&mut self, wire: usize, from: usize, message: Bytes) {
        let Some(found) = self.wires.get(wire) else { return };
        let quality = found.quality;
        let Some(to) = found.session.as_ref().and_then(|session| session.links.get(1 - from)).copied() else { return };
        if found.silent || (quality.loss > 0.0 && self.random.random_bool(quality.loss)) {
            return;
        }
        let late = if quality.reorders { self.random.random_range(1.0..4.0) } else { 1.0 };
        self.later(quality.delay.mul_f64(late), What::Arrive(to, message));
    }

    fn later(&mut self, time: Duration, what: What) {
        self.agenda.add(self.clock + time, what);
    }

    /// The first node whose routes are not the best ones over the wires that work, and in what.
    pub fn fault(&self) -> Option<String> {
        let works = |wire: &&Wire| wire.wanted && !wire.silent;
        let links: Vec<_> =
            self.wires.iter().filter(works).map(|wire| (wire.ends[0], wire.ends[1], wire.cost)).collect();
        let truth = truth::Truth::new(self.nodes.len(), &links);
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        self.nodes.iter().enumerate().find_map(|(place, node)| {
            let costs = truth.costs(place);
            let others = names.iter().zip(costs).enumerate().filter(|(other, _)| *other != place);
            node.compare(others.filter_map(|(_, (name, cost))| Some((*name, cost?))))
        })
    }
}

fn wall(clock: Duration, skew: i64) -> Timestamp {
    let start = Timestamp::from_second(START.saturating_add(skew)).unwrap_or(Timestamp::UNIX_EPOCH);
    start.checked_add(SignedDuration::try_from(clock).unwrap_or_default()).unwrap_or(Timestamp::MAX)
}
