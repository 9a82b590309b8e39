//! One container's log from its begin to its end, as a state machine without I/O: the worker's stages, answers and the clock
//! go in, requests and bytes for the unit's output come out.
//!
//! There is one stream, which follows the log, and now and then a request beside it: a look at the newest file's first line,
//! or, once the worker is over, the rest in bulk. Times are since any one moment of a clock that does not step.

use std::{collections::VecDeque, time::Duration};

use super::{
    evidence::{Behind, Heads},
    position::{Gap, Position},
    resume::{Lines, OnGap, Refusal},
    retry::{Patience, Tries},
    stamp::Stamp,
};

mod exchange;
mod own_end;
mod side;
mod timers;

pub(crate) use exchange::{Notes, Order, Request, Slot, Stage, Trouble, Verdict, Worker};

/// The kubelet ends every answer after four hours. An end at about that age proves nothing.
const OLD: Duration = Duration::from_secs(3 * 3600 + 1800);
/// Pause after a proper end while the worker is said to run: the word of its end may be under way.
const WORD: Duration = Duration::from_secs(1);
/// A log at first sight that is larger than this, and does not begin with its container, may have been rotated before.
const LARGE: u64 = 32 * 1024;
/// Nanoseconds after the container's start within which a log may begin.
const BEGIN: i64 = 4_000_000_000;

/// Where the whole stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The worker has not started.
    Waiting,
    /// It is followed.
    Live,
    /// It is over; nothing but requests in bulk follow.
    Rest,
    Done(Verdict),
}

/// The request that follows.
#[derive(Clone, Debug)]
enum Stream {
    /// None; the next one is made at this time.
    Shut(Duration),
    Open(Open),
}

#[derive(Clone, Debug)]
struct Open {
    asked: Duration,
    /// When the answer began.
    answered: Option<Duration>,
    /// When it last had bytes.
    last: Duration,
    /// When its silence was last looked into.
    checked: Duration,
    /// It has been at the end of its file: from then on it follows rotations.
    at_end: bool,
    /// It was silent while a newer file was there, which began with this line, and is since.
    stuck: Option<Option<Stamp>>,
    /// The worker is over, and only this stream can have what is missing.
    alone: bool,
}

/// A stream that came to its proper end.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Duration,
    age: Duration,
}

/// The follower of one container.
#[derive(Clone, Debug)]
pub(crate) struct Follower {
    lines: Lines,
    worker: Worker,
    phase: Phase,
    stream: Stream,
    side: Option<side::Side>,
    heads: Heads,
    ended: Option<Ended>,
    /// When the worker was heard to be over.
    over: Option<Duration>,
    /// Requests are worth sparing, at the price of a second.
    sparing: bool,
    /// The worker is over, and until then the stream may come to its end by itself.
    own_end: Option<Duration>,
    /// Bytes of answers read. From the log's begin if `whole`.
    read: u64,
    whole: bool,
    /// The log's first line, and when it was asked for, until it is clear whether it is the first.
    first: Option<(Stamp, Duration)>,
    orders: VecDeque<Order>,
    /// What is new for the output.
    out: Vec<u8>,
    malformed: Option<String>,
    patience: Patience,
    refused: Tries,
    broken: Tries,
    rest: Tries,
    /// When the rest is asked for again.
    rest_at: Duration,
}

impl Follower {
    /// A follower that goes on behind `position`, with what was noted there.
    pub(crate) fn new(position: Position, notes: Notes, patience: Patience) -> Self {
        let whole = position.line.is_none();
        Self {
            lines: Lines::new(position, notes.gaps),
            worker: Worker::default(),
            phase: Phase::Waiting,
            stream: Stream::Shut(Duration::ZERO),
            side: None,
            heads: Heads::default(),
            ended: None,
            over: None,
            sparing: false,
            own_end: None,
            read: 0,
            whole,
            first: None,
            orders: VecDeque::new(),
            out: Vec::new(),
            malformed: None,
            patience,
            refused: patience.tries(),
            broken: patience.without_end().tries(),
            rest: patience.tries(),
            rest_at: Duration::ZERO,
        }
    }

    /// How far the log has been handed out.
    pub(crate) fn position(&self) -> &Position {
        self.lines.position()
    }

    /// The gaps declared so far.
    pub(crate) fn gaps(&self) -> &[Gap] {
        self.lines.gaps()
    }

    /// What belongs to the position.
    pub(crate) fn notes(&self) -> Notes {
        Notes { gaps: self.lines.gaps().to_vec() }
    }

