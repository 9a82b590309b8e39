use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use worknode_protocol::id::NodeId;

use crate::router::{Event, Limits, Now, Router, Routes};

use super::{START, wall};

/// A node of a world.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) router: Router,
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

impl Node {
    pub(super) fn new(place: usize, seed: u64, limits: Limits) -> Self {
        let name = format!("n{place}");
        let router = router(&name, epoch(Duration::ZERO, 0, seed), seed, limits);
        Self {
            routes: router.routes(),
            name,
            router,
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

    pub(super) fn now(&self, clock: Duration) -> Now {
        Now { clock, wall: wall(clock, self.skew) }
    }

    pub(super) fn restart(&mut self, clock: Duration, step: i64, seed: u64, limits: Limits) {
        self.skew = self.skew.saturating_add(step);
        self.router = router(&self.name, epoch(clock, self.skew, seed), seed, limits);
        self.routes = self.router.routes();
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

    /// Where the routes differ from `expected`, the costs by place.
    pub(super) fn compare<'a>(
        &self,
        expected: &BTreeMap<usize, f64>,
        name_of: impl Fn(usize) -> Option<&'a str>,
    ) -> Option<String> {
        let wrong = expected.iter().find_map(|(place, cost)| {
            let name = name_of(*place)?;
            let way = self.routes.way(name).map(|way| way.cost);
            let right = way.is_some_and(|way| (way - cost).abs() < 1e-9);
            (!right).then(|| format!("{} reaches {name} at {way:?} instead of {cost}", self.name))
        });
        let count = self.routes.reachable().count();
        wrong.or_else(|| {
            (count != expected.len()).then(|| format!("{} reaches {count} nodes, not {}", self.name, expected.len()))
        })
    }
}

fn router(name: &str, epoch: u64, seed: u64, limits: Limits) -> Router {
    // A name made of a letter and a number is one.
    let id = NodeId::parse(name).unwrap_or_else(|_| unreachable!());
    Router::new(id, epoch, seed, limits)
}

/// The epoch of a process started at `clock` (mesh-protocol 4.1).
fn epoch(clock: Duration, skew: i64, seed: u64) -> u64 {
    let seconds = START.saturating_add(skew).cast_unsigned().saturating_add(clock.as_secs());
    (seconds << 24) + (seed & 0xff_ffff)
}
