//! The lines of a container's log over many answers, without losing or doubling a byte. No I/O: answers of the API server
//! go in, bytes for the unit's output come out.
//!
//! A log request goes on from a whole second, inclusive, so that every one after the first repeats lines. A line is known
//! by its time stamp and its ordinal among neighbours of the same stamp; never by its number or by bytes, which rotation
//! makes meaningless (kubernetes-streams 4.3). Everything up to that line is skipped, and of the line itself what was
//! handed out before. If the line does not come back, the kubelet has rotated it away: a [`Gap`], unless [`Behind`] says
//! that nothing can lie between.
//!
//! Lines are handed on as they arrive, so that memory does not grow with their length.

// By its path: the fuzz target takes this file in from elsewhere.
#[path = "resume/text.rs"]
mod text;

use std::time::Duration;

use super::{
    evidence::{Behind, SPACING},
    pace::{Jump, Pace, Trust, nanos, way},
    position::{Gap, Line, Position},
    stamp::{self, Stamp},
};

/// Longest time stamp in front of a line, in bytes.
const STAMP_LIMIT: usize = 40;

/// Why an answer is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The first line after a gap was met by a follower that was told to stop there. Nothing was handed out.
    #[error("lines before {} are missing", .0.before.map(|stamp| stamp.to_string()).unwrap_or_default())]
    Gap(Gap),
    /// A line without a time stamp: the kubelet's own words, not the container's.
    #[error("log line without a time stamp: {0}")]
    NoStamp(String),
}

/// What to do where the log has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnGap {
    /// Go on behind it and remember it.
    Accept,
    /// Hand out nothing and answer [`Refusal::Gap`].
    Refuse,
}

/// The lines of one container. Between two answers [`Lines::begin`] is called.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    position: Position,
    place: Place,
    /// True until the line of `position` has come by in this answer.
    seeking: bool,
    /// Lines right before in this answer with the stamp of `position`.
    equals: u64,
    /// The begin of a line whose time stamp is not yet complete.
    head: Vec<u8>,
    /// A line with a time stamp has come in this answer.
    begun: bool,
    /// The answer's first line had no time stamp, and none with one has come: the rest of a line, or the kubelet's words.
    words: Option<String>,
    stamps: stamp::Reader,
    behind: Behind,
    gaps: Vec<Gap>,
    pace: Pace,
}

/// Where in a line the next byte of an answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In its time stamp.
    Stamp,
    /// In text that was handed out earlier or is older than the position.
    Skipped,
    /// In the line of the position: so many bytes were handed out earlier.
    Known(u64),
    /// In text that is handed out.
    Fresh,
}

impl Lines {
    /// Gaps remembered; of more than these the last is extended, so that a hopeless log cannot fill the memory.
    const GAPS: usize = 16;

    /// Lines that go on behind `position`. `gaps` are those met before.
    pub(crate) fn new(position: Position, gaps: Vec<Gap>) -> Self {
        let seeking = position.line.is_some();
        Self {
            position,
            place: Place::Stamp,
            seeking,
            equals: 0,
            head: Vec::new(),
            begun: false,
            words: None,
            stamps: stamp::Reader::default(),
            behind: Behind::Unknown,
            gaps,
            pace: Pace::default(),
        }
    }

    /// How far the log has been handed out.
    pub(crate) fn position(&self) -> &Position {
        &self.position
    }

    /// What the next request is to give as `sinceTime`; none asks for the whole log.
    pub(crate) fn since(&self) -> Option<String> {
        self.position.line.as_ref().map(|line| line.stamp.second())
    }

    /// The gaps met so far.
    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// The next bytes belong to a new answer, whose request gave [`Lines::since`]. `behind` is what is known of the place
    /// after the position, should its line not come back. Only a request that `follows` can pass from file to file.
    pub(crate) fn begin(&mut self, behind: Behind, follows: bool) {
        self.place = Place::Stamp;
        self.seeking = self.position.line.is_some();
        self.equals = 0;
        self.head.clear();
        self.begun = false;
        self.words = None;
        self.behind = behind;
        self.pace.came = None;
        self.pace.calm = false;
        self.pace.trust = Trust::Full;
        self.pace.jump = None;
        self.pace.follows = follows;
    }

    /// True until the line of the position has come by in this answer.
    pub(crate) fn is_seeking(&self) -> bool {
        self.seeking
    }

    /// What is known of the place after the position.
    pub(crate) fn behind(&self) -> Behind {
        self.behind
    }

