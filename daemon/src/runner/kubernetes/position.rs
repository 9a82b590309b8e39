//! Places in a container's log, as they are kept with the unit.

use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// How far the log has been handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last line begun; none before the first.
    pub(crate) line: Option<Line>,
}

/// A line of which something was handed out, be it nothing but its begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its time stamp.
    pub(crate) stamp: Stamp,
    /// How many lines of the same stamp stand right before it.
    pub(crate) ordinal: u64,
    /// Bytes of it that were handed out, its line feed left aside.
    pub(crate) bytes: u64,
    /// Its line feed was handed out.
    pub(crate) ended: bool,
    /// The latest stamp so far: later than `stamp` where the node's clock was set back.
    pub(crate) latest: Stamp,
}

/// Lines that the log no longer has: at least one is missing, or may be. What is missing lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    /// Stamp of the last line before it; none if the log's first lines are missing.
    pub(crate) after: Option<Stamp>,
    /// Stamp of the first line after it; none if nothing followed.
    pub(crate) before: Option<Stamp>,
}

impl Gap {
    /// True if a line of this stamp lies in it.
    pub(crate) fn holds(&self, stamp: Option<Stamp>) -> bool {
        let inside =
            |stamp| self.after.is_none_or(|after| stamp > after) && self.before.is_none_or(|before| stamp < before);
        stamp.is_some_and(inside)
    }
}
