//! The requests beside the stream: looks at the newest file, and the rest in bulk once the worker is over.

use std::time::Duration;

use super::{
    super::{
        evidence::{self, Behind},
        pace::Trust,
        resume::{Lines, OnGap},
        stamp::Stamp,
    },
    Follower, Order, Phase, Request, Slot, Stream, Trouble, Verdict,
};

/// Bytes that hold a time stamp for certain.
const HEAD_BYTES: u32 = 64;

/// A request beside the stream.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) kind: Kind,
    pub(super) asked: Duration,
    /// When something last came.
    pub(super) last: Duration,
}

/// What it is for.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The first line of the newest file. `silent`: because the stream is silent.
    Head { text: Vec<u8>, silent: bool },
    /// The rest in bulk while the stream is still open, taken only if it goes on where the stream is.
    Join(Box<Lines>),
    /// The rest in bulk. `moved`: it had something new.
    Rest { moved: bool },
}

impl Side {
    /// The stream is not to be read meanwhile.
    pub(super) fn stops_stream(&self) -> bool {
        matches!(self.kind, Kind::Join(_) | Kind::Head { silent: true, .. })
    }
}

impl Follower {
    fn ask_beside(&mut self, kind: Kind, now: Duration) {
        let head = matches!(kind, Kind::Head { .. });
        let since = if head { None } else { self.lines.since() };
        let request = Request { since, follow: false, limit: head.then_some(HEAD_BYTES) };
        self.orders.push_back(Order::Open(Slot::Side, request));
        self.side = Some(Side { kind, asked: now, last: now });
    }

    /// Looks at the newest file.
    pub(super) fn look(&mut self, silent: bool, now: Duration) {
        self.ask_beside(Kind::Head { text: Vec::new(), silent }, now);
    }

    /// A request that does not follow is answered faster than the stream, and does not end a second late. But it has the
    /// newest file of the log only, where the stream may hold an older one: then the stream is read on.
    pub(super) fn join(&mut self, now: Duration) {
        let mut lines = self.lines.clone();
        lines.begin(Behind::Unknown, false);
        self.ask_beside(Kind::Join(Box::new(lines)), now);
    }

    /// Nothing comes from the stream any more.
    pub(super) fn begin_rest(&mut self, now: Duration) {
        self.shut_stream();
        self.phase = Phase::Rest;
        self.rest_at = now;
        self.rest = self.patience.tries();
    }

    /// Asks for the rest.
    pub(super) fn ask_rest(&mut self, now: Duration) {
        // The next one after a failure, or after an answer that had something, knows nothing of a stream.
        let behind = self.ended.take().map_or(Behind::Unknown, |ended| self.behind(ended.at, ended.age));
        self.lines.begin(behind, false);
        self.ask_beside(Kind::Rest { moved: false }, now);
    }

    pub(super) fn drop_side(&mut self) {
        if self.side.take().is_some() {
            self.orders.push_back(Order::Close(Slot::Side));
        }
    }

    pub(super) fn side_answered(&mut self, now: Duration) {
        if let Some(side) = &mut self.side {
            side.last = now;
        }
    }

    pub(super) fn side_bytes(&mut self, bytes: &[u8], now: Duration) {
        let Some(mut side) = self.side.take() else { return };
        side.last = now;
        let asked = side.asked;
        match &mut side.kind {
            Kind::Head { text, .. } => {
                let room = usize::try_from(HEAD_BYTES).unwrap_or_default().saturating_sub(text.len());
                text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                self.side = Some(side);
            }
            Kind::Join(lines) => {
                if lines.feed(bytes, now, OnGap::Refuse, &mut self.out).is_err() {
                    self.orders.push_back(Order::Close(Slot::Side));
                    self.keep_to_stream(now);
                } else if lines.is_seeking() {
                    self.side = Some(side);
                } else {
                    let moved = lines.position() != self.lines.position();
                    self.lines = (**lines).clone();
                    self.shut_stream();
                    self.phase = Phase::Rest;
                    self.side = Some(Side { kind: Kind::Rest { moved }, ..side });
                }
            }
            Kind::Rest { moved } => {
                let before = self.position().clone();
                let taken = self.take(bytes, asked, now);
                *moved |= *self.position() != before;
                self.side = Some(side);
                if let Err(refusal) = taken {
                    self.malformed = Some(refusal.to_string());
                    self.orders.push_back(Order::Close(Slot::Side));
                    self.side_failed(Trouble::Refused { retry_after: None }, now);
                }
            }
        }
    }

    /// Only the stream can have what is missing.
    fn keep_to_stream(&mut self, now: Duration) {
        match &mut self.stream {
            Stream::Open(open) => {
                open.alone = true;
                open.last = now;
            }
            Stream::Shut(_) => self.begin_rest(now),
        }
    }