    /// The reader stands at the end of the newest file, and the line of the position is its last: no pause behind it, however
    /// long, can hide a file.
    pub(crate) fn set_calm(&mut self) {
        self.pace.calm = !self.seeking;
    }

    /// True if that was so.
    pub(crate) fn is_calm(&self) -> bool {
        self.pace.calm
    }

    /// How much later than the fastest one the line of the position came, if it came in this answer.
    pub(crate) fn lag(&self) -> Option<i64> {
        let line = self.position.line.as_ref()?;
        Some(way(self.pace.came?, line.stamp).saturating_sub(self.pace.least?))
    }

    /// When the line of the position came, if it came in this answer.
    pub(crate) fn came(&self) -> Option<Duration> {
        self.pace.came
    }

    /// A pause that passed faster here than in the container: a file of the log may have been left out there. Nothing behind
    /// it is handed out until [`Lines::release`].
    pub(crate) fn held(&self) -> Option<&Jump> {
        self.pace.jump.as_ref()
    }

    /// Goes on behind the pause that was held, which is a gap or not.
    pub(crate) fn release(&mut self, is_gap: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Some(jump) = self.pace.jump.take() else { return Ok(()) };
        self.pace.mark(jump.next);
        if is_gap {
            self.pace.trust = Trust::None;
            self.remember(jump.gap);
        }
        self.fresh_line(jump.next);
        self.pace.note(jump.next, jump.came);
        self.feed(&jump.rest, jump.came, OnGap::Accept, out)
    }

    /// At `now` the node's clock had reached this time.
    pub(crate) fn compare_clocks(&mut self, time: Stamp, now: Duration) {
        self.pace.compare(time, now);
    }

    /// A file begins with this line.
    pub(crate) fn mark(&mut self, first: Stamp) {
        self.pace.mark(first);
    }

    /// Whether this answer has left out a file.
    pub(crate) fn trust(&self) -> Trust {
        self.pace.trust
    }

    /// Adds a gap that became known later.
    pub(crate) fn declare(&mut self, gap: Gap) {
        self.remember(gap);
    }

    /// The words of an answer that had nothing else.
    pub(crate) fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    /// The answer came to its proper end. If the position's line was not in it, all that came after it is unknown: that
    /// is a gap with nothing behind. `end` is when the container's process ended, if that is known.
    pub(crate) fn finish(&mut self, on_gap: OnGap, end: Option<Stamp>) -> Result<(), Refusal> {
        if let Some(words) = self.words.take() {
            return Err(Refusal::NoStamp(words));
        }
        let lost = self.position.line.as_ref().filter(|_| self.seeking && !matches!(self.place, Place::Known(_)));
        let Some(line) = lost else { return Ok(()) };
        if on_gap == OnGap::Accept && self.behind.is_whole(line, None, end) {
            return Ok(());
        }
        let gap = Gap { after: Some(line.stamp), before: None };
        match on_gap {
            OnGap::Refuse => Err(Refusal::Gap(gap)),
            OnGap::Accept => {
                self.remember(gap);
                Ok(())
            }
        }
    }

