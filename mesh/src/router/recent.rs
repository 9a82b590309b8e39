//! What was seen lately, so that it is acted on once.

use std::collections::{BTreeSet, VecDeque};

/// How many are remembered. They are seldom: notices of duplicates.
const REMEMBERED: usize = 1_024;

/// The last values seen, the oldest of which gives way.
#[derive(Debug, Default)]
pub(super) struct Recent {
    seen: BTreeSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    /// Whether `value` was not seen lately; it is from now on.
    pub(super) fn is_new(&mut self, value: u64) -> bool {
        if !self.seen.insert(value) {
            return false;
        }
        self.order.push_back(value);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_new_once_and_the_memory_is_bounded() {
        let mut recent = Recent::default();
        assert!(recent.is_new(7));
        assert!(!recent.is_new(7));
        for value in 100..100 + 2_000 {
            assert!(recent.is_new(value));
        }
        assert_eq!(recent.seen.len(), REMEMBERED);
        assert_eq!(recent.order.len(), REMEMBERED);
        assert!(recent.is_new(7));
    }
}