    fn shut_stream(&mut self) {
        if let Stream::Open(_) = self.stream {
            self.orders.push_back(Order::Close(Slot::Stream));
        }
        self.stream = Stream::Shut(Duration::MAX);
    }

    pub(super) fn side_ended(&mut self, now: Duration) {
        let Some(side) = self.side.take() else { return };
        match side.kind {
            Kind::Head { text, silent } => match evidence::head_of(&text) {
                Ok(head) => self.seen(head, silent, side.asked, now),
                Err(()) => self.not_seen(side.asked, now),
            },
            Kind::Join(mut lines) => match lines.finish(OnGap::Refuse, None) {
                // Nothing was ever written, or nothing is left to say.
                Ok(()) => {
                    self.shut_stream();
                    self.done(Verdict::Complete);
                }
                Err(_) => self.keep_to_stream(now),
            },
            Kind::Rest { moved } => {
                if let Err(refusal) = self.lines.finish(OnGap::Accept, self.worker.finished) {
                    self.malformed = Some(refusal.to_string());
                    return self.retry_rest(side.asked, None, now);
                }
                if moved {
                    self.begin_rest(now);
                } else {
                    self.done(Verdict::Complete);
                }
            }
        }
    }

    pub(super) fn side_failed(&mut self, trouble: Trouble, now: Duration) {
        let Some(side) = self.side.take() else { return };
        match side.kind {
            Kind::Head { .. } => self.not_seen(side.asked, now),
            Kind::Join(_) => self.keep_to_stream(now),
            Kind::Rest { .. } => match trouble {
                // The pod and its log are gone, or its container never had one.
                Trouble::NoPod | Trouble::NoLog => self.done(Verdict::Complete),
                Trouble::Final => self.done(Verdict::GiveUp(Slot::Side)),
                Trouble::Broken => self.retry_rest(side.asked, None, now),
                Trouble::Refused { retry_after } => self.retry_rest(side.asked, retry_after, now),
            },
        }
    }

    fn retry_rest(&mut self, asked: Duration, retry_after: Option<Duration>, now: Duration) {
        match self.rest.after_failure(now.saturating_sub(asked), retry_after) {
            Some(pause) => self.rest_at = now + pause,
            None => self.done(Verdict::GiveUp(Slot::Side)),
        }
    }

    /// The newest file begins with this line.
    fn seen(&mut self, head: Option<Stamp>, silent: bool, asked: Duration, now: Duration) {
        let latest = self.position().line.as_ref().map(|line| line.latest);
        if let Some(head) = head {
            self.lines.mark(head);
            self.lines.compare_clocks(head, now);
        }
        if !self.decide(head, asked, now) {
            return;
        }
        self.heads.note(asked, head, latest);
        let reached = head.zip(latest).is_some_and(|(head, latest)| head <= latest);
        if self.lines.trust() == Trust::None && reached && self.over.is_none() {
            // It would begin a file twice. In the newest file nothing is lost by a new one.
            if matches!(self.stream, Stream::Open(_)) {
                self.reopen(Behind::Unknown, now);
            }
        } else if silent {
            self.silence_seen(head, reached, asked, now);
        }
    }

    /// Decides on the pause that is held. False if the stream was opened anew for that.
    fn decide(&mut self, head: Option<Stamp>, asked: Duration, now: Duration) -> bool {
        let Some(jump) = self.lines.held() else { return true };
        // The look may have been under way before.
        if jump.came > asked {
            return true;
        }
        let (gap, next) = (jump.gap, jump.next);
        let here = head.is_some_and(|head| head <= jump.latest);
        let skipped = self.heads.has_between(gap.after, gap.before) || gap.holds(head);
        // Nothing was rotated since, or every file was seen and none of them lies there.
        let whole = here || (self.heads.are_dense(jump.came, asked) && !skipped);
        if !whole && head.is_some_and(|head| head <= next) && self.over.is_none() {
            self.reopen(Behind::Unknown, now);
            return false;
        }
        self.release(!whole, now);
        true
    }

    fn release(&mut self, is_gap: bool, now: Duration) {
        if let Err(refusal) = self.lines.release(is_gap, &mut self.out) {
            self.orders.push_back(Order::Close(Slot::Stream));
            self.malformed = Some(refusal.to_string());
            self.stream_failed(Trouble::Refused { retry_after: None }, now);
        }
    }

    /// The newest file could not be looked at. What is held is asked for once more, if it can be.
    fn not_seen(&mut self, asked: Duration, now: Duration) {
        if self.lines.held().is_some_and(|jump| jump.came <= asked) {
            if self.over.is_some() {
                return self.release(true, now);
            }
            self.orders.push_back(Order::Close(Slot::Stream));
            return self.stream_failed(Trouble::Broken, now);
        }
        if let Stream::Open(open) = &mut self.stream {
            open.checked = now;
        }
    }
}
