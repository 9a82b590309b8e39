//! A new link is told all that is known: the last update of each node, and every advertisement.

use std::time::Duration;

use bytes::Bytes;
use worknode_protocol::mesh::{Extension, RoutingUpdate};

use super::ads::Key;
use super::table::NodeIndex;
use super::{LinkId, Now, Router};

/// How many messages go out on a link in one go, at most.
const BATCH: usize = 128;

/// How many messages go out in one go on all links together, so that a hub to which all come back at once stays small.
const BATCH_OF_ALL: usize = 2_048;

/// Time between two such goes.
const PERIOD: Duration = Duration::from_millis(10);

/// A node out of reach for longer than this is not told of. One just heard of may only not have been looked for yet.
const GRACE: Duration = Duration::from_secs(5);

/// How far a link has been told.
#[derive(Debug, Default)]
pub(super) struct Sync {
    /// Place of the node that is next.
    position: usize,
    /// The last advertisement sent.
    after: Option<Key>,
}

impl Router {
    pub(super) fn begin_sync(&mut self, now: Now, link: LinkId) {
        if self.syncing.is_empty() {
            self.sync_due = now.clock;
        }
        self.syncing.insert(link);
    }

    /// Begins anew on the links on which something was lost.
    pub(super) fn sync_lost(&mut self, now: Now) {
        let sessions = self.links.iter_mut().filter_map(|(link, state)| Some((*link, state.session.as_mut()?)));
        let lost = sessions.filter_map(|(link, session)| {
            std::mem::take(&mut session.lost).then(|| {
                session.sync = Sync::default();
                link
            })
        });
        for link in lost.collect::<Vec<_>>() {
            self.begin_sync(now, link);
        }
    }

    /// Sends the next batch on each link that is not done.
    pub(super) fn sync_more(&mut self, now: Now) {
        self.sync_due = now.clock + PERIOD;
        let batch = BATCH_OF_ALL.checked_div(self.syncing.len()).unwrap_or(BATCH).clamp(1, BATCH);
        for link in self.syncing.clone() {
            if !self.sync_link(now, link, batch) {
                self.syncing.remove(&link);
            }
        }
    }

    /// Sends the next `batch` on `link`. `false`: nothing is left.
    fn sync_link(&mut self, now: Now, link: LinkId, batch: usize) -> bool {
        for _ in 0..batch {
            match self.next_for(now, link) {
                Some(Some(message)) => self.send(link, message),
                Some(None) => {}
                None => return false,
            }
        }
        true
    }

    /// The next message for `link`; an inner `None` is a node of which there is nothing to tell.
    fn next_for(&mut self, now: Now, link: LinkId) -> Option<Option<Bytes>> {
        let session = self.links.get_mut(&link)?.session.as_mut()?;
        let sync = &mut session.sync;
        if let Some((index, node)) = self.table.next_from(sync.position) {
            sync.position = index.position() + 1;
            let word = node.entry.as_ref().and_then(|entry| entry.word.as_ref());
            // A peer knows itself; but another process of it, whose word we hold, would mute it.
            let own = *node.name.text == *session.peer;
            let gone = node.entry.as_ref().and_then(|entry| entry.unreachable_since);
            let tell = match own {
                true => word.is_some_and(|word| word.epoch > session.epoch),
                false => gone.is_none_or(|since| now.clock < since.clock() + GRACE),
            };
            return Some(if tell { self.stored_update(index) } else { None });
        }
        let (key, message) = self.ads.next_after(sync.after.as_ref())?;
        sync.after = Some(key.clone());
        Some(Some(message))
    }

    /// The last update of a node, as we pass it on.
    pub(super) fn stored_update(&self, index: NodeIndex) -> Option<Bytes> {
        let node = self.table.node(index)?;
        let word = node.entry.as_ref()?.word.as_ref()?;
        let name = |symbol| self.table.names().name(symbol).map(|name| name.text.to_string());
        let update = RoutingUpdate {
            node_id: node.name.text.to_string(),
            update_id: word.update_id.to_string(),
            update_epoch: word.epoch,
            update_sequence: word.sequence,
            connections: word.costs.iter().filter_map(|(symbol, cost)| Some((name(*symbol)?, *cost))).collect(),
            forwarding_node: self.own.to_string(),
            suspected_duplicate: 0,
            worknode: (word.max_message > 0).then_some(Extension { max_message: word.max_message, link_cost: None }),
        };
        update.encode().map(Bytes::from)
    }
}
