//! What the routes ought to be.

use std::collections::BTreeMap;

/// Costs of the best ways from one node to all it can reach, calculated in the plainest manner (Bellman and Ford).
///
/// `links` are the ends and the cost of each link.
pub(super) fn costs(from: usize, links: &[(usize, usize, f64)]) -> BTreeMap<usize, f64> {
    let mut neighbours: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
    for &(a, b, cost) in links {
        neighbours.entry(a).or_default().push((b, cost));
        neighbours.entry(b).or_default().push((a, cost));
    }
    let mut best = BTreeMap::from([(from, 0.0)]);
    let mut changed = vec![from];
    while let Some(node) = changed.pop() {
        let Some(so_far) = best.get(&node).copied() else { continue };
        for (neighbour, cost) in neighbours.get(&node).into_iter().flatten() {
            let through = so_far + cost;
            if best.get(neighbour).is_none_or(|known| through < *known) {
                best.insert(*neighbour, through);
                changed.insert(0, *neighbour);
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_way_counts() {
        let links = [(0, 1, 5.0), (0, 2, 1.0), (2, 1, 1.5), (3, 4, 1.0)];
        assert_eq!(costs(0, &links), BTreeMap::from([(0, 0.0), (1, 2.5), (2, 1.0)]));
        assert_eq!(costs(4, &links), BTreeMap::from([(3, 1.0), (4, 0.0)]));
    }
}
