use std::time::Duration;

use crate::router::LinkId;

/// How well a wire carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Time a message is on its way.
    pub delay: Duration,
    /// Part of the messages that are lost, 0 to 1.
    pub loss: f64,
    /// Whether messages can overtake each other.
    pub reorders: bool,
}

impl Default for Quality {
    fn default() -> Self {
        Self { delay: Duration::from_millis(2), loss: 0.0, reorders: false }
    }
}

impl Quality {
    /// The same with another delay.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// A wire between two nodes.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) ends: [usize; 2],
    pub(super) cost: f64,
    pub(super) quality: Quality,
    /// Whether it is dialled when it has no session.
    pub(super) wanted: bool,
    /// Whether all messages are lost.
    pub(super) silent: bool,
    pub(super) session: Option<Session>,
}

/// What a wire is when it is up: a link at each end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) links: [LinkId; 2],
    /// When each end last received something.
    pub(super) heard: [Duration; 2],
}

impl Wire {
    pub(super) fn new(ends: [usize; 2], cost: f64, quality: Quality) -> Self {
        Self { ends, cost, quality, wanted: true, silent: false, session: None }
    }
}
