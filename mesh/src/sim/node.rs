use std::sync::Arc;
use std::time::Duration;

use worknode_protocol::id::NodeId;

use crate::router::{Event, Limits, LinkId, LinkSettings, Names, Now, Output, Router, Routes};

use super::receptor::Receptor;
use super::{START, wall};

/// What a node is.
#[derive(Debug)]
pub(super) enum Kind {
    Worknode(Box<Router>),
    Receptor(Box<Receptor>),
}

/// A node of a world.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// When its router is to be told of the time.
    pub(super) timer: Option<Duration>,
    /// By how many seconds its clock is wrong.
    skew: i64,
    routes: Arc<Routes>,
    /// When the routes were changed last.
    pub(super) routes_at: Duration,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) longest: usize,
    /// Alarms about processes of its name.
    pub(super) alarms: u64,
    /// Links it has ended.
    pub(super) closed: u64,
}

impl Kind {
    pub(super) fn link_opened(&mut self, now: Now, link: LinkId, settings: LinkSettings) {
        match self {
            Self::Worknode(router) => router.link_opened(now, link, settings),
            Self::Receptor(receptor) => receptor.link_opened(now, link, &settings),
        }
    }

    pub(super) fn link_closed(&mut self, now: Now, link: LinkId) {
        match self {
            Self::Worknode(router) => router.link_closed(now, link),
            Self::Receptor(receptor) => receptor.link_closed(now, link),
        }
    }

    pub(super) fn received(&mut self, now: Now, link: LinkId, message: &[u8]) {
        match self {
            Self::Worknode(router) => router.received(now, link, message),
            Self::Receptor(receptor) => receptor.received(now, link, message),
        }
    }

    pub(super) fn next_timer(&self) -> Option<Duration> {
        match self {
            Self::Worknode(router) => router.next_timer(),
            Self::Receptor(receptor) => receptor.next_timer(),
        }
    }

    pub(super) fn timers(&mut self, now: Now) {
        match self {
            Self::Worknode(router) => router.timers(now),
            Self::Receptor(receptor) => receptor.timers(now),
        }
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        match self {
            Self::Worknode(router) => router.poll_output(),
            Self::Receptor(receptor) => receptor.poll_output(),
        }
    }

    /// Whether it took itself for a duplicate, and ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Receptor(receptor) if receptor.ended)
    }
}

impl Node {
    pub(super) fn new(place: usize, seed: u64, limits: Limits, names: &Names) -> Self {
        let name = format!("n{place}");
        Self {
            kind: Kind::Worknode(Box::new(router(&name, epoch(Duration::ZERO, 0), seed, limits, names))),
            name,
            routes: Arc::default(),
            timer: None,
            skew: 0,
            routes_at: Duration::ZERO,
            sent: 0,
            sent_bytes: 0,
            longest: 0,
            alarms: 0,
            closed: 0,
        }
    }

    /// Makes it a receptor node.
    pub(super) fn become_receptor(&mut self, clock: Duration, seed: u64) {
        let receptor = Receptor::new(&self.name, epoch(clock, self.skew), seed);
        self.kind = Kind::Receptor(Box::new(receptor));
    }

    pub(super) fn epoch(&self) -> u64 {
        match &self.kind {
            Kind::Worknode(router) => router.epoch(),
            Kind::Receptor(receptor) => receptor.epoch(),
        }
    }

    pub(super) fn now(&self, clock: Duration) -> Now {
        Now { clock, wall: wall(clock, self.skew) }
    }

    pub(super) fn restart(&mut self, clock: Duration, step: i64, seed: u64, limits: Limits, names: &Names) {
        self.skew = self.skew.saturating_add(step);
        match &mut self.kind {
            Kind::Worknode(old) => **old = router(&self.name, epoch(clock, self.skew), seed, limits, names),
            Kind::Receptor(_) => self.become_receptor(clock, seed),
        }
        self.routes = Arc::default();
        self.timer = None;
    }

    pub(super) fn count_sent(&mut self, bytes: usize) {
        self.sent += 1;
        self.longest = self.longest.max(bytes);
        self.sent_bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    pub(super) fn count_close(&mut self) {
        self.closed += 1;
    }

    pub(super) fn count_event(&mut self, event: &Event) {
        self.alarms += u64::from(matches!(event, Event::Duplicate { .. }));
    }

    pub(super) fn set_routes(&mut self, clock: Duration, routes: Arc<Routes>) {
        self.routes_at = clock;
        self.routes = routes;
    }

    /// Where the routes differ from `expected`, the names and costs of all other nodes that can be reached.
    pub(super) fn compare<'a>(&self, expected: impl Iterator<Item = (&'a str, f64)>) -> Option<String> {
        let cost_of = |name: &str| match &self.kind {
            Kind::Worknode(_) => self.routes.way(name).map(|way| way.cost),
            Kind::Receptor(receptor) => receptor.ways.get(name).copied(),
        };
        let count = match &self.kind {
            Kind::Worknode(_) => self.routes.reachable().count(),
            Kind::Receptor(receptor) => receptor.ways.len(),
        };
        let mut right = 0;
        for (name, cost) in expected {
            let way = cost_of(name);
            if way.is_none_or(|way| (way - cost).abs() >= 1e-9) {
                return Some(format!("{} reaches {name} at {way:?} instead of {cost}", self.name));
            }
            right += 1;
        }
        (count != right).then(|| format!("{} reaches {count} nodes, not {right}", self.name))
    }
}

fn router(name: &str, epoch: u64, seed: u64, limits: Limits, names: &Names) -> Router {
    // A name made of a letter and a number is one.
    let id = NodeId::parse(name).unwrap_or_else(|_| unreachable!());
    Router::among(names.clone(), id, epoch, seed, limits)
}

/// The epoch of a process started at `clock` (mesh-protocol 4.1), with the fraction of the second in place of random
/// bits: a process started later has a later one, if the clock was not set back.
fn epoch(clock: Duration, skew: i64) -> u64 {
    let seconds = START.saturating_add(skew).cast_unsigned().saturating_add(clock.as_secs());
    (seconds << 24) + u64::from(clock.subsec_micros())
}
