//! What is known of other nodes: whom they list, and from which of their updates this is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use worknode_protocol::id::MAX_NODE_ID_LENGTH;
use worknode_protocol::mesh::{MAX_MESSAGE_LENGTH, RoutingUpdate, name_hash};

use super::Limits;

/// After this time without an update the process of a node counts as gone, and one with a lower epoch is believed: a
/// clock set back mutes a node no longer (mesh-protocol 12.13). Three times what passes between two forwarded updates.
pub(super) const SILENCE: Duration = Duration::from_secs(95);

/// Among worknodes an update that says nothing new is passed on if the last one was passed on so long ago.
///
/// A receptor node needs each: when the two ends of a new link list it one after the other, it may take the first out again
/// (mesh-protocol 4.2, 5), and gets it back with the next update only.
const REPEAT: Duration = Duration::from_secs(25);

/// When room is made, one part of so many of the whole is made free.
pub(super) const SPARE: usize = 64;

/// Place of a node in the table. Used again when the node is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeIndex(u32);

impl NodeIndex {
    /// The own node, which is always there.
    pub(super) const OWN: Self = Self(0);

    pub(super) fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A name, and what is known of the node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<str>,
    pub(super) hash: u64,
    /// `None`: the node is merely mentioned by others, and no destination (mesh-protocol 4.4).
    pub(super) entry: Option<Entry>,
    /// How many costs of other nodes name it.
    mentions: u32,
}

/// What a node has said, or, with no `stamp`, what a link to it proves.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) stamp: Option<Stamp>,
    /// Costs of its links, ordered by neighbour.
    pub(super) costs: Box<[(NodeIndex, f64)]>,
    /// Longest message that its links carry; 0: it is no worknode.
    pub(super) max_message: u32,
    /// When it was found to be out of reach; `None` while it can be reached.
    pub(super) unreachable_since: Option<Duration>,
}

/// Which update of a node is the last one known.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) update_id: Box<str>,
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    heard: Duration,
    forwarded: Duration,
}

/// What an update was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Known already, or older than what is known.
    Old,
    /// Stored.
    Stored {
        /// The node was unknown.
        unknown: bool,
        /// It comes from another process of the node than the last one.
        restarted: bool,
        /// Its links have changed.
        changed: bool,
        /// To be passed on.
        forward: bool,
    },
    /// Nothing more is held.
    Full,
}

#[derive(Debug)]
pub(super) struct Table {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeIndex>,
    by_name: HashMap<Arc<str>, NodeIndex>,
    limits: Limits,
    costs: usize,
    foreign: usize,
    /// There was no room, and nothing to forget, since the last calculation.
    all_needed: bool,
}

/// Whether a text can be the name of a node: `localhost` is what each calls itself (mesh-protocol 3.1).
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NODE_ID_LENGTH && !name.eq_ignore_ascii_case("localhost")
}

impl Table {
    pub(super) fn new(own: &str, limits: Limits) -> Self {
        let name: Arc<str> = own.into();
        let own = Node { hash: name_hash(&name), name: name.clone(), entry: None, mentions: 1 };
        Self {
            nodes: vec![Some(own)],
            free: Vec::new(),
            by_name: HashMap::from([(name, NodeIndex::OWN)]),
            limits,
            costs: 0,
            foreign: 0,
            all_needed: false,
        }
    }

    /// How many nodes are known or mentioned, the own one included.
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// One more than the highest position in use.
    pub(super) fn positions(&self) -> usize {
        self.nodes.len()
    }

    /// Whether a node is known that is no worknode.
    pub(super) fn has_foreign(&self) -> bool {
        self.foreign > 0
    }

    pub(super) fn find(&self, name: &str) -> Option<NodeIndex> {
        self.by_name.get(name).copied()
    }

    pub(super) fn node(&self, index: NodeIndex) -> Option<&Node> {
        self.nodes.get(index.position())?.as_ref()
    }

    pub(super) fn entry(&self, index: NodeIndex) -> Option<&Entry> {
        self.node(index)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, index: NodeIndex) -> Option<&mut Entry> {
        self.nodes.get_mut(index.position())?.as_mut()?.entry.as_mut()
    }