    /// Takes bytes of an answer that came at `now` and appends to `out` what is new. After an error the answer is to be
    /// dropped.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        now: Duration,
        on_gap: OnGap,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        if let Some(jump) = &mut self.pace.jump {
            jump.rest.extend_from_slice(bytes);
            return Ok(());
        }
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Stamp => self.stamp(bytes, now, on_gap)?,
                Place::Skipped => self.skipped(bytes),
                Place::Known(rest) => self.known(bytes, rest, out),
                Place::Fresh => self.fresh(bytes, out),
            };
        }
        Ok(())
    }

    /// Reads a time stamp, which may come in pieces.
    fn stamp<'a>(&mut self, bytes: &'a [u8], now: Duration, on_gap: OnGap) -> Result<&'a [u8], Refusal> {
        let window = bytes.get(..STAMP_LIMIT).unwrap_or(bytes);
        let end = window.iter().position(|byte| matches!(byte, b' ' | b'\n'));
        let Some((text, rest)) = end.and_then(|end| bytes.split_at_checked(end)) else {
            self.head.extend_from_slice(window);
            if self.head.len() < STAMP_LIMIT {
                return Ok(&[]);
            }
            self.no_stamp(b"")?;
            return Ok(bytes.get(window.len()..).unwrap_or_default());
        };
        let stamp = if self.head.is_empty() {
            self.stamps.parse(text)
        } else {
            self.head.extend_from_slice(text);
            let stamp = self.stamps.parse(&self.head);
            if stamp.is_some() {
                self.head.clear();
            }
            stamp
        };
        match (stamp, rest.split_first()) {
            (Some(stamp), Some((b' ', rest))) => {
                self.words = None;
                self.begun = true;
                self.line(stamp, now, on_gap)?;
                let Some(jump) = &mut self.pace.jump else { return Ok(rest) };
                jump.rest.extend_from_slice(rest);
                Ok(&[])
            }
            _ => {
                self.no_stamp(text)?;
                Ok(rest)
            }
        }
    }

    /// A line without a time stamp. The first one of an answer may be the rest of a long line of which the API server has
    /// filtered the begin (kubernetes-streams 4.3): it is older than the position. Else it is the kubelet's own words.
    fn no_stamp(&mut self, text: &[u8]) -> Result<(), Refusal> {
        if self.head.is_empty() {
            self.head.extend_from_slice(text);
        }
        let words = String::from_utf8_lossy(&self.head).into_owned();
        self.head.clear();
        if self.seeking && !self.begun && self.words.is_none() {
            self.words = Some(words);
            self.place = Place::Skipped;
            return Ok(());
        }
        Err(Refusal::NoStamp(words))
    }

    /// A line of this stamp begins.
    fn line(&mut self, stamp: Stamp, now: Duration, on_gap: OnGap) -> Result<(), Refusal> {
        if !self.seeking && self.is_repeated(stamp) {
            self.seeking = true;
            self.equals = 0;
        }
        if self.seeking
            && let Some(line) = &self.position.line
        {
            let (last, latest, ordinal, bytes) = (line.stamp, line.latest, line.ordinal, line.bytes);
            if stamp == last {
                let found = self.equals == ordinal;
                self.equals += 1;
                self.place = if found { Place::Known(bytes) } else { Place::Skipped };
                if found {
                    self.pace.note(stamp, now);
                }
                return Ok(());
            }
            self.equals = 0;
            if stamp <= latest {
                self.place = Place::Skipped;
                return Ok(());
            }
            let gap = Gap { after: Some(last), before: Some(stamp) };
            if on_gap == OnGap::Refuse {
                return Err(Refusal::Gap(gap));
            }
            // Nothing is put in between, not even a line feed: where the log was rotated while its reader was at the
            // end, what follows is the very next byte.
            if !self.behind.is_whole(line, Some(stamp), None) {
                self.remember(gap);
            }
        } else if let (Some(line), Some(came)) = (&self.position.line, self.pace.came) {
            let waited = nanos(now.saturating_sub(came));
            let step = stamp.0.saturating_sub(line.stamp.0);
            let fast = !self.pace.calm && step.saturating_sub(waited) >= SPACING;
            if self.pace.follows && (fast || self.pace.has_mark(line.stamp, stamp)) {
                let gap = Gap { after: Some(line.stamp), before: Some(stamp) };
                let latest = line.latest;
                self.pace.jump = Some(Jump { gap, latest, next: stamp, came: now, rest: Vec::new() });
                return Ok(());
            }
        }
        self.seeking = false;
        self.fresh_line(stamp);
        self.pace.note(stamp, now);
        Ok(())
    }

    /// True for the first line of a file that this answer has had before.
    fn is_repeated(&self, stamp: Stamp) -> bool {
        let Some(line) = &self.position.line else { return false };
        // A line of the same stamp is a neighbour.
        let back = self.pace.trust == Trust::None && stamp < line.stamp;
        back && self.pace.marks.contains(&stamp)
    }

    fn fresh_line(&mut self, stamp: Stamp) {
        let (ordinal, latest) = match &self.position.line {
            Some(line) if line.stamp == stamp => (line.ordinal + 1, line.latest),
            Some(line) => (0, line.latest.max(stamp)),
            None => (0, stamp),
        };
        self.position.line = Some(Line { stamp, ordinal, bytes: 0, ended: false, latest });
        self.place = Place::Fresh;
        self.behind = Behind::Unknown;
    }

    fn remember(&mut self, gap: Gap) {
        let full = self.gaps.len() >= Self::GAPS;
        match self.gaps.last_mut() {
            // The same question asked again: the answer may have become clearer.
            Some(last) if last.after == gap.after => *last = gap,
            Some(last) if full => last.before = gap.before,
            _ => self.gaps.push(gap),
        }
    }
}

#[cfg(test)]
mod tests;
