//! Shortest paths (mesh-protocol 4.4).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::LinkId;
use super::table::{NodeIndex, Table};

/// A link by which a path may begin: the best one to that peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct FirstHop {
    pub(super) peer: NodeIndex,
    pub(super) link: LinkId,
    pub(super) cost: f64,
    pub(super) max_message: u32,
}

/// The best path to a node.
///
/// Of paths of one cost the one with fewer links is taken, then the one by the peer that stands first: the same at
/// each calculation, so that traffic does not wander.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) cost: f64,
    pub(super) hops: u32,
    /// Index in the list of first hops.
    pub(super) first: usize,
    /// Longest message that all links on the way carry; 0 if that is not known of one.
    pub(super) max_message: u32,
}

impl Path {
    fn order(&self, other: &Self) -> Ordering {
        let key = |path: &Self| (path.hops, path.first);
        self.cost.total_cmp(&other.cost).then_with(|| key(self).cmp(&key(other)))
    }
}

struct Candidate(Path, NodeIndex);

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0).then_with(|| self.1.cmp(&other.1))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// The best path to each node, by its place in `table`, beginning with one of `first_hops`.
///
/// Dijkstra's algorithm over the costs that both ends list. A node of which nothing but the name is known is no destination.
pub(super) fn shortest(table: &Table, first_hops: &[FirstHop]) -> Vec<Option<Path>> {
    let mut paths: Vec<Option<Path>> = vec![None; table.positions()];
    let mut queue = BinaryHeap::with_capacity(first_hops.len());
    for (first, hop) in first_hops.iter().enumerate() {
        let path = Path { cost: hop.cost, hops: 1, first, max_message: hop.max_message };
        offer(&mut paths, &mut queue, path, hop.peer);
    }
    while let Some(Reverse(Candidate(path, node))) = queue.pop() {
        let is_best = paths.get(node.position()).copied().flatten().is_some_and(|best| best.order(&path).is_eq());
        let Some(entry) = table.entry(node).filter(|_| is_best) else { continue };
        let max_message = path.max_message.min(entry.max_message());
        if let Some(Some(best)) = paths.get_mut(node.position()) {
            best.max_message = max_message;
        }
        for (neighbour, cost) in entry.costs() {
            let Some(neighbour) = table.place(*neighbour) else { continue };
            let known = neighbour != NodeIndex::OWN && table.entry(neighbour).is_some();
            if known && table.is_mutual(node, neighbour) {
                let longer = Path { cost: path.cost + cost, hops: path.hops + 1, max_message, ..path };
                offer(&mut paths, &mut queue, longer, neighbour);
            }
        }
    }
    paths
}

fn offer(paths: &mut [Option<Path>], queue: &mut BinaryHeap<Reverse<Candidate>>, path: Path, node: NodeIndex) {
    let Some(place) = paths.get_mut(node.position()) else { return };
    if place.is_none_or(|best| path.order(&best).is_lt()) {
        *place = Some(path);
        queue.push(Reverse(Candidate(path, node)));
    }
}
