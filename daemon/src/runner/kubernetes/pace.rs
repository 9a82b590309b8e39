//! When lines came, against when they were written: how late a reader is, and whether it may have left out a file. Pure.

use std::time::Duration;

use super::{position::Gap, stamp::Stamp};

/// A pause in the log for which nobody waited: lines may be missing in it. What follows it is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    /// The lines around it.
    pub(crate) gap: Gap,
    /// The latest stamp before it: later than the gap's where the node's clock was set back.
    pub(crate) latest: Stamp,
    /// The line behind it, and when that came.
    pub(super) next: Stamp,
    pub(super) came: Duration,
    /// The bytes behind that line's stamp.
    pub(super) rest: Vec<u8>,
}

/// Whether an answer has left out a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    /// No.
    #[default]
    Full,
    /// Yes, for all that is known: it begins a later one twice.
    None,
}

/// When lines came, against when they were written. Only differences count, for the node has a clock of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// The answer is followed, and may have left out a file.
    pub(super) follows: bool,
    /// When the line of the position came in this answer.
    pub(super) came: Option<Duration>,
    /// The reader was seen at the end of the newest file, right behind that line.
    pub(super) calm: bool,
    /// The smallest way from stamp to arrival so far, in nanoseconds; the clocks' difference is in it.
    pub(super) least: Option<i64>,
    /// A pause in the log for which nobody waited.
    pub(super) jump: Option<Jump>,
    /// Whether a file was left out.
    pub(super) trust: Trust,
    /// First lines of files, as far as they are known.
    pub(super) marks: Vec<Stamp>,
}

impl Pace {
    /// First lines remembered.
    const LIMIT: usize = 16;

    pub(super) fn note(&mut self, stamp: Stamp, now: Duration) {
        self.calm = false;
        self.came = Some(now);
        self.compare(stamp, now);
    }

    pub(super) fn compare(&mut self, stamp: Stamp, now: Duration) {
        let way = way(now, stamp);
        self.least = Some(self.least.map_or(way, |least| least.min(way)));
    }

    /// True if a file is known to begin between these lines.
    pub(super) fn has_mark(&self, after: Stamp, before: Stamp) -> bool {
        self.marks.iter().any(|mark| (after..before).contains(mark) && *mark != after)
    }

    pub(super) fn mark(&mut self, first: Stamp) {
        if self.marks.contains(&first) {
            return;
        }
        if self.marks.len() >= Self::LIMIT {
            self.marks.remove(0);
        }
        self.marks.push(first);
    }
}

/// From a line's stamp to its arrival, in nanoseconds.
pub(super) fn way(now: Duration, stamp: Stamp) -> i64 {
    nanos(now).saturating_sub(stamp.0)
}

pub(super) fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
