//! The end of a log that is not asked for: where many logs are followed, a request more for each of them costs the API server
//! more than a second of waiting costs the units.

use std::time::Duration;

use super::{Ended, Follower, OLD, Stream};

/// How long the stream of a worker that is over may take to end by itself. The kubelet ends it within a second or so.
const OWN_END: Duration = Duration::from_secs(3);
/// Silence before that end without which it says nothing: what came last may have been held up, and more of it.
const CALM: Duration = Duration::from_millis(200);

impl Follower {
    /// Whether requests are worth sparing, at the price of a second.
    pub(crate) fn spare(&mut self, sparing: bool) {
        self.sparing = sparing;
    }

    /// True if nothing of the log can be missing once the stream comes to a calm end: what was read from its begin and is
    /// small was never rotated.
    pub(super) fn own_end_will_do(&self) -> bool {
        let answered = matches!(&self.stream, Stream::Open(open) if open.answered.is_some());
        answered && self.is_small() && !self.lines.is_seeking() && self.lines.held().is_none()
    }

    /// The worker is over: its stream ends by itself.
    pub(super) fn await_own_end(&mut self, now: Duration) {
        self.own_end = Some(now + OWN_END);
    }

    /// Asks for the rest after all if the log has become one of which more may be missing, or if the end does not come.
    pub(super) fn keep_awaiting(&mut self, now: Duration) {
        let Some(until) = self.own_end else { return };
        if until <= now || !self.own_end_will_do() {
            self.own_end = None;
            self.join(now);
        }
    }

    /// True if the stream's end is the log's. A kubelet whose connection breaks looks the same: so it must have been silent
    /// before, and not in the middle of a line.
    pub(super) fn settled_by_own_end(&mut self, ended: Ended) -> bool {
        let Stream::Open(open) = &self.stream else { return false };
        let calm = ended.at.saturating_sub(open.last) >= CALM && ended.age < OLD;
        let whole = self.position().line.as_ref().is_none_or(|line| line.ended);
        self.own_end.take().is_some() && calm && whole && self.own_end_will_do()
    }
}
