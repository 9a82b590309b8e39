//! What the routes ought to be.

use std::collections::VecDeque;

/// The links that work, as the neighbours of each node and the costs.
pub(super) struct Truth(Vec<Vec<(usize, f64)>>);

impl Truth {
    /// `links` are the ends and the cost of each link between `nodes` nodes.
    pub(super) fn new(nodes: usize, links: &[(usize, usize, f64)]) -> Self {
        let mut neighbours = vec![Vec::new(); nodes];
        for &(a, b, cost) in links {
            for (from, to) in [(a, b), (b, a)] {
                if let Some(of) = neighbours.get_mut(from) {
                    of.push((to, cost));
                }
            }
        }
        Self(neighbours)
    }

    /// Costs of the best ways from one node to each, calculated in the plainest manner (Bellman and Ford). `None`: it cannot
    /// be reached.
    pub(super) fn costs(&self, from: usize) -> Vec<Option<f64>> {
        let mut best: Vec<Option<f64>> = vec![None; self.0.len()];
        if let Some(own) = best.get_mut(from) {
            *own = Some(0.0);
        }
        let mut changed = VecDeque::from([from]);
        while let Some(node) = changed.pop_front() {
            let Some(so_far) = best.get(node).copied().flatten() else { continue };
            for (neighbour, cost) in self.0.get(node).into_iter().flatten() {
                let through = so_far + cost;
                if let Some(known) = best.get_mut(*neighbour).filter(|known| known.is_none_or(|known| through < known))
                {
                    *known = Some(through);
                    changed.push_back(*neighbour);
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_way_counts() {
        let truth = Truth::new(5, &[(0, 1, 5.0), (0, 2, 1.0), (2, 1, 1.5), (3, 4, 1.0)]);
        assert_eq!(truth.costs(0), [Some(0.0), Some(2.5), Some(1.0), None, None]);
        assert_eq!(truth.costs(4), [None, None, None, Some(1.0), Some(0.0)]);
    }
}