    /// All nodes in the order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        (0..).map(NodeIndex).zip(&self.nodes).filter_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    /// The node at `position` or the next one behind it.
    pub(super) fn next_from(&self, position: usize) -> Option<(NodeIndex, &Node)> {
        let at = u32::try_from(position).ok()?;
        let rest = self.nodes.get(position..)?;
        (at..).map(NodeIndex).zip(rest).find_map(|(index, node)| Some((index, node.as_ref()?)))
    }

    /// The node called `name`, known from now on for there is a link to it. `None`: nothing more is held.
    pub(super) fn linked(&mut self, name: &str) -> Option<NodeIndex> {
        if self.find(name).is_none() && !self.make_room(1, 0) {
            return None;
        }
        let index = self.enter(name)?;
        self.entry_mut(index)?.unreachable_since = None;
        Some(index)
    }

    /// The node called `name`, with an entry; a new one is out of reach until the next calculation finds it.
    fn enter(&mut self, name: &str) -> Option<NodeIndex> {
        let index = self.find(name).unwrap_or_else(|| self.add(name));
        let node = self.nodes.get_mut(index.position())?.as_mut()?;
        node.entry.get_or_insert_with(|| Entry {
            stamp: None,
            costs: Box::default(),
            max_message: 0,
            unreachable_since: Some(Duration::ZERO),
        });
        Some(index)
    }

    /// Takes in an update of another node that is no notice of a duplicate (mesh-protocol 4.2, 4 and 5).
    ///
    /// A cost is believed when both ends list it; that a node was removed from the lists of others follows from this.
    pub(super) fn apply(&mut self, now: Duration, update: &RoutingUpdate) -> Applied {
        let known = self.find(&update.node_id).and_then(|index| self.entry(index));
        let stamp = known.and_then(|entry| entry.stamp.as_ref());
        if let Some(stamp) = stamp {
            let newer = (update.update_epoch, update.update_sequence) > (stamp.epoch, stamp.sequence);
            if !newer && (update.update_epoch == stamp.epoch || now < stamp.heard + SILENCE) {
                return Applied::Old;
            }
        }
        let unknown = stamp.is_none();
        // What comes through a receptor node has lost the extension; within one process it does not change.
        let same_process = stamp.filter(|stamp| stamp.epoch == update.update_epoch);
        let before = known.map_or(0, |entry| entry.max_message);
        let max_message = match update.worknode {
            Some(extension) => extension.max_message.min(MAX_MESSAGE_LENGTH.try_into().unwrap_or(u32::MAX)),
            None if same_process.is_some() => before,
            None => 0,
        };
        let restarted = same_process.is_none();
        let same_costs = known.is_some_and(|entry| self.lists(entry, &update.connections));
        let changed = unknown || !same_costs || max_message != before;
        let repeat = self.has_foreign() || same_process.is_none_or(|stamp| now >= stamp.forwarded + REPEAT);
        let forwarded = same_process.map_or(now, |stamp| if changed || repeat { now } else { stamp.forwarded });
        let stamp = Stamp {
            update_id: update.update_id.as_str().into(),
            epoch: update.update_epoch,
            sequence: update.update_sequence,
            heard: now,
            forwarded,
        };
        if same_costs {
            if let Some(index) = self.find(&update.node_id) {
                self.stamp(index, stamp, max_message);
            }
        } else if !self.replace(now, update, stamp, max_message) {
            return Applied::Full;
        }
        Applied::Stored { unknown, restarted, changed, forward: changed || repeat }
    }

    /// Takes in the word of a node that a process with its name is a duplicate (mesh-protocol 4.2, 3).
    ///
    /// Only an older process says so of a newer one; so nobody can raise a stored epoch this way. The answer is whether
    /// another process counts now.
    pub(super) fn apply_suspicion(&mut self, now: Duration, update: &RoutingUpdate) -> bool {
        let entry = self.find(&update.node_id).and_then(|index| self.entry_mut(index));
        let stamp = entry.and_then(|entry| entry.stamp.as_mut());
        let is_older = update.update_epoch < update.suspected_duplicate;
        let Some(stamp) = stamp.filter(|stamp| is_older && stamp.epoch == update.suspected_duplicate) else {
            return false;
        };
        stamp.epoch = update.update_epoch;
        stamp.sequence = update.update_sequence;
        stamp.heard = now;
        true
    }

