//! Graphs in which meshes are simulated.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// The shape of a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Each node is linked with the next, the last with the first.
    Ring,
    /// All are linked with one.
    Star,
    /// A square, each node linked with those beside, above and below.
    Grid,
    /// A tree grown at random, and as many links again between any two.
    Random,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Self; 4] = [Self::Ring, Self::Star, Self::Grid, Self::Random];

    /// The name, in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Star => "star",
            Self::Grid => "grid",
            Self::Random => "random",
        }
    }

    /// The links between `nodes` nodes, each named once by the places of its ends.
    pub fn links(self, nodes: usize, seed: u64) -> Vec<(usize, usize)> {
        match self {
            Self::Ring if nodes < 3 => (1..nodes).map(|node| (node - 1, node)).collect(),
            Self::Ring => (0..nodes).map(|node| (node, (node + 1) % nodes)).collect(),
            Self::Star => (1..nodes).map(|leaf| (0, leaf)).collect(),
            Self::Grid => grid(nodes),
            Self::Random => random(nodes, seed),
        }
    }
}

fn grid(nodes: usize) -> Vec<(usize, usize)> {
    let width = nodes.isqrt().max(1);
    let right = (0..nodes).filter(|node| node % width + 1 < width && node + 1 < nodes).map(|node| (node, node + 1));
    let below = (0..nodes).filter(|node| node + width < nodes).map(|node| (node, node + width));
    right.chain(below).collect()
}

fn random(nodes: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut links: BTreeSet<_> = (1..nodes).map(|node| (random.random_range(0..node), node)).collect();
    for _ in 1..nodes {
        let (a, b) = (random.random_range(0..nodes), random.random_range(0..nodes));
        if a != b {
            links.insert((a.min(b), a.max(b)));
        }
    }
    links.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_have_their_links() {
        assert_eq!(Shape::Ring.links(4, 0), [(0, 1), (1, 2), (2, 3), (3, 0)]);
        assert_eq!(Shape::Star.links(4, 0), [(0, 1), (0, 2), (0, 3)]);
        assert_eq!(Shape::Grid.links(4, 0), [(0, 1), (2, 3), (0, 2), (1, 3)]);
        assert_eq!(Shape::Grid.links(900, 0).len(), 2 * 30 * 29);
        assert_eq!(Shape::Random.links(50, 7), Shape::Random.links(50, 7));
        assert!((49..99).contains(&Shape::Random.links(50, 7).len()));
    }
}