    /// How it ended, if it did.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        if let Phase::Done(verdict) = self.phase { Some(verdict) } else { None }
    }

    /// The next thing to be done, in order.
    pub(crate) fn next_order(&mut self) -> Option<Order> {
        self.orders.pop_front()
    }

    /// True if there is something to be done.
    pub(crate) fn has_orders(&self) -> bool {
        !self.orders.is_empty() || self.verdict().is_some()
    }

    /// True if answers in this slot are to be read now.
    pub(crate) fn reads(&self, slot: Slot) -> bool {
        match slot {
            // While it is looked into, what comes is not to be mixed up with what was seen.
            Slot::Stream => !self.side.as_ref().is_some_and(side::Side::stops_stream) && self.lines.held().is_none(),
            Slot::Side => true,
        }
    }

    /// The worker was looked at.
    pub(crate) fn worker(&mut self, worker: Worker, now: Duration) {
        self.worker = worker;
        for time in [worker.started, worker.finished].into_iter().flatten() {
            self.lines.compare_clocks(time, now);
        }
        if self.phase == Phase::Waiting && worker.stage >= Stage::Running {
            self.phase = Phase::Live;
            self.stream = Stream::Shut(now);
        }
        if self.phase != Phase::Live || worker.stage < Stage::Over || self.over.is_some() {
            return self.turn(now);
        }
        self.over = Some(now);
        self.drop_side();
        match &self.stream {
            _ if worker.stage == Stage::NotStarted => self.done(Verdict::Complete),
            Stream::Open(_) if self.sparing && self.own_end_will_do() => self.await_own_end(now),
            Stream::Open(open) if open.answered.is_some() => self.join(now),
            _ => self.begin_rest(now),
        }
        self.turn(now);
    }

    /// The answer in this slot has begun.
    pub(crate) fn answered(&mut self, slot: Slot, now: Duration) {
        match (slot, &mut self.stream) {
            (Slot::Stream, Stream::Open(open)) => {
                open.answered = Some(now);
                open.last = now;
                open.checked = now;
                self.heads.opened(open.asked);
            }
            (Slot::Stream, Stream::Shut(_)) => {}
            (Slot::Side, _) => self.side_answered(now),
        }
    }

    /// What is new for the output, up to [`Follower::position`].
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// Bytes of output that wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Bytes of the answer in this slot.
    pub(crate) fn bytes(&mut self, slot: Slot, bytes: &[u8], now: Duration) {
        match slot {
            Slot::Stream => {
                if let Stream::Open(open) = &mut self.stream {
                    open.last = now;
                    open.stuck = None;
                    // It may have been held up, and not at an end.
                    open.at_end &= now.saturating_sub(open.checked) >= WORD;
                    let asked = open.asked;
                    if let Err(refusal) = self.take(bytes, asked, now) {
                        self.orders.push_back(Order::Close(Slot::Stream));
                        self.malformed = Some(refusal.to_string());
                        self.stream_failed(Trouble::Refused { retry_after: None }, now);
                    }
                }
            }
            Slot::Side => self.side_bytes(bytes, now),
        }
        self.keep_awaiting(now);
        self.turn(now);
    }

    /// The answer in this slot came to its proper end. The slot is empty.
    pub(crate) fn ended(&mut self, slot: Slot, now: Duration) {
        match (slot, &self.stream) {
            (Slot::Side, _) => self.side_ended(now),
            (Slot::Stream, Stream::Open(open)) => {
                let age = now.saturating_sub(open.asked);
                if let Some(words) = self.lines.words() {
                    self.malformed = Some(words.to_owned());
                    self.stream_failed(Trouble::Refused { retry_after: None }, now);
                } else {
                    self.stream_ended(Ended { at: now, age });
                }
            }
            (Slot::Stream, Stream::Shut(_)) => {}
        }
        self.turn(now);
    }

    /// The request in this slot failed, or its answer did. The slot is empty.
    pub(crate) fn failed(&mut self, slot: Slot, trouble: Trouble, now: Duration) {
        self.malformed = None;
        match slot {
            Slot::Side => self.side_failed(trouble, now),
            Slot::Stream => self.stream_failed(trouble, now),
        }
        self.turn(now);
    }

    fn stream_failed(&mut self, trouble: Trouble, now: Duration) {
        let Stream::Open(open) = &self.stream else { return };
        let (asked, answered) = (open.asked, open.answered);
        if self.over.is_some() {
            self.own_end = None;
            self.stream = Stream::Shut(now);
            // A side request under way goes on: it was asked for while the stream was well.
            if self.side.is_none() {
                self.begin_rest(now);
            }
            return;
        }
        let lived = answered.is_some_and(|answered| now.saturating_sub(answered) >= WORD);
        let took = now.saturating_sub(asked);
        let pause = match trouble {
            Trouble::Final | Trouble::NoPod => None,
            // While nobody reads, rotation may take lines: the first try is made at once.
            Trouble::Broken if lived => Some(Duration::ZERO),
            // A connection that breaks is no sign of anything as long as the watch of the pod, which has a patience of its
            // own, is well: a silent container behind a proxy looks like that.
            Trouble::Broken => self.broken.after_failure(took, None),
            Trouble::Refused { retry_after } => self.refused.after_failure(took, retry_after),
            Trouble::NoLog => self.refused.after_failure(took, None),
        };
        match pause {
            Some(pause) => self.stream = Stream::Shut(now + pause),
            None => self.done(Verdict::GiveUp(Slot::Stream)),
        }
    }

    fn stream_ended(&mut self, ended: Ended) {
        self.ended = Some(ended);
        if self.over.is_some() {
            let settled = self.settled_by_own_end(ended);
            self.stream = Stream::Shut(ended.at);
            return if settled { self.done(Verdict::Complete) } else { self.begin_rest(ended.at) };
        }
        // A stream that ends at once, again and again, is not to be asked for without end.
        let pause = if ended.age < WORD { self.refused.after_failure(ended.age, None) } else { Some(WORD) };
        match pause {
            Some(pause) => self.stream = Stream::Shut(ended.at + pause.max(WORD)),
            None => self.done(Verdict::GiveUp(Slot::Stream)),
        }
    }

    /// Takes bytes of an answer that was asked for at `asked`.
    fn take(&mut self, bytes: &[u8], asked: Duration, now: Duration) -> Result<(), Refusal> {
        let before = self.out.len();
        let first = self.position().line.is_none();
        let taken = self.lines.feed(bytes, now, OnGap::Accept, &mut self.out);
        self.read = self.read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.ended = None;
        if self.out.len() > before {
            self.refused = self.patience.tries();
            self.broken = self.patience.without_end().tries();
        }
        if first && self.whole {
            self.first = self.position().line.as_ref().map(|line| (line.stamp, asked));
        }
        self.look_at_begin(now);
        taken?;
        if self.is_small() { self.lines.release(false, &mut self.out) } else { Ok(()) }
    }

    /// A log that was read from its begin and is small has not been rotated.
    fn is_small(&self) -> bool {
        self.whole && self.read < LARGE
    }

    /// Nothing in a log tells whether its first line is the container's first. A large log that was there at first sight,
    /// and began long after its container, may have been rotated before.
    fn look_at_begin(&mut self, now: Duration) {
        let Some((first, asked)) = self.first else { return };
        let late = self.worker.started.is_some_and(|started| first.0.saturating_sub(started.0) >= BEGIN);
        if !late || now.saturating_sub(asked) >= WORD {
            self.first = None;
        } else if self.read >= LARGE {
            self.first = None;
            self.lines.declare(Gap { after: None, before: Some(first) });
        }
    }

    /// What is known of the place behind the position when the file that holds it was read to its end, at `end`.
    fn behind(&self, end: Duration, age: Duration) -> Behind {
        let Some(line) = self.position().line.as_ref().filter(|_| age < OLD) else {
            return Behind::Unknown;
        };
        // Nothing has come: what was known when the stream was opened still holds.
        if self.lines.is_seeking() {
            return self.lines.behind();
        }
        // The container's end ends rotation, too.
        let until = self.over.map_or(end, |over| over.min(end));
        if self.heads.are_dense(end, until)
            && let Some(first) = self.heads.after(line.latest)
        {
            return Behind::File(first);
        }
        if self.is_late(line.stamp, end) { Behind::Late } else { Behind::Next }
    }

    /// True if the position's line may have been read more than a moment after it was written.
    fn is_late(&self, stamp: Stamp, end: Duration) -> bool {
        const MOMENT: i64 = 1_000_000_000;
        if self.lines.is_calm() {
            return false;
        }
        let (Some(lag), Some(came)) = (self.lines.lag(), self.lines.came()) else { return true };
        let waited = i64::try_from(end.saturating_sub(came).as_nanos()).unwrap_or(i64::MAX);
        // From this line to the container's end the same time must have passed here and there.
        let short = self.worker.finished.map_or(0, |finished| finished.0 - stamp.0 - waited);
        lag >= MOMENT || short >= MOMENT / 2
    }

    /// What an answer had in place of a log, if that was its trouble.
    pub(crate) fn malformed(&self) -> Option<&str> {
        self.malformed.as_deref()
    }

    fn done(&mut self, verdict: Verdict) {
        if let Stream::Open(_) = self.stream {
            self.orders.push_back(Order::Close(Slot::Stream));
            self.stream = Stream::Shut(Duration::MAX);
        }
        self.drop_side();
        self.phase = Phase::Done(verdict);
    }
}

#[cfg(test)]
mod tests;
