//! The task that owns the router: it tells it what happens and when, and does what it wants done.

use std::{collections::HashMap, sync::Arc, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use worknode_protocol::control::NodeStatus;

use crate::{
    datagram::{Queued, View},
    router::{Event, LinkId, LinkSettings, Now, Output, OwnService, Router},
    session::Link,
};

/// Commands that wait for the driver; the links that send more wait, and so their peers.
pub(crate) const INBOX: usize = 1024;
/// Commands carried out before the router's wishes are.
const BATCH: usize = 32;

/// What the driver is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// A connection to a peer is there.
    Opened { link: LinkId, settings: LinkSettings, shared: Arc<Link> },
    /// A message that is not data came.
    Received { link: LinkId, message: Bytes },
    /// A connection is over.
    Closed { link: LinkId },
    /// The others are to know of a service of this node.
    Advertise(OwnService),
    /// And no longer.
    Withdraw(String),
    /// All services are withdrawn, as the node stops. Answered when that is on its way.
    WithdrawAll(oneshot::Sender<()>),
    /// What `status` shows of the mesh.
    Status(oneshot::Sender<NodeStatus>),
}

/// Owns the router.
pub(crate) struct Driver {
    router: Router,
    started: Instant,
    links: HashMap<LinkId, Arc<Link>>,
    services: Vec<String>,
    view: watch::Sender<View>,
}

impl Driver {
    /// A driver that publishes routes in `view`.
    pub(crate) fn new(router: Router, view: watch::Sender<View>) -> Self {
        let driver = Self { router, started: Instant::now(), links: HashMap::new(), services: Vec::new(), view };
        driver.publish();
        driver
    }

    /// Works until it is stopped.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let due = self.router.next_timer().map(|due| self.started + due);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep_until(due.unwrap_or(self.started)), if due.is_some() => {
                    let now = self.now();
                    self.router.timers(now);
                }
                count = commands.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for command in batch.drain(..) {
                        self.take(command);
                    }
                }
            }
            self.carry_out();
        }
    }

    fn now(&self) -> Now {
        Now { clock: self.started.elapsed(), wall: Timestamp::now() }
    }

    fn take(&mut self, command: Command) {
        let now = self.now();
        match command {
            Command::Opened { link, settings, shared } => {
                self.links.insert(link, shared);
                self.publish();
                self.router.link_opened(now, link, settings);
            }
            Command::Received { link, message } => self.router.received(now, link, &message),
            Command::Closed { link } => {
                self.links.remove(&link);
                self.router.link_closed(now, link);
                self.publish();
            }
            Command::Advertise(service) => {
                self.services.retain(|name| *name != service.name);
                self.services.push(service.name.clone());
                self.router.advertise(now, service);
            }
            Command::Withdraw(service) => {
                self.services.retain(|name| *name != service);
                self.router.withdraw(now, &service);
            }
            Command::WithdrawAll(done) => {
                for service in std::mem::take(&mut self.services) {
                    self.router.withdraw(now, &service);
                }
                self.carry_out();
                let _ = done.send(());
            }
            Command::Status(answer) => {
                // Who asked may have gone.
                let _ = answer.send(self.router.status(now));
            }
        }
    }

    /// Does what the router wants done.
    fn carry_out(&mut self) {
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Send { link, message } => self.send(link, message),
                Output::Close { link, reason } => {
                    if let Some(link) = self.links.get(&link) {
                        link.outbox.close();
                    }
                    tracing::warn!(link = link.0, %reason, "a link is ended");
                }
                Output::Routes(_) => self.publish(),
                Output::Event(event) => self.note(event),
            }
        }
    }

    fn send(&mut self, id: LinkId, message: Bytes) {
        let Some(link) = self.links.get(&id) else { return };
        if link.outbox.push_routing(message) == Queued::Full {
            tracing::debug!(link = id.0, "a routing message found no room");
            self.router.lost(id);
        }
    }

    fn note(&self, event: Event) {
        match event {
            Event::LinkUp { link, peer, cost } => {
                tracing::info!(link = link.0, %peer, cost, "connected");
                if let Some(link) = self.links.get(&link) {
                    link.up.store(true, Ordering::Relaxed);
                }
            }
            Event::LinkConfirmed { link, peer } => {
                tracing::debug!(link = link.0, %peer, "the peer lists us");
                if let Some(link) = self.links.get(&link) {
                    link.confirmed.store(true, Ordering::Relaxed);
                }
            }
            Event::LinkDown { link, peer } => tracing::info!(link = link.0, %peer, "disconnected"),
            Event::Duplicate { epoch, accused, via } => {
                tracing::error!(epoch, accused, %via, "another node uses the ID of this one, or somebody says so");
            }
            Event::Dropped { link, reason } => tracing::debug!(link = link.0, reason, "a message was dropped"),
        }
    }

    /// Lets everybody see the present routes and links.
    fn publish(&self) {
        let links = self.links.iter().map(|(id, link)| (*id, Arc::clone(&link.outbox))).collect();
        self.view.send_replace(View { routes: self.router.routes(), links: Arc::new(links) });
    }
}

/// The epoch of a process that starts now: Unix seconds times 2^24, and 24 random bits (mesh-protocol 4.1).
pub(crate) fn epoch(since_1970: Duration, random: u32) -> u64 {
    (since_1970.as_secs() << 24) | u64::from(random & 0x00ff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mesh-protocol 4.1 has an epoch of a Go node: 30118872685188754.
    #[test]
    fn an_epoch_is_seconds_and_a_random_part() {
        let seen = 30_118_872_685_188_754_u64;
        assert_eq!(epoch(Duration::from_secs(seen >> 24), u32::try_from(seen & 0x00ff_ffff).unwrap()), seen);
        assert_eq!(epoch(Duration::from_secs(1), u32::MAX), (1 << 24) + 0x00ff_ffff);
    }
}
