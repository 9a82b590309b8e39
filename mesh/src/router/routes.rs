use std::sync::Arc;

use worknode_protocol::mesh::name_hash;

use super::LinkId;
use super::names::{Directory, Name, Symbol};
use super::paths::Path;

/// What the data way needs to know, at one moment: which node a hash names, and where to send what is for it.
///
/// It is made anew when something changes, and shared unchanged.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    directory: Arc<Directory>,
    /// The links by which ways begin, and their peers.
    first_hops: Box<[(LinkId, Arc<str>)]>,
    /// By the symbol of the name.
    places: Box<[Place]>,
}

/// What is known of a name; sixteen bytes, as a large mesh has many.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// It may not stand in a header.
    #[default]
    Unknown,
    /// The own node, or one that cannot be reached.
    NoWay,
    /// A node that can be reached.
    Way {
        /// Place of the link in `first_hops`.
        first: u16,
        hops: u16,
        /// 0 if not known.
        max_message: u16,
        cost: f64,
    },
}

/// A node that may be named in a header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoutedNode<'a> {
    /// Its name.
    pub name: &'a Arc<str>,
    /// The way to it; `None` for the own node, and for nodes that cannot be reached.
    pub way: Option<Way<'a>>,
}

/// The way to a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way<'a> {
    /// The link to the next hop.
    pub link: LinkId,
    /// The next hop: the node itself, or a peer that forwards.
    pub next_hop: &'a Arc<str>,
    /// Cost of the whole way.
    pub cost: f64,
    /// Links on the way.
    pub hops: u32,
    /// Longest message, header included, that every link on the way carries, and that the node takes; `None` if a
    /// receptor node is on the way, of which nothing is known.
    pub max_message: Option<u32>,
}

impl Routes {
    /// `ways` are those to all nodes that may stand in a header, if there is one.
    pub(super) fn new(
        directory: Arc<Directory>,
        first_hops: Box<[(LinkId, Arc<str>)]>,
        ways: impl Iterator<Item = (Symbol, Option<Path>)>,
    ) -> Self {
        let mut places = vec![Place::Unknown; directory.positions()].into_boxed_slice();
        for (symbol, path) in ways {
            if let Some(place) = places.get_mut(symbol.position()) {
                *place = path.map_or(Place::NoWay, Place::of);
            }
        }
        Self { directory, first_hops, places }
    }

    /// The node that `hash` names. Where several names have one hash, the first one seen.
    pub fn by_hash(&self, hash: u64) -> Option<RoutedNode<'_>> {
        self.directory.with_hash(hash).find_map(|name| self.node(name))
    }

    /// The node called `name`.
    pub fn by_name(&self, name: &str) -> Option<RoutedNode<'_>> {
        self.by_hash(name_hash(name)).filter(|node| **node.name == *name)
    }

    /// The way to the node called `name`.
    pub fn way(&self, name: &str) -> Option<Way<'_>> {
        self.by_name(name)?.way
    }

    /// All nodes that can be reached, in no order.
    pub fn reachable(&self) -> impl Iterator<Item = (&Arc<str>, Way<'_>)> {
        self.nodes().filter_map(|node| Some((node.name, node.way?)))
    }

    fn nodes(&self) -> impl Iterator<Item = RoutedNode<'_>> {
        self.directory.names().filter_map(|name| self.node(name))
    }

    fn node<'a>(&'a self, name: &'a Name) -> Option<RoutedNode<'a>> {
        let way = match *self.places.get(name.symbol.position())? {
            Place::Unknown => return None,
            Place::NoWay => None,
            Place::Way { first, hops, max_message, cost } => {
                let (link, next_hop) = self.first_hops.get(usize::from(first))?;
                let max_message = (max_message > 0).then(|| u32::from(max_message));
                Some(Way { link: *link, next_hop, cost, hops: u32::from(hops), max_message })
            }
        };
        Some(RoutedNode { name: &name.text, way })
    }
}

/// Whether they lead the same way; further names that are no destinations do not count.
impl PartialEq for Routes {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.directory, &other.directory) {
            return self.first_hops == other.first_hops && self.places == other.places;
        }
        self.nodes().eq(other.nodes())
    }
}

impl Place {
    fn of(path: Path) -> Self {
        // A router has fewer peers, and messages are shorter (`MAX_MESSAGE_LENGTH`).
        let small = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);
        let first = u16::try_from(path.first).unwrap_or(u16::MAX);
        Self::Way { first, hops: small(path.hops), max_message: small(path.max_message), cost: path.cost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::names::Names;

    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<Place>(), 16);
    }

    /// Symbols are used again, so that they alone do not tell nodes apart.
    #[test]
    fn routes_are_equal_when_they_lead_the_same_way() {
        let names = Names::default();
        let a = names.take("a");
        let hops: Box<[_]> = Box::new([(LinkId(1), a.text.clone())]);
        let path = Path { cost: 1.0, hops: 1, first: 0, max_message: 1_000 };
        let make = |of: Symbol| Routes::new(names.directory(), hops.clone(), [(of, Some(path))].into_iter());
        let before = make(a.symbol);
        let mentioned = names.take("b");
        assert_eq!(make(a.symbol), before);
        assert_ne!(make(mentioned.symbol), before);
        names.release(&a);
        let other = names.take("c");
        assert_eq!(other.symbol, a.symbol);
        assert_ne!(make(other.symbol), before);
        let way = before.way("a").unwrap();
        assert_eq!((way.link, &**way.next_hop, way.cost, way.max_message), (LinkId(1), "a", 1.0, Some(1_000)));
        assert!(before.by_name("b").is_none());
    }
}
