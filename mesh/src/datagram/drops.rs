//! Counts of what was dropped.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many datagrams were dropped since the start of the node, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Without a whole header, or a notice that cannot be read.
    pub malformed: u64,
    /// No way to the node.
    pub no_route: u64,
    /// Out of hops.
    pub expired: u64,
    /// By firewall rules.
    pub blocked: u64,
    /// No room in the queue of a link or of a service, or longer than a link carries.
    pub no_room: u64,
    /// No such service on this node.
    pub no_service: u64,
}

/// The running counts.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub(super) malformed: Counter,
    pub(super) no_route: Counter,
    pub(super) expired: Counter,
    pub(super) blocked: Counter,
    pub(super) no_room: Counter,
    pub(super) no_service: Counter,
}

/// Counts up.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drops {
    pub(super) fn get(&self) -> Dropped {
        Dropped {
            malformed: self.malformed.get(),
            no_route: self.no_route.get(),
            expired: self.expired.get(),
            blocked: self.blocked.get(),
            no_room: self.no_room.get(),
            no_service: self.no_service.get(),
        }
    }
}
