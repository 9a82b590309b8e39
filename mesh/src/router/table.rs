//! What is known of other nodes: whom they list, and from which of their updates this is known.

use std::sync::Arc;
use std::time::Duration;

use worknode_protocol::id::MAX_NODE_ID_LENGTH;
use worknode_protocol::mesh::{MAX_MESSAGE_LENGTH, RoutingUpdate};

use super::Limits;
use super::names::{Costs, Names, Symbol, Word};
use super::node::{Entry, Moment, Node};

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

    /// No node.
    const NONE: Self = Self(u32::MAX);

    pub(super) fn position(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
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
    names: Names,
    nodes: Vec<Option<Node>>,
    free: Vec<NodeIndex>,
    /// Where the nodes are, by the symbols of their names.
    places: Vec<NodeIndex>,
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
    pub(super) fn new(own: &str, limits: Limits, names: Names) -> Self {
        let mut table = Self {
            names,
            nodes: Vec::new(),
            free: Vec::new(),
            places: Vec::new(),
            limits,
            costs: 0,
            foreign: 0,
            all_needed: false,
        };
        table.mention(own);
        table
    }

    /// How many nodes are known or mentioned, the own one included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
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
        self.place(self.names.find(name)?)
    }

    /// The node that has a name, if it is known or mentioned here.
    pub(super) fn place(&self, symbol: Symbol) -> Option<NodeIndex> {
        self.places.get(symbol.position()).copied().filter(|index| *index != NodeIndex::NONE)
    }

    /// The names, shared with other routers.
    pub(super) fn names(&self) -> &Names {
        &self.names
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
        let never = Moment::from(Duration::ZERO);
        node.entry.get_or_insert(Entry { word: None, heard: never, unreachable_since: Some(never) });
        Some(index)
    }

    /// Takes in an update of another node that is no notice of a duplicate (mesh-protocol 4.2, 4 and 5).
    ///
    /// A cost is believed when both ends list it; that a node was removed from the lists of others follows from this.
    pub(super) fn apply(&mut self, now: Duration, update: &RoutingUpdate) -> Applied {
        let node = self.find(&update.node_id).and_then(|index| self.node(index));
        let known = node.and_then(|node| node.entry.as_ref());
        let last = known.and_then(|entry| Some((entry, entry.word.as_deref()?)));
        if let Some((entry, word)) = last {
            let newer = (update.update_epoch, update.update_sequence) > (word.epoch, word.sequence);
            if !newer && (update.update_epoch == word.epoch || now < entry.heard.clock() + SILENCE) {
                return Applied::Old;
            }
        }
        let unknown = last.is_none();
        // What comes through a receptor node has lost the extension; within one process it does not change.
        let same_process = last.filter(|(_, word)| word.epoch == update.update_epoch).map(|(entry, _)| entry);
        let before = known.map_or(0, Entry::max_message);
        let max_message = match update.worknode {
            Some(extension) => extension.max_message.min(MAX_MESSAGE_LENGTH.try_into().unwrap_or(u32::MAX)),
            None if same_process.is_some() => before,
            None => 0,
        };
        let restarted = same_process.is_none();
        let costs = self.names.costs(&update.connections);
        let costs = costs.filter(|costs| known.is_some_and(|entry| *entry.costs() == **costs));
        let changed = unknown || costs.is_none() || max_message != before;
        let age = same_process.and(node).map(|node| node.age(now));
        let repeat = self.has_foreign() || age.is_none_or(|age| age >= REPEAT);
        let unforwarded = age.filter(|_| !changed && !repeat).unwrap_or_default();
        let replace = costs.is_none();
        let Some(costs) = costs.or_else(|| self.list(now, update)) else { return Applied::Full };
        let word = Word {
            update_id: update.update_id.as_str().into(),
            epoch: update.update_epoch,
            sequence: update.update_sequence,
            costs,
            max_message,
        };
        self.hold(&update.node_id, word, now, unforwarded, replace);
        Applied::Stored { unknown, restarted, changed, forward: changed || repeat }
    }

    /// Takes in the word of a node that a process with its name is a duplicate (mesh-protocol 4.2, 3).
    ///
    /// Only an older process says so of a newer one; so nobody can raise a stored epoch this way. The answer is whether
    /// another process counts now.
    pub(super) fn apply_suspicion(&mut self, now: Duration, update: &RoutingUpdate) -> bool {
        let Some(index) = self.find(&update.node_id) else { return false };
        let Some(Some(node)) = self.nodes.get_mut(index.position()) else { return false };
        let age = node.age(now);
        let Some(entry) = &mut node.entry else { return false };
        let is_older = update.update_epoch < update.suspected_duplicate;
        let word = entry.word.as_mut().filter(|word| is_older && word.epoch == update.suspected_duplicate);
        let Some(word) = word.map(Arc::make_mut) else { return false };
        word.epoch = update.update_epoch;
        word.sequence = update.update_sequence;
        node.heard(now, age);
        true
    }

    /// Whether a process of the node with an epoch above `epoch` was heard of not long ago.
    pub(super) fn knows_later_process(&self, now: Duration, index: NodeIndex, epoch: u64) -> bool {
        let Some(entry) = self.entry(index) else { return false };
        entry.word.as_ref().is_some_and(|word| word.epoch > epoch) && now < entry.heard.clock() + SILENCE / 2
    }

    /// Enters a node and all it lists. `None`: there is no room, and nothing was changed.
    fn list(&mut self, now: Duration, update: &RoutingUpdate) -> Option<Costs> {
        let names = update.connections.keys().chain([&update.node_id]);
        let new_names = names.filter(|name| self.find(name).is_none()).count();
        if update.connections.keys().any(|name| !is_name(name)) || !self.make_room(new_names, update.connections.len())
        {
            return None;
        }
        let index = self.enter(&update.node_id)?;
        if let Some(entry) = self.entry_mut(index).filter(|entry| entry.word.is_none()) {
            entry.unreachable_since = entry.unreachable_since.map(|_| now.into());
        }
        for name in update.connections.keys() {
            self.mention(name);
        }
        self.costs += update.connections.len();
        self.names.costs(&update.connections)
    }

    /// Holds the last word of a node. With `replace` the one before listed others.
    fn hold(&mut self, node: &str, word: Word, now: Duration, unforwarded: Duration, replace: bool) {
        let Some(index) = self.find(node) else { return };
        let Some(Some(node)) = self.nodes.get_mut(index.position()) else { return };
        node.heard(now, unforwarded);
        let Some(entry) = node.entry.as_mut() else { return };
        let was_foreign = usize::from(entry.is_foreign());
        let last = entry.word.replace(self.names.share(node.name.symbol, word));
        self.foreign = self.foreign - was_foreign + usize::from(entry.is_foreign());
        if let Some(last) = last.filter(|_| replace) {
            self.unmention(&last.costs);
        }
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
        self.foreign -= usize::from(entry.is_foreign());
        self.unmention(entry.costs());
        self.drop_unused(index);
    }

    fn mention(&mut self, name: &str) -> NodeIndex {
        let index = self.find(name).unwrap_or_else(|| self.add(name));
        if let Some(Some(node)) = self.nodes.get_mut(index.position()) {
            node.mentions += 1;
        }
        index
    }

    fn unmention(&mut self, costs: &[(Symbol, f64)]) {
        self.costs -= costs.len();
        for index in costs.iter().map(|(symbol, _)| self.place(*symbol)).collect::<Vec<_>>().into_iter().flatten() {
            if let Some(Some(node)) = self.nodes.get_mut(index.position()) {
                node.mentions -= 1;
            }
            self.drop_unused(index);
        }
    }

    fn drop_unused(&mut self, index: NodeIndex) {
        let Some(place) = self.nodes.get_mut(index.position()) else { return };
        if let Some(node) = place.take_if(|node| node.mentions == 0 && node.entry.is_none()) {
            if let Some(place) = self.places.get_mut(node.name.symbol.position()) {
                *place = NodeIndex::NONE;
            }
            self.names.release(&node.name);
            self.free.push(index);
        }
    }

    fn add(&mut self, name: &str) -> NodeIndex {
        let name = self.names.take(name);
        let at = name.symbol.position();
        let node = Some(Node::new(name));
        let free = self.free.pop();
        let index = free.unwrap_or_else(|| NodeIndex(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)));
        match self.nodes.get_mut(index.position()) {
            Some(place) => *place = node,
            None => {
                // Not to twice the size: most of it would stay empty.
                if self.nodes.len() == self.nodes.capacity() {
                    self.nodes.reserve_exact(self.nodes.len() / 16 + 8);
                }
                self.nodes.push(node);
            }
        }
        if self.places.len() <= at {
            self.places.resize(at + 1, NodeIndex::NONE);
        }
        if let Some(place) = self.places.get_mut(at) {
            *place = index;
        }
        index
    }

    /// Whether receptor nodes are linked in a circle of their own, in which a withdrawal would go round for ever.
    pub(super) fn has_foreign_circle(&self) -> bool {
        let foreign = |entry: &Entry| entry.is_foreign() && entry.unreachable_since.is_none();
        let is_foreign = |index| self.entry(index).is_some_and(foreign);
        let nodes = self.iter().filter(|(index, _)| is_foreign(*index));
        let links = nodes.flat_map(|(index, node)| {
            let costs = node.entry.iter().flat_map(Entry::costs);
            costs.filter_map(move |(neighbour, _)| Some((index, self.place(*neighbour)?)))
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
            entry.unreachable_since =
                if is_reached(index) { None } else { entry.unreachable_since.or(Some(now.into())) };
        }
    }

    /// Whether the way from one node to the other is one that both list. One that has said nothing yet cannot deny it.
    pub(super) fn is_mutual(&self, from: NodeIndex, to: NodeIndex) -> bool {
        let word = self.entry(to).and_then(|entry| entry.word.as_ref());
        let from = || self.node(from).map(|node| node.name.symbol);
        word.is_none_or(|word| from().is_some_and(|from| word.lists(from)))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for node in self.nodes.iter().flatten() {
            self.names.release(&node.name);
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
