use std::collections::HashMap;
use std::sync::Arc;

use worknode_protocol::mesh::name_hash;

use super::LinkId;

/// What the data way needs to know, at one moment: which node a hash names, and where to send what is for it.
///
/// It is made anew when something changes, and shared unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Every node whose name may stand in a header, by the hash of its name; the own node included.
    pub(super) nodes: HashMap<u64, RoutedNode>,
}

/// A node that may be named in a header.
#[derive(Clone, Debug, PartialEq)]
pub struct RoutedNode {
    /// Its name.
    pub name: Arc<str>,
    /// The way to it; `None` for the own node, and for nodes that cannot be reached.
    pub way: Option<Way>,
}

/// The way to a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Way {
    /// The link to the next hop.
    pub link: LinkId,
    /// The next hop: the node itself, or a peer that forwards.
    pub next_hop: Arc<str>,
    /// Cost of the whole way.
    pub cost: f64,
    /// Links on the way.
    pub hops: u32,
    /// Longest message, header included, that every link on the way carries, and that the node takes; `None` if a
    /// receptor node is on the way, of which nothing is known.
    pub max_message: Option<u32>,
}

impl Routes {
    /// The node that `hash` names. Where several names have one hash, the first one seen.
    pub fn by_hash(&self, hash: u64) -> Option<&RoutedNode> {
        self.nodes.get(&hash)
    }

    /// The node called `name`.
    pub fn by_name(&self, name: &str) -> Option<&RoutedNode> {
        self.by_hash(name_hash(name)).filter(|node| &*node.name == name)
    }

    /// The way to the node called `name`.
    pub fn way(&self, name: &str) -> Option<&Way> {
        self.by_name(name)?.way.as_ref()
    }

    /// All nodes that can be reached, in no order.
    pub fn reachable(&self) -> impl Iterator<Item = (&Arc<str>, &Way)> {
        self.nodes.values().filter_map(|node| node.way.as_ref().map(|way| (&node.name, way)))
    }
}