    /// Whether a process of the node with an epoch above `epoch` was heard of not long ago.
    pub(super) fn knows_later_process(&self, now: Duration, index: NodeIndex, epoch: u64) -> bool {
        let stamp = self.entry(index).and_then(|entry| entry.stamp.as_ref());
        stamp.is_some_and(|stamp| stamp.epoch > epoch && now < stamp.heard + SILENCE / 2)
    }

    /// Whether `entry` has exactly these costs.
    fn lists(&self, entry: &Entry, costs: &BTreeMap<String, f64>) -> bool {
        entry.costs.len() == costs.len()
            && costs.iter().all(|(name, cost)| {
                self.find(name).and_then(|index| cost_to(entry, index)).is_some_and(|known| known == *cost)
            })
    }

    fn stamp(&mut self, index: NodeIndex, stamp: Stamp, max_message: u32) {
        let Some(entry) = self.entry_mut(index) else { return };
        let was_foreign = usize::from(entry.stamp.is_some() && entry.max_message == 0);
        entry.stamp = Some(stamp);
        entry.max_message = max_message;
        self.foreign = self.foreign - was_foreign + usize::from(max_message == 0);
    }

    /// Replaces the costs of a node. `false`: there is no room, and nothing was changed.
    fn replace(&mut self, now: Duration, update: &RoutingUpdate, stamp: Stamp, max_message: u32) -> bool {
        let names = update.connections.keys().chain([&update.node_id]);
        let new_names = names.filter(|name| self.find(name).is_none()).count();
        if update.connections.keys().any(|name| !is_name(name)) || !self.make_room(new_names, update.connections.len())
        {
            return false;
        }
        let Some(index) = self.enter(&update.node_id) else { return false };
        if let Some(entry) = self.entry_mut(index).filter(|entry| entry.stamp.is_none()) {
            entry.unreachable_since = entry.unreachable_since.map(|_| now);
        }
        let mut costs: Vec<_> = update.connections.iter().map(|(name, cost)| (self.mention(name), *cost)).collect();
        costs.sort_unstable_by_key(|(neighbour, _)| *neighbour);
        self.costs += costs.len();
        if let Some(entry) = self.entry_mut(index) {
            let old = std::mem::replace(&mut entry.costs, costs.into());
            self.unmention(&old);
        }
        self.stamp(index, stamp, max_message);
        true
    }

    /// Makes room for so many further names and costs, by forgetting nodes that are out of reach, the longest first.
    ///
    /// All nodes are looked at for that, so some more than needed are forgotten: else each further made-up name would cost a
    /// look at all, and a flood of them the whole processor.
    fn make_room(&mut self, names: usize, costs: usize) -> bool {
        let full = |table: &Self, names, costs| {
            table.len() + names > table.limits.nodes || table.costs + costs > table.limits.costs
        };
        if !full(self, names, costs) {
            return true;
        }
        if self.all_needed {
            return false;
        }
        let mut unreachable: Vec<_> =
            self.iter().filter_map(|(index, node)| Some((node.entry.as_ref()?.unreachable_since?, index))).collect();
        unreachable.sort_unstable();
        let (more_names, more_costs) = (self.limits.nodes / SPARE, self.limits.costs / SPARE);
        for (_, oldest) in unreachable {
            if !full(self, names + more_names, costs + more_costs) {
                break;
            }
            self.forget(oldest);
        }
        self.all_needed = full(self, names, costs);
        !self.all_needed
    }

    /// Forgets what a node has said; its name too, unless others mention it.
    pub(super) fn forget(&mut self, index: NodeIndex) {
        let Some(node) = self.nodes.get_mut(index.position()).and_then(Option::as_mut) else { return };
        let Some(entry) = node.entry.take() else { return };
        self.all_needed = false;
        self.foreign -= usize::from(entry.stamp.is_some() && entry.max_message == 0);
        self.unmention(&entry.costs);
        self.drop_unused(index);
    }

