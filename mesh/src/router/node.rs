//! What a router knows of one node.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::names::{Name, Symbol, Word};

/// A time of the clock, in half the bytes of a `Duration`: a router holds two for each node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(NonZeroU64);

impl Moment {
    pub(super) fn clock(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl From<Duration> for Moment {
    fn from(clock: Duration) -> Self {
        Self(NonZeroU64::MIN.saturating_add(u64::try_from(clock.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A name, and what is known of the node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Arc<Name>,
    /// `None`: the node is merely mentioned by others, and no destination (mesh-protocol 4.4).
    pub(super) entry: Option<Entry>,
    /// How many costs of other nodes name it.
    pub(super) mentions: u32,
    /// Microseconds between the last time that its word was passed on and the last time that it was heard.
    unforwarded: u32,
}

impl Node {
    pub(super) fn new(name: Arc<Name>) -> Self {
        Self { name, entry: None, mentions: 0, unforwarded: 0 }
    }

    /// How long ago its word was passed on.
    pub(super) fn age(&self, now: Duration) -> Duration {
        let heard = self.entry.as_ref().map_or(now, |entry| entry.heard.clock());
        now.saturating_sub(heard) + Duration::from_micros(self.unforwarded.into())
    }

    /// Notes that it is heard now, and how long ago its word was passed on.
    pub(super) fn heard(&mut self, now: Duration, passed_on: Duration) {
        self.unforwarded = u32::try_from(passed_on.as_micros()).unwrap_or(u32::MAX);
        if let Some(entry) = &mut self.entry {
            entry.heard = now.into();
        }
    }
}

/// What a node has said, or, with no `word`, what a link to it proves.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) word: Option<Arc<Word>>,
    /// When something was heard of the node last.
    pub(super) heard: Moment,
    /// When it was found to be out of reach; `None` while it can be reached.
    pub(super) unreachable_since: Option<Moment>,
}

impl Entry {
    /// Costs of its links, ordered by neighbour.
    pub(super) fn costs(&self) -> &[(Symbol, f64)] {
        self.word.as_ref().map_or(&[], |word| &word.costs)
    }

    /// Longest message that its links carry; 0: it is no worknode, or that is not known.
    pub(super) fn max_message(&self) -> u32 {
        self.word.as_ref().map_or(0, |word| word.max_message)
    }

    /// Whether it is known to be no worknode.
    pub(super) fn is_foreign(&self) -> bool {
        self.word.as_ref().is_some_and(|word| word.max_message == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A large simulation has a hundred million of them.
    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Option<Node>>(), 40);
    }
}
