//! A router against anything that peers can do, played from bytes: for property tests and the fuzz target.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use worknode_protocol::id::NodeId;
use worknode_protocol::mesh::{
    ConnType, DataHeader, Extension, MAX_MESSAGE_LENGTH, RoutingUpdate, ServiceAdvertisement, name_hash,
};

use crate::router::{Limits, LinkId, LinkSettings, Now, Output, OwnService, Router};

const LIMITS: Limits =
    Limits { nodes: 12, costs: 40, advertisements: 6, advertisement_bytes: 2_000, links_per_peer: 2 };

const NAMES: [&str; 8] = ["own", "a", "b", "c", "d", "e", "", "LocalHost"];

const EPOCH: u64 = 1 << 60;

/// What bytes tell.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.0.split_first().map_or((0, self.0), |(byte, rest)| (*byte, rest));
        self.0 = rest;
        byte
    }

    fn below(&mut self, end: u8) -> u8 {
        self.byte() % end
    }

    fn name(&mut self) -> String {
        let number = self.byte();
        NAMES.get(usize::from(number)).map_or_else(|| format!("n{number}"), |name| (*name).to_owned())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at_checked(length).unwrap_or_default();
        self.0 = rest;
        bytes.to_vec()
    }

    fn epoch(&mut self) -> u64 {
        EPOCH + u64::from(self.below(4)) - 1
    }

    fn update(&mut self) -> RoutingUpdate {
        let node_id = self.name();
        let forwarding_node = if self.byte() < 100 { node_id.clone() } else { self.name() };
        let neighbours = self.below(5);
        let mut connections: BTreeMap<String, f64> =
            (0..neighbours).map(|_| (self.name(), f64::from(self.below(4)))).collect();
        if self.byte() < 150 {
            connections.insert("own".to_owned(), 1.0);
        }
        let worknode = (self.byte() < 128).then(|| Extension {
            max_message: u32::from(self.byte()) << 9,
            link_cost: (self.byte() < 150).then_some(1.0),
        });
        let suspected_duplicate = if self.byte() < 30 { self.epoch() } else { 0 };
        RoutingUpdate {
            node_id,
            update_id: format!("{:08}", self.byte()),
            update_epoch: self.epoch(),
            update_sequence: u64::from(self.byte()),
            connections,
            forwarding_node,
            suspected_duplicate,
            worknode,
        }
    }

    fn advertisement(&mut self, wall: Timestamp) -> ServiceAdvertisement {
        ServiceAdvertisement {
            node_id: self.name(),
            service: format!("s{}", self.below(4)),
            time: wall + SignedDuration::from_secs(i64::from(self.byte()) - 128),
            cancel: self.byte() < 80,
            ..ServiceAdvertisement::default()
        }
    }

    fn settings(&mut self) -> LinkSettings {
        let names = vec!["a".to_owned(), "b".to_owned()];
        LinkSettings {
            certified: (self.byte() < 60).then(|| names.clone()),
            allowed_peers: if self.byte() < 60 { names } else { Vec::new() },
            ..LinkSettings::default()
        }
    }
}

/// A router, and what must hold of it.
struct Play {
    router: Router,
    clock: Duration,
    open: BTreeSet<LinkId>,
    last: u64,
}

impl Play {
    fn now(&self) -> Now {
        let start = Timestamp::from_second(1_795_000_000).unwrap_or(Timestamp::UNIX_EPOCH);
        Now { clock: self.clock, wall: start + SignedDuration::try_from(self.clock).unwrap_or_default() }
    }

    /// One of the links there ever were, mostly one that is open.
    fn link(&self, script: &mut Script<'_>) -> LinkId {
        let number = script.byte();
        if number > 250 {
            return LinkId(u64::from(script.byte()));
        }
        let at = usize::from(number) % self.open.len().max(1);
        self.open.iter().nth(at).copied().unwrap_or(LinkId(0))
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let now = self.now();
        match script.below(12) {
            0 | 1 => {
                self.last += 1;
                self.open.insert(LinkId(self.last));
                self.router.link_opened(now, LinkId(self.last), script.settings());
            }
            2 => {
                let link = self.link(script);
                self.open.remove(&link);
                self.router.link_closed(now, link);
            }
            3 => {
                let time = Duration::from_millis(u64::from(script.byte()) * u64::from(script.byte()));
                self.pass(time);
            }
            4 => {
                let (link, bytes) = (self.link(script), script.bytes());
                self.router.received(now, link, &bytes);
            }
            5 => {
                let (link, ad) = (self.link(script), script.advertisement(now.wall));
                self.router.received(now, link, &ad.encode().unwrap_or_default());
            }
            6 => {
                let (name, conn_type) = (format!("s{}", script.below(3)), ConnType::Stream);
                self.router.advertise(now, OwnService { name, conn_type, tags: None, work_commands: None });
            }
            7 => self.router.withdraw(now, &format!("s{}", script.below(3))),
            _ => {
                let (link, update) = (self.link(script), script.update());
                self.router.received(now, link, &update.encode().unwrap_or_default());
            }
        }
        self.check();
    }

    fn pass(&mut self, time: Duration) {
        let end = self.clock + time;
        while let Some(due) = self.router.next_timer().filter(|due| *due <= end) {
            self.clock = self.clock.max(due);
            let now = self.now();
            self.router.timers(now);
            self.check();
            let next = self.router.next_timer();
            assert!(next.is_none_or(|next| next > self.clock), "it is due again at once: {next:?} {:?}", self.clock);
        }
        self.clock = end;
    }

    /// What is sent goes to open links and can be read; nothing grows beyond its limit; ways lead over open links.
    fn check(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Send { link, message } => {
                    assert!(self.open.contains(&link), "to a link that is closed");
                    check_message(&message);
                }
                Output::Close { link, .. } => assert!(self.open.remove(&link), "a link is closed twice"),
                Output::Routes(_) | Output::Event(_) => {}
            }
        }
        let (nodes, advertisements) = self.router.size();
        assert!(nodes <= LIMITS.nodes && advertisements <= LIMITS.advertisements, "{nodes} {advertisements}");
        let routes = self.router.routes();
        for (name, way) in routes.reachable() {
            assert_ne!(&**name, "own");
            assert!(self.open.contains(&way.link), "a way by a link that is closed");
            assert!(routes.by_hash(name_hash(name)).is_some());
        }
        assert!(routes.by_name("own").is_some_and(|own| own.way.is_none()));
    }
}

fn check_message(message: &Bytes) {
    assert!(!message.is_empty() && message.len() <= MAX_MESSAGE_LENGTH);
    match message.first() {
        Some(1) => {
            let update = RoutingUpdate::decode(message);
            assert!(update.is_ok_and(|update| update.forwarding_node == "own" && !update.node_id.is_empty()));
        }
        Some(2) => assert!(ServiceAdvertisement::decode(message).is_ok()),
        _ => assert_eq!(&**message, b"\x03[]"),
    }
}

/// Plays what `bytes` tell; panics if something does not hold that must.
pub(crate) fn play(bytes: &[u8]) {
    let _ = DataHeader::decode(bytes);
    let Ok(own) = NodeId::parse("own") else { return };
    let router = Router::new(own, EPOCH, 1, LIMITS);
    let mut play = Play { router, clock: Duration::ZERO, open: BTreeSet::new(), last: 0 };
    let mut script = Script(bytes);
    while !script.0.is_empty() {
        play.step(&mut script);
    }
    play.pass(Duration::from_secs(700));
    let now = play.now();
    let status = play.router.status(now);
    assert!(status.connections.len() <= play.open.len());
}