    fn mention(&mut self, name: &str) -> NodeIndex {
        let index = self.find(name).unwrap_or_else(|| self.add(name));
        if let Some(Some(node)) = self.nodes.get_mut(index.position()) {
            node.mentions += 1;
        }
        index
    }

    fn unmention(&mut self, costs: &[(NodeIndex, f64)]) {
        self.costs -= costs.len();
        for (index, _) in costs {
            if let Some(Some(node)) = self.nodes.get_mut(index.position()) {
                node.mentions -= 1;
            }
            self.drop_unused(*index);
        }
    }

    fn drop_unused(&mut self, index: NodeIndex) {
        let Some(place) = self.nodes.get_mut(index.position()) else { return };
        if let Some(node) = place.take_if(|node| node.mentions == 0 && node.entry.is_none()) {
            self.by_name.remove(&node.name);
            self.free.push(index);
        }
    }

    fn add(&mut self, name: &str) -> NodeIndex {
        let name: Arc<str> = name.into();
        let node = Some(Node { hash: name_hash(&name), name: name.clone(), entry: None, mentions: 0 });
        let free = self.free.pop();
        let index = free.unwrap_or_else(|| NodeIndex(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)));
        match self.nodes.get_mut(index.position()) {
            Some(place) => *place = node,
            None => self.nodes.push(node),
        }
        self.by_name.insert(name, index);
        index
    }

    /// Whether receptor nodes are linked in a circle of their own, in which a withdrawal would go round for ever.
    pub(super) fn has_foreign_circle(&self) -> bool {
        let foreign =
            |entry: &Entry| entry.stamp.is_some() && entry.max_message == 0 && entry.unreachable_since.is_none();
        let is_foreign = |index| self.entry(index).is_some_and(foreign);
        let nodes = self.iter().filter(|(index, _)| is_foreign(*index));
        let links = nodes.flat_map(|(index, node)| {
            let costs = node.entry.iter().flat_map(|entry| &entry.costs);
            costs.map(move |(neighbour, _)| (index, *neighbour))
        });
        // Parts that hang together; a link within one part closes a circle.
        let mut parts: Vec<usize> = (0..self.positions()).collect();
        links.filter(|(from, to)| from < to && is_foreign(*to) && self.is_mutual(*from, *to)).any(|(from, to)| {
            let (from, to) = (part_of(&mut parts, from.position()), part_of(&mut parts, to.position()));
            if let Some(part) = parts.get_mut(from) {
                *part = to;
            }
            from == to
        })
    }

    /// Notes which nodes can be reached now.
    pub(super) fn reached(&mut self, now: Duration, is_reached: impl Fn(NodeIndex) -> bool) {
        self.all_needed = false;
        for (index, node) in (0..).map(NodeIndex).zip(&mut self.nodes) {
            let Some(entry) = node.as_mut().and_then(|node| node.entry.as_mut()) else { continue };
            entry.unreachable_since = if is_reached(index) { None } else { entry.unreachable_since.or(Some(now)) };
        }
    }

    /// Whether the way from one node to the other is one that both list. One that has said nothing yet cannot deny it.
    pub(super) fn is_mutual(&self, from: NodeIndex, to: NodeIndex) -> bool {
        match self.entry(to) {
            Some(entry) if entry.stamp.is_some() => cost_to(entry, from).is_some(),
            _ => true,
        }
    }
}

/// The first of the part to which the node at `position` belongs; the way to it is shortened.
fn part_of(parts: &mut [usize], mut position: usize) -> usize {
    while let Some(above) = parts.get(position).copied().filter(|above| *above != position) {
        let further = parts.get(above).copied().unwrap_or(above);
        if let Some(part) = parts.get_mut(position) {
            *part = further;
        }
        position = above;
    }
    position
}

/// What `entry` says the link to `neighbour` costs.
pub(super) fn cost_to(entry: &Entry, neighbour: NodeIndex) -> Option<f64> {
    let at = entry.costs.binary_search_by_key(&neighbour, |(index, _)| *index).ok()?;
    entry.costs.get(at).map(|(_, cost)| *cost)
}
