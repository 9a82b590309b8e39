//! What time brings: the next stream, silence that is looked into, answers that stand still.

use std::time::Duration;

use super::{
    super::{evidence::Behind, pace::Trust, stamp::Stamp},
    Follower, Open, Order, Phase, Request, Slot, Stream, Trouble,
    side::Kind,
};

/// Silence after which a stream that has not yet been at the end of its file is looked into: the kubelet begins to follow
/// rotations only there, and misses one that came before.
const QUIET: Duration = Duration::from_millis(1500);
/// Where a newer file was found: more silence before it is believed.
const AGAIN: Duration = Duration::from_millis(500);
/// A look that is answered later than this finds a connection that stands still.
const PROMPT: Duration = Duration::from_secs(1);
/// Silence after which every stream is looked into: nothing on the wire tells a silent container from a dead connection.
const SILENCE: Duration = Duration::from_secs(600);
/// After the worker's end: how long an open stream may yet be silent where only it can have the missing lines. The kubelet
/// ends it within a second.
const LAST: Duration = Duration::from_secs(30);
/// Wait for the next bytes of an answer that is not followed.
const STALLED: Duration = Duration::from_secs(60);
/// The same for a look at the newest file.
const LOOK: Duration = Duration::from_secs(10);
/// Lines that come so late may be overtaken by rotation, in nanoseconds ...
const BEHINDHAND: i64 = 1_000_000_000;
/// ... so that the newest file is looked at this often.
const LOOKS: Duration = Duration::from_secs(1);

impl Follower {
    /// When [`Follower::tick`] is to be called.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let side = self.side.as_ref().map(|side| side.last + limit(&side.kind));
        let stream = match (&self.stream, self.phase) {
            (Stream::Shut(until), Phase::Live) if self.over.is_none() => Some(*until),
            (Stream::Open(open), Phase::Live) => self.stream_deadline(open),
            _ => None,
        };
        let rest = (self.phase == Phase::Rest && self.side.is_none()).then_some(self.rest_at);
        [side, stream, rest, self.own_end].into_iter().flatten().min()
    }

    fn stream_deadline(&self, open: &Open) -> Option<Duration> {
        match (self.over, open.answered, &self.side) {
            (Some(_), ..) => open.alone.then(|| open.last + LAST),
            // No head comes before the first line: this wait is part of the stream.
            (None, None, _) => Some(open.asked + SILENCE),
            (None, Some(_), Some(_)) => None,
            (None, Some(_), None) => Some(open.last.max(open.checked) + self.silence(open)),
        }
    }

    /// How long the stream may be silent before it is looked into.
    fn silence(&self, open: &Open) -> Duration {
        match open {
            Open { stuck: Some(_), .. } => AGAIN,
            Open { at_end: false, .. } if !self.is_small() => QUIET,
            _ => SILENCE,
        }
    }

    /// The time is `now`.
    pub(crate) fn tick(&mut self, now: Duration) {
        if self.side.as_ref().is_some_and(|side| side.last + limit(&side.kind) <= now) {
            self.orders.push_back(Order::Close(Slot::Side));
            self.side_failed(Trouble::Broken, now);
        }
        let due = match (&self.stream, self.phase) {
            (Stream::Open(open), Phase::Live) => self.stream_deadline(open).is_some_and(|at| at <= now),
            _ => false,
        };
        if due {
            match &self.stream {
                Stream::Open(open) if self.over.is_none() && open.answered.is_some() => self.look(true, now),
                _ => {
                    self.orders.push_back(Order::Close(Slot::Stream));
                    self.stream_failed(Trouble::Broken, now);
                }
            }
        }
        self.keep_awaiting(now);
        self.turn(now);
    }

    /// Makes what requests are due.
    pub(super) fn turn(&mut self, now: Duration) {
        match (self.phase, &self.stream) {
            (Phase::Live, Stream::Shut(until)) if self.over.is_none() && *until <= now => {
                self.open(Behind::Unknown, now)
            }
            (Phase::Rest, _) if self.side.is_none() && self.rest_at <= now => self.ask_rest(now),
            (Phase::Live, Stream::Open(_)) if self.side.is_none() && self.lines.held().is_some() => {
                self.look(false, now)
            }
            (Phase::Live, Stream::Open(open)) if self.side.is_none() && self.over.is_none() => {
                let late =
                    open.last == now && !self.is_small() && self.lines.lag().is_some_and(|lag| lag >= BEHINDHAND);
                let late = late || (open.last == now && self.lines.trust() == Trust::None);
                if late && self.heads.is_due(now, LOOKS) {
                    self.look(false, now);
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, behind: Behind, now: Duration) {
        self.ended = None;
        self.lines.begin(behind, true);
        let request = Request { since: self.lines.since(), follow: true, limit: None };
        self.orders.push_back(Order::Open(Slot::Stream, request));
        let open =
            Open { asked: now, answered: None, last: now, checked: now, at_end: false, stuck: None, alone: false };
        self.stream = Stream::Open(open);
    }

    /// The silent stream was looked into: the newest file begins with `head`, and the reader has `reached` it or not.
    pub(super) fn silence_seen(&mut self, head: Option<Stamp>, reached: bool, asked: Duration, now: Duration) {
        let Stream::Open(open) = &mut self.stream else { return };
        // The answer tells nothing of a stream that has spoken since.
        if open.last >= asked || self.over.is_some() {
            return;
        }
        open.checked = now;
        let (long, settled) = (now.saturating_sub(open.last) >= SILENCE, open.at_end);
        let prompt = now.saturating_sub(asked) <= PROMPT;
        let stuck = open.stuck.take();
        open.stuck = (prompt && !reached && !settled).then_some(stuck.unwrap_or(head));
        let age = now.saturating_sub(open.asked);
        if prompt && reached {
            open.at_end = true;
            self.lines.set_calm();
        }
        match (reached, settled) {
            // It is where it should be. If the connection is dead, nothing has been lost yet.
            (true, _) if !long => {}
            (true, _) => self.reopen(Behind::Unknown, now),
            // It stands at the end of a file that was put aside before it began to look for that. Or all stands still: only
            // a second look tells.
            (false, false) => {
                let Some(first) = stuck.filter(|_| prompt) else { return };
                let behind = match (self.behind(now, age), first.or(head)) {
                    // The file that was found must be the one that comes now.
                    (Behind::Next, Some(first)) => Behind::File(first),
                    (behind, _) => behind,
                };
                self.reopen(behind, now);
                if let Stream::Open(open) = &mut self.stream {
                    open.at_end = head.is_none();
                }
            }
            // There is something new, and it does not come: the connection is dead.
            (false, true) if head.is_some() => self.reopen(Behind::Unknown, now),
            // Put aside while the container was silent, too.
            (false, true) => {}
        }
    }

    pub(super) fn reopen(&mut self, behind: Behind, now: Duration) {
        self.orders.push_back(Order::Close(Slot::Stream));
        self.open(behind, now);
    }
}

fn limit(kind: &Kind) -> Duration {
    if matches!(kind, Kind::Head { .. }) { LOOK } else { STALLED }
}
