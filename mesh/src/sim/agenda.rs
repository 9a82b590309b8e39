//! What is still to happen in a world, in the order of time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;

use crate::router::LinkId;

/// What is still to happen.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    queue: BinaryHeap<Reverse<Appointment>>,
    made: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: Duration, what: What) {
        self.made += 1;
        self.queue.push(Reverse(Appointment { at, number: self.made, what }));
    }

    /// The next that is not later than `end`.
    pub(super) fn next(&mut self, end: Duration) -> Option<(Duration, What)> {
        self.queue.peek().filter(|Reverse(next)| next.at <= end)?;
        self.queue.pop().map(|Reverse(next)| (next.at, next.what))
    }
}

#[derive(Debug)]
struct Appointment {
    at: Duration,
    /// Of two at one time the one made first goes first.
    number: u64,
    what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A message arrives at the end of a wire that has this link.
    Arrive(LinkId, Bytes),
    /// The end of a wire that has this link sees that the other has ended it.
    Ended(LinkId),
    /// A wire is dialled.
    Dial(usize),
    /// The session of a wire looks for silence.
    LookForSilence(LinkId),
    /// The router of a node has something to do.
    Timer(usize),
}

impl PartialEq for Appointment {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Appointment {}

impl PartialOrd for Appointment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Appointment {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
